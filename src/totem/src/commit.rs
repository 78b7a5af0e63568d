//! Commit: the agreed members pass a commit token round twice.
//!
//! On the first round every member writes down its old ring and what it holds of it; on the second everybody learns that of
//! all, and enters Recovery. When it comes back to the representative once more, that one starts the new ring's token.

use crate::codec::{Ack, Commit, CommitEntry, Frame};
use crate::config::MAX_RING_SEQ_JUMP;
use crate::node::{Node, Ring};
use crate::token::SentKey;
use crate::types::{GatherReason, Output, State, ViewId};
use base::{NodeId, Time};
use std::collections::{BTreeSet, VecDeque};

/// A ring on its way from agreement to installation.
#[derive(Default)]
pub(crate) struct Forming {
    pub ring: Ring,
    /// Last progress.
    pub since: Time,
    /// Highest hop handled; the same one again is only acknowledged.
    pub hop: u16,
    /// Set in Recovery: who comes along from our old ring,
    pub transitional: Vec<NodeId>,
    /// which of its frames we still miss although somebody has them,
    pub missing: BTreeSet<u64>,
    /// and which we shall send because we are the first that has them.
    pub to_send: VecDeque<u64>,
    /// We said that we miss nothing.
    pub done: bool,
}

/// Added to the highest ring number known, as corosync does.
const RING_SEQ_STEP: u64 = 4;

impl Node {
    /// Everybody agrees, and this node is the lowest.
    pub(crate) fn start_commit(&mut self, now: Time, members: Vec<NodeId>) {
        let me = self.config.me;
        let id = ViewId { rep: me.0, seq: self.ring_seq + RING_SEQ_STEP };
        let blank = |node| {
            let (held, obligation) = (Vec::new(), BTreeSet::new());
            CommitEntry { node, filled: false, old: ViewId::NONE, aru: 0, high: 0, held, obligation }
        };
        let mut commit = Commit { ring: id, hop: 1, entries: members.iter().copied().map(blank).collect() };
        self.enter_commit(now, &mut commit, 0);
        match members.get(1) {
            None => {
                self.enter_recovery(now, &commit.entries);
                self.install(now);
            }
            Some(next) => self.send_commit(now, *next, commit),
        }
    }

    fn enter_commit(&mut self, now: Time, commit: &mut Commit, position: usize) {
        self.ring_seq = self.ring_seq.max(commit.ring.seq);
        self.committed_seq = commit.ring.seq;
        self.emit(Output::SaveRingSeq(self.ring_seq));
        let members: Vec<NodeId> = commit.entries.iter().map(|e| e.node).collect();
        for m in &members {
            if let Some(peer) = self.peers.get_mut(m) {
                peer.join_floor = peer.join_seen;
            }
        }
        let store = &self.ring.store;
        if let Some(entry) = commit.entries.get_mut(position) {
            entry.filled = true;
            entry.old = self.ring.id;
            entry.aru = store.aru;
            entry.high = store.high.max(store.aru);
            entry.held = store.bitmap();
            entry.obligation = self.ring.obligation.clone();
        }
        let ring = Ring { id: commit.ring, members, ..Ring::default() };
        self.forming = Some(Forming { ring, since: now, hop: position as u16, ..Forming::default() });
        self.state = State::Commit;
    }

    fn send_commit(&mut self, now: Time, to: NodeId, commit: Commit) {
        let key = SentKey { ring: commit.ring, commit: true, seq: u64::from(commit.hop) };
        self.send_reliably(now, to, Frame::Commit(commit).encode().into(), key);
    }

    pub(crate) fn on_commit(&mut self, now: Time, from: NodeId, mut commit: Commit) {
        let me = self.config.me;
        let members: Vec<NodeId> = commit.entries.iter().map(|e| e.node).collect();
        let Some(position) = members.iter().position(|m| *m == me) else {
            self.counters.frames_foreign += 1;
            return;
        };
        let ack = Frame::Ack(Ack { ring: commit.ring, commit: true, seq: u64::from(commit.hop) });
        let count = members.len() as u16;
        let hop = commit.hop;
        let known = self.forming.as_ref().filter(|f| f.ring.id == commit.ring).map(|f| f.hop);
        let installed = self.state == State::Operational && self.ring.id == commit.ring;
        if installed || known.is_some_and(|seen| hop <= seen) {
            self.send(from, &ack);
            return;
        }
        let next = members.get((position + 1) % members.len()).copied().unwrap_or(me);
        let my_turn = usize::from(hop % count) == position;
        let filling = hop < count && my_turn && known.is_none() && self.accepts(&commit, &members);
        let learning = known.is_some() && my_turn && self.state == State::Commit && hop >= count && hop < 2 * count;
        let complete = commit.entries.iter().all(|e| e.filled);
        let starting = known.is_some() && hop == 2 * count && position == 0 && self.state == State::Recovery;
        if filling {
            self.enter_commit(now, &mut commit, position);
        } else if learning && complete {
            self.enter_recovery(now, &commit.entries);
        } else if !starting {
            self.counters.frames_foreign += 1;
            return;
        }
        self.send(from, &ack);
        if let Some(f) = &mut self.forming {
            f.hop = hop;
            f.since = now;
        }
        if starting {
            self.start_token(now);
        } else {
            commit.hop += 1;
            self.send_commit(now, next, commit);
        }
    }

    /// Only what we agreed to, and never an older attempt than one that we took part in.
    fn accepts(&self, commit: &Commit, members: &[NodeId]) -> bool {
        let agreed = match (self.state, &self.forming) {
            (State::Gather, _) => self.gather.candidates().eq(members.iter().copied()),
            // The representative tries anew with the same members.
            (State::Commit, Some(f)) => f.ring.members == members,
            _ => false,
        };
        let by_rep = members.first().is_some_and(|m| m.0 == commit.ring.rep && *m != self.config.me);
        let reachable = self.ring_seq.saturating_add(MAX_RING_SEQ_JUMP);
        agreed && by_rep && (self.committed_seq.max(self.ring.id.seq) + 1..=reachable).contains(&commit.ring.seq)
    }

    pub(crate) fn commit_deadline(&self) -> Option<Time> {
        let f = self.forming.as_ref()?;
        matches!(self.state, State::Commit | State::Recovery).then(|| f.since + self.timing.commit)
    }

    pub(crate) fn commit_due(&mut self, now: Time) {
        if self.commit_deadline().is_some_and(|t| t <= now) {
            self.counters.commit_timeouts += 1;
            self.start_gather(now, GatherReason::CommitTimeout, BTreeSet::new(), BTreeSet::new());
        }
    }
}
