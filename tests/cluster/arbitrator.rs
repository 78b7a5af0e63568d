//! An arbitrator for real nodes: ours and Debian's `corosync-qnetd`, beside our nodes and Debian's corosync with its qdevice.
//!
//! The ring runs on the first cables, the way to the arbitrator on the second ones, so that either can be cut alone.

use crate::fixture::{BASCULE, Cluster};
use crate::links::conf;
use crate::root::root;
use lab::hosts::HostSpec;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use wire::api::QuorumStatus;

mod heuristics;
mod hostile;
mod originals;
mod pcs;
mod quick;
mod splits;
mod tls;

const PAIR: [&str; 2] = ["n1", "n2"];
const FOUR: [&str; 4] = ["n1", "n2", "n3", "n4"];
const QNETD: &str = "/usr/bin/corosync-qnetd";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maker {
    Ours,
    Debian,
}

/// Whether the originals are here; told loudly where they are not.
fn have(programs: &[&str]) -> bool {
    let absent: Vec<&&str> = programs.iter().filter(|p| !Path::new(p).exists()).collect();
    if !absent.is_empty() {
        eprintln!("SKIPPED: {absent:?} absent: apt-get install corosync corosync-qdevice corosync-qnetd");
    }
    absent.is_empty()
}

/// The host `arb`, 10.77.1.9, and the arbitrator on it.
struct Arbiter {
    maker: Maker,
    child: Option<Child>,
    dir: PathBuf,
    tls: &'static str,
}

impl Arbiter {
    fn new(maker: Maker, cluster: &Cluster) -> Arbiter {
        Arbiter { maker, child: None, dir: cluster.path("arb"), tls: "off" }
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("qnetd.sock")
    }

    fn start(&mut self, cluster: &Cluster) {
        std::fs::create_dir_all(&self.dir).expect("a directory");
        let log = std::fs::File::create(self.dir.join("log")).expect("a log file");
        let mut command = match self.maker {
            Maker::Ours => {
                let mut command = Command::new(BASCULE);
                command.arg("qnetd");
                command
            }
            Maker::Debian => Command::new(QNETD),
        };
        let (socket, lock) = (self.socket(), self.dir.join("lock"));
        let mut settings = format!("local_socket_file={},lock_file={}", socket.display(), lock.display());
        if self.maker == Maker::Debian {
            settings += &format!(",nss_db_dir={}", self.dir.join("nssdb").display());
        } else {
            settings += &format!(",tls_dir={}", self.dir.join("tls").display());
        }
        // Its manual says `required`, it takes `req`; ours takes both.
        let tls = if self.tls == "required" { "req" } else { self.tls };
        command.args(["-f", "-d", "-s", tls, "-S", &settings]);
        command.stderr(log.try_clone().expect("a handle")).stdout(log);
        self.child = Some(cluster.lab.host("arb").expect("a host").spawn(&mut command).expect("it starts"));
    }

    async fn end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().await.expect("it ended");
    }

    /// Our tool, whoever made the server.
    fn tool(&self, words: &[&str]) -> String {
        let socket = self.socket();
        let mut command = std::process::Command::new(BASCULE);
        command.arg("corosync-qnetd-tool").args(words).arg("-p").arg(socket);
        let out = command.output().expect("the command runs");
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

fn device(algorithm: &str, more: &str) -> String {
    format!(
        "    device {{\n        model: net\n        net {{\n            host: 10.77.1.9\n            algorithm: {algorithm}\n{more}        }}\n    }}\n"
    )
}

/// Hosts and cables, nothing started.
async fn cables(nodes: &[&'static str], quorum: &str) -> Cluster {
    let mut cluster = Cluster::prepare(nodes).await;
    cluster.lab.add_host(HostSpec::numbered("arb", 9)).await.expect("a host");
    cluster.lab.add_network(1).await.expect("cables");
    std::fs::write(cluster.path("corosync.conf"), conf(nodes, 1, "", quorum)).expect("written");
    cluster
}

async fn start(cluster: &mut Cluster, nodes: &[&'static str]) {
    nodes.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(nodes).await;
}

fn quorum(cluster: &Cluster, node: &str) -> Option<QuorumStatus> {
    crate::fixture::get(&cluster.run_dir(node), "quorum")
}

/// Votes that are here, and whether that is quorum; how long it took.
async fn until(cluster: &Cluster, arbiter: &Arbiter, node: &str, total: u32, quorate: bool) -> Duration {
    let began = Instant::now();
    let what = format!("{total} votes on {node}, quorate {quorate}");
    let mut last = None;
    let end = Instant::now() + crate::fixture::PATIENCE;
    loop {
        let now = quorum(cluster, node).map(|q| (q.total_votes, q.quorate));
        if now == Some((total, quorate)) {
            return began.elapsed();
        }
        last = now.or(last);
        assert!(Instant::now() < end, "not {what}, but {last:?}\n{}\n{}", cluster.logs(), arbiter.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The nodes neither hear nor reach each other, in either direction, over the first cables.
async fn part(cluster: &Cluster, from: &[&str], to: &[u8], add: bool) {
    for host in from {
        for n in to {
            let verb = if add { "add" } else { "del" };
            let address = format!("10.77.0.{n}/32");
            let mut command = Command::new("ip");
            command.args(["route", verb, "blackhole", &address]);
            let mut child = cluster.lab.host(host).expect("a host").spawn(&mut command).expect("ip starts");
            assert!(child.wait().await.expect("ip ends").success());
        }
    }
}

/// Everything that may happen to a pair and its arbitrator.
async fn a_pair(maker: Maker, algorithm: &str) {
    let mut cluster = cables(&PAIR, &device(algorithm, "            tls: off\n")).await;
    let mut arbiter = Arbiter::new(maker, &cluster);
    arbiter.start(&cluster);
    start(&mut cluster, &PAIR).await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    // The ring is cut, both reach the arbitrator: one of them goes on.
    cluster.lab.unplug("n1").await.expect("cut");
    let won = until(&cluster, &arbiter, "n1", 2, true).await;
    until(&cluster, &arbiter, "n2", 1, false).await;
    cluster.lab.plug("n1").await.expect("healed");
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    // The one that would win is dead.
    cluster.lab.unplug_from("n1", 1).await.expect("cut");
    cluster.kill("n1").await;
    let took = until(&cluster, &arbiter, "n2", 2, true).await;
    cluster.lab.plug_into("n1", 1).await.expect("healed");
    cluster.start_node("n1");
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    // Without the arbitrator the pair stays what it is; it comes back by itself.
    arbiter.end().await;
    for node in PAIR {
        until(&cluster, &arbiter, node, 2, true).await;
    }
    arbiter.start(&cluster);
    for node in PAIR {
        until(&cluster, &arbiter, node, 3, true).await;
    }
    // A half that does not reach it.
    cluster.lab.unplug_from("n1", 1).await.expect("cut");
    until(&cluster, &arbiter, "n1", 2, true).await;
    cluster.lab.unplug("n1").await.expect("cut");
    until(&cluster, &arbiter, "n2", 2, true).await;
    until(&cluster, &arbiter, "n1", 1, false).await;
    println!("{maker:?}, {algorithm}: cut decided after {won:?}, a dead node after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_with_our_arbitrator() {
    let Some(()) = root() else { return };
    a_pair(Maker::Ours, "ffsplit").await;
    a_pair(Maker::Ours, "lms").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_with_debians_arbitrator() {
    let Some(()) = root() else { return };
    if !have(&[QNETD]) {
        return;
    }
    a_pair(Maker::Debian, "ffsplit").await;
    a_pair(Maker::Debian, "lms").await;
}

/// Four nodes with the vote, tie breaker highest.
async fn the_tools_print_as_the_originals(cluster: &Cluster, arbiter: &Arbiter) {
    let (code, text, _) = cluster.command("n1", &["corosync-quorumtool", "-s"]);
    assert!(code == 0 && text.contains("Flags:            Quorate Qdevice \n"), "{text}");
    let table = "    Nodeid      Votes    Qdevice Name\n         1          1    A,V,NMW n1 (local)\n         2          1    A,V,NMW n2\n";
    cluster
        .until("what the others' devices say", || {
            let (_, text, _) = cluster.command("n1", &["corosync-quorumtool", "-s"]);
            (text.contains(table) && text.ends_with("         0          1            Qdevice\n")).then_some(())
        })
        .await;
    let (code, text, _) = cluster.command("n1", &["corosync-qdevice-tool", "-s", "-v"]);
    for line in [
        "Model:\t\t\tNet\n",
        "QNetd host:\t\t10.77.1.9:5403\n",
        "Algorithm:\t\tFifty-Fifty split\n",
        "Tie-breaker:\t\tNode with highest node ID\n",
        "KAP Tie-breaker:\tEnabled\n",
        "Poll timer running:\tYes (cast vote)\n",
        "State:\t\t\tConnected\n",
        "    3\tNode ID = 4, State = member\n",
    ] {
        assert!(code == 0 && text.contains(line), "{line}: {text}");
    }
    let text = arbiter.tool(&["-l", "-v"]);
    for line in [
        "Cluster \"test\":\n    Algorithm:\t\tFifty-Fifty split (KAP Tie-breaker)\n    Tie-breaker:\tNode with highest node ID\n",
        "        Client address:\t\t::ffff:10.77.1.1:",
        "        Configured node list:\t1, 2, 3, 4\n",
        "        Membership node list:\t1, 2, 3, 4\n",
        "        TLS active:\t\tNo\n",
        "(ACK)\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(arbiter.tool(&["-s"]).contains("Connected clients:\t\t4\nConnected clusters:\t\t1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_two_the_tools_and_a_device_that_comes_and_goes_with_a_reload() {
    let Some(()) = root() else { return };
    let plain = device("ffsplit", "            tls: off\n            tie_breaker: highest\n");
    let mut cluster = cables(&FOUR, &plain).await;
    let mut arbiter = Arbiter::new(Maker::Ours, &cluster);
    arbiter.start(&cluster);
    start(&mut cluster, &FOUR).await;
    for node in FOUR {
        until(&cluster, &arbiter, node, 5, true).await;
    }
    the_tools_print_as_the_originals(&cluster, &arbiter).await;
    // Two and two: the half of the highest node goes on.
    part(&cluster, &["n1", "n2"], &[3, 4], true).await;
    part(&cluster, &["n3", "n4"], &[1, 2], true).await;
    for (node, total, quorate) in [("n3", 3, true), ("n4", 3, true), ("n1", 2, false), ("n2", 2, false)] {
        until(&cluster, &arbiter, node, total, quorate).await;
    }
    part(&cluster, &["n1", "n2"], &[3, 4], false).await;
    part(&cluster, &["n3", "n4"], &[1, 2], false).await;
    for node in FOUR {
        until(&cluster, &arbiter, node, 5, true).await;
    }
    // Away, and back, while the nodes run.
    std::fs::write(cluster.path("corosync.conf"), conf(&FOUR, 1, "", "")).expect("written");
    assert_eq!(cluster.command("n2", &["corosync-cfgtool", "-R"]).0, 0);
    for node in FOUR {
        until(&cluster, &arbiter, node, 4, true).await;
        assert_eq!(quorum(&cluster, node).map(|q| (q.expected_votes, q.device.is_none())), Some((4, true)), "{node}");
    }
    assert_eq!(cluster.command("n1", &["corosync-qdevice-tool", "-s"]).0, 4);
    cluster.until("no client", || arbiter.tool(&["-s"]).contains("Connected clients:\t\t0\n").then_some(())).await;
    std::fs::write(cluster.path("corosync.conf"), conf(&FOUR, 1, "", &plain)).expect("written");
    assert_eq!(cluster.command("n2", &["corosync-cfgtool", "-R"]).0, 0);
    for node in FOUR {
        until(&cluster, &arbiter, node, 5, true).await;
    }
    let view = cluster.status("n1").expect("an answer").view;
    cluster.signal("n4", Signal::SIGTERM);
    cluster.daemons.get_mut("n4").expect("a daemon").wait().await.expect("it ended");
    until(&cluster, &arbiter, "n1", 4, true).await;
    assert_ne!(cluster.status("n1").expect("an answer").view, view);
    // The tool ends it.
    arbiter.tool(&["-H"]);
    let ended = arbiter.child.take().expect("it runs").wait().await.expect("it ended");
    assert!(ended.success());
    for node in &FOUR[..3] {
        until(&cluster, &arbiter, node, 3, true).await;
    }
}
