//! `corosync-qdevice-tool`: what this node knows of its arbitrator, in the words of the original.

use super::error;
use crate::args::{self, Command};
use crate::client::Client;
use crate::clock;
use crate::report::{Common, Format};
use crate::source::Failure;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;
use wire::api::{DeviceInfo, NodeStatus, QuorumStatus};

/// Exit codes of the original.
const USAGE: i32 = 1;
const CONNECT: i32 = 3;
const REFUSED: i32 = 4;

/// Show what this node knows of its arbitrator
#[derive(Parser, Debug)]
#[command(
    name = "corosync-qdevice-tool",
    disable_version_flag = true,
    mut_arg("verbose", |arg| arg.short('v')),
    after_help = "Examples:\n  corosync-qdevice-tool -s      the arbitrator and its vote\n  corosync-qdevice-tool -s -v   all of it\n\nExit codes: 1 usage, 3 no node runs here, 4 there is no quorum device"
)]
pub struct Qdevicetool {
    /// The arbitrator and its vote
    #[arg(short = 's')]
    status: bool,
    /// Refused: the client is part of the node
    #[arg(short = 'H')]
    shutdown: bool,
    /// Run directory of the node, or a file in it; else $BASCULE_RUN_DIR
    #[arg(short = 'p', value_name = "PATH")]
    path: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn qdevicetool(args: Vec<OsString>) -> i32 {
    args::run::<Qdevicetool>(args)
}

impl Command for Qdevicetool {
    const NAME: &'static str = "corosync-qdevice-tool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if self.shutdown {
            let text = "Error: the client is part of the node: remove `device {}` from corosync.conf on every node, then run \
                        `corosync-cfgtool -R`";
            return Err(Failure::new(REFUSED, text));
        }
        if !self.status {
            return Err(Failure::new(USAGE, "usage: corosync-qdevice-tool [-Hhsv] [-p qdevice_ipc_socket_path]"));
        }
        let client = match &self.path {
            Some(path) => Client::at(path),
            None => Client::from_env(),
        };
        let connect = |failure: Failure| Failure { code: CONNECT, ..failure };
        let q: QuorumStatus = client.get("/v1/quorum").map_err(|e| connect(error(e)))?;
        let status: NodeStatus = client.get("/v1/status").map_err(|e| connect(error(e)))?;
        let Some(device) = &q.device else {
            let text = "Error: there is no quorum device: add `device {}` to quorum {} of corosync.conf on every node, then run \
                        `corosync-cfgtool -R`";
            return Err(Failure::new(REFUSED, text));
        };
        let text = if self.json || self.common.output_as == Format::Json {
            serde_json::to_string_pretty(device).map_err(|e| Failure::new(2, e.to_string()))? + "\n"
        } else {
            device_text(&q, &status, device, self.common.verbose > 0)
        };
        self.common.write(&text)?;
        Ok(0)
    }
}

/// As `corosync-qdevice-tool -s` prints it, or `-s -v`.
pub fn device_text(q: &QuorumStatus, status: &NodeStatus, device: &DeviceInfo, verbose: bool) -> String {
    generic(q, status, device, verbose) + "\n" + &net(device, verbose)
}

fn generic(q: &QuorumStatus, status: &NodeStatus, d: &DeviceInfo, verbose: bool) -> String {
    let mut out = format!("Qdevice information\n-------------------\nModel:\t\t\tNet\nNode ID:\t\t{}\n", q.me);
    if verbose {
        let _ = writeln!(out, "HB interval:\t\t{}ms\nSync HB interval:\t{}ms", d.timeout_ms, d.sync_timeout_ms);
    }
    if let Some(version) = d.config_version {
        let _ = writeln!(out, "Configuration version:\t{version}");
    }
    out += "Configured node list:\n";
    for (n, node) in status.nodes.iter().enumerate() {
        let _ = writeln!(out, "    {n}\tNode ID = {}", node.id);
    }
    if verbose {
        let _ = writeln!(out, "Heuristics:\t\t{}", d.heuristics_mode);
        let ring = q.ring.map(|r| format!("{:x}.{:x}", r.rep.0, r.seq)).unwrap_or_else(|| "0.0".to_owned());
        let _ = writeln!(out, "Ring ID:\t\t{ring}");
    }
    let members: Vec<String> = q.members.iter().map(|m| m.id.to_string()).collect();
    let _ = writeln!(out, "Membership node list:\t{}", members.join(", "));
    if verbose {
        let _ = writeln!(out, "Quorate:\t\t{}\nQuorum node list:", if q.quorate { "Yes" } else { "No" });
        for (n, node) in status.nodes.iter().enumerate() {
            let _ = writeln!(
                out,
                "    {n}\tNode ID = {}, State = {}",
                node.id,
                if node.member { "member" } else { "dead" }
            );
        }
        let polled = d.polled.map_or("Never".to_owned(), clock::local);
        let cast = if d.cast { " (cast vote)" } else { "" };
        let _ = writeln!(out, "Expected votes:\t\t{}\nLast poll call:\t\t{polled}{cast}", q.expected_votes);
    }
    out
}

fn net(d: &DeviceInfo, verbose: bool) -> String {
    let mut out = format!(
        "Qdevice-net information\n----------------------\nCluster name:\t\t{}\nQNetd host:\t\t{}:{}\n",
        d.cluster_name, d.host, d.port
    );
    if verbose {
        if d.force_ip_version != 0 {
            let _ = writeln!(out, "Force IP version:\t{}", d.force_ip_version);
        }
        let _ = write!(
            out,
            "Connect timeout:\t{}ms\nHB interval:\t\t{}ms\nVQ vote timer interval:\t{}ms\nTLS:\t\t\t{}\n",
            d.connect_timeout_ms,
            d.heartbeat_ms,
            d.timeout_ms / 2,
            d.tls
        );
    }
    let _ = writeln!(out, "Algorithm:\t\t{}\nTie-breaker:\t\t{}", d.algorithm, d.tie_breaker);
    if verbose {
        let running = if d.alive && !d.undecided { "Yes" } else { "No" };
        let cast = if d.cast { " (cast vote)" } else { "" };
        let _ = writeln!(out, "KAP Tie-breaker:\t{}\nPoll timer running:\t{running}{cast}", d.keep_active_partition);
    }
    let _ = writeln!(out, "State:\t\t\t{}", d.state);
    if let Some(trouble) = &d.trouble {
        let _ = writeln!(out, "Trouble:\t\t{trouble}");
    }
    if d.heuristics_mode != "Disabled" {
        let _ = write!(out, "Heuristics result:\t{}", d.heuristics);
        if verbose {
            let (regular, membership, connect) =
                (&d.heuristics_regular, &d.heuristics_membership, &d.heuristics_connect);
            let _ = write!(out, " (regular: {regular}, membership: {membership}, connect: {connect})");
        }
        out.push('\n');
    }
    if verbose && d.state == "Connected" {
        let tls = if d.tls_active { "Yes (client certificate sent)" } else { "No" };
        let _ = writeln!(out, "TLS active:\t\t{tls}");
        if let Some(since) = d.connected_since {
            let _ = writeln!(out, "Connected since:\t{}", clock::local(since));
        }
        if let Some(echoed) = d.echoed {
            let _ = writeln!(out, "Echo reply received:\t{}", clock::local(echoed));
        }
    }
    out
}
