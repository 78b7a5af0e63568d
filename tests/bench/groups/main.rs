//! The ring beside Debian's corosync in the same lab and run: messages a second, round trips, detection, and what idle nodes cost.
//!
//! `cargo bench --bench groups [-- QUICK] [PART…] [NODES…]`, as root; needs corosync, libcpg-dev and gcc. Parts are idle, flood, trip
//! and loss, nodes 1 to 3; without, all of them. A measurement, not a test: it prints ratios and fails only where nothing can be
//! measured. Both are encrypted (AES-256), with the times of their defaults. The load comes from one program on the first node, over
//! each one's process groups; the sizes are in bytes. What is ours is built as `cargo bench` builds it.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

#[path = "../../cluster/fixture.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod fixture;

mod client;
mod debian;
mod watch;

use debian::Debian;
use fixture::Cluster;
use lab::hosts::Lab;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const SIZES: [usize; 4] = [64, 1024, 65_536, 1_000_000];

/// One of the two, running.
pub enum Ring {
    Ours(Box<Cluster>),
    Debian(Debian),
}

impl Ring {
    fn lab(&self) -> &Lab {
        match self {
            Ring::Ours(cluster) => &cluster.lab,
            Ring::Debian(debian) => &debian.lab,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Ring::Ours(_) => "ours",
            Ring::Debian(_) => "corosync",
        }
    }

    /// The load client on a node.
    fn client(&self, node: &'static str, words: &[&str]) -> Child {
        let mut command = match self {
            Ring::Ours(cluster) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("client").arg(cluster.run_dir(node)).arg("bench");
                command
            }
            Ring::Debian(debian) => debian.client(node),
        };
        command.args(words).stdout(Stdio::piped());
        self.lab().host(node).unwrap().spawn(&mut command).unwrap()
    }

    async fn ask(&self, words: &[&str]) -> Vec<f64> {
        let out = self.client("n1", words).wait_with_output().await.unwrap();
        String::from_utf8_lossy(&out.stdout).split_whitespace().filter_map(|w| w.parse().ok()).collect()
    }

    /// Processes of a node: the daemon and what it has started.
    fn processes(&self, node: &str) -> Vec<i32> {
        let first = match self {
            Ring::Ours(cluster) => cluster.pid(node).as_raw(),
            Ring::Debian(debian) => debian.pid(node),
        };
        watch::family(first)
    }
}

/// How a node is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The switch passes none of its packets; it goes on by itself, and comes back.
    Silence,
    /// Its processes are killed, its host lives.
    Process,
}

impl Loss {
    fn words(self) -> &'static str {
        match self {
            Loss::Silence => "a node that is cut off",
            Loss::Process => "a node that is killed",
        }
    }
}

/// Its name, what was measured for ours and for the original, and whether less is better.
struct Row(String, Option<f64>, Option<f64>, bool);

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    if words.first().is_some_and(|w| w == "client") {
        return client::run(&words[1..]);
    }
    let plan = Plan { words };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before: {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "));
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for nodes in (1..=NODES.len()).filter(|n| plan.wants(&n.to_string(), &["1", "2", "3"])).map(|n| &NODES[..n]) {
        let mut cluster = Cluster::start(nodes).await;
        cluster.names = nodes.to_vec();
        ours.extend(measure(Ring::Ours(Box::new(cluster)), nodes, &plan).await);
        match Debian::start(nodes).await {
            Ok(debian) => theirs.extend(measure(Ring::Debian(debian), nodes, &plan).await),
            Err(why) => println!("SKIPPED: the original: {why}"),
        }
    }
    let find = |name: &str| theirs.iter().find(|r: &&(String, f64, bool)| r.0 == name).map(|r| r.1);
    println!("{:<44} {:>12} {:>12} {:>8}", "", "ours", "corosync", "ahead");
    for (name, value, less) in &ours {
        print(&Row(name.clone(), Some(*value), find(name), *less));
    }
}

fn print(Row(name, ours, theirs, less): &Row) {
    let shown = |value: &Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.1}"));
    let ratio = ours.zip(*theirs).map(|(o, t)| if *less { t / o.max(1e-9) } else { o / t.max(1e-9) });
    println!(
        "{name:<44} {:>12} {:>12} {:>8}",
        shown(ours),
        shown(theirs),
        ratio.map_or("-".to_owned(), |r| format!("{r:.2} x"))
    );
}

type Values = Vec<(String, f64, bool)>;

/// What was asked for on the command line.
struct Plan {
    words: Vec<String>,
}

impl Plan {
    fn quick(&self) -> bool {
        self.words.iter().any(|w| w == "QUICK")
    }

    /// One of its kind; where none of the kind is named, each is wanted.
    fn wants(&self, word: &str, kind: &[&str]) -> bool {
        let named = |w: &str| self.words.iter().any(|own| own == w);
        named(word) || !kind.iter().any(|w| named(w))
    }

    fn part(&self, word: &str) -> bool {
        self.wants(word, &["idle", "flood", "trip", "loss"])
    }
}

async fn measure(ring: Ring, nodes: &[&'static str], plan: &Plan) -> Values {
    let n = nodes.len();
    let quick = plan.quick();
    let seconds = if quick { "1" } else { "4" };
    let mut values = Values::new();
    // Before any load, so that memory is that of a node that has done nothing.
    if plan.part("idle") {
        let idle = watch::idle(&ring, nodes, Duration::from_secs(if quick { 3 } else { 10 })).await;
        values.extend(idle.into_iter().map(|(name, value)| (format!("{n} nodes, idle: {name}"), value, true)));
    }
    for size in SIZES.into_iter().filter(|_| plan.part("flood")) {
        let rate = ring.ask(&["flood", &size.to_string(), seconds]).await;
        match rate.first() {
            Some(rate) => values.push((format!("{n} nodes: messages/s of {size} bytes"), *rate, false)),
            None => println!("nothing came of {size} bytes on {n} nodes of {}", ring.name()),
        }
    }
    for (gap, words) in [("0", "back to back"), ("20", "one every 20 ms")].into_iter().filter(|_| plan.part("trip")) {
        let trip = ring.ask(&["trip", gap, seconds]).await;
        if let [median, high] = trip.as_slice() {
            values.push((format!("{n} nodes: 64 bytes {words}: median us"), *median, true));
            values.push((format!("{n} nodes: 64 bytes {words}: 99 % us"), *high, true));
        }
    }
    if n > 1 && plan.part("loss") {
        for loss in [Loss::Silence, Loss::Process] {
            match watch::detection(&ring, nodes, loss).await {
                Some(ms) => values.push((format!("{n} nodes: {}, out of its group, ms", loss.words()), ms, true)),
                None => println!("{}: not noticed by {n} nodes of {}", loss.words(), ring.name()),
            }
        }
    }
    values
}

/// The load client for the original, compiled beside this bench.
pub fn compile(dir: &Path) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/groups/load.c");
    let out = dir.join("load");
    let built = std::process::Command::new("gcc").args(["-O2", "-o"]).arg(&out).arg(source).arg("-lcpg").output();
    let built = built.map_err(|e| format!("gcc: {e}"))?;
    match built.status.success() {
        true => Ok(out),
        false => Err(format!("apt-get install gcc libcpg-dev: {}", String::from_utf8_lossy(&built.stderr))),
    }
}
