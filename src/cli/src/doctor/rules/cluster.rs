//! Safety of a pair, quorum, addresses and key of the ring, fencing, sync ids.

use crate::doctor::cluster::{Cluster, Primitive};
use crate::doctor::corosync::Corosync;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, note, warning};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bytes that a key may have.
const KEY_BYTES: std::ops::RangeInclusive<u64> = 128..=4096;

pub fn check(facts: &Facts, report: &mut Report) {
    if let Some(conf) = &facts.corosync {
        quorum(conf, report);
        addresses(facts, conf, report);
        key(facts, conf, report);
    }
    if let Some(cluster) = &facts.cluster {
        fencing(facts.corosync.as_ref(), cluster, report);
        sync_ids(cluster, report);
    }
}

fn quorum(conf: &Corosync, report: &mut Report) {
    let file = conf.file.display();
    let nodes = conf.nodes.len();
    let edit = |line: &str| {
        [format!("in quorum {{ }} of {file} on every node: {line}; then restart the node daemons one by one")]
    };
    if nodes == 2 && !conf.two_node && !conf.device {
        report.add(
            error("two-node"),
            format!("{file} has two nodes, and neither two_node nor a quorum device"),
            "when one node is lost the other has no quorum and stops the resources: there is no fail-over",
            [
                edit("two_node: 1")[0].clone(),
                "or have a third, small machine decide: `bascule qnetd` there, then here `bascule pcs quorum device add model net \
                 host=ADDRESS algorithm=ffsplit`"
                    .to_owned(),
            ],
        );
    }
    if nodes != 2 && conf.two_node {
        report.add(
            error("two-node"),
            format!("{file} sets two_node with {nodes} nodes"),
            "it means something with exactly two; otherwise it is ignored, or one node alone takes itself for quorate",
            edit("remove two_node"),
        );
    }
    if conf.two_node && conf.wait_for_all == Some(false) {
        report.add(
            warning("wait-for-all"),
            format!("{file} sets wait_for_all: 0 with two_node"),
            "a node that boots while the link between the two is cut starts the resources although the other runs them",
            edit("remove wait_for_all (two_node then implies 1)"),
        );
    }
    let sum: u32 = conf.nodes.iter().fold(0, |n, node| n.saturating_add(node.votes));
    if let Some(expected) = conf.expected_votes.filter(|e| *e != sum && nodes > 0 && !conf.device) {
        let (severity, breaks) = if expected < sum {
            (error("expected-votes"), "after a split both halves can be quorate, and both run the resources")
        } else {
            (
                error("expected-votes"),
                "the votes that do not exist are missing: fewer nodes may fail than you think, or none",
            )
        };
        let seen = format!("{file} sets expected_votes: {expected}; the nodelist has {sum} votes");
        report.add(severity, seen, breaks, edit("remove expected_votes (the nodelist is counted)"));
    }
    if nodes > 1 && !conf.quorum_provider {
        report.add(
            warning("quorum-provider"),
            format!("{file} has no quorum provider"),
            "corosync then never asks for a majority; both halves of a split go on",
            edit("provider: corosync_votequorum"),
        );
    }
}

fn addresses(facts: &Facts, conf: &Corosync, report: &mut Report) {
    let file = conf.file.display();
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let host = short(&facts.hostname);
    let by_name = |text: &str| text.parse::<IpAddr>().is_err() && short(text) == host;
    let named = conf
        .nodes
        .iter()
        .position(|n| n.name.as_deref().is_some_and(by_name) || n.rings.first().is_some_and(|r| by_name(&r.0)));
    let local = |addr: IpAddr| facts.is_local(addr) && !addr.is_loopback();
    let me = named.or_else(|| conf.nodes.iter().position(|n| n.rings.iter().any(|r| r.1.is_some_and(local))));
    for (n, node) in conf.nodes.iter().enumerate() {
        for (link, (text, addr)) in node.rings.iter().enumerate() {
            let name = conf.node_name(n);
            match addr {
                None if text.is_empty() => {}
                None => report.add(
                    error("ring-name"),
                    format!("{file}: ring{link}_addr {text} of {name} does not resolve"),
                    "the node does not start, or never finds that peer",
                    [format!("write the address, or add a line 'ADDRESS {text}' to /etc/hosts on every node")],
                ),
                Some(addr) if addr.is_loopback() && conf.nodes.len() > 1 => report.add(
                    error("ring-loopback"),
                    format!("{file}: ring{link}_addr {text} of {name} is {addr}"),
                    "each node means itself by it: no ring forms. Debian writes the own host name as 127.0.1.1 into /etc/hosts",
                    [format!("write the address into {file}, or correct {text} in /etc/hosts")],
                ),
                Some(addr) if Some(n) == me && !facts.is_local(*addr) => report.add(
                    error("ring-address"),
                    format!("{file}: {name} is this host, and ring{link}_addr {addr} is on none of its links"),
                    "the node cannot open link sockets on that address, and its peers wait for it there in vain",
                    ["ip -br addr".to_owned(), format!("correct ring{link}_addr of {name} on every node, or add the address")],
                ),
                Some(_) => {}
            }
        }
    }
    if me.is_none() && !conf.nodes.is_empty() {
        report.add(
            error("ring-address"),
            format!("{file}: none of its {} nodes is this host ({})", conf.nodes.len(), facts.hostname),
            "the node daemon does not start here",
            [format!("add this host to the nodelist of {file} on every node, or correct its name or address")],
        );
    }
    for (n, node) in conf.nodes.iter().enumerate() {
        let other = |o: &&crate::doctor::corosync::Node| {
            node.rings.iter().any(|r| r.1.is_some() && o.rings.iter().any(|s| s.1 == r.1))
        };
        let twice = conf.nodes.iter().skip(n + 1).any(|o| other(&o) || (o.id.is_some() && o.id == node.id));
        if twice {
            report.add(
                error("node-twice"),
                format!("{file}: {} shares its nodeid or an address with another node", conf.node_name(n)),
                "the two cannot be told apart: no stable ring forms",
                ["give every node a nodeid and addresses of its own"],
            );
        }
    }
}

fn key(facts: &Facts, conf: &Corosync, report: &mut Report) {
    if conf.inline_key {
        let file = conf.file.display();
        report.add(
            warning("authkey"),
            format!("the key stands in {file} itself"),
            "whoever may read the file can join the cluster and command its nodes",
            ["corosync-keygen, copy /etc/corosync/authkey to every node with mode 0400, and remove key: from the file"],
        );
    }
    let Some(key) = &facts.key else { return };
    let file = key.file.display();
    if let Some(why) = &key.missing {
        if !conf.inline_key {
            report.add(
                error("authkey"),
                format!("{file}: {why}"),
                "the node daemon does not start: packets of the ring are sealed with this key",
                [format!("corosync-keygen -k {file}   (on one node; copy it to the others with mode 0400)")],
            );
        }
        return;
    }
    if key.mode & 0o077 != 0 {
        report.add(
            warning("authkey"),
            format!("{file} has mode {:04o}", key.mode & 0o7777),
            "every user of this host can read the cluster's key, join the cluster and command its nodes",
            [format!("chmod 0400 {file}")],
        );
    }
    if key.uid != 0 {
        report.add(
            warning("authkey"),
            format!("{file} belongs to user {}", key.uid),
            "that user can read or replace the cluster's key",
            [format!("chown root:root {file}")],
        );
    }
    if !KEY_BYTES.contains(&key.bytes) {
        report.add(
            error("authkey"),
            format!("{file} has {} bytes, expected {} to {}", key.bytes, KEY_BYTES.start(), KEY_BYTES.end()),
            "the node daemon does not start",
            [format!("corosync-keygen -k {file}   (on one node; copy it to the others with mode 0400)")],
        );
    }
}

fn fencing(conf: Option<&Corosync>, cluster: &Cluster, report: &mut Report) {
    let nodes = conf.map_or(0, |c| c.nodes.len());
    let ignores = cluster.no_quorum_policy.as_deref() == Some("ignore");
    let fences = cluster.fencing_enabled && cluster.fence_devices() > 0;
    if ignores && nodes > 1 && !fences {
        report.add(
            error("split-brain"),
            "no-quorum-policy is ignore and nobody is fenced",
            "when the link between the nodes is cut, both run all resources: two hosts answer for each virtual address",
            [
                "crm_attribute --name no-quorum-policy --update stop",
                "and two_node: 1 in corosync.conf, a quorum device, or a fence device",
            ],
        );
    }
    for advice in &cluster.fencing {
        report.add(warning("fencing"), advice.what.clone(), advice.consequence, [advice.cure.clone()]);
    }
    if fences || nodes < 2 {
        return;
    }
    let unbounded: Vec<&str> = cluster.primitives.iter().filter(|p| !p.bounded()).map(|p| p.id.as_str()).collect();
    if !cluster.fencing_enabled && !unbounded.is_empty() {
        report.add(
            warning("fencing"),
            format!("nobody is fenced, and these resources do not end with a lease: {}", unbounded.join(", ")),
            "if a node hangs or is cut off, they can run on two nodes at once for as long as that lasts",
            ["pcs stonith create NAME fence_… …, then: pcs property set stonith-enabled=true"],
        );
    } else if !cluster.fencing_enabled && !cluster.primitives.is_empty() {
        report.add(
            note("lease-only"),
            "nobody is fenced; all resources end with the lease of their addresses",
            "a silent node that answers on its LAN keeps its addresses; one that is cut off from every network holds them on there",
            ["bascule plan tells what each failure costs; bascule-takeover=safe waits a lost node's leases out first"],
        );
    }
}

/// Agent of the connection synchronisation, and the id that it has unless told otherwise.
const SYNC_AGENT: &str = "ipvs-sync";
const DEFAULT_SYNC_ID: &str = "1";

/// Groups that share a synchronisation id overwrite each other's connections on the other director.
fn sync_ids(cluster: &Cluster, report: &mut Report) {
    let id = |p: &Primitive| {
        let default = (p.agent == SYNC_AGENT).then_some(DEFAULT_SYNC_ID);
        p.param("syncid").or(default).map(str::to_owned)
    };
    let mut groups: BTreeMap<String, Vec<&Primitive>> = BTreeMap::new();
    for primitive in &cluster.primitives {
        if let Some(id) = id(primitive) {
            groups.entry(id).or_default().push(primitive);
        }
    }
    for (id, members) in groups {
        let Some((first, second)) =
            members.first().and_then(|f| Some((f, members.iter().find(|m| m.group != f.group)?)))
        else {
            continue;
        };
        report.add(
            error("sync-id"),
            format!("{} (in {}) and {} (in {}) have the same syncid {id}", first.id, first.group, second.id, second.group),
            "each director takes the other group's connections for its own: after a fail-over they go to wrong servers or break",
            [format!("pcs resource update {} syncid=OTHER   (a number of 1 to 255 for each group)", second.id)],
        );
    }
}
