//! The hosts of `configs/topologies/ecmp`, with its very files.

use crate::BASCULE;
use crate::guest::{Namespace, kill_all, shell, wait_until};
use crate::many;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/topologies/ecmp");
const DIR: &str = "/tmp/ecmp";
pub const PORT: u16 = 7000;
pub const V4: &str = "203.0.113.100";
pub const V6: &str = "2001:db8:100::100";
pub const DIRECTORS: usize = 4;
const SERVERS: usize = 6;
const LIMIT: Duration = Duration::from_secs(150);

/// Directors that know a connection, by its family (IPv6) and the client's port.
pub type Carriers = BTreeMap<(bool, u16), BTreeSet<usize>>;

pub struct Site {
    pub directors: Vec<Namespace>,
    servers: Vec<Namespace>,
    pub client: Namespace,
    router: Namespace,
    _switch: Namespace,
}

impl Site {
    pub fn start() -> Result<Site, String> {
        shell("for m in ip_vs ip_vs_mh dummy; do modprobe $m || echo \"no module $m\"; done")?;
        shell(&format!("rm -rf {DIR} && mkdir -p {DIR} && cp {FILES}/* {DIR}"))?;
        // Emulated processors stand still now and then; the servers of this scenario echo on another port.
        let link = r"interface {\n        linknumber: 0\n        knet_ping_interval: 1000\n        knet_ping_timeout: 6000\n    }";
        shell(&format!(r"sed -i 's/version: 2/version: 2\n    token: 8000\n    {link}/' {DIR}/corosync.conf"))?;
        shell(&format!("sed -i 's/interval 100 ms/interval 300 ms/' {DIR}/bird-*.conf"))?;
        shell(&format!(
            "sed -i 's/:80/:{PORT}/; s/service = http/checktype = connect/; /request =/d; /receive =/d' {DIR}/ldirectord.cf"
        ))?;
        shell(&format!("sed -i 's,/etc/ha.d/ldirectord.cf,{DIR}/ldirectord.cf,' {DIR}/cib.xml"))?;
        shell(&format!("{BASCULE} corosync-keygen -k {DIR}/authkey"))?;
        let switch = Namespace::new("eswitch")?;
        switch.run("for b in lan out; do ip link add $b type bridge && ip link set $b up; done")?;
        let router = router(&switch)?;
        let client = Namespace::new("eclient")?;
        client.attach_to(&switch, "out", &["198.51.100.1/24", "2001:db8:51::1/64"])?;
        client.run("ip route add default via 198.51.100.254; ip -6 route add default via 2001:db8:51::fe")?;
        let servers = (1..=SERVERS).map(|n| server(&switch, n)).collect::<Result<Vec<_>, _>>()?;
        let directors = (1..=DIRECTORS).map(|n| director(&switch, n)).collect::<Result<Vec<_>, _>>()?;
        let site = Site { directors, servers, client, router, _switch: switch };
        site.load_configuration()?;
        Ok(site)
    }

    fn load_configuration(&self) -> Result<(), String> {
        let node = format!("BASCULE_RUN_DIR={DIR}/run1 {BASCULE}");
        // The directory of this scenario holds the socket of each director's BIRD.
        let load = format!("{node} crm_node -p && {node} cibadmin -R -o configuration -x {DIR}/cib.xml");
        let mut last = String::new();
        wait_until(LIMIT, || shell(&load).map_err(|e| last = e).ok())
            .map(drop)
            .ok_or_else(|| format!("the configuration could not be loaded: {last}\n{}", self.logs()))
    }

    /// A command against a director's node.
    pub fn ask(&self, n: usize, words: &str) -> Result<String, String> {
        shell(&format!("BASCULE_RUN_DIR={DIR}/run{n} {BASCULE} {words}"))
    }

    /// Directors that the router sends packets to, by the ends of their addresses: IPv4 and IPv6.
    pub fn next_hops(&self) -> (String, String) {
        let read = |command: &str| {
            let text = self.router.run(command).unwrap_or_default();
            let mut via: Vec<&str> =
                text.split_whitespace().skip_while(|w| *w != "via").filter(|w| w.contains(['.', ':'])).collect();
            via.retain(|w| w.starts_with("192.0.2.") || w.starts_with("2001:db8::"));
            let mut ends: Vec<&str> = via.iter().filter_map(|w| w.rsplit(['.', ':']).next()).collect();
            ends.sort_unstable();
            ends.concat()
        };
        (read(&format!("ip route show {V4}")), read(&format!("ip -6 route show {V6}")))
    }

    pub fn wait_for_hops(&self, wanted: &str) -> Result<(), String> {
        let mut last = Default::default();
        let there = wait_until(LIMIT, || {
            last = self.next_hops();
            (last.0 == wanted && last.1 == wanted).then_some(())
        });
        there.ok_or_else(|| format!("the router sends to {last:?}, expected {wanted}\n{}", self.logs()))
    }

    /// Which directors know a connection of this family and port, by their numbers.
    pub fn carriers(&self) -> Carriers {
        let mut all = Carriers::new();
        for (n, director) in self.directors.iter().enumerate() {
            // One that was killed has nothing to say.
            let Ok(listed) = director.run("ipvsadm -Lcn") else { continue };
            for line in listed.lines().filter(|l| l.contains("ESTABLISHED")) {
                let Some(source) = line.split_whitespace().nth(3) else { continue };
                let Some(port) = source.rsplit(':').next().and_then(|p| p.parse().ok()) else { continue };
                all.entry((source.starts_with('['), port)).or_default().insert(n + 1);
            }
        }
        all
    }

    /// Power loss; the moment.
    pub fn kill(&self, n: usize) -> Result<Duration, String> {
        let director = &self.directors[n - 1];
        director.run("ip link set eth0 down")?;
        let at = now();
        kill_all(&director.name)?;
        Ok(at)
    }

    /// The server's process ends: it refuses connections; the moment.
    pub fn kill_server(&self, n: usize) -> Result<Duration, String> {
        let at = now();
        kill_all(&self.servers[n - 1].name)?;
        Ok(at)
    }

    pub fn serve_again(&self, n: usize) -> Result<(), String> {
        many::serve(&self.servers[n - 1], PORT)
    }

    /// Weights of a director's table, as `ADDRESS WEIGHT` of each server, sorted.
    pub fn weights(&self, n: usize) -> Vec<String> {
        let table = self.directors[n - 1].run("ipvsadm -Sn").unwrap_or_default();
        let server = |l: &str| {
            let words: Vec<&str> = l.split_whitespace().collect();
            let after = |flag| words.iter().skip_while(|w| **w != flag).nth(1).copied();
            Some(format!("{} {}", after("-r")?, after("-w")?))
        };
        let mut all: Vec<String> = table.lines().filter_map(server).collect();
        all.sort_unstable();
        all
    }

    /// Route changes of the router with the time of each, into a file; ends with the namespace.
    pub fn watch_routes(&self) -> Result<(), String> {
        self.router.run(&format!("setsid ip -ts -o monitor route >{DIR}/routes 2>&1 &")).map(drop)
    }

    pub fn routes_seen(&self) -> Vec<(Duration, String)> {
        let text = std::fs::read_to_string(format!("{DIR}/routes")).unwrap_or_default();
        text.lines().filter_map(|l| Some((stamp(l.strip_prefix('[')?.split(']').next()?)?, l.to_owned()))).collect()
    }

    /// Lines of a director's log since a moment, with their times.
    pub fn log_since(&self, n: usize, since: Duration) -> Vec<(Duration, String)> {
        let text = std::fs::read_to_string(format!("{DIR}/d{n}.log")).unwrap_or_default();
        let timed = |l: &str| Some((stamp(l.split_whitespace().next()?.trim_end_matches('Z'))?, l.to_owned()));
        text.lines().filter_map(timed).filter(|(at, _)| *at >= since).collect()
    }

    pub fn logs(&self) -> String {
        let state = self.ask(2, "crm_mon -1rfA").unwrap_or_else(|e| e);
        let router = self.router.run(&format!("birdc -s {DIR}/router.ctl show protocols; ip route; ip -6 route"));
        let bird = shell(&format!("birdc -s {DIR}/bird2.ctl 'show protocols'; birdc -s {DIR}/bird2.ctl 'show route'"));
        let table = self.directors[1].run("ip -br addr; ipvsadm -Ln");
        let logs = shell(&format!("for f in {DIR}/*.log; do echo \"== $f\"; tail -n 40 $f; done"));
        [Ok(state), router, bird, table, logs].map(|r| r.unwrap_or_else(|e| e)).join("\n")
    }
}

/// Time of day of the guest's clock, which is UTC.
pub fn now() -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(since.as_secs() % 86_400) + Duration::from_nanos(u64::from(since.subsec_nanos()))
}

/// Time of day in `2026-11-27T19:51:46.285123`.
fn stamp(text: &str) -> Option<Duration> {
    let mut parts = text.split_once('T')?.1.split(':');
    let (h, m): (u64, u64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Duration::from_secs(h * 3600 + m * 60) + Duration::try_from_secs_f64(seconds).ok()?)
}

fn router(switch: &Namespace) -> Result<Namespace, String> {
    let router = Namespace::new("erouter")?;
    router.attach_more(switch, "lan", "lan", &["192.0.2.254/24", "2001:db8::fe/64"])?;
    router.attach_more(switch, "out", "out", &["198.51.100.254/24", "2001:db8:51::fe/64"])?;
    router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0")?;
    router.run("sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv6.fib_multipath_hash_policy=1")?;
    router.run("sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lan.send_redirects=0")?;
    router
        .run(&format!("bird -c {DIR}/bird-router.conf -s {DIR}/router.ctl -P {DIR}/router.pid 2>{DIR}/router.log"))?;
    Ok(router)
}

fn server(switch: &Namespace, n: usize) -> Result<Namespace, String> {
    let server = Namespace::new(&format!("s{n}"))?;
    server.attach_more(switch, "lan", "eth0", &[&format!("192.0.2.1{n}/24"), &format!("2001:db8::1{n}/64")])?;
    server.run("sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2")?;
    server.run(&format!("ip addr add {V4}/32 dev lo; ip -6 addr add {V6}/128 dev lo nodad"))?;
    server.run("ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8::fe")?;
    many::serve(&server, PORT)?;
    Ok(server)
}

fn director(switch: &Namespace, n: usize) -> Result<Namespace, String> {
    let d = Namespace::new(&format!("e{n}"))?;
    d.attach_more(switch, "lan", "eth0", &[&format!("192.0.2.{n}/24"), &format!("2001:db8::{n}/64")])?;
    d.run("ip route add default via 192.0.2.254; ip -6 route add default via 2001:db8::fe")?;
    d.run(&format!("mkdir -p {DIR}/run{n} && bird -c {DIR}/bird-director.conf -s {DIR}/bird{n}.ctl -P {DIR}/bird{n}.pid 2>{DIR}/bird{n}.log"))?;
    // Each has its own socket where the configuration names one.
    d.run(&format!(
        "unshare -m sh -c 'mkdir -p /run/bird && mount -t tmpfs none /run/bird && ln -s {DIR}/bird{n}.ctl /run/bird/bird.ctl && \
         exec setsid {BASCULE} node --node d{n} --config {DIR}/corosync.conf --authkey {DIR}/authkey \
         --state-dir {DIR}/state{n} --run-dir {DIR}/run{n}' >>{DIR}/d{n}.log 2>&1 &"
    ))?;
    Ok(d)
}
