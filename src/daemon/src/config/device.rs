//! `quorum.device{}`: the arbitrator that this cluster asks.

use super::grammar::Section;
use super::keys::{self, Effect, Key, Kind, Values};
use super::settings::Findings;
use super::{Device, Heuristics, Node};
use quorum::qdevice::{HeuristicsMode, QUICK_HEARTBEAT_MS};
use quorum::qnet::{Algorithm, PORT, TieBreaker, Tls};
use std::time::Duration;

const MS: u64 = 3_600_000;
/// Programs of the heuristics, as with the original.
const MAX_PROGRAMS: usize = 32;
/// What a server takes as a heartbeat by default.
const HEARTBEATS: std::ops::RangeInclusive<u64> = 1000..=120_000;

const fn number(name: &'static str, min: u64, max: u64) -> Key {
    Key { name, kind: Kind::Number { min, max }, effect: Effect::Used }
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, effect: Effect::Used }
}

const DEVICE: &[Key] = &[
    key("model", Kind::Choice(&["net"])),
    number("votes", 0, u32::MAX as u64),
    number("timeout", 1, MS),
    number("sync_timeout", 1, MS),
    Key {
        name: "master_wins",
        kind: Kind::ZeroOne,
        effect: Effect::Warned("no model of device uses it: without effect"),
    },
];

const NET: &[Key] = &[
    key("host", Kind::Text),
    number("port", 1, 65535),
    key("tls", Kind::Choice(&["on", "off", "required"])),
    key("algorithm", Kind::Choice(&["ffsplit", "lms", "2nodelms", "test"])),
    key("tie_breaker", Kind::Text),
    number("connect_timeout", 1, MS),
    key("force_ip_version", Kind::Choice(&["0", "4", "6"])),
    key("keep_active_partition_tie_breaker", Kind::OnOff),
];

const HEURISTICS: &[Key] = &[
    key("mode", Kind::Choice(&["on", "off", "sync"])),
    number("timeout", 1, MS),
    number("sync_timeout", 1, MS),
    number("interval", 1, MS),
];

/// What stands in `section`, which is `quorum {}`.
pub(super) fn read(findings: &mut Findings, section: &Section, nodes: &[Node], cluster_name: &str) -> Option<Device> {
    let device = section.named("device").last()?;
    let v = keys::read(findings, device, DEVICE);
    if v.get("model").is_none() {
        findings.refuse(device.at, "device{} expected `model: net`, found none", "add the line, or remove the section");
        return None;
    }
    let Some(net) = device.named("net").last() else {
        findings.refuse(device.at, "device{} expected a section net{}, found none", "add\nnet {\n    host: ADDRESS\n}");
        return None;
    };
    let n = keys::read(findings, net, NET);
    let Some(host) = n.text("host").map(str::to_owned) else {
        findings.refuse(net.at, "net{} expected `host`, found none", "name the arbitrator, `host: ADDRESS`");
        return None;
    };
    for entry in section.entries() {
        if ["two_node", "auto_tie_breaker", "last_man_standing"].contains(&entry.key.as_str()) && entry.value == "1" {
            let text = format!("`{}` and device{{}} exclude each other", entry.key);
            findings.refuse(entry.at, text, "remove the line: the arbitrator decides");
        }
    }
    if cluster_name.is_empty() {
        let text = "device{} expected `cluster_name` in totem{}, found none: the arbitrator knows clusters by it";
        findings.refuse(device.at, text, "add `cluster_name: NAME` to totem{}");
    }
    let algorithm = n.text("algorithm").and_then(Algorithm::of_text).unwrap_or(Algorithm::Ffsplit);
    let timeout_ms = v.number_or("timeout", 10_000);
    let sync_timeout_ms = v.number_or("sync_timeout", 30_000);
    let long = timeout_ms * 4 / 5;
    if !HEARTBEATS.contains(&long) {
        let at = v.get("timeout").map_or(device.at, |t| t.entry.at);
        let text = format!("`timeout: {timeout_ms}` makes a heartbeat of {long} ms: arbitrators take 1000 to 120000");
        findings.refuse(at, text, "write 1250 to 150000, or remove the line");
    }
    // Whoever writes a timeout has asked for that patience; else a node that dies is given up soon.
    let quick = if v.get("timeout").is_some() { long } else { QUICK_HEARTBEAT_MS.into() };
    let ms = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Some(Device {
        votes: votes(findings, device, &v, algorithm, nodes),
        host,
        port: n.number_or("port", PORT.into()) as u16,
        algorithm,
        tls: match n.text("tls") {
            Some("off") => Tls::Unsupported,
            Some("required") => Tls::Required,
            _ => Tls::Supported,
        },
        tie_breaker: tie_breaker(findings, &n, nodes),
        ip_version: n.text("force_ip_version").and_then(|t| t.parse().ok()).unwrap_or(0),
        keep_active_partition: n.truth("keep_active_partition_tie_breaker").unwrap_or(true),
        heartbeat_ms: ms(quick.min(long)),
        long_heartbeat_ms: ms(long),
        timeout_ms: ms(timeout_ms),
        sync_timeout_ms: ms(sync_timeout_ms),
        connect_timeout_ms: ms(n.number_or("connect_timeout", long)),
        heuristics: heuristics(findings, device, timeout_ms, sync_timeout_ms),
    })
}

fn votes(findings: &mut Findings, device: &Section, v: &Values, algorithm: Algorithm, nodes: &[Node]) -> u32 {
    let sum = nodes.iter().fold(0u32, |sum, n| sum.saturating_add(n.votes));
    let written = v.get("votes");
    let at = written.map_or(device.at, |w| w.entry.at);
    if algorithm != Algorithm::Ffsplit {
        let usual = sum.saturating_sub(1);
        let votes = written.map_or(usual, |w| w.number as u32);
        if algorithm == Algorithm::Lms && votes != usual {
            let text = format!("`lms` expected {usual} votes (those of all nodes less one), found {votes}");
            findings.warn(at, text, "remove the line `votes`: no single node could go on otherwise");
        }
        return votes;
    }
    let votes = written.map_or(1, |w| w.number as u32);
    if votes != 1 {
        findings.refuse(at, format!("`ffsplit` expected `votes: 1`, found {votes}"), "write `votes: 1`");
    }
    if let Some(node) = nodes.iter().find(|n| n.votes != 1) {
        let text = format!("`ffsplit` expected one vote for each node, found {} of node {}", node.votes, node.name);
        findings.refuse(node.at, text, "remove `quorum_votes`, or use `algorithm: lms`");
    }
    if !nodes.len().is_multiple_of(2) {
        let text = format!("`ffsplit` is for an even number of nodes, the nodelist has {}", nodes.len());
        findings.warn(at, text, "an odd number never splits evenly: the device adds nothing; `lms` would");
    }
    votes
}

fn tie_breaker(findings: &mut Findings, n: &Values, nodes: &[Node]) -> TieBreaker {
    let Some(value) = n.get("tie_breaker") else { return TieBreaker::Lowest };
    let known = |id: u32| nodes.iter().any(|n| n.id.0 == id);
    match TieBreaker::of_text(&value.text) {
        Some(TieBreaker::Node(id)) if !known(id) => {
            findings.refuse(
                value.entry.at,
                format!("tie_breaker expected a node of the nodelist, found {id}"),
                "write `lowest`, `highest` or the nodeid of one of them",
            );
            TieBreaker::Lowest
        }
        Some(breaker) => breaker,
        None => {
            findings.refuse(
                value.entry.at,
                format!("tie_breaker expected `lowest`, `highest` or a nodeid, found `{}`", value.text),
                "correct it, or remove the line for the lowest",
            );
            TieBreaker::Lowest
        }
    }
}

fn heuristics(findings: &mut Findings, device: &Section, timeout_ms: u64, sync_timeout_ms: u64) -> Heuristics {
    let section = device.named("heuristics").last().cloned().unwrap_or_default();
    // exec_NAME has any name: those lines are no unknown keys.
    let mut known = section.clone();
    known.items.retain(|i| !matches!(i, super::Item::Entry(e) if e.key.starts_with("exec_")));
    let v = keys::read(findings, &known, HEURISTICS);
    let mode = match v.text("mode") {
        Some("on") => HeuristicsMode::On,
        Some("sync") => HeuristicsMode::Sync,
        _ => HeuristicsMode::Off,
    };
    let mut programs: Vec<(String, Vec<String>)> = Vec::new();
    for entry in section.entries() {
        let Some(name) = entry.key.strip_prefix("exec_") else { continue };
        let words = crate::qnet::words(&entry.value);
        if words.is_empty() || name.is_empty() {
            let text = format!("`{}` expected a name and a program, found `{}`", entry.key, entry.value);
            findings.refuse(entry.at, text, "write `exec_NAME: /path/to/program ARGUMENTS`");
            continue;
        }
        programs.retain(|(n, _)| n != name);
        programs.push((name.to_owned(), words));
    }
    if programs.len() > MAX_PROGRAMS {
        findings.refuse(section.at, format!("more than {MAX_PROGRAMS} programs"), "remove some");
    }
    if mode != HeuristicsMode::Off && programs.is_empty() {
        let text = "heuristics{} expected `exec_NAME` lines, found none";
        findings.warn(section.at, text, "nothing is run, and the result is no help to the arbitrator");
    }
    let of = |name: &str, usual: u64| Duration::from_millis(v.number_or(name, usual));
    Heuristics {
        mode: if programs.is_empty() { HeuristicsMode::Off } else { mode },
        timeout: of("timeout", timeout_ms / 2),
        sync_timeout: of("sync_timeout", sync_timeout_ms / 2),
        interval: of("interval", timeout_ms * 3),
        programs,
    }
}
