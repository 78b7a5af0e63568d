//! This node's own operations on their way: each is applied exactly once, and its client is told what became of it.
//!
//! ```text
//! sent --own delivery--> applied --Safe in a quorate view--> held --on a majority of disks-> answered "safe"
//!   ^                       |                                 '-- not in time, disks full -> answered "provisional"
//!   |                       |-----Safe without quorum--------------------------------------> answered "provisional"
//!   |  view change:         |-----its content lost a merge---------------------------------> answered "failed"
//!   '- sent again           '- view change: as safe as the end of the exchange
//! ```
//!
//! Only changes of the configuration go to disks; the status belongs to the present life of the cluster. A provisional
//! change of the configuration, too, is answered only once this node's own disk has had its turn, or is late.

use crate::api::{Response, Safety, ViewId};
use crate::disks::{DiskTrouble, Disks, Durability};
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
/// How long a change that all members hold waits for their disks; after that it is called provisional.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// Own operations by their number.
pub struct Clients {
    me: NodeId,
    incarnation: u64,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    disks: Disks,
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
    /// Since when all members hold it.
    held: Option<Time>,
}

impl Clients {
    pub fn new(me: NodeId, incarnation: u64) -> Clients {
        Clients { me, incarnation, next: 0, pending: BTreeMap::new(), disks: Disks::default() }
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
            Err(e) => Response::Failed { code: e.exit_code(), message: e.explain() },
            Ok(r) if !r.changed => Response::Done { safety: Safety::Unchanged, answer: r.answer, version },
            Ok(result) => {
                pending.applied = Some(Done { view: at.0, seq: at.1, result, version, held: None });
                return None;
            }
        };
        self.pending.remove(&number);
        Some((client, answer))
    }

    /// Own operation `number` came again, and the content has it already. If this node has not applied it, it has the content of
    /// others who had: what came of it was known there alone.
    pub fn repeated(&mut self, number: u64) -> Option<(u64, Response)> {
        let pending = self.pending.get(&number).filter(|p| p.applied.is_none())?;
        let client = pending.client;
        self.pending.remove(&number);
        let message = "made while this node was out of step with the others: what came of it is unknown here";
        client.map(|client| (client, Response::Failed { code: crm::UNAVAILABLE, message: message.to_owned() }))
    }

    /// All members hold everything of `view` up to `seq`.
    pub fn safe(&mut self, now: Time, view: ViewId, seq: u64, firm: bool) -> Vec<(u64, Response)> {
        for done in self.pending.values_mut().filter_map(|p| p.applied.as_mut()) {
            if done.view == view && done.seq <= seq {
                done.held.get_or_insert(now);
            }
        }
        self.answer(now, firm)
    }

    /// A member's disk holds, or could not take, everything of the present view up to `seq`.
    pub fn stored(&mut self, now: Time, node: NodeId, seq: u64, written: bool) {
        self.disks.report(now, node, seq, written);
    }

    /// Message `seq` of the present view has changed what every member has to store.
    pub fn wanted_on_disk(&mut self, now: Time, seq: u64) {
        self.disks.want(now, seq);
    }

    /// Members whose disk fails or hangs.
    pub fn disk_troubles(&self, now: Time) -> BTreeMap<NodeId, DiskTrouble> {
        self.disks.troubles(now)
    }

    /// Votes of the members have changed.
    pub fn count_votes(&mut self, votes: BTreeMap<NodeId, u32>, expected: u32) {
        self.disks.count(votes, expected);
    }

    /// A view's exchange ended with message `at`. What was applied before is part of the content that all members then
    /// have, so it is as safe as that message; unless this node's content was discarded.
    pub fn synced(&mut self, at: (ViewId, u64), disks: Disks, discarded: bool) -> Vec<(u64, Response)> {
        self.disks = disks;
        if !discarded {
            for done in self.pending.values_mut().filter_map(|p| p.applied.as_mut()) {
                (done.view, done.seq, done.held) = (at.0, at.1, None);
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

    /// This node leaves the ring: its clients cannot be told what becomes of their changes, which are not sent again. Reports of
    /// its own operations are kept.
    pub fn abandon(&mut self) -> Vec<(u64, Response)> {
        let message = "this node has left the ring: whether the change was made is unknown here";
        let asked: Vec<u64> = self.pending.iter().filter(|(_, p)| p.client.is_some()).map(|(n, _)| *n).collect();
        let fail = |n: u64| {
            let client = self.pending.remove(&n)?.client?;
            Some((client, Response::Failed { code: crm::UNAVAILABLE, message: message.to_owned() }))
        };
        asked.into_iter().filter_map(fail).collect()
    }

    /// Answers everything of which there is nothing more to wait for.
    fn answer(&mut self, now: Time, firm: bool) -> Vec<(u64, Response)> {
        let (me, disks) = (self.me, &self.disks);
        let safety = |done: &Done| {
            let held = done.held?;
            let best = if firm { Safety::Safe } else { Safety::Provisional };
            if !done.result.config_changed {
                return Some(best);
            }
            let late = now >= held + DISK_PATIENCE;
            match disks.durability(done.seq) {
                Durability::Durable => Some(best),
                Durability::Failed => Some(Safety::Provisional),
                Durability::Unknown if !firm && disks.has_tried(me, done.seq) => Some(Safety::Provisional),
                Durability::Unknown => late.then_some(Safety::Provisional),
            }
        };
        let ready = |(number, p): (&u64, &Pending)| Some((*number, safety(p.applied.as_ref()?)?));
        let due: Vec<(u64, Safety)> = self.pending.iter().filter_map(ready).collect();
        let done = |(number, safety)| {
            let p = self.pending.remove(&number)?;
            let d = p.applied?;
            Some((p.client?, Response::Done { safety, answer: d.result.answer, version: d.version }))
        };
        due.into_iter().filter_map(done).collect()
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
        let held = |p: &Pending| p.applied.as_ref().and_then(|d| d.held).map(|t| t + DISK_PATIENCE);
        let of = |p: &Pending| held(p).map_or(p.deadline, |t| t.min(p.deadline));
        self.pending.values().filter(|p| p.client.is_some()).map(of).min()
    }

    pub fn is_mine(&self, me: NodeId, origin: NodeId, incarnation: u64) -> bool {
        me == origin && incarnation == self.incarnation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Op;

    #[test]
    fn what_came_with_anothers_content_is_answered_and_not_sent_again() {
        let mut clients = Clients::new(NodeId(1), 7);
        let op = || Op::Fenced { node: 2, action: "off".to_owned() };
        let (asked, own) = (clients.submit(Time(1), 0, Some(5), op()), clients.submit(Time(1), 0, None, op()));
        assert_eq!(clients.unsent().len(), 2);
        assert!(matches!(clients.repeated(asked.seq), Some((5, Response::Failed { code: crm::UNAVAILABLE, .. }))));
        assert!(clients.repeated(own.seq).is_none() && clients.unsent().is_empty());
        // One that was applied here is answered as ever, however often it comes.
        let known = clients.submit(Time(1), 0, Some(6), op());
        let changed = Applied { changed: true, config_changed: false, answer: None };
        assert!(clients.applied(known.seq, (ViewId::default(), 3), (0, 1, 1), Ok(changed)).is_none());
        assert!(clients.repeated(known.seq).is_none());
        assert_eq!(clients.safe(Time(2), ViewId::default(), 3, true).len(), 1);
    }
}
