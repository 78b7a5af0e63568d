//! The nftables table of one `fwmark` resource, as the JSON that `nft -j` reads.

use serde_json::{Value, json};
use std::net::IpAddr;

/// Longest name of a table here; nftables takes 255 bytes.
const MAX_NAME: usize = 200;
/// Before the filter hooks and before routing (`mangle`).
const PRIORITY: i32 = -150;

/// An address or a whole subnet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Prefix {
    pub addr: IpAddr,
    pub len: u8,
}

impl Prefix {
    /// `192.0.2.1`, `192.0.2.0/28`, `2001:db8::/64`; bits behind the prefix must be zero.
    pub fn parse(text: &str) -> Option<Prefix> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr.parse().ok()?, Some(len.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let (bits, full) = match addr {
            IpAddr::V4(a) => (u128::from(a.to_bits()) << 96, 32),
            IpAddr::V6(a) => (a.to_bits(), 128),
        };
        let len = len.unwrap_or(full);
        let beyond = bits.checked_shl(u32::from(len)).unwrap_or(0);
        let beyond = if full == 32 { beyond >> 96 } else { beyond };
        (len <= full && (len == full || beyond == 0)).then_some(Prefix { addr, len })
    }

    pub fn is_host(&self) -> bool {
        self.len == if self.addr.is_ipv4() { 32 } else { 128 }
    }

    fn json(&self) -> Value {
        let addr = self.addr.to_string();
        if self.is_host() { json!(addr) } else { json!({"prefix": {"addr": addr, "len": self.len}}) }
    }
}

/// What is marked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Marks {
    pub mark: u32,
    pub prefixes: Vec<Prefix>,
    /// `None`: whatever the protocol.
    pub protocol: Option<&'static str>,
    /// Inclusive ranges; empty: all.
    pub ports: Vec<(u16, u16)>,
    /// Only packets that come in here.
    pub interface: Option<String>,
}

/// A name that nft takes, different for different resources.
pub(super) fn table_name(resource: &str) -> String {
    let mut name = "bascule_".to_owned();
    for c in resource.chars() {
        if c.is_ascii_alphanumeric() { name.push(c) } else { name.push_str(&format!("_{:x}_", c as u32)) }
    }
    if name.len() > MAX_NAME {
        // FNV-1a: the same name for the same resource at every start of the daemon.
        let step = |hash: u64, b: u8| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
        let hash = resource.bytes().fold(0xcbf2_9ce4_8422_2325, step);
        name.truncate(MAX_NAME - 17);
        name.push_str(&format!("_{hash:016x}"));
    }
    name
}

/// One transaction that leaves exactly this table, whatever was there.
pub(super) fn install(table: &str, marks: &Marks) -> Value {
    let named = json!({"family": "inet", "name": table});
    let mut commands = vec![
        json!({"add": {"table": named}}),
        json!({"delete": {"table": named}}),
        json!({"add": {"table": named}}),
        json!({"add": {"chain": {"family": "inet", "table": table, "name": "mark", "type": "filter",
            "hook": "prerouting", "prio": PRIORITY, "policy": "accept"}}}),
    ];
    for ipv4 in [true, false] {
        let these: Vec<Value> = marks.prefixes.iter().filter(|p| p.addr.is_ipv4() == ipv4).map(Prefix::json).collect();
        if !these.is_empty() {
            let family = if ipv4 { "ip" } else { "ip6" };
            commands.push(json!({"add": {"rule": {"family": "inet", "table": table, "chain": "mark",
                "expr": rule(marks, family, these)}}}));
        }
    }
    json!({"nftables": commands})
}

/// Number of rules that [`install`] makes.
pub(super) fn rules(marks: &Marks) -> usize {
    [true, false].iter().filter(|v4| marks.prefixes.iter().any(|p| p.addr.is_ipv4() == **v4)).count()
}

pub(super) fn remove(table: &str) -> Value {
    let named = json!({"family": "inet", "name": table});
    // Added first, since deleting what is not there would fail.
    json!({"nftables": [{"add": {"table": named}}, {"delete": {"table": named}}]})
}

fn rule(marks: &Marks, family: &str, prefixes: Vec<Value>) -> Vec<Value> {
    let is = |left: Value, right: Value| json!({"match": {"op": "==", "left": left, "right": right}});
    let mut expr = Vec::new();
    if let Some(interface) = &marks.interface {
        expr.push(is(json!({"meta": {"key": "iifname"}}), json!(interface)));
    }
    expr.push(is(json!({"payload": {"protocol": family, "field": "daddr"}}), set(prefixes)));
    match (marks.protocol, marks.ports.is_empty()) {
        (Some(protocol), false) => {
            let one = |&(from, to): &(u16, u16)| if from == to { json!(from) } else { json!({"range": [from, to]}) };
            let ports = marks.ports.iter().map(one).collect();
            expr.push(is(json!({"payload": {"protocol": protocol, "field": "dport"}}), set(ports)));
        }
        (Some(protocol), true) => expr.push(is(json!({"meta": {"key": "l4proto"}}), json!(protocol))),
        (None, _) => {}
    }
    expr.push(json!({"mangle": {"key": {"meta": {"key": "mark"}}, "value": marks.mark}}));
    expr
}

fn set(mut members: Vec<Value>) -> Value {
    if members.len() == 1 { members.swap_remove(0) } else { json!({"set": members}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        for good in ["192.0.2.1", "192.0.2.0/28", "2001:db8::/64", "2001:db8::1", "0.0.0.0/0"] {
            assert!(Prefix::parse(good).is_some(), "{good}");
        }
        for bad in ["", "x", "192.0.2.1/28", "192.0.2.0/33", "2001:db8::1/64", "::/129"] {
            assert!(Prefix::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_differ_as_the_resources_do() {
        assert_eq!(table_name("web"), "bascule_web");
        assert_ne!(table_name("a-b"), table_name("a_b"));
        let long = |last: &str| format!("{}{last}", "ü".repeat(300));
        assert!(table_name(&long("")).len() <= MAX_NAME);
        assert_ne!(table_name(&long("a")), table_name(&long("b")));
        assert!(table_name("é:1").chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    }

    /// The real `nft`, where there is one, takes the document without touching anything.
    #[test]
    fn nft_takes_it() {
        let marks = Marks {
            mark: 7,
            prefixes: ["192.0.2.1", "198.51.100.0/28", "2001:db8::/64"]
                .iter()
                .filter_map(|t| Prefix::parse(t))
                .collect(),
            protocol: Some("tcp"),
            ports: vec![(80, 80), (8000, 8010)],
            interface: Some("eth0".to_owned()),
        };
        assert_eq!(rules(&marks), 2);
        for (i, document) in
            [install("t", &marks), install("t", &Marks { ports: vec![], ..marks.clone() }), remove("t")]
                .iter()
                .enumerate()
        {
            let dir = tempfile::tempdir().expect("temporary directory");
            let file = dir.path().join("rules.json");
            std::fs::write(&file, document.to_string()).expect("file");
            let Ok(out) =
                std::process::Command::new("unshare").args(["-n", "nft", "-j", "-c", "-f"]).arg(&file).output()
            else {
                return println!("SKIPPED: no unshare");
            };
            let stderr = String::from_utf8_lossy(&out.stderr);
            if stderr.contains("No such file") || stderr.contains("not permitted") || stderr.contains("not supported") {
                return println!("SKIPPED: {stderr}");
            }
            assert!(out.status.success(), "{i}: {stderr}\n{document:#}");
        }
    }
}
