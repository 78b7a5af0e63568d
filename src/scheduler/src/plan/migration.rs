//! Live migration: `migrate_to` on the source, `migrate_from` on the target, and stop and start as what is left.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched};

impl Sched {
    pub(super) fn can_migrate(&self, rsc: RscIdx, current: Option<NodeIdx>) -> bool {
        let r = &self[rsc];
        let clean = |node: Option<NodeIdx>| node.is_some_and(|n| !self[n].unclean);
        r.is(rf::MIGRATABLE)
            && r.is(rf::MANAGED)
            && !r.is(rf::FAILED)
            && !r.is(rf::START_PENDING)
            && clean(current)
            && clean(r.assigned.map(|a| a.node))
    }

    fn add_migration_meta(&mut self, a: ActIdx, source: NodeIdx, target: NodeIdx) {
        let (source, target) = (self[source].name.clone(), self[target].name.clone());
        self.set_action_meta(a, "migrate_source", &source);
        self.set_action_meta(a, "migrate_target", &target);
    }

    pub(super) fn create_migration_actions(&mut self, rsc: RscIdx, current: NodeIdx) {
        let Some(assigned) = self[rsc].assigned.map(|a| a.node) else { return };
        let partial = self[rsc].partial_migration_target.is_some();
        let start = self.start_action(rsc, Some(assigned), true);
        let stop = self.stop_action(rsc, Some(current), true);
        let to = (!partial)
            .then(|| self.custom_action(Some(rsc), self.key(rsc, "migrate_to", 0), "migrate_to", Some(current), true));
        let from =
            self.custom_action(Some(rsc), self.key(rsc, "migrate_from", 0), "migrate_from", Some(assigned), true);
        self[start].flags |= act::MIGRATABLE | act::PSEUDO;
        self[stop].flags |= act::MIGRATABLE;
        self[from].flags |= act::MIGRATABLE;
        let needs = self[start].needs;
        match to {
            Some(to) => {
                self[to].flags |= act::MIGRATABLE;
                self[to].needs = needs;
                self.order_tasks(rsc, "monitor", rsc, "migrate_to", rel::ORDERED);
                self.order_tasks(rsc, "migrate_to", rsc, "migrate_from", rel::ORDERED | rel::UNMIGRATABLE_THEN_BLOCKS);
            }
            None => {
                self[from].needs = needs;
                self.order_tasks(rsc, "monitor", rsc, "migrate_from", rel::ORDERED);
            }
        }
        self.order_tasks(rsc, "migrate_from", rsc, "stop", rel::ORDERED | rel::UNMIGRATABLE_THEN_BLOCKS);
        let flags = rel::ORDERED | rel::UNMIGRATABLE_THEN_BLOCKS | rel::FIRST_ELSE_THEN;
        self.order_tasks(rsc, "migrate_from", rsc, "start", flags);
        if let Some(to) = to {
            self.add_migration_meta(to, current, assigned);
            if !self[rsc].is(rf::REMOTE_CONNECTION) {
                self.set_action_meta(to, "record-pending", "true");
            }
        }
        self.add_migration_meta(from, current, assigned);
    }
}
