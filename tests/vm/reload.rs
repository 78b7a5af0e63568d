//! Reload under load: a tenth of the real servers changed at a time, requests in flight, nothing fails.
//!
//! ```text
//!   client 10.14.0.50 ── d 10.14.0.1 (VIP) │ 10.16.0.1 ── web 10.16.0.2, every address of 10.15.0.0/16
//! ```
//!
//! Masquerading; the servers are checked one by one.

use crate::BASCULE;
use crate::guest::{Namespace, shell, wait_until};
use crate::probe::{Prober, tally};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const FILE: &str = "/tmp/reload/l.cf";
const LOG: &str = "/tmp/reload/log";
const PATIENCE: Duration = Duration::from_secs(240);

pub fn under_load() -> Result<(), String> {
    let count = if std::env::var_os("BASCULE_LONG").is_some() { 1000 } else { 200 };
    let site = Site::start()?;
    let began = Instant::now();
    write(0..count, 1)?;
    site.d.run(&format!("{BASCULE} ldirectord {FILE} start"))?;
    site.settled(&expected(0..count, 1))?;
    println!("     {count} servers up {:.1} s after the start", began.elapsed().as_secs_f32());
    let target = ["--target", "10.14.0.1:80", "--timeout-ms", "30000", "--interval-ms"];
    let short = Prober::start(&site.client, "reload-short", &[&target[..], &["40", "--workers", "20"]].concat())?;
    let long = ["500", "--workers", "30", "--work-ms", "9000"];
    let long = Prober::start(&site.client, "reload-long", &[&target[..], &long].concat())?;
    wait_until(PATIENCE, || (short.records().ok()?.len() > 50).then_some(())).ok_or("no request was served")?;
    std::thread::sleep(Duration::from_secs(3));
    let step = count / 10;
    // A tenth gets another weight; then a tenth leaves and as many come, twice.
    for (round, (window, heavier)) in
        [(0..count, step), (step..count + step, 0), (2 * step..count + 2 * step, 0)].into_iter().enumerate()
    {
        site.reload(round, window, heavier)?;
    }
    std::thread::sleep(Duration::from_secs(10));
    let mut records = short.records()?;
    records.extend(long.records()?);
    println!("     requests: {}", tally(&records));
    let spanning = records.iter().filter(|r| r.took_us > 8_000_000).count();
    if records.len() < 200 || spanning < 20 {
        return Err(format!("only {} requests, {spanning} long ones", records.len()));
    }
    let failed = records.iter().filter(|r| !r.is_ok()).count();
    if failed > 0 { Err(format!("{failed} of {} requests failed", records.len())) } else { Ok(()) }
}

struct Site {
    d: Namespace,
    client: Namespace,
    _web: Namespace,
    _switch: Namespace,
}

impl Site {
    fn start() -> Result<Site, String> {
        shell("mkdir -p /tmp/reload; modprobe ip_vs")?;
        let switch = Namespace::new("rswitch")?;
        switch.run("for b in front inside; do ip link add $b type bridge && ip link set $b up; done")?;
        let client = Namespace::new("rclient")?;
        client.attach_to(&switch, "front", &["10.14.0.50/24"])?;
        let d = Namespace::new("rd")?;
        d.attach_to(&switch, "front", &["10.14.0.1/24"])?;
        d.attach_more(&switch, "inside", "eth1", &["10.16.0.1/24"])?;
        d.run("sysctl -qw net.ipv4.ip_forward=1 && ip route add 10.15.0.0/16 via 10.16.0.2")?;
        let web = Namespace::new("rweb")?;
        web.attach_to(&switch, "inside", &["10.16.0.2/24"])?;
        web.run("ip route add local 10.15.0.0/16 dev lo && ip route add default via 10.16.0.1")?;
        web.run(&format!(
            "setsid sh -c 'sleep 100000 | {BASCULE} lab-web --name web --listen 0.0.0.0:80' >/dev/null 2>&1 &"
        ))?;
        Ok(Site { d, client, _web: web, _switch: switch })
    }

    fn reload(&self, round: usize, window: std::ops::Range<u32>, heavier: u32) -> Result<(), String> {
        let (before, length) = (self.table()?, log_length());
        let began = Instant::now();
        write(window.clone(), heavier.max(1))?;
        self.d.run(&format!("{BASCULE} ldirectord {FILE} reload"))?;
        let wanted = expected(window, heavier.max(1));
        self.settled(&wanted)?;
        let took = began.elapsed();
        let unchanged: BTreeSet<&String> = before.intersection(&wanted).collect();
        // Whoever loses its state is unknown and goes out of the table until a check passes; the log tells of every change.
        let said = said_since(length);
        let touched =
            |line: &&&String| line.split_whitespace().next().is_some_and(|server| said.contains(&format!("{server} ")));
        let reset = unchanged.iter().filter(touched).count();
        println!(
            "     reload {}: {} entries changed, {} left alone; done after {:.1} s",
            round + 1,
            wanted.len() - unchanged.len(),
            unchanged.len(),
            took.as_secs_f32()
        );
        if reset > 0 {
            return Err(format!("{reset} of {} unchanged servers were touched:\n{said}", unchanged.len()));
        }
        Ok(())
    }

    /// Until the table holds exactly this.
    fn settled(&self, wanted: &BTreeSet<String>) -> Result<(), String> {
        let mut last = BTreeSet::new();
        let done = wait_until(PATIENCE, || {
            last = self.table().ok()?;
            (last == *wanted).then_some(())
        });
        done.ok_or_else(|| {
            let log = shell("tail -n 30 /tmp/reload/log").unwrap_or_default();
            let (more, less) = (last.difference(wanted).count(), wanted.difference(&last).count());
            format!("the table has {more} entries too many and lacks {less}\n{log}")
        })
    }

    /// `ADDRESS:PORT WEIGHT` of every entry, whatever its weight.
    fn table(&self) -> Result<BTreeSet<String>, String> {
        let text = self.d.run("ipvsadm -Sn")?;
        let entry = |l: &str| {
            let words: Vec<&str> = l.split_whitespace().collect();
            let after = |flag: &str| words.iter().position(|w| *w == flag).and_then(|at| words.get(at + 1).copied());
            Some(format!("{} {}", after("-r")?, after("-w")?))
        };
        Ok(text.lines().filter(|l| l.starts_with("-a")).filter_map(entry).collect())
    }
}

/// Bytes that the director's log has now.
fn log_length() -> u64 {
    std::fs::metadata(LOG).map_or(0, |m| m.len())
}

/// What the director has said since.
fn said_since(length: u64) -> String {
    let bytes = std::fs::read(LOG).unwrap_or_default();
    String::from_utf8_lossy(bytes.get(length as usize..).unwrap_or_default()).into_owned()
}

fn address(n: u32) -> String {
    format!("10.15.{}.{}:80", 1 + n / 250, 1 + n % 250)
}

/// The first `heavier` of the window have weight 3; with 1 none has.
fn weight(window: &std::ops::Range<u32>, n: u32, heavier: u32) -> u32 {
    if heavier > 1 && n < window.start + heavier { 3 } else { 2 }
}

fn expected(window: std::ops::Range<u32>, heavier: u32) -> BTreeSet<String> {
    window.clone().map(|n| format!("{} {}", address(n), weight(&window, n, heavier))).collect()
}

fn write(window: std::ops::Range<u32>, heavier: u32) -> Result<(), String> {
    let reals: String =
        window.clone().map(|n| format!("\treal={} masq {}\n", address(n), weight(&window, n, heavier))).collect();
    let text = format!(
        "checktimeout=10\ncheckinterval=15\nquiescent=no\nlogfile={LOG}\nvirtual=10.14.0.1:80\n{reals}\tchecktype=connect\n\tscheduler=wrr\n\tprotocol=tcp\n"
    );
    std::fs::write(format!("{FILE}.new"), text)
        .and_then(|()| std::fs::rename(format!("{FILE}.new"), FILE))
        .map_err(|e| e.to_string())
}
