//! CIB and a time in; transition graph, scores and summary out. Pure.

mod actions;
mod constraints;
mod digest;
mod digest_list;
mod explain;
mod fence_actions;
pub mod graph;
mod graph_build;
mod graph_loops;
mod message;
mod model;
mod order;
mod pipeline;
mod place;
mod plan;
mod role;
mod rule_check;
mod settings;
pub mod simulate;
pub mod status;
mod status_read;
mod unpack;

use base::WallTime;
use cib::upgrade::{Upgraded, Weight};
pub use digest_list::{NoDigests, OperationDigests, digests};
pub use explain::{Explanation, NodeScore, Part, Settled, Step, Wanted, explain};
use graph::Graph;
pub use message::{Message, Severity};
pub use rule_check::{RuleProblem, RuleState, check_rule};
use serde::{Deserialize, Serialize};
pub use settings::settings_at;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
pub use unpack::FEATURE_SET;
use xml::Element;

/// What is not in the CIB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// `transition_id` of the graph.
    pub transition: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { transition: 1 }
    }
}

/// Result of one run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Schedule {
    pub graph: Graph,
    /// When the same CIB may give another result (rules, timeouts), in seconds since the epoch.
    pub recheck_by: Option<i64>,
    pub messages: Vec<Message>,
}

/// Why there is no schedule at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("expected a <cib> element, got <{0}>")]
    NotACib(String),
    #[error("the CIB's feature set '{0}' is newer than ours")]
    FeatureSet(String),
    #[error("the scheduler's thread failed: {0}")]
    Thread(String),
}

/// Stack for the parts that recurse along orderings and colocations, whose depth is bounded by named limits.
const STACK_BYTES: usize = 256 << 20;

thread_local! {
    /// This thread's stack is deep enough.
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` where deep chains of resources cannot exhaust the caller's stack. Whoever schedules often does so within one such
/// call: the runs in it start no thread of their own.
pub fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ScheduleError> {
    let panicked = |_| ScheduleError::Thread("it panicked".into());
    if DEEP.get() {
        return catch_unwind(AssertUnwindSafe(work)).map_err(panicked);
    }
    let deep = || {
        DEEP.set(true);
        work()
    };
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("scheduler".into()).stack_size(STACK_BYTES).spawn_scoped(scope, deep);
        thread.map_err(|e| ScheduleError::Thread(e.to_string()))?.join().map_err(panicked)
    })
}

/// Computes what is to be done in the cluster that `cib` describes, as of `now`.
pub fn schedule(cib: &Element, now: WallTime, options: &Options) -> Result<Schedule, ScheduleError> {
    with_deep_stack(|| {
        let Upgraded { cib, notices } = cib::upgrade::upgraded(cib);
        let mut s = model::Sched::unpack(&cib, now)?;
        notices.into_iter().filter(|n| n.weight == Weight::Warning).for_each(|n| s.warn(n.text));
        let mode = pipeline::Mode { transition: options.transition, ..Default::default() };
        let graph = pipeline::decide(&mut s, &cib, now, &mode);
        Ok(Schedule { graph, recheck_by: s.recheck_by, messages: s.messages })
    })?
}
