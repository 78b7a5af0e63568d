//! The script that looks at a real server: a head of plain variables, then [`BODY`], which an operator can read.

use super::facts::Facts;
use ::ldirectord::config::{Method, Real, Virtual};
use base::ipvs::{Protocol, ServiceKey};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

const BODY: &str = include_str!("real_server.sh");

/// For the real server of that name or address, from all files.
pub fn script(facts: &Facts, wanted: &str) -> Result<String, String> {
    let addr: Option<IpAddr> = wanted.parse().ok();
    let is = |r: &Real| Some(r.addr) == addr || r.name.as_deref() == Some(wanted);
    let served: Vec<(&Virtual, &Real)> = facts.reals().filter(|(_, r)| is(r)).collect();
    if let Some((file, why)) = facts.unreadable.first().filter(|_| served.is_empty()) {
        return Err(format!("{}: {why}", file.display()));
    }
    if served.is_empty() {
        let known: BTreeSet<String> = facts
            .reals()
            .map(|(_, r)| r.name.as_ref().map_or_else(|| r.addr.to_string(), |n| n.to_string()))
            .take(20)
            .collect();
        let known = if known.is_empty() {
            "none (name a file with --config)".to_owned()
        } else {
            Vec::from_iter(known).join(", ")
        };
        return Err(format!("no real server is called '{wanted}'; known are: {known}"));
    }
    Ok(head(facts, wanted, &served) + BODY)
}

fn head(facts: &Facts, wanted: &str, served: &[(&Virtual, &Real)]) -> String {
    let methods: BTreeSet<&str> = served.iter().map(|(_, r)| method(r.forward)).collect();
    let held = |(v, r): &&(&Virtual, &Real)| r.forward != Method::Masq && !matches!(v.key, ServiceKey::Fwmark { .. });
    let vips: BTreeSet<IpAddr> = served.iter().filter(held).filter_map(|(v, _)| address(v)).collect();
    let own: BTreeSet<IpAddr> = served.iter().map(|(_, r)| r.addr).collect();
    let listens: BTreeSet<String> = served.iter().filter_map(|(v, r)| listen(v, r)).collect();
    let gateways: BTreeSet<IpAddr> = if methods.contains("masq") { gateways(facts, &own) } else { BTreeSet::new() };
    let words = |all: &BTreeSet<IpAddr>, v6: bool| {
        all.iter().filter(|a| a.is_ipv6() == v6).map(IpAddr::to_string).collect::<Vec<_>>().join(" ")
    };
    let mut out = String::new();
    let name: String = wanted.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_:".contains(*c)).collect();
    let _ = write!(
        out,
        "#!/bin/sh\n# Looks at real server {name} as its director expects it, changes nothing. Written by bascule doctor.\n\
         NAME='{name}'\nOWN='{}'\nMETHODS='{}'\nVIPS4='{}'\nVIPS6='{}'\nGATEWAYS='{}'\n\
         # protocol|address|port that a program must listen on\nLISTEN='{}'\n",
        Vec::from_iter(own.iter().map(IpAddr::to_string)).join(" "),
        Vec::from_iter(methods).join(" "),
        words(&vips, false),
        words(&vips, true),
        Vec::from_iter(gateways.iter().map(IpAddr::to_string)).join(" "),
        Vec::from_iter(listens).join(" "),
    );
    out
}

fn method(method: Method) -> &'static str {
    match method {
        Method::Gate => "gate",
        Method::Masq => "masq",
        Method::Ipip => "ipip",
    }
}

fn address(v: &Virtual) -> Option<IpAddr> {
    if let ServiceKey::Address { addr, .. } = v.key { Some(addr) } else { None }
}

/// Direct routing and tunnels leave the destination as the client wrote it.
fn listen(v: &Virtual, r: &Real) -> Option<String> {
    let protocol = match v.protocol()? {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => return None,
    };
    let addr = if r.forward == Method::Masq { r.addr } else { address(v)? };
    let port = v.dest_key(r.addr, r.port, r.forward).port;
    (port != 0).then(|| format!("{protocol}|{addr}|{port}"))
}

/// Where a masqueraded server's answers must go: addresses of the group that serve nobody, or any of this director's in
/// the server's subnet if none is known.
fn gateways(facts: &Facts, own: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
    let served: BTreeSet<IpAddr> = facts.virtuals().filter_map(|(_, v)| address(v)).collect();
    let near = |addr: IpAddr| {
        own.iter().any(|o| {
            facts.link_of_subnet(*o).is_some_and(|l| facts.link_of_subnet(addr).is_some_and(|m| m.index == l.index))
        })
    };
    let moving = facts.cluster.iter().flat_map(|c| c.addresses().map(|(_, a)| a));
    let inside: BTreeSet<IpAddr> = moving.filter(|a| !served.contains(a) && near(*a)).collect();
    if !inside.is_empty() {
        return inside;
    }
    let of_link = |a: &&kernel::addr::Address| {
        own.iter()
            .any(|o| o.is_ipv4() == a.addr.is_ipv4() && facts.link_of_subnet(*o).is_some_and(|l| l.index == a.link))
    };
    facts.addresses.iter().filter(of_link).map(|a| a.addr).filter(|a| !own.contains(a)).collect()
}
