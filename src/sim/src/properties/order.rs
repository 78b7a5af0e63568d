//! Every start is preceded by the start that its order asks for.

use crate::world::World;
use base::NodeId;

impl World {
    /// `instance` begins to start here.
    pub(crate) fn check_order(&mut self, id: NodeId, instance: &str) {
        if !self.book.agents_trusted || self.book.deleted {
            // What an agent says of its resource is what counts, and that is not told here.
            return;
        }
        let configuration = &self.plan.configuration;
        let mut missing = None;
        for (group, members) in &configuration.groups {
            let ids: Vec<&str> = members.iter().map(|m| configuration.primitives[*m].id.as_str()).collect();
            let Some(at) = ids.iter().position(|m| *m == instance) else { continue };
            let absent = |m: &&&str| !self.book.active.told(m).any(|n| n == id);
            if let Some(first) = ids[..at].iter().find(absent) {
                missing = Some(format!("{instance} of {group} starts on node {id}, where {first} is not active"));
            }
        }
        for (first, then) in configuration.mandatory_orders() {
            if !configuration.primitives_of(then).contains(&instance) {
                continue;
            }
            let absent = |p: &&&str| self.book.active.told(p).next().is_none();
            let firsts = configuration.primitives_of(first);
            if let Some(absent) = firsts.iter().find(absent) {
                missing =
                    Some(format!("{instance} starts on node {id} after {first}, of which {absent} is nowhere active"));
            }
        }
        if let Some(text) = missing {
            self.book.fail("order", self.now, text);
        }
    }
}
