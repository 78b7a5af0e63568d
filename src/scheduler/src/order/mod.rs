//! Orderings between actions: collected as rules about resources and tasks, then applied to the actions that came to be.

mod flags;
mod probes;
mod update;

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, Action, NodeIdx, Ordering, RscIdx, Sched, Side, Str, op_key, parse_op_key};
use crate::status::Role;

impl Sched {
    /// Orders one resource's action before another's, whichever actions there will be.
    pub fn order_tasks(&mut self, first: RscIdx, first_task: &str, then: RscIdx, then_task: &str, flags: u32) {
        let first = Side { rsc: Some(first), key: Some(self.key(first, first_task, 0)), action: None };
        let then = Side { rsc: Some(then), key: Some(self.key(then, then_task, 0)), action: None };
        self.new_ordering(first, then, flags);
    }

    /// Orders a resource's action before a certain action.
    pub fn order_task_then(&mut self, first: RscIdx, first_task: &str, then: ActIdx, flags: u32) {
        let first = Side { rsc: Some(first), key: Some(self.key(first, first_task, 0)), action: None };
        self.new_ordering(first, Side::of(then), flags);
    }

    /// Orders a certain action before a resource's action.
    pub fn order_then_task(&mut self, first: ActIdx, then: RscIdx, then_task: &str, flags: u32) {
        let then = Side { rsc: Some(then), key: Some(self.key(then, then_task, 0)), action: None };
        self.new_ordering(Side::of(first), then, flags);
    }

    pub fn new_ordering(&mut self, mut first: Side, mut then: Side, flags: u32) {
        for side in [&mut first, &mut then] {
            if let Some(a) = side.action {
                side.rsc = side.rsc.or(self[a].rsc);
                side.key = side.key.take().or_else(|| Some(self[a].key.clone()));
            }
        }
        self.orderings.push(Ordering { first, then, flags });
        self.order_migration_equivalents(self.orderings.len() - 1);
    }

    fn task_of(&self, side: &Side) -> Str {
        match (side.action, &side.key) {
            (Some(a), _) => self[a].task.clone(),
            (None, Some(key)) => parse_op_key(key).map_or_else(|| "".into(), |k| k.1.into()),
            (None, None) => "".into(),
        }
    }

    /// What is ordered before a start is ordered before a migration as well, and so on.
    fn order_migration_equivalents(&mut self, at: usize) {
        let o = &self.orderings[at];
        let (Some(rsc1), Some(rsc2)) = (o.first.rsc, o.then.rsc) else { return };
        if rsc1 == rsc2 || self.is_parent(rsc1, rsc2) || self.is_parent(rsc2, rsc1) {
            return;
        }
        let (first_migrates, then_migrates) = (self[rsc1].is(rf::MIGRATABLE), self[rsc2].is(rf::MIGRATABLE));
        if !first_migrates && !then_migrates {
            return;
        }
        let (first, then) = (self.task_of(&o.first), self.task_of(&o.then));
        let partial = self[rsc2].partial_migration_target.is_some();
        let unmigratable = if first_migrates { rel::IF_FIRST_UNMIGRATABLE } else { 0 };
        match (&*first, &*then) {
            ("start", "start") => {
                if first_migrates && then_migrates {
                    self.order_tasks(rsc1, "migrate_from", rsc2, "migrate_to", rel::ORDERED);
                }
                if then_migrates {
                    self.order_tasks(rsc1, "start", rsc2, "migrate_to", rel::ORDERED | unmigratable);
                }
            }
            ("stop", "stop") if then_migrates => {
                self.order_tasks(rsc1, "stop", rsc2, "migrate_to", rel::ORDERED | unmigratable);
                if partial {
                    self.order_tasks(rsc1, "stop", rsc2, "migrate_from", rel::ORDERED | unmigratable);
                }
            }
            ("promote", "start") if then_migrates => {
                self.order_tasks(rsc1, "promote", rsc2, "migrate_to", rel::ORDERED)
            }
            ("demote", "stop") if then_migrates => {
                self.order_tasks(rsc1, "demote", rsc2, "migrate_to", rel::ORDERED);
                if partial {
                    self.order_tasks(rsc1, "demote", rsc2, "migrate_from", rel::ORDERED);
                }
            }
            _ => {}
        }
    }

    /// Turns all orderings into relations between actions, and these into what is optional or can run.
    pub fn apply_orderings(&mut self) {
        for at in 0..self.orderings.len() {
            let o = self.orderings[at].clone();
            if let Some(rsc) = o.first.rsc {
                self.apply_from_resource(rsc, &o);
            } else if let Some(rsc) = o.then.rsc {
                self.apply_to_resource(o.first.action, rsc, &o);
            } else if let (Some(first), Some(then)) = (o.first.action, o.then.action) {
                self.order_actions(first, then, o.flags);
            }
        }
        for a in (0..self.actions.len() as u32).rev() {
            self.block_colocation_dependents(ActIdx(a));
        }
        self.order_probes();
        // All that they ask for is in the actions now.
        self.orderings = Vec::new();
        for a in (0..self.actions.len() as u32).rev() {
            self.update_for_orderings(ActIdx(a));
        }
        self.disable_invalid_orderings();
    }

    fn actions_by_task(&mut self, rsc: RscIdx, key: &str) -> Vec<ActIdx> {
        let found = self.find_actions(rsc, key, None);
        if !found.is_empty() {
            return found;
        }
        let Some((_, task, interval)) = parse_op_key(key) else { return found };
        let own = op_key(&self[rsc].id, task, interval);
        self.find_actions(rsc, &own, None)
    }

    fn apply_to_resource(&mut self, first: Option<ActIdx>, rsc: RscIdx, o: &Ordering) {
        let thens = match (o.then.action, &o.then.key) {
            (Some(a), _) => vec![a],
            (None, Some(key)) => self.actions_by_task(rsc, key),
            (None, None) => return,
        };
        let mut flags = o.flags;
        if first.is_some_and(|f| self[f].rsc == Some(rsc) && self[f].is(act::MIGRATION_ABORT)) {
            flags &= !rel::FIRST_IMPLIES_THEN;
        }
        if first.is_none() && flags & rel::FIRST_IMPLIES_THEN == 0 {
            return;
        }
        for then in thens {
            match first {
                Some(first) => {
                    self.order_actions(first, then, flags);
                }
                None => self[then].flags &= !act::RUNNABLE,
            }
        }
    }

    fn apply_from_resource(&mut self, rsc: RscIdx, o: &Ordering) {
        let mut firsts = match (o.first.action, &o.first.key) {
            (Some(a), _) => vec![a],
            (None, Some(key)) => self.actions_by_task(rsc, key),
            (None, None) => return,
        };
        if firsts.is_empty() && o.then.rsc != Some(rsc) {
            let Some((_, task, interval)) = o.first.key.as_deref().and_then(parse_op_key) else { return };
            let role = self.role_of(rsc, true);
            let moot = (role == Role::Stopped && task == "stop") || (role == Role::Unpromoted && task == "demote");
            if !moot {
                let key = op_key(&self[rsc].id, task, interval);
                firsts.push(self.custom_action(Some(rsc), key, task, None, true));
            }
        }
        let then_rsc = match (o.then.rsc, o.then.action) {
            (Some(rsc), _) => Some(rsc),
            (None, Some(a)) => self[a].rsc,
            (None, None) => return,
        };
        for first in firsts {
            match (then_rsc, o.then.action) {
                (Some(then_rsc), _) => self.apply_to_resource(Some(first), then_rsc, o),
                (None, Some(then)) => {
                    self.order_actions(first, then, o.flags);
                }
                (None, None) => {}
            }
        }
    }

    fn disable_invalid_orderings(&mut self) {
        for a in (0..self.actions.len() as u32).rev() {
            let a = ActIdx(a);
            for i in (0..self[a].before.len()).rev() {
                if self.ordering_is_invalid(a, i) {
                    self[a].before[i].flags = rel::NONE;
                }
            }
        }
    }

    fn ordering_is_invalid(&mut self, a: ActIdx, input: usize) -> bool {
        let before = self[a].before[input];
        let first = &self[before.action];
        let corresponds = |rsc: Option<RscIdx>, node: Option<NodeIdx>| match (rsc, node) {
            (Some(rsc), Some(node)) => !self[rsc].launched.is_empty() && self.guest_launcher(node) == Some(rsc),
            _ => false,
        };
        if before.flags & rel::GUEST_ALLOWED == 0 && first.rsc.is_some() && corresponds(self[a].rsc, first.node) {
            return true;
        }
        before.flags == rel::IF_ON_SAME_NODE_OR_TARGET
            && self[a].rsc.is_some()
            && &*self[a].task == "migrate_to"
            && self.graph_has_loop(a, a, input)
    }

    /// All stops on a node come before it shuts down.
    pub fn order_stops_before_shutdown(&mut self, node: NodeIdx, shutdown: ActIdx) {
        let stops = |a: &Action| a.node == Some(node) && &*a.task == "stop";
        for a in (0..self.actions.len() as u32).rev().map(ActIdx) {
            let Some(rsc) = self[a].rsc.filter(|_| stops(&self[a])) else { continue };
            if self[rsc].is(rf::MAINTENANCE) || self[node].maintenance || !self[rsc].is(rf::MANAGED | rf::BLOCKED) {
                continue;
            }
            self[a].flags &= !act::OPTIONAL;
            self.new_ordering(Side::of(a), Side::of(shutdown), rel::ORDERED | rel::UNRUNNABLE_FIRST_BLOCKS);
        }
    }
}
