//! Where each placement comes from: scores of resources on nodes, and what contributed to them.

use crate::model::{Sched, ScoreLine};
use crate::pipeline::{self, Mode};
use crate::{ScheduleError, with_deep_stack};
use base::WallTime;
use xml::Element;

/// Score of a resource on a node when its place was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    pub resource: String,
    pub node: String,
    pub score: i32,
}

/// A part of a score: a constraint, a rule, stickiness, failures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contribution {
    pub resource: String,
    /// `None` counts for every node.
    pub node: Option<String>,
    pub score: i32,
    /// Id of the constraint, or a word such as `stickiness`.
    pub source: String,
}

/// What is going to be done to a resource, or cannot be, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub resource: String,
    /// Where it will be; `None` is nowhere.
    pub node: Option<String>,
    /// Actions that are wanted, each with its reason and whether it can be done.
    pub actions: Vec<(String, Option<String>, bool)>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explanation {
    pub placements: Vec<Placement>,
    pub contributions: Vec<Contribution>,
    pub decisions: Vec<Decision>,
}

/// Schedules, and tells how the result came about.
pub fn explain(cib: &Element, now: WallTime) -> Result<Explanation, ScheduleError> {
    with_deep_stack(|| {
        let mut s = Sched::unpack(cib, now)?;
        pipeline::decide(&mut s, cib, now, &Mode { transition: 1, ..Default::default() });
        Ok(s.explanation())
    })?
}

impl Sched {
    fn explanation(&self) -> Explanation {
        let placements = self.scores.iter().filter_map(|line| match line {
            ScoreLine::Allocation { rsc, node, score, .. } => Some(Placement {
                resource: self[*rsc].id.to_string(),
                node: self[*node].name.to_string(),
                score: *score,
            }),
            _ => None,
        });
        let contributions = self.contributions.iter().map(|c| Contribution {
            resource: self[c.resource].id.to_string(),
            node: c.node.map(|n| self[n].name.to_string()),
            score: c.score,
            source: c.source.to_string(),
        });
        let decisions = self.resources.iter().filter(|r| r.is_primitive()).map(|r| {
            let wanted = r.actions.iter().map(|a| &self[*a]).filter(|a| !a.is(crate::model::flags::act::OPTIONAL));
            Decision {
                resource: r.id.to_string(),
                node: r.assigned.map(|a| self[a.node].name.to_string()),
                actions: wanted
                    .map(|a| {
                        (
                            a.task.to_string(),
                            a.reason.as_ref().map(|t| t.to_string()),
                            a.is(crate::model::flags::act::RUNNABLE),
                        )
                    })
                    .collect(),
            }
        });
        Explanation {
            placements: placements.collect(),
            contributions: contributions.collect(),
            decisions: decisions.collect(),
        }
    }
}
