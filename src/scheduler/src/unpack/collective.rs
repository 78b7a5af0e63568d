//! Clones: their numbers, and their instances.

use crate::explain::ledger::Source;
use crate::model::flags::rsc as rf;
use crate::model::{INFINITY, RscIdx, Sched, Str};
use base::text::{is_true, parse_int};
use std::rc::Rc;

/// Most instances that one clone may have; a larger `clone-max` is cut down with a message.
pub const MAX_INSTANCES: i32 = 1_000;

impl Sched {
    fn meta_int(&self, rsc: RscIdx, name: &str, old_name: &str, default: i32) -> i32 {
        let value = self[rsc].meta(name).or_else(|| self[rsc].meta(old_name));
        match value {
            None => default,
            Some(v) => parse_int(v).unwrap_or(0).clamp(0, i64::from(i32::MAX)) as i32,
        }
    }

    pub(super) fn unpack_clone(&mut self, rsc: RscIdx) -> bool {
        let id = self[rsc].id.clone();
        if self[rsc].is(rf::PROMOTABLE) {
            self[rsc].clone.promoted_max = self.meta_int(rsc, "promoted-max", "master-max", 1);
            self[rsc].clone.promoted_node_max = self.meta_int(rsc, "promoted-node-max", "master-node-max", 1);
        }
        let mut node_max = self.meta_int(rsc, "clone-node-max", "clone-node-max", 1);
        let mut max = self.meta_int(rsc, "clone-max", "clone-max", (self.nodes.len() as i32).max(1));
        let limit = MAX_INSTANCES.max(self.nodes.len() as i32);
        if max > limit {
            self.error(format!("Limiting clone-max of {id} to {limit}"));
            max = limit;
        }
        let unique = self[rsc].is(rf::UNIQUE);
        if !unique && node_max > 1 {
            self.error(format!(
                "Ignoring clone-node-max of {node_max} for {id} because anonymous clones support only one instance per node"
            ));
            node_max = 1;
        }
        let ordered = self[rsc].meta("ordered").is_some_and(is_true);
        let child = self[rsc].conf.children.iter().find(|c| matches!(&*c.tag, "primitive" | "group")).cloned();
        let clone = &mut self[rsc].clone;
        (clone.clone_max, clone.clone_node_max, clone.ordered) = (max, node_max, ordered);
        clone.child = child;
        if clone.child.is_none() {
            self.error(format!("{id} has nothing to clone"));
            return false;
        }
        if self[rsc].meta("resource-stickiness").is_none() {
            self[rsc].insert_meta("resource-stickiness", "1");
        }
        self[rsc].insert_meta("globally-unique", if unique { "true" } else { "false" });
        (0..max.max(1)).all(|_| self.create_clone_child(rsc).is_some())
    }

    /// Adds one more instance; one beyond the maximum is there only because it is active.
    pub(super) fn create_clone_child(&mut self, rsc: RscIdx) -> Option<RscIdx> {
        let conf = Rc::clone(self[rsc].clone.child.as_ref()?);
        let (total, max) = (self[rsc].clone.total, self[rsc].clone.clone_max);
        let number: Str = total.to_string().into();
        let child = self.unpack_resource(conf, Some(number), Some(rsc))?;
        self[rsc].clone.total += 1;
        self[rsc].children.push(child);
        if total >= max {
            self.set_recursive(child, rf::REMOVED);
        }
        self[child].insert_meta("clone-max", &max.to_string());
        Some(child)
    }

    /// Agents of some standards cannot tell instances apart.
    pub(super) fn force_anonymous(&mut self, clone: RscIdx, class: &str, member: RscIdx) {
        let (id, member_id) = (self[clone].id.clone(), self[member].id.clone());
        self.warn(format!(
            "Ignoring globally-unique for {id} because {class} resources such as {member_id} can be used only as anonymous clones"
        ));
        let nodes = self.nodes.len() as i32;
        self[clone].clone.clone_node_max = 1;
        self[clone].clone.clone_max = self[clone].clone.clone_max.min(nodes);
        self.clear_unique(clone);
        self.clear_unique(member);
    }

    fn clear_unique(&mut self, rsc: RscIdx) {
        self.clear(rsc, rf::UNIQUE);
        self[rsc].insert_meta("globally-unique", "false");
        for child in self[rsc].children.clone() {
            self.clear_unique(child);
        }
    }

    /// A clone that has an instance for every node.
    pub(super) fn is_universal_clone(&self, rsc: RscIdx) -> bool {
        self[rsc].is_clone() && self[rsc].clone.clone_max == self.nodes.len() as i32
    }

    pub fn max_per_node(&self, rsc: RscIdx) -> i32 {
        match self[rsc].variant {
            crate::model::Variant::Clone => self[rsc].clone.clone_node_max,
            crate::model::Variant::Bundle => self[rsc].bundle.per_host,
            _ => 1,
        }
    }

    /// Scores that stop a resource everywhere.
    pub(super) fn ban_everywhere(&mut self, rsc: RscIdx) {
        let parent = self.uber_parent(rsc);
        let rsc = if self[rsc].parent.is_some() && self.is_anonymous_clone(Some(parent)) { parent } else { rsc };
        let table = self.table_of_all(-INFINITY);
        self.record_table(rsc, &table, &Source::Own("__stop_on_failure__"));
        self[rsc].allowed = table;
    }
}
