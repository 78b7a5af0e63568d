//! `vrrp_instance`, `vrrp_sync_group` and their scripts, as groups of a CIB.

use super::blocks::Stmt;
use super::report::{Place, Report};
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub addr: IpAddr,
    pub prefix: String,
    pub interface: String,
    pub label: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    pub destination: String,
    pub gateway: String,
    pub device: String,
    pub source: String,
    pub table: String,
}

#[derive(Clone, Debug)]
pub struct Instance {
    pub name: String,
    pub at: Place,
    pub interface: String,
    pub master: bool,
    pub priority: Option<u32>,
    pub nopreempt: bool,
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    /// Of the connections' synchronisation.
    pub sync: String,
    pub router_id: String,
    pub own: Option<IpAddr>,
    pub peers: Vec<IpAddr>,
}

/// What takes VRRP's place: the ring, and its own ways to announce.
const RING: [&str; 24] = [
    "advert_int",
    "authentication",
    "mcast_src_ip",
    "native_ipv6",
    "version",
    "use_vmac",
    "vmac_xmit_base",
    "use_ipvlan",
    "strict_mode",
    "check_unicast_src",
    "unicast_fault_no_peer",
    "old_unicast_checksum",
    "higher_prio_send_advert",
    "lower_prio_no_advert",
    "down_timer_adverts",
    "skip_check_adv_addr",
    "accept",
    "no_accept",
    "debug",
    "linkbeat_use_polling",
    "mcast_dst_ip",
    "vmac_garp_intvl",
    "kernel_rx_buf_size",
    "unicast_ttl",
];
const ANNOUNCE: [&str; 8] = [
    "garp_master_delay",
    "garp_master_repeat",
    "garp_lower_prio_delay",
    "garp_lower_prio_repeat",
    "garp_master_refresh",
    "garp_master_refresh_repeat",
    "garp_extra_if",
    "garp_interval",
];

pub fn instances(all: &[Stmt], report: &mut Report) -> Vec<Instance> {
    all.iter().filter(|s| s.keyword() == "vrrp_instance").map(|s| instance(s, report)).collect()
}

fn instance(stmt: &Stmt, report: &mut Report) -> Instance {
    let mut i = Instance {
        name: stmt.value().to_owned(),
        at: stmt.at.clone(),
        interface: stmt.child("interface").map(|s| s.value().to_owned()).unwrap_or_default(),
        master: false,
        priority: None,
        nopreempt: false,
        addresses: Vec::new(),
        routes: Vec::new(),
        sync: String::new(),
        router_id: String::new(),
        own: None,
        peers: Vec::new(),
    };
    report.maps(&stmt.at, &stmt.shown(), "a group");
    for s in stmt.body() {
        line(s, &mut i, report);
    }
    if i.addresses.is_empty() {
        report.differs(&stmt.at, &stmt.shown(), "no virtual address: the group holds none");
    }
    i
}

fn line(s: &Stmt, i: &mut Instance, report: &mut Report) {
    let (shown, value) = (s.shown(), s.value());
    match s.keyword() {
        "interface" => report.maps(&s.at, &shown, "nic of the addresses that name no other"),
        "state" => {
            i.master = value.eq_ignore_ascii_case("MASTER");
            report.differs(&s.at, &shown, "who begins is decided by preference and order of arrival: see priority");
        }
        "priority" => {
            i.priority = value.parse().ok();
            report.maps(&s.at, &shown, "the score by which the group prefers this node");
        }
        "nopreempt" => {
            i.nopreempt = true;
            report.maps(&s.at, &shown, "resource-stickiness=1000, no preference: the group stays where it is");
        }
        "preempt" => report.maps(&s.at, &shown, "the group goes back"),
        "preempt_delay" => {
            report.differs(&s.at, &shown, format!("preempt_delay={value} of ocf:bascule:ipvs-sync, where connections are synchronised"));
        }
        "virtual_router_id" => {
            i.router_id = value.to_owned();
            report.differs(&s.at, &shown, "left out: the ring has a key, not a number (it is syncid of ipvs-sync)");
        }
        "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
            report.maps(&s.at, &shown, "IPaddr2, one for each address");
            for line in s.body() {
                let Some(found) = address(line, &i.interface, report) else { continue };
                let other = i.addresses.first().is_some_and(|first| first.addr.is_ipv4() != found.addr.is_ipv4());
                if other && s.keyword() == "virtual_ipaddress" {
                    let why = "held all the same; keepalived ignores an address of the other family here";
                    report.differs(&line.at, &line.shown(), why);
                }
                i.addresses.push(found);
            }
        }
        "virtual_routes" => {
            report.differs(&s.at, &shown, "ocf:heartbeat:Route (of the package resource-agents), one for each");
            i.routes.extend(s.body().iter().filter_map(|r| route(r, report)).collect::<Vec<_>>());
        }
        "lvs_sync_daemon_interface" | "lvs_sync_daemon_inteface" => {
            i.sync = value.to_owned();
            report.maps(&s.at, &shown, format!("ocf:bascule:ipvs-sync, interface={value}"));
        }
        "unicast_src_ip" => {
            i.own = value.parse().ok();
            report.maps(&s.at, &shown, "ring0_addr of this node");
        }
        "unicast_peer" => {
            i.peers = s.body().iter().filter_map(|p| p.keyword().parse().ok()).collect();
            report.maps(&s.at, &shown, "ring0_addr of the other nodes");
        }
        "track_interface" => {
            report.differs(&s.at, &shown, "an address fails where its own interface has no carrier; others: ocf:pacemaker:ping with interface=, and a rule");
        }
        "dont_track_primary" => report.cannot(&s.at, &shown, "an address always watches the carrier of its interface"),
        "track_script" | "track_process" | "track_file" | "track_bfd" => report.cannot(
            &s.at,
            &shown,
            "what a script finds is a node attribute (attrd_updater -n NAME -U VALUE) and a rule of a location constraint; a service that \
             has to run with the addresses is a member of the group",
        ),
        "virtual_rules" => report.cannot(&s.at, &shown, "rules of routing belong to the host, or to an agent of yours in the group"),
        keyword if keyword.starts_with("notify") => notify(s, report),
        "smtp_alert" => report.differs(&s.at, &shown, "mail of fail-overs: pcs alert create path=/usr/share/pacemaker/alerts/alert_smtp.sh"),
        keyword if RING.contains(&keyword) => report.differs(&s.at, &shown, "left out: the ring takes the place of VRRP"),
        keyword if ANNOUNCE.contains(&keyword) => {
            report.differs(&s.at, &shown, "left out: addresses are announced at once and again (arp_count, arp_interval of IPaddr2)");
        }
        "promote_secondaries" => report.differs(&s.at, &shown, "left out: addresses are held as /32 and /128"),
        _ => report.cannot(&s.at, &shown, "not known within vrrp_instance"),
    }
}

/// Scripts that are told of a change.
fn notify(s: &Stmt, report: &mut Report) {
    report.cannot(
        &s.at,
        &s.shown(),
        "pcs alert create path=SCRIPT tells of every change, in the environment of Pacemaker's alerts, not with keepalived's arguments; \
         what has to run with the addresses is a member of the group",
    );
}

/// `ADDRESS[/BITS] [dev X] [label X] …`, or with `ADDRESS` behind a keyword.
fn address(s: &Stmt, interface: &str, report: &mut Report) -> Option<Address> {
    let mut words = s.words.iter().map(String::as_str);
    let first = words.next().unwrap_or_default();
    let (addr, prefix) = first.split_once('/').unwrap_or((first, ""));
    let Ok(addr) = addr.parse::<IpAddr>() else {
        report.cannot(&s.at, &s.shown(), "expected an address");
        return None;
    };
    let mut found = Address { addr, prefix: prefix.to_owned(), interface: interface.to_owned(), label: String::new() };
    let mut left_out = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "dev" => found.interface = words.next().unwrap_or_default().to_owned(),
            "label" => found.label = words.next().unwrap_or_default().rsplit(':').next().unwrap_or_default().to_owned(),
            "brd" | "broadcast" | "scope" | "preferred_lft" | "peer" | "metric" => {
                left_out.push(format!("{word} {}", words.next().unwrap_or_default()))
            }
            other => left_out.push(other.to_owned()),
        }
    }
    let bits = prefix.parse::<u8>();
    if !prefix.is_empty() && bits.as_ref().map_or(true, |b| *b > if addr.is_ipv4() { 32 } else { 128 }) {
        report.cannot(&s.at, &s.shown(), "expected a prefix length; left out");
        found.prefix.clear();
    }
    let what = format!("IPaddr2 ip={addr}, held as a single address");
    match left_out.is_empty() {
        true => report.maps(&s.at, &s.shown(), what),
        false => report.differs(&s.at, &s.shown(), format!("{what}; without {}", left_out.join(", "))),
    }
    Some(found)
}

fn route(s: &Stmt, report: &mut Report) -> Option<Route> {
    let mut route = Route::default();
    let mut words = s.words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap_or_default().to_owned();
        match word {
            "to" => route.destination = next(),
            "via" | "gw" => route.gateway = next(),
            "dev" => route.device = next(),
            "src" | "from" => route.source = next(),
            "table" => route.table = next(),
            "blackhole" | "unreachable" | "prohibit" | "nexthop" | "or" => {
                report.cannot(
                    &s.at,
                    &s.shown(),
                    format!("a route with '{word}' belongs to the host's network configuration"),
                );
                return None;
            }
            word if route.destination.is_empty() && (word == "default" || word.contains(['.', ':'])) => {
                route.destination = word.to_owned();
            }
            word => {
                let value = next();
                report.differs(&s.at, &s.shown(), format!("without {word} {value}"));
            }
        }
    }
    if route.destination.is_empty() || (route.gateway.is_empty() && route.device.is_empty()) {
        report.cannot(&s.at, &s.shown(), "expected a destination, and a gateway or a device");
        return None;
    }
    report.differs(&s.at, &s.shown(), "ocf:heartbeat:Route");
    Some(route)
}

/// Instances that go together, by the name of the whole.
pub fn groups(all: &[Stmt], instances: &[Instance], report: &mut Report) -> Vec<(String, Vec<Instance>)> {
    let mut groups = Vec::new();
    let mut taken: Vec<&str> = Vec::new();
    for s in all.iter().filter(|s| s.keyword() == "vrrp_sync_group") {
        let names: Vec<&str> =
            s.child("group").into_iter().flat_map(|g| g.body()).flat_map(|n| &n.words).map(String::as_str).collect();
        let members: Vec<Instance> =
            names.iter().filter_map(|n| instances.iter().find(|i| i.name == *n)).cloned().collect();
        for name in names.iter().filter(|n| !instances.iter().any(|i| i.name == **n)) {
            report.cannot(&s.at, &s.shown(), format!("there is no vrrp_instance {name}"));
        }
        report.maps(&s.at, &s.shown(), "one group for all its instances");
        for line in s.body() {
            match line.keyword() {
                "group" => report.maps(&line.at, &line.shown(), "members of the group"),
                keyword if keyword.starts_with("notify") => notify(line, report),
                "global_tracking" | "sync_group_tracking_weight" => {
                    report.differs(&line.at, &line.shown(), "left out: a group moves as a whole")
                }
                "smtp_alert" => report.differs(&line.at, &line.shown(), "mail of fail-overs: pcs alert create"),
                _ => report.cannot(
                    &line.at,
                    &line.shown(),
                    "what is tracked becomes rules and members: see the instances",
                ),
            }
        }
        taken.extend(names);
        if !members.is_empty() {
            groups.push((s.value().to_owned(), members));
        }
    }
    let alone = instances.iter().filter(|i| !taken.contains(&i.name.as_str()));
    groups.extend(alone.map(|i| (i.name.clone(), vec![i.clone()])));
    groups
}
