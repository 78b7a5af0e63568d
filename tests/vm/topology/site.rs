//! The hosts of the topology scenario.

use super::LIMIT;
use crate::BASCULE;
use crate::guest::{Namespace, kill_all, shell, wait_until};
use crate::hold;
use std::time::Duration;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/topology");
const WEB_ADDRESSES: [&str; 8] = [
    "10.8.0.100/32",
    "fd00:8::100/128",
    "10.8.0.104/32",
    "fd00:8::104/128",
    "10.10.0.101/32",
    "fd00:10::101/128",
    "10.7.0.254/32",
    "fd00:7::fe/128",
];
const MARK_ADDRESSES: [&str; 4] = ["10.8.0.102/32", "fd00:8::102/128", "10.8.0.103/32", "fd00:8::103/128"];

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As the files say.
    Sync,
    /// No connection sync; scheduler `mh` with the client's port.
    MaglevAlone,
}

pub struct Site {
    directors: Vec<Namespace>,
    _webs: Vec<Namespace>,
    pub client: Namespace,
    _switch: Namespace,
}

impl Site {
    pub fn start(variant: Variant) -> Result<Site, String> {
        shell("for m in ip_vs ipip ip6_tunnel bonding 8021q nf_tables; do modprobe $m || echo \"no module $m\"; done")?;
        shell(&format!("rm -rf /tmp/topology && mkdir -p /tmp/topology && cp {FILES}/* /tmp/topology"))?;
        if variant == Variant::MaglevAlone {
            shell("sed -i 's/scheduler=rr/scheduler=mh\\n    schedflags=mh-port/' /tmp/topology/*.cf")?;
            shell("sed -i '/<primitive id=\"[a-z]*-sync\"/,/<\\/primitive>/d' /tmp/topology/cib.xml")?;
        }
        shell(&format!("{BASCULE} corosync-keygen -k /tmp/topology/authkey"))?;
        let switch = Namespace::new("switch")?;
        switch.run("for b in front inside; do ip link add $b type bridge && ip link set $b up; done")?;
        let client = client(&switch)?;
        let webs = vec![web(&switch, 1)?, web(&switch, 2)?];
        let mut site = Site { directors: Vec::new(), _webs: webs, client, _switch: switch };
        for n in 1..=2 {
            let director = site.director(n)?;
            site.directors.push(director);
            site.run_node(n)?;
        }
        site.load_configuration()?;
        Ok(site)
    }

    fn director(&self, n: usize) -> Result<Namespace, String> {
        let d = Namespace::new(&format!("d{n}"))?;
        d.attach_to(&self._switch, "front", &[])?;
        let inside = [&*format!("10.7.0.{n}/24"), &*format!("fd00:7::{n}/64")];
        d.attach_more(&self._switch, "inside", "eth1", &inside)?;
        d.run("ip link add bond0 type bond mode active-backup miimon 100 && ip link set eth0 down")?;
        d.run("ip link set eth0 master bond0 && ip link set bond0 up && ip link add br0 type bridge")?;
        d.run("ip link set bond0 master br0 && ip link set br0 up")?;
        d.run("ip link add link br0 name br0.10 type vlan id 10 && ip link set br0.10 up")?;
        for (link, net) in [("br0", "8"), ("br0.10", "10")] {
            d.run(&format!(
                "ip addr add 10.{net}.0.{n}/24 dev {link} && ip addr add fd00:{net}::{n}/64 dev {link} nodad"
            ))?;
        }
        hold::serve(&d)?;
        Ok(d)
    }

    pub fn run_node(&self, n: usize) -> Result<(), String> {
        let start = format!(
            "setsid {BASCULE} node --config /tmp/topology/corosync.conf --authkey /tmp/topology/authkey \
             --state-dir /tmp/topology/state{n} --run-dir /tmp/topology/run{n} >>/tmp/topology/d{n}.log 2>&1 &"
        );
        self.directors[n - 1].run(&start).map(drop)
    }

    fn load_configuration(&self) -> Result<(), String> {
        let load = format!("BASCULE_RUN_DIR=/tmp/topology/run1 {BASCULE}");
        let mut last = String::new();
        // With one alone everything would start there, and stay.
        let both = "grep -qw d2";
        let command =
            format!("{load} crm_node -p | {both} && {load} cibadmin -R -o configuration -x /tmp/topology/cib.xml");
        wait_until(LIMIT, || shell(&command).map_err(|e| last = e).ok())
            .map(drop)
            .ok_or_else(|| format!("the configuration could not be loaded: {last}\n{}", self.logs()))
    }

    fn node(&self, name: &str) -> &Namespace {
        self.directors.iter().find(|d| d.name == name).unwrap_or(&self.client)
    }

    /// Both groups run where they should, tables included.
    pub fn wait_for_groups(&self, web: &str, mark: &str) -> Result<(), String> {
        let look = "ip -br addr show dev br0; ip -br addr show dev br0.10; ip -br addr show dev eth1; ipvsadm -Sn";
        let there = |seen: &str, group: &[&str], service: &str| {
            group.iter().all(|a| seen.contains(a)) && seen.contains(service)
        };
        let done = wait_until(LIMIT, || {
            // Looking costs the emulated processor more than waiting.
            std::thread::sleep(Duration::from_secs(1));
            let on_web = self.node(web).run(look).unwrap_or_default();
            if !there(&on_web, &WEB_ADDRESSES, "-a -t 10.8.0.100:7000") {
                return None;
            }
            let on_mark = if web == mark { on_web } else { self.node(mark).run(look).unwrap_or_default() };
            there(&on_mark, &MARK_ADDRESSES, "-a -f 1").then_some(())
        });
        done.ok_or_else(|| format!("groups are not on {web} and {mark}\n{}", self.logs()))
    }

    /// Sync daemons as Debian's ipvsadm lists them: `master 1, backup 2`.
    pub fn sync_roles(&self, expected: &[(&str, &str)]) -> Result<(), String> {
        for (name, roles) in expected {
            let mut last = String::new();
            let good = wait_until(LIMIT, || {
                let listed = self.node(name).run("ipvsadm -L --daemon").unwrap_or_default();
                let mut words: Vec<String> = listed.lines().filter_map(role).collect();
                words.sort_by(|a, b| b.cmp(a));
                last = words.join(", ");
                (last == *roles).then_some(())
            });
            good.ok_or_else(|| format!("{name}: expected {roles}, got {last}\n{}", self.logs()))?;
        }
        Ok(())
    }

    /// Every connection of d1's group is in d2's table.
    pub fn wait_for_synced(&self) -> Result<(), String> {
        let mut last = String::new();
        let good = wait_until(LIMIT, || {
            std::thread::sleep(Duration::from_secs(1));
            last = self.node("d2").run("ipvsadm -Lcn").unwrap_or_default();
            let vips = ["10.8.0.100:7000", "[fd00:8::100]:7000", "10.10.0.101:7000", "[fd00:10::101]:7000"];
            vips.iter().all(|vip| last.lines().any(|l| l.contains(vip) && l.contains("ESTABLISHED"))).then_some(())
        });
        good.ok_or_else(|| format!("d2 does not know d1's connections:\n{last}\n{}", self.logs()))
    }

    /// Somebody changes a setting by hand: status shows it.
    pub fn settings_are_audited(&self) -> Result<(), String> {
        let value = self
            .node("d1")
            .run("sysctl -n net.ipv4.vs.sloppy_tcp net.ipv4.vs.sync_refresh_period net.ipv4.ip_forward")?;
        if value.split_whitespace().collect::<Vec<_>>() != ["1", "10", "1"] {
            return Err(format!("settings of d1 are {value}"));
        }
        self.node("d1").run("sysctl -qw net.ipv4.vs.sloppy_tcp=0")?;
        let status = format!("BASCULE_RUN_DIR=/tmp/topology/run2 {BASCULE} crm_mon -1A");
        let mut last = String::new();
        let shown = wait_until(LIMIT, || {
            std::thread::sleep(Duration::from_secs(2));
            last = shell(&status).unwrap_or_default();
            last.contains("net.ipv4.vs.sloppy_tcp=0 (wanted 1)").then_some(())
        });
        self.node("d1").run("sysctl -qw net.ipv4.vs.sloppy_tcp=1")?;
        shown.ok_or_else(|| format!("status does not show the changed setting:\n{last}\n{}", self.logs()))?;
        println!("     status shows a kernel setting that somebody changed");
        Ok(())
    }

    /// Power loss.
    pub fn kill(&self, name: &str) -> Result<(), String> {
        self.node(name).run("ip link set eth0 down; ip link set eth1 down")?;
        kill_all(name)
    }

    /// The machine boots again: nothing that was configured is left in its kernel.
    pub fn revive(&self, name: &str) -> Result<(), String> {
        let d = self.node(name);
        d.run("ipvsadm -C; ipvsadm --stop-daemon master; ipvsadm --stop-daemon backup; nft flush ruleset; true")?;
        d.run("ip link set eth1 up; ip link set eth0 up")?;
        // The kernel took the IPv6 addresses of the link that went down; a booting machine sets them again.
        let n = if name == "d1" { 1 } else { 2 };
        d.run(&format!("ip addr add fd00:7::{n}/64 dev eth1 nodad"))?;
        hold::serve(d)?;
        self.run_node(n)
    }

    pub fn logs(&self) -> String {
        let states = "for d in d1 d2; do echo \"== $d\"; ip netns exec $d sh -c 'ip -br addr; ipvsadm -Ln; ipvsadm -L --daemon'; done";
        let state = shell(states).unwrap_or_default();
        let logs = shell("for f in /tmp/topology/d?.log; do echo \"== $f\"; tail -n 70 $f; done").unwrap_or_default();
        format!("{state}{logs}")
    }
}

fn role(line: &str) -> Option<String> {
    let id = line.split("syncid=").nth(1)?.split([',', ')']).next()?;
    Some(format!("{} {id}", line.split_whitespace().next()?))
}

/// Sends packets one by one, so that their size is what the wire sees.
fn client(switch: &Namespace) -> Result<Namespace, String> {
    let client = Namespace::new("client")?;
    client.attach_to(switch, "front", &["10.8.0.50/24", "fd00:8::50/64"])?;
    client.run("ip link set eth0 gso_max_segs 1")?;
    client.run("ip link add link eth0 name eth0.10 type vlan id 10 && ip link set eth0.10 up gso_max_segs 1")?;
    client.run("ip addr add 10.10.0.50/24 dev eth0.10; ip addr add fd00:10::50/64 dev eth0.10 nodad")?;
    client.run("ip route add 10.9.9.0/28 via 10.8.0.102; ip -6 route add fd00:9::/64 via fd00:8::102")?;
    Ok(client)
}

fn web(switch: &Namespace, n: u32) -> Result<Namespace, String> {
    let web = Namespace::new(&format!("w{n}"))?;
    web.attach_to(switch, "front", &[&format!("10.8.0.1{n}/24"), &format!("fd00:8::1{n}/64")])?;
    web.attach_more(switch, "inside", "eth1", &[&format!("10.7.0.1{n}/24"), &format!("fd00:7::1{n}/64")])?;
    web.run(
        "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2 net.ipv4.conf.all.rp_filter=0",
    )?;
    for addr in ["10.8.0.100", "10.8.0.102"] {
        web.run(&format!("ip addr add {addr}/32 dev lo"))?;
    }
    for addr in ["fd00:8::100", "fd00:8::102"] {
        web.run(&format!("ip -6 addr add {addr}/128 dev lo nodad"))?;
    }
    web.run("ip route add local 10.9.9.0/28 dev lo; ip -6 route add local fd00:9::/64 dev lo")?;
    web.run(
        "ip link set tunl0 up && ip addr add 10.8.0.104/32 dev tunl0 && sysctl -qw net.ipv4.conf.tunl0.rp_filter=0",
    )?;
    web.run("ip link set ip6tnl0 up && ip -6 addr add fd00:8::104/128 dev ip6tnl0 nodad")?;
    web.run("ip rule add from 10.7.0.0/24 table 7 && ip route add default via 10.7.0.254 table 7")?;
    web.run("ip route add 10.7.0.0/24 dev eth1 table 7; ip -6 route add fd00:7::/64 dev eth1 table 7")?;
    web.run("ip -6 rule add from fd00:7::/64 table 7 && ip -6 route add default via fd00:7::fe dev eth1 table 7")?;
    hold::serve(&web)?;
    Ok(web)
}
