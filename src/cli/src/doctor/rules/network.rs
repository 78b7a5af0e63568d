//! Virtual addresses and who holds them, ARP, routes to the real servers, MTU.

use crate::doctor::facts::{Facts, is_permanent};
use crate::doctor::finding::{Report, error, note, warning};
use ::ldirectord::config::Method;
use kernel::addr::Link;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What IP in IP puts in front of a packet: the outer header.
const OVERHEAD_V4: u32 = 20;
const OVERHEAD_V6: u32 = 40;

pub fn check(facts: &Facts, report: &mut Report) {
    virtual_addresses(facts, report);
    answers_arp(facts, report);
    real_routes(facts, report);
    default_route(facts, report);
    tunnel_mtu(facts, report);
    own_tunnel(facts, report);
}

fn virtual_addresses(facts: &Facts, report: &mut Report) {
    let managed: BTreeSet<IpAddr> = facts.cluster.iter().flat_map(|c| c.addresses().map(|(_, a)| a)).collect();
    for vip in facts.vips() {
        for (address, link) in facts.holder(vip).filter(|(_, l)| !l.loopback) {
            if !is_permanent(address) {
                continue;
            }
            let delete = format!("ip addr del {vip}/{} dev {}", address.prefix_len, link.name);
            let seen = format!("{} holds {vip} for ever, without a lease", link.name);
            if managed.contains(&vip) || facts.corosync.is_some() {
                report.add(
                    error("vip-permanent"),
                    seen,
                    "the address stays when this node is declared lost, so two hosts answer for it after a fail-over",
                    [
                        delete,
                        "take it out of /etc/network/interfaces, netplan or NetworkManager; the cluster adds it"
                            .to_owned(),
                    ],
                );
            }
        }
        for (address, link) in facts.holder(vip).filter(|(a, l)| l.loopback && !is_host(a.prefix_len, a.addr)) {
            report.add(
                error("vip-prefix"),
                format!("{} has {vip} with prefix length {}", link.name, address.prefix_len),
                "on lo this makes the whole subnet local: this host can no longer reach its neighbours there",
                [
                    format!("ip addr del {vip}/{} dev {}", address.prefix_len, link.name),
                    format!("ip addr add {vip}/{} dev {}", if vip.is_ipv4() { 32 } else { 128 }, link.name),
                ],
            );
        }
        if managed.contains(&vip) && !facts.is_local(vip) && facts.link_of_subnet(vip).is_none() {
            let nic = facts
                .cluster
                .iter()
                .flat_map(|c| c.addresses())
                .find(|(_, a)| *a == vip)
                .and_then(|(p, _)| p.param("nic"));
            if nic.is_none() {
                report.add(
                    error("vip-link"),
                    format!(
                        "no link of this host has an address in the subnet of {vip}, and its resource names no nic"
                    ),
                    "this node does not know on which link to put the address when it takes over",
                    [format!("pcs resource update RESOURCE nic=LINK   (the resource with ip={vip})")],
                );
            }
        }
    }
}

fn is_host(prefix_len: u8, addr: IpAddr) -> bool {
    prefix_len == if addr.is_ipv4() { 32 } else { 128 }
}

/// A director that is also a real server keeps the address on `lo`, and must not answer for it there. And no director may
/// be mute altogether.
fn answers_arp(facts: &Facts, report: &mut Report) {
    let vips: Vec<IpAddr> = facts.vips().into_iter().filter(IpAddr::is_ipv4).collect();
    let on_lo = vips.iter().find(|v| facts.holder(**v).any(|(_, l)| l.loopback));
    for link in facts.links.iter().filter(|l| !l.loopback && l.up && has_ipv4(facts, l)) {
        let (ignore, announce) =
            (facts.effective(&link.name, "arp_ignore"), facts.effective(&link.name, "arp_announce"));
        let name = &link.name;
        if let (Some(vip), Some(0)) = (on_lo, ignore) {
            report.add(
                error("arp-ignore"),
                format!("{vip} is on lo and net.ipv4.conf.{name}.arp_ignore is 0"),
                "this host answers ARP requests for the address although another director holds it: clients reach either",
                ["sysctl -w net.ipv4.conf.all.arp_ignore=1"],
            );
        }
        if let (Some(vip), Some(0 | 1)) = (on_lo, announce) {
            report.add(
                error("arp-announce"),
                format!("{vip} is on lo and net.ipv4.conf.{name}.arp_announce is {}", announce.unwrap_or(0)),
                "this host names the address as its own when it asks for neighbours, which turns their ARP caches to it",
                ["sysctl -w net.ipv4.conf.all.arp_announce=2"],
            );
        }
        if ignore == Some(8) && !vips.is_empty() {
            report.add(
                error("arp-ignore"),
                format!("net.ipv4.conf.{name}.arp_ignore is 8"),
                "this host answers no ARP request at all: nobody finds a virtual address here",
                [format!("sysctl -w net.ipv4.conf.{name}.arp_ignore=0")],
            );
        }
    }
}

fn has_ipv4(facts: &Facts, link: &Link) -> bool {
    facts.addresses.iter().any(|a| a.link == link.index && a.addr.is_ipv4())
}

fn real_routes(facts: &Facts, report: &mut Report) {
    let mut told = BTreeSet::new();
    for (v, real) in facts.reals() {
        if !told.insert((real.addr, real.forward)) || facts.is_local(real.addr) || facts.vips().contains(&real.addr) {
            continue;
        }
        let label = real.name.clone().map_or_else(|| real.addr.to_string(), |n| format!("{n} ({})", real.addr));
        if facts.sources.get(&real.addr) == Some(&None) {
            report.add(
                error("real-route"),
                format!("there is no route to real server {label}"),
                "its checks fail and nothing can be forwarded to it",
                [format!("ip route get {}", real.addr)],
            );
        } else if real.forward == Method::Gate && facts.link_of_subnet(real.addr).is_none() {
            report.add(
                error("real-far"),
                format!("real server {label} of line {} is forwarded to by gate and is in none of this host's subnets", v.line),
                "direct routing only changes the Ethernet address: a router in between sends the packets back or drops them",
                ["write ipip (tunnel) or masq for it, or give the director an address in its subnet"],
            );
        }
        if let Some(link) = facts.way_to(real.addr).filter(|l| !l.running) {
            report.add(
                error("link-down"),
                format!("real server {label} is reached by {}, which has no carrier", link.name),
                "nothing can be forwarded to it",
                [format!("ip link show {}", link.name)],
            );
        }
    }
}

fn default_route(facts: &Facts, report: &mut Report) {
    for v6 in [false, true] {
        let masq = facts.reals().any(|(v, r)| r.forward == Method::Masq && v.key_is_v6() == v6);
        let any = facts.virtuals().any(|(_, v)| v.key_is_v6() == v6);
        if !any || facts.default_routes.iter().any(|r| r.v6 == v6) {
            continue;
        }
        let version = if v6 { "IPv6" } else { "IPv4" };
        let seen = format!("this host has no default route for {version}");
        let cure = [format!("ip {}route add default via GATEWAY", if v6 { "-6 " } else { "" })];
        if masq {
            let breaks = "answers of masqueraded real servers go back through this host, which does not know the way to the clients";
            report.add(error("gateway"), seen, breaks, cure);
        } else {
            report.add(note("gateway"), seen, "clients in other networks get no ICMP errors from this host", cure);
        }
    }
}

trait KeyFamily {
    fn key_is_v6(&self) -> bool;
}

impl KeyFamily for ::ldirectord::config::Virtual {
    fn key_is_v6(&self) -> bool {
        self.family() == base::ipvs::Family::IPv6
    }
}

/// The director puts an outer header before packets that already fill the link.
fn tunnel_mtu(facts: &Facts, report: &mut Report) {
    let mut told = BTreeSet::new();
    for (v, real) in facts.reals().filter(|(_, r)| r.forward == Method::Ipip) {
        let vip = facts.vips().into_iter().find(|a| a.is_ipv6() == v.key_is_v6());
        let front =
            vip.and_then(|a| facts.link_of_subnet(a).or_else(|| facts.holder(a).map(|(_, l)| l).find(|l| !l.loopback)));
        let (Some(front), Some(back)) = (front, facts.way_to(real.addr)) else { continue };
        let overhead = if real.addr.is_ipv4() { OVERHEAD_V4 } else { OVERHEAD_V6 };
        if back.mtu >= front.mtu + overhead || !told.insert((front.index, back.index)) {
            continue;
        }
        let (fits, mss) = (back.mtu.saturating_sub(overhead), back.mtu.saturating_sub(overhead + 40));
        let cure = [
            format!("on each real server: ip route change default via GATEWAY advmss {mss}"),
            format!(
                "or let the way to the real servers carry more: ip link set {} mtu {}",
                back.name,
                front.mtu + overhead
            ),
            "bascule doctor --real-server NAME | ssh NAME sh   shows whether it does".to_owned(),
        ];
        let seen = format!(
            "tunnel to {}: packets of up to {} bytes come in by {} and {fits} fit through {}",
            real.addr, front.mtu, front.name, back.name
        );
        let breaks = "large uploads hang for clients whose path drops ICMP \"fragmentation needed\"";
        // What the servers announce cannot be seen from here.
        let severity = if fits < 1280 { error("tunnel-mtu") } else { note("tunnel-mtu") };
        report.add(severity, seen, breaks, cure);
    }
}

/// A director that is one of the tunnelled real servers itself, for the other director.
fn own_tunnel(facts: &Facts, report: &mut Report) {
    let own = facts.reals().find(|(_, r)| r.forward == Method::Ipip && facts.is_local(r.addr));
    let Some((_, real)) = own else { return };
    let kind = if real.addr.is_ipv4() { "ipip" } else { "ip6tnl" };
    let device = if real.addr.is_ipv4() { "tunl0" } else { "ip6tnl0" };
    match facts.tunnels().find(|l| facts.kind(l) == kind && l.up) {
        None => report.add(
            error("tunnel-device"),
            format!("{} is a tunnelled real server and is this host, which has no {kind} link that is up", real.addr),
            "when the other director is active, this host does not unpack what it sends",
            [
                if kind == "ipip" { "modprobe ipip".to_owned() } else { "modprobe ip6_tunnel".to_owned() },
                format!("ip link set {device} up"),
            ],
        ),
        Some(link) if facts.effective(&link.name, "rp_filter") == Some(1) => report.add(
            error("tunnel-rp-filter"),
            format!("net.ipv4.conf.{}.rp_filter is in effect 1", link.name),
            "unpacked packets come from clients that are not reached by the tunnel, and are dropped",
            [format!("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.{}.rp_filter=0", link.name)],
        ),
        Some(_) => {}
    }
    if facts.vips().iter().any(|v| v.is_ipv4()) && facts.setting("net/ipv4/conf/all/rp_filter").is_none() {
        report.add(
            warning("settings-unread"),
            "rp_filter cannot be read",
            "it may drop unpacked packets",
            ["mount /proc"],
        );
    }
}
