//! A `keepalived.conf`, and if there is one that of the other node, as `corosync.conf`, `ldirectord.cf` and CIB.

use super::blocks::{self, Stmt};
use super::lines::Lines;
use super::report::{Place, Report};
use super::virtuals::{self, Service};
use super::vrrp::{self, Instance};
use super::{Made, Wanted};
use crate::appliance::cf;
use crate::appliance::cib::{self, Configuration, Group};
use crate::edit::error;
use crate::nvpairs::as_id;
use crate::pcs;
use crate::source::Failure;
use std::net::IpAddr;
use std::path::Path;

/// Where directors' files are meant to be.
const DIRECTORY: &str = "/etc/ha.d";

pub fn migrate(file: &Path, wanted: &Wanted, report: &mut Report) -> Result<Made, Failure> {
    let all = read(file, wanted, report)?;
    let mail = Mail::of(&all, report);
    let instances = vrrp::instances(&all, report);
    let others = match &wanted.peer {
        Some(peer) => vrrp::instances(&read(peer, wanted, &mut Report::default())?, &mut Report::default()),
        None => Vec::new(),
    };
    let groups = vrrp::groups(&all, &instances, report);
    let services = virtuals::services(&all, &mail.to, report);
    top_level(&all, report);

    let mut made = Made::default();
    let nodes = nodes(wanted, &instances, report, file);
    let (configuration, directors) = configuration(&all, &groups, &others, services, &nodes, report)?;
    for (name, mut director) in directors {
        director.globals.extend(mail.globals());
        director.comments.push(format!("From {}; read the report.", file.display()));
        check(&director)?;
        made.files.push((name, director.text()));
    }
    made.files.push(("cib.xml".to_owned(), configuration.document().to_pretty() + "\n"));
    if nodes.len() > 1 {
        made.files.push(("corosync.conf".to_owned(), corosync(wanted, &nodes)?));
    }
    Ok(made)
}

fn read(file: &Path, wanted: &Wanted, report: &mut Report) -> Result<Vec<Stmt>, Failure> {
    let refused = |why: String| Failure::new(base::exit::crm::DATAERR, why);
    let lines = Lines::read(file, wanted.config_id.as_deref(), report).map_err(refused)?;
    blocks::parse(&lines).map_err(refused)
}

/// What is made has to be taken by the director.
fn check(director: &cf::File) -> Result<(), Failure> {
    director.read().map(drop).map_err(|why| Failure {
        details: why,
        ..error("what becomes of the virtual servers would be refused by a director; the values are these")
    })
}

/// To whom, from whom and through whom the file's mail goes.
#[derive(Default)]
struct Mail {
    to: String,
    from: String,
    server: String,
}

impl Mail {
    fn of(all: &[Stmt], report: &mut Report) -> Mail {
        let mut mail = Mail::default();
        for s in all.iter().filter(|s| s.keyword() == "global_defs").flat_map(|g| g.body()) {
            match s.keyword() {
                "notification_email" => {
                    let to: Vec<&str> = s.body().iter().map(Stmt::keyword).collect();
                    mail.to = to.join(",");
                    report.maps(&s.at, &s.shown(), format!("emailalert = {}, where smtp_alert asks for it", mail.to));
                }
                "notification_email_from" => {
                    mail.from = s.value().to_owned();
                    report.maps(&s.at, &s.shown(), format!("emailalertfrom = {}", mail.from));
                }
                "smtp_server" => {
                    mail.server = s.value().to_owned();
                    let port = s.rest().get(1).filter(|p| *p != "25");
                    match port {
                        Some(port) => report.differs(
                            &s.at,
                            &s.shown(),
                            format!("smtp = {}; port {port} is left out", mail.server),
                        ),
                        None => report.maps(&s.at, &s.shown(), format!("smtp = {}", mail.server)),
                    }
                }
                _ => {}
            }
        }
        mail
    }

    fn globals(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        all.extend((!self.from.is_empty()).then(|| ("emailalertfrom", self.from.clone())));
        all.extend((!self.server.is_empty() && !self.to.is_empty()).then(|| ("smtp", self.server.clone())));
        all
    }
}

/// Global lines, and blocks that are nobody's.
fn top_level(all: &[Stmt], report: &mut Report) {
    for s in all {
        let shown = s.shown();
        match s.keyword() {
            "virtual_server" | "virtual_server_group" | "vrrp_instance" | "vrrp_sync_group" => {}
            "global_defs" => s.body().iter().for_each(|line| global(line, report)),
            "static_ipaddress" | "static_routes" | "static_rules" => {
                report.cannot(
                    &s.at,
                    &shown,
                    "what stands on a host whether it is active or not belongs to its network configuration",
                );
            }
            "vrrp_script" | "vrrp_track_process" | "track_file" | "vrrp_track_file" | "bfd_instance" => {
                report.cannot(&s.at, &shown, "see where it is tracked");
            }
            "SSL" => report.cannot(
                &s.at,
                &shown,
                "checks verify with tlsverify and tlscafile, and show no certificate of their own",
            ),
            "garp_group" | "interface_up_down_delays" | "linkbeat_interfaces" => {
                report.differs(&s.at, &shown, "left out: announcements and carrier are watched without it");
            }
            "net_namespace"
            | "net_namespace_ipvs"
            | "namespace_with_ipsets"
            | "instance"
            | "use_pid_dir"
            | "child_wait_time" => {
                report.cannot(&s.at, &shown, "start the node in the namespace (NetworkNamespacePath= of the unit)");
            }
            _ => report.cannot(&s.at, &shown, "not known"),
        }
    }
}

fn global(s: &Stmt, report: &mut Report) {
    let shown = s.shown();
    match s.keyword() {
        "notification_email" | "notification_email_from" | "smtp_server" => {}
        "lvs_sync_daemon" => report.maps(&s.at, &shown, format!("ocf:bascule:ipvs-sync, interface={}", s.value())),
        "lvs_timeouts" => report.cannot(&s.at, &shown, "ipvsadm --set, at the start of the host"),
        "lvs_flush" | "lvs_flush_onstop" | "lvs_flush_on_stop" => {
            report.maps(&s.at, &shown, "the table is held to the file, and taken away at a stop (cleanstop)");
        }
        "router_id" => report.differs(&s.at, &shown, "left out: nodes are called as corosync.conf says"),
        "startup_script" | "shutdown_script" => {
            report.cannot(&s.at, &shown, "ExecStartPre=, ExecStopPost= of bascule.service")
        }
        "script_user" | "enable_script_security" => {
            report.differs(&s.at, &shown, "left out: there are no scripts of keepalived's")
        }
        "smtp_connect_timeout"
        | "smtp_helo_name"
        | "smtp_alert"
        | "smtp_alert_checker"
        | "smtp_alert_vrrp"
        | "no_email_faults" => {
            report.differs(
                &s.at,
                &shown,
                "left out: emailalert, emailalertfreq and emailalertstatus say what is mailed",
            );
        }
        keyword if keyword.starts_with("vrrp_") => {
            report.differs(&s.at, &shown, "left out: the ring takes the place of VRRP")
        }
        keyword
            if keyword.ends_with("_priority")
                || keyword.ends_with("_no_swap")
                || keyword.contains("rlimit")
                || keyword.contains("rt_") =>
        {
            report.differs(
                &s.at,
                &shown,
                "left out: the ring's thread has real-time priority and locked memory by itself",
            );
        }
        _ => report.differs(&s.at, &shown, "left out: it is about keepalived's own process"),
    }
}

/// Names and addresses: as given, else by what the file says of unicast.
fn nodes(wanted: &Wanted, instances: &[Instance], report: &mut Report, file: &Path) -> Vec<(String, Vec<IpAddr>)> {
    if !wanted.nodes.is_empty() {
        return wanted.nodes.iter().map(|n| (n.name.clone(), n.addresses.clone())).collect();
    }
    let unicast = instances.iter().find(|i| i.own.is_some() && !i.peers.is_empty());
    if let Some((own, peers)) = unicast.and_then(|i| i.own.map(|own| (own, &i.peers))) {
        let all = std::iter::once(own).chain(peers.iter().copied());
        return (1..).zip(all).map(|(n, addr)| (format!("director{n}"), vec![addr])).collect();
    }
    let why = "the file does not say which hosts there are: --node NAME=ADDRESS for each, this one first; without it no corosync.conf is written";
    report.cannot(&Place::new(&file.display().to_string(), 0), "nodes", why);
    Vec::new()
}

fn corosync(wanted: &Wanted, nodes: &[(String, Vec<IpAddr>)]) -> Result<String, Failure> {
    let mut words = vec!["cluster".to_owned(), "setup".to_owned(), wanted.cluster.clone()];
    for (name, addresses) in nodes {
        words.push(name.clone());
        words.extend(addresses.iter().map(|a| format!("addr={a}")));
    }
    let end = words.len();
    words.push("--no-cluster-uuid".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plan = pcs::setup::plan(&pcs::line(&words)?, &wanted.cluster, &words[3..end], &[])?;
    Ok(plan.conf.text())
}

type Directors = Vec<(String, cf::File)>;

/// The CIB, and the file of each group that has services.
fn configuration(
    all: &[Stmt],
    groups: &[(String, Vec<Instance>)],
    others: &[Instance],
    services: Vec<Service>,
    nodes: &[(String, Vec<IpAddr>)],
    report: &mut Report,
) -> Result<(Configuration, Directors), Failure> {
    let mut parts: Vec<Vec<Service>> = groups.iter().map(|_| Vec::new()).collect();
    let mut everywhere: Vec<Service> = Vec::new();
    for service in services {
        let holds = |(_, members): &(String, Vec<Instance>)| {
            members.iter().flat_map(|m| &m.addresses).any(|a| Some(a.addr) == service.addr)
        };
        match groups.iter().position(holds) {
            Some(at) => parts[at].push(service),
            None if groups.is_empty() => everywhere.push(service),
            None => {
                if service.addr.is_some() {
                    let why = format!("its address is in no vrrp_instance: it goes with the group {}", groups[0].0);
                    report.differs(&service.at, &format!("virtual {}", service.block.key), why);
                }
                parts[0].push(service);
            }
        }
    }
    let mut configuration = Configuration { stickiness: Some(0), ..Configuration::default() };
    configuration.properties =
        vec![("stonith-enabled".to_owned(), "false".to_owned()), ("bascule-takeover".to_owned(), "fast".to_owned())];
    let topology = topology(parts.iter().flatten().chain(&everywhere));
    if !topology.is_empty() {
        configuration.everywhere.push(cib::settings(&topology)?);
    }
    let several = parts.iter().filter(|p| !p.is_empty()).count() > 1;
    let mut directors = Directors::new();
    let mut file = |of: Option<&str>, services: Vec<Service>| {
        let name = of.map_or_else(|| "ldirectord.cf".to_owned(), |of| format!("ldirectord-{of}.cf"));
        let path = format!("{DIRECTORY}/{name}");
        directors
            .push((name, cf::File { blocks: services.into_iter().map(|s| s.block).collect(), ..cf::File::default() }));
        path
    };
    for ((name, members), services) in groups.iter().zip(parts) {
        let id = as_id(name);
        let sync = sync(all, name, members, configuration.groups.is_empty());
        let path = (!services.is_empty()).then(|| file(several.then_some(id.as_str()), services));
        let mut group = group(&id, members, sync, path.as_deref())?;
        prefer(&mut group, members, others, nodes, report);
        configuration.groups.push(group);
    }
    if !everywhere.is_empty() {
        let path = file(None, everywhere);
        configuration.everywhere.push(cib::director("ldirectord", &path)?);
    }
    configuration.groups.retain(|g| !g.members.is_empty());
    Ok((configuration, directors))
}

/// In the words of the agent that sets the host up for it.
fn topology<'a>(services: impl Iterator<Item = &'a Service>) -> String {
    let mut words: Vec<&str> = Vec::new();
    for service in services {
        for real in &service.block.reals {
            let word = match real.split_whitespace().nth(1) {
                Some("masq") => "nat",
                Some("ipip") => "tunnel",
                _ => "direct",
            };
            words.push(word);
        }
        words.extend(service.addr.is_none().then_some("fwmark"));
    }
    words.sort_unstable();
    words.dedup();
    words.join(" ")
}

/// Interface and id of the connections' synchronisation: of the instance, else of the whole file for the first group or the one named.
fn sync(all: &[Stmt], name: &str, members: &[Instance], first: bool) -> Option<(String, String)> {
    let id = |given: Option<&String>| {
        let own = members.first().map(|m| m.router_id.clone()).filter(|r| !r.is_empty());
        given.cloned().or(own).unwrap_or_else(|| "0".to_owned())
    };
    if let Some(own) = members.iter().find(|m| !m.sync.is_empty()) {
        return Some((own.sync.clone(), id(None)));
    }
    let globals = all.iter().filter(|s| s.keyword() == "global_defs").flat_map(|g| g.body());
    let daemon = globals.into_iter().find(|s| s.keyword() == "lvs_sync_daemon")?;
    let words = daemon.rest();
    let keyword = |w: &String| ["inst", "id", "maxlen", "port", "ttl", "group"].contains(&w.as_str());
    let instance = match words.get(1) {
        Some(word) if word == "inst" => words.get(2),
        Some(word) if keyword(word) => None,
        word => word,
    };
    let ours = instance.map_or(first, |i| i == name || members.iter().any(|m| m.name == *i));
    let given = words.iter().position(|w| w == "id").and_then(|at| words.get(at + 1));
    ours.then(|| (daemon.value().to_owned(), id(given)))
}

fn group(
    id: &str,
    members: &[Instance],
    sync: Option<(String, String)>,
    director: Option<&str>,
) -> Result<Group, Failure> {
    let mut group = Group { id: id.to_owned(), ..Group::default() };
    if let Some((interface, number)) = sync {
        group.members.push(cib::sync(&format!("{id}-sync"), &interface, &number)?);
    }
    if let Some(path) = director {
        group.members.push(cib::director(&format!("{id}-director"), path)?);
    }
    for (at, address) in (1..).zip(members.iter().flat_map(|m| &m.addresses)) {
        let (ip, label) = (address.addr.to_string(), address.label.as_str());
        let params =
            [("ip", ip.as_str()), ("cidr_netmask", &address.prefix), ("nic", &address.interface), ("iflabel", label)];
        let op: &[(&str, &str)] = &[("interval", "5s"), ("timeout", "5s")];
        group.members.push(cib::primitive(&format!("{id}-ip{at}"), "ocf:heartbeat:IPaddr2", &params, &[op])?);
    }
    for (at, route) in (1..).zip(members.iter().flat_map(|m| &m.routes)) {
        let params = [
            ("destination", route.destination.as_str()),
            ("gateway", &route.gateway),
            ("device", &route.device),
            ("source", &route.source),
            ("table", &route.table),
        ];
        let op: &[(&str, &str)] = &[("interval", "10s"), ("timeout", "20s")];
        group.members.push(cib::primitive(&format!("{id}-route{at}"), "ocf:heartbeat:Route", &params, &[op])?);
    }
    Ok(group)
}

/// By the priorities of both files; by one alone where it says that its node is the master.
fn prefer(
    group: &mut Group,
    members: &[Instance],
    others: &[Instance],
    nodes: &[(String, Vec<IpAddr>)],
    report: &mut Report,
) {
    if members.iter().any(|m| m.nopreempt) {
        group.meta.push(("resource-stickiness".to_owned(), "1000".to_owned()));
        return;
    }
    let Some((this, _)) = nodes.first() else { return };
    let Some(first) = members.first() else { return };
    let own = first.priority.unwrap_or(100);
    let other = others.iter().find(|o| o.name == first.name || o.router_id == first.router_id);
    match (other, nodes.get(1)) {
        (Some(other), Some((peer, _))) => {
            group.prefers = vec![(this.clone(), own), (peer.clone(), other.priority.unwrap_or(100))];
        }
        _ if first.master => group.prefers = vec![(this.clone(), own)],
        _ => report.differs(
            &first.at,
            &format!("vrrp_instance {}", first.name),
            "which node has the higher priority stands in the other node's file: --peer FILE",
        ),
    }
}
