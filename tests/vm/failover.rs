//! Two directors, three web servers and a client on kernel IPVS: direct routing and masquerading, IPv4 and IPv6.
//!
//! ```text
//!   client ─┐                10.8.0.0/24, fd00:8::/64 (front)
//!   d1, d2 ─┼─ front ── w1 w2 w3     VIPs .100 (direct routing, also on lo of w*) and .101 (masquerading)
//!      └────── inside ── w1 w2 w3    10.7.0.0/24, fd00:7::/64, gateway .254 / ::fe in the group
//! ```

use crate::BASCULE;
use crate::guest::{Namespace, kill_all, shell, sorted_lines, wait_until};
use std::time::Duration;

const START: Duration = Duration::from_secs(60);
const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vm/failover");
/// Every way in: direct routing and masquerading, both families.
const URLS: [&str; 4] = ["10.8.0.100", "10.8.0.101", "[fd00:8::100]", "[fd00:8::101]"];

pub fn group_fails_over() -> Result<(), String> {
    let site = Site::start()?;
    let active = site.wait_for_owner(START)?;
    println!("     {active} holds the group");
    let table = site.wait_for_table(&active, 16)?;
    for url in URLS {
        site.served_by_all(url)?;
    }
    site.node(&active).run("ip link set eth0 down; ip link set eth1 down")?;
    kill_all(&active)?;
    let survivor = if active == "d1" { "d2" } else { "d1" };
    let again = wait_until(START, || (site.owner().as_deref() == Some(survivor)).then_some(()));
    again.ok_or_else(|| format!("{survivor} did not take the group over\n{}", site.logs()))?;
    let after = site.wait_for_table(survivor, 16)?;
    if table != after {
        return Err(format!("before on {active}:\n{table}\nafter on {survivor}:\n{after}"));
    }
    println!("     Debian's ipvsadm shows the same {} lines on {survivor}", after.lines().count());
    for url in URLS {
        site.served_by_all(url)?;
    }
    site.dead_server_leaves(survivor)?;
    site.dead_server_is_quiescent(survivor)
}

struct Site {
    directors: Vec<Namespace>,
    webs: Vec<Namespace>,
    client: Namespace,
    _switch: Namespace,
}

impl Site {
    fn start() -> Result<Site, String> {
        let switch = Namespace::new("switch")?;
        switch.run("for b in front inside; do ip link add $b type bridge && ip link set $b up; done")?;
        let client = Namespace::new("client")?;
        client.attach_to(&switch, "front", &["10.8.0.50/24", "fd00:8::50/64"])?;
        let mut site = Site { directors: Vec::new(), webs: Vec::new(), client, _switch: switch };
        for n in 1..=3 {
            let web = site.web(n)?;
            site.webs.push(web);
        }
        shell(&format!("mkdir -p /tmp/failover && cp {FILES}/* /tmp/failover && modprobe ip_vs"))?;
        shell(&format!("{BASCULE} corosync-keygen -k /tmp/failover/authkey"))?;
        for n in 1..=2 {
            let director = site.director(n)?;
            site.directors.push(director);
        }
        site.load_configuration()?;
        Ok(site)
    }

    fn web(&self, n: u32) -> Result<Namespace, String> {
        let web = Namespace::new(&format!("w{n}"))?;
        web.attach_to(&self._switch, "front", &[&format!("10.8.0.1{n}/24"), &format!("fd00:8::1{n}/64")])?;
        web.attach_more(&self._switch, "inside", "eth1", &[&format!("10.7.0.1{n}/24"), &format!("fd00:7::1{n}/64")])?;
        web.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")?;
        web.run("ip addr add 10.8.0.100/32 dev lo; ip -6 addr add fd00:8::100/128 dev lo nodad")?;
        web.run("ip rule add from 10.7.0.0/24 table 7 && ip route add default via 10.7.0.254 table 7")?;
        web.run("ip -6 rule add from fd00:7::/64 table 7 && ip -6 route add default via fd00:7::fe dev eth1 table 7")?;
        shell(&format!("mkdir -p /tmp/w{n} && echo web{n} > /tmp/w{n}/index.html"))?;
        web.run(&format!("busybox httpd -p '[::]:80' -h /tmp/w{n}"))?;
        Ok(web)
    }

    fn director(&self, n: u32) -> Result<Namespace, String> {
        let director = Namespace::new(&format!("d{n}"))?;
        director.attach_to(&self._switch, "front", &[&format!("10.8.0.{n}/24"), &format!("fd00:8::{n}/64")])?;
        director.attach_more(
            &self._switch,
            "inside",
            "eth1",
            &[&format!("10.7.0.{n}/24"), &format!("fd00:7::{n}/64")],
        )?;
        director.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")?;
        director.run(&format!(
            "setsid {BASCULE} node --config /tmp/failover/corosync.conf --authkey /tmp/failover/authkey \
             --state-dir /tmp/failover/state{n} --run-dir /tmp/failover/run{n} >/tmp/failover/d{n}.log 2>&1 &"
        ))?;
        Ok(director)
    }

    fn load_configuration(&self) -> Result<(), String> {
        let load = "BASCULE_RUN_DIR=/tmp/failover/run1";
        let mut last = String::new();
        wait_until(START, || {
            let ready = shell(&format!("{load} {BASCULE} crm_node -p"));
            match ready
                .and_then(|_| shell(&format!("{load} {BASCULE} cibadmin -R -o configuration -x /tmp/failover/cib.xml")))
            {
                Ok(_) => Some(()),
                Err(error) => {
                    last = error;
                    None
                }
            }
        })
        .ok_or_else(|| format!("the configuration could not be loaded: {last}\n{}", self.logs()))
    }

    fn node(&self, name: &str) -> &Namespace {
        let found = self.directors.iter().find(|d| d.name == name);
        found.unwrap_or(&self.client)
    }

    /// The one director that has all addresses and a table.
    fn owner(&self) -> Option<String> {
        self.directors
            .iter()
            .find(|d| {
                let addresses = d.run("ip -br addr").unwrap_or_default();
                let all = ["10.8.0.100/32", "10.8.0.101/32", "10.7.0.254/32", "fd00:8::100/128", "fd00:7::fe/128"];
                d.run("ip -br link show dev eth0").is_ok_and(|l| l.contains("LOWER_UP"))
                    && all.iter().all(|a| addresses.contains(a))
                    && d.run("ipvsadm -Sn").is_ok_and(|t| !t.is_empty())
            })
            .map(|d| d.name.clone())
    }

    fn wait_for_owner(&self, limit: Duration) -> Result<String, String> {
        wait_until(limit, || self.owner()).ok_or_else(|| format!("no director took the group\n{}", self.logs()))
    }

    /// Debian's `ipvsadm -Sn` on a director, once it has that many lines.
    fn wait_for_table(&self, director: &str, lines: usize) -> Result<String, String> {
        let mut last = String::new();
        let done = wait_until(START, || {
            last = self.node(director).run("ipvsadm -Sn").map(|t| sorted_lines(&t)).unwrap_or_default();
            (last.lines().count() == lines).then(|| last.clone())
        });
        done.ok_or_else(|| format!("{director}: expected {lines} lines, but the table is\n{last}\n{}", self.logs()))
    }

    /// All three web servers answer through this address.
    fn served_by_all(&self, url: &str) -> Result<(), String> {
        let mut seen = std::collections::BTreeSet::new();
        let mut errors = Vec::new();
        for _ in 0..9 {
            match self.client.run(&format!("curl -sS -m 3 'http://{url}/index.html'")) {
                Ok(answer) => {
                    seen.insert(answer.trim().to_owned());
                }
                Err(error) => errors.push(error),
            }
        }
        if seen.len() == 3 && errors.is_empty() {
            return Ok(());
        }
        Err(format!("{url}: answers {seen:?}, errors {errors:?}\n{}", self.logs()))
    }

    fn dead_server_leaves(&self, director: &str) -> Result<(), String> {
        kill_all("w1")?;
        self.wait_for_table(director, 12)?;
        self.webs[0].run("busybox httpd -p '[::]:80' -h /tmp/w1")?;
        self.wait_for_table(director, 16)?;
        println!("     a dead web server left the table in all four services, and came back");
        Ok(())
    }

    fn dead_server_is_quiescent(&self, director: &str) -> Result<(), String> {
        shell("sed -i s/quiescent=no/quiescent=yes/ /tmp/failover/ldirectord.cf")?;
        kill_all("w1")?;
        let zero = wait_until(START, || {
            let table = self.node(director).run("ipvsadm -Sn").unwrap_or_default();
            (table.lines().filter(|l| l.ends_with("-w 0")).count() == 4).then_some(())
        });
        zero.ok_or_else(|| format!("quiescent=yes did not lead to weight 0\n{}", self.logs()))?;
        println!("     with quiescent=yes its weight is 0");
        Ok(())
    }

    fn logs(&self) -> String {
        shell("for f in /tmp/failover/d?.log; do echo \"== $f\"; tail -n 60 $f; done").unwrap_or_default()
    }
}
