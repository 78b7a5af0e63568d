//! What one result, one round of a monitor and one attribute cost in a controller that knows 100 to 10,000 resources, and what
//! starting them all costs. Somebody always holds the document of before, as the API's readers do.
//!
//! `cargo bench -p controller --bench result [-- SIZE...]`.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on fails")]

use base::exit::OcfCode;
use base::outside::{Value, Word};
use base::{NodeId, Time, WallTime};
use cib::Cib;
use controller::{Config, Controller, ExecResult, Input, Output, ViewId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

const STARTED_AT: WallTime = WallTime(1_795_000_000_000);

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    results(if sizes.is_empty() { &[100, 1000, 10_000] } else { &sizes });
}

/// Every second one has a monitor: one node looks after no more than 8,192.
fn resources(count: usize) -> String {
    let mut text = String::from("<resources>");
    for i in 0..count {
        let _ = write!(text, "<primitive id=\"d{i}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\">");
        if i % 2 == 0 {
            let op = "name=\"monitor\" interval=\"10s\" timeout=\"20s\"";
            let _ = write!(text, "<operations><op id=\"d{i}-m\" {op}/></operations>");
        }
        text.push_str("</primitive>");
    }
    text + "</resources>"
}

const PROPERTIES: &str = "<crm_config><cluster_property_set id=\"cib-bootstrap-options\">\
     <nvpair id=\"p-s\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

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

    /// Microseconds of the controller for a round of a monitor with this code; the median of `count`.
    fn rounds(&mut self, count: usize, code: OcfCode) -> f64 {
        let each = |alone: &mut Alone| {
            let call = alone.waiting.pop_front().unwrap();
            alone.measured(Input::Executed { call, result: ExecResult::done(code) })
        };
        median((0..count).map(|_| each(self)).collect())
    }

    fn measured(&mut self, input: Input) -> f64 {
        let before = self.spent;
        self.step(input);
        (self.spent - before).as_secs_f64() * 1e6
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
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
        assert_eq!(alone.monitors.len(), count / 2, "all are started");
        let (start, inputs, runs) = (alone.spent, alone.inputs, alone.runs);
        let scheduling = alone.scheduling;
        alone.answers = false;
        alone.advance(10_000);
        assert_eq!(alone.waiting.len(), count / 2, "all are looked after");
        let good = alone.rounds(25, OcfCode::OK);
        let bad = alone.rounds(25, OcfCode::NOT_RUNNING);
        let attribute = |i: usize| {
            let (name, value) = (Word::cleaned(&format!("n{}", i % 4)), Some(Value::cleaned(&i.to_string())));
            Input::Client { id: 1, request: controller::Request::Attribute { node: None, name, value } }
        };
        let attribute = median((0..40).map(|i| alone.measured(attribute(i))).collect());
        println!(
            "                {count:>9} {:>9.2} s  {:>5.2} s/{runs} {:>9.0} us {good:>11.0} us {bad:>11.0} us {attribute:>11.0} us",
            start.as_secs_f64(),
            scheduling.as_secs_f64(),
            start.as_secs_f64() * 1e6 / f64::from(inputs),
        );
    }
}
