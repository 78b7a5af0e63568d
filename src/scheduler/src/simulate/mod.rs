//! What `crm_simulate` does: schedules, draws the graph, carries it out on a copy of the CIB, and tells all of it as text.

mod changes;
mod dot;
mod execute;
mod extras;
mod history;
mod inject;
mod outline;
mod scores;
mod status_text;

use self::extras::Extras;
use self::history::Recorder;
use self::outline::Outline;
use crate::graph::Graph;
use crate::model::Sched;
use crate::pipeline::{self, Mode};
use crate::status::Cluster;
use crate::{ScheduleError, with_deep_stack};
use base::WallTime;
pub use inject::Events;
use xml::Element;

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Depth {
    /// Only tell the status.
    Status,
    /// Decide what is to be done.
    Decide,
    /// Carry it out on a copy.
    Execute,
}

/// What to do and to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Time to assume, ISO 8601; else the CIB's `execution-date`, else the caller's now.
    pub time: Option<String>,
    pub depth: Depth,
    /// Scores within the summary.
    pub show_scores: bool,
    /// Take blanked secrets for unchanged.
    pub sanitized: bool,
    pub events: Events,
    /// Give the CIB with all events as well.
    pub keep_input: bool,
    /// Capacities of nodes and what resources take of them, among the scores.
    pub show_utilization: bool,
    /// Give the scores as lines, even if the summary does not show them.
    pub list_scores: bool,
    /// Draw the graph at all.
    pub draw: bool,
    /// Draw optional and unmanaged actions too.
    pub all_actions: bool,
    /// Attributes of nodes within the status.
    pub show_attributes: bool,
    /// Failures counted on nodes within the status.
    pub show_fail_counts: bool,
    /// Show operations that are under way in the first status.
    pub show_pending: bool,
    /// Write action numbers in the drawing.
    pub number_actions: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            time: None,
            depth: Depth::Execute,
            show_scores: false,
            sanitized: true,
            events: Events::default(),
            keep_input: false,
            show_utilization: false,
            list_scores: true,
            draw: true,
            all_actions: false,
            show_attributes: false,
            show_fail_counts: false,
            show_pending: true,
            number_actions: false,
        }
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
    /// The CIB before it, with all events, if asked for.
    pub input: Option<Element>,
    /// The whole graph could be carried out.
    pub complete: bool,
    /// The summary for programs.
    pub report: Report,
}

/// The parts of the summary as data and as elements in the original's form.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub before: Cluster,
    pub after: Option<Cluster>,
    pub modifications: Vec<Element>,
    /// What is to be done.
    pub changes: Vec<Element>,
    /// What was done, in order.
    pub executed: Vec<Element>,
}

impl Default for Simulated {
    fn default() -> Simulated {
        Simulated {
            graph: Graph::default(),
            dot: String::new(),
            scores: String::new(),
            summary: String::new(),
            warnings: String::new(),
            messages: Vec::new(),
            cib: Element::new("cib"),
            input: None,
            complete: true,
            report: Report::default(),
        }
    }
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

/// Lines above the first status: what is out of the ordinary about the whole.
fn write_preamble(s: &Sched, out: &mut Outline) {
    let mut printed = false;
    if s.options.maintenance {
        out.line("\n              *** Resource management is DISABLED ***");
        out.line("  The cluster will not attempt to start, stop or recover services");
        printed = true;
    }
    if s.disabled > 0 || s.blocked > 0 {
        if printed {
            out.spacer();
        }
        let (d, n, b) = (s.disabled, s.instances, s.blocked);
        out.line(&format!("{d} of {n} resource instances DISABLED and {b} BLOCKED from further action due to failure"));
        printed = true;
    }
    if printed {
        out.spacer();
    }
}

/// A word about a configuration that asks not to be checked.
fn schema_warning(cib: &Element) -> String {
    match cib.attr("validate-with") {
        Some(schema) if schema.eq_ignore_ascii_case("none") => {
            "Schema validation of configuration is disabled (support for \
            validate-with set to \"none\" is deprecated and will be removed in a future release)\n"
                .to_owned()
        }
        _ => String::new(),
    }
}

fn run_here(mut cib: Element, present: WallTime, options: &Options) -> Result<Simulated, ScheduleError> {
    let now = effective_time(&cib, present, options);
    let mut warnings = schema_warning(&cib);
    let upgraded = cib::upgrade::upgraded(&cib);
    upgraded.notices.iter().for_each(|n| warnings.push_str(&format!("{n}\n")));
    cib = upgraded.cib;
    let mut out = Outline::default();
    let time_line = match (&options.time, now == present) {
        (Some(time), _) => Some(format!("Setting effective cluster time: {time}")),
        (None, false) => Some(format!("Using the original execution date of: {}", base::dates::to_text(now.secs()))),
        (None, true) => None,
    };
    let mut s = Sched::unpack(&cib, now)?;
    time_line.iter().for_each(|l| out.line(l));
    write_preamble(&s, &mut out);
    let extras = Extras {
        pending: options.show_pending,
        attributes: options.show_attributes,
        fail_counts: options.show_fail_counts,
    };
    s.write_status("Current cluster status", extras, &mut out);
    let mut report = Report { before: s.cluster(), ..Default::default() };
    if !options.events.is_empty() {
        out.spacer();
        options.events.apply(&s, &mut cib, present.secs(), &mut out);
        report.modifications = std::mem::take(&mut out.elements);
        s = Sched::unpack(&cib, now)?;
        time_line.iter().for_each(|l| out.line(l));
    }
    let mut result = Simulated { warnings, input: options.keep_input.then(|| cib.clone()), ..Default::default() };
    if options.depth >= Depth::Decide {
        let mode = Mode { transition: 1, show_utilization: options.show_utilization, sanitized: options.sanitized };
        result.graph = pipeline::decide(&mut s, &cib, now, &mode);
        let shows_scores = options.show_scores || options.show_utilization;
        if options.list_scores || shows_scores {
            result.scores = s.score_lines();
        }
        if shows_scores {
            write_scores(&s, &result.scores, options, &mut out);
        }
        out.spacer();
        s.write_changes(&mut out);
        report.changes = std::mem::take(&mut out.elements);
        // After the changes have been told: that is where actions without a node find theirs.
        if options.draw {
            result.dot = s.draw(options.all_actions, options.number_actions);
        }
    }
    if options.depth >= Depth::Execute {
        out.spacer();
        let mut recorder = Recorder::new(&mut cib, present.secs());
        if !execute::execute(&s, &result.graph, &options.events, &mut recorder, &mut out) || s.left_out > 0 {
            result.warnings.push_str("Transition failed: terminated\nAn invalid transition was produced\n");
            result.complete = false;
        }
        time_line.iter().for_each(|l| out.line(l));
        out.spacer();
        report.executed = std::mem::take(&mut out.elements);
        let mut revised = Sched::unpack(&cib, now)?;
        revised.write_status("Revised Cluster Status", Extras { pending: false, ..extras }, &mut out);
        report.after = Some(revised.cluster());
    }
    Ok(Simulated { summary: out.into_text(), messages: s.messages, cib, report, ..result })
}

fn write_scores(s: &Sched, scores: &str, options: &Options, out: &mut Outline) {
    out.spacer();
    out.begin(match (options.show_scores, options.show_utilization) {
        (true, true) => "Assignment Scores and Utilization Information",
        (false, true) => "Utilization Information",
        _ => "Assignment Scores",
    });
    s.info.iter().for_each(|text| out.line(text));
    for line in scores.lines() {
        let utilization = line.contains(" capacity:") || line.contains(" utilization on ");
        if if utilization { options.show_utilization } else { options.show_scores } {
            out.item(line);
        }
    }
    out.end();
}
