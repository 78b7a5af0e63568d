//! The director against Debian's Perl ldirectord: same servers, same run, a table in a file for both.
//!
//! `cargo bench --bench ldirectord` (as root, package ldirectord installed). `BENCH_PARTS` chooses among `start,scale,late,detect`.
//! Everything happens in namespaces of its own: a network with nothing but loopback, where one responder (a thread of this program,
//! so that its processor time is not the directors') answers on every address of 127.0.0.0/8; and mounts, where this program stands in
//! for `/sbin/ipvsadm`. Results: tables on standard error, JSON on standard output. A measurement, not a test: it fails only if a
//! director does not come to the right table at all. The directors' kernel work is theirs, and on loopback a part of the servers' is too.

mod director;
mod double;
mod responder;

use director::{Director, Kind};
use responder::{Mode, Servers};
use serde_json::{Value, json};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// Of a run until its first correct table.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.first().is_some_and(|name| name.ends_with("ipvsadm")) {
        return double::main(&words[1..]);
    }
    if std::env::var_os("BENCH_INSIDE").is_none() {
        return outside();
    }
    match inside() {
        Ok(results) => {
            println!("{results}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Starts this program again in namespaces of its own.
fn outside() -> ExitCode {
    let status = std::env::current_exe().and_then(|exe| {
        Command::new("unshare").args(["--net", "--mount", "--"]).arg(exe).env("BENCH_INSIDE", "1").status()
    });
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        other => {
            eprintln!("in namespaces of its own: {other:?}");
            ExitCode::FAILURE
        }
    }
}

fn inside() -> Result<Value, String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    command("ip", &["link", "set", "lo", "up"])?;
    command("mount", &["-t", "tmpfs", "tmpfs", "/run"])?;
    command("mount", &["--bind", &exe.display().to_string(), "/usr/sbin/ipvsadm"])?;
    for (name, value) in [("core/somaxconn", "65535"), ("ipv4/tcp_max_syn_backlog", "65535")] {
        std::fs::write(format!("/proc/sys/net/{name}"), value).map_err(|e| format!("{name}: {e}"))?;
    }
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 200_000, 200_000);
    let servers = Servers::start().map_err(|e| e.to_string())?;
    let parts = std::env::var("BENCH_PARTS").unwrap_or_else(|_| "start,scale,late,detect".to_owned());
    let mut results = serde_json::Map::new();
    for part in parts.split(',') {
        let value = match part {
            "start" => start(&servers)?,
            "scale" => scale(&servers)?,
            "late" => late(&servers)?,
            "detect" => detect(&servers)?,
            other => return Err(format!("BENCH_PARTS: no part `{other}`")),
        };
        results.insert(part.to_owned(), value);
    }
    Ok(Value::Object(results))
}

fn command(program: &str, words: &[&str]) -> Result<(), String> {
    let status = Command::new(program).args(words).status().map_err(|e| format!("{program}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} {words:?}: {status}")) }
}

/// First correct table, then processor time for a check and memory, with a tenth of the servers failing.
fn start(servers: &Servers) -> Result<Value, String> {
    eprintln!("\n{:<6} {:>6} {:>18} {:>16} {:>10} {:>12}", "", "reals", "first table", "CPU a check", "RSS", "checks");
    let mut rows = Vec::new();
    for reals in [10, 100, 500] {
        let mut times = Vec::new();
        for kind in [Kind::Perl, Kind::Ours] {
            let row = one_start(servers, kind, reals, Duration::from_secs(8))?;
            times.push(row["first_table_s"].as_f64().unwrap_or(0.0));
            rows.push(row);
        }
        eprintln!("{:>13} first table {:.0} times sooner", "", times[0] / times[1].max(1e-9));
    }
    Ok(json!(rows))
}

fn one_start(servers: &Servers, kind: Kind, reals: usize, window: Duration) -> Result<Value, String> {
    servers.reset();
    let failing = reals / 10;
    (0..failing).for_each(|n| servers.set(n * 10, Mode::Fails));
    let begin = Instant::now();
    let mut director = Director::start(kind, reals, "checkinterval=1\nchecktimeout=5\nnegotiatetimeout=5\n")?;
    let right = |up: &[usize]| up.len() == reals - failing && up.iter().all(|n| n % 10 != 0 || n / 10 >= failing);
    let begun = wait(&mut director, begin, right)?;
    let start_cpu_ms = director.cpu_ms();
    // Beyond the pass that every server gets at once.
    std::thread::sleep(Duration::from_secs(2));
    let (cpu, checks, from) = (director.cpu_ms(), servers.accepted(), Instant::now());
    std::thread::sleep(window);
    let (cpu, checks, seconds) = (director.cpu_ms() - cpu, servers.accepted() - checks, from.elapsed().as_secs_f64());
    let rss_mib = director.rss_kib() as f64 / 1024.0;
    let per_check_us = cpu * 1000.0 / checks.max(1) as f64;
    let rate = checks as f64 / seconds;
    eprintln!(
        "{:<6} {reals:>6} {:>15.3} s {per_check_us:>13.0} us {rss_mib:>6.1} MiB {rate:>8.0} /s",
        kind.name(),
        begun.as_secs_f64()
    );
    director.stop();
    Ok(json!({
        "director": kind.name(), "reals": reals, "first_table_s": begun.as_secs_f64(), "start_cpu_ms": start_cpu_ms,
        "cpu_us_per_check": per_check_us, "rss_mib": rss_mib, "checks_per_s": rate,
    }))
}

/// Until the director's table has exactly the right servers.
fn wait(director: &mut Director, begin: Instant, right: impl Fn(&[usize]) -> bool) -> Result<Duration, String> {
    loop {
        if right(&director.serving()) {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > PATIENCE || director.is_gone() {
            return Err(format!("{}: never the right table", director.describe()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn scale(servers: &Servers) -> Result<Value, String> {
    eprintln!("\nours alone, checkinterval 1 (aims: 100 us of processor a check, 25 MiB)");
    let mut rows = Vec::new();
    for reals in [1_000, 10_000] {
        rows.push(one_start(servers, Kind::Ours, reals, Duration::from_secs(10))?);
    }
    Ok(json!(rows))
}

/// How much later than its interval a healthy server is checked while others hang.
fn late(servers: &Servers) -> Result<Value, String> {
    eprintln!(
        "\nlateness of healthy servers' checks, 20 servers, checkinterval 1 (aim: 50 ms at most because of others)"
    );
    let mut rows = Vec::new();
    for hung in [0, 4] {
        servers.reset();
        (0..hung).for_each(|n| servers.set(n, Mode::Hangs));
        let mut director = Director::start(Kind::Ours, 20, "checkinterval=1\nchecktimeout=5\nnegotiatetimeout=5\n")?;
        wait(&mut director, Instant::now(), |up| up.len() == 20 - hung)?;
        std::thread::sleep(Duration::from_secs(3));
        servers.record();
        std::thread::sleep(Duration::from_secs(15));
        let mut late_ms: Vec<f64> = servers.gaps_ms().into_iter().map(|gap| (gap - 1_000.0).max(0.0)).collect();
        director.stop();
        late_ms.sort_by(f64::total_cmp);
        let at = |share: f64| late_ms.get(((late_ms.len() as f64 - 1.0) * share) as usize).copied().unwrap_or(0.0);
        let (median, p99, max) = (at(0.5), at(0.99), at(1.0));
        eprintln!("{hung} hung: {} checks, median {median:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", late_ms.len());
        rows.push(json!({"hung": hung, "checks": late_ms.len(), "median_ms": median, "p99_ms": p99, "max_ms": max}));
    }
    Ok(json!(rows))
}

/// Time from a server's failure to its leaving the table, both directors at once on the same servers, at checkinterval 10.
fn detect(servers: &Servers) -> Result<Value, String> {
    const FAILING: std::ops::Range<usize> = 8..16;
    eprintln!("\ndetection of a failing server, 20 servers, checkinterval 10, checktimeout 5, 8 failures each");
    let mut rows = Vec::new();
    for hung in [0, 1, 4] {
        servers.reset();
        (0..hung).for_each(|n| servers.set(n, Mode::Hangs));
        let settings = "checkinterval=10\nchecktimeout=5\nnegotiatetimeout=5\n";
        let mut both = [Director::start(Kind::Perl, 20, settings)?, Director::start(Kind::Ours, 20, settings)?];
        for director in &mut both {
            wait(director, Instant::now(), |up| up.len() == 20 - hung)?;
        }
        // A second pass follows the first one of the original without a pause.
        std::thread::sleep(Duration::from_millis(500 + 5_500 * hung as u64));
        let begin = Instant::now();
        let mut failed: Vec<(usize, Instant)> = Vec::new();
        let mut seen = [[None; 20]; 2];
        while seen.iter().flat_map(|s| &s[FAILING]).any(Option::is_none) {
            let due = FAILING.start + failed.len();
            if FAILING.contains(&due) && begin.elapsed() >= Duration::from_millis(1_300) * failed.len() as u32 {
                servers.set(due, Mode::Fails);
                failed.push((due, Instant::now()));
            }
            for (director, seen) in both.iter_mut().zip(&mut seen) {
                let up = director.serving();
                for (n, since) in failed.iter().filter(|(n, _)| !up.contains(n)) {
                    seen[*n].get_or_insert(since.elapsed().as_secs_f64());
                }
            }
            if begin.elapsed() > PATIENCE {
                return Err("a failure was never detected".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for (director, seen) in both.iter_mut().zip(seen) {
            let all: Vec<f64> = seen[FAILING].iter().flatten().copied().collect();
            let (mean, max) = (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(0.0, f64::max));
            eprintln!("{hung} hung, {:<5} mean {mean:>5.1} s, max {max:>5.1} s", director.kind().name());
            rows.push(json!({"hung": hung, "director": director.kind().name(), "mean_s": mean, "max_s": max}));
            director.stop();
        }
    }
    Ok(json!(rows))
}
