//! Scores as text.

use crate::model::{Map, Sched, ScoreLine, score_text};
use std::fmt::Write;

fn values(map: &Map) -> String {
    map.iter().map(|(name, value)| format!(" {name}={value}")).collect()
}

impl Sched {
    /// One line for each score, in the order in which they were settled.
    pub fn score_lines(&self) -> String {
        let mut out = String::new();
        for line in &self.scores {
            let _ = match line {
                ScoreLine::Allocation { stage, rsc, node, score } => {
                    writeln!(
                        out,
                        "{stage}: {} allocation score on {}: {}",
                        self[*rsc].id,
                        self[*node].name,
                        score_text(*score)
                    )
                }
                ScoreLine::Promotion { rsc, node, score } => {
                    let place = node.map_or_else(|| "(inactive)".to_owned(), |n| format!("on {}", self[n].name));
                    writeln!(out, "{} promotion score {place}: {}", self[*rsc].id, score_text(*score))
                }
                ScoreLine::Capacity { comment, node, values: left } => {
                    writeln!(out, "{comment} {} capacity:{}", self[*node].name, values(left))
                }
                ScoreLine::Utilization { rsc, node } => {
                    let r = &self[*rsc];
                    writeln!(
                        out,
                        "pcmk__assign_resource: {} utilization on {}:{}",
                        r.id,
                        self[*node].name,
                        values(&r.utilization)
                    )
                }
            };
        }
        out
    }
}
