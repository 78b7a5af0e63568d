//! Gather: agreeing on who will be in the next ring.
//!
//! Each node proposes (`proc`, `fail`): who it has heard of, and who of these cannot be a member. Proposals are repeated in
//! joins and merged, so both sets only grow within a round; once everybody in `proc - fail` proposes the same, the lowest of
//! them makes a ring of it (`commit`). Who does not come round in time is put into `fail`. A round ends with a ring or, after
//! `MAX_GATHER_ROUNDS` of them, with each on its own and backing off, so that no disagreement goes on for ever.

use crate::codec::{Frame, Join};
use crate::config::{MAX_GATHER_ROUNDS, MAX_MEMBERS, START_PATIENCE};
use crate::node::Node;
use crate::peer::Peer;
use crate::types::{Event, GatherReason, State, Suspicion};
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One round's proposal and what the others said to it.
#[derive(Default)]
pub(crate) struct Gather {
    pub proc: BTreeSet<NodeId>,
    pub fail: BTreeSet<NodeId>,
    joins: BTreeMap<NodeId, (BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    pub since: Time,
    next_join: Time,
    /// When those that do not agree are given up.
    consensus_at: Time,
    /// After the start of the process, or after having been put out: until then others are looked for, alone is not enough.
    pub start_until: Option<Time>,
    /// Already waited for readmission in this round.
    put_out: bool,
}

impl Gather {
    pub fn candidates(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.proc.difference(&self.fail).copied()
    }

    pub fn knows(&self, node: NodeId) -> bool {
        self.proc.contains(&node)
    }

    fn agrees(&self, node: NodeId) -> bool {
        self.joins.get(&node).is_some_and(|(proc, fail)| *proc == self.proc && *fail == self.fail)
    }

    /// What the node proposed was said in a life that is over.
    pub fn unsay(&mut self, node: NodeId) {
        self.joins.remove(&node);
    }

    pub fn shift(&mut self, now: Time, by: Duration) {
        self.since = (self.since + by).min(now);
        self.consensus_at = self.consensus_at + by;
    }
}

impl Node {
    /// A new round, with everybody who is or was about to be in our ring, and `more`; `failed` cannot take part.
    pub(crate) fn start_gather(
        &mut self,
        now: Time,
        reason: GatherReason,
        more: BTreeSet<NodeId>,
        failed: BTreeSet<NodeId>,
    ) {
        self.counters.gathers += 1;
        self.rounds += 1;
        self.event(Event::Gather { reason });
        let me = self.config.me;
        let mut proc = more;
        proc.extend(self.ring.members.iter().copied());
        proc.extend(self.forming.take().map(|f| f.ring.members).unwrap_or_default());
        proc.insert(me);
        let mut fail = failed;
        fail.remove(&me);
        for id in &proc {
            let absent =
                self.peers.get(id).is_none_or(|p| p.departed || p.heard.is_some() && !p.alive(now, &self.timing));
            if *id != me && absent {
                fail.insert(*id);
            }
        }
        if self.rounds > MAX_GATHER_ROUNDS {
            self.give_up(now, &proc, &mut fail);
        }
        proc.extend(fail.iter().copied());
        self.token.stop();
        self.state = State::Gather;
        let starting = matches!(reason, GatherReason::Start | GatherReason::LocalStall | GatherReason::PutOut);
        self.gather = Gather {
            proc,
            fail,
            since: now,
            start_until: starting.then(|| now + self.timing.start_wait),
            ..Gather::default()
        };
        self.proposal_changed(now);
        self.beat_now(now);
    }

    /// Like a process that has just started: the view ends, with all of it that is here; suspicions and grudges are
    /// forgotten, and under a new incarnation so is what the others hold of this node. Who may have been left behind does this
    /// rather than argue with a ring that goes on: it asks to be let in, and never takes that ring apart with old words.
    pub(crate) fn start_over(&mut self, now: Time, reason: GatherReason) {
        self.end_view();
        self.forming = None;
        self.config.incarnation = self.config.incarnation.wrapping_add(1);
        self.life_began = now;
        self.peers.values_mut().for_each(Peer::forget);
        self.event(Event::StartedOver { reason, incarnation: self.config.incarnation });
        self.start_gather(now, reason, BTreeSet::new(), BTreeSet::new());
        self.gather.put_out = true;
    }

    /// Each on its own, for a while.
    fn give_up(&mut self, now: Time, proc: &BTreeSet<NodeId>, fail: &mut BTreeSet<NodeId>) {
        self.event(Event::GaveUpForming { rounds: self.rounds });
        let timing = self.timing;
        for id in proc.iter().filter(|p| **p != self.config.me) {
            fail.insert(*id);
            if let Some(peer) = self.peers.get_mut(id) {
                peer.back_off(now, &timing);
            }
        }
    }

    /// While starting: others were found.
    pub(crate) fn extend_gather(&mut self, now: Time, found: BTreeSet<NodeId>) {
        self.gather.proc.extend(found);
        self.proposal_changed(now);
    }

    /// Somebody who matters cannot be a member any more.
    pub(crate) fn exclude(&mut self, now: Time, reason: GatherReason, node: NodeId) {
        if self.state != State::Gather {
            self.start_gather(now, reason, BTreeSet::new(), BTreeSet::from([node]));
        } else if self.gather.fail.insert(node) {
            self.gather.proc.insert(node);
            self.proposal_changed(now);
        }
    }

    fn proposal_changed(&mut self, now: Time) {
        self.join_seq += 1;
        self.gather.consensus_at = now + self.timing.consensus;
        self.send_joins(now);
        self.check_consensus(now);
    }

    /// Also to those that failed, so that they learn of it.
    fn send_joins(&mut self, now: Time) {
        self.gather.next_join = now + self.timing.join;
        let join = Join {
            incarnation: self.config.incarnation,
            join_seq: self.join_seq,
            ring_seq: self.ring_seq,
            proc: self.gather.proc.clone(),
            fail: self.gather.fail.clone(),
        };
        let frame = Frame::Join(join);
        let others: Vec<NodeId> = self.gather.proc.iter().copied().filter(|p| *p != self.config.me).collect();
        others.into_iter().for_each(|p| self.send_all_links(p, &frame));
    }

    pub(crate) fn on_join(&mut self, now: Time, from: NodeId, join: Join) {
        self.counters.joins_received += 1;
        self.learn_ring_seq(from, join.ring_seq);
        let me = self.config.me;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if join.join_seq < peer.join_seen || !peer.fresh {
            self.counters.joins_ignored += 1;
            return;
        }
        peer.join_seen = join.join_seq;
        let old_news = join.join_seq <= peer.join_floor;
        let invites = join.proc.contains(&me) && !join.fail.contains(&me) && !peer.backing_off(now);
        let partner = self.is_partner(from);
        let welcome = match self.state {
            State::Gather => !self.gather.fail.contains(&from) && (self.gather.knows(from) || invites),
            State::Operational if !partner => invites,
            State::Operational => partner && !old_news,
            State::Commit | State::Recovery => partner && !old_news && !self.crosses(from, &join),
            State::Left => false,
        };
        if !welcome || self.slanders(now, from, &join) {
            self.counters.joins_ignored += 1;
            return;
        }
        if join.fail.contains(&me) && self.is_put_out_by(now, from) {
            return self.start_over(now, GatherReason::PutOut);
        }
        if self.state != State::Gather {
            self.start_gather(now, GatherReason::JoinReceived, BTreeSet::from([from]), BTreeSet::new());
        }
        // The new round may have found that the sender is dead, or may even have ended in a ring.
        if self.state == State::Gather && !self.gather.fail.contains(&from) {
            self.absorb(now, from, join);
        }
    }

    /// A node outside our ring that gives up one of its living members: a join from the time when it was cut off, which the
    /// network kept back (packets that wait for an address resolution arrive when the cable is plugged in again), or one who
    /// does not hear all of us. Believing it would take our ring apart.
    fn slanders(&self, now: Time, from: NodeId, join: &Join) -> bool {
        let living = |n: &NodeId| *n != self.config.me && self.ring.members.contains(n) && self.is_alive(now, *n);
        !self.ring.members.contains(&from) && join.fail.iter().any(living)
    }

    /// Sent before its sender had seen the ring that is being formed, and asks for just that ring: the two crossed on their
    /// way. Beginning anew would send a join that crosses the sender's in turn, and so on. Whatever the ring's representative asked for
    /// before it made the ring is over as well: it may be about this node's former life.
    fn crosses(&self, from: NodeId, join: &Join) -> bool {
        self.forming.as_ref().is_some_and(|f| {
            let same = join.proc.difference(&join.fail).eq(f.ring.members.iter());
            join.ring_seq < f.ring.id.seq && (same || from.0 == f.ring.id.rep)
        })
    }

    fn absorb(&mut self, now: Time, from: NodeId, join: Join) {
        let me = self.config.me;
        if join.fail.contains(&me) && self.gather.start_until.is_some() {
            // That is about our former life. They are asked again once they have got over it.
            self.gather.proc.remove(&from);
            self.proposal_changed(now);
            return;
        }
        let before = (self.gather.proc.len(), self.gather.fail.len());
        self.gather.joins.insert(from, (join.proc.clone(), join.fail.clone()));
        self.gather.proc.insert(from);
        if join.fail.contains(&me) {
            self.event(Event::PeerSuspected { node: from, silent_ms: 0, reason: Suspicion::ReportedByMember });
            self.gather.fail.insert(from);
            self.back_off_from(now, from);
        } else {
            let unknown = |n: &NodeId| *n != me && !self.peers.contains_key(n);
            let strangers: Vec<NodeId> = join.proc.iter().copied().filter(unknown).collect();
            self.gather.proc.extend(join.proc.iter().copied());
            self.gather.fail.extend(strangers);
            for node in join.fail {
                if self.gather.fail.insert(node) && self.peers.get(&node).is_some_and(|p| !p.departed) {
                    self.back_off_from(now, node);
                }
                self.gather.proc.insert(node);
            }
        }
        if before != (self.gather.proc.len(), self.gather.fail.len()) {
            self.proposal_changed(now);
        } else {
            self.check_consensus(now);
        }
    }

    fn back_off_from(&mut self, now: Time, node: NodeId) {
        let (timing, overdue) = (self.timing, self.pace.overdue);
        if let Some(peer) = self.peers.get_mut(&node) {
            // The word of one who has missed it longer is believed of one who is missed here as well.
            peer.lost |= peer.silence(now).is_some_and(|s| s >= overdue);
            peer.back_off(now, &timing);
        }
    }

    fn all_agree(&self) -> bool {
        self.gather.candidates().filter(|c| *c != self.config.me).all(|c| self.gather.agrees(c))
    }

    fn check_consensus(&mut self, now: Time) {
        let me = self.config.me;
        let candidates: Vec<NodeId> = self.gather.candidates().take(MAX_MEMBERS).collect();
        let waiting = self.gather.start_until.is_some_and(|t| now < t);
        if candidates == [me] {
            if !waiting && !self.await_readmission(now) {
                self.start_commit(now, candidates);
            }
        } else if self.all_agree() && candidates.first() == Some(&me) {
            self.start_commit(now, candidates);
        }
    }

    /// Alone, because of nodes that live and hear us: rather than in a view of its own for a moment, in which it might believe
    /// itself in charge, the node waits like one that starts for them to take it in. Once per round.
    fn await_readmission(&mut self, now: Time) -> bool {
        if !self.gather.fail.iter().any(|id| self.is_put_out_by(now, *id)) {
            return false;
        }
        self.start_over(now, GatherReason::PutOut);
        true
    }

    /// Whether a node with which no ring came about is there, and hears us.
    fn is_put_out_by(&self, now: Time, node: NodeId) -> bool {
        // After a stall of ours it cannot have heard us.
        let lately = |t: Time| now.since(t) < self.pace.beat_interval * 2;
        let stalled = self.stalled_at.is_some_and(lately) || self.clock_stood_at.is_some_and(lately);
        let lively = self.peers.get(&node).is_some_and(|p| {
            let recent = p.silence(now).is_some_and(|s| s < self.pace.beat_interval * 6 / 5);
            recent && !p.departed && (stalled || p.said.your_links != 0) && !p.all_unreachable(&self.links)
        });
        lively && !self.gather.put_out && self.rounds <= MAX_GATHER_ROUNDS
    }

    pub(crate) fn gather_deadline(&self) -> Option<Time> {
        if self.state != State::Gather {
            return None;
        }
        let g = &self.gather;
        let alone = g.candidates().all(|c| c == self.config.me);
        let timers = if alone { g.start_until } else { Some(g.next_join.min(g.consensus_at)) };
        timers.into_iter().chain(g.start_until).min()
    }

    pub(crate) fn gather_due(&mut self, now: Time) {
        if self.state != State::Gather {
            return;
        }
        if self.gather.start_until.is_some_and(|t| t <= now) {
            // Others are alive but busy forming a ring without our former life, or hold back from us: a ring of our own
            // would be a second cluster for a moment.
            let waited = now.since(self.gather.since) >= self.timing.start_wait * START_PATIENCE;
            let company = self.peers.values().any(|p| p.alive(now, &self.timing));
            let alone = self.gather.candidates().all(|c| c == self.config.me);
            if alone && company && !waited {
                self.gather.start_until = Some(now + self.timing.heartbeat);
                return;
            }
            self.gather.start_until = None;
            self.check_consensus(now);
        }
        if self.state == State::Gather && now >= self.gather.consensus_at {
            self.consensus_due(now);
        }
        if self.state == State::Gather && now >= self.gather.next_join {
            self.send_joins(now);
        }
    }

    fn consensus_due(&mut self, now: Time) {
        if self.gather.candidates().all(|c| c == self.config.me) {
            self.gather.consensus_at = now + self.timing.consensus;
            return self.check_consensus(now);
        }
        if self.all_agree() {
            // Everybody agreed, but the representative's ring did not come about.
            self.counters.commit_timeouts += 1;
            self.start_gather(now, GatherReason::ConsensusTimeout, BTreeSet::new(), BTreeSet::new());
            return;
        }
        self.counters.consensus_timeouts += 1;
        let me = self.config.me;
        let dissent: Vec<NodeId> = self.gather.candidates().filter(|c| *c != me && !self.gather.agrees(*c)).collect();
        for node in dissent {
            self.event(Event::PeerSuspected { node, silent_ms: 0, reason: Suspicion::NoConsensus });
            self.gather.fail.insert(node);
            self.back_off_from(now, node);
        }
        self.proposal_changed(now);
    }
}
