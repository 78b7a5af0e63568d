//! What happened, line by line, for whoever has to understand a failure; kept only where it is wanted.

use base::{NodeId, Time};
use controller::TimelineEvent;

/// Lines that one run keeps.
const MAX_LINES: usize = 200_000;

#[derive(Default)]
pub struct Story {
    wanted: bool,
    lines: Vec<(Time, NodeId, String)>,
}

impl Story {
    pub fn wanted() -> Story {
        Story { wanted: true, lines: Vec::new() }
    }

    pub fn tell(&mut self, now: Time, node: NodeId, text: impl FnOnce() -> String) {
        if self.wanted && self.lines.len() < MAX_LINES {
            self.lines.push((now, node, text()));
        }
    }

    /// The timeline as operators know it.
    pub fn timeline(&mut self, now: Time, node: NodeId, e: &TimelineEvent) {
        self.tell(now, node, || format!("{} {} {}", e.kind, e.subject, e.text));
    }

    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(|(at, node, text)| {
            format!("{:>10.3} s  node{node}  {text}", at.since(Time::from_millis(1_000)).as_secs_f64())
        })
    }
}
