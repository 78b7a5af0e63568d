//! Nothing is started, stopped, promoted, demoted or fenced without a reason: not in a run in which there is none, and not in a
//! cluster that was at rest.

use crate::generate::{Configuration, Constraint, Rule};
use crate::plan::{Kind, SETTLED_MS};
use crate::world::World;
use base::{NodeId, Operation, Time};

#[derive(Default)]
pub struct Needless {
    /// Since when there is no reason for anything.
    at_rest: Option<Time>,
}

impl World {
    /// From now on nothing should begin; or it may again.
    pub(crate) fn expect_rest(&mut self, rest: bool) {
        let book = &self.book;
        // Failures expire, and so do dates.
        let quiet = book.agents_trusted && !book.addresses_lost && !has_dates(&self.plan.configuration);
        let failed = || {
            let cib = self.hosts().find_map(|h| h.process.as_ref()).map(|p| p.controller.cib().root().to_compact());
            cib.is_none_or(|text| text.contains("\"fail-count-"))
        };
        let at_rest = (rest && quiet && !failed()).then_some(self.now);
        self.book.needless.at_rest = at_rest;
    }

    fn rests(&self) -> bool {
        let calm = self.plan.kind == Kind::Calm && !self.healing;
        let since = if calm { Some(Time::from_millis(1_000 + SETTLED_MS)) } else { self.book.needless.at_rest };
        since.is_some_and(|at| self.now >= at)
    }

    pub(crate) fn check_needless(&mut self, id: NodeId, operation: &Operation) {
        let moves = matches!(operation.action.as_str(), "start" | "stop" | "promote" | "demote");
        if moves && self.rests() {
            let text = format!("{} begins on node {id}, for no reason", operation.key());
            self.book.fail("needless", self.now, text);
        }
        self.check_absent(id, operation);
    }

    /// What is not there is not stopped. Addresses go by themselves, when their lease is over.
    fn check_absent(&mut self, id: NodeId, operation: &Operation) {
        let instance = &operation.instance;
        let address = crate::agents::address(instance).is_some() || instance.class == "stonith";
        if operation.action != "stop" || address || !self.book.agents_trusted || self.book.deleted {
            return;
        }
        // At a merge a node stops on record what runs elsewhere, whatever became of it, also while a stop of before is under way.
        let unwinds = self.host(id).process.as_ref().is_some_and(|p| p.controller.status().state == "joining");
        if !unwinds && !self.host(id).placed.values().any(|of| *of == instance.id) {
            let text = format!("{} is to be stopped on node {id}, which does not have it", instance.id);
            self.book.fail("needless", self.now, text);
        }
    }

    pub(crate) fn check_needless_fencing(&mut self, by: NodeId, target: NodeId) {
        if self.rests() {
            self.book.fail("needless", self.now, format!("node {by} fences node {target}, for no reason"));
        }
    }

    pub(crate) fn check_needless_view(&mut self, id: NodeId, members: &[NodeId]) {
        if self.rests() {
            let text = format!("node {id} has a new view, for no reason: {members:?}");
            self.book.fail("needless", self.now, text);
        }
    }
}

fn has_dates(configuration: &Configuration) -> bool {
    configuration.constraints.iter().any(|c| matches!(c, Constraint::Rule { rule: Rule::Between { .. }, .. }))
}
