//! Probes come before what depends on their results.

use crate::model::flags::{act, rel};
use crate::model::{ActIdx, After, RscIdx, Sched, Variant};
use crate::status::Role;

impl Sched {
    pub(super) fn order_probes(&mut self) {
        for rsc in self.top.clone() {
            self.order_probes_of(rsc);
        }
        self.order_probes_before_stops();
    }

    fn order_probes_of(&mut self, rsc: RscIdx) {
        if !self[rsc].is_primitive() {
            for child in self[rsc].children.clone() {
                self.order_probes_of(child);
            }
            return;
        }
        for probe in self.actions_of(rsc, None, "monitor", false) {
            for i in (0..self[probe].after.len()).rev() {
                let after = self[probe].after[i];
                self.order_probe_before_starts(probe, after);
                let mut visited = Vec::new();
                self.order_probe_before_restarts(probe, after.action, &mut visited);
                for a in visited {
                    self[a].flags &= !act::DETECT_LOOP;
                }
            }
        }
    }

    /// Where a probe cannot run, no instance that would have to wait for it may start.
    fn order_probe_before_starts(&mut self, probe: ActIdx, after: After) {
        let then = after.action;
        let Some(clone) = self[then].rsc else { return };
        let Some(probed) = self[probe].rsc else { return };
        if self[clone].variant <= Variant::Group
            || self[probe].is(act::RUNNABLE)
            || after.flags & rel::UNRUNNABLE_FIRST_BLOCKS != 0
            || self.top_of(probed, false) != clone
            || &*self[then].task != "start"
        {
            return;
        }
        for i in (0..self[then].after.len()).rev() {
            let next = self[then].after[i].action;
            let Some(rsc) = self[next].rsc else { continue };
            if self[rsc].active_nodes.is_empty() && self.top_of(rsc, false) == clone && &*self[next].task == "start" {
                self.order_actions(probe, next, rel::ORDERED | rel::UNRUNNABLE_FIRST_BLOCKS);
            }
        }
    }

    /// A probe whose result could cause restarts comes before these.
    fn order_probe_before_restarts(&mut self, probe: ActIdx, after: ActIdx, visited: &mut Vec<ActIdx>) {
        let mut stack = vec![after];
        while let Some(after) = stack.pop() {
            if self[after].is(act::DETECT_LOOP) {
                continue;
            }
            self[after].flags |= act::DETECT_LOOP;
            visited.push(after);
            self.order_probe_before_stop_of(probe, after);
            let mut next = self.chained_after_probe(probe, after);
            next.reverse();
            stack.extend(next);
        }
    }

    fn order_probe_before_stop_of(&mut self, probe: ActIdx, after: ActIdx) {
        let Some(rsc) = self[after].rsc.filter(|r| self[*r].is_primitive() && self[probe].rsc != Some(*r)) else {
            return;
        };
        let task = match &*self[after].task {
            "start" => "stop",
            "promote" => "demote",
            _ => return,
        };
        for then in self.actions_of(rsc, None, task, false) {
            if !self[then].is(act::PSEUDO) {
                self.order_actions(probe, then, rel::ORDERED);
            }
        }
    }

    /// What must follow an action that follows a probe.
    fn chained_after_probe(&self, probe: ActIdx, after: ActIdx) -> Vec<ActIdx> {
        let rsc = self[after].rsc;
        let Some(probed) = self[probe].rsc else { return Vec::new() };
        let collective = rsc.filter(|r| self[*r].variant > Variant::Group);
        let interleave = collective.is_some_and(|r| self[r].meta_true("interleave"));
        let compatible = collective
            .filter(|_| interleave)
            .and_then(|r| self.compatible_instance(probed, r, Role::Unknown, false, None));
        let mut next = Vec::new();
        for x in self[after].after.iter().rev() {
            if x.flags & rel::FIRST_IMPLIES_THEN == 0 {
                let (Some(rsc), Some(chained)) = (rsc, self[x.action].rsc) else { continue };
                if self[rsc].variant < Variant::Group || self[probed].parent == Some(rsc) {
                    continue;
                }
                if self[chained].variant > Variant::Group || self[chained].parent != Some(rsc) {
                    continue;
                }
                if self[rsc].variant > Variant::Group && interleave && compatible != Some(chained) {
                    continue;
                }
            }
            next.push(x.action);
        }
        next
    }

    /// What comes after a stop comes after the probe that might call for it.
    fn order_probes_before_stops(&mut self) {
        for at in 0..self.orderings.len() {
            let o = &self.orderings[at];
            let Some(rsc1) = o.first.rsc.filter(|r| o.flags != rel::NONE && o.then.rsc != Some(*r)) else { continue };
            let is_stop = |action: Option<ActIdx>, key: &Option<crate::model::Str>| match action {
                Some(a) => &*self[a].task == "stop",
                None => key.as_ref().is_some_and(|k| k.ends_with("_stop_0")),
            };
            if !is_stop(o.first.action, &o.first.key) {
                continue;
            }
            if o.then.rsc.is_some() && self[rsc1].launcher == o.then.rsc && is_stop(o.then.action, &o.then.key) {
                continue;
            }
            let mut flags = rel::ORDERED | (o.flags & (rel::IF_FIRST_UNMIGRATABLE | rel::IF_ON_SAME_NODE));
            if o.flags == rel::IF_REQUIRED_ON_SAME_NODE || o.flags == rel::IF_ON_SAME_NODE_OR_TARGET {
                flags = o.flags;
            }
            let (then_action, then_rsc, then_key) = (o.then.action, o.then.rsc, o.then.key.clone());
            let probes = self.actions_of(rsc1, None, "monitor", false);
            if probes.is_empty() {
                continue;
            }
            let thens = match (then_action, then_rsc, then_key) {
                (Some(a), _, _) => vec![a],
                (None, Some(rsc), Some(key)) => self.find_actions(rsc, &key, None),
                _ => continue,
            };
            for probe in probes {
                for then in &thens {
                    if self.probe_needed_before(probe, *then) {
                        self.order_actions(probe, *then, flags);
                    }
                }
            }
        }
    }

    fn probe_needed_before(&self, probe: ActIdx, then: ActIdx) -> bool {
        let (p, t) = (&self[probe], &self[then]);
        let same_node = p.node.is_some() && p.node == t.node;
        match &*t.task {
            "stonith" if same_node => !t.meta("stonith_action").is_some_and(|op| op.eq_ignore_ascii_case("on")),
            "do_shutdown" => p.node.is_none() || t.node.is_none() || same_node,
            _ => true,
        }
    }
}
