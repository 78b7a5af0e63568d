//! How the cluster's work grows with its resources: start of native Dummies on two nodes, what the API answers meanwhile, and
//! what one operation's result costs in a controller that knows 100 to 10,000 of them.
//!
//! `cargo bench --bench growth [-- WORD [SIZE...]]`: `result` (in this process) or `start` (as root, in namespaces). A
//! measurement, not a test: it fails only if resources do not start.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

#[path = "../cluster/fixture.rs"]
#[allow(dead_code, reason = "made for the tests")]
mod fixture;

use base::exit::OcfCode;
use base::outside::{Value, Word};
use base::{NodeId, Time, WallTime};
use cib::Cib;
use controller::{Config, Controller, ExecResult, Input, Output, ViewId};
use fixture::{BASCULE, Cluster, cib_call, get, post};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply, NodeStatus};

/// How long a start may take at most.
const PATIENCE: Duration = Duration::from_secs(300);
const STARTED_AT: WallTime = WallTime(1_795_000_000_000);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let word = args.first().cloned().unwrap_or_default();
    let sizes: Vec<usize> = args.iter().skip(1).map(|a| a.parse().unwrap()).collect();
    let or = |usual: &[usize]| if sizes.is_empty() { usual.to_vec() } else { sizes.clone() };
    if "result".contains(&word) {
        results(&or(&[100, 1000, 10_000]));
    }
    if "start".contains(&word) {
        starts(&or(&[100, 500, 1000, 3000]));
    }
}

fn resources(count: usize) -> String {
    let mut text = String::from("<resources>");
    for i in 0..count {
        let _ = write!(
            text,
            "<primitive id=\"d{i}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><operations>\
             <op id=\"d{i}-m\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></operations></primitive>"
        );
    }
    text + "</resources>"
}

const PROPERTIES: &str = "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
     <nvpair id=\"p-s\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

// ---- one controller, in this process ----

struct Alone {
    controller: Controller,
    now: Time,
    view: ViewId,
    seq: u64,
    /// Time in the controller alone, and its inputs.
    spent: Duration,
    inputs: u32,
    runs: u32,
    scheduling: Duration,
    /// Resources that are looked after.
    monitors: BTreeSet<String>,
    waiting: VecDeque<u64>,
    answers: bool,
}

impl Alone {
    fn new(count: usize) -> Alone {
        let text = format!(
            "<cib validate-with=\"pacemaker-4.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\"><configuration>{PROPERTIES}\
             <nodes/>{}<constraints/></configuration><status/></cib>",
            resources(count)
        );
        let names = BTreeMap::from([(NodeId(1), "a".to_owned())]);
        let now = Time::from_millis(1000);
        let controller =
            Controller::new(Config::new(NodeId(1), names, "bench", 7), Cib::parse(&text).unwrap(), "", now);
        let mut alone = Alone {
            controller,
            now,
            view: ViewId { seq: 1, rep: 1 },
            seq: 0,
            spent: Duration::ZERO,
            inputs: 0,
            runs: 0,
            scheduling: Duration::ZERO,
            monitors: BTreeSet::new(),
            waiting: VecDeque::new(),
            answers: true,
        };
        alone.step(Input::View { id: alone.view, members: vec![NodeId(1)], quorate: true });
        alone
    }

    /// One input, and whatever follows from it at once. A reader holds the document of before, as the API's readers do.
    fn step(&mut self, input: Input) {
        let mut queue = VecDeque::from([input]);
        while let Some(input) = queue.pop_front() {
            let reader = self.controller.cib().shared_root();
            let began = Instant::now();
            self.controller.handle(self.now, STARTED_AT, input);
            let outputs: Vec<Output> = std::iter::from_fn(|| self.controller.poll_output()).collect();
            let _ = self.controller.poll_timeout();
            self.spent += began.elapsed();
            self.inputs += 1;
            drop(reader);
            for output in outputs {
                self.perform(output, &mut queue);
            }
        }
    }

    fn perform(&mut self, output: Output, queue: &mut VecDeque<Input>) {
        match output {
            Output::Broadcast(payload) => {
                self.seq += 1;
                let (view, seq) = (self.view, self.seq);
                queue.push_back(Input::Deliver { sender: NodeId(1), view, seq, payload });
                queue.push_back(Input::Safe { view, seq });
            }
            Output::Execute { call, operation, .. } if operation.interval_ms > 0 && !self.answers => {
                self.waiting.push_back(call);
            }
            Output::Execute { call, operation, .. } => {
                let is_probe = operation.action == "monitor" && operation.interval_ms == 0;
                if operation.interval_ms > 0 {
                    self.monitors.insert(operation.instance.id);
                }
                let code = if is_probe { OcfCode::NOT_RUNNING } else { OcfCode::OK };
                queue.push_back(Input::Executed { call, result: ExecResult::done(code) });
            }
            Output::Schedule { ticket, cib, wall } if self.answers => {
                let began = Instant::now();
                let result = scheduler::schedule(&cib, wall, &scheduler::Options { transition: 1 });
                self.scheduling += began.elapsed();
                self.runs += 1;
                queue.push_back(Input::Scheduled { ticket, result: result.map(Box::new).map_err(|e| e.to_string()) });
            }
            Output::Persist(p) => queue.push_back(Input::Stored { ticket: p.ticket, written: true }),
            _ => {}
        }
    }

    fn advance(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.step(Input::Tick);
    }

    /// Microseconds of the controller for each of `count` rounds of monitors with this code.
    fn rounds(&mut self, count: usize, code: OcfCode) -> f64 {
        let before = self.spent;
        for _ in 0..count {
            let call = self.waiting.pop_front().unwrap();
            self.step(Input::Executed { call, result: ExecResult::done(code) });
        }
        (self.spent - before).as_secs_f64() * 1e6 / count as f64
    }
}

fn results(sizes: &[usize]) {
    println!(
        "one controller: {:>9} {:>12} {:>10} {:>12} {:>14} {:>14} {:>14}",
        "resources", "start", "scheduler", "input", "good round", "bad result", "attribute"
    );
    for count in sizes {
        let mut alone = Alone::new(*count);
        for _ in 0..20 {
            alone.advance(10);
        }
        assert_eq!(alone.monitors.len(), *count, "all are started");
        let (start, inputs, runs) = (alone.spent, alone.inputs, alone.runs);
        let scheduling = alone.scheduling;
        alone.answers = false;
        alone.advance(10_000);
        assert_eq!(alone.waiting.len(), *count, "all are looked after");
        let good = alone.rounds(40, OcfCode::OK);
        let bad = alone.rounds(40, OcfCode::NOT_RUNNING);
        let before = alone.spent;
        for i in 0..40 {
            let request = controller::Request::Attribute {
                node: None,
                name: Word::cleaned(&format!("n{}", i % 4)),
                value: Some(Value::cleaned(&i.to_string())),
            };
            alone.step(Input::Client { id: 1, request });
        }
        let attribute = (alone.spent - before).as_secs_f64() * 1e6 / 40.0;
        println!(
            "                {count:>9} {:>9.2} s  {:>5.2} s/{runs} {:>9.0} us {good:>11.0} us {bad:>11.0} us {attribute:>11.0} us",
            start.as_secs_f64(),
            scheduling.as_secs_f64(),
            start.as_secs_f64() * 1e6 / f64::from(inputs),
        );
    }
}

// ---- two nodes, as processes ----

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

/// Monitors whose first round was good, by the status section.
fn monitored(run_dir: &Path) -> usize {
    let reply: Option<CibReply> = post(run_dir, "cib", &cib_call(CibOp::Query, "status", None), PATIENCE);
    let text = reply.and_then(|r| r.xml).unwrap_or_default();
    let Ok(status) = xml::parse(&text) else { return 0 };
    let good = |e: &&xml::Element| {
        e.attr("operation") == Some("monitor") && e.attr("interval") == Some("10000") && e.attr("rc-code") == Some("0")
    };
    status.descendants().filter(good).count()
}

fn starts(sizes: &[usize]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!(
        "two nodes: {:>9} {:>10} {:>8} {:>22} {:>22} {:>22}   (median/worst)",
        "resources", "started in", "a second", "status", "query", "crm_mon -1"
    );
    for count in sizes {
        runtime.block_on(start(*count));
    }
}

async fn start(count: usize) {
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
    set("resources", resources(count));
    let mut running = 0;
    while running < count && began.elapsed() < PATIENCE {
        // Rarely, since the question itself is work.
        tokio::time::sleep(Duration::from_millis(100 + count as u64 / 4)).await;
        running = monitored(&run_dir);
    }
    let seconds = began.elapsed().as_secs_f64();
    end.store(true, Ordering::Relaxed);
    let [mut status, mut query, mut mon] = watcher.join().unwrap();
    println!(
        "           {count:>9} {seconds:>8.2} s {:>8.0} {:>22} {:>22} {:>22}{}",
        running as f64 / seconds,
        status.text(),
        query.text(),
        mon.text(),
        if running < count { format!("   only {running}") } else { String::new() }
    );
}
