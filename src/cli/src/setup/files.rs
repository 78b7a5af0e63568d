//! From answers to what is written: the words of `pcs cluster setup`, `ldirectord.cf`, the CIB.

use super::answers::{Answers, Port, Server};
use crate::appliance::cf::{self, Block, File};
use crate::appliance::cib::{self, Configuration, Group};
use crate::edit::error;
use crate::nvpairs::as_id;
use crate::pcs::{self, setup::Plan};
use crate::source::Failure;
use ::ldirectord::config::Method;
use std::path::Path;

/// Everything, before anything is done.
pub struct Files {
    pub cluster: Plan,
    pub director: File,
    pub cib: Configuration,
    /// Words that `pcs` would have been given.
    pub line: crate::grammar::Line,
}

pub fn files(answers: &Answers, director_file: &Path, force: bool) -> Result<Files, Failure> {
    let mut words = vec!["cluster".to_owned(), "setup".to_owned(), answers.cluster.clone()];
    for node in &answers.nodes {
        words.push(node.name.clone());
        words.extend(node.addresses.iter().map(|a| format!("addr={a}")));
    }
    let nodes = words.len();
    words.extend(["--start", "--enable", "--wait=120", "--no-cluster-uuid"].map(str::to_owned));
    words.extend(force.then(|| "--force".to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let line = pcs::line(&words)?;
    let device: Vec<String> = answers.arbitrator.iter().flat_map(|(host, port)| device(host, *port)).collect();
    let device: Vec<&str> = device.iter().map(String::as_str).collect();
    let cluster = pcs::setup::plan(&line, &answers.cluster, &words[3..nodes], &device)?;
    let director = services(answers);
    director.read().map_err(|why| Failure { details: why, ..error("the director would refuse its file") })?;
    Ok(Files { cluster, director, cib: configuration(answers, director_file)?, line })
}

fn device(host: &str, port: u16) -> Vec<String> {
    let words = ["model", "net", "algorithm=ffsplit", "tls=off"].map(str::to_owned).into_iter();
    let port = (port != super::answers::ARBITRATOR_PORT).then(|| format!("port={port}"));
    words.chain([format!("host={host}")]).chain(port).collect()
}

fn services(answers: &Answers) -> File {
    let mut file = File {
        comments: vec!["Written by 'bascule setup'; the same on every director.".to_owned()],
        globals: vec![
            ("checktimeout", "3".to_owned()),
            ("negotiatetimeout", "3".to_owned()),
            ("checkinterval", "2".to_owned()),
            ("autoreload", "yes".to_owned()),
            ("quiescent", "no".to_owned()),
        ],
        blocks: Vec::new(),
    };
    for vip in &answers.vips {
        for port in &answers.ports {
            let mut block =
                Block { key: cf::place(vip.addr, port.number), is_v6: vip.addr.is_ipv6(), ..Block::default() };
            let own = answers.servers.iter().filter(|s| s.addr.is_ipv4() == vip.addr.is_ipv4());
            block.reals = own.map(|s| real(s, *port, answers.method())).collect();
            check(answers, *port, &mut block);
            block.set("scheduler", &answers.scheduler);
            block.set("protocol", if port.udp { "udp" } else { "tcp" });
            file.blocks.push(block);
        }
    }
    file
}

fn real(server: &Server, port: Port, method: Method) -> String {
    let place = cf::place(server.addr, server.port.unwrap_or(port.number));
    match server.weight {
        1 => format!("{place} {}", method.name()),
        weight => format!("{place} {} {weight}", method.name()),
    }
}

/// Of UDP no connection can be tried: such a server is pinged.
fn check(answers: &Answers, port: Port, block: &mut Block) {
    match answers.check.as_str() {
        "none" => block.set("checktype", "on"),
        "ping" => block.set("checktype", "ping"),
        "connect" if port.udp => block.set("checktype", "ping"),
        "connect" => block.set("checktype", "connect"),
        service => {
            block.set("checktype", "negotiate");
            block.set("service", service);
            let quoted = |text: &str| cf::quoted(text).unwrap_or_default();
            if ["http", "https"].contains(&service) {
                block.set("request", quoted(&answers.request));
                if !answers.receive.is_empty() {
                    block.set("receive", quoted(&answers.receive));
                }
            }
        }
    }
}

fn configuration(answers: &Answers, director_file: &Path) -> Result<Configuration, Failure> {
    let file = director_file.to_str().ok_or_else(|| error("the director's file has a name that is no text"))?;
    let mut group = Group { id: "director".to_owned(), ..Group::default() };
    if !answers.sync.is_empty() {
        group.members.push(cib::sync("director-sync", &answers.sync, "1")?);
    }
    group.members.push(cib::director("ldirectord", file)?);
    for (at, vip) in answers.vips.iter().enumerate() {
        let id = if at == 0 { "vip".to_owned() } else { format!("vip{}", at + 1) };
        group.members.push(cib::address(&id, &vip.addr.to_string(), "", &vip.interface)?);
    }
    if let Some(gateway) = &answers.gateway {
        group.members.push(cib::address("gateway", &gateway.addr.to_string(), "", &gateway.interface)?);
    }
    let mut devices = Vec::new();
    for fence in &answers.fences {
        let agent = format!("stonith:{}", fence.agent);
        let mut params = fence.params.clone();
        params.push(("pcmk_host_list".to_owned(), fence.node.clone()));
        let names: Vec<String> = params.iter().map(|(n, _)| n.clone()).collect();
        let wrong = crate::edit::problems_of(&agent, &params, &names);
        if !wrong.is_empty() {
            return Err(Failure { details: wrong, ..error(format!("the fence device of {}", fence.node)) });
        }
        let pairs: Vec<(&str, &str)> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let id = as_id(&format!("fence-{}", fence.node));
        let device = cib::primitive(&id, &agent, &pairs, &[&[("interval", "60s"), ("timeout", "30s")]])?;
        devices.push((device, fence.node.clone()));
    }
    let topology = match answers.method() {
        Method::Gate => "direct",
        Method::Masq => "nat",
        Method::Ipip => "tunnel",
    };
    let fencing = !devices.is_empty();
    let mut properties = vec![("stonith-enabled".to_owned(), fencing.to_string())];
    properties.extend((!fencing).then(|| ("bascule-takeover".to_owned(), "fast".to_owned())));
    Ok(Configuration {
        properties,
        everywhere: vec![cib::settings(topology)?],
        groups: vec![group],
        devices,
        stickiness: Some(100),
    })
}
