//! From a server's end to the table without it, with checks ten times a second.
//!
//! ```text
//!   d 10.17.0.1 (VIP 10.17.0.100) ── w1 10.17.0.11, w2 10.17.0.12
//! ```
//!
//! The table is read every millisecond. How long it took is printed; that it happens within a second is asserted.

use crate::BASCULE;
use crate::guest::{Namespace, shell, wait_until};
use crate::{hold, many};
use kernel::clock::boottime;
use kernel::ipvs::{Ipvs, Kernel};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

const PORT: u16 = 7000;
const SEEN: &str = "/tmp/refused-seen";
const FILE: &str = "/tmp/refused.cf";
const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);
/// Ten intervals.
const MOST: Duration = Duration::from_secs(1);

/// Writes the number of destinations that take connections, with the time, each time that it has changed.
pub fn tool(words: &[&str]) -> Option<ExitCode> {
    let ["watch-table", file] = words else { return None };
    let (mut table, mut last, mut text) = (Kernel::new(), None, String::new());
    loop {
        let takes =
            table.services().ok().map(|all| all.iter().flat_map(|s| &s.dests).filter(|d| d.dest.weight > 0).count());
        if takes.is_some() && takes != last {
            last = takes;
            text += &format!("{} {}\n", boottime().as_micros(), takes.unwrap_or_default());
            std::fs::write(file, &text).ok()?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub fn out_of_the_table() -> Result<(), String> {
    shell("modprobe ip_vs")?;
    let switch = Namespace::new("fswitch")?;
    switch.run("ip link add lan type bridge && ip link set lan up")?;
    let d = Namespace::new("fd")?;
    d.attach_to(&switch, "lan", &["10.17.0.1/24", "10.17.0.100/24"])?;
    let mut servers = Vec::new();
    for n in 1..=2 {
        let server = Namespace::new(&format!("fw{n}"))?;
        server.attach_to(&switch, "lan", &[&format!("10.17.0.1{n}/24")])?;
        many::serve(&server, PORT)?;
        servers.push(server);
    }
    let text = format!(
        "checkinterval=100ms\nchecktimeout=1\nvirtual=10.17.0.100:{PORT}\n\treal=10.17.0.11:{PORT} masq\n\treal=10.17.0.12:{PORT} masq\n\tchecktype=connect\n\tprotocol=tcp\n"
    );
    std::fs::write(FILE, text).map_err(|e| e.to_string())?;
    d.run(&format!("{BASCULE} ldirectord {FILE} start"))?;
    let watcher = hold::command(&d).args(["watch-table", SEEN]).stdin(Stdio::null()).spawn();
    watcher.map_err(|e| format!("watcher: {e}"))?;
    changed_to(2, Duration::ZERO)?;
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // At every moment of the interval.
        std::thread::sleep(Duration::from_millis(500 + 37 * round as u64));
        let ended = end(&servers[1].name)?;
        out.push(changed_to(1, ended)?.saturating_sub(ended));
        let began = boottime();
        many::serve(&servers[1], PORT)?;
        back.push(changed_to(2, began)?.saturating_sub(began));
    }
    println!("     refused to table: {}; answering again to table: {}", shown(&mut out), shown(&mut back));
    match out.last() {
        Some(worst) if *worst > MOST => Err(format!("a server that refuses was in the table for {worst:?}")),
        _ => Ok(()),
    }
}

/// Kills the server there; the moment.
fn end(name: &str) -> Result<Duration, String> {
    let pids = shell(&format!("ip netns pids '{name}'"))?;
    let pids: Vec<i32> = pids.lines().filter_map(|l| l.trim().parse().ok()).collect();
    let at = boottime();
    for pid in pids {
        kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|e| e.to_string())?;
    }
    Ok(at)
}

/// When the table came to have so many servers that take connections, after `since`.
fn changed_to(count: usize, since: Duration) -> Result<Duration, String> {
    let at = |line: &str| {
        let (at, seen) = line.split_once(' ')?;
        let at = Duration::from_micros(at.parse().ok()?);
        (seen.parse() == Ok(count) && at >= since).then_some(at)
    };
    let find = || std::fs::read_to_string(Path::new(SEEN)).ok()?.lines().find_map(at);
    wait_until(PATIENCE, find).ok_or_else(|| {
        let seen = std::fs::read_to_string(SEEN).unwrap_or_default();
        format!("the table never had {count} servers; seen: {seen}")
    })
}

/// Median and worst; sorts.
fn shown(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |n: usize| times.get(n).map_or(0.0, |t| t.as_secs_f64() * 1e3);
    format!("median {:.0} ms, worst {:.0} ms of {}", at(times.len() / 2), at(times.len() - 1), times.len())
}
