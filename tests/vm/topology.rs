//! Two directors with two groups at once, two servers and a client: every topology of one LVS site, IPv4 and IPv6.
//!
//! ```text
//!   client ─┬─ front 10.8.0.0/24, fd00:8::/64 ──┬─ w1 w2   .100 direct routing, .104 tunnelling, .102 and
//!           └─ VLAN 10 10.10.0.0/24             │          10.9.9.0/28 by firewall mark; .103 the directors themselves
//!   d1 d2: eth0 ─ bond0 ─ br0 ─┬────────────────┘
//!                  br0.10 ─────┘  (VLAN)  .101 masquerading
//!          eth1 ─ inside 10.7.0.0/24, fd00:7::/64 ─ w1 w2, gateway .254 / ::fe in the group
//! ```

mod site;

use crate::guest::wait_until;
use crate::hold::{Held, Holding, PORT, who};
use site::{Site, Variant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(90);

/// Ways in whose group moves, and which real servers are behind them.
const WEB: [(&str, &str); 6] = [
    ("direct routing", "10.8.0.100"),
    ("direct routing, IPv6", "[fd00:8::100]"),
    ("masquerading on a VLAN", "10.10.0.101"),
    ("masquerading on a VLAN, IPv6", "[fd00:10::101]"),
    ("tunnelling", "10.8.0.104"),
    ("tunnelling, IPv6", "[fd00:8::104]"),
];
/// So many of them keep their connections by sync. The kernel drops packets of tunnelled connections that it knows by sync
/// alone (see configs/topologies/README.md).
const SYNCED: usize = 4;
const MARK: [(&str, &str); 4] = [
    ("firewall mark", "10.8.0.102"),
    ("firewall mark, IPv6", "[fd00:8::102]"),
    ("firewall mark, subnet", "10.9.9.5"),
    ("firewall mark, subnet, IPv6", "[fd00:9::5]"),
];
const LOCAL: [(&str, &str); 2] = [("the directors themselves", "10.8.0.103"), ("the same, IPv6", "[fd00:8::103]")];

fn target(addr: &str) -> String {
    format!("{addr}:{PORT}")
}

pub fn fails_over() -> Result<(), String> {
    let site = Site::start(Variant::Sync)?;
    site.wait_for_groups("d1", "d2")?;
    println!("     d1 holds group web, d2 holds group mark");
    site.sync_roles(&[("d1", "master 1, backup 2"), ("d2", "master 2, backup 1")])?;
    served(&site, &WEB, &["w1", "w2"])?;
    served(&site, &MARK, &["w1", "w2"])?;
    served(&site, &LOCAL, &["d1", "d2"])?;
    site.settings_are_audited()?;

    let kept: Vec<(&str, &str)> = WEB[..SYNCED].iter().chain(&MARK).copied().collect();
    let targets: Vec<String> = kept.iter().map(|(_, addr)| target(addr)).collect();
    let held = Holding::start(&site.client, "failover", &targets)?;
    site.wait_for_synced()?;
    site.kill("d1")?;
    site.wait_for_groups("d2", "d2")?;
    let out = held.finish()?;
    show(&out, &kept);
    if let Some(lost) = out.iter().find(|h| !h.survived()) {
        return Err(format!("a long connection did not survive: {lost:?}\n{}", site.logs()));
    }
    served(&site, &WEB, &["w1", "w2"])?;
    served(&site, &MARK, &["w1", "w2"])?;
    served(&site, &LOCAL, &["d2"])?;
    if std::env::var_os("BASCULE_LONG").is_some() { fails_back(&site) } else { Ok(()) }
}

/// The dead director comes back, is warm after its delay, and only then gets its group again; connections live on.
fn fails_back(site: &Site) -> Result<(), String> {
    let targets: Vec<String> = WEB[..SYNCED].iter().map(|(_, addr)| target(addr)).collect();
    let held = Holding::start(&site.client, "failback", &targets)?;
    site.revive("d1")?;
    let back = std::time::Instant::now();
    site.wait_for_groups("d1", "d2")?;
    println!(
        "     d1 came back and had group web again after {:.1} s (preempt_delay 8 s)",
        back.elapsed().as_secs_f32()
    );
    site.sync_roles(&[("d1", "master 1, backup 2"), ("d2", "master 2, backup 1")])?;
    let out = held.finish()?;
    show(&out, &WEB);
    if let Some(lost) = out.iter().find(|h| !h.survived()) {
        return Err(format!("a long connection did not survive the way back: {lost:?}\n{}", site.logs()));
    }
    served(site, &WEB, &["w1", "w2"])?;
    served(site, &MARK, &["w1", "w2"])?;
    served(site, &LOCAL, &["d1", "d2"])
}

/// What a scheduler that computes the server from the client is worth without sync: the share that lives on.
pub fn without_sync() -> Result<(), String> {
    if std::env::var_os("BASCULE_LONG").is_none() {
        println!("     only with BASCULE_LONG");
        return Ok(());
    }
    const EACH: usize = 12;
    let site = Site::start(Variant::MaglevAlone)?;
    site.wait_for_groups("d1", "d2")?;
    served(&site, &WEB, &["w1", "w2"])?;
    let targets: Vec<String> = WEB.iter().flat_map(|(_, addr)| vec![target(addr); EACH]).collect();
    let held = Holding::start(&site.client, "maglev", &targets)?;
    site.kill("d1")?;
    site.wait_for_groups("d2", "d2")?;
    let out = held.finish()?;
    for (name, addr) in WEB {
        let these: Vec<&Held> = out.iter().filter(|h| h.target == target(addr)).collect();
        let alive = these.iter().filter(|h| h.survived()).count();
        let longest = these.iter().map(|h| h.longest_ms).max().unwrap_or(0);
        println!(
            "     mh and sloppy_tcp, no sync, {name}: {alive} of {} lived on, longest silence {longest} ms",
            these.len()
        );
        let why: BTreeSet<&str> = these.iter().map(|h| h.error.as_str()).filter(|e| !e.is_empty()).collect();
        if !why.is_empty() {
            println!("       the others: {why:?}");
        }
    }
    served(&site, &WEB, &["w1", "w2"])
}

fn show(held: &[Held], names: &[(&str, &str)]) {
    let names: BTreeMap<String, &str> = names.iter().map(|(name, addr)| (target(addr), *name)).collect();
    for h in held {
        let name = names.get(&h.target).copied().unwrap_or(&h.target);
        let what = if h.survived() { "lived on" } else { &h.error };
        println!("     long connection, {name}: {what}; {} echoes, longest silence {} ms", h.echoes, h.longest_ms);
    }
}

/// All expected servers, and no others, answer a client behind each address; retried while health settles.
fn served(site: &Site, ways: &[(&str, &str)], servers: &[&str]) -> Result<(), String> {
    let targets: Vec<String> = ways.iter().map(|(_, addr)| target(addr)).collect();
    let expected: BTreeSet<String> = servers.iter().map(|s| (*s).to_owned()).collect();
    let mut last = BTreeMap::new();
    let good = wait_until(Duration::from_secs(30), || {
        last = BTreeMap::new();
        for (target, name) in who(&site.client, &targets, 4).unwrap_or_default() {
            last.entry(target).or_insert_with(BTreeSet::new).insert(name);
        }
        (last.len() == targets.len() && last.values().all(|seen| *seen == expected)).then_some(())
    });
    good.ok_or_else(|| format!("expected {expected:?} behind all of {targets:?}, got {last:?}\n{}", site.logs()))
}
