//! What tells a node that is cut off from one that is dead, and what is missing for it.

use crate::doctor::cluster::Cluster;
use crate::doctor::corosync::Corosync;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, note};
use base::net::same_network;
use std::net::IpAddr;

pub fn check(facts: &Facts, report: &mut Report) {
    let Some(conf) = facts.corosync.as_ref().filter(|c| c.nodes.len() > 1) else { return };
    if conf.nodes.len() == 2 && conf.two_node && !conf.device && !conf.ping_targets {
        report.add(
            note("arbitrator"),
            format!("{}: two nodes, and nothing that arbitrates between them", conf.file.display()),
            "when they cannot hear each other, both have quorum; only the addresses' LAN tells who holds them",
            ["in quorum { } on both: ping_targets: ADDRESS (routers that both reach), or a third node"],
        );
    }
    if !facts.watchdog {
        report.add(
            note("watchdog"),
            "this host has no /dev/watchdog",
            "nothing restarts it when its kernel hangs; its addresses end with their lease, other resources do not end",
            ["modprobe softdog, or the module of the hardware's own"],
        );
    }
    if let Some(cluster) = &facts.cluster {
        networks(facts, conf, cluster, report);
    }
}

/// The LAN of the addresses decides between two that cannot hear each other, if it is another one than the ring's.
fn networks(facts: &Facts, conf: &Corosync, cluster: &Cluster, report: &mut Report) {
    let addresses: Vec<IpAddr> = cluster.addresses().map(|(_, addr)| addr).collect();
    if addresses.is_empty() && !cluster.primitives.is_empty() {
        return report.add(
            note("shared-lan"),
            "no resource is a leased address (IPaddr2)",
            "no LAN can be asked whether a silent node lives: what it runs is started elsewhere as well",
            ["use fencing; see 'bascule plan'"],
        );
    }
    let rings: Vec<IpAddr> = conf.nodes.iter().flat_map(|n| n.rings.iter().filter_map(|r| r.1)).collect();
    // The narrowest network of this host that holds the address.
    let network = |addr: IpAddr| {
        let around = facts.addresses.iter().filter(|a| same_network(a.addr, addr, a.prefix_len) && a.addr != addr);
        around.max_by_key(|a| a.prefix_len).map(|a| (a.addr, a.prefix_len))
    };
    let shared =
        |addr: &IpAddr| network(*addr).is_some_and(|(a, bits)| rings.iter().any(|r| same_network(a, *r, bits)));
    let apart =
        rings.iter().any(|r| !addresses.iter().filter_map(|a| network(*a)).any(|(a, bits)| same_network(a, *r, bits)));
    // Of a family that the ring does not have, the numbers say nothing.
    let told = |addr: &&IpAddr| rings.iter().any(|r| r.is_ipv4() == addr.is_ipv4());
    let comparable: Vec<&IpAddr> = addresses.iter().filter(told).collect();
    if !comparable.is_empty() && comparable.into_iter().all(shared) && !apart {
        report.add(
            note("one-network"),
            "ring and addresses share one network",
            "one switch that fails takes both: each node then holds the addresses, on its side of the cut",
            [format!("a second ring link on another network: ring1_addr in {}", conf.file.display())],
        );
    }
}
