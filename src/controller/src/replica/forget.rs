//! Forgetting: failures and histories of resources, asked for by an operator or by the DC.

use super::{Effect, Replica};
use crate::status;
use base::{NodeId, Word};

impl Replica {
    pub(super) fn forget(&mut self, node: NodeId, resource: &str, history: bool, effects: &mut Vec<Effect>) -> bool {
        if !self.meet(node) {
            return false;
        }
        let mut cleared = Vec::new();
        let changed = self.cib.edit_status(|s| {
            cleared = status::clear_fail_count(s, node, resource, None);
            let failure = format!("{resource}_last_failure_0");
            let entry = if history {
                status::delete_resource(s, node, resource)
            } else {
                status::delete_entry(s, node, resource, &failure)
            };
            !cleared.is_empty() || entry
        });
        cleared.iter().for_each(|name| self.tell_attribute(node, name, effects));
        if history {
            self.end_rounds(node, resource, |_| true);
            effects.push(Effect::Forgotten { node, resource: resource.to_owned() });
        }
        if changed {
            effects.push(Effect::Changed { reason: format!("failures of {resource} forgotten") });
        }
        changed
    }

    pub(super) fn clean_up(
        &mut self,
        resource: Option<&str>,
        node: Option<u32>,
        operation: Option<&(Word, u64)>,
        refresh: bool,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(current) = self.status() else { return false };
        let nodes = status::all_nodes(current).into_iter().filter(|n| node.is_none_or(|wanted| wanted == n.0));
        let meant = resource.map(|r| cib::config::meant_by(self.cib.root(), r));
        let of_node = |n: NodeId| status::resources_of(current, n).into_iter().map(move |(id, failed)| (n, id, failed));
        let chosen: Vec<(NodeId, String)> = nodes
            .flat_map(of_node)
            .filter(|(_, id, failed)| {
                (refresh || *failed) && meant.as_ref().is_none_or(|all| cib::config::is_among(all, id))
            })
            .map(|(n, id, _)| (n, id))
            .collect();
        for (node, id) in &chosen {
            let mut cleared = Vec::new();
            self.cib.edit_status(|s| {
                let of = operation.map(|(op, interval)| (op.as_str(), *interval));
                cleared = status::clear_fail_count(s, *node, id, of);
                match operation {
                    Some((name, interval)) => status::delete_operation(s, *node, id, name, *interval),
                    None => status::delete_resource(s, *node, id),
                }
            });
            cleared.iter().for_each(|name| self.tell_attribute(*node, name, effects));
            if operation.is_none() {
                self.end_rounds(*node, id, |_| true);
                effects.push(Effect::Forgotten { node: *node, resource: id.clone() });
            }
        }
        if !chosen.is_empty() {
            effects.push(Effect::Changed { reason: "clean-up".to_owned() });
        }
        !chosen.is_empty()
    }
}
