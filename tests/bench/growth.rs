//! How the cluster's work grows with its resources: start of small resources on two nodes, and what the API answers meanwhile; up to
//! [`ORIGINAL_AT_MOST`] beside Pacemaker in the same run, also with one shell agent for both. (What one result costs in one
//! controller is measured in the controller's own bench `result`.)
//!
//! `cargo bench --bench growth [-- SIZE...]`, as root. A measurement, not a test: it fails only if the configuration is not
//! taken; resources that do not start in time are counted.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

#[path = "../cluster/fixture.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod fixture;
#[path = "../support/original.rs"]
mod original;

use fixture::{BASCULE, Cluster, cib_call, get, post};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply, NodeStatus};

/// How long a start may take at most.
const PATIENCE: Duration = Duration::from_secs(300);
/// Larger ones take Pacemaker longer than one waits for a bench.
const ORIGINAL_AT_MOST: usize = 500;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    starts(if sizes.is_empty() { &[100, 500, 1000, 3000] } else { &sizes });
}

/// An agent: its provider and type, and its parameters as XML.
type Agent = (&'static str, &'static str, &'static str);

/// Native with us, a shell script with Pacemaker.
const NATIVE: Agent = ("pacemaker", "Dummy", "");
/// A shell script everywhere.
const SHELL: Agent = (
    "heartbeat",
    "Delay",
    "<instance_attributes id=\"dN-i\"><nvpair id=\"dN-s\" name=\"startdelay\" value=\"0\"/>\
     <nvpair id=\"dN-d\" name=\"stopdelay\" value=\"0\"/><nvpair id=\"dN-e\" name=\"mondelay\" value=\"0\"/></instance_attributes>",
);

fn resources(count: usize, (provider, name, params): Agent) -> String {
    let mut text = String::from("<resources>");
    for i in 0..count {
        let _ = write!(
            text,
            "<primitive id=\"d{i}\" class=\"ocf\" provider=\"{provider}\" type=\"{name}\">{}<operations>\
             <op id=\"d{i}-m\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></operations></primitive>",
            params.replace("dN", &format!("d{i}"))
        );
    }
    text + "</resources>"
}

const PROPERTIES: &str = "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
     <nvpair id=\"p-s\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

/// Milliseconds of requests while resources start.
#[derive(Default)]
struct Latency(Vec<f64>);

impl Latency {
    fn add(&mut self, began: Instant) {
        self.0.push(began.elapsed().as_secs_f64() * 1000.0);
    }

    fn text(&mut self) -> String {
        self.0.sort_by(f64::total_cmp);
        let (Some(max), median) = (self.0.last(), self.0.get(self.0.len() / 2)) else { return "none".to_owned() };
        format!("{:.0}/{max:.0} ms ({})", median.unwrap_or(max), self.0.len())
    }
}

/// Asks until it is told to end: node status, the nodes section, and `crm_mon -1` as people run it.
fn watch(run_dir: &Path, end: &AtomicBool) -> [Latency; 3] {
    let mut all: [Latency; 3] = Default::default();
    let mut round = 0;
    while !end.load(Ordering::Relaxed) {
        let began = Instant::now();
        let _: Option<NodeStatus> = get(run_dir, "status");
        all[0].add(began);
        let began = Instant::now();
        let _: Option<CibReply> = post(run_dir, "cib", &cib_call(CibOp::Query, "nodes", None), PATIENCE);
        all[1].add(began);
        if round % 5 == 0 {
            let began = Instant::now();
            let mut mon = Command::new(BASCULE);
            mon.args(["crm_mon", "-1"]).env("BASCULE_RUN_DIR", run_dir);
            let _ = mon.stdout(Stdio::null()).stderr(Stdio::null()).status();
            all[2].add(began);
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    all
}

/// Monitors whose first round was good, by a status section.
fn monitored(status: &str) -> usize {
    let Ok(status) = xml::parse(status) else { return 0 };
    let good = |e: &&xml::Element| {
        e.attr("operation") == Some("monitor") && e.attr("interval") == Some("10000") && e.attr("rc-code") == Some("0")
    };
    status.descendants().filter(good).count()
}

fn starts(sizes: &[usize]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!(
        "two nodes: {:>9} {:>18} {:>10} {:>8} {:>22} {:>22} {:>22}   (median/worst)",
        "resources", "agent", "started in", "a second", "status", "query", "crm_mon -1"
    );
    for count in sizes {
        runtime.block_on(start(*count, NATIVE));
        if *count <= ORIGINAL_AT_MOST {
            let ours = runtime.block_on(start(*count, SHELL));
            match runtime.block_on(original(*count, SHELL)) {
                Ok(theirs) => println!("Pacemaker / ours, the same agent: {:.1}", theirs / ours),
                Err(why) => println!("Pacemaker {count:>9} could not be measured: {why}"),
            }
        }
    }
}

/// Waits until all run, as the status says; what it took, and how many did.
async fn settle(count: usize, began: Instant, mut status: impl FnMut() -> String) -> (f64, usize) {
    let mut running = 0;
    while running < count && began.elapsed() < PATIENCE {
        // Rarely, since the question itself is work.
        tokio::time::sleep(Duration::from_millis(100 + count as u64 / 4)).await;
        running = monitored(&status());
    }
    (began.elapsed().as_secs_f64(), running)
}

/// Seconds.
async fn start(count: usize, agent: Agent) -> f64 {
    let cluster = Cluster::start(&["a", "b"]).await;
    let run_dir = cluster.run_dir("a");
    let set = |section: &str, xml: String| {
        let reply: Option<CibReply> = post(&run_dir, "cib", &cib_call(CibOp::Modify, section, Some(xml)), PATIENCE);
        assert!(reply.is_some(), "{section} is taken");
    };
    set("crm_config", PROPERTIES.to_owned());
    let end = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (run_dir, end) = (cluster.run_dir("b"), Arc::clone(&end));
        move || watch(&run_dir, &end)
    });
    let began = Instant::now();
    set("resources", resources(count, agent));
    let (seconds, running) = settle(count, began, || {
        let reply: Option<CibReply> = post(&run_dir, "cib", &cib_call(CibOp::Query, "status", None), PATIENCE);
        reply.and_then(|r| r.xml).unwrap_or_default()
    })
    .await;
    end.store(true, Ordering::Relaxed);
    let mut latencies = watcher.join().unwrap();
    let latencies: Vec<String> = latencies.iter_mut().map(Latency::text).collect();
    row("ours", count, agent, seconds, running, &latencies);
    seconds
}

/// The same on Pacemaker: seconds, or why there are none.
async fn original(count: usize, agent: Agent) -> Result<f64, String> {
    let nodes = original::Original::start().await?;
    nodes
        .run(&["cibadmin", "-M", "-o", "crm_config", "-X", PROPERTIES])
        .filter(|o| o.status.success())
        .ok_or("cibadmin")?;
    let file = nodes.file("resources.xml", &resources(count, agent)).ok_or("no room for a file")?;
    let mut mon = Latency::default();
    let began = Instant::now();
    let set = nodes.run(&["cibadmin", "-M", "-o", "resources", "-x", &file]);
    set.filter(|o| o.status.success()).ok_or("cibadmin took no resources")?;
    let (seconds, running) = settle(count, began, || {
        let asked = Instant::now();
        nodes.run(&["crm_mon", "-1"]);
        mon.add(asked);
        nodes.text(&["cibadmin", "-Q", "-o", "status"])
    })
    .await;
    row("Pacemaker", count, agent, seconds, running, &[String::new(), String::new(), mon.text()]);
    Ok(seconds)
}

fn row(who: &str, count: usize, (provider, name, _): Agent, seconds: f64, running: usize, latencies: &[String]) {
    let cells: Vec<String> = latencies.iter().map(|l| format!("{l:>22}")).collect();
    println!(
        "{who:<10} {count:>9} {:>18} {seconds:>8.2} s {:>8.0} {}{}",
        format!("{provider}:{name}"),
        running as f64 / seconds,
        cells.join(" "),
        if running < count { format!("   only {running}") } else { String::new() }
    );
}
