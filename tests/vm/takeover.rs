//! Warm takeover: what the old director knew is in the new one's table before the address is announced.
//!
//! ```text
//!   client ─┬─ front 10.11.0.0/24 ─┬─ d1, d2 (VIP .100 in the group *address first*, then director)
//!                                  ├─ live: real servers .11–.14   } direct routing,
//!                                  └─ dead: real servers .15–.18   } VIP on lo
//! ```
//!
//! The servers are checked every eight seconds, so a director that had to find out by itself would need seconds. The
//! dead ones refuse at once, and straight to the client.

use crate::BASCULE;
use crate::guest::{Namespace, kill_all, shell, wait_until};
use crate::probe::{Prober, tally};
use lab::probe::{Outcome, Record, monotonic_us};
use std::time::Duration;

const START: Duration = Duration::from_secs(90);
const DIR: &str = "/tmp/takeover";
/// Requests that must be served after the address has moved.
const REQUESTS: usize = 500;

pub fn warm_takeover() -> Result<(), String> {
    for warm in ["yes", "no"] {
        let mut site = Site::start(warm)?;
        site.run(warm)?;
    }
    Ok(())
}

struct Site {
    directors: Vec<Namespace>,
    client: Namespace,
    dead: Namespace,
    _live: Namespace,
    _switch: Namespace,
}

impl Site {
    fn start(warm: &str) -> Result<Site, String> {
        shell(&format!("rm -rf {DIR}; mkdir -p {DIR}; modprobe ip_vs"))?;
        write("corosync.conf", &corosync_conf())?;
        write("cib.xml", &cib(warm))?;
        write("l.cf", &director_file())?;
        shell(&format!("{BASCULE} corosync-keygen -k {DIR}/authkey"))?;
        let switch = Namespace::new("tswitch")?;
        switch.run("ip link add front type bridge && ip link set front up")?;
        let client = Namespace::new("tclient")?;
        client.attach_to(&switch, "front", &["10.11.0.50/24"])?;
        let live = web(&switch, "tlive", 11..=14)?;
        let dead = web(&switch, "tdead", 15..=18)?;
        let mut site = Site { directors: Vec::new(), client, dead, _live: live, _switch: switch };
        for n in 1..=2 {
            let name = format!("t{n}");
            let director = Namespace::new(&name)?;
            director.attach_to(&site._switch, "front", &[&format!("10.11.0.{n}/24")])?;
            director.run(&format!(
                "setsid {BASCULE} node --node {name} --config {DIR}/corosync.conf --authkey {DIR}/authkey \
                 --state-dir {DIR}/state{n} --run-dir {DIR}/run{n} >{DIR}/d{n}.log 2>&1 &"
            ))?;
            site.directors.push(director);
        }
        let load = format!("BASCULE_RUN_DIR={DIR}/run1 {BASCULE} cibadmin -R -o configuration -x {DIR}/cib.xml");
        wait_until(START, || shell(&load).ok()).ok_or_else(|| format!("no configuration\n{}", logs()))?;
        Ok(site)
    }

    fn run(&mut self, warm: &str) -> Result<(), String> {
        let old = wait_until(START, || (0..2).find(|n| self.table(*n).len() == 8 && self.has_address(*n)));
        let old = old.ok_or_else(|| format!("no director with eight servers\n{}", logs()))?;
        let args = ["--target", "10.11.0.100:80", "--interval-ms", "20", "--timeout-ms", "20000"];
        let prober = Prober::start(&self.client, "takeover", &args)?;
        wait_until(START, || prober.records().ok()?.iter().any(Record::is_ok).then_some(()))
            .ok_or_else(|| format!("no request is served\n{}", logs()))?;
        kill_all(&self.dead.name)?;
        let gone = wait_until(START, || (self.table(old).len() == 4).then_some(()));
        gone.ok_or_else(|| format!("the dead servers stay in the table\n{}", logs()))?;
        // The standby's own checks are up to eight seconds old now; what it was told has had a moment to arrive.
        std::thread::sleep(Duration::from_millis(300));
        let name = self.directors[old].name.clone();
        self.directors[old].run("ip link set eth0 down")?;
        let lost_us = monotonic_us();
        kill_all(&name)?;
        let enough = wait_until(START, || {
            let records = prober.records().ok()?;
            let served_us = served_again(&records, lost_us)?;
            (records.iter().filter(|r| r.sent_us >= served_us).count() >= REQUESTS).then_some((records, served_us))
        });
        let (records, served_us) = enough.ok_or_else(|| format!("the address did not come back\n{}", logs()))?;
        self.judge(warm, 1 - old, lost_us, served_us, &records)
    }

    fn judge(&self, warm: &str, new: usize, lost_us: u64, served_us: u64, records: &[Record]) -> Result<(), String> {
        let moved: Vec<&Record> = records.iter().filter(|r| r.sent_us >= served_us).take(REQUESTS).collect();
        let refused = |r: &&Record| matches!(r.outcome, Outcome::Refused | Outcome::Reset);
        // Neither a dead server nor an address without a table may have refused anyone at any time.
        let refusals = records.iter().filter(|r| r.sent_us > lost_us).filter(refused).count();
        let outage_ms = (served_us - lost_us) / 1000;
        let slowest_ms = moved.iter().map(|r| r.took_us / 1000).max().unwrap_or_default();
        println!(
            "     warm_standby={warm}: served again after {outage_ms} ms; of {REQUESTS} requests: {}; slowest {slowest_ms} ms; refused since the loss: {refusals}",
            tally(moved.iter().copied())
        );
        if refusals > 0 || !moved.iter().all(|r| r.is_ok()) {
            return Err(format!("requests reached a dead server or nobody\n{}", logs()));
        }
        let socket = format!("{DIR}/run{}/api.sock", new + 1);
        let text = shell(&format!("curl -s -m 20 --unix-socket {socket} http://x/v1/timeline"))?;
        let timeline: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("{e}: {text}"))?;
        let events = timeline["events"].as_array().cloned().unwrap_or_default();
        let at = |kind: &str| events.iter().position(|e| e["kind"] == kind);
        let (Some(table), Some(address)) = (at("director"), at("address_added")) else {
            return Err(format!("the timeline tells nothing of director or address: {text}"));
        };
        let said = events[table]["text"].as_str().unwrap_or_default();
        println!("     {said}");
        if table > address || !said.contains(" 0 unchecked") {
            return Err(format!("the table was not complete before the address came: {text}"));
        }
        Ok(())
    }

    /// Real servers with weight in a director's table.
    fn table(&self, n: usize) -> Vec<String> {
        let text = self.directors[n].run("ipvsadm -Sn").unwrap_or_default();
        text.lines().filter(|l| l.starts_with("-a") && !l.ends_with("-w 0")).map(str::to_owned).collect()
    }

    fn has_address(&self, n: usize) -> bool {
        self.directors[n].run("ip -br addr show dev eth0").is_ok_and(|a| a.contains("10.11.0.100/32"))
    }
}

/// When the first request that was sent after the loss had been served.
fn served_again(records: &[Record], lost_us: u64) -> Option<u64> {
    records.iter().filter(|r| r.sent_us > lost_us && r.is_ok()).map(Record::done_us).min()
}

fn web(switch: &Namespace, name: &str, hosts: std::ops::RangeInclusive<u32>) -> Result<Namespace, String> {
    let space = Namespace::new(name)?;
    let addresses: Vec<String> = hosts.map(|n| format!("10.11.0.{n}/24")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    space.attach_to(switch, "front", &addresses)?;
    space.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")?;
    space.run("ip addr add 10.11.0.100/32 dev lo")?;
    space.run(&format!(
        "setsid sh -c 'sleep 100000 | {BASCULE} lab-web --name {name} --listen 0.0.0.0:80' >/dev/null 2>&1 &"
    ))?;
    Ok(space)
}

fn write(name: &str, text: &str) -> Result<(), String> {
    std::fs::write(format!("{DIR}/{name}"), text).map_err(|e| format!("{name}: {e}"))
}

fn logs() -> String {
    shell(&format!("for f in {DIR}/d?.log; do echo \"== $f\"; tail -n 60 $f; done")).unwrap_or_default()
}

fn corosync_conf() -> String {
    let node = |n: u32| {
        format!("    node {{\n        ring0_addr: 10.11.0.{n}\n        name: t{n}\n        nodeid: {n}\n    }}\n")
    };
    format!(
        "totem {{\n    version: 2\n    cluster_name: takeover\n}}\nnodelist {{\n{}{}}}\nquorum {{\n    provider: corosync_votequorum\n    two_node: 1\n    wait_for_all: 0\n}}\n",
        node(1),
        node(2)
    )
}

fn director_file() -> String {
    let reals: String = (11..=18).map(|n| format!("\treal=10.11.0.{n}:80 gate\n")).collect();
    format!(
        "checktimeout=3\nnegotiatetimeout=3\ncheckinterval=8\nquiescent=no\nvirtual=10.11.0.100:80\n{reals}\tservice=http\n\trequest=\"/\"\n\treceive=\"t\"\n\tscheduler=rr\n\tprotocol=tcp\n"
    )
}

fn cib(warm: &str) -> String {
    let pair = |id: &str, name: &str, value: &str| format!("<nvpair id=\"{id}\" name=\"{name}\" value=\"{value}\"/>");
    format!(
        "<cib crm_feature_set=\"3.20.0\" validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\">\
         <configuration><crm_config><cluster_property_set id=\"o\">{}</cluster_property_set></crm_config><nodes/>\
         <resources><group id=\"balanceGroup\">\
         <primitive id=\"virtual_ip\" class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\">\
         <instance_attributes id=\"v\">{}</instance_attributes></primitive>\
         <primitive id=\"my_lvs\" class=\"ocf\" provider=\"heartbeat\" type=\"ldirectord\">\
         <instance_attributes id=\"l\">{}{}</instance_attributes>\
         <operations><op id=\"l-m\" name=\"monitor\" interval=\"15s\" timeout=\"60s\"/></operations></primitive>\
         </group></resources><constraints/></configuration><status/></cib>",
        pair("o-f", "fencing-enabled", "false"),
        pair("v-i", "ip", "10.11.0.100"),
        pair("l-c", "configfile", &format!("{DIR}/l.cf")),
        pair("l-w", "warm_standby", warm),
    )
}
