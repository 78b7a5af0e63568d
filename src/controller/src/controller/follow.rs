//! Following the others, or ceasing to: fail-stop, starting over, and the comparison of what members hold.

use super::Controller;
use crate::api::{Alert, Output, ViewId};
use crate::checks::{Difference, Held};
use crate::digest;
use crate::fatal::Fatal;
use crate::message::{Message, Standing};
use base::NodeId;

impl Controller {
    /// This node cannot follow. Nothing that is still delivered of this view counts, and what it holds may not win.
    pub(super) fn fail_stop(&mut self, why: &Fatal) {
        if self.failed {
            return;
        }
        self.failed = true;
        self.synced = false;
        self.exchange = None;
        self.standing = Standing::Void;
        self.assembler.clear();
        self.coordinator.reset();
        self.fencing.driver.reset();
        self.count("fail_stops");
        let abandoned = self.clients.abandon();
        self.reply(abandoned);
        let reason = why.to_string();
        self.timeline("fail_stop", &self.config.my_name(), reason.clone());
        self.outputs.push_back(Output::Alert(Alert::Protocol { message: reason.clone() }));
        let return_after_ms = self.backoff.next_ms(self.now);
        self.outputs.push_back(Output::FailStop { reason, return_after_ms });
    }

    /// The ring has begun anew without this node (it was stopped, or put out): what it knows is that of a node that restarts.
    pub(super) fn on_started_over(&mut self) {
        self.standing = self.standing.min(Standing::Stale);
        self.timeline("started_over", &self.config.my_name(), "joins again like a node that starts".to_owned());
        self.local.hasten(self.now);
    }

    /// The coordinator asks everybody what they hold, if all understand the question.
    pub(super) fn ask_for_digests(&mut self) {
        if self.replica.members.len() < 2 || self.replica.level() < 2 {
            return;
        }
        if let Some(number) = self.checks.next(self.now) {
            self.broadcast(&Message::Check { view: self.replica.view, number });
        }
    }

    pub(super) fn on_check(&mut self, sender: NodeId, view: ViewId, seq: u64, number: u64) {
        if self.replica.dc != Some(sender) || view != self.replica.view {
            return;
        }
        self.count("digests_asked");
        self.checks.begin(view, number, seq, self.replica.chain.clone());
        self.outputs.push_back(Output::Digest { ticket: number, cib: self.replica.cib.shared_root() });
    }

    pub(super) fn on_digested(&mut self, ticket: u64, document: String) {
        let Some((view, number, Held { chain, document })) = self.checks.answer(ticket, document) else { return };
        if self.synced && view == self.replica.view {
            self.broadcast(&Message::Digest { view, number, chain, document });
        }
    }

    pub(super) fn on_digest(&mut self, sender: NodeId, at: (ViewId, u64), held: Held) -> Result<(), Fatal> {
        let found = self.checks.receive(sender, at, held, &self.replica.members, self.replica.dc);
        let Some(Difference { seq, right, wrong }) = found else { return Ok(()) };
        self.count("digests_differ");
        for (node, what) in &wrong {
            let (node, right) = (self.config.name_of(*node), self.config.name_of(right));
            let message = format!("at message {seq} node {node} does not hold what node {right} holds: {what}");
            self.timeline("diverged", &node, message.clone());
            self.outputs.push_back(Output::Alert(Alert::Protocol { message }));
        }
        match wrong.get(&self.config.me) {
            Some(what) => Err(Fatal::Diverged { seq, with: right, what }),
            None => Ok(()),
        }
    }
}

/// The digest that [`Output::Digest`] asks for.
pub fn digest_of(cib: &xml::Element) -> String {
    digest::of_document(cib)
}
