//! A machine that is busy is no machine that is dead: three nodes with the default times while both cores are full.

use crate::fixture::Cluster;
use crate::links::conf;
use crate::root::root;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// Busy loops beside the nodes, at the priority of any process.
const LOOPS: usize = 4;

/// Functions of what is compiled over and over.
const FUNCTIONS: usize = 400;

/// Processes that take all there is of both cores, of the page cache and of the disk: loops, a compiler, and a writer.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start(cluster: &Cluster) -> Hogs {
        let source = cluster.path("busy.c");
        let function = |n: usize| {
            format!(
                "int f{n}(int *a, int n) {{ int s = {n}; for (int i = 0; i < n; i++) s += a[i] * s / (i + 1); return s; }}\n"
            )
        };
        std::fs::write(&source, (0..FUNCTIONS).map(function).collect::<String>()).expect("written");
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(cluster.path("filler")).arg(&source);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.process_group(0);
            command.spawn().expect("a shell")
        };
        let fill = "while :; do dd if=/dev/zero of=\"$0\" bs=1M count=512 conv=fsync; done";
        // Without a compiler something else that reads and computes.
        let compile = "while :; do cc -O2 -c -o \"$1.o\" \"$1\" || head -c 64M /dev/urandom | sha256sum; done";
        Hogs([vec!["while :; do :; done"; LOOPS], vec![fill, compile]].concat().into_iter().map(shell).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // With what it has started.
            let group = nix::unistd::Pid::from_raw(child.id() as i32);
            let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// So long under full load: no view, and nobody is suspected.
async fn no_view(cluster: &Cluster, duration: Duration) {
    let view = cluster.status("n1").expect("an answer").view;
    let suspected = || NODES.map(|n| cluster.timeline(n).events.iter().filter(|e| e.kind == "heartbeat_lost").count());
    let before = suspected();
    let hogs = Hogs::start(cluster);
    let (end, mut asked, mut slowest) = (Instant::now() + duration, 0, Duration::ZERO);
    while Instant::now() < end {
        let at = Instant::now();
        for node in NODES {
            let now = cluster.status(node).expect("an answer");
            assert_eq!((now.view, now.members.len()), (view, NODES.len()), "on {node}\n{}", cluster.logs());
        }
        (asked, slowest) = (asked + 1, slowest.max(at.elapsed()));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(hogs);
    assert_eq!(suspected(), before, "{}", cluster.logs());
    // That a node itself had no time is explained, and not with a line each time.
    for node in NODES {
        let log = std::fs::read_to_string(cluster.path(&format!("{node}.log"))).expect("a log");
        let (lines, stalls) = (log.matches("local_stall").count(), cluster.counter(node, "totem.local_stalls"));
        assert!(lines as u64 <= 2 + duration.as_secs() / 60, "{node} says it {lines} times\n{}", cluster.logs());
        println!("{node}: did not run {stalls} times for 50 ms and more, told in {lines} lines");
    }
    println!(
        "{} s at full load: 0 views; three status queries {asked} times, the slowest took {slowest:?}",
        duration.as_secs()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn full_cores_bring_no_view() {
    let Some(()) = root() else { return };
    let long = std::env::var_os("BASCULE_LONG").is_some();
    let duration = Duration::from_secs(if long { 600 } else { 10 });
    for scheduling in ["", "system {\n    sched_rr: no\n}\n"] {
        let mut cluster = Cluster::prepare(&NODES).await;
        std::fs::write(cluster.path("corosync.conf"), conf(&NODES, 1, "", "") + scheduling).expect("written");
        NODES.iter().for_each(|n| cluster.start_node(n));
        cluster.wait_for_ring(&NODES).await;
        println!(
            "{}",
            if scheduling.is_empty() { "real-time priority where it can be had" } else { "no real-time priority" }
        );
        no_view(&cluster, duration).await;
    }
}
