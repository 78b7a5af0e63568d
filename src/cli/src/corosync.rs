//! Corosync's commands: `corosync-quorumtool`, `corosync-cfgtool`, `corosync-keygen`.

use crate::args::{self, Command};
use crate::client::Client;
use crate::clock;
use crate::report::{Common, Format, put};
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;
use wire::api::{NodeStatus, QuorumStatus};

/// Show votes and quorum
#[derive(Parser, Debug)]
#[command(
    name = "corosync-quorumtool",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-quorumtool -s     votes, quorum and members\n  corosync-quorumtool -l     members only\n\nExit codes: 0 quorate; 1 error; 2 not quorate"
)]
pub struct Quorumtool {
    /// Votes, quorum and members (this is also what happens without options)
    #[arg(short = 's')]
    status: bool,
    /// Members
    #[arg(short = 'l')]
    list: bool,
    /// In a form for programs
    #[arg(short = 'p')]
    parseable: bool,
    /// Show ids instead of names
    #[arg(short = 'i')]
    ids: bool,
    #[command(flatten)]
    common: Common,
}

pub fn quorumtool(args: Vec<OsString>) -> i32 {
    args::run::<Quorumtool>(args)
}

/// Corosync's tools know one code for all that fails.
fn error(failure: impl Into<Failure>) -> Failure {
    Failure { code: 1, ..failure.into() }
}

impl Command for Quorumtool {
    const NAME: &'static str = "corosync-quorumtool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let q: QuorumStatus = Client::from_env().get("/v1/quorum").map_err(error)?;
        let text = match (self.list && !self.status, self.common.output_as) {
            (_, Format::Json) => serde_json::to_string_pretty(&q).map_err(|e| Failure::new(1, e.to_string()))? + "\n",
            (true, _) => members(&q, self.ids),
            (false, _) => quorum(&q) + &members(&q, self.ids),
        };
        self.common.write(&text)?;
        Ok(if q.quorate { 0 } else { 2 })
    }
}

fn quorum(q: &QuorumStatus) -> String {
    let ring = q.ring.map(|r| format!("{:x}.{:x}", r.rep.0, r.seq)).unwrap_or_else(|| "none".to_owned());
    let quorate = if q.quorate { "Yes" } else { "No" };
    let blocked = if q.quorate { "" } else { "Activity blocked" };
    let mut out = String::new();
    let date = clock::ctime(q.now);
    let _ = write!(
        out,
        "Quorum information\n------------------\nDate:             {date}\nQuorum provider:  {}\nNodes:            {}\n\
             Node ID:          {}\nRing ID:          {ring}\nQuorate:          {quorate}\n\n",
        q.provider,
        q.members.len(),
        q.me
    );
    let flags: String = q.flags.iter().map(|f| format!("{f} ")).collect();
    let _ = write!(
        out,
        "Votequorum information\n----------------------\nExpected votes:   {}\nHighest expected: {}\nTotal votes:      {}\n\
             Quorum:           {} {blocked} \nFlags:            {flags}\n\n",
        q.expected_votes, q.highest_expected, q.total_votes, q.quorum
    );
    out
}

fn members(q: &QuorumStatus, ids: bool) -> String {
    let mut out = String::from("Membership information\n----------------------\n    Nodeid      Votes Name\n");
    for m in &q.members {
        let name = if ids { m.id.to_string() } else { m.name.clone() };
        let local = if m.local { " (local)" } else { "" };
        let _ = writeln!(out, "{:>10} {:>10} {name}{local}", m.id.0, m.votes);
    }
    out
}

/// Votes, quorum and members, as `corosync-quorumtool -s` prints them.
pub fn quorum_text(q: &QuorumStatus) -> String {
    quorum(q) + &members(q, false)
}

/// Show the links to the other nodes
#[derive(Parser, Debug)]
#[command(
    name = "corosync-cfgtool",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-cfgtool -s     state of every link\n  corosync-cfgtool -n     state of every node\n  corosync-cfgtool -a 2   addresses of node 2"
)]
pub struct Cfgtool {
    /// State of every link
    #[arg(short = 's', group = "command")]
    status: bool,
    /// State of every node's links
    #[arg(short = 'n', group = "command")]
    nodes: bool,
    /// Addresses of a node
    #[arg(short = 'a', value_name = "NODEID", group = "command")]
    addresses: Option<u32>,
    #[command(flatten)]
    common: Common,
}

pub fn cfgtool(args: Vec<OsString>) -> i32 {
    args::run::<Cfgtool>(args)
}

impl Command for Cfgtool {
    const NAME: &'static str = "corosync-cfgtool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let status: NodeStatus = Client::from_env().get("/v1/status").map_err(error)?;
        if self.common.output_as == Format::Json {
            let text = serde_json::to_string_pretty(&status.links).map_err(|e| Failure::new(1, e.to_string()))?;
            self.common.write(&format!("{text}\n"))?;
        } else if let Some(id) = self.addresses {
            let node = status.nodes.iter().find(|n| n.id.0 == id);
            let node = node.ok_or_else(|| Failure::new(1, format!("no node has the id {id}")))?;
            self.common.write(&format!("{}\n", node.addresses.join(" ")))?;
        } else if self.nodes {
            self.common.write(&by_node(&status))?;
        } else if self.status {
            self.common.write(&by_link(&status))?;
        } else {
            return Err(Failure::new(1, "choose one of -s, -n and -a (see --help)"));
        }
        Ok(0)
    }
}

fn by_link(status: &NodeStatus) -> String {
    let mut out = format!("Local node ID {}, transport bascule\n", status.me);
    let own = status.nodes.iter().find(|n| n.id == status.me).map(|n| n.addresses.as_slice()).unwrap_or_default();
    let count = status.links.iter().map(|l| usize::from(l.link) + 1).max().unwrap_or(0).max(own.len());
    for number in 0..count {
        let links = || status.links.iter().filter(|l| usize::from(l.link) == number);
        let local =
            links().next().map(|l| l.local.as_str()).or(own.get(number).map(String::as_str)).unwrap_or_default();
        let _ = write!(out, "LINK ID {number} udp\n\taddr\t= {local}\n\tstatus:\n");
        for node in &status.nodes {
            let word = match links().find(|l| l.peer == node.id) {
                _ if node.id == status.me => "localhost",
                Some(link) if link.up => "connected",
                _ => "disconnected",
            };
            let _ = writeln!(out, "\t\tnodeid: {:>10}:\t{word}", node.id.0);
        }
    }
    out
}

fn by_node(status: &NodeStatus) -> String {
    let mut out = format!("Local node ID {}, transport bascule\n", status.me);
    for node in status.nodes.iter().filter(|n| n.id != status.me) {
        let reachable = status.links.iter().any(|l| l.peer == node.id && l.up);
        let _ = writeln!(out, "nodeid: {}{}", node.id, if reachable { " reachable" } else { "" });
        for link in status.links.iter().filter(|l| l.peer == node.id) {
            let word = if link.up { "enabled connected" } else { "enabled" };
            let rtt = link.rtt_us.map(|us| format!(" rtt: {us} us")).unwrap_or_default();
            let _ = writeln!(out, "   LINK: {} udp ({}->{}) {word}{rtt}", link.link, link.local, link.remote);
        }
    }
    out
}

/// Show the running configuration and membership as keys
#[derive(Parser, Debug)]
#[command(
    name = "corosync-cmapctl",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-cmapctl                      all keys\n  corosync-cmapctl | grep members       who is in the ring\n  corosync-cmapctl -g totem.cluster_name"
)]
pub struct Cmapctl {
    /// Show these keys only
    #[arg(short = 'g', value_name = "KEY")]
    get: Vec<String>,
    /// Accepted: the list is brief
    #[arg(short = 'b')]
    brief: bool,
    /// Show the keys that start so
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<String>,
    #[command(flatten)]
    common: Common,
}

pub fn cmapctl(args: Vec<OsString>) -> i32 {
    args::run::<Cmapctl>(args)
}

impl Command for Cmapctl {
    const NAME: &'static str = "corosync-cmapctl";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let client = Client::from_env();
        let status: NodeStatus = client.get("/v1/status").map_err(error)?;
        let quorum: QuorumStatus = client.get("/v1/quorum").map_err(error)?;
        let all = self.get.is_empty() && self.prefixes.is_empty();
        let wanted = |key: &str| {
            all || self.get.iter().any(|g| g == key) || self.prefixes.iter().any(|p| key.starts_with(p.as_str()))
        };
        let keys = keys(&status, &quorum);
        let shown: String = keys
            .iter()
            .filter(|(k, _, _)| wanted(k))
            .map(|(key, kind, value)| format!("{key} ({kind}) = {value}\n"))
            .collect();
        if shown.is_empty() {
            return Err(Failure::new(1, "Can't get key. Error CS_ERR_NOT_EXIST"));
        }
        self.common.write(&shown)?;
        Ok(0)
    }
}

/// Key, type and value, sorted by key.
fn keys(status: &NodeStatus, quorum: &QuorumStatus) -> Vec<(String, &'static str, String)> {
    let mut out: Vec<(String, &'static str, String)> = Vec::new();
    let mut add = |key: String, kind: &'static str, value: String| out.push((key, kind, value));
    for (i, node) in status.nodes.iter().enumerate() {
        add(format!("nodelist.node.{i}.name"), "str", node.name.clone());
        add(format!("nodelist.node.{i}.nodeid"), "u32", node.id.to_string());
        for (link, address) in node.addresses.iter().enumerate() {
            add(format!("nodelist.node.{i}.ring{link}_addr"), "str", address.clone());
        }
        let rings = node.addresses.iter().enumerate().map(|(i, a)| format!("r({i}) ip({a}) "));
        add(format!("runtime.members.{}.ip", node.id), "str", rings.collect());
        let state = if node.member { "joined" } else { "left" };
        add(format!("runtime.members.{}.status", node.id), "str", state.to_owned());
        if node.id == status.me {
            add("nodelist.local_node_pos".to_owned(), "u32", i.to_string());
        }
    }
    add("quorum.provider".to_owned(), "str", quorum.provider.clone());
    add("quorum.expected_votes".to_owned(), "u32", quorum.expected_votes.to_string());
    let waits = quorum.flags.iter().any(|f| f == "WaitForAll");
    add("runtime.votequorum.wait_for_all_status".to_owned(), "u8", u8::from(waits && !quorum.quorate).to_string());
    add("totem.cluster_name".to_owned(), "str", status.cluster_name.clone());
    for counter in &status.counters {
        add(format!("stats.{}", counter.name), "u64", counter.value.to_string());
    }
    out.sort();
    out
}

/// Make the cluster's secret key
#[derive(Parser, Debug)]
#[command(
    name = "corosync-keygen",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-keygen                     /etc/corosync/authkey\n  corosync-keygen -k ./authkey        another file\n\nCopy the file to every node, mode 0400."
)]
pub struct Keygen {
    /// Where to write the key
    #[arg(short = 'k', long, value_name = "FILE", default_value = "/etc/corosync/authkey")]
    key_file: PathBuf,
    /// Where to read randomness
    #[arg(short = 'r', long, value_name = "FILE", default_value = "/dev/urandom")]
    random_file: PathBuf,
    /// Size in bytes, 128 to 4096
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    /// Accepted: never waits for entropy
    #[arg(short = 'l', long)]
    less_secure: bool,
    /// Replace a key that is there while a node runs on this host
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

pub fn keygen(args: Vec<OsString>) -> i32 {
    args::run::<Keygen>(args)
}

impl Command for Keygen {
    const NAME: &'static str = "corosync-keygen";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if !(128..=4096).contains(&self.size) {
            return Err(Failure::new(1, format!("{} bytes: a key has 128 to 4096 bytes", self.size)));
        }
        let old = std::fs::metadata(&self.key_file).is_ok_and(|m| m.is_file() && m.len() > 0);
        if old && !self.force && node_runs() {
            return Err(Failure::new(
                1,
                format!(
                    "{} holds a key, and a node runs on this host: with another key it would not be understood by the others after \
                     its next start. Write the new key elsewhere (-k FILE), or use --force",
                    self.key_file.display()
                ),
            ));
        }
        let (bits, random) = (self.size * 8, self.random_file.display());
        put(&format!(
            "Corosync Cluster Engine Authentication key generator.\nGathering {bits} bits for key from {random}.\n"
        ));
        let mut key = vec![0u8; self.size];
        let random = std::fs::File::open(&self.random_file).and_then(|mut f| f.read_exact(&mut key));
        random.map_err(|e| Failure::new(1, format!("cannot read {}: {e}", self.random_file.display())))?;
        put(&format!("Writing corosync key to {}.\n", self.key_file.display()));
        self.store(&key).map_err(|e| Failure::new(1, format!("cannot write {}: {e}", self.key_file.display())))?;
        if old {
            kernel::errln!(
                "The key that was there is replaced: copy the new one to every node before any is started again."
            );
        }
        Ok(crm::OK)
    }
}

/// Whether a node daemon answers here.
fn node_runs() -> bool {
    crate::client::Client::from_env().get::<wire::api::NodeStatus>("/v1/status").is_ok()
}

/// The one directory that is made, as by the original, where it is missing.
const KEY_DIR: &str = "/etc/corosync";

impl Keygen {
    /// Never readable by others.
    fn store(&self, key: &[u8]) -> std::io::Result<()> {
        let dir = self.key_file.parent().filter(|d| !d.as_os_str().is_empty());
        if let Some(dir) = dir.filter(|d| *d == std::path::Path::new(KEY_DIR) && !d.exists()) {
            std::fs::create_dir_all(dir)?;
            kernel::errln!("Made the directory {}.", dir.display());
        }
        kernel::files::replace(&self.key_file, key, 0o400)
    }
}
