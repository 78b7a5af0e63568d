//! `corosync-quorumtool`.

use super::{error, refused};
use crate::args::{self, Command};
use crate::client::Client;
use crate::clock;
use crate::report::{Common, Format};
use crate::source::Failure;
use base::NodeId;
use base::exit::crm;
use clap::Parser;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use wire::api::{DeviceInfo, Done, NodeStatus, QuorumMember, QuorumStatus, VotesCall};

/// Show and change votes and quorum
#[derive(Parser, Debug)]
#[command(
    name = "corosync-quorumtool",
    disable_version_flag = true,
    mut_arg("verbose", |arg| arg.short(None)),
    after_help = "Examples:\n  corosync-quorumtool -s         votes, quorum and members\n  corosync-quorumtool -l         members only\n  corosync-quorumtool -e 1       go on alone: the others are surely down\n  corosync-quorumtool -v 2 -n 3  node 3 has two votes\n\nChanges hold on all members until corosync.conf is read again.\n\nExit codes: 0 quorate; 1 error; 2 not quorate"
)]
pub struct Quorumtool {
    /// Votes, quorum and members (this is also what happens without options)
    #[arg(short = 's')]
    status: bool,
    /// Votes, quorum and members, again with every change
    #[arg(short = 'm')]
    monitor: bool,
    /// Members
    #[arg(short = 'l')]
    list: bool,
    /// All names of each node
    #[arg(short = 'a')]
    all_names: bool,
    /// In a form for programs
    #[arg(short = 'p')]
    parseable: bool,
    /// As many votes are expected from now on
    #[arg(short = 'e', value_name = "VOTES", allow_hyphen_values = true)]
    expected: Option<String>,
    /// A node has so many votes from now on
    #[arg(short = 'v', value_name = "VOTES", allow_hyphen_values = true)]
    votes: Option<String>,
    /// Which node, with -v; else this one
    #[arg(short = 'n', value_name = "NODEID", allow_hyphen_values = true)]
    node: Option<String>,
    /// Node ids in hexadecimal
    #[arg(short = 'H')]
    hex: bool,
    /// Addresses instead of names
    #[arg(short = 'i')]
    addresses: bool,
    /// Order of the members: a, n or i (address, name, id)
    #[arg(short = 'o', value_name = "ORDER", value_parser = ["a", "n", "i"])]
    order: Option<String>,
    /// Unregister a quorum device
    #[arg(short = 'f')]
    forget_device: bool,
    /// Show the version and end
    #[arg(short = 'V')]
    show_version: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn quorumtool(args: Vec<OsString>) -> i32 {
    args::run::<Quorumtool>(args)
}

impl Command for Quorumtool {
    const NAME: &'static str = "corosync-quorumtool";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if self.show_version {
            self.common.write(&format!("corosync-quorumtool version: {}\n", env!("CARGO_PKG_VERSION")))?;
            return Ok(crm::OK);
        }
        let node = self.node_id()?;
        let client = Client::from_env();
        if self.forget_device {
            let q: QuorumStatus = client.get("/v1/quorum").map_err(error)?;
            return Err(Failure::new(
                1,
                match q.device {
                    None => "Unable to force unregister qdevice: CS_ERR_NOT_EXIST\nthere is no quorum device",
                    Some(_) => {
                        "Unable to force unregister qdevice: CS_ERR_ACCESS\nthe device is part of the node: remove \
                         `device {}` from corosync.conf on every node, then run `corosync-cfgtool -R`"
                    }
                },
            ));
        }
        if let Some(text) = &self.expected {
            let wrong = "New expected votes value was not valid, try a positive number";
            let votes = text.parse().ok().filter(|n| *n > 0).ok_or_else(|| Failure::new(1, wrong))?;
            return change(&client, VotesCall::Expected(votes), "Unable to set expected votes: CS_ERR_INVALID_PARAM");
        }
        if let Some(text) = &self.votes {
            let wrong = "New votes value was not valid, try a positive number or zero";
            let votes: u32 = text.parse().map_err(|_| Failure::new(1, wrong))?;
            let id = node.map_or("local".to_owned(), |n| n.to_string());
            let original = format!("Unable to set votes {votes} for nodeid: {id}: ");
            return change(&client, VotesCall::Of { node, votes }, &original);
        }
        self.show(&client)
    }
}

/// `original` without a code at its end gets the one that fits.
fn change(client: &Client, call: VotesCall, original: &str) -> Result<i32, Failure> {
    let done: Done = client.post("/v1/votes", &call).map_err(error)?;
    let code = match done.code {
        crm::OK => return Ok(0),
        _ if !original.ends_with(": ") => "",
        crm::NOHOST => "CS_ERR_NAME_NOT_FOUND",
        _ => "CS_ERR_INVALID_PARAM",
    };
    Err(refused(format!("{original}{code}"), &done))
}

impl Quorumtool {
    fn node_id(&self) -> Result<Option<NodeId>, Failure> {
        let wrong = || Failure::new(1, "The nodeid was not valid, try a positive number");
        let parse = |text: &String| text.parse().ok().filter(|n| *n > 0).map(NodeId).ok_or_else(wrong);
        self.node.as_ref().map(parse).transpose()
    }

    fn show(&self, client: &Client) -> Result<i32, Failure> {
        let mut last = None;
        loop {
            let q: QuorumStatus = client.get("/v1/quorum").map_err(error)?;
            let seen = (q.ring, q.quorate, q.expected_votes, q.total_votes);
            if last != Some(seen) {
                last = Some(seen);
                let text = self.text(client, &q)?;
                self.common.write(&text)?;
            }
            if !self.monitor {
                return Ok(if q.quorate { 0 } else { 2 });
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }

    fn text(&self, client: &Client, q: &QuorumStatus) -> Result<String, Failure> {
        if self.json || self.common.output_as == Format::Json {
            return Ok(serde_json::to_string_pretty(q).map_err(|e| Failure::new(1, e.to_string()))? + "\n");
        }
        let mut names: BTreeMap<NodeId, String> = BTreeMap::new();
        if self.addresses || self.order.as_deref() == Some("a") {
            let status: NodeStatus = client.get("/v1/status").map_err(error)?;
            names.extend(status.nodes.iter().map(|n| (n.id, n.addresses.first().map(|a| ip(a)).unwrap_or_default())));
        }
        let mut shown = q.members.clone();
        let address = |m: &QuorumMember| names.get(&m.id).and_then(|a| a.parse::<std::net::IpAddr>().ok());
        match self.order.as_deref() {
            Some("a") => shown.sort_by_key(address),
            Some("n") => shown.sort_by(|a, b| a.name.cmp(&b.name)),
            _ => shown.sort_by_key(|m| m.id),
        }
        for member in &mut shown {
            if self.addresses {
                member.name = names.get(&member.id).cloned().unwrap_or_default();
            } else if self.all_names {
                member.name += ", ";
            }
        }
        let list = members(&shown, q.device.as_ref(), self.hex, self.parseable);
        Ok(if self.list && !self.status { format!("\n{list}") } else { quorum(q, self.hex) + &list })
    }
}

fn ip(address: &str) -> String {
    address.parse::<std::net::SocketAddr>().map_or_else(|_| address.to_owned(), |a| a.ip().to_string())
}

fn quorum(q: &QuorumStatus, hex: bool) -> String {
    let ring = q.ring.map(|r| format!("{:x}.{:x}", r.rep.0, r.seq)).unwrap_or_else(|| "none".to_owned());
    let quorate = if q.quorate { "Yes" } else { "No" };
    let blocked = if q.quorate { "" } else { "Activity blocked" };
    let mut out = String::new();
    let date = clock::ctime(q.now);
    let me = if hex { format!("0x{:08x}", q.me.0) } else { q.me.to_string() };
    let _ = write!(
        out,
        "Quorum information\n------------------\nDate:             {date}\nQuorum provider:  {}\nNodes:            {}\n\
             Node ID:          {me}\nRing ID:          {ring}\nQuorate:          {quorate}\n\n",
        q.provider,
        q.members.len(),
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

fn members(list: &[QuorumMember], device: Option<&DeviceInfo>, hex: bool, parseable: bool) -> String {
    let wide = parseable || device.is_some();
    let column = if wide { "    Qdevice" } else { "" };
    let mut out = format!("Membership information\n----------------------\n    Nodeid      Votes{column} Name\n");
    let id = |id: u32| if hex { format!("0x{id:08x}") } else { format!("{id:>10}") };
    for m in list {
        let local = if m.local { " (local)" } else { "" };
        let says = match m.device {
            _ if !wide => String::new(),
            None => format!(" {:>10}", "NR"),
            Some(d) => {
                let says = [if d.alive { "A" } else { "NA" }, if d.cast { "V" } else { "NV" }, "NMW"].join(",");
                format!(" {says:>10}")
            }
        };
        let _ = writeln!(out, "{} {:>10}{says} {}{local}", id(m.id.0), m.votes, m.name);
    }
    if let Some(device) = device {
        let votes = if device.cast { device.votes } else { 0 };
        let kept = if device.cast { String::new() } else { format!(" (votes {})", device.votes) };
        let _ = writeln!(out, "{} {votes:>10}            Qdevice{kept}", id(0));
    }
    out
}

/// Votes, quorum and members, as `corosync-quorumtool -s` prints them.
pub fn quorum_text(q: &QuorumStatus) -> String {
    quorum(q, false) + &members(&q.members, q.device.as_ref(), false, false)
}
