//! `bascule doctor` beside kernel IPVS: what needs it, its settings, synchronisation, a real packet filter and real tunnels.

use crate::BASCULE;
use crate::guest::Namespace;
use std::path::PathBuf;

const CF: &str = "\
virtual=192.0.2.100:80
    real=192.0.2.11:80 gate
    real=10.1.0.12:80 ipip
    checktype=connect
    scheduler=wlc
";

const COROSYNC: &str = include_str!("../support/two-directors.conf");

const LAYOUT: &str = "\
modprobe ip_vs
ip link add eth0 type veth peer name p0; ip link set p0 up; ip link set eth0 up
ip link add eth1 type veth peer name p1; ip link set p1 up; ip link set eth1 up mtu 1520
ip addr add 192.0.2.1/24 dev eth0; ip addr add 10.1.0.1/24 dev eth1
ip route add default via 192.0.2.254
sysctl -qw net.ipv4.vs.expire_nodest_conn=1 net.ipv4.vs.expire_quiescent_template=1 net.ipv4.vs.conn_reuse_mode=1
sysctl -qw net.ipv4.vs.sloppy_tcp=1 'net.ipv4.vs.sync_threshold=3 0' net.ipv4.vs.sync_refresh_period=10 net.ipv4.vs.sync_retries=2
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
";

/// The guest has no time service.
const OF_THE_GUEST: &str = "clock";

/// Rule, commands that plant its fault, commands that take it back.
const FAULTS: &[(&str, &str, &str)] = &[
    ("ipvs-setting", "sysctl -qw net.ipv4.vs.expire_nodest_conn=0", "sysctl -qw net.ipv4.vs.expire_nodest_conn=1"),
    ("scheduler", "sed -i s/=wlc/=nosuch/ $D/services.cf", "sed -i s/=nosuch/=wlc/ $D/services.cf"),
    (
        "ring-firewall",
        "nft 'add table inet f; add chain inet f in { type filter hook input priority 0; policy drop; }; add rule inet f in tcp dport 80 accept'",
        "nft flush ruleset",
    ),
    (
        "sync-firewall",
        "nft 'add table inet f; add chain inet f in { type filter hook input priority 0; policy accept; }; add rule inet f in udp dport 8848 drop'",
        "nft flush ruleset",
    ),
    (
        "service-firewall",
        "nft 'add table inet f; add chain inet f in { type filter hook input priority 0; policy accept; }; add rule inet f in tcp dport 1-1024 reject'",
        "nft flush ruleset",
    ),
    (
        "tunnel-rp-filter",
        "modprobe ipip; ip addr add 10.1.0.12/32 dev eth1; ip link set tunl0 up; sysctl -qw net.ipv4.conf.tunl0.rp_filter=1",
        "ip addr del 10.1.0.12/32 dev eth1; ip link set tunl0 down",
    ),
];

struct Site {
    space: Namespace,
    dir: PathBuf,
}

impl Site {
    fn new(name: &str, layout: &str) -> Result<Site, String> {
        let dir = std::env::temp_dir().join(format!("doctor-{name}"));
        std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
        for (file, text) in [("services.cf", CF), ("corosync.conf", COROSYNC)] {
            std::fs::write(dir.join(file), text).map_err(|e| e.to_string())?;
        }
        std::fs::write(dir.join("authkey"), [7u8; 256]).map_err(|e| e.to_string())?;
        let site = Site { space: Namespace::new(name)?, dir };
        site.run("chmod 0400 $D/authkey")?;
        layout.lines().try_for_each(|line| site.run(line).map(drop))?;
        Ok(site)
    }

    fn run(&self, line: &str) -> Result<String, String> {
        self.space.run(&format!("D={}; set -e; {line}", self.dir.display()))
    }

    fn doctor(&self, more: &str) -> Result<String, String> {
        self.run(&format!(
            "'{BASCULE}' doctor --config $D/services.cf --corosync-conf $D/corosync.conf --authkey $D/authkey {more} || [ $? -le 2 ]"
        ))
    }

    /// Rules that found more than a note.
    fn findings(&self) -> Result<Vec<String>, String> {
        let text = self.doctor("--json")?;
        ids(&text).map(|all| all.into_iter().filter(|id| id != OF_THE_GUEST).collect())
    }
}

fn ids(text: &str) -> Result<Vec<String>, String> {
    let report: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
    let list = report["findings"].as_array().ok_or("no findings")?;
    let grave = list.iter().filter(|f| f["severity"] != "note");
    Ok(grave.filter_map(|f| f["id"].as_str().map(str::to_owned)).collect())
}

fn none(what: &str, found: &[String]) -> Result<(), String> {
    if found.is_empty() { Ok(()) } else { Err(format!("{what}: found {found:?}")) }
}

pub fn finds_planted_faults() -> Result<(), String> {
    let site = Site::new("d1", LAYOUT)?;
    site.run("ipvsadm --start-daemon backup --mcast-interface eth0 --syncid 7")?;
    none("healthy", &site.findings()?)?;
    for (id, plant, heal) in FAULTS {
        site.run(plant)?;
        let found = site.findings()?;
        if !found.iter().any(|f| f == id) {
            return Err(format!("{id} was not found, but {found:?}\n{}", site.doctor("")?));
        }
        site.run(heal)?;
    }
    none("healed", &site.findings()?)?;
    tunnelled_real_server(&site)
}

/// The script on a real server behind a tunnel.
fn tunnelled_real_server(director: &Site) -> Result<(), String> {
    let script = director.doctor("--real-server 10.1.0.12")?;
    let layout = "\
ip link add eth0 type veth peer name p0; ip link set p0 up; ip link set eth0 up
ip addr add 10.1.0.12/24 dev eth0; ip addr add 192.0.2.100/32 dev lo
ip route add default via 10.1.0.254 advmss 1440
sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0
modprobe ipip; ip link set tunl0 up; sysctl -qw net.ipv4.conf.tunl0.rp_filter=0
";
    let real = Site::new("web", layout)?;
    std::fs::write(real.dir.join("look.sh"), script).map_err(|e| e.to_string())?;
    let look = || -> Result<Vec<String>, String> {
        let found = ids(&real.run("sh $D/look.sh --json || [ $? -le 2 ]")?)?;
        Ok(found.into_iter().filter(|id| id != "listen").collect())
    };
    none("healthy real server", &look()?)?;
    for (id, plant, heal) in [
        ("rp-filter", "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1", "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0"),
        ("tunnel-device", "ip link set tunl0 down", "ip link set tunl0 up"),
        ("mtu", "ip route replace default via 10.1.0.254", "ip route replace default via 10.1.0.254 advmss 1440"),
    ] {
        real.run(plant)?;
        let found = look()?;
        if found != [id] {
            return Err(format!("{id} planted on the real server, found {found:?}"));
        }
        real.run(heal)?;
    }
    Ok(())
}
