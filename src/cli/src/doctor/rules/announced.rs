//! Several active directors behind routers (`configs/topologies/ecmp`), and a router among the hosts that are looked at.

use crate::doctor::cluster::{Cluster, Primitive};
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, note, warning};
use ::ldirectord::config::Virtual;
use base::ipvs::{ServiceKey, service_flags};
use std::net::IpAddr;

pub fn check(facts: &Facts, report: &mut Report) {
    router(facts, report);
    let Some(cluster) = &facts.cluster else { return };
    let announced: Vec<IpAddr> = facts.announced().into_iter().collect();
    if announced.is_empty() {
        return;
    }
    for primitive in cluster.announcements() {
        daemon(facts, primitive, report);
        if !primitive.cloned {
            report.add(
                warning("announce-clone"),
                format!("{} announces addresses and is no clone", primitive.id),
                "one director alone draws clients; the others stand by, and a fail-over waits for the cluster",
                [format!("make its group a clone: pcs resource clone {}", primitive.group)],
            );
        }
    }
    health(cluster, report);
    for (_, v) in facts.virtuals().filter(|(_, v)| is_at(v, &announced)) {
        scheduler(v, report);
    }
    if facts.number("net/ipv4/vs/sloppy_tcp") == Some(0) {
        report.add(
            error("sloppy-tcp"),
            "addresses are announced and net.ipv4.vs.sloppy_tcp is 0",
            "a connection that the router gives to another director is reset there, since it has not seen its first packet",
            ["sysctl -w net.ipv4.vs.sloppy_tcp=1 (the agent director-settings keeps it so)"],
        );
    }
    reverse_path(facts, report);
}

fn daemon(facts: &Facts, primitive: &Primitive, report: &mut Report) {
    match facts.routing.get(&primitive.id) {
        Some(Err(why)) => report.add(
            error("routing-daemon"),
            format!("the routing daemon of {} does not answer: {why}", primitive.id),
            "no address is announced from here: this director serves nobody",
            ["systemctl status bird (or frr); the agent's parameters daemon= and socket= say which one is asked"],
        ),
        Some(Ok(0)) => report.add(
            error("routing-session"),
            format!("the routing daemon of {} has no established session", primitive.id),
            "the routers do not hear of this director: it serves nobody",
            ["birdc show protocols (vtysh -c 'show bgp summary'); is TCP port 179 open, and 3784 (UDP) for BFD?"],
        ),
        Some(Ok(_)) | None => {}
    }
}

fn health(cluster: &Cluster, report: &mut Report) {
    let agrees = |p: &&Primitive| p.param("agreed_health").is_some_and(base::text::is_true);
    for director in cluster.primitives.iter().filter(|p| p.agent == "ldirectord" && p.cloned).filter(|p| !agrees(p)) {
        report.add(
            warning("agreed-health"),
            format!("{} runs on several nodes and each goes by its own checks", director.id),
            "while they differ, a connection that moves between directors meets another server and breaks",
            [format!("pcs resource update {} agreed_health=yes", director.id)],
        );
    }
}

fn address(v: &Virtual) -> String {
    match v.key {
        ServiceKey::Address { addr, port, .. } => std::net::SocketAddr::new(addr, port).to_string(),
        ServiceKey::Fwmark { mark, .. } => format!("firewall mark {mark}"),
    }
}

fn is_at(v: &Virtual, announced: &[IpAddr]) -> bool {
    matches!(v.key, ServiceKey::Address { addr, .. } if announced.contains(&addr))
}

fn scheduler(v: &Virtual, report: &mut Report) {
    let masks = v.ipvs_service().flags & service_flags::SCHED1 != 0;
    if v.scheduler == "mh" && masks && v.quiescent {
        return;
    }
    report.add(
        warning("announced-scheduler"),
        format!("{} is announced, with scheduler {}", address(v), v.scheduler),
        "directors choose different servers for the same connection: those that a router moves break",
        ["scheduler = mh, schedflags = mh-port,mh-fallback and quiescent = yes"],
    );
}

/// Each router may send by another link than the one that leads back.
fn reverse_path(facts: &Facts, report: &mut Report) {
    let back: Vec<u32> = facts.default_routes.iter().filter_map(|r| r.link).collect();
    for link in facts.links.iter().filter(|l| !l.loopback && l.running && !back.contains(&l.index)) {
        let subnet = facts.addresses.iter().any(|a| a.link == link.index && a.addr.is_ipv4() && a.prefix_len < 31);
        if subnet && facts.effective(&link.name, "rp_filter") == Some(1) {
            report.add(
                warning("announced-rp-filter"),
                format!("addresses are announced, and rp_filter of {} is in effect 1 (strict)", link.name),
                "what a router on this link sends is dropped unseen, since the way back to the clients is another",
                [format!("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2", link.name)],
            );
        }
    }
}

/// A host that spreads packets over several next hops.
fn router(facts: &Facts, report: &mut Report) {
    if !facts.multipath {
        return;
    }
    for path in ["net/ipv4/fib_multipath_hash_policy", "net/ipv6/fib_multipath_hash_policy"] {
        if facts.number(path) == Some(0) {
            let key = path.replace('/', ".");
            report.add(
                warning("hash-policy"),
                format!("this host has routes with several next hops, and {key} is 0"),
                "all connections of a client go to one director; with 1, ports count as well",
                [format!("sysctl -w {key}=1")],
            );
        }
    }
    report.add(
        note("resilient"),
        "this host has routes with several next hops",
        "when one goes, connections of the others move as well (mh and sloppy_tcp on the directors keep them)",
        ["ip nexthop … type resilient (Linux 5.12), where the routing daemon can use such groups; BIRD 2 and FRR's bgpd do not"],
    );
}
