//! The run-time state as keys of cmap: names, types and texts as corosync's own.

use crate::source::Failure;
use serde::Serialize;
use std::collections::BTreeMap;
use wire::api::{KeyValue, LinkInfo, NodeStatus, QuorumStatus};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub(super) struct Key {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub value: String,
}

impl Key {
    /// One that was set on the node.
    pub fn own(name: &str, value: &KeyValue) -> Key {
        let text = match value {
            KeyValue::I8(n) => n.to_string(),
            KeyValue::U8(n) => n.to_string(),
            KeyValue::I16(n) => n.to_string(),
            KeyValue::U16(n) => n.to_string(),
            KeyValue::I32(n) => n.to_string(),
            KeyValue::U32(n) => n.to_string(),
            KeyValue::I64(n) => n.to_string(),
            KeyValue::U64(n) => n.to_string(),
            KeyValue::Flt(n) => format!("{n:.6}"),
            KeyValue::Dbl(n) => format!("{n:.6}"),
            KeyValue::Str(text) => text.to_string(),
            KeyValue::Bin(bytes) => bytes.iter().map(|b| escaped(*b)).collect(),
        };
        Key { name: name.to_owned(), kind: value.kind(), value: text }
    }

    /// As corosync shows it; a binary value where it is asked for.
    pub fn line(&self, binary: bool) -> String {
        let Key { name, kind, value } = self;
        if *kind == "bin" && !binary { format!("{name} ({kind})") } else { format!("{name} ({kind}) = {value}") }
    }
}

/// A byte of a binary value.
fn escaped(byte: u8) -> String {
    match byte {
        b'\\' => "\\\\".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02X}"),
    }
}

pub(super) fn json(keys: &[Key]) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(keys).map_err(|e| Failure::new(1, e.to_string()))? + "\n")
}

/// Sorted by name; what runs counts more than what the file says.
#[derive(Default)]
struct Keys(BTreeMap<String, (&'static str, String)>);

impl Keys {
    fn add(&mut self, name: impl Into<String>, kind: &'static str, value: impl ToString) {
        self.0.insert(name.into(), (kind, value.to_string()));
    }

    fn list(self) -> Vec<Key> {
        self.0.into_iter().map(|(name, (kind, value))| Key { name, kind, value }).collect()
    }
}

/// As corosync types the keys of its file: numbers it knows are u32, everything else is text.
fn kind_of(key: &str, value: &str) -> &'static str {
    let last = key.rsplit('.').next().unwrap_or_default();
    let text = ["name", "cluster_name", "keyfile", "logfile", "auto_tie_breaker_node"].contains(&last);
    match last {
        _ if text || value.parse::<u32>().is_err() => "str",
        "two_node"
        | "wait_for_all"
        | "last_man_standing"
        | "auto_tie_breaker"
        | "allow_downscale"
        | "expected_votes_tracking"
        | "linknumber"
        | "knet_link_priority" => "u8",
        "mcastport" => "u16",
        "config_version" => "u64",
        _ => "u32",
    }
}

pub(super) fn icmap(status: &NodeStatus, quorum: &QuorumStatus) -> Vec<Key> {
    let mut keys = Keys::default();
    for (name, value) in &status.configuration {
        keys.add(name, kind_of(name, value), value);
    }
    for (i, node) in status.nodes.iter().enumerate() {
        keys.add(format!("nodelist.node.{i}.name"), "str", &node.name);
        keys.add(format!("nodelist.node.{i}.nodeid"), "u32", node.id);
        let ip = |address: &String| address.rsplit_once(':').map_or(address.as_str(), |(ip, _)| ip).to_owned();
        let bare = |address: &String| ip(address).trim_matches(['[', ']']).to_owned();
        for (link, address) in node.addresses.iter().enumerate() {
            keys.0.entry(format!("nodelist.node.{i}.ring{link}_addr")).or_insert(("str", bare(address)));
        }
        let rings = node.addresses.iter().enumerate().map(|(i, a)| format!("r({i}) ip({}) ", bare(a)));
        keys.add(format!("runtime.members.{}.ip", node.id), "str", rings.collect::<String>());
        let state = if node.member { "joined" } else { "left" };
        keys.add(format!("runtime.members.{}.status", node.id), "str", state);
        if node.id == status.me {
            keys.add("nodelist.local_node_pos", "u32", i);
        }
    }
    let flag = |word: &str| u8::from(quorum.flags.iter().any(|f| f == word));
    keys.add("quorum.provider", "str", &quorum.provider);
    keys.add("totem.cluster_name", "str", &status.cluster_name);
    keys.add("runtime.votequorum.two_node", "u8", flag("2Node"));
    keys.add("runtime.votequorum.wait_for_all_status", "u8", u8::from(quorum.waiting_for_all));
    keys.add("runtime.votequorum.this_node_id", "u32", status.me);
    keys.add("runtime.votequorum.expected_votes", "u32", quorum.expected_votes);
    keys.add("runtime.votequorum.ev_barrier", "u32", quorum.barrier.max(quorum.expected_votes));
    if let (Some(first), Some(last)) = (quorum.members.first(), quorum.members.last()) {
        keys.add("runtime.votequorum.lowest_node_id", "u32", first.id);
        keys.add("runtime.votequorum.highest_node_id", "u32", last.id);
    }
    // Where they have stood all along.
    for counter in &status.counters {
        keys.add(format!("stats.{}", counter.name), "u64", counter.value);
    }
    keys.list()
}

/// The map `stats`: knet's names for the links.
pub(super) fn stats(status: &NodeStatus) -> Vec<Key> {
    let mut keys = Keys::default();
    status.links.iter().for_each(|link| add_link(&mut keys, link));
    for counter in &status.counters {
        keys.add(format!("stats.{}", counter.name), "u64", counter.value);
    }
    keys.list()
}

fn add_link(keys: &mut Keys, link: &LinkInfo) {
    let mut add = |name: &str, kind, value: u64| {
        keys.add(format!("stats.knet.node{}.link{}.{name}", link.peer, link.link), kind, value);
    };
    let s = &link.stats;
    add("enabled", "u8", 1);
    add("connected", "u8", u64::from(link.up));
    add("in_use", "u8", u64::from(link.in_use));
    for (name, value) in [
        ("up_count", s.up_count),
        ("down_count", s.down_count),
        ("latency_min", s.latency_min),
        ("latency_max", s.latency_max),
        ("latency_ave", s.latency_ave),
        ("latency_samples", s.latency_samples),
        ("mtu", s.mtu),
    ] {
        add(name, "u32", value);
    }
    for (name, value) in [
        ("tx_data_packets", s.tx_data_packets),
        ("tx_data_bytes", s.tx_data_bytes),
        ("rx_data_packets", s.rx_data_packets),
        ("rx_data_bytes", s.rx_data_bytes),
        ("tx_ping_packets", s.tx_ping_packets),
        ("tx_ping_bytes", s.tx_ping_bytes),
        ("rx_ping_packets", s.rx_ping_packets),
        ("rx_ping_bytes", s.rx_ping_bytes),
        ("tx_pmtu_packets", s.tx_pmtu_packets),
        ("tx_pmtu_bytes", s.tx_pmtu_bytes),
        ("tx_pmtu_retries", s.tx_pmtu_retries),
        ("rx_pmtu_packets", s.rx_pmtu_packets),
        ("rx_pmtu_bytes", s.rx_pmtu_bytes),
        ("tx_total_packets", s.tx_total_packets),
        ("tx_total_bytes", s.tx_total_bytes),
        ("tx_total_errors", s.tx_total_errors),
        ("rx_total_packets", s.rx_total_packets),
        ("rx_total_bytes", s.rx_total_bytes),
        ("icmp_errors", s.icmp_errors),
    ] {
        add(name, "u64", value);
    }
}
