//! Silence: when a peer that is not heard any more is given up.
//!
//! ```text
//!   last frame        next heartbeat          asked: peer (probe) and host (echo)
//!   |--- beat_interval ---|-- late --|-- every --|-- every --|
//!                         |------------- grace --------------| neither answers: dead
//!   |----------------------------- suspect --------------------------------| its host answers: hung
//! ```
//!
//! The host is believed only where it has answered before: many do not answer echo requests at all. While it does, a process that is
//! merely short of processor time keeps its place. An error that the network reports for every link is faster than any of this.

use crate::node::Node;
use crate::peer::Peer;
use crate::types::{Event, GatherReason, Output, Suspicion};
use base::{NodeId, Time};
use std::time::Duration;

/// Questions to a host without an answer, after which it is dead: one or two may be lost.
const QUESTIONS: u32 = 3;
/// A host that is well is asked that often, so that it is known whether it would answer.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// An answer tells that for so long.
const ANSWERS_FOR: Duration = Duration::from_secs(25);

/// What a peer's host, its kernel that is, says for itself.
#[derive(Clone, Copy, Default)]
pub struct Host {
    /// Its last answer.
    answered: Option<Time>,
    asked: Option<Time>,
    /// Questions since the peer, or its host, was heard last.
    pub unanswered: u32,
}

/// What the network says of a peer from which nothing has come since.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Refusal {
    #[default]
    None,
    /// Nobody is there; it is asked.
    First,
    /// Nor was when it was asked. Its answer may be on its way until then.
    Again(Time),
}

impl Node {
    /// The peer's host answered an [`Output::Echo`].
    pub fn host_answered(&mut self, now: Time, node: NodeId) {
        self.note_run(now);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.host.answered = Some(now);
            peer.host.unanswered = 0;
        }
    }

    fn ask_host(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.host.asked = Some(now);
        peer.host.unanswered = peer.host.unanswered.saturating_add(1);
        for n in 0..self.links.len() {
            self.emit(Output::Echo { to: node, link: self.links[n] });
        }
    }

    /// So that it is known who would answer.
    pub(crate) fn ask_hosts(&mut self, now: Time) {
        if self.timing.grace.is_none() {
            return;
        }
        let due = |p: &Peer| p.alive(now, &self.timing) && p.host.asked.is_none_or(|t| now.since(t) >= ASK_EVERY);
        let due: Vec<NodeId> = self.peers.iter().filter(|(_, p)| due(p)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.ask_host(now, id));
    }

    /// A peer whose heartbeat is overdue is asked to answer at once, and so is its host.
    pub(crate) fn probe_due(&mut self, now: Time) {
        if self.probe_deadline().is_none_or(|t| t > now) {
            return;
        }
        let mut due = self.partners();
        due.retain(|p| self.peers.get(p).and_then(|p| self.probe_at(p)).is_some_and(|t| t <= now));
        for id in due {
            self.probe(now, id);
        }
    }

    fn probe(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.next_probe = Some(now + self.pace.late);
        let hears = self.hears(now);
        for n in 0..self.links.len() {
            self.beat_to(now, node, self.links[n], true, &hears);
        }
        if self.timing.grace.is_some() {
            self.ask_host(now, node);
        }
    }

    fn probe_at(&self, peer: &Peer) -> Option<Time> {
        let first = peer.heard? + self.pace.overdue;
        Some(peer.next_probe.map_or(first, |t| t.max(first)))
    }

    fn probe_deadline(&self) -> Option<Time> {
        self.earliest(|p| self.probe_at(p))
    }

    /// Of questions and of verdicts.
    pub(crate) fn partners_deadline(&self) -> Option<Time> {
        self.earliest(|p| [self.probe_at(p), self.silent_at(p)].into_iter().flatten().min())
    }

    /// The peer has been asked to answer and did not. It is told so with every heartbeat, however patiently its links are watched: one
    /// that hears us, and knows that we do not hear it, forms a ring of its own at once, and does not wait to be taken in.
    pub(crate) fn is_silent(&self, now: Time, peer: &Peer) -> bool {
        peer.silence(now).is_some_and(|s| s >= self.pace.overdue + self.pace.late)
    }

    fn silent_at(&self, peer: &Peer) -> Option<Time> {
        let Some(heard) = peer.heard else { return Some(self.gather.since + self.timing.suspect) };
        if let Refusal::Again(until) = peer.refusal {
            return Some(until);
        }
        let hung = heard + self.timing.suspect;
        let Host { answered, asked, unanswered } = peer.host;
        let would_answer = answered.is_some_and(|t| heard.since(t) <= ANSWERS_FOR);
        match (self.timing.grace, answered, asked) {
            (Some(grace), Some(answered), Some(asked)) if would_answer && unanswered >= QUESTIONS => {
                let dead = answered.max(heard + self.pace.beat_interval) + grace;
                Some(dead.max(asked + self.pace.late).min(hung))
            }
            _ => Some(hung),
        }
    }

    fn silence_deadline(&self) -> Option<Time> {
        self.earliest(|p| self.silent_at(p))
    }

    pub(crate) fn check_silence(&mut self, now: Time) {
        if self.silence_deadline().is_none_or(|t| t > now) {
            return;
        }
        for id in self.partners() {
            // A suspicion may have changed who matters.
            let Some(peer) = self.peers.get(&id) else { continue };
            if self.silent_at(peer).is_some_and(|t| t <= now) && self.is_partner(id) {
                let refused = matches!(peer.refusal, Refusal::Again(_));
                self.suspect(now, id, if refused { Suspicion::Unreachable } else { Suspicion::Silence });
            }
        }
    }

    /// An error may be about a packet that was sent before the peer was up, or forged. So a heartbeat must be overdue as well; or the
    /// peer is asked at once, and that brings an error again, and nothing else in the time that an answer may take.
    pub(crate) fn on_link_error(&mut self, now: Time, node: NodeId, link: u8) {
        let overdue = self.pace.beat_interval * 6 / 5;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Some(l) = peer.links.get_mut(usize::from(link)) {
            l.errors += 1;
            l.unreachable = true;
        }
        let overdue = peer.silence(now).is_none_or(|s| s > overdue);
        if !self.timing.trust_link_errors || !peer.all_unreachable(&self.links) || !self.is_partner(node) {
            return;
        }
        if overdue {
            return self.suspect(now, node, Suspicion::Unreachable);
        }
        let answered_by = now + self.pace.late;
        let Some(peer) = self.peers.get_mut(&node) else { return };
        match peer.refusal {
            Refusal::None => {
                peer.refusal = Refusal::First;
                self.probe(now, node);
            }
            Refusal::First => peer.refusal = Refusal::Again(answered_by),
            Refusal::Again(_) => {}
        }
    }

    pub(crate) fn suspect(&mut self, now: Time, node: NodeId, reason: Suspicion) {
        self.counters.suspicions += 1;
        let timing = self.timing;
        let mut silent_ms = 0;
        if let Some(peer) = self.peers.get_mut(&node) {
            silent_ms = peer.silence(now).unwrap_or_default().as_millis() as u64;
            peer.elsewhere = 0;
            peer.lost |= matches!(reason, Suspicion::Silence | Suspicion::Unreachable);
            if reason != Suspicion::Restarted {
                peer.back_off(now, &timing);
            }
        }
        self.event(Event::PeerSuspected { node, silent_ms, reason });
        self.exclude(now, GatherReason::PeerSuspected, node);
    }
}
