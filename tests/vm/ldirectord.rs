//! Debian's Perl ldirectord and ours, given the same file, must end with the same table.
//!
//! One namespace holds the real servers: 10.9.0.1–3 (and fd00:9::1–3) answer "alive" on 80 and 8080, .4 and .5 refuse,
//! .9 does not exist. Each case has a director's namespace for each of the two programs.

use crate::BASCULE;
use crate::guest::{Namespace, shell, sorted_lines, wait_until};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Longest time until a table is complete: start-up of Perl takes 6–10 s on an emulated processor.
const SETTLE: Duration = Duration::from_secs(90);
/// A table counts as settled when it did not change for this long, which is longer than check timeout and interval.
const QUIET: Duration = Duration::from_secs(9);

pub fn same_tables_as_the_original() -> Result<(), String> {
    let servers = Servers::start()?;
    let mut different = Vec::new();
    let cases = cases()?;
    if cases.len() < 10 {
        return Err(format!("only {} cases found", cases.len()));
    }
    for batch in cases.chunks(3) {
        let results: Vec<Result<String, String>> = std::thread::scope(|scope| {
            let running: Vec<_> = batch.iter().map(|case| scope.spawn(|| compare(case, &servers))).collect();
            running.into_iter().map(|r| r.join().unwrap_or_else(|_| Err("panicked".into()))).collect()
        });
        for (case, result) in batch.iter().zip(results) {
            match result {
                Ok(table) => println!("     same: {} ({} lines)", name_of(case), table.lines().count()),
                Err(why) => different.push(format!("{}:\n{why}", name_of(case))),
            }
        }
    }
    drop(servers);
    if different.is_empty() { Ok(()) } else { Err(different.join("\n")) }
}

fn cases() -> Result<Vec<PathBuf>, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/ldirectord");
    let entries = std::fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "cf")).collect();
    files.sort();
    Ok(files)
}

fn name_of(case: &Path) -> String {
    case.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A pass of checks may time out on a slow emulated processor, and a table look settled meanwhile: a difference must persist.
const ATTEMPTS: u32 = 3;

/// The table that both programs agree on, or how they differ.
fn compare(case: &Path, servers: &Servers) -> Result<String, String> {
    let mut difference = String::new();
    for _ in 0..ATTEMPTS {
        let original = table_under(case, servers, "o", "/usr/sbin/ldirectord")?;
        let ours = table_under(case, servers, "b", &format!("{BASCULE} ldirectord"))?;
        if original == ours {
            return Ok(ours);
        }
        difference = format!("the original's table:\n{original}\nours:\n{ours}");
    }
    Err(difference)
}

fn table_under(case: &Path, servers: &Servers, tag: &str, program: &str) -> Result<String, String> {
    let name = name_of(case);
    let director = servers.attach(&format!("{tag}-{name}"))?;
    // The pid file is named after the configuration, so each program gets its own copy.
    let config = format!("/tmp/{tag}-{name}.cf");
    let text = std::fs::read_to_string(case).map_err(|e| e.to_string())?;
    std::fs::write(&config, format!("logfile=\"/tmp/{tag}-{name}.log\"\n{text}")).map_err(|e| e.to_string())?;
    director.run(&format!("{program} {config} start"))?;
    // Dropping the namespace kills the program, which leaves nothing behind; a clean stop takes Perl another 3 s.
    settled_table(&director).map_err(|e| {
        let log = std::fs::read_to_string(format!("/tmp/{tag}-{name}.log")).unwrap_or_default();
        format!("{program}: {e}\nits log:\n{log}")
    })
}

/// `ipvsadm -Sn` once it has been the same, and not empty, for a while.
fn settled_table(director: &Namespace) -> Result<String, String> {
    let mut last = String::new();
    let mut since = Instant::now();
    wait_until(SETTLE, || {
        let now = director.run("ipvsadm -Sn").map(|t| sorted_lines(&t)).unwrap_or_default();
        if now != last {
            last = now;
            since = Instant::now();
        }
        (!last.is_empty() && since.elapsed() > QUIET).then(|| last.clone())
    })
    .ok_or_else(|| "the table did not settle".to_owned())
}

/// The namespace of the real servers, with a bridge to which directors attach.
struct Servers {
    space: Namespace,
}

impl Servers {
    fn start() -> Result<Servers, String> {
        let space = Namespace::new("servers")?;
        shell("mkdir -p /tmp/www && echo alive > /tmp/www/index.html && modprobe ip_vs")?;
        space.run("ip link add br0 type bridge && ip link set br0 up && ip addr add 10.9.0.254/16 dev br0")?;
        space.run("ip -6 addr add fd00:9::fe/64 dev br0 nodad")?;
        for n in 1..=5 {
            space.run(&format!("ip addr add 10.9.0.{n}/32 dev br0; ip -6 addr add fd00:9::{n}/128 dev br0 nodad"))?;
        }
        for n in 1..=3 {
            for port in [80, 8080] {
                space.run(&format!("busybox httpd -p 10.9.0.{n}:{port} -h /tmp/www"))?;
                space.run(&format!("busybox httpd -p '[fd00:9::{n}]:{port}' -h /tmp/www"))?;
            }
        }
        Ok(Servers { space })
    }

    fn attach(&self, name: &str) -> Result<Namespace, String> {
        let director = Namespace::new(name)?;
        // Several directors are attached at one time: none may answer for another's address.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        director.attach_to(&self.space, "br0", &[&format!("10.9.2.{n}/16"), &format!("fd00:9::d:{n}/64")])?;
        // A bridge's new port is deaf at first; a server that is unreachable then would count as down.
        let reached = wait_until(Duration::from_secs(30), || director.run("busybox ping -c 1 -W 1 10.9.0.1").ok());
        reached.ok_or("the servers cannot be reached from a new namespace")?;
        Ok(director)
    }
}
