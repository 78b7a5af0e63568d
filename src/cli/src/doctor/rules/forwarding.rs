//! Masquerading and what it needs; reverse path filter; redirects.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, warning};
use crate::doctor::firewall::{Firewall, What};
use ::ldirectord::config::Method;
use base::ipvs::Family;

pub fn check(facts: &Facts, report: &mut Report) {
    forwarding(facts, report);
    redirects(facts, report);
    reverse_path(facts, report);
    secondaries(facts, report);
    tracked(facts, report);
}

/// Only the answers of masqueraded servers are forwarded; the other methods need none of it.
fn forwarding(facts: &Facts, report: &mut Report) {
    for (family, path) in [(Family::IPv4, "net/ipv4/ip_forward"), (Family::IPv6, "net/ipv6/conf/all/forwarding")] {
        if !facts.uses_family(Method::Masq, family) || facts.number(path) != Some(0) {
            continue;
        }
        let key = path.replace('/', ".");
        report.add(
            error("forwarding"),
            format!("{key} is 0 and real servers are masqueraded"),
            "the answers of the real servers are not passed on to the clients: every connection hangs",
            [format!("sysctl -w {key}=1"), "put it into /etc/sysctl.d/90-bascule-director.conf".to_owned()],
        );
    }
}

fn redirects(facts: &Facts, report: &mut Report) {
    if !facts.uses_family(Method::Masq, Family::IPv4) {
        return;
    }
    let mut links: Vec<&str> = facts
        .reals()
        .filter(|(_, r)| r.forward == Method::Masq && r.addr.is_ipv4())
        .filter_map(|(_, r)| facts.link_of_subnet(r.addr).map(|l| l.name.as_str()))
        .collect();
    links.sort_unstable();
    links.dedup();
    for link in links.into_iter().filter(|l| facts.effective(l, "send_redirects") == Some(1)) {
        report.add(
            warning("send-redirects"),
            format!("net.ipv4.conf.{link}.send_redirects is in effect 1 on the link of masqueraded real servers"),
            "this host tells servers (and clients on the same link) to go around it; what does breaks its connections",
            [format!("sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{link}.send_redirects=0")],
        );
    }
}

/// Strict filtering drops what comes in by another link than the one that leads back.
fn reverse_path(facts: &Facts, report: &mut Report) {
    let Some(default) = facts.default_routes.iter().find(|r| !r.v6).and_then(|r| r.link) else { return };
    let mut told = Vec::new();
    for vip in facts.vips().into_iter().filter(|v| v.is_ipv4()) {
        let held = facts.holder(vip).map(|(_, l)| l).find(|l| !l.loopback);
        let Some(link) = held.or_else(|| facts.link_of_subnet(vip)) else { continue };
        if link.index == default || told.contains(&link.index) || facts.effective(&link.name, "rp_filter") != Some(1) {
            continue;
        }
        told.push(link.index);
        report.add(
            error("rp-filter"),
            format!(
                "{vip} belongs to {}, the default route leaves by {}, and rp_filter of {} is in effect 1 (strict)",
                link.name,
                facts.link_name(default),
                link.name
            ),
            "packets of clients from other networks come in by a link that does not lead back to them, and are dropped unseen",
            [format!("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2", link.name)],
        );
    }
}

fn secondaries(facts: &Facts, report: &mut Report) {
    let shared =
        facts.addresses.iter().any(|a| facts.vips().contains(&a.addr) && a.addr.is_ipv4() && a.prefix_len < 32);
    if shared && facts.number("net/ipv4/conf/all/promote_secondaries") == Some(0) {
        report.add(
            warning("promote-secondaries"),
            "a virtual address has its subnet's prefix length and net.ipv4.conf.all.promote_secondaries is 0",
            "when the first address of the subnet goes, the kernel takes all others of it along",
            ["sysctl -w net.ipv4.conf.all.promote_secondaries=1"],
        );
    }
}

/// Rules that ask for connection states see IPVS's own translation only with `vs.conntrack`.
fn tracked(facts: &Facts, report: &mut Report) {
    let Firewall::Rules(chains) = &facts.firewall else { return };
    let asks = chains.iter().find(|c| {
        c.hook == Some(crate::doctor::firewall::Hook::Forward)
            && c.rules.iter().any(|r| r.tests.iter().any(|t| matches!(t.what, What::State(_))))
    });
    if let (Some(chain), true, Some(0)) = (asks, facts.uses(Method::Masq), facts.number("net/ipv4/vs/conntrack")) {
        report.add(
            warning("vs-conntrack"),
            format!("chain {} {} asks for connection states, and net.ipv4.vs.conntrack is 0", chain.table, chain.name),
            "for masqueraded connections IPVS leaves no state behind, so these rules take their answers for invalid",
            ["sysctl -w net.ipv4.vs.conntrack=1"],
        );
    }
}
