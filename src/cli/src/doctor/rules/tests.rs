//! A healthy pair's director, and one fault at a time planted into it.

use super::check;
use crate::doctor::cluster;
use crate::doctor::corosync;
use crate::doctor::facts::{Director, Facts, KeyFile};
use crate::doctor::finding::Severity;
use crate::doctor::firewall::{Firewall, iptables};
use crate::doctor::sbd;
use ::kernel::addr::{Address, Lifetime, Link};
use ::kernel::host::{ClockState, DefaultRoute};
use ::ldirectord::config::{System, parse};
use base::ipvs::{SyncDaemon, SyncState};
use std::collections::BTreeMap;
use std::net::IpAddr;

const SERVICES: &str = "\
virtual=192.0.2.100:80
    real=192.0.2.11:80 gate
    real=10.1.0.11:8080 masq
    service=http
    checktype=connect
    scheduler=wlc
virtual=192.0.2.100:25
    real=10.2.0.11:25 ipip
    checktype=connect
    scheduler=rr
";

const COROSYNC: &str = include_str!("../../../../../tests/support/two-directors.conf");

const CIB: &str = r#"<cib><configuration><crm_config><cluster_property_set id="o">
<nvpair id="o-f" name="fencing-enabled" value="false"/></cluster_property_set></crm_config><nodes/><resources>
<group id="www"><primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="i">
<nvpair id="i-ip" name="ip" value="192.0.2.100"/></instance_attributes></primitive>
<primitive id="www-sync" class="ocf" provider="bascule" type="ipvs-sync"><instance_attributes id="ws">
<nvpair id="ws-id" name="syncid" value="7"/></instance_attributes></primitive></group>
<group id="mail"><primitive id="mail-sync" class="ocf" provider="bascule" type="ipvs-sync"><instance_attributes id="ms">
<nvpair id="ms-id" name="syncid" value="8"/></instance_attributes></primitive></group>
</resources><constraints/></configuration></cib>"#;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn link(index: u32, name: &str, mtu: u32) -> Link {
    let loopback = name == "lo";
    Link { index, name: name.into(), up: true, running: true, loopback, mtu, mac: None, master: None }
}

fn address(link: u32, addr: &str, prefix_len: u8, lifetime: Lifetime) -> Address {
    Address { link, addr: ip(addr), prefix_len, label: None, lifetime, tentative: false, dad_failed: false, created: 0 }
}

fn conf(text: &str) -> corosync::Corosync {
    corosync::read("/etc/corosync/corosync.conf".into(), text, &|_| None)
}

fn services(text: &str) -> Director {
    Director { file: "/etc/ha.d/ldirectord.cf".into(), config: parse(text, &mut System::default()).unwrap().config }
}

fn filter(rules: &str) -> Firewall {
    let text = format!("*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n{rules}COMMIT\n");
    Firewall::Rules(iptables::read(&text, false))
}

const HOLES: &str = "-A INPUT -s 192.0.2.0/24 -p udp -m udp --dport 5405 -j ACCEPT\n\
                     -A INPUT -d 224.0.0.81/32 -p udp -m udp --dport 8848 -j ACCEPT\n\
                     -A INPUT -p tcp -m multiport --dports 25,80 -j ACCEPT\n-A FORWARD -s 10.1.0.0/24 -j ACCEPT\n";

fn healthy() -> Facts {
    let settings = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/vs/expire_nodest_conn", "1"),
        ("net/ipv4/vs/sync_threshold", "3 0"),
        ("net/ipv4/vs/conntrack", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/eth0/rp_filter", "2"),
        ("net/ipv4/conf/eth1/rp_filter", "1"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/eth1/send_redirects", "0"),
        ("net/ipv4/conf/all/arp_ignore", "0"),
        ("net/ipv4/conf/all/arp_announce", "0"),
        ("net/ipv4/conf/all/promote_secondaries", "1"),
        ("net/netfilter/nf_conntrack_max", "262144"),
        ("net/netfilter/nf_conntrack_count", "100"),
        ("net/netfilter/nf_conntrack_tcp_loose", "1"),
    ];
    let modules = ["ip_vs", "ip_vs_rr", "ip_vs_wlc"].map(str::to_owned);
    let sync = SyncDaemon {
        state: SyncState::Backup,
        interface: "eth0".into(),
        sync_id: 7,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    Facts {
        watchdog: true,
        sbd: Some(sbd::read(sbd::FILE.into(), "SBD_PACEMAKER=yes")),
        daemon_warnings: Vec::new(),
        hostname: "d1".into(),
        root: true,
        ipvs: Ok((1, 2, 1)),
        sync_daemons: vec![sync],
        modules_loaded: modules.clone().into(),
        modules_available: Some(modules.into()),
        conn_tab_bits: Some(15),
        settings: settings.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        links: vec![link(1, "lo", 65536), link(2, "eth0", 1500), link(3, "eth1", 1520)],
        kinds: BTreeMap::new(),
        addresses: vec![
            address(1, "127.0.0.1", 8, Lifetime::Permanent),
            address(2, "192.0.2.1", 24, Lifetime::Permanent),
            address(2, "192.0.2.100", 32, Lifetime::Seconds(2)),
            address(3, "10.1.0.1", 24, Lifetime::Permanent),
        ],
        default_routes: vec![DefaultRoute { v6: false, gateway: Some(ip("192.0.2.254")), link: Some(2), advmss: None }],
        clock: ClockState::Synchronised,
        firewall: filter(HOLES),
        directors: vec![services(SERVICES)],
        unreadable: Vec::new(),
        corosync: Some(conf(COROSYNC)),
        key: Some(KeyFile { file: "/etc/corosync/authkey".into(), missing: None, mode: 0o400, uid: 0, bytes: 256 }),
        cluster: Some(cluster::read(&xml::parse(CIB).unwrap())),
        routing: BTreeMap::new(),
        multipath: false,
        sources: [("192.0.2.11", "192.0.2.1"), ("10.1.0.11", "10.1.0.1"), ("10.2.0.11", "10.1.0.1")]
            .map(|(to, from)| (ip(to), Some(ip(from))))
            .into(),
    }
}

#[test]
fn nothing_is_wrong_with_a_healthy_director() {
    let findings = check(&healthy());
    let worst: Vec<_> = findings.iter().filter(|f| f.severity > Severity::Note).collect();
    assert!(worst.is_empty(), "{worst:#?}");
    let notes: Vec<_> = findings.iter().map(|f| f.id).collect();
    // What a pair on one network lacks is no fault of this host.
    assert_eq!(
        notes.iter().collect::<std::collections::BTreeSet<_>>(),
        ["arbitrator", "lease-only", "one-network"].iter().collect()
    );
}

fn set(facts: &mut Facts, path: &str, value: &str) {
    facts.settings.insert(path.to_owned(), value.to_owned());
}

type Plant = fn(&mut Facts);

/// What is planted, what must be found, and how grave it is.
const FAULTS: &[(&str, Severity, Plant)] = &[
    ("ipvs", Severity::Note, |f| f.ipvs = Err("the kernel has no IPVS".into())),
    ("ipvs", Severity::Error, |f| {
        f.ipvs = Err("the kernel has no IPVS".into());
        f.modules_available = None;
    }),
    ("scheduler", Severity::Error, |f| f.directors = vec![services(&SERVICES.replace("=rr", "=mh"))]),
    ("ipvs-setting", Severity::Warning, |f| set(f, "net/ipv4/vs/expire_nodest_conn", "0")),
    ("ipvs-setting", Severity::Warning, |f| set(f, "net/ipv4/vs/sync_threshold", "3 50")),
    ("conn-tab-bits", Severity::Note, |f| f.conn_tab_bits = Some(12)),
    ("conntrack-full", Severity::Error, |f| set(f, "net/netfilter/nf_conntrack_count", "240000")),
    ("conntrack-loose", Severity::Warning, |f| set(f, "net/netfilter/nf_conntrack_tcp_loose", "0")),
    ("watchdog", Severity::Note, |f| f.watchdog = false),
    ("shared-lan", Severity::Note, |f| {
        f.cluster = Some(cluster::read(&xml::parse(&CIB.replace("IPaddr2", "Dummy")).unwrap()));
    }),
    ("clock", Severity::Warning, |f| f.clock = ClockState::Unsynchronised),
    ("ftp-helper", Severity::Warning, |f| {
        f.directors =
            vec![services("virtual=192.0.2.100:21\n real=10.1.0.11:21 masq\n service=ftp\n checktype=connect\n")];
        f.firewall = Firewall::Rules(Vec::new());
    }),
    ("forwarding", Severity::Error, |f| set(f, "net/ipv4/ip_forward", "0")),
    ("send-redirects", Severity::Warning, |f| set(f, "net/ipv4/conf/eth1/send_redirects", "1")),
    ("rp-filter", Severity::Error, |f| {
        f.default_routes[0].link = Some(3);
        set(f, "net/ipv4/conf/eth0/rp_filter", "1");
    }),
    ("promote-secondaries", Severity::Warning, |f| {
        f.addresses[2].prefix_len = 24;
        set(f, "net/ipv4/conf/all/promote_secondaries", "0");
    }),
    ("vs-conntrack", Severity::Warning, |f| {
        f.firewall = filter(&format!("{HOLES}-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"))
    }),
    ("vip-permanent", Severity::Error, |f| f.addresses[2].lifetime = Lifetime::Permanent),
    ("vip-prefix", Severity::Error, |f| {
        f.addresses.push(address(1, "192.0.2.100", 24, Lifetime::Permanent));
        set(f, "net/ipv4/conf/all/arp_ignore", "1");
    }),
    ("vip-link", Severity::Error, |f| {
        f.addresses.remove(2);
        f.addresses.remove(1);
    }),
    ("arp-ignore", Severity::Error, |f| f.addresses.push(address(1, "192.0.2.100", 32, Lifetime::Permanent))),
    ("arp-announce", Severity::Error, |f| f.addresses.push(address(1, "192.0.2.100", 32, Lifetime::Permanent))),
    ("arp-ignore", Severity::Error, |f| set(f, "net/ipv4/conf/all/arp_ignore", "8")),
    ("real-route", Severity::Error, |f| {
        f.sources.insert(ip("192.0.2.11"), None);
    }),
    ("real-far", Severity::Error, |f| f.directors = vec![services(&SERVICES.replace("192.0.2.11:80", "10.9.0.1:80"))]),
    ("link-down", Severity::Error, |f| f.links[2].running = false),
    ("gateway", Severity::Error, |f| f.default_routes.clear()),
    ("tunnel-mtu", Severity::Note, |f| f.links[2].mtu = 1500),
    ("tunnel-mtu", Severity::Error, |f| f.links[2].mtu = 1280),
    ("tunnel-device", Severity::Error, |f| f.addresses.push(address(3, "10.2.0.11", 24, Lifetime::Permanent))),
    ("tunnel-rp-filter", Severity::Error, |f| {
        f.addresses.push(address(3, "10.2.0.11", 24, Lifetime::Permanent));
        f.links.push(link(4, "tunl0", 1480));
        f.kinds.insert(4, "ipip".into());
        set(f, "net/ipv4/conf/tunl0/rp_filter", "1");
    }),
    ("two-node", Severity::Error, |f| f.corosync = Some(conf(&COROSYNC.replace("two_node: 1", "")))),
    ("wait-for-all", Severity::Warning, |f| {
        f.corosync = Some(conf(&COROSYNC.replace("two_node: 1", "two_node: 1\nwait_for_all: 0")))
    }),
    ("expected-votes", Severity::Error, |f| {
        f.corosync = Some(conf(&COROSYNC.replace("two_node: 1", "two_node: 1\nexpected_votes: 1")))
    }),
    ("quorum-provider", Severity::Warning, |f| {
        f.corosync = Some(conf(&COROSYNC.replace("provider: corosync_votequorum", "")))
    }),
    ("ring-name", Severity::Error, |f| f.corosync = Some(conf(&COROSYNC.replace("192.0.2.2", "nowhere")))),
    ("ring-loopback", Severity::Error, |f| f.corosync = Some(conf(&COROSYNC.replace("192.0.2.2", "127.0.1.1")))),
    ("ring-address", Severity::Error, |f| f.corosync = Some(conf(&COROSYNC.replace("192.0.2.1\n", "192.0.2.9\n")))),
    ("ring-address", Severity::Error, |f| {
        f.hostname = "stranger".into();
        f.corosync = Some(conf(&COROSYNC.replace("192.0.2.1\n", "192.0.2.9\n")));
    }),
    ("node-twice", Severity::Error, |f| f.corosync = Some(conf(&COROSYNC.replace("nodeid: 2", "nodeid: 1")))),
    ("authkey", Severity::Warning, |f| f.key.as_mut().unwrap().mode = 0o644),
    ("authkey", Severity::Error, |f| f.key.as_mut().unwrap().bytes = 12),
    ("authkey", Severity::Error, |f| f.key.as_mut().unwrap().missing = Some("No such file or directory".into())),
    ("fencing", Severity::Warning, |f| f.cluster = fenced("")),
    ("fencing", Severity::Warning, |f| {
        f.cluster = fenced(r#"<primitive id="h" class="stonith" type="fence_heuristics_ping"/>"#)
    }),
    ("fencing", Severity::Warning, |f| f.cluster.as_mut().unwrap().primitives[0].agent = "Filesystem".into()),
    ("watchdog-timeout", Severity::Error, |f| f.cluster.as_mut().unwrap().watchdog_timeout_ms = Some(-1)),
    ("watchdog-timeout", Severity::Warning, |f| {
        f.cluster.as_mut().unwrap().watchdog_timeout_ms = Some(10_000);
        f.corosync = Some(conf(&watched("watchdog_timeout: 6")));
    }),
    ("watchdog-timeout", Severity::Warning, |f| {
        f.cluster.as_mut().unwrap().watchdog_timeout_ms = Some(12_000);
        f.corosync = Some(conf(&watched("")));
    }),
    ("sbd", Severity::Warning, |f| {
        f.cluster = fenced(SBD_AGENT);
        f.sbd.as_mut().unwrap().disk = true;
    }),
    ("sbd", Severity::Error, |f| {
        f.cluster = fenced(SBD_AGENT);
        f.sbd = Some(sbd::read(sbd::FILE.into(), "SBD_PACEMAKER=no\nSBD_SYNC_RESOURCE_STARTUP=no"));
    }),
    ("sbd", Severity::Error, |f| {
        f.cluster = fenced(SBD_AGENT);
        f.sbd = Some(sbd::read(sbd::FILE.into(), "SBD_PACEMAKER=no\nSBD_DEVICE=/dev/sda"));
    }),
    ("sbd", Severity::Warning, |f| {
        f.cluster = fenced(SBD_AGENT);
        f.corosync = Some(conf(&watched("")));
        f.sbd =
            Some(sbd::read(sbd::FILE.into(), "SBD_PACEMAKER=no\nSBD_SYNC_RESOURCE_STARTUP=no\nSBD_DEVICE=/dev/sda"));
    }),
    ("split-brain", Severity::Error, |f| f.cluster.as_mut().unwrap().no_quorum_policy = Some("ignore".into())),
    ("sync-id", Severity::Error, |f| {
        f.cluster = Some(cluster::read(&xml::parse(&CIB.replace(r#"value="8""#, r#"value="7""#)).unwrap()))
    }),
    ("sync-id", Severity::Error, |f| {
        let text = CIB
            .replace(r#"value="7""#, r#"value="1""#)
            .replace(r#"name="syncid" value="8""#, r#"name="ttl" value="2""#);
        f.cluster = Some(cluster::read(&xml::parse(&text).unwrap()))
    }),
    ("routing-daemon", Severity::Error, |f| {
        announcing(f);
        f.routing.insert("announce".into(), Err("no such file".into()));
    }),
    ("routing-session", Severity::Error, |f| {
        announcing(f);
        f.routing.insert("announce".into(), Ok(0));
    }),
    ("announce-clone", Severity::Warning, |f| {
        announcing(f);
        f.cluster.as_mut().unwrap().primitives.iter_mut().for_each(|p| p.cloned = false);
    }),
    ("agreed-health", Severity::Warning, |f| {
        announcing(f);
        f.cluster.as_mut().unwrap().primitives.iter_mut().for_each(|p| p.params.retain(|(n, _)| n != "agreed_health"));
    }),
    ("announced-scheduler", Severity::Warning, |f| {
        announcing(f);
        f.directors = vec![services(&ECMP_SERVICES.replace("mh-port,mh-fallback", "mh-port"))];
    }),
    ("sloppy-tcp", Severity::Error, |f| {
        announcing(f);
        set(f, "net/ipv4/vs/sloppy_tcp", "0");
    }),
    ("announced-rp-filter", Severity::Warning, |f| {
        announcing(f);
        f.default_routes[0].link = Some(2);
        set(f, "net/ipv4/conf/eth1/rp_filter", "1");
    }),
    ("hash-policy", Severity::Warning, |f| {
        f.multipath = true;
        set(f, "net/ipv4/fib_multipath_hash_policy", "0");
    }),
    ("resilient", Severity::Note, |f| f.multipath = true),
    ("ring-firewall", Severity::Error, |f| f.firewall = filter(&HOLES.replace("5405", "5406"))),
    ("ring-firewall", Severity::Note, |f| {
        f.firewall = filter(&HOLES.replace("--dport 5405", "--dport 5405 -m recent --set"))
    }),
    ("sync-firewall", Severity::Error, |f| f.firewall = filter(&HOLES.replace("8848", "8849"))),
    ("service-firewall", Severity::Error, |f| f.firewall = filter(&HOLES.replace("25,80", "25"))),
    ("forward-firewall", Severity::Error, |f| f.firewall = filter(&HOLES.replace("10.1.0.0/24", "10.7.0.0/24"))),
    ("firewall-unread", Severity::Note, |f| f.firewall = Firewall::Unread("not installed".into())),
    ("unreadable", Severity::Error, |f| f.unreadable.push(("x.cf".into(), "line 3".into()))),
    ("not-root", Severity::Note, |f| f.root = false),
    ("no-services", Severity::Note, |f| f.directors.clear()),
    ("no-cluster", Severity::Note, |f| f.corosync = None),
    ("no-cib", Severity::Note, |f| f.cluster = None),
];

const ECMP_SERVICES: &str = include_str!("../../../../../configs/topologies/ecmp/ldirectord.cf");
const ECMP_CIB: &str = include_str!("../../../../../configs/topologies/ecmp/cib.xml");

/// One of four active directors, as the sample has them.
fn announcing(f: &mut Facts) {
    f.cluster = Some(cluster::read(&xml::parse(ECMP_CIB).unwrap()));
    f.directors = vec![services(ECMP_SERVICES)];
    f.routing.insert("announce".into(), Ok(2));
    f.addresses.retain(|a| a.addr != ip("192.0.2.100"));
    f.addresses.push(address(2, "2001:db8::1", 64, Lifetime::Permanent));
    f.default_routes.push(DefaultRoute { v6: true, gateway: Some(ip("2001:db8::fe")), link: Some(2), advmss: None });
    for n in 11..=16 {
        f.sources.insert(ip(&format!("192.0.2.{n}")), Some(ip("192.0.2.1")));
        f.sources.insert(ip(&format!("2001:db8::{n}")), Some(ip("2001:db8::1")));
    }
    f.modules_loaded.insert("ip_vs_mh".into());
    f.modules_available.get_or_insert_default().insert("ip_vs_mh".into());
    set(f, "net/ipv4/conf/eth1/rp_filter", "2");
}

#[test]
fn nothing_is_wrong_with_one_of_four_active_directors() {
    let mut facts = healthy();
    announcing(&mut facts);
    let findings = check(&facts);
    let worst: Vec<_> = findings.iter().filter(|f| f.severity > Severity::Note).collect();
    assert!(worst.is_empty(), "{worst:#?}");
}

const SBD_AGENT: &str = r#"<primitive id="disk" class="stonith" type="fence_sbd"/>"#;

/// With a watchdog in corosync.conf, and this beside it.
fn watched(more: &str) -> String {
    format!("{COROSYNC}\nresources {{\n    watchdog_device: /dev/watchdog\n    {more}\n}}\n")
}

/// With fencing enabled and this device.
fn fenced(device: &str) -> Option<cluster::Cluster> {
    let text = CIB.replace(r#"name="fencing-enabled" value="false""#, r#"name="fencing-enabled" value="true""#);
    let text = text.replacen("<resources>", &format!("<resources>{device}"), 1);
    Some(cluster::read(&xml::parse(&text).unwrap()))
}

#[test]
fn every_planted_fault_is_found() {
    for (id, severity, plant) in FAULTS {
        let mut facts = healthy();
        plant(&mut facts);
        let findings = check(&facts);
        let found = findings.iter().find(|f| f.id == *id && f.severity == *severity);
        let found = found.unwrap_or_else(|| panic!("{id} as {severity:?} was not found: {findings:#?}"));
        assert!(!found.seen.is_empty() && found.breaks.len() > 20 && !found.cure.is_empty(), "{found:?}");
    }
}

#[test]
fn one_fault_brings_no_crowd() {
    for (id, _, plant) in FAULTS {
        let mut facts = healthy();
        plant(&mut facts);
        let others = check(&facts).into_iter().filter(|f| f.id != *id && f.severity > Severity::Note);
        let others: Vec<&str> = others.map(|f| f.id).collect();
        assert!(others.len() <= 3, "{id} also gave {others:?}");
    }
}

#[test]
fn what_the_daemon_warns_of_is_a_finding() {
    let mut facts = healthy();
    facts.daemon_warnings.push("node n2 lives, but what it sends cannot be read".to_owned());
    let found = check(&facts);
    assert!(found.iter().any(|f| f.id == "daemon" && f.seen.contains("n2 lives")), "{found:?}");
}
