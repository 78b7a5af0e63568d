//! This node's own operations on their way: each is applied exactly once, and its client is told what became of it.
//!
//! ```text
//! sent --own delivery--> applied --Safe in a quorate view--> answered "safe"
//!   ^                       |-----Safe without quorum------> answered "provisional"
//!   |  view change:         |-----its content lost a merge-> answered "failed"
//!   '- sent again           '- view change: as safe as the end of the exchange
//! ```

use crate::api::{Response, Safety, ViewId};
use crate::message::OpMessage;
use crate::replica::Applied;
use base::exit::crm;
use base::{NodeId, Time};
use cib::CibError;
use std::collections::BTreeMap;
use std::time::Duration;

/// Operations of one node that may be under way; more are refused.
pub const MAX_PENDING: usize = 1024;
/// How long a client waits at most.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Own operations by their number.
pub struct Clients {
    incarnation: u64,
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

struct Pending {
    /// Absent for the node's own reports, and for clients that were given up.
    client: Option<u64>,
    /// Kept until it is delivered, to be sent again.
    message: Option<OpMessage>,
    applied: Option<Done>,
    deadline: Time,
}

struct Done {
    view: ViewId,
    seq: u64,
    result: Applied,
    version: (u64, u64, u64),
}

impl Clients {
    pub fn new(incarnation: u64) -> Clients {
        Clients { incarnation, next: 0, pending: BTreeMap::new() }
    }

    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Numbers an operation and keeps it; the result is to be broadcast.
    pub fn submit(&mut self, now: Time, wall_ms: i64, client: Option<u64>, op: crate::message::Op) -> OpMessage {
        let seq = self.next;
        self.next += 1;
        let message = OpMessage { incarnation: self.incarnation, seq, wall_ms, op };
        let pending = Pending { client, message: Some(message.clone()), applied: None, deadline: now + CLIENT_TIMEOUT };
        self.pending.insert(seq, pending);
        message
    }

    /// Own operation `number` was applied at `(view, seq)`. Whatever needs no safety is answered at once.
    pub fn applied(
        &mut self,
        number: u64,
        at: (ViewId, u64),
        version: (u64, u64, u64),
        result: Result<Applied, CibError>,
    ) -> Option<(u64, Response)> {
        let pending = self.pending.get_mut(&number)?;
        pending.message = None;
        let Some(client) = pending.client else {
            self.pending.remove(&number);
            return None;
        };
        let answer = match result {
            Err(e) => Response::Failed { code: e.exit_code(), message: explain(&e) },
            Ok(r) if !r.changed => Response::Done { safety: Safety::Unchanged, answer: r.answer, version },
            Ok(result) => {
                pending.applied = Some(Done { view: at.0, seq: at.1, result, version });
                return None;
            }
        };
        self.pending.remove(&number);
        Some((client, answer))
    }

    /// All members hold everything of `view` up to `seq`.
    pub fn safe(&mut self, view: ViewId, seq: u64, firm: bool) -> Vec<(u64, Response)> {
        self.answer(firm, |done| done.view == view && done.seq <= seq)
    }

    /// A view's exchange ended with message `at`. What was applied before is part of the content that all members then
    /// have, so it is as safe as that message; unless this node's content was discarded.
    pub fn synced(&mut self, at: (ViewId, u64), discarded: bool) -> Vec<(u64, Response)> {
        if !discarded {
            for done in self.pending.values_mut().filter_map(|p| p.applied.as_mut()) {
                (done.view, done.seq) = at;
            }
            return Vec::new();
        }
        let lost: Vec<u64> = self.pending.iter().filter(|(_, p)| p.applied.is_some()).map(|(n, _)| *n).collect();
        let fail = |n: u64| {
            let message = "discarded: another partition's configuration was kept when they merged".to_owned();
            Some((self.pending.remove(&n)?.client?, Response::Failed { code: crm::OLD, message }))
        };
        lost.into_iter().filter_map(fail).collect()
    }

    fn answer(&mut self, firm: bool, ready: impl Fn(&Done) -> bool) -> Vec<(u64, Response)> {
        let safety = if firm { Safety::Safe } else { Safety::Provisional };
        let due = |p: &Pending| p.applied.as_ref().is_some_and(&ready);
        let numbers: Vec<u64> = self.pending.iter().filter(|(_, p)| due(p)).map(|(n, _)| *n).collect();
        let done = |n: u64| {
            let p = self.pending.remove(&n)?;
            let d = p.applied?;
            Some((p.client?, Response::Done { safety, answer: d.result.answer, version: d.version }))
        };
        numbers.into_iter().filter_map(done).collect()
    }

    /// Operations to send again after a view change: receivers drop those that arrive twice.
    pub fn unsent(&self) -> Vec<OpMessage> {
        self.pending.values().filter_map(|p| p.message.clone()).collect()
    }

    /// Clients that have waited long enough. Their operations may still happen, and are followed on.
    pub fn expire(&mut self, now: Time) -> Vec<(u64, Response)> {
        let mut out = Vec::new();
        for pending in self.pending.values_mut().filter(|p| p.deadline <= now) {
            if let Some(client) = pending.client.take() {
                let message = "no acknowledgement in time: the change may or may not happen".to_owned();
                out.push((client, Response::Failed { code: crm::TIMEOUT, message }));
            }
        }
        self.pending.retain(|_, p| p.client.is_some() || p.applied.is_none());
        out
    }

    pub fn deadline(&self) -> Option<Time> {
        self.pending.values().filter(|p| p.client.is_some()).map(|p| p.deadline).min()
    }

    pub fn is_mine(&self, me: NodeId, origin: NodeId, incarnation: u64) -> bool {
        me == origin && incarnation == self.incarnation
    }
}

fn explain(error: &CibError) -> String {
    match error {
        CibError::Invalid { problems } => {
            let lines: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.path, p.message)).collect();
            format!("{error}: {}", lines.join("; "))
        }
        _ => error.to_string(),
    }
}
