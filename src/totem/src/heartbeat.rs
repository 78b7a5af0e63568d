//! Heartbeats and links: who is alive, over which link, and who could share a ring with whom.
//!
//! Every peer gets a heartbeat on every link, members and strangers alike: that keeps links known, finds the dead (`silence`),
//! finds rings to merge with, and tells each node whom the others hear. Peers take turns. Any frame counts as a sign of life.

use crate::codec::{FLAG_PROBE, FLAG_QUORATE, FLAG_READY, Heartbeat};
use crate::node::Node;
use crate::peer::Said;
use crate::silence::Refusal;
use crate::types::{Event, GatherReason, State, Suspicion, ViewId};
use base::{NodeId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// Heartbeats in a row from a member that works in another ring, after which it is no member any more.
const ELSEWHERE_LIMIT: u32 = 3;
/// A process that did not run for so long beyond its next timer knows that it stalled.
const STALL: Duration = Duration::from_millis(50);
/// A clock that is so far behind what peers echo of it stood still: an echo is never ahead of a clock that goes.
const CLOCK_STOOD: Duration = Duration::from_millis(5);

impl Node {
    /// The regular heartbeat.
    pub(crate) fn beat_due(&mut self, now: Time) {
        if now >= self.next_beat {
            self.next_beat = now + self.pace.beat_every;
            self.check_links(now);
            self.ask_hosts(now);
            self.beat(now);
            self.look_for_merge(now);
        }
    }

    /// Something that the others should know has changed. Not more often than five times the regular rate.
    pub(crate) fn beat_now(&mut self, now: Time) {
        if self.state == State::Left {
            return;
        }
        let earliest = self.last_beat.map_or(now, |t| t + self.timing.heartbeat / 5);
        self.next_beat = self.next_beat.min(earliest.max(now));
        self.beat_all = true;
    }

    /// On the links in use at least every [`Config::beat_interval`](crate::Config::beat_interval), since the ring lives by them; on
    /// the others as often as those are watched.
    fn beat(&mut self, now: Time) {
        self.last_beat = Some(now);
        self.echo_ahead_told = self.echo_ahead;
        let news = std::mem::take(&mut self.beat_all);
        self.beats = self.beats.wrapping_add(1);
        let (turns, usual) = (self.pace.turns, self.pace.beat_interval);
        let hears = self.hears(now);
        // What is due a moment from now is sent now.
        let early = self.pace.beat_every / 4;
        let all: Vec<NodeId> = self.peers.keys().copied().collect();
        for (place, id) in all.into_iter().enumerate() {
            // News and the like go to all at once; from then on they take turns again, and whose turn comes too early, all the same.
            let its_turn = self.beats.wrapping_add(place) % turns == 0;
            let Some(peer) = self.peers.get(&id) else { continue };
            let silent = self.is_silent(now, peer);
            let in_use = peer.links_in_use(self.config.link_mode, &self.links);
            for n in 0..self.links.len() {
                let link = self.links[n];
                let Some(peer) = self.peers.get(&id) else { continue };
                let used = in_use >> link & 1 == 1;
                let watched = self.pace.watch(link).interval;
                let every = if used { watched.min(usual) } else { watched };
                let every = if its_turn && every == usual { every / turns as u32 } else { every };
                let beaten = peer.links.get(usize::from(link)).and_then(|l| l.beaten);
                if news || silent || beaten.is_none_or(|t| now.since(t) + early >= every) {
                    self.beat_to(now, id, link, false, &hears);
                }
            }
        }
    }

    /// `hears`: what [`Node::hears`] says at this moment.
    pub(crate) fn beat_to(&mut self, now: Time, to: NodeId, link: u8, probe: bool, hears: &[NodeId]) {
        self.beat_seq += 1;
        let Some(peer) = self.peers.get(&to) else { return };
        let silent = self.is_silent(now, peer);
        let up = |n: &u8| !silent && peer.links.get(usize::from(*n)).is_some_and(|l| l.up);
        let your_links = self.links.iter().filter(|n| up(n)).fold(0u8, |bits, n| bits | 1 << n);
        let echo = peer.links.get(usize::from(link)).and_then(|l| l.echo);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let heartbeat = Heartbeat {
            incarnation: self.config.incarnation,
            seq: self.beat_seq,
            view: self.ring.id,
            state: self.state,
            flags: flag(self.ready, FLAG_READY) | flag(self.quorate, FLAG_QUORATE) | flag(probe, FLAG_PROBE),
            ring_seq: self.ring_seq,
            your_links,
            sent_us: now.0,
            echo_us: echo.map_or(0, |(theirs, at)| theirs.saturating_add(now.since(at).as_micros() as u64)),
            members: self.ring.members.as_slice(),
            hears,
        };
        let bytes = heartbeat.encode();
        if let Some(l) = self.peers.get_mut(&to).and_then(|p| p.links.get_mut(usize::from(link))) {
            l.beaten = Some(now);
        }
        self.send_bytes(to, link, bytes.into());
    }

    /// Whom this node would share a ring with: members that live, and others that were heard just now and are not backed off from.
    /// Ascending.
    pub(crate) fn hears(&self, now: Time) -> Vec<NodeId> {
        let member = |id: &NodeId| self.ring.members.contains(id);
        let willing = self.peers.iter().filter(|(id, p)| {
            p.alive(now, &self.timing) && (member(id) || !p.backing_off(now) && !self.is_silent(now, p))
        });
        let mut hears: Vec<NodeId> = Vec::with_capacity(self.peers.len() + 1);
        hears.extend(willing.map(|(id, _)| *id));
        hears.insert(hears.partition_point(|id| *id < self.config.me), self.config.me);
        hears
    }

    pub(crate) fn note_heard(&mut self, now: Time, from: NodeId, link: u8) {
        let timing = self.timing;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let news = !peer.alive(now, &timing);
        peer.heard = Some(now);
        peer.lost = false;
        peer.next_probe = None;
        peer.refusal = Refusal::None;
        peer.host.unanswered = 0;
        let Some(l) = peer.links.get_mut(usize::from(link)) else { return };
        l.heard = Some(now);
        l.unreachable = false;
        l.doubtful = false;
        if news {
            self.beat_now(now);
        }
    }

    pub(crate) fn on_heartbeat(&mut self, now: Time, from: NodeId, link: u8, h: Heartbeat<Vec<NodeId>>) {
        self.learn_ring_seq(from, h.ring_seq);
        // Until an echo of this process's clock has come from a peer, it may tell of the process before.
        if self.peers.get(&from).and_then(|p| p.links.get(usize::from(link))).is_some_and(|l| l.rtt_us.is_some()) {
            self.note_echo(now, h.echo_us);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let watch = self.pace.watch(link);
        if let Some(l) = peer.links.get_mut(usize::from(link)) {
            l.echo = Some((h.sent_us, now));
            if h.echo_us != 0 && h.echo_us <= now.0 {
                l.round_trip(now.0 - h.echo_us, watch);
            }
            if l.beat(watch) {
                self.event(Event::LinkUp { node: from, link });
                self.beat_now(now);
            }
        }
        if h.flags & FLAG_PROBE != 0 {
            let hears = self.hears(now);
            self.beat_to(now, from, link, false, &hears);
        }
        let began = self.life_began;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        // The echo is our own clock as the peer last heard it: it tells what was sent before this life from what answers to it.
        peer.fresh |= (began.0..=now.0).contains(&h.echo_us) || began == Time::ZERO;
        if h.seq <= peer.said.seq || !peer.fresh {
            return;
        }
        let said = Said {
            seq: h.seq,
            view: h.view,
            state: h.state,
            ready: h.flags & FLAG_READY != 0,
            quorate: h.flags & FLAG_QUORATE != 0,
            your_links: h.your_links,
            members: h.members,
            hears: h.hears,
        };
        let old = std::mem::replace(&mut peer.said, said);
        let sees_me = peer.said.hears.contains(&self.config.me);
        self.tell_flags(from);
        if !sees_me && old.seq == 0 {
            self.beat_now(now);
        }
        self.check_elsewhere(now, from);
        self.look_for_merge(now);
    }

    /// Whoever counts on what a peer is hears of every change, also of that which comes by the end of its life.
    pub(crate) fn tell_flags(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let (ready, quorate) = (peer.said.ready, peer.said.quorate);
        if std::mem::replace(&mut peer.told, (ready, quorate)) != (ready, quorate) {
            self.event(Event::PeerFlags { node, ready, quorate });
        }
    }

    /// A member that works in another ring is no member any more, whatever we missed.
    fn check_elsewhere(&mut self, now: Time, from: NodeId) {
        let (state, id) = (self.state, self.ring.id);
        let member = state == State::Operational && self.ring.members.contains(&from);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !member || peer.said.state != State::Operational || peer.said.view == id {
            peer.elsewhere = 0;
            return;
        }
        peer.elsewhere += 1;
        if peer.elsewhere >= ELSEWHERE_LIMIT {
            self.suspect(now, from, Suspicion::OtherRing);
        }
    }

    /// Whether we and all of `ours` hear the node, and it hears all of us: only then is a ring with it worth a try.
    fn mutual(&self, now: Time, node: NodeId, ours: &BTreeSet<NodeId>) -> bool {
        let Some(peer) = self.peers.get(&node) else { return false };
        if !peer.alive(now, &self.timing) || peer.backing_off(now) || !ours.iter().all(|m| peer.said.hears.contains(m))
        {
            return false;
        }
        // The last thing that came from there was an ICMP error: not silent for long enough, but dead all the same.
        if peer.all_unreachable(&self.links) {
            return false;
        }
        let heard_by = |m: &NodeId| self.peers.get(m).is_some_and(|p| p.said.hears.contains(&node));
        ours.iter().filter(|m| **m != self.config.me).all(heard_by)
    }

    /// Another ring, or a node without one, with which all of ours could work.
    pub(crate) fn look_for_merge(&mut self, now: Time) {
        let starting = self.state == State::Gather && self.gather.start_until.is_some();
        let settled = self.state == State::Operational && now >= self.installed_at + self.timing.heartbeat;
        if !starting && !settled {
            return;
        }
        if settled && self.peers.keys().all(|id| self.ring.members.contains(id)) {
            return;
        }
        let ours: BTreeSet<NodeId> =
            if starting { self.gather.candidates().collect() } else { self.ring.members.iter().copied().collect() };
        let mut found = BTreeSet::new();
        for (id, peer) in self.peers.iter().filter(|(id, _)| !ours.contains(id)) {
            let quiet = match peer.said.state {
                State::Operational => true,
                State::Gather => peer.said.view == ViewId::NONE,
                _ => false,
            };
            let theirs = peer.said.members.iter().chain([id]).filter(|t| !ours.contains(t));
            let mut theirs: BTreeSet<NodeId> = theirs.copied().collect();
            if quiet && peer.said.seq > 0 && theirs.iter().all(|t| self.mutual(now, *t, &ours)) {
                found.append(&mut theirs);
            }
        }
        if found.is_empty() || (starting && found.iter().all(|f| self.gather.knows(*f))) {
            return;
        }
        if starting {
            self.extend_gather(now, found);
        } else {
            self.counters.merges_started += 1;
            self.start_gather(now, GatherReason::Merge, found, BTreeSet::new());
        }
    }

    fn check_links(&mut self, now: Time) {
        let mut events = Vec::new();
        for (id, peer) in &mut self.peers {
            for n in &self.links {
                let Some(l) = peer.links.get_mut(usize::from(*n)) else { continue };
                if let Some(silent) = l.check(now, self.pace.watch(*n)) {
                    events.push(Event::LinkDown { node: *id, link: *n, silent_ms: silent.as_millis() as u64 });
                }
            }
        }
        events.into_iter().for_each(|e| self.event(e));
    }

    pub(crate) fn on_restart(&mut self, now: Time, node: NodeId) {
        self.event(Event::PeerRestarted { node });
        if self.state == State::Gather && !self.ring.members.contains(&node) {
            // A stranger whom we are about to take in: its new life is as welcome as the old one.
            return self.gather.unsay(node);
        }
        if self.is_partner(node) {
            self.suspect(now, node, Suspicion::Restarted);
        }
    }

    pub(crate) fn on_leave(&mut self, now: Time, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if std::mem::replace(&mut peer.departed, true) {
            return;
        }
        peer.said.ready = false;
        peer.said.quorate = false;
        self.event(Event::PeerLeft { node });
        self.tell_flags(node);
        if self.is_partner(node) {
            self.exclude(now, GatherReason::PeerLeft, node);
        }
    }

    /// Notices that this process did not run, and then blames nobody for the silence meanwhile.
    pub(crate) fn note_run(&mut self, now: Time) {
        let gap = now.since(self.last_run);
        self.last_run = self.last_run.max(now);
        // The heartbeat timer alone makes it run more often than this.
        let stalled = gap.saturating_sub(self.timing.heartbeat);
        if stalled < self.shortest_stall() || self.state == State::Left {
            return;
        }
        self.stalled(now, stalled);
        self.peers.values_mut().for_each(|p| p.shift(now, gap));
        self.token.shift(now, gap);
        self.gather.shift(now, gap);
        if let Some(f) = &mut self.forming {
            f.since = (f.since + gap).min(now);
        }
        self.left_behind_after(now, gap);
    }

    /// An echo is a reading of our own clock plus the time that the peer kept it. If it is ahead of our clock, then that clock
    /// stood still meanwhile: this is a virtual machine that was paused, and does not see it by itself.
    fn note_echo(&mut self, now: Time, echo_us: u64) {
        self.echo_ahead = self.echo_ahead.max(Duration::from_micros(echo_us.saturating_sub(now.0)));
        if self.life_began != Time::ZERO && now.since(self.life_began) < self.timing.suspect {
            // Still about the stall that this life began with.
            self.echo_ahead_told = self.echo_ahead;
        }
        // Clocks that go at slightly different rates part slowly; only what came since our last heartbeat is a stall.
        let stalled = self.echo_ahead.saturating_sub(self.echo_ahead_told);
        if stalled >= CLOCK_STOOD {
            // Short as it was, what the others say of this node's silence may be about it.
            self.clock_stood_at = Some(now);
        }
        if stalled < self.shortest_stall() {
            return;
        }
        if self.stalled_at.is_none_or(|t| now.since(t) >= self.timing.heartbeat) {
            self.stalled(now, stalled);
        }
        self.left_behind_after(now, stalled);
    }

    fn shortest_stall(&self) -> Duration {
        STALL.min(self.timing.heartbeat * 3 / 2)
    }

    fn stalled(&mut self, now: Time, by: Duration) {
        self.counters.local_stalls += 1;
        self.stalled_at = Some(now);
        self.event(Event::LocalStall { stalled_ms: by.as_millis() as u64 });
    }

    /// The others have probably gone on without us. What we were told and what we suspected is about the past.
    fn left_behind_after(&mut self, now: Time, away: Duration) {
        if away >= self.timing.suspect && !self.partners().is_empty() {
            self.rounds = 0;
            self.start_over(now, GatherReason::LocalStall);
        }
    }
}
