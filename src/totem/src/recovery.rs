//! Recovery: before the new ring is installed, the members that come from the same old ring even out what each of them holds
//! of it, so that all deliver the same messages there.
//!
//! The missing frames travel as ordered frames of the *new* ring, each wrapped once and sent by the lowest member that has it;
//! the new ring's own retransmissions make sure that they arrive. A member sets its bit in the token once it misses nothing;
//! who sees all bits set installs the ring: the transitional configuration, the rest of the old messages, the new view.

use crate::codec::{CommitEntry, Data, Frame};
use crate::config::MAX_OUTSTANDING;
use crate::fragment::Assembled;
use crate::node::{Node, Ring};
use crate::store::Inserted;
use crate::types::{Message, Output, State, Transitional, View, ViewId};
use base::{NodeId, Time};
use bytes::Bytes;
use std::collections::BTreeSet;

fn holds(entry: &CommitEntry, seq: u64) -> bool {
    if seq <= entry.aru {
        return true;
    }
    let at = seq - entry.aru - 1;
    seq <= entry.high && entry.held.get((at / 8) as usize).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

impl Node {
    pub(crate) fn enter_recovery(&mut self, now: Time, entries: &[CommitEntry]) {
        let me = self.config.me;
        let old = self.ring.id;
        let same = |e: &&CommitEntry| e.node == me || (old != ViewId::NONE && e.old == old);
        let along: Vec<&CommitEntry> = entries.iter().filter(same).collect();
        let low = along.iter().map(|e| e.aru).min().unwrap_or(0);
        let high = along.iter().map(|e| e.high).max().unwrap_or(0);
        // A promise of one binds all that go with it, else they would not deliver the same.
        self.ring.obligation.extend(along.iter().flat_map(|e| e.obligation.iter().copied()));
        let Some(f) = &mut self.forming else { return };
        f.transitional = along.iter().map(|e| e.node).collect();
        f.since = now;
        for seq in low.max(high.saturating_sub(2 * MAX_OUTSTANDING)) + 1..=high {
            let Some(first) = along.iter().find(|e| holds(e, seq)) else { continue };
            if first.node == me && along.iter().any(|e| !holds(e, seq)) {
                f.to_send.push_back(seq);
            }
            if !self.ring.store.has(seq) {
                f.missing.insert(seq);
            }
        }
        self.state = State::Recovery;
        self.token.reset(now);
    }

    /// The next frames to even out, wrapped for the new ring; the caller gives them their numbers there.
    pub(crate) fn recovery_payloads(&mut self, at_most: u32) -> Vec<Bytes> {
        let Some(f) = &mut self.forming else { return Vec::new() };
        let mut payloads = Vec::new();
        while payloads.len() < at_most as usize {
            let Some(seq) = f.to_send.pop_front() else { break };
            if let Some(data) = self.ring.store.get(seq) {
                payloads.push(data.encode().into());
            }
        }
        self.counters.recovery_sent += payloads.len() as u64;
        payloads
    }

    /// A frame of an old ring came on the new one.
    pub(crate) fn on_recovered(&mut self, wrapped: &Bytes) {
        let Ok(Frame::Data(inner)) = Frame::decode_shared(wrapped) else {
            self.counters.frames_refused += 1;
            return;
        };
        let Some(f) = &mut self.forming else { return };
        if inner.ring == self.ring.id && f.missing.remove(&inner.seq) {
            self.counters.recovery_received += 1;
            if self.ring.store.insert(inner) != Inserted::New {
                self.counters.frames_refused += 1;
            }
        }
    }

    /// Whether this node misses nothing of its old ring and has sent what it owed.
    pub(crate) fn recovery_done(&mut self) -> bool {
        let Some(f) = &mut self.forming else { return false };
        if !f.done && f.missing.is_empty() && f.to_send.is_empty() {
            f.done = true;
            // From here on the others may deliver on the strength of our word.
            self.ring.obligation.extend(f.transitional.iter().copied());
        }
        f.done
    }

    /// Everybody is done: end the old view, begin the new one.
    pub(crate) fn install(&mut self, now: Time) {
        let Some(f) = self.forming.take() else { return };
        let old = self.close_view(&f.transitional);
        self.ring = f.ring;
        let members = self.ring.members.clone();
        let without =
            |all: &[NodeId]| -> Vec<NodeId> { all.iter().copied().filter(|m| !f.transitional.contains(m)).collect() };
        let view = View {
            id: self.ring.id,
            joined: without(&members),
            left: without(&old.members),
            transitional: f.transitional.clone(),
            previous: old.id,
            members,
        };
        self.state = State::Operational;
        self.installed_at = now;
        self.rounds = 0;
        self.gather.start_until = None;
        self.counters.views += 1;
        for (id, peer) in &mut self.peers {
            peer.elsewhere = 0;
            let member = self.ring.members.contains(id);
            peer.stable_since = if member { peer.stable_since.or(Some(now)) } else { None };
        }
        self.emit(Output::View(view));
        self.deliver_ready();
        self.beat_now(now);
        self.wake_token(now);
    }

    /// The view is over for this node alone, and no other follows yet.
    pub(crate) fn end_view(&mut self) {
        self.close_view(&[self.config.me]);
    }

    fn close_view(&mut self, transitional: &[NodeId]) -> Ring {
        if self.ring.id != ViewId::NONE {
            self.emit(Output::Transitional(Transitional { view: self.ring.id, members: transitional.to_vec() }));
            self.deliver_rest(transitional);
        }
        self.assembler.clear();
        self.queue.rewind();
        std::mem::take(&mut self.ring)
    }

    /// What is left of the old view. After a hole that nobody can fill, a message of a node that is gone may depend on
    /// something we never saw, and is not delivered; those of nodes that come along cannot.
    fn deliver_rest(&mut self, transitional: &[NodeId]) {
        let trusted: BTreeSet<NodeId> = transitional.iter().chain(&self.ring.obligation).copied().collect();
        let (from, to) = (self.ring.store.delivered + 1, self.ring.store.high);
        let mut hole = false;
        for seq in from..=to {
            match self.ring.store.get(seq).cloned() {
                None => {
                    hole = true;
                    self.counters.recovery_lost += 1;
                }
                Some(data) if hole && !trusted.contains(&data.sender) => self.counters.recovery_discarded += 1,
                Some(data) => self.deliver(&data),
            }
        }
        if to > self.ring.store.safe {
            self.emit(Output::Safe { view: self.ring.id, seq: to });
        }
    }

    /// What has come in order on the installed ring.
    pub(crate) fn deliver_ready(&mut self) {
        while let Some(data) = self.ring.store.next_in_order().cloned() {
            self.deliver(&data);
        }
    }

    fn deliver(&mut self, data: &Data) {
        if data.recovery {
            return;
        }
        match self.assembler.push(data) {
            Assembled::Message(payload) => {
                self.counters.messages_delivered += 1;
                let message = Message { sender: data.sender, view: data.ring, seq: data.seq, payload };
                self.emit(Output::Deliver(message));
            }
            Assembled::Partly => {}
            Assembled::Misfit => self.counters.fragments_dropped += 1,
        }
    }
}
