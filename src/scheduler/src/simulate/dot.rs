//! The graph as a drawing in dot language: what is done bold, what cannot be done dashed.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, Sched, op_key};
use std::fmt::Write;

impl Sched {
    /// The drawing; `all` also shows what needs not be done.
    pub fn draw(&mut self, all: bool, numbers: bool) -> String {
        let mut out = String::from(" digraph \"g\" {\n");
        let newest_first: Vec<ActIdx> = (0..self.actions.len() as u32).rev().map(ActIdx).collect();
        for a in &newest_first {
            if let Some(line) = self.draw_action(*a, all, numbers) {
                self[*a].flags |= act::ADDED_TO_GRAPH;
                out.push_str(&line);
            }
        }
        for a in newest_first {
            self.draw_inputs(a, all, numbers, &mut out);
        }
        out.push_str("}\n");
        out
    }

    fn draw_action(&self, a: ActIdx, all: bool, numbers: bool) -> Option<String> {
        let action = &self[a];
        let mut font = if action.is(act::PSEUDO) { "orange" } else { "black" };
        let (mut style, mut hidden) = ("dashed", false);
        let color = if action.is(act::ADDED_TO_GRAPH) {
            style = "bold";
            "green"
        } else if action.rsc.is_some_and(|r| !self[r].is(rf::MANAGED)) {
            font = "purple";
            hidden = true;
            "red"
        } else if action.is(act::OPTIONAL) {
            hidden = true;
            "blue"
        } else {
            "red"
        };
        let name = self.drawn_name(a, numbers);
        (all || !hidden).then(|| format!("\"{name}\" [ style={style} color=\"{color}\" fontcolor=\"{font}\"]\n"))
    }

    fn draw_inputs(&self, a: ActIdx, all: bool, numbers: bool, out: &mut String) {
        let action = &self[a];
        for before in &action.before {
            let (mut style, mut shown) = ("dashed", all);
            if before.graphed {
                (style, shown) = ("bold", true);
            } else if before.flags == rel::NONE {
                continue;
            } else if self[before.action].is(act::ADDED_TO_GRAPH)
                && action.is(act::ADDED_TO_GRAPH)
                && before.flags != rel::IF_ON_SAME_NODE_OR_TARGET
            {
                shown = true;
            }
            if shown {
                let (first, then) = (self.drawn_name(before.action, numbers), self.drawn_name(a, numbers));
                let _ = writeln!(out, "\"{first}\" -> \"{then}\" [ style = {style}]");
            }
        }
    }

    fn drawn_name(&self, a: ActIdx, number: bool) -> String {
        let action = &self[a];
        let host = match action.node {
            Some(node) => Some(&*self[node].name),
            None if !action.is(act::PSEUDO) => Some("<none>"),
            None => None,
        };
        let cancel = &*action.task == "cancel";
        let prefix = if cancel { "Cancel " } else { "" };
        let task = action.cancel_task.as_deref().filter(|_| cancel).unwrap_or(&action.task);
        let history = action.rsc.and_then(|r| self[r].history_id.as_ref());
        let mut name = if let Some(history) = history {
            let meta = |name: &str| action.meta(name).unwrap_or_default();
            let key = match &*action.task {
                "notify" | "notified" => {
                    format!("{history}_{}_notify_{}_0", meta("notify_key_type"), meta("notify_key_operation"))
                }
                _ => op_key(history, task, action.interval_ms()).to_string(),
            };
            format!("{prefix}{key}")
        } else if &*action.task == "stonith" {
            format!("stonith '{}'", action.meta("stonith_action").unwrap_or_default())
        } else if action.rsc.is_none() && host.is_some() {
            format!("{prefix}{}", action.task)
        } else if host.is_some() {
            format!("{prefix}{}", action.key)
        } else {
            action.key.to_string()
        };
        if let Some(host) = host {
            let _ = write!(name, " {host}");
        }
        if number {
            let _ = write!(name, " ({})", action.id);
        }
        name
    }
}
