//! What is going to be done, resource by resource, and why.

use super::outline::Outline;
use crate::model::flags::{act, rsc as rf};
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Variant};
use crate::status::Role;
use xml::Element;

/// One line of the summary.
struct Line {
    change: &'static str,
    rsc: RscIdx,
    from: Option<NodeIdx>,
    to: Option<NodeIdx>,
    action: Option<ActIdx>,
    /// Action whose reason counts instead.
    reason_of: Option<ActIdx>,
}

/// Column widths, which only grow.
struct Widths {
    rsc: usize,
    details: usize,
}

impl Sched {
    /// Writes the transition summary.
    pub(super) fn write_changes(&mut self, out: &mut Outline) {
        out.begin("Transition Summary");
        for a in (0..self.actions.len() as u32).rev().map(ActIdx) {
            self.write_node_change(a, out);
        }
        let mut widths = Widths { rsc: 5, details: 5 };
        for rsc in self.top.clone() {
            self.write_resource_changes(rsc, &mut widths, out);
        }
        out.end();
    }

    fn write_node_change(&self, a: ActIdx, out: &mut Outline) {
        let action = &self[a];
        if action.rsc.is_some() || action.is(act::OPTIONAL) {
            return;
        }
        let task = match &*action.task {
            "do_shutdown" => "Shutdown".to_owned(),
            "stonith" => format!("Fence ({})", action.meta("stonith_action").unwrap_or_default()),
            _ => return,
        };
        let launcher = action.node.filter(|n| self.is_guest(*n)).and_then(|n| self.guest_launcher(n));
        let mut name = action.node.map_or_else(String::new, |n| self[n].name.to_string());
        if let Some(launcher) = launcher {
            name.push_str(&format!(" (resource: {})", self[launcher].id));
        }
        if let Some(reason) = &action.reason {
            out.item(&format!("{task} {name} '{reason}'"));
            let e = Element::new("node_action").with("task", &task).with("node", &name);
            out.element(e.with("reason", &**reason));
        }
    }

    fn write_resource_changes(&mut self, rsc: RscIdx, widths: &mut Widths, out: &mut Outline) {
        if self[rsc].variant == Variant::Bundle {
            for replica in self[rsc].bundle.replicas.clone() {
                for part in [replica.ip, Some(replica.container), replica.remote, replica.child].into_iter().flatten() {
                    self.write_resource_changes(part, widths, out);
                }
            }
            return;
        }
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.write_resource_changes(child, widths, out);
            }
            return;
        }
        let next = self[rsc].assigned.map(|a| a.node);
        let mut current = None;
        if !self[rsc].active_nodes.is_empty() {
            current = self.current_node(rsc);
            if self[rsc].orig_role == Role::Stopped {
                self[rsc].orig_role = Role::Started;
            }
        }
        if current.is_none() && (self[rsc].is(rf::REMOVED) || next.is_none()) || !self[rsc].is(rf::MANAGED) {
            return;
        }
        for line in self.changes_of(rsc, current, next) {
            let text = self.change_text(&line, widths);
            out.item(&text);
            out.element(self.change_element(&line));
        }
    }

    /// The change in the original's form.
    fn change_element(&self, line: &Line) -> Element {
        let r = &self[line.rsc];
        let (orig, next) = (r.orig_role.text(), r.next_role.text());
        let roles = r.orig_role > Role::Started || r.next_role > Role::Unpromoted;
        let name = |n: NodeIdx| self[n].name.to_string();
        let pairs: Vec<(&str, String)> = match (line.from, line.to) {
            (None, to) => {
                let to = to.map_or_else(String::new, name);
                if roles {
                    vec![("role", orig.into()), ("next-role", next.into()), ("dest", to)]
                } else {
                    vec![("node", to)]
                }
            }
            (Some(from), None) if roles => vec![("role", orig.into()), ("node", name(from))],
            (Some(from), None) => vec![("node", name(from))],
            (Some(from), Some(to)) => match (roles, r.orig_role == r.next_role, from == to) {
                (true, true, true) => vec![("role", orig.into()), ("source", name(from))],
                (false, true, true) => vec![("source", name(from))],
                (true, true, false) => vec![("source", name(from)), ("dest", name(to)), ("role", orig.into())],
                (false, true, false) => vec![("source", name(from)), ("dest", name(to))],
                (_, false, true) => vec![("role", orig.into()), ("next-role", next.into()), ("source", name(from))],
                (_, false, false) => {
                    vec![("role", orig.into()), ("source", name(from)), ("next-role", next.into()), ("dest", name(to))]
                }
            },
        };
        let mut e = Element::new("rsc_action").with("action", line.change.to_lowercase()).with("resource", &*r.id);
        pairs.into_iter().for_each(|(n, v)| e.set(n, v));
        if let Some(reason) = line.reason_of.or(line.action).and_then(|a| self[a].reason.as_ref()) {
            e.set("reason", &**reason);
        }
        if self.unrunnable(line.action) {
            e.set("blocked", "true");
        }
        e
    }

    fn first_of(&mut self, rsc: RscIdx, task: &str, node: Option<NodeIdx>) -> Option<ActIdx> {
        self.actions_of(rsc, node, task, false).first().copied()
    }

    fn required(&self, a: Option<ActIdx>) -> bool {
        a.is_some_and(|a| !self[a].is(act::OPTIONAL))
    }

    fn unrunnable(&self, a: Option<ActIdx>) -> bool {
        a.is_some_and(|a| !self[a].is(act::RUNNABLE))
    }

    fn changes_of(&mut self, rsc: RscIdx, current: Option<NodeIdx>, next: Option<NodeIdx>) -> Vec<Line> {
        let moving = current.is_some() && next.is_some() && current != next;
        let start = self.first_of(rsc, "start", next);
        let runnable = start.is_some_and(|s| self[s].is(act::RUNNABLE));
        let mut stop = self.first_of(rsc, "stop", current.filter(|_| runnable));
        if stop.is_none() && self[rsc].is(rf::STOP_UNEXPECTED) {
            stop = self.first_of(rsc, "stop", None);
        }
        let promote = self.first_of(rsc, "promote", next);
        let demote = self.first_of(rsc, "demote", next);
        let line = |change, from, to, action, reason_of| Line { change, rsc, from, to, action, reason_of };
        let (orig, wanted) = (self[rsc].orig_role, self[rsc].next_role);
        if orig == wanted {
            if next.is_none() {
                return Vec::new();
            }
            let migrate = self.first_of(rsc, "migrate_from", next);
            let change = if current.is_some() && migrate.is_some_and(|m| self[m].is(act::RUNNABLE)) {
                line("Migrate", current, next, start, None)
            } else if self[rsc].is(rf::RELOAD) {
                line("Reload", current, next, start, None)
            } else if !self.required(start) {
                if !(self.required(demote) && self.required(promote)) {
                    return Vec::new();
                }
                line("Re-promote", current, next, promote, demote)
            } else if self.unrunnable(start) {
                let reason = stop.filter(|s| self[*s].reason.is_some()).or(start);
                line("Stop", current, None, stop, reason)
            } else if moving {
                line(if self[rsc].is(rf::FAILED) { "Recover" } else { "Move" }, current, next, stop, None)
            } else if self[rsc].is(rf::FAILED) {
                line("Recover", current, None, stop, None)
            } else {
                line("Restart", current, next, start, None)
            };
            return vec![change];
        }
        if stop.is_some() && (wanted == Role::Stopped || self.unrunnable(start)) {
            let mut lines = Vec::new();
            for node in self[rsc].active_nodes.clone() {
                let stop = self.first_of(rsc, "stop", Some(node));
                let reason = stop.filter(|s| self[*s].reason.is_some()).or(start);
                lines.push(line("Stop", Some(node), None, stop, reason));
            }
            return lines;
        }
        let change = if stop.is_some() && self[rsc].is(rf::FAILED) && self[rsc].is(rf::STOP_IF_FAILED) {
            line("Recover", current, next, stop, start)
        } else if moving {
            line("Move", current, next, stop, None)
        } else if self[rsc].is(rf::RELOAD) {
            line("Reload", current, next, start, None)
        } else if self.required(stop) {
            line("Restart", current, next, start, None)
        } else if orig == Role::Promoted {
            line("Demote", current, next, demote, None)
        } else if wanted == Role::Promoted {
            line("Promote", current, next, promote, None)
        } else if orig == Role::Stopped && wanted > Role::Stopped {
            line("Start", current, next, start, None)
        } else {
            return Vec::new();
        };
        vec![change]
    }

    fn change_text(&self, line: &Line, widths: &mut Widths) -> String {
        let r = &self[line.rsc];
        widths.rsc = if r.id.len() > widths.rsc { r.id.len() + 2 } else { widths.rsc };
        let details = self.change_details(line);
        widths.details = widths.details.max(details.len());
        let mut text = format!("{:<8}   {:<2$}   ", line.change, r.id, widths.rsc);
        text.push_str(&format!("( {details:>0$} )", widths.details));
        let reason = line.reason_of.or(line.action).and_then(|a| self[a].reason.as_ref());
        let blocked = self.unrunnable(line.action);
        match reason {
            Some(reason) => text.push_str(&format!("  due to {reason}{}", if blocked { " (blocked)" } else { "" })),
            None if blocked => text.push_str("  blocked"),
            None => {}
        }
        text
    }

    fn change_details(&self, line: &Line) -> String {
        let r = &self[line.rsc];
        let (orig, next) = (r.orig_role.text(), r.next_role.text());
        let roles = r.orig_role > Role::Started || r.next_role > Role::Unpromoted;
        let same_role = r.orig_role == r.next_role;
        let name = |n: NodeIdx| &*self[n].name;
        match (line.from, line.to) {
            (None, to) => {
                let to = to.map_or("unspecified node", name);
                if roles { format!("{orig} -> {next} {to}") } else { to.to_owned() }
            }
            (Some(from), None) if roles => format!("{orig} {}", name(from)),
            (Some(from), None) => name(from).to_owned(),
            (Some(from), Some(to)) => match (roles, same_role, from == to) {
                (true, true, true) => format!("{orig} {}", name(from)),
                (false, true, true) => name(from).to_owned(),
                (true, true, false) => format!("{} -> {} {orig}", name(from), name(to)),
                (false, true, false) => format!("{} -> {}", name(from), name(to)),
                (_, false, true) => format!("{orig} -> {next} {}", name(from)),
                (_, false, false) => format!("{orig} {} -> {next} {}", name(from), name(to)),
            },
        }
    }
}
