//! CIB and a time in; transition graph, scores and summary out. Pure.

pub mod graph;
pub mod status;

use base::WallTime;
use graph::Graph;
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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    pub graph: Graph,
    /// State before the transition.
    pub cluster: status::Cluster,
    /// When the same CIB may give another result (rules, timeouts), in seconds since the epoch.
    pub recheck_by: Option<i64>,
    pub messages: Vec<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// Something that the operator should know about the configuration or the result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub severity: Severity,
    pub text: String,
}

/// Why there is no schedule at all.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("expected a <cib> element, got <{0}>")]
    NotACib(String),
    #[error("the CIB's feature set '{0}' is newer than ours")]
    FeatureSet(String),
    #[error("the scheduler cannot handle this yet: {0}")]
    Unsupported(String),
}

/// Computes what is to be done in the cluster that `cib` describes, as of `now`.
pub fn schedule(cib: &Element, _now: WallTime, _options: &Options) -> Result<Schedule, ScheduleError> {
    if cib.name() != "cib" {
        return Err(ScheduleError::NotACib(cib.name().to_owned()));
    }
    Err(ScheduleError::Unsupported("resources".into()))
}
