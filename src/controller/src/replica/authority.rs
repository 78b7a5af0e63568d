//! Operations on behalf of a user: what the ACLs of this very moment do not allow is undone, and is refused on every member.

use super::{Applied, Effect, Replica};
use crate::message::Op;
use cib::CibError;
use cib::acl::{Guard, Subject, enabled};

impl Replica {
    pub(super) fn perform_as(
        &mut self,
        subject: &Subject,
        op: Op,
        wall_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<Applied, CibError> {
        match op {
            Op::Cib(text) => self.apply_cib(&text, Some(subject), effects),
            // They write to the status: allowed to whom ACLs let write what they write.
            Op::Attribute { .. } | Op::Cleanup { .. } => self.perform_guarded(subject, op, wall_ms, effects),
            // What is no change of the document is nothing that an ACL could allow.
            _ if enabled(self.cib.root()) => Err(CibError::Denied {
                user: subject.user.clone(),
                what: op.verb().to_owned(),
                rule: "with enable-acl only root and hacluster may".to_owned(),
            }),
            _ => self.perform(op, wall_ms, effects),
        }
    }

    fn perform_guarded(
        &mut self,
        subject: &Subject,
        op: Op,
        wall_ms: i64,
        effects: &mut Vec<Effect>,
    ) -> Result<Applied, CibError> {
        let Some(guard) = Guard::new(&self.cib.shared_root(), subject)? else {
            return self.perform(op, wall_ms, effects);
        };
        let (before, told) = (self.clone(), effects.len());
        self.cib.enter(&guard);
        let done = self.perform(op, wall_ms, effects).and_then(|done| self.cib.leave(&guard).map(|()| done));
        if done.is_err() {
            *self = before;
            effects.truncate(told);
        }
        done
    }
}
