//! `stonith_admin --history` and `--last`.

use super::{EVENT, StonithAdmin, found};
use crate::fencing::{self, Form};
use crate::source::{Failure, Source, checked};
use base::exit::crm;
use std::fmt::Write;
use wire::api::{FenceEvent, FenceState, FencingOp};
use xml::Element;

impl StonithAdmin {
    pub(super) fn show_history(&self, target: &str) -> Result<i32, Failure> {
        let mut text = String::new();
        let mut say = |line: String| {
            if !self.quiet {
                let _ = writeln!(text, "{line}");
            }
        };
        let wanted = if target == "*" { None } else { Some(checked("node", target)?) };
        if self.cleanup {
            say(format!("cleaning up fencing-history for node {target}"));
            self.ask(FencingOp::Cleanup { target: wanted })?;
            return self.print_with(crm::OK, text, Vec::new());
        }
        if self.broadcast {
            say("gather fencing-history from all nodes".to_owned());
        }
        let history = fencing::sorted(self.ask(FencingOp::History { target: wanted })?.history);
        let all = self.common.verbose > 0;
        let shown: Vec<&FenceEvent> = match all && !self.quiet {
            true => history.iter().collect(),
            false => history.iter().find(|e| e.state == FenceState::Success).into_iter().collect(),
        };
        for event in &shown {
            let _ = match self.quiet {
                true => writeln!(text, "{}", event.completed_ms.div_euclid(1000)),
                false => writeln!(text, "{}", fencing::describe(event, &history, Form { technical: true, full: all })),
            };
        }
        if !self.quiet {
            text += &found(shown.len(), EVENT);
        }
        let mut list = Element::new("list").with("name", "Fencing history").with("count", shown.len().to_string());
        shown.iter().for_each(|e| list.push(fencing::element(e)));
        self.print_with(crm::OK, text, vec![list])
    }

    pub(super) fn show_last(&self, target: &str) -> Result<i32, Failure> {
        let node = if self.as_node_id { self.name_of(target)? } else { target.to_owned() };
        let history = self.ask(FencingOp::History { target: Some(checked("node", &node)?) })?.history;
        let done = history.iter().filter(|e| e.state == FenceState::Success).map(|e| e.completed_ms).max();
        let Some(at) = done else {
            return self.print_with(crm::OK, format!("Node {target} has never been fenced\n"), Vec::new());
        };
        let when = base::WallTime(at);
        let text = format!("Node {target} last fenced at: {}\n", crate::clock::ctime(when));
        let e = Element::new("last-fenced").with("target", target).with("when", crate::clock::stamp(when));
        self.print_with(crm::OK, text, vec![e])
    }

    /// A node's name by its number.
    fn name_of(&self, number: &str) -> Result<String, Failure> {
        let status = Source::open().status()?;
        let nodes = status.into_iter().flat_map(|s| s.nodes);
        let found = nodes.into_iter().find(|n| n.id.to_string() == number);
        found.map(|n| n.name).ok_or_else(|| Failure::new(crm::NOHOST, format!("no node has the number {number}")))
    }
}
