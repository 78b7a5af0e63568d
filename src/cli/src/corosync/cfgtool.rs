//! `corosync-cfgtool`.

use super::{error, refused};
use crate::args::{self, Command};
use crate::client::Client;
use crate::report::{Common, Format, put};
use crate::source::Failure;
use base::NodeId;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use wire::api::{Done, KillCall, LinkInfo, NodeStatus, ReloadCall, ShutdownCall};

/// Show the links to the other nodes; read corosync.conf again
#[derive(Parser, Debug)]
#[command(
    name = "corosync-cfgtool",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-cfgtool -s          state of every link\n  corosync-cfgtool -n          state of every node\n  corosync-cfgtool -i 1 -s     of link 1 alone\n  corosync-cfgtool -a 2        addresses of node 2\n  corosync-cfgtool -R          read corosync.conf again, on all nodes or on none\n\nExit codes: 0 done; 1 error; 7 corosync.conf is refused"
)]
pub struct Cfgtool {
    /// With -s: only the link of this number or address
    #[arg(short = 'i', value_name = "LINK|ADDRESS")]
    interface: Option<String>,
    /// State of every link
    #[arg(short = 's', group = "command")]
    status: bool,
    /// State of every node's links
    #[arg(short = 'n', group = "command")]
    nodes: bool,
    /// With -s: a digit for each node
    #[arg(short = 'b')]
    brief: bool,
    /// Read corosync.conf again, on all nodes or on none
    #[arg(short = 'R', group = "command")]
    reload: bool,
    /// Open this node's log files again
    #[arg(short = 'L', group = "command")]
    logs: bool,
    /// Accepted: links recover by themselves
    #[arg(short = 'r', group = "command")]
    reset: bool,
    /// Have a node leave the ring at once and end
    #[arg(short = 'k', value_name = "NODEID", group = "command", allow_hyphen_values = true)]
    kill: Option<String>,
    /// Addresses of a node
    #[arg(short = 'a', value_name = "NODEID", group = "command", allow_hyphen_values = true)]
    addresses: Option<String>,
    /// Stop this node in good order: its resources are moved away first
    #[arg(short = 'H', group = "command")]
    halt: bool,
    /// With -H: leave at once, as after a second signal
    #[arg(long)]
    force: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn cfgtool(args: Vec<OsString>) -> i32 {
    // Without any word it tells how it is used, as the original.
    let args = if args.is_empty() { vec![OsString::from("--help")] } else { args };
    args::run::<Cfgtool>(args)
}

/// What the original ends with when the file is refused (`CS_ERR_INVALID_PARAM`).
const REFUSED: i32 = 7;

impl Command for Cfgtool {
    const NAME: &'static str = "corosync-cfgtool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let client = Client::from_env();
        if self.reload {
            return self.reload(&client);
        }
        if let Some(text) = &self.kill {
            return self.kill(&client, node_id(text)?);
        }
        if self.halt {
            return self.halt(&client);
        }
        if self.logs {
            let done: Done = client.post("/v1/reload", &ReloadCall { logs_only: true }).map_err(error)?;
            return if done.code == 0 {
                Ok(0)
            } else {
                Err(refused("Could not reopen logging files".to_owned(), &done))
            };
        }
        let status: NodeStatus = client.get("/v1/status").map_err(error)?;
        if let Some(text) = &self.addresses {
            let id = node_id(text)?;
            let node = status.nodes.iter().find(|n| n.id == id);
            let missing = || Failure::new(1, format!("Could not get node address for nodeid {id}"));
            let addresses: Vec<String> = node.ok_or_else(missing)?.addresses.iter().map(|a| ip(a)).collect();
            let text = if self.as_json() { json(&addresses)? } else { format!("{}\n", addresses.join(" ")) };
            self.common.write(&text)?;
        } else if self.reset {
            self.say("links come back by themselves as soon as the peer is heard on them again\n", "reset")?;
        } else if self.as_json() {
            let links: Vec<&LinkInfo> = status.links.iter().filter(|l| self.is_wanted(l.link, &l.local)).collect();
            self.common.write(&json(&links)?)?;
        } else if self.nodes {
            self.common.write(&by_node(&status))?;
        } else if self.status {
            self.common.write(&self.by_link(&status))?;
        } else {
            return Err(Failure::new(1, "choose one of -s, -n, -a, -R, -L, -k and -H (see --help)"));
        }
        Ok(0)
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(value).map_err(|e| Failure::new(1, e.to_string()))? + "\n")
}

fn node_id(text: &str) -> Result<NodeId, Failure> {
    let wrong = || Failure::new(1, "The nodeid was not valid, try a positive number");
    text.parse().ok().filter(|n| *n > 0).map(NodeId).ok_or_else(wrong)
}

fn ip(address: &str) -> String {
    address.parse::<std::net::SocketAddr>().map_or_else(|_| address.to_owned(), |a| a.ip().to_string())
}

impl Cfgtool {
    fn as_json(&self) -> bool {
        self.json || self.common.output_as == Format::Json
    }

    /// A sentence, or as JSON what was done.
    fn say(&self, text: &str, done: &str) -> Result<(), Failure> {
        let text = if self.as_json() { json(&serde_json::json!({ "done": done }))? } else { text.to_owned() };
        self.common.write(&text)
    }

    fn reload(&self, client: &Client) -> Result<i32, Failure> {
        if !self.as_json() {
            put("Reloading corosync.conf...\n");
        }
        let done: Done = client.post("/v1/reload", &ReloadCall::default()).map_err(|e| {
            let why: Failure = error(e);
            Failure::new(1, format!("Could not reload configuration. Error CS_ERR_LIBRARY\n{}", why.message))
        })?;
        if done.code == 0 {
            self.say("Done\n", "reload")?;
            return Ok(0);
        }
        let original = "Could not reload configuration. Error CS_ERR_INVALID_PARAM".to_owned();
        Err(Failure { code: REFUSED, ..refused(original, &done) })
    }

    fn kill(&self, client: &Client, node: NodeId) -> Result<i32, Failure> {
        if !self.as_json() {
            put(&format!("Killing node {node}\n"));
        }
        let done: Done = client.post("/v1/kill", &KillCall { node }).map_err(error)?;
        if done.code != 0 {
            return Err(refused("Could not kill node (error = CS_ERR_NOT_EXIST)".to_owned(), &done));
        }
        if self.as_json() {
            self.say("", "kill")?;
        }
        Ok(0)
    }

    fn halt(&self, client: &Client) -> Result<i32, Failure> {
        self.say("Shutting down corosync\n", "shutdown")?;
        let done: Done = if self.force {
            let status: NodeStatus = client.get("/v1/status").map_err(error)?;
            client.post("/v1/kill", &KillCall { node: status.me }).map_err(error)?
        } else {
            client.post("/v1/shutdown", &ShutdownCall::default()).map_err(error)?
        };
        if done.code == 0 { Ok(0) } else { Err(refused("Could not shutdown (error = CS_ERR_BUSY)".to_owned(), &done)) }
    }

    fn is_wanted(&self, link: u8, address: &str) -> bool {
        self.interface.as_ref().is_none_or(|i| *i == link.to_string() || *i == ip(address))
    }

    fn by_link(&self, status: &NodeStatus) -> String {
        let mut out = format!("Local node ID {}, transport knet\n", status.me);
        let own = status.nodes.iter().find(|n| n.id == status.me).map(|n| n.addresses.as_slice()).unwrap_or_default();
        for (number, local) in (0u8..).zip(own).filter(|(n, local)| self.is_wanted(*n, local)) {
            let _ = write!(out, "LINK ID {number} udp\n\taddr\t= {}\n", ip(local));
            let state = |id: NodeId| status.links.iter().find(|l| l.peer == id && l.link == number);
            if self.brief {
                // As knet: 1 enabled, 2 connected, both together; n is this node itself.
                let digit = |id: NodeId| if state(id).is_some_and(|l| l.up) { '3' } else { '1' };
                let one = |id: NodeId| if id == status.me { 'n' } else { digit(id) };
                let digits: String = status.nodes.iter().map(|n| one(n.id)).collect();
                let _ = writeln!(out, "\tstatus\t= {digits}");
                continue;
            }
            out += "\tstatus:\n";
            for node in &status.nodes {
                let word = match state(node.id) {
                    _ if node.id == status.me => "localhost",
                    Some(link) if link.up => "connected",
                    _ => "disconnected",
                };
                let _ = writeln!(out, "\t\tnodeid: {:>10}:\t{word}", node.id.0);
            }
        }
        out
    }
}

fn by_node(status: &NodeStatus) -> String {
    let mut out = format!("Local node ID {}, transport knet\n", status.me);
    for node in status.nodes.iter().filter(|n| n.id != status.me) {
        let links = || status.links.iter().filter(|l| l.peer == node.id);
        let reachable = if links().any(|l| l.up) { " reachable" } else { "" };
        let _ = writeln!(out, "nodeid: {}{reachable}", node.id);
        for link in links() {
            let word = if link.up { "enabled connected" } else { "enabled" };
            let (local, remote) = (ip(&link.local), ip(&link.remote));
            let _ = writeln!(out, "   LINK: {} udp ({local}->{remote}) {word} mtu: {}", link.link, link.stats.mtu);
        }
        out += "\n";
    }
    out
}
