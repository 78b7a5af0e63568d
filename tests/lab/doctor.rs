//! `bascule doctor` in a namespace: nothing found on a director that is laid out well, and each of the faults that are planted
//! there one after the other; and its script for real servers, run by `sh`.

use crate::fixture::BASCULE;
use crate::root::root;
use kernel::netns::{Namespace, Spec};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A host with its files.
struct Site {
    ns: Namespace,
    dir: tempfile::TempDir,
}

const CF: &str = "\
virtual=192.0.2.100:80
    real=192.0.2.11:80 gate
    real=10.1.0.11:8080 masq
    checktype=connect
    scheduler=wlc
virtual=192.0.2.100:25
    real=10.1.0.12:25 ipip
    checktype=connect
";

const COROSYNC: &str = include_str!("../support/two-directors.conf");

const CIB: &str = r#"<cib crm_feature_set="3.20.0" validate-with="pacemaker-4.0" epoch="1" num_updates="0" admin_epoch="0">
<configuration><crm_config><cluster_property_set id="o"><nvpair id="o-f" name="fencing-enabled" value="false"/>
</cluster_property_set></crm_config><nodes/><resources><group id="www">
<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2"><instance_attributes id="i">
<nvpair id="i-ip" name="ip" value="192.0.2.100"/></instance_attributes></primitive></group></resources><constraints/>
</configuration><status/></cib>"#;

/// Commands that lay out a healthy director.
const LAYOUT: &str = "\
ip link set lo up
ip link add eth0 type veth peer name p0 && ip link set p0 up && ip link set eth0 up mtu 1500
ip link add eth1 type veth peer name p1 && ip link set p1 up && ip link set eth1 up mtu 1520
ip addr add 192.0.2.1/24 dev eth0
ip addr add 10.1.0.1/24 dev eth1
ip addr add 192.0.2.100/32 dev eth0 valid_lft 600 preferred_lft 600
ip route add default via 192.0.2.254
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth1.send_redirects=0
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.all.arp_ignore=0
sysctl -qw net.ipv4.conf.all.arp_announce=0 net.ipv4.conf.all.promote_secondaries=1
";

/// What the running kernel cannot help: those are not planted here.
const OF_THIS_KERNEL: &[&str] = &["ipvs", "scheduler", "clock", "ipvs-setting", "conntrack-full"];

/// Rule, shell commands in the site's directory that plant its fault, commands that take it back.
const FAULTS: &[(&str, &str, &str)] = &[
    ("forwarding", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1"),
    (
        "send-redirects",
        "sysctl -qw net.ipv4.conf.eth1.send_redirects=1",
        "sysctl -qw net.ipv4.conf.eth1.send_redirects=0",
    ),
    (
        "rp-filter",
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=1; ip route replace default via 10.1.0.254",
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=0; ip route replace default via 192.0.2.254",
    ),
    ("arp-ignore", "ip addr add 192.0.2.100/32 dev lo", "ip addr del 192.0.2.100/32 dev lo"),
    ("arp-announce", "ip addr add 192.0.2.100/32 dev lo", "ip addr del 192.0.2.100/32 dev lo"),
    ("vip-prefix", "ip addr add 192.0.2.100/24 dev lo", "ip addr del 192.0.2.100/24 dev lo"),
    (
        "vip-permanent",
        "ip addr change 192.0.2.100/32 dev eth0 valid_lft forever preferred_lft forever",
        "ip addr change 192.0.2.100/32 dev eth0 valid_lft 600 preferred_lft 600",
    ),
    ("gateway", "ip route del default", "ip route add default via 192.0.2.254"),
    ("real-route", "ip route add unreachable 10.1.0.11", "ip route del unreachable 10.1.0.11"),
    ("link-down", "ip link set p1 down", "ip link set p1 up"),
    ("tunnel-mtu", "ip link set eth1 mtu 1200", "ip link set eth1 mtu 1520"),
    ("tunnel-device", "ip addr add 10.1.0.12/32 dev eth1", "ip addr del 10.1.0.12/32 dev eth1"),
    ("authkey", "chmod 0644 authkey", "chmod 0400 authkey"),
    ("two-node", "sed -i s/two_node/_two_node/ corosync.conf", "sed -i s/_two_node/two_node/ corosync.conf"),
    (
        "wait-for-all",
        "sed -i 's/two_node: 1/&\\nwait_for_all: 0/' corosync.conf",
        "sed -i /wait_for_all/d corosync.conf",
    ),
    (
        "expected-votes",
        "sed -i 's/two_node: 1/&\\nexpected_votes: 3/' corosync.conf",
        "sed -i /expected_votes/d corosync.conf",
    ),
    (
        "ring-address",
        "sed -i 's/192.0.2.1$/192.0.2.7/' corosync.conf",
        "sed -i 's/192.0.2.7$/192.0.2.1/' corosync.conf",
    ),
    (
        "ring-loopback",
        "sed -i 's/192.0.2.2$/127.0.1.1/' corosync.conf",
        "sed -i 's/127.0.1.1$/192.0.2.2/' corosync.conf",
    ),
    ("fencing", "sed -i s/IPaddr2/Filesystem/ cib.xml", "sed -i s/Filesystem/IPaddr2/ cib.xml"),
    ("unreadable", "sed -i s/checktype=/checktypo=/ services.cf", "sed -i s/checktypo=/checktype=/ services.cf"),
];

impl Site {
    fn new(hostname: &str, layout: &str) -> Site {
        let site = Site {
            ns: Namespace::create(&Spec::new(hostname)).expect("a namespace"),
            dir: tempfile::tempdir().expect("a directory"),
        };
        for (name, text) in [("services.cf", CF), ("corosync.conf", COROSYNC), ("cib.xml", CIB)] {
            std::fs::write(site.path(name), text).expect("written");
        }
        std::fs::write(site.path("authkey"), [7u8; 256]).expect("written");
        site.shell("chmod 0400 authkey");
        layout.lines().for_each(|l| drop(site.shell(l)));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn shell(&self, line: &str) -> String {
        let (code, text) = self.run(Command::new("sh").args(["-ec", line]));
        assert_eq!(code, 0, "{line}: {text}");
        text
    }

    fn run(&self, command: &mut Command) -> (i32, String) {
        let out = match self.ns.run(|| command.current_dir(self.dir.path()).output()).expect("inside") {
            Ok(out) => out,
            Err(e) => return (127, e.to_string()),
        };
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code().unwrap_or(-1), text)
    }

    fn doctor(&self, more: &[&str]) -> (i32, String) {
        let mut command = Command::new(BASCULE);
        command.args(["doctor", "--config", "services.cf", "--corosync-conf", "corosync.conf", "--authkey", "authkey"]);
        self.run(command.args(["--cib", "cib.xml"]).args(more))
    }

    /// Rules that found a warning or an error which is not the running kernel's.
    fn findings(&self) -> Vec<String> {
        let (code, text) = self.doctor(&["--json"]);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        let list = report["findings"].as_array().expect("findings");
        let severity = |word: &str| list.iter().any(|f| f["severity"] == word);
        assert_eq!(code, if severity("error") { 2 } else { i32::from(severity("warning")) }, "exit code of {text}");
        let counts = list.iter().filter(|f| f["severity"] != "note");
        let ids = counts.filter_map(|f| f["id"].as_str().map(str::to_owned));
        ids.filter(|id| !OF_THIS_KERNEL.contains(&id.as_str())).collect()
    }
}

#[test]
fn planted_faults_of_a_director_are_found() {
    let Some(()) = root() else { return };
    let site = Site::new("d1", LAYOUT);
    assert_eq!(site.findings(), Vec::<String>::new(), "healthy: {}", site.doctor(&[]).1);
    for (id, plant, heal) in FAULTS {
        site.shell(plant);
        let found = site.findings();
        assert!(found.iter().any(|f| f == id), "{id} was not found: {}", site.doctor(&[]).1);
        site.shell(heal);
    }
    assert_eq!(site.findings(), Vec::<String>::new(), "healed: {}", site.doctor(&[]).1);
    let (_, text) = site.doctor(&[]);
    assert!(text.contains("0 errors, 0 warnings") || OF_THIS_KERNEL.iter().any(|id| text.contains(id)), "{text}");
}

/// A packet filter that is really there, where this kernel has one.
#[test]
fn holes_that_are_missing_in_the_packet_filter_are_found() {
    let Some(()) = root() else { return };
    let site = Site::new("d1", LAYOUT);
    let (code, why) = site.run(Command::new("nft").args(["add", "table", "inet", "filter"]));
    if code != 0 {
        println!("SKIPPED: no nftables here: {why}");
        return;
    }
    site.shell("nft 'add chain inet filter input { type filter hook input priority 0; policy drop; }'");
    let found = site.findings();
    assert!(["ring-firewall", "service-firewall"].iter().all(|id| found.iter().any(|f| f == id)), "{found:?}");
    site.shell("nft add rule inet filter input udp dport 5405-5412 ip saddr 192.0.2.2 accept");
    site.shell("nft add rule inet filter input tcp dport '{ 25, 80 }' accept");
    assert_eq!(site.findings(), Vec::<String>::new());
    site.shell("nft 'add chain inet filter forward { type filter hook forward priority 0; policy drop; }'");
    assert_eq!(site.findings(), ["forward-firewall"]);
}

/// A real server for direct routing.
const REAL: &str = "\
ip link set lo up
ip link add eth0 type veth peer name p0 && ip link set p0 up && ip link set eth0 up
ip addr add 192.0.2.11/24 dev eth0
ip addr add 192.0.2.100/32 dev lo
ip route add default via 192.0.2.254
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0
sysctl -qw net.ipv4.conf.eth0.rp_filter=0
";

/// One that answers through the director.
const MASQUERADED: &str = "\
ip link set lo up
ip link add eth0 type veth peer name p0 && ip link set p0 up && ip link set eth0 up
ip addr add 10.1.0.11/24 dev eth0
ip route add default via 10.1.0.1
";

const REAL_FAULTS: &[(&str, &str, &str)] = &[
    ("arp-ignore", "sysctl -qw net.ipv4.conf.all.arp_ignore=0", "sysctl -qw net.ipv4.conf.all.arp_ignore=1"),
    ("arp-announce", "sysctl -qw net.ipv4.conf.all.arp_announce=0", "sysctl -qw net.ipv4.conf.all.arp_announce=2"),
    ("vip-on-lo", "ip addr del 192.0.2.100/32 dev lo", "ip addr add 192.0.2.100/32 dev lo"),
    (
        "vip-answers",
        "ip link add eth7 type veth peer name eth8; ip addr add 192.0.2.100/32 dev eth7",
        "ip link del eth7",
    ),
    ("vip-prefix", "ip addr add 192.0.2.100/24 dev lo", "ip addr del 192.0.2.100/24 dev lo"),
    (
        "rp-filter",
        "ip link add eth1 type veth peer name p1; ip link set eth1 up; ip link set p1 up; ip addr add 10.7.0.1/24 dev eth1; ip route replace default via 10.7.0.254; sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
        "ip link del eth1; ip route replace default via 192.0.2.254; sysctl -qw net.ipv4.conf.eth0.rp_filter=0",
    ),
];

/// Runs the script in a site; exit code and findings that are not about programs that listen (nothing is started here).
fn look(site: &Site, script: &Path) -> (i32, Vec<String>) {
    let (code, text) = site.run(Command::new("sh").arg(script).arg("--json"));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    let list = report["findings"].as_array().expect("findings").clone();
    (code, list.iter().filter_map(|f| f["id"].as_str()).filter(|id| *id != "listen").map(str::to_owned).collect())
}

fn script_for(director: &Site, real: &str) -> PathBuf {
    let (code, text) = director.doctor(&["--real-server", real]);
    assert_eq!(code, 0, "{text}");
    let path = director.path(&format!("{real}.sh"));
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn the_script_finds_planted_faults_of_real_servers() {
    let Some(()) = root() else { return };
    let director = Site::new("d1", LAYOUT);
    let script = script_for(&director, "192.0.2.11");
    let real = Site::new("web1", REAL);
    let (_, none) = look(&real, &script);
    assert_eq!(none, Vec::<String>::new());
    for (id, plant, heal) in REAL_FAULTS {
        real.shell(plant);
        let (code, found) = look(&real, &script);
        assert!(code == 2 && found.iter().any(|f| f == id), "{id} was not found: {code} {found:?}");
        real.shell(heal);
    }
    assert_eq!(look(&real, &script).1, none, "healed");
    listening(&real, &script);
    let script = script_for(&director, "10.1.0.11");
    let real = Site::new("web2", MASQUERADED);
    assert_eq!(look(&real, &script).1, Vec::<String>::new());
    real.shell("ip route replace default via 10.1.0.254");
    assert_eq!(look(&real, &script), (2, vec!["gateway".to_owned()]));
    real.shell("ip addr flush dev eth0");
    assert!(look(&real, &script).1.contains(&"own-address".to_owned()));
    let (code, text) = director.doctor(&["--real-server", "nobody"]);
    assert!(code == 66 && text.contains("known are: 10.1.0.11, 10.1.0.12, 192.0.2.11"), "{code} {text}");
}

/// A server bound to the real server's own address does not hear packets for the virtual one.
fn listening(real: &Site, script: &Path) {
    let refused = |site: &Site| site.run(Command::new("sh").arg(script)).1.contains("listen:");
    let bind = |place: &'static str| {
        real.ns.run_net(move || std::net::TcpListener::bind(place)).expect("inside").expect("bound")
    };
    if real.run(&mut Command::new("ss")).0 != 0 {
        println!("SKIPPED: no program ss");
        return;
    }
    let own = bind("192.0.2.11:80");
    assert!(refused(real), "bound to its own address only");
    drop(own);
    let _all = bind("0.0.0.0:80");
    assert!(!refused(real), "bound to all addresses");
}

/// Its tunnel, where this kernel has one.
#[test]
fn the_script_finds_a_tunnel_that_is_not_there() {
    let Some(()) = root() else { return };
    let director = Site::new("d1", LAYOUT);
    let script = script_for(&director, "10.1.0.12");
    let layout = REAL.replace("192.0.2.11/24", "10.1.0.12/24").replace("192.0.2.254", "10.1.0.254");
    let real = Site::new("web3", &layout);
    let found = look(&real, &script).1;
    assert!(["tunnel-device", "mtu"].iter().all(|id| found.iter().any(|f| f == id)), "{found:?}");
    let (code, why) = real.run(Command::new("ip").args(["link", "add", "tunl1", "type", "ipip", "local", "10.1.0.12"]));
    if code != 0 {
        println!("SKIPPED: no ipip here: {why}");
        return;
    }
    real.shell("ip link set tunl1 up; sysctl -qw net.ipv4.conf.tunl1.rp_filter=1; ip route replace default via 10.1.0.254 advmss 1440");
    assert_eq!(look(&real, &script).1, ["rp-filter"]);
    real.shell("sysctl -qw net.ipv4.conf.tunl1.rp_filter=0");
    assert_eq!(look(&real, &script).1, Vec::<String>::new());
}
