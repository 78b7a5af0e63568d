//! From sections to typed settings. Every wish that cannot be granted becomes a finding with its line; all findings of a
//! file are reported at once.

use super::device;
use super::grammar::{Item, Position, Section};
use super::keys::{self, Values};
use super::*;
use base::NodeId;

/// Hosts that a pair may have to reach; each is asked several times a second.
const MAX_PING_TARGETS: usize = 8;

/// Collects what is to be said about one file.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    pub list: Vec<Finding>,
}

impl Findings {
    pub fn note(&mut self, at: Position, text: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Note, at, text, cure);
    }

    pub fn warn(&mut self, at: Position, text: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Warning, at, text, cure);
    }

    pub fn refuse(&mut self, at: Position, text: impl Into<String>, cure: impl Into<String>) {
        self.add(Severity::Refused, at, text, cure);
    }

    pub fn add(&mut self, severity: Severity, at: Position, text: impl Into<String>, cure: impl Into<String>) {
        self.list.push(Finding { severity, file: self.file.clone(), at, text: text.into(), cure: cure.into() });
    }

    pub fn file(&self) -> &str {
        &self.file
    }
}

const START: Position = Position { line: 1, column: 1 };

pub(super) fn build(file: &str, root: &Section, allow: Allow) -> Reading {
    let mut findings = Findings { file: file.to_owned(), list: Vec::new() };
    let mut kept = BTreeMap::new();
    keep(&mut kept, "", root);
    report_strays(&mut findings, root);
    let (totem, interfaces) = totem(&mut findings, root, allow);
    let timers_are_sound = findings.list.iter().all(|f| f.severity != Severity::Refused);
    let nodes = nodelist(&mut findings, root);
    let count = nodes.iter().map(|n| n.addresses.len()).max().unwrap_or(0);
    let links = links(&mut findings, &interfaces, count);
    // What was refused in a node{} is said once, and counts as a node in all that follows.
    let listed = root.named("nodelist").flat_map(|l| l.named("node")).count();
    legacy::check(&mut findings, root, &interfaces, listed > 0);
    let mut quorum = quorum(&mut findings, root, listed);
    quorum.device = merged(root, "quorum").and_then(|q| device::read(&mut findings, &q, &nodes, &totem.cluster_name));
    let logging = logging(&mut findings, root);
    let system = system(&mut findings, root);
    if timers_are_sound {
        derived(&mut findings, root, &totem, listed);
    }
    let Findings { mut list, file } = findings;
    list.sort_by_key(|f| (f.at, std::cmp::Reverse(f.severity)));
    let config = Config { file, totem, links, nodes, quorum, logging, system, kept };
    Reading { config: Some(config), findings: list }
}

/// Flat dotted names as cmap has them: nodes and interfaces are numbered, logger subsystems go by their name.
fn keep(kept: &mut BTreeMap<String, String>, prefix: &str, section: &Section) {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &section.items {
        match item {
            Item::Entry(entry) => {
                kept.insert(format!("{prefix}{}", entry.key), entry.value.clone());
            }
            Item::Section(inner) => {
                let number = numbers.entry(&inner.name).or_default();
                let label = match inner.name.as_str() {
                    "interface" => {
                        let link = inner.entries().find(|e| matches!(e.key.as_str(), "linknumber" | "ringnumber"));
                        format!("interface.{}", link.map_or("0", |e| e.value.as_str()))
                    }
                    "node" | "service" | "uidgid" | "member" => format!("{}.{number}", inner.name),
                    "logger_subsys" => match inner.entries().find(|e| e.key == "subsys") {
                        Some(subsys) => format!("{}.{}", inner.name, subsys.value),
                        None => inner.name.clone(),
                    },
                    name => name.to_owned(),
                };
                *number += 1;
                keep(kept, &format!("{prefix}{label}."), inner);
            }
        }
    }
}

const SECTIONS: &[&str] = &[
    "totem",
    "nodelist",
    "quorum",
    "logging",
    "system",
    "service",
    "aisexec",
    "uidgid",
    "resources",
    "nozzle",
    "pload",
    "qb",
    "amf",
];

fn report_strays(findings: &mut Findings, root: &Section) {
    for entry in root.entries() {
        findings.warn(
            entry.at,
            format!("key `{}` outside of every section", entry.key),
            "kept, without effect; move it into its section",
        );
    }
    for section in root.sections() {
        match section.name.as_str() {
            "resources" if section.sections().next().is_some() => findings.warn(
                section.at,
                "resources{}: load monitoring is not done here",
                "all but watchdog_device and watchdog_timeout is kept, without effect",
            ),
            "nozzle" => {
                findings.warn(section.at, "nozzle{}: there is no pseudo-ethernet device here", "kept, without effect")
            }
            name if SECTIONS.contains(&name) => {}
            name => findings.warn(section.at, format!("unknown section `{name}`"), "kept, without effect"),
        }
    }
}

/// All entries of the sections called `name`, as if they were one.
fn merged(root: &Section, name: &str) -> Option<Section> {
    let mut all = root.named(name);
    let mut first = all.next()?.clone();
    all.for_each(|s| first.items.extend(s.items.iter().cloned()));
    Some(first)
}

fn totem(findings: &mut Findings, root: &Section, allow: Allow) -> (Totem, Vec<(Section, Values)>) {
    let Some(section) = merged(root, "totem") else {
        findings.refuse(
            START,
            "expected a section totem{}, found none",
            "add\ntotem {\n    version: 2\n    cluster_name: NAME\n}",
        );
        return (Totem::default(), Vec::new());
    };
    let v = keys::read(findings, &section, keys::TOTEM);
    if section.entries().all(|e| e.key != "version") {
        findings.refuse(section.at, "totem{} expected `version: 2`, found no version", "add the line `version: 2`");
    }
    let authenticated = legacy::authentication(findings, &v, allow);
    if let Some(model) = v.get("knet_compression_model").filter(|m| m.text != "none") {
        let text = format!("`knet_compression_model: {}`: packets are not compressed", model.text);
        findings.warn(model.entry.at, text, "remove the line");
    }
    let interfaces: Vec<(Section, Values)> =
        section.named("interface").map(|s| (s.clone(), keys::read(findings, s, keys::INTERFACE))).collect();
    for other in section.sections().filter(|s| s.name != "interface") {
        findings.warn(other.at, format!("unknown section `{}` in totem{{}}", other.name), "kept, without effect");
    }
    let totem = Totem {
        cluster_name: v.text("cluster_name").unwrap_or_default().to_owned(),
        config_version: v.number_or("config_version", 0),
        authenticated,
        keyfile: v.text("keyfile").map(PathBuf::from),
        key: v.text("key").map(str::to_owned),
        token_ms: v.number("token"),
        dead_after_ms: v.number("dead_after"),
        token_coefficient_ms: v.number_or("token_coefficient", 650),
        token_warning_percent: v.number_or("token_warning", 75),
        token_retransmit_ms: v.number("token_retransmit"),
        retransmits_before_loss: v.number_or("token_retransmits_before_loss_const", 4),
        hold_ms: v.number("hold"),
        join_ms: v.number_or("join", 50),
        send_join_ms: v.number_or("send_join", 0),
        consensus_ms: v.number("consensus"),
        merge_ms: v.number_or("merge", 200),
        downcheck_ms: v.number_or("downcheck", 1000),
        fail_recv_const: v.number_or("fail_recv_const", 2500),
        seqno_unchanged_const: v.number_or("seqno_unchanged_const", 30),
        window_size: v.number_or("window_size", 50),
        max_messages: v.number_or("max_messages", 17),
        miss_count_const: v.number_or("miss_count_const", 5),
        block_unlisted_ips: v.truth("block_unlisted_ips").unwrap_or(true),
        link_mode: match v.text("link_mode") {
            Some("active") => totem::LinkMode::Active,
            Some("rr") => totem::LinkMode::RoundRobin,
            _ => totem::LinkMode::Passive,
        },
        ip_version: match v.text("ip_version") {
            Some("ipv4") => IpVersion::V4,
            Some("ipv6") => IpVersion::V6,
            Some("ipv4-6") => IpVersion::V4First,
            _ => IpVersion::V6First,
        },
        knet_mtu: v.number_or("knet_mtu", 0),
        pmtud_interval_s: v.number_or("knet_pmtud_interval", 30),
    };
    (totem, interfaces)
}

/// Rules between timers, where each of them is sound.
fn derived(findings: &mut Findings, root: &Section, totem: &Totem, nodes: usize) {
    let timers = Timers::of(totem, nodes);
    let line = |key: &str| {
        let all = root.named("totem").flat_map(Section::entries).filter(|e| e.key == key);
        all.last().map_or(START, |e| e.at)
    };
    if let Some(consensus_ms) = totem.consensus_ms.filter(|ms| ms * 10 < timers.token_ms * 12) {
        let least = (timers.token_ms * 12).div_ceil(10);
        let text = format!(
            "totem.consensus should be at least 1.2 × token ({least} ms with token {} ms), found {consensus_ms} ms",
            timers.token_ms
        );
        findings.warn(line("consensus"), text, "raise it, or remove the line for the derived value");
    }
    if let (Some(dead_after_ms), Some(token_ms)) = (totem.dead_after_ms, totem.token_ms) {
        let text = format!(
            "totem.dead_after ({dead_after_ms} ms) and totem.token ({token_ms} ms) contradict each other: with `token`, nobody is \
             declared dead before it"
        );
        findings.refuse(line("dead_after"), text, "remove `token` for haste, or `dead_after` for patience");
    }
    if timers.join_ms > timers.consensus_ms {
        let text =
            format!("totem.join expected at most consensus ({} ms), found {} ms", timers.consensus_ms, timers.join_ms);
        findings.refuse(line("join"), text, "lower `join`, or raise `consensus` or `token`");
    }
    if timers.token_retransmit_ms >= timers.token_ms {
        let text = format!(
            "totem.token_retransmit expected less than token ({} ms), found {} ms",
            timers.token_ms, timers.token_retransmit_ms
        );
        findings.refuse(
            line("token_retransmit"),
            text,
            "remove `token_retransmit`: the derived value is right for nearly everyone",
        );
    }
}

fn links(findings: &mut Findings, interfaces: &[(Section, Values)], count: usize) -> Vec<Link> {
    let mut links: Vec<Link> = (0..count.min(MAX_LINKS) as u8)
        .map(|number| Link {
            number,
            port: DEFAULT_PORT + u16::from(number),
            priority: 1,
            ping_interval_ms: None,
            ping_timeout_ms: None,
            ping_precision: 2048,
            pong_count: 2,
        })
        .collect();
    for (section, v) in interfaces {
        let number = v.number("linknumber").or(v.number("ringnumber")).unwrap_or(0);
        let Some(link) = links.get_mut(number as usize) else {
            if count > 0 {
                findings.warn(
                    section.at,
                    format!("interface{{}} for link {number}, but no node has a ring{number}_addr"),
                    "kept, without effect",
                );
            }
            continue;
        };
        if let Some(port) = v.number("mcastport") {
            link.port = port as u16;
        }
        link.priority = v.number_or("knet_link_priority", 1).max(1) as u8;
        link.ping_interval_ms = v.number("knet_ping_interval");
        link.ping_timeout_ms = v.number("knet_ping_timeout");
        link.ping_precision = v.number_or("knet_ping_precision", 2048);
        link.pong_count = v.number_or("knet_pong_count", 2);
        if link.ping_interval_ms.is_some() != link.ping_timeout_ms.is_some() {
            findings.warn(
                section.at,
                "knet_ping_interval and knet_ping_timeout should be set as a pair",
                "set both, or neither",
            );
        }
        pings(findings, section, link);
    }
    links
}

/// A time that cannot be kept is not taken for another one in silence.
fn pings(findings: &mut Findings, section: &Section, link: &Link) {
    let (Some(interval), Some(timeout)) = (link.ping_interval_ms, link.ping_timeout_ms) else { return };
    let at = section.entries().filter(|e| e.key == "knet_ping_timeout").last().map_or(section.at, |e| e.at);
    if timeout < interval {
        let text =
            format!("knet_ping_timeout expected at least knet_ping_interval ({interval} ms), found {timeout} ms");
        findings.refuse(
            at,
            text,
            format!("write {} or more: else the link is down between two heartbeats", interval * 2),
        );
    } else if timeout < interval * 2 {
        let least = interval * 2;
        let text =
            format!("knet_ping_timeout: {timeout} ms with knet_ping_interval {interval} ms is taken as {least} ms");
        findings.warn(at, text, format!("write {least}: one heartbeat that is lost must not take a link down"));
    }
}

fn nodelist(findings: &mut Findings, root: &Section) -> Vec<Node> {
    let Some(section) = merged(root, "nodelist") else { return Vec::new() };
    for entry in section.entries() {
        findings.warn(
            entry.at,
            format!("key `{}` in nodelist{{}} outside of node{{}}", entry.key),
            "kept, without effect",
        );
    }
    let mut nodes: Vec<Node> = Vec::new();
    for inner in section.sections() {
        if inner.name != "node" {
            findings.warn(
                inner.at,
                format!("unknown section `{}` in nodelist{{}}", inner.name),
                "kept, without effect",
            );
            continue;
        }
        if nodes.len() >= MAX_NODES {
            findings.refuse(inner.at, format!("expected at most {MAX_NODES} nodes"), "remove the rest");
            break;
        }
        if let Some(node) = node(findings, inner) {
            unique(findings, &nodes, &node);
            nodes.push(node);
        }
    }
    if nodes.is_empty() && section.named("node").next().is_none() {
        findings.refuse(section.at, "nodelist{} expected at least one node{}, found none", legacy::NODE_EXAMPLE);
    }
    same_links(findings, &nodes);
    nodes
}

const NODE_KEYS: &[keys::Key] = &[
    keys::Key { name: "nodeid", kind: keys::Kind::Number { min: 1, max: 65535 }, effect: keys::Effect::Used },
    keys::Key { name: "name", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "quorum_votes", kind: keys::Kind::Number { min: 0, max: 1000 }, effect: keys::Effect::Used },
    keys::Key { name: "ring0_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring1_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring2_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring3_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring4_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring5_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring6_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
    keys::Key { name: "ring7_addr", kind: keys::Kind::Text, effect: keys::Effect::Used },
];

fn node(findings: &mut Findings, section: &Section) -> Option<Node> {
    let v = keys::read(findings, section, NODE_KEYS);
    let mut addresses = Vec::new();
    for link in 0..MAX_LINKS {
        match v.get(&format!("ring{link}_addr")) {
            Some(value) if addresses.len() == link => addresses.push((value.text.clone(), value.entry.value_at)),
            Some(value) => {
                let text = format!("ring{link}_addr expected ring{}_addr beside it, found none", addresses.len());
                findings.refuse(value.entry.at, text, "number the links of a node from 0 without gaps");
            }
            None => {}
        }
    }
    let Some((ring0, _)) = addresses.first().cloned() else {
        findings.refuse(section.at, "node{} expected `ring0_addr`, found none", "add the line `ring0_addr: ADDRESS`");
        return None;
    };
    let id = match (v.number("nodeid"), section.entries().any(|e| e.key == "nodeid")) {
        (Some(id), _) => NodeId(id as u32),
        (None, true) => return None,
        (None, false) => {
            findings.refuse(
                section.at,
                format!("node{{}} `{ring0}` expected `nodeid`, found none"),
                "add the line `nodeid: N`, 1 to 65535, different on each node",
            );
            return None;
        }
    };
    let name = node_name(findings, section, &v, &ring0, addresses.len());
    let votes = v.number_or("quorum_votes", 1) as u32;
    Some(Node { id, name, votes, addresses, at: section.at })
}

/// `name`, or else the host name in ring0_addr, as Pacemaker takes it.
fn node_name(findings: &mut Findings, section: &Section, v: &Values, ring0: &str, links: usize) -> String {
    if let Some(name) = v.text("name") {
        return name.to_owned();
    }
    if ring0.parse::<std::net::IpAddr>().is_ok() {
        let text = format!("node{{}} `{ring0}` has no `name`: the cluster will call it {ring0}");
        findings.warn(section.at, text, "add `name: HOSTNAME`, the name that the CIB uses");
    } else if links > 1 {
        findings.warn(
            section.at,
            format!("node{{}} `{ring0}` has several links and no `name`"),
            format!("add `name: {ring0}`"),
        );
    }
    ring0.to_owned()
}

fn unique(findings: &mut Findings, nodes: &[Node], node: &Node) {
    for other in nodes {
        if other.id == node.id {
            let text = format!(
                "nodeid expected to differ from the other nodes', found {} also in line {}",
                node.id, other.at.line
            );
            findings.refuse(node.at, text, "give each node its own nodeid");
        }
        if base::ids::same_node(&other.name, &node.name) {
            let text = format!(
                "name expected to differ from the other nodes', found `{}` also in line {}",
                node.name, other.at.line
            );
            findings.refuse(node.at, text, "give each node its own name");
        }
        if let Some((address, at)) = node.addresses.iter().find(|(a, _)| other.addresses.iter().any(|(b, _)| a == b)) {
            let text = format!(
                "address expected to differ from the other nodes', found `{address}` also in node `{}`",
                other.name
            );
            findings.refuse(*at, text, "give each node its own addresses");
        }
    }
}

fn same_links(findings: &mut Findings, nodes: &[Node]) {
    let Some(first) = nodes.first() else { return };
    for node in nodes.iter().filter(|n| n.addresses.len() != first.addresses.len()) {
        let text = format!(
            "expected {} links as node `{}` has, found {} on `{}`",
            first.addresses.len(),
            first.name,
            node.addresses.len(),
            node.name
        );
        findings.refuse(node.at, text, "give every node the same ringN_addr lines");
    }
}

fn quorum(findings: &mut Findings, root: &Section, nodes: usize) -> Quorum {
    let Some(section) = merged(root, "quorum") else {
        if nodes > 1 {
            findings.warn(
                START,
                "no quorum{} section: without it, no partition knows whether it may act",
                "add\nquorum {\n    provider: corosync_votequorum\n}",
            );
        }
        return Quorum::default();
    };
    let v = keys::read(findings, &section, keys::QUORUM);
    if v.truth("two_node") == Some(true) && nodes != 2 {
        let at = v.get("two_node").map_or(section.at, |t| t.entry.at);
        findings.warn(
            at,
            format!("two_node is for two nodes, the nodelist has {nodes}"),
            "it is switched off; remove the line",
        );
    }
    let expected = v.get("expected_votes").filter(|e| e.number != 2);
    if let Some(votes) = expected.filter(|_| v.truth("two_node") == Some(true) && nodes == 2) {
        findings.warn(
            votes.entry.at,
            format!(
                "two_node expected 2 votes, found `expected_votes: {}`: one node alone may have no quorum",
                votes.text
            ),
            "remove the line: the votes of the nodelist are counted",
        );
    }
    let pair = v.truth("two_node") == Some(true) && nodes == 2;
    let targets = ping_targets(findings, &v, pair);
    for feature in ["last_man_standing", "auto_tie_breaker", "allow_downscale", "expected_votes_tracking"] {
        if let Some(value) = v.get(feature).filter(|t| t.truth) {
            findings.note(
                value.entry.at,
                format!("`{feature}` is on"),
                "make sure that every node's file says the same",
            );
        }
    }
    Quorum {
        enabled: v.text("provider").is_some(),
        expected_votes: v.number("expected_votes").map(|n| n as u32),
        two_node: pair,
        wait_for_all: v.truth("wait_for_all"),
        last_man_standing: v.truth("last_man_standing").unwrap_or(false),
        last_man_standing_window_ms: v.number_or("last_man_standing_window", 10_000),
        auto_tie_breaker: v.truth("auto_tie_breaker").unwrap_or(false),
        auto_tie_breaker_node: v.text("auto_tie_breaker_node").unwrap_or("lowest").to_owned(),
        allow_downscale: v.truth("allow_downscale").unwrap_or(false),
        expected_votes_tracking: v.truth("expected_votes_tracking").unwrap_or(false),
        ping_targets: targets,
        device: None,
    }
}

/// Addresses and nothing else: a name that does not resolve would cost the vote.
fn ping_targets(findings: &mut Findings, v: &Values, pair: bool) -> Vec<IpAddr> {
    let Some(value) = v.get("ping_targets") else { return Vec::new() };
    let at = value.entry.at;
    let words: Vec<&str> = value.text.split_whitespace().collect();
    if words.is_empty() || words.len() > MAX_PING_TARGETS {
        let text = format!("ping_targets expected 1 to {MAX_PING_TARGETS} addresses, found {}", words.len());
        findings.refuse(at, text, "name routers that both nodes reach, `ping_targets: 192.0.2.1 192.0.2.2`");
    }
    let mut targets = Vec::new();
    for word in words {
        match word.parse::<IpAddr>() {
            Ok(addr) if !addr.is_unspecified() && !addr.is_multicast() && !addr.is_loopback() => targets.push(addr),
            _ => findings.refuse(
                at,
                format!("ping_targets expected IP addresses of other hosts, found `{word}`"),
                "separate them by blanks, and write no names",
            ),
        }
    }
    if !pair {
        findings.warn(
            at,
            "ping_targets has a meaning with `two_node: 1` alone",
            "remove the line: a majority decides here",
        );
    }
    targets
}

fn logging(findings: &mut Findings, root: &Section) -> Logging {
    let section = merged(root, "logging").unwrap_or_default();
    let v = keys::read(findings, &section, keys::LOGGING);
    for inner in section.sections() {
        if matches!(inner.name.as_str(), "logger_subsys" | "logging_daemon") {
            keys::read(findings, inner, keys::LOGGING);
        } else {
            findings.warn(inner.at, format!("unknown section `{}` in logging{{}}", inner.name), "kept, without effect");
        }
    }
    let logfile = v.text("logfile").map(PathBuf::from);
    let to_logfile = v.truth("to_logfile").unwrap_or(false);
    if to_logfile && logfile.is_none() {
        findings.refuse(
            section.at,
            "logging{} expected `logfile` beside `to_logfile: yes`, found none",
            "add `logfile: /var/log/cluster/corosync.log`",
        );
    }
    Logging {
        to_stderr: v.truth("to_stderr").unwrap_or(true),
        to_syslog: v.truth("to_syslog").unwrap_or(true),
        to_logfile,
        logfile,
        debug: matches!(v.text("debug"), Some("on" | "trace")),
        trace: v.text("debug") == Some("trace"),
        timestamp: v.text("timestamp") != Some("off"),
        priority: v.text("logfile_priority").unwrap_or("info").to_owned(),
    }
}

fn system(findings: &mut Findings, root: &Section) -> System {
    let section = merged(root, "system").unwrap_or_default();
    let v = keys::read(findings, &section, keys::SYSTEM);
    let (sched_rr, state_dir) = (v.truth("sched_rr").unwrap_or(true), v.text("state_dir").map(PathBuf::from));
    System { sched_rr, state_dir, watchdog: watchdog(findings, root) }
}

/// `off` and an empty text are none, as with the original; six seconds unless the file says otherwise.
fn watchdog(findings: &mut Findings, root: &Section) -> Option<(PathBuf, u32)> {
    let section = merged(root, "resources").unwrap_or_default();
    let v = keys::read(findings, &section, keys::RESOURCES);
    let device = v.text("watchdog_device").filter(|d| !d.is_empty() && *d != "off")?;
    let timeout_s = v.number("watchdog_timeout").and_then(|n| u32::try_from(n).ok()).unwrap_or(6);
    Some((PathBuf::from(device), timeout_s))
}
