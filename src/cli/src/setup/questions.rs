//! The questions, in order: each is an option as well, and what an answer has to be stands in one place.

use super::answers::{self, Answers, CHECKS, SCHEDULERS};
use ::ldirectord::config::Method;
use std::net::{IpAddr, ToSocketAddrs};

pub struct Question {
    /// `--NAME`.
    pub option: &'static str,
    /// What stands for the value in help.
    pub value: &'static str,
    /// As it is asked, and as help says it.
    pub ask: &'static str,
    /// Whether it is asked at all, by the answers before it.
    pub asked: fn(&Answers) -> bool,
    /// What an empty answer means; `None`: there has to be one.
    pub default: fn(&Answers) -> Option<String>,
    /// Takes all that was given in, or says what was expected.
    pub take: fn(&mut Answers, &str) -> Result<(), String>,
}

fn always(_: &Answers) -> bool {
    true
}

fn needed(_: &Answers) -> Option<String> {
    None
}

fn nothing(_: &Answers) -> Option<String> {
    Some(String::new())
}

fn all<T>(given: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    given.split_whitespace().map(read).collect()
}

fn some<T>(given: &str, what: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let found = all(given, read)?;
    if found.is_empty() { Err(format!("expected at least one {what}")) } else { Ok(found) }
}

fn is_http(answers: &Answers) -> bool {
    ["http", "https"].contains(&answers.check.as_str())
}

/// This host, where its name has an address that others can reach.
fn this_host(_: &Answers) -> Option<String> {
    let name = crate::source::host_name();
    let found = (name.as_str(), 0).to_socket_addrs().ok()?.map(|a| a.ip()).find(|a: &IpAddr| !a.is_loopback())?;
    Some(format!("{name}={found}"))
}

pub const QUESTIONS: [Question; 14] = [
    Question {
        option: "cluster",
        value: "NAME",
        ask: "Name of the cluster",
        asked: always,
        default: |_| Some("directors".to_owned()),
        take: |a, given| answers::name(given, "cluster").map(|name| a.cluster = name),
    },
    Question {
        option: "node",
        value: "NAME=ADDRESS[,ADDRESS]",
        ask: "Directors, this host among them (an address for each link between them)",
        asked: always,
        // Both are wanted: this one alone is a help, no answer.
        default: needed,
        take: |a, given| {
            a.nodes = all(given, answers::node)?;
            a.fit_nodes()
        },
    },
    Question {
        option: "vip",
        value: "ADDRESS[@INTERFACE]",
        ask: "Virtual addresses, which clients use",
        asked: always,
        default: needed,
        take: |a, given| {
            a.vips = some(given, "address", answers::vip)?;
            a.fit_vips()
        },
    },
    Question {
        option: "port",
        value: "PORT[/udp]",
        ask: "Ports that are served",
        asked: always,
        default: |_| Some("80".to_owned()),
        take: |a, given| some(given, "port", answers::service_port).map(|ports| a.ports = ports),
    },
    Question {
        option: "server",
        value: "ADDRESS[:PORT][*WEIGHT]",
        ask: "Real servers",
        asked: always,
        default: needed,
        take: |a, given| {
            a.servers = some(given, "server", answers::server)?;
            a.fit_servers()
        },
    },
    Question {
        option: "forward",
        value: "gate|masq|ipip",
        ask: "How packets reach them: gate (same network, the servers hold the address on lo), masq (translated), ipip (tunnel)",
        asked: always,
        default: |_| Some("gate".to_owned()),
        take: |a, given| {
            answers::one_of(given, &["gate", "masq", "ipip"], "forwarding method")?;
            a.forward = Method::by_name(given);
            a.fit_forward()
        },
    },
    Question {
        option: "gateway",
        value: "ADDRESS[@INTERFACE]",
        ask: "Inside address that the servers have as their gateway and that moves with the group (empty: none)",
        asked: |a| a.method() == Method::Masq,
        default: nothing,
        take: |a, given| {
            a.gateway = if given.is_empty() { None } else { Some(answers::vip(given)?) };
            a.fit_vips()
        },
    },
    Question {
        option: "scheduler",
        value: "NAME",
        ask: "Which server takes the next connection",
        asked: always,
        default: |_| Some("wlc".to_owned()),
        take: |a, given| answers::one_of(given, &SCHEDULERS, "scheduler").map(|name| a.scheduler = name),
    },
    Question {
        option: "check",
        value: "KIND",
        ask: "How the servers are checked: http, https, connect, ping, smtp, dns, imap, none",
        asked: always,
        default: |a| {
            let kind = match a.ports.first() {
                Some(p) if p.udp && p.number != 53 => "ping",
                Some(p) => match p.number {
                    80 | 8080 => "http",
                    443 => "https",
                    25 => "smtp",
                    53 => "dns",
                    143 => "imap",
                    _ => "connect",
                },
                None => "connect",
            };
            Some(kind.to_owned())
        },
        take: |a, given| answers::one_of(given, &CHECKS, "check").map(|kind| a.check = kind),
    },
    Question {
        option: "request",
        value: "PATH",
        ask: "What is asked of them",
        asked: is_http,
        default: |_| Some("/".to_owned()),
        take: |a, given| answers::text(given).map(|text| a.request = text),
    },
    Question {
        option: "receive",
        value: "TEXT",
        ask: "What the answer has to contain, a pattern (empty: any good answer)",
        asked: is_http,
        default: nothing,
        take: |a, given| answers::text(given).map(|text| a.receive = text),
    },
    Question {
        option: "sync",
        value: "INTERFACE",
        ask: "Interface between the directors over which each knows the other's connections (empty: they are not shared)",
        asked: always,
        default: nothing,
        take: |a, given| {
            a.sync = if given.is_empty() { String::new() } else { answers::interface(given)? };
            Ok(())
        },
    },
    Question {
        option: "arbitrator",
        value: "HOST[:PORT]",
        ask: "Arbitrator: a third machine with 'bascule qnetd' or corosync-qnetd that decides which half goes on (empty: none)",
        asked: always,
        default: nothing,
        take: |a, given| {
            a.arbitrator = if given.is_empty() { None } else { Some(answers::arbitrator(given)?) };
            Ok(())
        },
    },
    Question {
        option: "fence",
        value: "NODE:AGENT[,NAME=VALUE...]",
        ask: "Fence devices, one for each director (empty: none; a lost director's addresses count as free after their lease)",
        asked: always,
        default: nothing,
        take: |a, given| {
            a.fences = all(given, answers::fence)?;
            a.fit_fences()
        },
    },
];

/// Shown beside a question that has no default.
pub fn example(question: &Question, answers: &Answers) -> Option<String> {
    match question.option {
        "node" => {
            let here = this_host(answers).unwrap_or_else(|| format!("{}=192.0.2.11", crate::source::host_name()));
            Some(format!("{here} OTHER=ADDRESS"))
        }
        "vip" => Some("192.0.2.100@eth0".to_owned()),
        "server" => Some("192.0.2.21 192.0.2.22".to_owned()),
        _ => None,
    }
}
