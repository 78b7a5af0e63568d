//! `pcs cluster setup|config|link` and `pcs quorum config|update|device` on a `corosync.conf`: one of their own (`--corosync_conf FILE`),
//! or this host's. The latter goes to all nodes or to none where this host knows them ([`super::members::carry`]); else it says what
//! is left to do.

mod device;
mod file;
mod links;
mod show;

use super::report::{Report, quoted};
use super::unable;
use crate::edit::{error, pair};
use crate::grammar::Line;
use crate::source::Failure;
pub use file::{Section, parse};
use std::path::{Path, PathBuf};

type Pairs = Vec<(String, String)>;
/// Names with their addresses, one for each link.
type Nodes = Vec<(String, Vec<String>)>;

const TRANSPORTS: [&str; 3] = ["knet", "udp", "udpu"];
const TOTEM: [&str; 18] = [
    "block_unlisted_ips",
    "consensus",
    "downcheck",
    "fail_recv_const",
    "heartbeat_failures_allowed",
    "hold",
    "join",
    "max_messages",
    "max_network_delay",
    "merge",
    "miss_count_const",
    "send_join",
    "seqno_unchanged_const",
    "token",
    "token_coefficient",
    "token_retransmit",
    "token_retransmits_before_loss_const",
    "window_size",
];
const KNET: [&str; 3] = ["ip_version", "knet_pmtud_interval", "link_mode"];
const UDP: [&str; 2] = ["ip_version", "netmtu"];
const COMPRESSION: [&str; 3] = ["level", "model", "threshold"];
const CRYPTO: [&str; 3] = ["cipher", "hash", "model"];
const QUORUM: [&str; 4] = ["auto_tie_breaker", "last_man_standing", "last_man_standing_window", "wait_for_all"];
/// Link options that the file knows under a longer name.
const LINK_LONG: [&str; 6] =
    ["link_priority", "ping_interval", "ping_precision", "ping_timeout", "pong_count", "transport"];
/// Options of totem whose values are words.
const WORDS: [(&str, &[&str]); 2] = [("block_unlisted_ips", &["no", "yes"]), ("downcheck", &[])];

/// Bytes of a file, at most.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whether the command is about a file. Some are about this host's where none is named.
pub fn is(line: &Line, words: &[&str]) -> bool {
    match words {
        ["cluster", "link" | "config", ..] | ["quorum", "update", ..] => true,
        ["quorum", "device", rest @ ..] => !matches!(rest, ["status"]),
        ["cluster", "setup", ..] | ["quorum"] | ["quorum", "config"] => line.value("--corosync_conf").is_some(),
        _ => false,
    }
}

pub fn run(line: &Line, words: &[&str]) -> Result<String, Failure> {
    let own = std::env::var_os("COROSYNC_MAIN_CONFIG_FILE").map_or("/etc/corosync/corosync.conf".into(), PathBuf::from);
    let named = line.value("--corosync_conf").map(PathBuf::from);
    let path = named.as_deref().unwrap_or(&own);
    let report = || Report::of(line);
    let edited = |change: &dyn Fn(&mut Section) -> Result<(), Failure>| {
        let mut conf = read(path)?;
        change(&mut conf)?;
        if named.is_some() {
            return write(path, &conf);
        }
        if let Some(carried) = super::members::carry(&conf) {
            return carried;
        }
        write(path, &conf)?;
        Ok(format!(
            "{} is changed. Copy it to every node, then run on one of them: corosync-cfgtool -R\n\
             (with 'bascule pcsd' on all of them, and 'pcs host auth', this is done for you)\n",
            path.display()
        ))
    };
    match words {
        ["cluster", "setup", words @ ..] => {
            let (name, rest) = super::setup::named(line, words)?;
            setup(line, path, name, rest)
        }
        ["cluster", "config"] | ["cluster", "config", "show"] => show::cluster(&read(path)?, line),
        ["cluster", "config", "update", rest @ ..] => edited(&|conf| update(line, conf, rest)),
        ["cluster", "config", "uuid", "generate"] => edited(&|conf| {
            let totem = conf.section_mut("totem");
            if totem.value("cluster_uuid").is_some() && !line.has("--force") {
                return Err(unable(&["Cluster UUID has already been set, use --force to override".to_owned()]));
            }
            totem.set("cluster_uuid", &uuid()?);
            Ok(())
        }),
        ["cluster", "link", "add", rest @ ..] => edited(&|conf| links::add(conf, rest, report())),
        ["cluster", "link", "update", link, rest @ ..] => edited(&|conf| links::update(conf, link, rest, report())),
        ["cluster", "link", "remove" | "delete", rest @ ..] => edited(&|conf| links::remove(conf, rest)),
        ["quorum"] | ["quorum", "config"] => Ok(show::quorum(&read(path)?)),
        ["quorum", "update", rest @ ..] => edited(&|conf| update_quorum(line, conf, rest)),
        ["quorum", "device", "add", rest @ ..] => edited(&|conf| device::add(conf, rest, report())),
        ["quorum", "device", "update", rest @ ..] => edited(&|conf| device::update(conf, rest, report())),
        ["quorum", "device", "remove" | "delete"] => edited(&device::remove),
        ["quorum", "device", "heuristics", "remove" | "delete"] => edited(&device::remove_heuristics),
        _ => Err(error(format!("unknown command '{}' (see: pcs help)", words.join(" ")))),
    }
}

/// The cluster's name and its nodes, and the quorum options, for what shows more than the file.
pub fn summary(line: &Line) -> Result<Option<(String, Vec<String>, String)>, Failure> {
    let Some(path) = line.value("--corosync_conf") else { return Ok(None) };
    let conf = read(Path::new(path))?;
    let name = conf.section("totem").and_then(|t| t.value("cluster_name")).unwrap_or_default().to_owned();
    let nodes = conf.nodes().map(|n| n.value("name").unwrap_or_default().to_owned()).collect();
    Ok(Some((name, nodes, show::quorum(&conf))))
}

fn read(path: &Path) -> Result<Section, Failure> {
    let shown = path.display();
    let bytes = kernel::files::read_regular(path, MAX_BYTES).map_err(|e| {
        let why = if e.kind() == std::io::ErrorKind::NotFound {
            "No such file or directory".to_owned()
        } else {
            e.to_string()
        };
        error(format!("Unable to read Corosync configuration '{shown}': {why}: '{shown}'"))
    })?;
    parsed(&bytes)
}

pub(super) fn parsed(bytes: &[u8]) -> Result<Section, Failure> {
    file::parse(&String::from_utf8_lossy(bytes)).map_err(|why| error(format!("Unable to parse corosync config: {why}")))
}

fn write(path: &Path, conf: &Section) -> Result<String, Failure> {
    let failed = |e: std::io::Error| error(format!("Unable to write {}: {e}", path.display()));
    kernel::files::replace(path, conf.text().as_bytes(), 0o644).map_err(failed)?;
    Ok(String::new())
}

fn uuid() -> Result<String, Failure> {
    use std::io::Read;
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|e| error(format!("no random numbers: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// What follows the names: options by part, links one by one.
#[derive(Default)]
struct Options {
    kind: Option<String>,
    transport: Pairs,
    compression: Pairs,
    crypto: Pairs,
    totem: Pairs,
    quorum: Pairs,
    links: Vec<Pairs>,
}

impl Options {
    /// `transport` with its kind where a cluster is set up.
    fn of(words: &[&str], with_kind: bool) -> Result<Options, Failure> {
        let mut all = Options::default();
        let mut part = "";
        for word in words {
            match *word {
                "transport" | "compression" | "crypto" | "totem" | "quorum" => part = word,
                "link" => {
                    part = word;
                    all.links.push(Vec::new());
                }
                word if part == "transport" && with_kind && all.kind.is_none() => all.kind = Some(word.to_owned()),
                word => {
                    let list = match part {
                        "transport" => &mut all.transport,
                        "compression" => &mut all.compression,
                        "crypto" => &mut all.crypto,
                        "totem" => &mut all.totem,
                        "quorum" => &mut all.quorum,
                        _ => match all.links.last_mut() {
                            Some(link) => link,
                            None => return Err(error(format!("'{word}' stands in no part of the command"))),
                        },
                    };
                    list.push(pair(word)?);
                }
            }
        }
        Ok(all)
    }

    fn check(&self, kind: &str, report: &mut Report) {
        let allowed: &[&str] = if kind == "knet" { &KNET } else { &UDP };
        known(report, &format!("{kind} transport"), &self.transport, allowed);
        for (word, pairs, allowed) in
            [("compression", &self.compression, &COMPRESSION), ("crypto", &self.crypto, &CRYPTO)]
        {
            if kind != "knet" && !pairs.is_empty() {
                report.error(format!("The udp/udpu transport does not support '{word}' options, use 'knet' transport"));
                continue;
            }
            known(report, word, pairs, allowed);
        }
        known(report, "totem", &self.totem, &TOTEM);
        for (name, value) in self.totem.iter().filter(|(n, v)| TOTEM.contains(&n.as_str()) && !v.is_empty()) {
            match WORDS.iter().find(|(n, _)| n == name) {
                Some((_, [])) => {}
                Some((_, allowed)) => report.one_of(name, Some(value), allowed),
                None if value.parse::<u64>().is_err() => {
                    report.error(format!("'{value}' is not a valid {name} value, use a non-negative integer"));
                }
                None => {}
            }
        }
        check_quorum(&self.quorum, report);
    }

    /// As the file has them, in order of the parts.
    fn totem_pairs(&self) -> Pairs {
        let prefixed = |pairs: &Pairs, prefix: &str| -> Pairs {
            let mut all: Pairs = pairs.iter().map(|(n, v)| (format!("{prefix}{n}"), v.clone())).collect();
            all.sort();
            all
        };
        let mut all = prefixed(&self.totem, "");
        all.extend(prefixed(&self.transport, ""));
        all.extend(prefixed(&self.compression, "knet_compression_"));
        all.extend(prefixed(&self.crypto, "crypto_"));
        all
    }
}

fn known(report: &mut Report, what: &str, pairs: &Pairs, allowed: &[&str]) {
    let odd: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).filter(|n| !allowed.contains(n)).collect();
    if !odd.is_empty() {
        let word = if odd.len() == 1 { "option" } else { "options:" };
        let allowed = quoted(allowed.iter().copied());
        report.error(format!("invalid {what} {word} {}, allowed options are: {allowed}", quoted(odd)));
    }
}

fn check_quorum(pairs: &Pairs, report: &mut Report) {
    known(report, "quorum", pairs, &QUORUM);
    for (name, value) in pairs.iter().filter(|(n, v)| QUORUM.contains(&n.as_str()) && !v.is_empty()) {
        match name.as_str() {
            "last_man_standing_window" if value.parse::<u32>().is_ok_and(|n| n > 0) => {}
            "last_man_standing_window" => {
                report.error(format!("'{value}' is not a valid {name} value, use a positive integer"));
            }
            name => report.one_of(name, Some(value), &["0", "1"]),
        }
    }
}

/// `NAME [addr=ADDRESS]...` any number of times, up to the options.
fn members<'w, 'a>(words: &'w [&'a str], address: &dyn Fn(&str) -> String) -> Result<(Nodes, &'w [&'a str]), Failure> {
    let parts = ["transport", "totem", "quorum"];
    let end = words.iter().position(|w| parts.contains(w)).unwrap_or(words.len());
    let mut nodes: Nodes = Vec::new();
    for word in &words[..end] {
        match (word.split_once('='), nodes.last_mut()) {
            (Some(("addr", address)), Some((_, addresses))) => addresses.push(address.to_owned()),
            (Some((name, _)), _) => {
                return Err(error(format!("invalid node option '{name}', allowed option is: 'addr'")));
            }
            (None, _) => nodes.push(((*word).to_owned(), Vec::new())),
        }
    }
    if nodes.is_empty() {
        return Err(error("name at least one node"));
    }
    for (i, (name, _)) in nodes.iter().enumerate() {
        if nodes[..i].iter().any(|(n, _)| n == name) {
            return Err(error(format!("Node name '{name}' defined multiple times")));
        }
    }
    for (name, addresses) in nodes.iter_mut().filter(|(_, a)| a.is_empty()) {
        let usual = address(name);
        kernel::errln!("No addresses specified for host '{name}', using '{usual}'");
        addresses.push(usual);
    }
    Ok((nodes, &words[end..]))
}

fn setup(line: &Line, path: &Path, name: &str, words: &[&str]) -> Result<String, Failure> {
    let (text, _) = new_file(line, name, words, &str::to_owned)?;
    if path.exists() && !line.has("--overwrite") {
        return Err(error(format!(
            "Corosync configuration file '{}' already exists, use --overwrite to override",
            path.display()
        )));
    }
    write(path, &text)
}

/// The file of a new cluster, and the names of its nodes; whoever is named without an address gets `address`.
pub(super) fn new_file(
    line: &Line,
    name: &str,
    words: &[&str],
    address: &dyn Fn(&str) -> String,
) -> Result<(Section, Vec<String>), Failure> {
    let (nodes, rest) = members(words, address)?;
    let options = Options::of(rest, true)?;
    let kind = options.kind.as_deref().unwrap_or("knet");
    let mut report = Report::of(line);
    report.one_of("transport", Some(kind), &TRANSPORTS);
    if nodes.iter().any(|(_, a)| a.len() != nodes[0].1.len()) {
        let counted = |(name, a): &(String, Vec<String>)| {
            format!("node '{name}' has {} address{}", a.len(), if a.len() == 1 { "" } else { "es" })
        };
        let all: Vec<String> = nodes.iter().map(counted).collect();
        report.error(format!("All nodes must have the same number of addresses; {}", all.join("; ")));
    }
    if TRANSPORTS.contains(&kind) {
        options.check(kind, &mut report);
    }
    report.done()?;
    let uuid = if line.has("--no-cluster-uuid") { None } else { Some(uuid()?) };
    let conf = made(name, kind, &nodes, &options, uuid.as_deref());
    Ok((conf, nodes.into_iter().map(|(name, _)| name).collect()))
}

/// The arbitrator's section, in the words of `pcs quorum device add`.
pub(super) fn add_device(line: &Line, conf: &mut Section, words: &[&str]) -> Result<(), Failure> {
    device::add(conf, words, Report::of(line))
}

/// This host's file.
pub(super) fn own() -> Result<Section, Failure> {
    read(&crate::hosts::places().conf)
}

/// Names of the nodes of a file; a node without a name is called by its address.
pub(super) fn names(conf: &Section) -> Vec<String> {
    conf.nodes().map(|n| n.value("name").or(n.value("ring0_addr")).unwrap_or_default().to_owned()).collect()
}

/// A further node, with as many addresses as the others have.
pub(super) fn add_node(conf: &mut Section, name: &str, addresses: &[String]) -> Result<(), Failure> {
    if names(conf).iter().any(|n| n == name) {
        return Err(unable(&[format!("Node name '{name}' is already used by existing nodes; please, use other name")]));
    }
    let of = |node: &Section| {
        let links = node.items().filter(|(n, _)| n.starts_with("ring") && n.ends_with("_addr"));
        links.map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Pairs>()
    };
    let links = conf.nodes().next().map(of).unwrap_or_default();
    if links.len() != addresses.len() {
        return Err(unable(&[format!(
            "Number of addresses does not fit: the cluster's nodes have {}, '{name}' has {}",
            links.len(),
            addresses.len()
        )]));
    }
    let used: Vec<&String> =
        addresses.iter().filter(|a| conf.nodes().any(|n| of(n).iter().any(|(_, v)| v == *a))).collect();
    if !used.is_empty() {
        return Err(unable(&[format!(
            "Node address {} is already used by existing nodes; please, use other address",
            crate::hosts::quoted(used)
        )]));
    }
    let last = conf.nodes().filter_map(|n| n.value("nodeid")?.parse::<u32>().ok()).max().unwrap_or(0);
    let mut node = Section::new("node");
    links.iter().zip(addresses).for_each(|((link, _), a)| node.set(link, a));
    node.set("name", name);
    node.set("nodeid", &(last + 1).to_string());
    conf.section_mut("nodelist").sections.push(node);
    pair_of_nodes(conf, &Vec::new());
    Ok(())
}

/// Without these nodes.
pub(super) fn remove_nodes(conf: &mut Section, gone: &[&str]) {
    let is_gone = |s: &Section| s.value("name").is_some_and(|n| gone.contains(&n));
    conf.section_mut("nodelist").sections.retain(|s| s.name != "node" || !is_gone(s));
    pair_of_nodes(conf, &Vec::new());
}

fn made(name: &str, kind: &str, nodes: &[(String, Vec<String>)], options: &Options, uuid: Option<&str>) -> Section {
    let mut totem = Section::new("totem");
    [("version", "2"), ("cluster_name", name), ("transport", kind)].iter().for_each(|(n, v)| totem.set(n, v));
    options.totem_pairs().iter().for_each(|(n, v)| totem.set(n, v));
    if kind == "knet" {
        for (name, value) in [("crypto_cipher", "aes256"), ("crypto_hash", "sha256")] {
            if totem.value(name).is_none() {
                totem.set(name, value);
            }
        }
    }
    uuid.into_iter().for_each(|u| totem.set("cluster_uuid", u));
    for (number, link) in options.links.iter().enumerate() {
        let mut interface = Section::new("interface");
        let mut pairs: Pairs = link
            .iter()
            .map(|(n, v)| (if LINK_LONG.contains(&n.as_str()) { format!("knet_{n}") } else { n.clone() }, v.clone()))
            .collect();
        if !pairs.iter().any(|(n, _)| n == "linknumber") {
            pairs.push(("linknumber".to_owned(), number.to_string()));
        }
        pairs.sort();
        pairs.iter().for_each(|(n, v)| interface.set(n, v));
        totem.sections.push(interface);
    }
    let mut list = Section::new("nodelist");
    for (id, (name, addresses)) in nodes.iter().enumerate() {
        let mut node = Section::new("node");
        addresses.iter().enumerate().for_each(|(link, a)| node.set(&format!("ring{link}_addr"), a));
        node.set("name", name);
        node.set("nodeid", &(id + 1).to_string());
        list.sections.push(node);
    }
    let mut quorum = Section::new("quorum");
    quorum.set("provider", "corosync_votequorum");
    let mut conf = Section::new("");
    conf.sections = vec![totem, list, quorum];
    pair_of_nodes(&mut conf, &options.quorum);
    let mut sorted = options.quorum.clone();
    sorted.sort();
    sorted.iter().for_each(|(n, v)| conf.section_mut("quorum").set(n, v));
    let mut logging = Section::new("logging");
    let log = [
        ("to_logfile", "yes"),
        ("logfile", "/var/log/corosync/corosync.log"),
        ("to_syslog", "yes"),
        ("timestamp", "on"),
    ];
    log.iter().for_each(|(n, v)| logging.set(n, v));
    conf.sections.push(logging);
    conf
}

/// Two nodes need no majority, unless something else breaks the tie.
fn pair_of_nodes(conf: &mut Section, options: &Pairs) {
    let two = conf.nodes().count() == 2;
    let quorum = conf.section_mut("quorum");
    let given = options.iter().any(|(n, v)| n == "auto_tie_breaker" && v == "1");
    let breaks = given || quorum.value("auto_tie_breaker") == Some("1") || quorum.section("device").is_some();
    match two && !breaks {
        true if quorum.value("two_node").is_none() => quorum.set("two_node", "1"),
        true => {}
        false => quorum.remove("two_node"),
    }
}

/// Sets what has a value, takes away what has none.
fn apply(section: &mut Section, pairs: &Pairs) {
    for (name, value) in pairs {
        match value.is_empty() {
            true => section.remove(name),
            false => section.set(name, value),
        }
    }
}

fn update(line: &Line, conf: &mut Section, words: &[&str]) -> Result<(), Failure> {
    let options = Options::of(words, false)?;
    let mut report = Report::of(line);
    let kind = conf.section("totem").and_then(|t| t.value("transport")).unwrap_or("knet").to_owned();
    options.check(&kind, &mut report);
    report.done()?;
    apply(conf.section_mut("totem"), &options.totem_pairs());
    Ok(())
}

fn update_quorum(line: &Line, conf: &mut Section, words: &[&str]) -> Result<(), Failure> {
    let mut pairs = words.iter().map(|w| pair(w)).collect::<Result<Pairs, _>>()?;
    let mut report = Report::of(line);
    check_quorum(&pairs, &mut report);
    report.done()?;
    pairs.sort();
    apply(conf.section_mut("quorum"), &pairs);
    pair_of_nodes(conf, &Vec::new());
    Ok(())
}
