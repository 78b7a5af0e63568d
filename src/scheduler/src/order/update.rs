//! What one action's state means for those that are ordered with it. Changes spread along the orderings until nothing
//! changes any more.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Variant, op_key, parse_op_key};
use crate::status::Role;

const THEN_CHANGED: u8 = 1;
const FIRST_CHANGED: u8 = 2;

/// Deepest chain of changes that is followed at once; what is deeper is left to a later pass.
const MAX_DEPTH: usize = 3_000;

/// A relation that is being worked on, and the flags that matter.
#[derive(Clone, Copy)]
struct Update {
    first: ActIdx,
    then: ActIdx,
    node: Option<NodeIdx>,
    /// Flags of the first action, as its resource sums them up.
    flags: u32,
    filter: u32,
    kind: u32,
}

/// The task that completes (or is) another one for a collective resource.
fn completed(task: &str) -> Option<&'static str> {
    Some(match task {
        "stop" | "stopped" => "stopped",
        "start" | "running" => "running",
        "notify" | "notified" => "notified",
        "promote" | "promoted" => "promoted",
        "demote" | "demoted" => "demoted",
        _ => return None,
    })
}

impl Sched {
    /// For a collective, its completion counts, not its beginning.
    fn action_for_ordering(&self, a: ActIdx) -> ActIdx {
        let Some(rsc) = self[a].rsc.filter(|r| self[*r].variant >= Variant::Group) else { return a };
        let key = &self[a].key;
        if key.contains("notify") {
            return self.find_first(rsc, Some(key), None, None).unwrap_or(a);
        }
        let mut wanted = key.clone();
        if let Some((id, task, 0)) = parse_op_key(key)
            && let Some(remapped) = completed(task)
        {
            let notifies = self[rsc].is(rf::NOTIFY) && (self[rsc].is_clone() || self.is_bundled(rsc));
            wanted = if notifies {
                format!("{id}_confirmed-post_notify_{remapped}_0").into()
            } else {
                op_key(id, remapped, 0)
            };
        }
        self.find_first(rsc, Some(&wanted), None, None).unwrap_or(a)
    }

    /// Applies one relation to the resource that `of` belongs to.
    fn update_ordered(&mut self, of: RscIdx, u: Update) -> u8 {
        match self[of].variant {
            Variant::Primitive => self.update_ordered_actions(u),
            Variant::Group => {
                let mut changed = self.update_ordered_actions(u);
                let members = self[u.then].rsc.map(|r| self[r].children.clone()).unwrap_or_default();
                for member in members {
                    let task = self[u.then].task.clone();
                    if let Some(then) = self.find_first(member, None, Some(&task), u.node) {
                        changed |= self.update_ordered(member, Update { then, ..u });
                    }
                }
                changed
            }
            Variant::Clone | Variant::Bundle => self.update_ordered_instances(u),
        }
    }

    fn update_ordered_instances(&mut self, u: Update) -> u8 {
        let Some(then_rsc) = self[u.then].rsc else { return 0 };
        if self.can_interleave_actions(u.first, u.then) {
            return self.update_interleaved(u, then_rsc);
        }
        let mut changed = self.update_ordered_actions(u);
        for instance in self.instance_list(then_rsc) {
            changed |= self.update_noninterleaved(instance, u);
        }
        changed
    }

    fn can_interleave_actions(&self, first: ActIdx, then: ActIdx) -> bool {
        let (Some(a), Some(b)) = (self[first].rsc, self[then].rsc) else { return false };
        if a == b || self[a].variant < Variant::Clone || self[b].variant < Variant::Clone {
            return false;
        }
        let key = &self[then].key;
        let decides = if key.ends_with("_stop_0") || key.ends_with("_demote_0") { a } else { b };
        self[decides].meta_true("interleave")
    }

    fn update_interleaved(&mut self, u: Update, then_rsc: RscIdx) -> u8 {
        let Some(first_rsc) = self[u.first].rsc else { return 0 };
        let mut changed = 0;
        let first_task = self.original_task(u.first);
        let key = &self[u.first].key;
        let current = key.ends_with("_stopped_0") || key.ends_with("_demoted_0");
        for then_instance in self.instance_list(then_rsc) {
            let Some(first_instance) = self.compatible_instance(then_instance, first_rsc, Role::Unknown, current, None)
            else {
                let mandatory = !current && u.kind & (rel::UNRUNNABLE_FIRST_BLOCKS | rel::FIRST_IMPLIES_THEN) != 0;
                if mandatory && self.assign_resource(then_instance, None, true, true) {
                    changed |= THEN_CHANGED;
                }
                continue;
            };
            let then_task = self[u.then].task.clone();
            let Some(first) = self.instance_action(u.first, first_instance, &first_task, u.node, true) else {
                continue;
            };
            let Some(then) = self.instance_action(u.then, then_instance, &then_task, u.node, false) else { continue };
            if self.order_actions(first, then, u.kind) {
                changed |= FIRST_CHANGED | THEN_CHANGED;
            }
            let flags = self.action_flags(first, u.node);
            changed |= self.update_ordered(then_instance, Update { first, then, flags, ..u });
        }
        changed
    }

    fn instance_action(
        &self,
        action: ActIdx,
        instance: RscIdx,
        task: &str,
        node: Option<NodeIdx>,
        for_first: bool,
    ) -> Option<ActIdx> {
        let a = &*self[action].task;
        let inside = (for_first && !matches!(a, "stop" | "stopped"))
            || (!for_first && matches!(a, "promote" | "promoted" | "demote" | "demoted"));
        match self.in_container(instance).filter(|_| inside) {
            Some(rsc) => self.find_first(rsc, None, Some(task), None),
            None => self.find_first(instance, None, Some(task), node),
        }
    }

    fn update_noninterleaved(&mut self, instance: RscIdx, u: Update) -> u8 {
        let task = self[u.then].task.clone();
        let Some(then) = self.find_first(instance, None, Some(&task), u.node) else { return 0 };
        if self.action_flags(then, u.node) & act::RUNNABLE == 0 {
            return 0;
        }
        let changed = self.update_ordered(instance, Update { then, ..u });
        if changed & THEN_CHANGED != 0 {
            self.update_followers(then);
        }
        changed
    }

    fn update_followers(&mut self, a: ActIdx) {
        for i in (0..self[a].after.len()).rev() {
            let next = self[a].after[i].action;
            self.update_for_orderings(next);
        }
    }

    /// Clears a flag and says whose fault that is.
    fn clear_because(&mut self, a: ActIdx, flag: u32, reason: ActIdx) {
        if !self[a].is(flag) {
            return;
        }
        self[a].flags &= !flag;
        if self[a].rsc != self[reason].rsc {
            let text = self.reason_text(reason, flag);
            self.set_reason(a, &text, false);
        }
    }

    fn update_asymmetric(&mut self, first: ActIdx, then: ActIdx) {
        let Some(rsc) = self[then].rsc.filter(|_| !self[first].is(act::RUNNABLE)) else { return };
        if self[then].is(act::OPTIONAL) {
            let role = self.role_of(rsc, true);
            let task = &*self[then].task;
            let only_here = matches!(self[rsc].active_nodes[..], [n] if self[then].node == Some(n));
            if (role == Role::Stopped && task == "stop") || (role >= Role::Started && task == "start" && only_here) {
                return;
            }
        }
        self.clear_because(then, act::OPTIONAL, first);
        self.clear_because(then, act::RUNNABLE, first);
    }

    fn update_restart(&mut self, first: ActIdx, then: ActIdx, filter: u32) {
        let restart = filter & act::OPTIONAL != 0 && !self[then].is(act::OPTIONAL);
        let managed = self[then].rsc.is_some_and(|r| self[r].is(rf::MANAGED));
        let stop = filter & act::RUNNABLE != 0
            && !self[then].is(act::RUNNABLE)
            && managed
            && self[first].rsc == self[then].rsc;
        if !restart && !stop {
            return;
        }
        if self[first].is(act::RUNNABLE) {
            self.clear_because(first, act::OPTIONAL, then);
        }
        if !self[then].is(act::OPTIONAL) {
            self.clear_because(first, act::OPTIONAL, then);
        }
        if !self[then].is(act::MIGRATABLE) {
            self.clear_because(first, act::MIGRATABLE, then);
        }
        if !self[first].is(act::OPTIONAL) && !self[first].is(act::RUNNABLE) {
            self.clear_because(then, act::RUNNABLE, first);
        }
    }

    fn update_ordered_actions(&mut self, u: Update) -> u8 {
        let Update { first, then, flags, filter, kind, .. } = u;
        let (then_before, first_before) = (self[then].flags, self[first].flags);
        let has = |bit: u32| kind & bit != 0;
        let about_optional = filter & act::OPTIONAL != 0;
        if has(rel::ASYMMETRIC) {
            self.update_asymmetric(first, then);
        }
        if has(rel::THEN_IMPLIES_FIRST) && then_before & act::OPTIONAL == 0 {
            if about_optional && flags & act::OPTIONAL == 0 && first_before & act::OPTIONAL != 0 {
                self.clear_because(first, act::OPTIONAL, then);
            }
            if flags & act::MIGRATABLE != 0 && !self[then].is(act::MIGRATABLE) {
                self.clear_because(first, act::MIGRATABLE, then);
            }
        }
        let promoted = self[then].rsc.is_some_and(|r| self[r].orig_role == Role::Promoted);
        if has(rel::PROMOTED_THEN_IMPLIES_FIRST) && promoted && about_optional && !self[then].is(act::OPTIONAL) {
            self.clear_because(first, act::OPTIONAL, then);
            if self[first].is(act::MIGRATABLE) && !self[then].is(act::MIGRATABLE) {
                self.clear_because(first, act::MIGRATABLE, then);
            }
        }
        if has(rel::UNMIGRATABLE_THEN_BLOCKS) && about_optional {
            if !(self[then].is(act::MIGRATABLE) && self[then].is(act::RUNNABLE)) {
                self.clear_because(first, act::RUNNABLE, then);
            }
            if !self[then].is(act::OPTIONAL) {
                self.clear_because(first, act::OPTIONAL, then);
            }
        }
        if has(rel::FIRST_ELSE_THEN) && about_optional && !self[first].is(act::RUNNABLE) {
            self.clear_because(then, act::MIGRATABLE, first);
            self[then].flags &= !act::PSEUDO;
        }
        let blocks = has(rel::UNRUNNABLE_FIRST_BLOCKS) && filter & act::RUNNABLE != 0;
        if blocks && self[then].is(act::RUNNABLE) && flags & act::RUNNABLE == 0 {
            self.clear_because(then, act::RUNNABLE, first);
            self.clear_because(then, act::MIGRATABLE, first);
        }
        let implies = has(rel::FIRST_IMPLIES_THEN) && about_optional && flags & act::OPTIONAL == 0;
        if implies && self[then].is(act::OPTIONAL) && !self[first].is(act::MIGRATABLE) {
            self.clear_because(then, act::OPTIONAL, first);
        }
        if has(rel::INTERMEDIATE_STOP) {
            self.update_restart(first, then, filter);
        }
        let mut changed = 0;
        if then_before != self[then].flags {
            changed |= THEN_CHANGED;
            if self[then].rsc.is_some_and(|r| self[r].parent.is_some()) {
                self.update_for_orderings(then);
            }
        }
        if first_before != self[first].flags {
            changed |= FIRST_CHANGED;
        }
        changed
    }

    fn update_one(&mut self, first: ActIdx, then: ActIdx, first_flags: u32, then_flags: u32, input: usize) -> u8 {
        let mut node = self[then].node;
        let mut order = self[then].before[input].flags;
        if order & rel::FIRST_IMPLIES_SAME_NODE_THEN != 0 {
            order = (order & !rel::FIRST_IMPLIES_SAME_NODE_THEN) | rel::FIRST_IMPLIES_THEN;
            self[then].before[input].flags = order;
            node = self[first].node;
        }
        let has = |bit: u32| order & bit != 0;
        let (first_rsc, then_rsc) = (self[first].rsc, self[then].rsc);
        let u = Update { first, then, node, flags: first_flags, filter: act::OPTIONAL, kind: 0 };
        let mut changed = 0;
        if has(rel::FIRST_IMPLIES_THEN) {
            if let Some(rsc) = then_rsc {
                changed |= self.update_ordered(
                    rsc,
                    Update { flags: first_flags & act::OPTIONAL, kind: rel::FIRST_IMPLIES_THEN, ..u },
                );
            } else if first_flags & act::OPTIONAL == 0 && self[then].is(act::OPTIONAL) {
                self[then].flags &= !act::OPTIONAL;
                changed |= THEN_CHANGED;
            }
        }
        if let Some(rsc) = then_rsc.filter(|_| has(rel::INTERMEDIATE_STOP)) {
            changed |= self.update_ordered(
                rsc,
                Update { filter: act::OPTIONAL | act::RUNNABLE, kind: rel::INTERMEDIATE_STOP, ..u },
            );
        }
        if has(rel::THEN_IMPLIES_FIRST) {
            if let Some(rsc) = first_rsc {
                changed |= self.update_ordered(rsc, Update { kind: rel::THEN_IMPLIES_FIRST, ..u });
            } else if first_flags & act::OPTIONAL == 0 && self[first].is(act::RUNNABLE) {
                self[first].flags &= !act::RUNNABLE;
                changed |= FIRST_CHANGED;
            }
        }
        if let Some(rsc) = then_rsc.filter(|_| has(rel::PROMOTED_THEN_IMPLIES_FIRST)) {
            changed |= self.update_ordered(
                rsc,
                Update { flags: first_flags & act::OPTIONAL, kind: rel::PROMOTED_THEN_IMPLIES_FIRST, ..u },
            );
        }
        changed |= self.update_runnable_relations(u, input, order);
        if let Some(rsc) = then_rsc {
            for (bit, filter) in [
                (rel::UNMIGRATABLE_THEN_BLOCKS, act::OPTIONAL),
                (rel::FIRST_ELSE_THEN, act::OPTIONAL),
                (rel::ORDERED, act::RUNNABLE),
                (rel::ASYMMETRIC, act::RUNNABLE),
            ] {
                if has(bit) {
                    changed |= self.update_ordered(rsc, Update { filter, kind: bit, ..u });
                }
            }
        }
        if self[first].is(act::RUNNABLE) && has(rel::FIRST_IMPLIES_THEN_GRAPHED) && first_flags & act::OPTIONAL == 0 {
            self[then].flags |= act::ALWAYS_IN_GRAPH;
        }
        if has(rel::THEN_IMPLIES_FIRST_GRAPHED) && then_flags & act::OPTIONAL == 0 {
            self[first].flags |= act::ALWAYS_IN_GRAPH;
        }
        let blocked_stop = first_rsc.is_some_and(|r| !self[r].is(rf::MANAGED) && self[r].is(rf::BLOCKED))
            && !self[first].is(act::RUNNABLE)
            && &*self[first].task == "stop";
        if has(rel::FIRST_IMPLIES_THEN | rel::THEN_IMPLIES_FIRST | rel::INTERMEDIATE_STOP)
            && blocked_stop
            && self[then].is(act::RUNNABLE)
        {
            self[then].flags &= !act::RUNNABLE;
            changed |= THEN_CHANGED;
        }
        changed
    }

    /// The part of [`Sched::update_one`] that is about whether `then` can run.
    fn update_runnable_relations(&mut self, u: Update, input: usize, order: u32) -> u8 {
        let Update { first, then, flags: first_flags, .. } = u;
        let has = |bit: u32| order & bit != 0;
        let u = Update { filter: act::RUNNABLE, ..u };
        let then_rsc = self[then].rsc;
        let mut changed = 0;
        if has(rel::MIN_RUNNABLE) {
            if let Some(rsc) = then_rsc {
                changed |= self.update_ordered(rsc, Update { kind: rel::MIN_RUNNABLE, ..u });
            } else if first_flags & act::RUNNABLE != 0 {
                self[then].runnable_before += 1;
                if self[then].runnable_before >= self[then].required_runnable_before && !self[then].is(act::RUNNABLE) {
                    self[then].flags |= act::RUNNABLE;
                    changed |= THEN_CHANGED;
                }
            }
        }
        if let Some(rsc) = then_rsc.filter(|_| has(rel::NESTED_REMOTE_PROBE)) {
            let active = self[first].rsc.is_some_and(|r| !self[r].active_nodes.is_empty());
            if first_flags & act::RUNNABLE == 0 && active {
                self[then].before[input].flags = rel::NONE;
            } else {
                changed |= self.update_ordered(rsc, Update { kind: rel::UNRUNNABLE_FIRST_BLOCKS, ..u });
            }
        }
        if has(rel::UNRUNNABLE_FIRST_BLOCKS) {
            if let Some(rsc) = then_rsc {
                changed |= self.update_ordered(rsc, Update { kind: rel::UNRUNNABLE_FIRST_BLOCKS, ..u });
            } else if first_flags & act::RUNNABLE == 0 && self[then].is(act::RUNNABLE) {
                self[then].flags &= !act::RUNNABLE;
                changed |= THEN_CHANGED;
            }
        }
        changed
    }

    /// Where a group's start happens.
    fn ordering_node(&self, a: ActIdx) -> Option<NodeIdx> {
        match self[a].rsc.filter(|r| self[*r].variant == Variant::Group && &*self[a].task == "start") {
            Some(group) => self.location_of(group, false),
            None => self[a].node,
        }
    }

    /// Works through everything that is ordered before an action, and on to what that changes.
    pub fn update_for_orderings(&mut self, then: ActIdx) {
        if self.update_depth >= MAX_DEPTH {
            return;
        }
        self.update_depth += 1;
        self.update_for_orderings_at(then);
        self.update_depth -= 1;
    }

    fn update_for_orderings_at(&mut self, then: ActIdx) {
        let mut changed = 0;
        let last_flags = self[then].flags;
        if self[then].required_runnable_before > 0 {
            self[then].runnable_before = 0;
            self[then].flags &= !act::RUNNABLE;
        }
        for i in (0..self[then].before.len()).rev() {
            changed &= !FIRST_CHANGED;
            changed |= self.update_input(then, i);
        }
        if self[then].required_runnable_before > 0 {
            changed = if last_flags == self[then].flags { changed & !THEN_CHANGED } else { changed | THEN_CHANGED };
        }
        if changed & THEN_CHANGED != 0 {
            if last_flags & act::RUNNABLE != 0 && !self[then].is(act::RUNNABLE) {
                self.block_colocation_dependents(then);
            }
            self.update_for_orderings(then);
            self.update_followers(then);
        }
    }

    fn update_input(&mut self, then: ActIdx, i: usize) -> u8 {
        let before = self[then].before[i];
        let mut first = before.action;
        let (first_node, then_node) = (self.ordering_node(first), self.ordering_node(then));
        if before.flags & rel::IF_ON_SAME_NODE != 0
            && first_node.is_some()
            && then_node.is_some()
            && first_node != then_node
        {
            self[then].before[i].flags = rel::NONE;
            return 0;
        }
        if let Some(rsc) =
            self[first].rsc.filter(|_| before.flags & rel::THEN_CANCELS_FIRST != 0 && !self[then].is(act::OPTIONAL))
        {
            self[first].flags |= act::OPTIONAL;
            if &*self[first].task == "reload-agent" {
                self.clear(rsc, rf::RELOAD);
            }
        }
        if let (Some(a), Some(b)) = (self[first].rsc, self[then].rsc)
            && a != b
            && !self.is_parent(b, a)
        {
            first = self.action_for_ordering(first);
        }
        let mut changed = 0;
        if first == before.action {
            let first_flags = self.flags_for_ordering(first, then_node);
            let then_flags = self.flags_for_ordering(then, first_node);
            changed |= self.update_one(first, then, first_flags, then_flags, i);
        } else if self.order_actions(first, then, before.flags) {
            changed |= THEN_CHANGED;
            self[then].before[i].flags = rel::NONE;
        }
        if changed & FIRST_CHANGED != 0 {
            self.update_followers(first);
            self.update_for_orderings(first);
        }
        changed
    }

    fn mark_blocked(&mut self, rsc: RscIdx, task: &str, reason: RscIdx) {
        let text = format!("colocation with {}", self[reason].id);
        for a in self[rsc].actions.clone().into_iter().rev() {
            if self[a].is(act::RUNNABLE) && &*self[a].task == task {
                self[a].flags &= !act::RUNNABLE;
                self.set_reason(a, &text, false);
                self.block_colocation_dependents(a);
                self.update_for_orderings(a);
            }
        }
        for child in self[rsc].children.clone() {
            self.mark_blocked(child, task, reason);
        }
    }

    /// What cannot come up keeps what must go with it from coming up.
    pub fn block_colocation_dependents(&mut self, a: ActIdx) {
        let Some(own) = self[a].rsc.filter(|_| !self[a].is(act::RUNNABLE)) else { return };
        let task = self[a].task.clone();
        let is_start = &*task == "start";
        if (!is_start && &*task != "promote") || self.update_depth >= MAX_DEPTH {
            return;
        }
        let top = self.uber_parent(own);
        let rsc = self[top].parent.unwrap_or(top);
        for child in self[rsc].children.clone() {
            match self.find_first(child, None, Some(&task), None) {
                Some(action) if !self[action].is(act::RUNNABLE) => {}
                _ => return,
            }
        }
        self.update_depth += 1;
        for c in self.with_this_list(rsc) {
            let coloc = &self[c];
            if coloc.score < crate::model::INFINITY || (!is_start && coloc.primary_role != Role::Promoted) {
                continue;
            }
            let task = if coloc.dependent_role == Role::Promoted { "promote" } else { "start" };
            let dependent = coloc.dependent;
            self.mark_blocked(dependent, task, own);
        }
        self.update_depth -= 1;
    }
}
