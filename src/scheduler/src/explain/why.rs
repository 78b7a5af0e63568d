//! One sentence: why a resource is where it is, or not running.

use super::{NodeScore, Teller};
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::options::NoQuorum;
use crate::model::{ActIdx, NodeIdx, RscIdx, Variant};
use crate::status::Role;

/// Longest chain of actions that is followed to what holds up the first of them.
const MAX_CHAIN: usize = 100;

/// Nodes that are named one by one in a sentence.
const MAX_NODES: usize = 6;

impl Teller<'_> {
    pub(super) fn why(&mut self, rsc: RscIdx, nodes: &[NodeScore]) -> String {
        let id = self.s[rsc].id.to_string();
        match self.s[rsc].variant {
            Variant::Primitive => format!("{id} {}", self.primitive(rsc, nodes)),
            Variant::Group => format!("{id} is a group: its members {}", self.group(rsc)),
            Variant::Clone | Variant::Bundle => format!("{id} {}", self.instances(rsc)),
        }
    }

    fn name(&self, node: NodeIdx) -> String {
        self.s[node].name.to_string()
    }

    fn current(&self, rsc: RscIdx) -> Option<NodeIdx> {
        let list = &self.s[rsc].active_nodes;
        self.s.current_node(rsc).filter(|_| !list.is_empty())
    }

    fn action(&self, rsc: RscIdx, task: &str) -> Option<ActIdx> {
        let wanted = |a: &&ActIdx| *self.s[**a].task == *task && !self.s[**a].is(act::OPTIONAL);
        self.s[rsc].actions.iter().find(wanted).copied()
    }

    fn primitive(&self, rsc: RscIdx, nodes: &[NodeScore]) -> String {
        let r = &self.s[rsc];
        let now = self.current(rsc);
        if !r.is(rf::MANAGED) {
            return self.unmanaged(rsc, now);
        }
        let next = r.assigned.map(|a| a.node).filter(|_| r.next_role != Role::Stopped);
        let Some(next) = next else { return self.stopped(rsc, now, nodes) };
        let any = || r.actions.iter().find(|a| *self.s[**a].task == *"start" && now.is_none()).copied();
        let start = self.action(rsc, "start").or_else(any);
        if let Some(start) = start.filter(|a| !self.s[*a].is(act::RUNNABLE)) {
            let hindrance = self.hindrance(start);
            return match now {
                Some(_) => {
                    format!("must stop: its place is {}, but it cannot start there: {hindrance}", self.name(next))
                }
                None => {
                    format!("is not running: its place is {}, but it cannot start there: {hindrance}", self.name(next))
                }
            };
        }
        let verdict = nodes.iter().find(|n| n.chosen).map_or("", |n| n.verdict.as_str());
        let because = verdict.strip_prefix("chosen: ").unwrap_or(verdict);
        let promoted = self.promoted(rsc);
        match now {
            Some(now) if now != next => {
                let reason = self.leaving(now, nodes);
                format!("moves from {} to {}: {reason}{promoted}", self.name(now), self.name(next))
            }
            Some(_) if start.is_some() => {
                let reason = self.reason(rsc, &["stop", "start"]).unwrap_or_else(|| "it has failed".to_owned());
                format!("stays on {} but is restarted: {reason}{promoted}", self.name(next))
            }
            Some(_) => format!("runs on {} and stays there: {because}{promoted}", self.name(next)),
            None => format!("is to be started on {}: {because}{promoted}", self.name(next)),
        }
    }

    fn unmanaged(&self, rsc: RscIdx, now: Option<NodeIdx>) -> String {
        let r = &self.s[rsc];
        let cause = if r.is(rf::BLOCKED) {
            "is blocked after a failure that needs a person (for example a failed stop without fencing)"
        } else if self.s.options.maintenance {
            "is left alone: the cluster is in maintenance mode"
        } else if r.is(rf::MAINTENANCE) {
            "is left alone: it or its node is in maintenance"
        } else if self.s.options.fencing_enabled
            && !self.s.have_fencing
            && r.meta("is-managed").is_none_or(base::text::is_true)
        {
            "is left alone: fencing is enabled, but there is no fence device (see crm_verify)"
        } else {
            "is left alone: is-managed is false"
        };
        match now {
            Some(node) => format!("runs on {} and {cause}", self.name(node)),
            None => format!("is not running and {cause}"),
        }
    }

    /// Why the resource leaves its node.
    fn leaving(&self, now: NodeIdx, nodes: &[NodeScore]) -> String {
        let here = nodes.iter().find(|n| *n.node == *self.s[now].name);
        let verdict = here.map_or("", |n| n.verdict.as_str());
        let there = nodes.iter().find(|n| n.chosen);
        let name = self.name(now);
        if let Some(state) = self.unavailable(now) {
            return format!("{name} {state}");
        }
        if let Some(banned) = verdict.strip_prefix("ruled out: ") {
            return format!("{name} is ruled out ({banned})");
        }
        let text = |n: Option<&NodeScore>| n.and_then(|n| n.score).map_or("-".to_owned(), crate::model::score_text);
        match there {
            Some(n) if here.is_some_and(|h| h.score == n.score) => {
                format!("the scores are the same ({}), and {} is preferred{}", text(there), n.node, tie(verdict))
            }
            Some(n) if here.is_some() => {
                format!("{} has the better score ({} against {})", n.node, text(there), text(here))
            }
            _ => verdict.to_owned(),
        }
    }

    fn promoted(&self, rsc: RscIdx) -> String {
        let r = &self.s[rsc];
        let score = crate::model::score_text(r.promotion_priority);
        match (r.orig_role, r.next_role) {
            (Role::Promoted, Role::Promoted) => format!("; it stays promoted (promotion score {score})"),
            (_, Role::Promoted) => format!("; it is to be promoted (promotion score {score})"),
            (Role::Promoted, _) => "; it is to be demoted".to_owned(),
            _ => String::new(),
        }
    }

    /// Reason of the first of these actions that has one.
    fn reason(&self, rsc: RscIdx, tasks: &[&str]) -> Option<String> {
        tasks.iter().find_map(|t| Some(self.s[self.action(rsc, t)?].reason.as_ref()?.to_string()))
    }

    fn stopped(&self, rsc: RscIdx, now: Option<NodeIdx>, nodes: &[NodeScore]) -> String {
        let state = match now {
            Some(node) => format!("must stop on {}", self.name(node)),
            None => "is not running".to_owned(),
        };
        format!("{state}: {}", self.stop_cause(rsc, nodes))
    }

    fn stop_cause(&self, rsc: RscIdx, nodes: &[NodeScore]) -> String {
        let r = &self.s[rsc];
        if r.is(rf::REMOVED) {
            return "it is no longer configured".to_owned();
        }
        if self.s.options.stop_all {
            return "stop-all-resources is set".to_owned();
        }
        if r.meta("target-role").map(Role::parse) == Some(Role::Stopped) {
            return "target-role is Stopped".to_owned();
        }
        if !self.s.quorate && self.s.options.no_quorum == NoQuorum::Stop && r.assigned.is_none() {
            return "the cluster has no quorum".to_owned();
        }
        if nodes.is_empty() {
            return "no node is considered for it".to_owned();
        }
        let mut parts: Vec<String> =
            nodes.iter().take(MAX_NODES).map(|n| format!("{}: {}", n.node, short(&n.verdict))).collect();
        if nodes.len() > MAX_NODES {
            parts.push(format!("and {} more nodes", nodes.len() - MAX_NODES));
        }
        format!("no node can take it ({})", parts.join("; "))
    }

    /// What keeps an action from being possible.
    fn hindrance(&self, action: ActIdx) -> String {
        let mut at = action;
        let mut seen = vec![at];
        for _ in 0..MAX_CHAIN {
            let blocks = |b: &&crate::model::Before| {
                let a = &self.s[b.action];
                b.flags & (rel::UNRUNNABLE_FIRST_BLOCKS | rel::MIN_RUNNABLE) != 0
                    && !a.is(act::RUNNABLE)
                    && !a.is(act::OPTIONAL)
            };
            let Some(next) = self.s[at].before.iter().find(blocks).filter(|b| !seen.contains(&b.action)) else { break };
            at = next.action;
            seen.push(at);
        }
        let cause = &self.s[at];
        if !self.s.quorate && self.s[action].reason.as_deref() == Some("no quorum") {
            return "the cluster has no quorum".to_owned();
        }
        let own = || self.s[action].reason.as_ref().map(|r| r.to_string());
        if at == action {
            return own().unwrap_or_else(|| self.place_hindrance(action));
        }
        let where_ = cause.node.map(|n| format!(" on {}", self.name(n))).unwrap_or_default();
        let what = match cause.rsc {
            Some(rsc) => format!("the {} of {}{where_} comes first and is not possible", cause.task, self.s[rsc].id),
            None => format!("{}{where_} comes first and is not possible", cause.task),
        };
        match &cause.reason {
            Some(reason) => format!("{what} ({reason})"),
            None => what,
        }
    }

    fn place_hindrance(&self, action: ActIdx) -> String {
        match self.s[action].node.and_then(|n| Some((n, self.unavailable(n)?))) {
            Some((node, state)) => format!("{} {state}", self.name(node)),
            None => "something that must come before it is not possible".to_owned(),
        }
    }

    fn group(&self, rsc: RscIdx) -> String {
        let mut nodes = Vec::new();
        self.s.locations_of(rsc, false, &mut nodes);
        let members = self.s[rsc].children.len();
        let placed = self.s[rsc].children.iter().filter(|c| self.s[**c].assigned.is_some()).count();
        match nodes[..] {
            [] => "have no place; see the first of them".to_owned(),
            [one] if placed == members => format!("go together on {}, where the first of them goes", self.name(one)),
            [one] => format!("go together on {}; only the first {placed} of {members} can run", self.name(one)),
            _ => "are not kept together".to_owned(),
        }
    }

    fn instances(&self, rsc: RscIdx) -> String {
        let list = self.s.instance_list(rsc);
        let mut per_node = Vec::new();
        for instance in &list {
            self.s.locations_of(*instance, false, &mut per_node);
        }
        let (max, per) = match self.s[rsc].variant {
            Variant::Bundle => (self.s[rsc].bundle.max, self.s[rsc].bundle.per_host),
            _ => (self.s[rsc].clone.clone_max, self.s[rsc].clone.clone_node_max),
        };
        let word = if self.s[rsc].variant == Variant::Bundle { "containers" } else { "instances" };
        per_node.sort_by_key(|n| self.s[*n].name.clone());
        per_node.dedup();
        let placed = list
            .iter()
            .filter(|i| {
                let mut n = Vec::new();
                self.s.locations_of(**i, false, &mut n);
                !n.is_empty()
            })
            .count();
        let names: Vec<String> = per_node.iter().map(|n| self.name(*n)).collect();
        let promoted = list.iter().filter(|i| self.s.role_of(**i, false) == Role::Promoted).count();
        let mut text = format!("has a place for {placed} of at most {max} {word} (at most {per} per node)");
        if !names.is_empty() {
            text.push_str(&format!(": on {}", names.join(", ")));
        }
        if self.s[rsc].is(rf::PROMOTABLE) {
            text.push_str(&format!("; {promoted} of at most {} promoted", self.s[rsc].clone.promoted_max));
        }
        text
    }
}

/// The reason that a verdict gives for a choice among equals.
fn tie(verdict: &str) -> String {
    verdict.split_once("same score, but ").map(|(_, why)| format!(": {why}")).unwrap_or_default()
}

/// A verdict as part of a sentence.
fn short(verdict: &str) -> &str {
    let cut = ["ruled out: ", "not possible: the node ", "not considered: "];
    cut.iter().find_map(|c| verdict.strip_prefix(c)).unwrap_or(verdict)
}
