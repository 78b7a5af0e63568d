//! Holes that the packet filter must have: ring, connection synchronisation, services, answers.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, note};
use crate::doctor::firewall::{Fate, Firewall, Hook, Packet};
use ::ldirectord::config::{Method, Virtual};
use base::ipvs::{Protocol, ServiceKey, SyncState};
use std::net::{IpAddr, Ipv4Addr};

/// Where IPVS's synchronisation goes unless told otherwise.
const SYNC_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
const SYNC_PORT: u16 = 8848;
/// Real servers looked at for the way back.
const MAX_REALS: usize = 1_000;

pub fn check(facts: &Facts, report: &mut Report) {
    if let Firewall::Unread(why) = &facts.firewall {
        report.add(
            note("firewall-unread"),
            format!("the packet filter's rules cannot be read: {why}"),
            "whether ring, synchronisation and services are let through is not known",
            ["nft list ruleset", "iptables-save"],
        );
        return;
    }
    ring(facts, report);
    sync(facts, report);
    services(facts, report);
    answers(facts, report);
}

/// The other nodes' datagrams to this one.
fn ring(facts: &Facts, report: &mut Report) {
    let Some(conf) = &facts.corosync else { return };
    let local = |ring: &(String, Option<IpAddr>)| ring.1.filter(|a| facts.is_local(*a));
    let Some(me) = conf.nodes.iter().position(|n| n.rings.iter().any(|r| local(r).is_some())) else { return };
    for link in 0..conf.nodes[me].rings.len() {
        let Some(own) = local(&conf.nodes[me].rings[link]) else { continue };
        for (n, node) in conf.nodes.iter().enumerate().filter(|(n, _)| *n != me) {
            let Some(peer) = node.rings.get(link).and_then(|r| r.1) else { continue };
            let port = conf.port(link);
            let fate = facts.firewall.fate(&incoming(facts, "udp", Some(peer), own, port));
            let what = format!("ring packets of {} (UDP {port} from {peer}) on link {link}", conf.node_name(n));
            let breaks = "the nodes do not see each other: each takes the other for dead, and both want the resources";
            tell(report, &fate, "ring-firewall", &what, breaks, &allow(peer, "udp", port));
        }
    }
}

fn incoming(facts: &Facts, protocol: &'static str, source: Option<IpAddr>, destination: IpAddr, port: u16) -> Packet {
    let link = facts.link_of_subnet(source.unwrap_or(destination)).map(|l| l.name.clone());
    Packet { hook: Hook::Input, protocol, source, destination, port, link }
}

fn tell(report: &mut Report, fate: &Fate, id: &'static str, what: &str, breaks: &str, cure: &[String]) {
    match fate {
        Fate::Accepted => {}
        Fate::Dropped(by) => report.add(error(id), format!("{what} are dropped by {by}"), breaks, cure.iter().cloned()),
        Fate::Unknown(why) => report.add(
            note(id),
            format!("whether {what} are let through cannot be known: {why}"),
            breaks,
            cure.iter().cloned(),
        ),
    }
}

fn allow(peer: IpAddr, protocol: &str, port: u16) -> Vec<String> {
    let (family, tool) = if peer.is_ipv4() { ("ip", "iptables") } else { ("ip6", "ip6tables") };
    vec![
        format!(
            "nft insert rule inet filter input {family} saddr {peer} {protocol} dport {port} accept   (or, with iptables:)"
        ),
        format!("{tool} -I INPUT -s {peer} -p {protocol} --dport {port} -j ACCEPT"),
    ]
}

fn sync(facts: &Facts, report: &mut Report) {
    let Some(conf) = &facts.corosync else { return };
    let receives = facts.sync_daemons.iter().find(|d| d.state == SyncState::Backup);
    let Some(daemon) = receives else { return };
    let group = daemon.group.unwrap_or(SYNC_GROUP);
    let port = daemon.port.unwrap_or(SYNC_PORT);
    let peers = conf.nodes.iter().filter_map(|n| n.rings.first()?.1).filter(|a| !facts.is_local(*a));
    for peer in peers {
        let link = Some(daemon.interface.clone());
        let packet = Packet { hook: Hook::Input, protocol: "udp", source: Some(peer), destination: group, port, link };
        let what = format!("connection synchronisation packets (UDP {port} to {group} from {peer})");
        let breaks = "this director does not learn the other's connections: they break at a fail-over";
        tell(report, &facts.firewall.fate(&packet), "sync-firewall", &what, breaks, &allow(peer, "udp", port));
    }
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// IPVS takes packets after the filter's input chains.
fn services(facts: &Facts, report: &mut Report) {
    for (_, v) in facts.virtuals() {
        let ServiceKey::Address { protocol, addr, port } = v.key else { continue };
        let protocol = protocol_word(protocol);
        let fate = facts.firewall.fate(&incoming(facts, protocol, None, addr, port));
        // Rules by source are the operator's own choice of clients.
        if let Fate::Dropped(_) = fate {
            let what = format!("packets of clients to {addr} port {port}/{protocol} (line {})", v.line);
            let cure = [format!("nft insert rule inet filter input {protocol} dport {port} accept")];
            tell(report, &fate, "service-firewall", &what, "clients cannot reach the virtual service", &cure);
        }
    }
}

/// The way back of masqueraded connections.
fn answers(facts: &Facts, report: &mut Report) {
    let masqueraded = facts.reals().filter(|(_, r)| r.forward == Method::Masq).take(MAX_REALS);
    let mut told = Vec::new();
    for (v, real) in masqueraded {
        let Some(destination) = client(facts, v) else { continue };
        let link = facts.way_to(real.addr).map(|l| l.name.clone());
        let protocol = v.protocol().map_or("tcp", protocol_word);
        // Towards the client's port, which can be any.
        let packet = Packet { hook: Hook::Forward, protocol, source: Some(real.addr), destination, port: 50_000, link };
        let fate = established(facts, &packet);
        let Fate::Dropped(by) = &fate else { continue };
        if told.contains(by) {
            continue;
        }
        told.push(by.clone());
        let what = format!("answers of masqueraded real servers ({})", real.addr);
        let cure = [format!("nft insert rule inet filter forward ip saddr {} accept", real.addr)];
        tell(report, &fate, "forward-firewall", &what, "clients get no answer", &cure);
    }
}

/// An address behind the default route.
fn client(facts: &Facts, v: &Virtual) -> Option<IpAddr> {
    let v6 = v.family() == base::ipvs::Family::IPv6;
    let gateway = facts.default_routes.iter().find(|r| r.v6 == v6)?.gateway?;
    Some(gateway)
}

/// Answers belong to a connection that is known, if anybody asks for its state.
fn established(facts: &Facts, packet: &Packet) -> Fate {
    let fate = facts.firewall.fate(packet);
    let by_state = crate::doctor::firewall::asks_for_state(&facts.firewall, packet.hook);
    if by_state && matches!(fate, Fate::Dropped(_)) {
        return Fate::Unknown("its rules ask for the connection's state".to_owned());
    }
    fate
}
