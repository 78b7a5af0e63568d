//! As much of `corosync.conf` as the rules ask about, taken from whatever stands there.
//!
//! Nothing is refused here: `bascule node --check` judges the file line by line, and a doctor that stops at the first bad line
//! is no doctor.

use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Corosync {
    pub file: PathBuf,
    pub nodes: Vec<Node>,
    pub two_node: bool,
    /// As written.
    pub wait_for_all: Option<bool>,
    pub expected_votes: Option<u32>,
    /// There is a `device {}`.
    pub device: bool,
    /// `ping_targets`, of Bascule's own.
    pub ping_targets: bool,
    pub keyfile: Option<PathBuf>,
    /// The key stands in the file itself.
    pub inline_key: bool,
    /// By link number, where set.
    pub ports: Vec<Option<u16>>,
    pub quorum_provider: bool,
    pub token_ms: Option<u64>,
    /// `resources { watchdog_device }`; an empty one and `off` are none.
    pub watchdog_device: Option<String>,
    pub watchdog_timeout_s: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    pub name: Option<String>,
    pub id: Option<u32>,
    pub votes: u32,
    /// By link number: the text, and what it resolves to.
    pub rings: Vec<(String, Option<IpAddr>)>,
}

/// UDP port of link 0; link N uses this plus N.
const DEFAULT_PORT: u16 = 5405;
const MAX_LINKS: usize = 8;
const MAX_NODES: usize = 384;

impl Corosync {
    pub fn port(&self, link: usize) -> u16 {
        self.ports.get(link).copied().flatten().unwrap_or(DEFAULT_PORT + link as u16)
    }

    /// How messages call a node.
    pub fn node_name(&self, index: usize) -> String {
        let node = &self.nodes[index];
        let ring0 = || node.rings.first().map(|(text, _)| text.clone());
        node.name.clone().or_else(ring0).unwrap_or_else(|| format!("node {}", index + 1))
    }
}

/// Reads the text; `resolve` looks a host name up.
pub fn read(file: PathBuf, text: &str, resolve: &dyn Fn(&str) -> Option<IpAddr>) -> Corosync {
    let mut conf = Corosync { file, ..Corosync::default() };
    let mut path: Vec<String> = Vec::new();
    let mut link = 0;
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with('#')) {
        if let Some(name) = line.strip_suffix('{') {
            path.push(name.trim().to_owned());
            match path.join(".").as_str() {
                "nodelist.node" if conf.nodes.len() < MAX_NODES => {
                    conf.nodes.push(Node { votes: 1, ..Node::default() })
                }
                "quorum.device" => conf.device = true,
                "totem.interface" => link = 0,
                _ => {}
            }
        } else if let Some((key, value)) = line.split_once(':') {
            let (key, value) = (key.trim(), value.trim());
            if path == ["totem", "interface"] {
                interface(&mut conf, &mut link, key, value);
            } else if path == ["nodelist", "node"] {
                if let Some(node) = conf.nodes.last_mut() {
                    node_key(node, key, value, resolve);
                }
            } else {
                plain_key(&mut conf, &format!("{}.{key}", path.join(".")), value);
            }
        } else if line == "}" {
            path.pop();
        }
    }
    conf
}

fn interface(conf: &mut Corosync, link: &mut usize, key: &str, value: &str) {
    match key {
        "linknumber" | "ringnumber" => *link = value.parse().ok().filter(|n| *n < MAX_LINKS).unwrap_or(0),
        "mcastport" => {
            conf.ports.resize(conf.ports.len().max(*link + 1), None);
            conf.ports[*link] = value.parse().ok();
        }
        _ => {}
    }
}

fn node_key(node: &mut Node, key: &str, value: &str, resolve: &dyn Fn(&str) -> Option<IpAddr>) {
    let ring = key.strip_prefix("ring").and_then(|k| k.strip_suffix("_addr")).and_then(|n| n.parse::<usize>().ok());
    match (key, ring) {
        (_, Some(n)) if n < MAX_LINKS => {
            node.rings.resize(node.rings.len().max(n + 1), (String::new(), None));
            node.rings[n] = (value.to_owned(), value.parse().ok().or_else(|| resolve(value)));
        }
        ("name", _) => node.name = Some(value.to_owned()),
        ("nodeid", _) => node.id = value.parse().ok(),
        ("quorum_votes", _) => node.votes = value.parse().unwrap_or(1),
        _ => {}
    }
}

fn plain_key(conf: &mut Corosync, path: &str, value: &str) {
    match path {
        "quorum.two_node" => conf.two_node = value == "1",
        "quorum.wait_for_all" => conf.wait_for_all = Some(value == "1"),
        "quorum.expected_votes" => conf.expected_votes = value.parse().ok(),
        "quorum.ping_targets" => conf.ping_targets = !value.is_empty(),
        "quorum.provider" => conf.quorum_provider = true,
        "totem.keyfile" => conf.keyfile = Some(value.into()),
        "totem.key" => conf.inline_key = true,
        "resources.watchdog_device" => {
            conf.watchdog_device = Some(value.to_owned()).filter(|d| !d.is_empty() && d != "off");
        }
        "resources.watchdog_timeout" => conf.watchdog_timeout_s = value.parse().ok(),
        "totem.token" => conf.token_ms = value.parse().ok(),
        _ => {}
    }
}
