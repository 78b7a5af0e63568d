//! The node: its state, what comes in, what goes out, and its timers. The protocol's parts are in the sibling modules, each an
//! `impl Node` over the fields here.
//!
//! | who may change | what |
//! |---|---|
//! | `membership` | `state` into Gather, `gather` |
//! | `commit` | `state` into Commit, `forming` |
//! | `recovery` | `state` into Recovery and Operational, `ring` |
//! | `token` | `token`, the stores of the ring that has the token |
//! | `heartbeat`, `silence` | `peers` |

use crate::codec::{Data, DecodeError, Frame, Join};
use crate::commit::Forming;
use crate::config::{
    Config, ConfigError, MAX_FRAME, MAX_LINKS, MAX_RING_SEQ, MAX_RING_SEQ_JUMP, MAX_STORED_RING_SEQ, Pace,
    SMALLEST_DATAGRAM, Timing,
};
use crate::fragment::{Assembler, Queue};
use crate::membership::Gather;
use crate::peer::Peer;
use crate::pieces::Parcel;
use crate::status::{Counters, PeerStatus, Status};
use crate::store::Store;
use crate::token::TokenState;
use crate::types::{BroadcastError, Event, GatherReason, Output, State, ViewId};
use base::{NodeId, Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Lives of one process that are told apart by counting its incarnation up.
const MAX_LIVES: u64 = 1 << 16;

/// A ring: the installed one, or the one that is being formed.
#[derive(Default)]
pub(crate) struct Ring {
    pub id: ViewId,
    /// Ascending; the token goes round in this order.
    pub members: Vec<NodeId>,
    pub store: Store,
    /// Nodes to which it was confirmed, in a recovery that did not get to its end, that all of this ring's frames are here:
    /// they may have delivered them, so this node has to as well.
    pub obligation: BTreeSet<NodeId>,
}

impl Ring {
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.members.iter().position(|m| *m == node)
    }
}

pub struct Node {
    pub(crate) config: Config,
    pub(crate) timing: Timing,
    pub(crate) pace: Pace,
    pub(crate) links: Vec<u8>,
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) state: State,
    /// The installed ring; `ViewId::NONE` before the first.
    pub(crate) ring: Ring,
    pub(crate) installed_at: Time,
    pub(crate) gather: Gather,
    /// In Commit and Recovery.
    pub(crate) forming: Option<Forming>,
    pub(crate) token: TokenState,
    pub(crate) queue: Queue,
    pub(crate) assembler: Assembler,
    /// Highest ring number known; only grows.
    pub(crate) ring_seq: u64,
    /// The last ring that this node took part in committing.
    pub(crate) committed_seq: u64,
    pub(crate) join_seq: u64,
    /// Rounds of Gather since the last ring.
    pub(crate) rounds: u32,
    pub(crate) ready: bool,
    pub(crate) quorate: bool,
    pub(crate) beat_seq: u64,
    pub(crate) next_beat: Time,
    /// How many there were: whose turn it is.
    pub(crate) beats: usize,
    pub(crate) last_beat: Option<Time>,
    /// The next heartbeat is news, for every link.
    pub(crate) beat_all: bool,
    /// When this node last ran, to notice that it did not.
    pub(crate) last_run: Time,
    pub(crate) stalled_at: Option<Time>,
    /// When the peers' echoes showed last that this node's clock had stood still, for however short a time.
    pub(crate) clock_stood_at: Option<Time>,
    /// When a node that stepped out comes back.
    return_at: Option<Time>,
    /// By how much the peers' echoes have been ahead of our own clock at most, now and at our last heartbeat.
    pub(crate) echo_ahead: Duration,
    pub(crate) echo_ahead_told: Duration,
    /// When this node's present incarnation began; what was sent before it is about a life that is over.
    pub(crate) life_began: Time,
    /// Frames that were cut into pieces, and questions for sizes, so far.
    pub(crate) parcels: u32,
    pub(crate) probes: u32,
    pub(crate) counters: Counters,
    out: VecDeque<Output>,
}

impl Node {
    /// Starts to listen; a ring of its own follows after `start_wait` if nobody is found.
    pub fn new(config: Config, now: Time) -> Node {
        let peers = config.peers.iter().filter(|p| **p != config.me).map(|p| (*p, Peer::new())).collect();
        let mut node = Node {
            timing: config.effective_timing(),
            pace: Pace::of(&config),
            links: config.links_in_order(),
            peers,
            state: State::Gather,
            ring: Ring::default(),
            installed_at: now,
            gather: Gather::default(),
            forming: None,
            token: TokenState::default(),
            queue: Queue::default(),
            assembler: Assembler::default(),
            ring_seq: config.ring_seq,
            committed_seq: 0,
            join_seq: 0,
            rounds: 0,
            ready: false,
            quorate: false,
            beat_seq: 0,
            next_beat: now,
            beats: 0,
            last_beat: None,
            beat_all: true,
            last_run: now,
            stalled_at: None,
            clock_stood_at: None,
            return_at: None,
            echo_ahead: Duration::ZERO,
            echo_ahead_told: Duration::ZERO,
            life_began: Time::ZERO,
            parcels: 0,
            probes: 0,
            counters: Counters::default(),
            out: VecDeque::new(),
            config,
        };
        if node.ring_seq > MAX_STORED_RING_SEQ {
            let got = std::mem::take(&mut node.ring_seq);
            node.event(Event::RingNumberRefused { node: node.config.me, got, limit: MAX_STORED_RING_SEQ });
        }
        node.start_gather(now, GatherReason::Start, BTreeSet::new(), BTreeSet::new());
        node.beat_due(now);
        node
    }

    /// A frame that `from` sent, opened, from `link`.
    pub fn handle(&mut self, now: Time, from: NodeId, link: u8, frame: &[u8]) {
        self.note_run(now);
        let Some(peer) = self.peers.get_mut(&from) else {
            self.counters.frames_foreign += 1;
            return;
        };
        if let Some(l) = peer.links.get_mut(usize::from(link)) {
            l.received.count(frame);
        }
        let frame = match Frame::decode(frame) {
            Ok(frame) => frame,
            Err(error) => {
                self.counters.frames_refused += 1;
                if let DecodeError::RingNumber { got } = error {
                    self.refuse_ring_seq(from, got, MAX_RING_SEQ);
                }
                return;
            }
        };
        if self.state == State::Left {
            self.say_goodbye_again(now, from, link);
            return;
        }
        if !self.note_incarnation(now, from, &frame) {
            return;
        }
        self.note_heard(now, from, link);
        let Frame::Piece(piece) = frame else { return self.on_frame(now, from, link, frame) };
        let Some(whole) = self.peers.get_mut(&from).and_then(|p| p.pieces.push(&piece)) else { return };
        match Frame::decode_shared(&whole) {
            Ok(Frame::Piece(_)) | Err(_) => self.counters.frames_refused += 1,
            Ok(frame) if self.note_incarnation(now, from, &frame) => self.on_frame(now, from, link, frame),
            Ok(_) => {}
        }
    }

    fn on_frame(&mut self, now: Time, from: NodeId, link: u8, frame: Frame) {
        match frame {
            Frame::Heartbeat(h) => self.on_heartbeat(now, from, link, h),
            Frame::Join(j) => self.on_join(now, from, j),
            Frame::Leave { .. } => self.on_leave(now, from),
            Frame::Commit(c) => self.on_commit(now, from, c),
            Frame::Token(t) => self.on_token(now, from, t),
            Frame::Ack(a) => self.on_ack(from, a),
            Frame::HoldCancel { ring } => self.on_hold_cancel(now, from, ring),
            Frame::Data(d) => self.on_data(from, d),
            Frame::Probe(p) => self.on_probe(from, link, p),
            Frame::ProbeReply(p) => self.on_probe_reply(now, from, link, p),
            Frame::Piece(_) => {}
        }
    }

    /// To be called at `poll_timeout`, or somewhat later. Being called much later tells the node that it was stalled; then
    /// hand it the frames that wait in the sockets before the next call, so that they can speak for the peers.
    pub fn handle_timeout(&mut self, now: Time) {
        self.note_run(now);
        if self.state == State::Left {
            if self.return_at.take_if(|t| *t <= now).is_some() {
                self.rounds = 0;
                self.start_over(now, GatherReason::Start);
            }
            return;
        }
        self.beat_due(now);
        // Before more is asked: an answer to the last question may still be waited for.
        self.check_silence(now);
        self.probe_due(now);
        self.token_due(now);
        self.gather_due(now);
        self.commit_due(now);
        self.sizes_due(now);
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.state == State::Left {
            return self.return_at;
        }
        let all = [
            Some(self.next_beat),
            self.partners_deadline(),
            self.token_deadline(),
            self.gather_deadline(),
            self.commit_deadline(),
            self.sizes_deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// What to do next, in order. Drain it after each call of the others.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Queues a message for everybody, this node included. It is delivered in one view at all members that deliver it, and
    /// survives changes of the ring as long as this process lives.
    pub fn broadcast(&mut self, now: Time, payload: impl Into<Bytes>) -> Result<(), BroadcastError> {
        self.note_run(now);
        if self.state == State::Left {
            return Err(BroadcastError::Left);
        }
        self.queue.push(payload.into())?;
        self.wake_token(now);
        Ok(())
    }

    /// Whether the controller here does its work; travels in heartbeats.
    pub fn set_ready(&mut self, now: Time, ready: bool) {
        if std::mem::replace(&mut self.ready, ready) != ready {
            self.beat_now(now);
        }
    }

    /// Whether this node is quorate and no longer waits for all; travels in heartbeats.
    pub fn set_quorate(&mut self, now: Time, quorate: bool) {
        if std::mem::replace(&mut self.quorate, quorate) != quorate {
            self.beat_now(now);
        }
    }

    /// The network reported (ICMP) that nobody listens at the peer's end of the link.
    pub fn link_error(&mut self, now: Time, peer: NodeId, link: u8) {
        self.note_run(now);
        self.on_link_error(now, peer, link);
    }

    /// The nodelist was reloaded. Nodes that are gone leave the ring as if they had died.
    pub fn set_peers(&mut self, now: Time, peers: BTreeSet<NodeId>) {
        self.note_run(now);
        let me = self.config.me;
        self.config.peers = peers.into_iter().filter(|p| *p != me).collect();
        self.timing = self.config.effective_timing();
        self.pace = Pace::of(&self.config);
        let gone: BTreeSet<NodeId> = self.peers.keys().copied().filter(|p| !self.config.peers.contains(p)).collect();
        for id in &self.config.peers {
            self.peers.entry(*id).or_insert_with(Peer::new);
        }
        let affected = gone.iter().any(|g| self.is_partner(*g));
        if affected && self.state != State::Left {
            self.start_gather(now, GatherReason::PeerLeft, BTreeSet::new(), gone.clone());
        }
        for id in gone {
            if self.peers.remove(&id).is_some_and(|p| p.told != (false, false)) {
                self.event(Event::PeerFlags { node: id, ready: false, quorate: false });
            }
        }
        self.beat_now(now);
    }

    /// The file was reloaded: everything but who this node is, and what it has lived through, is as `config` says from now on.
    /// All nodes of a ring do this at the same place of the order.
    pub fn reconfigure(&mut self, now: Time, config: Config) -> Result<(), ConfigError> {
        config.check()?;
        let peers = config.peers.clone();
        let (me, incarnation, ring_seq) = (self.config.me, self.config.incarnation, self.config.ring_seq);
        self.config = Config { me, incarnation, ring_seq, ..config };
        self.links = self.config.links_in_order();
        // A link that goes takes with it what was known of it.
        let gone = usize::from(self.config.links);
        self.peers.values_mut().flat_map(|p| p.links.iter_mut().skip(gone)).for_each(|l| *l = Default::default());
        self.next_beat = now;
        self.set_peers(now, peers);
        Ok(())
    }

    /// Says goodbye, so that the others go on at once. Messages still queued are lost: wait until yours are safe.
    pub fn leave(&mut self, now: Time) {
        self.return_at = None;
        if self.state == State::Left {
            return;
        }
        self.part(now);
        self.event(Event::Left);
    }

    /// Leaves like [`Node::leave`], with nothing more of the view delivered and nothing of this node's own left to send, and
    /// comes back after `out` like a process that has just started. For a user that cannot follow its view any more.
    pub fn step_out(&mut self, now: Time, out: Duration) {
        if self.state == State::Left {
            return;
        }
        self.part(now);
        self.ring = Ring::default();
        self.queue = Queue::default();
        self.assembler.clear();
        self.return_at = Some(now + out);
        self.event(Event::SteppedOut { out_ms: out.as_millis() as u64 });
    }

    /// Whether this node has left for good.
    pub fn has_left(&self) -> bool {
        self.state == State::Left && self.return_at.is_none()
    }

    /// Operational, and everybody in the view was heard within the suspicion time.
    pub fn is_current(&self, now: Time) -> bool {
        self.state == State::Operational && self.others().all(|m| self.is_alive(now, m))
    }

    pub fn view(&self) -> ViewId {
        self.ring.id
    }

    pub fn members(&self) -> &[NodeId] {
        &self.ring.members
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn status(&self, now: Time) -> Status {
        let peer = |(id, p): (&NodeId, &Peer)| PeerStatus {
            node: *id,
            member: self.ring.members.contains(id),
            alive: self.is_alive(now, *id),
            ready: p.said.ready,
            quorate: p.said.quorate,
            view: p.said.view,
            links: p.link_status(self.config.link_mode, &self.links, &self.config.sizes),
        };
        Status {
            state: self.state,
            view: self.ring.id,
            members: self.ring.members.iter().map(|m| m.0).collect(),
            current: self.is_current(now),
            peers: self.peers.iter().map(peer).collect(),
            counters: self.counters,
            queued: self.queue.len(),
        }
    }
}

/// Shared by the protocol's parts.
impl Node {
    pub(crate) fn emit(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn is_alive(&self, now: Time, node: NodeId) -> bool {
        self.peers.get(&node).is_some_and(|p| p.alive(now, &self.timing))
    }

    /// The other members of the installed ring.
    pub(crate) fn others(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ring.members.iter().copied().filter(|m| *m != self.config.me)
    }

    /// Everybody whose silence matters now.
    pub(crate) fn partners(&self) -> Vec<NodeId> {
        let mut partners = Vec::new();
        self.each_partner(|p| partners.push(p));
        partners
    }

    pub(crate) fn is_partner(&self, node: NodeId) -> bool {
        let mut found = false;
        self.each_partner(|p| found |= p == node);
        found
    }

    /// The earliest of what holds for one of them each.
    pub(crate) fn earliest(&self, at: impl Fn(&Peer) -> Option<Time>) -> Option<Time> {
        let mut earliest: Option<Time> = None;
        self.each_partner(|p| {
            if let Some(at) = self.peers.get(&p).and_then(&at) {
                earliest = Some(earliest.map_or(at, |before| before.min(at)));
            }
        });
        earliest
    }

    fn each_partner(&self, mut visit: impl FnMut(NodeId)) {
        let me = self.config.me;
        let members: &[NodeId] = match (self.state, &self.forming) {
            (State::Gather, _) => return self.gather.candidates().filter(|m| *m != me).for_each(visit),
            (State::Commit | State::Recovery, Some(f)) => &f.ring.members,
            (State::Operational, _) => &self.ring.members,
            _ => &[],
        };
        for member in members {
            if *member != me {
                visit(*member);
            }
        }
    }

    /// The ring that the token belongs to.
    pub(crate) fn token_ring(&self) -> Option<&Ring> {
        match self.state {
            State::Operational => Some(&self.ring),
            State::Recovery => self.forming.as_ref().map(|f| &f.ring),
            _ => None,
        }
    }

    pub(crate) fn token_ring_mut(&mut self) -> Option<&mut Ring> {
        match self.state {
            State::Operational => Some(&mut self.ring),
            State::Recovery => self.forming.as_mut().map(|f| &mut f.ring),
            _ => None,
        }
    }

    pub(crate) fn send_bytes(&mut self, to: NodeId, link: u8, frame: Bytes) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if let Some(l) = peer.links.get_mut(usize::from(link)) {
            l.sent.count(&frame);
        }
        self.out.push_back(Output::Send { to, link, frame });
    }

    /// As `link_mode` says, over none of the links in the set `avoid` if there is another; gives the set that was taken. What is
    /// sent `again` goes in datagrams that pass where those of the first time may not have.
    pub(crate) fn send_over(&mut self, to: NodeId, parcel: &mut Parcel, avoid: u8, again: bool) -> u8 {
        let (sizes, life) = (self.config.sizes, self.config.incarnation as u32);
        let Some(peer) = self.peers.get_mut(&to) else { return 0 };
        let taken = peer.next_links(self.config.link_mode, &self.links, avoid);
        for n in 0..self.links.len() {
            let link = self.links[n];
            if !crate::link::is_in(taken, link) {
                continue;
            }
            let path =
                self.peers.get(&to).and_then(|p| p.links.get(usize::from(link))).map(|l| l.path).unwrap_or_default();
            let size = if again { path.small(&sizes) } else { path.size(&sizes) };
            for datagram in parcel.datagrams(size, life, &mut self.parcels) {
                self.send_bytes(to, link, datagram);
            }
        }
        taken
    }

    pub(crate) fn send(&mut self, to: NodeId, frame: &Frame) {
        self.send_over(to, &mut Parcel::new(frame.encode().into()), 0, false);
    }

    pub(crate) fn send_all_links(&mut self, to: NodeId, frame: &Frame) {
        let bytes = Bytes::from(frame.encode());
        for n in 0..self.links.len() {
            self.send_bytes(to, self.links[n], bytes.clone());
        }
    }

    /// To every other member of the token's ring; again over another link than the first time, if there is one. True if it went
    /// in datagrams that not every network carries.
    pub(crate) fn cast(&mut self, data: &Data, again: bool) -> bool {
        let me = self.config.me;
        let members = self.token_ring().map(|r| r.members.clone()).unwrap_or_default();
        let mut parcel = Parcel::new(data.encode().into());
        for to in members.into_iter().filter(|m| *m != me) {
            let Some(peer) = self.peers.get(&to) else { continue };
            let avoid = if again { 1 << peer.best_link(&self.links, 0) } else { 0 };
            self.send_over(to, &mut parcel, avoid, again);
        }
        parcel.frame.len() > SMALLEST_DATAGRAM
    }

    /// Bytes of payload per fragment: a frame must still fit when it is wrapped in a recovery.
    pub(crate) fn fragment_size(&self) -> usize {
        MAX_FRAME - 2 * crate::codec::DATA_OVERHEAD
    }

    /// A frame of an old process life says nothing; one of a new life says that the old one is over. `false`: drop it.
    fn note_incarnation(&mut self, now: Time, from: NodeId, frame: &Frame) -> bool {
        let (incarnation, leaving) = match frame {
            Frame::Heartbeat(h) => (h.incarnation, false),
            Frame::Join(Join { incarnation, .. }) => (*incarnation, false),
            Frame::Leave { incarnation } => (*incarnation, true),
            // The others name a ring; who is not in it is refused there.
            _ => return self.peers.get(&from).is_some_and(|p| !p.departed),
        };
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        match peer.incarnation {
            Some(known) if known == incarnation => return !peer.departed || leaving,
            // Late from a life before the present one.
            Some(known) if known.wrapping_sub(incarnation) <= MAX_LIVES => return false,
            Some(_) => {
                peer.restart(incarnation);
                self.tell_flags(from);
                self.on_restart(now, from);
            }
            None => peer.restart(incarnation),
        }
        true
    }

    /// Somebody knows of a ring with this number.
    pub(crate) fn learn_ring_seq(&mut self, from: NodeId, seq: u64) {
        let limit = self.ring_seq.saturating_add(MAX_RING_SEQ_JUMP);
        if seq > limit {
            return self.refuse_ring_seq(from, seq, limit);
        }
        self.ring_seq = self.ring_seq.max(seq);
    }

    /// Told once in the life of a peer.
    pub(crate) fn refuse_ring_seq(&mut self, from: NodeId, got: u64, limit: u64) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if !std::mem::replace(&mut peer.number_refused, true) {
            self.event(Event::RingNumberRefused { node: from, got, limit });
        }
    }

    fn part(&mut self, now: Time) {
        let frame = Frame::Leave { incarnation: self.config.incarnation };
        for _ in 0..2 {
            let all: Vec<NodeId> = self.peers.keys().copied().collect();
            all.into_iter().for_each(|p| self.send_all_links(p, &frame));
        }
        self.state = State::Left;
        self.forming = None;
        self.token = TokenState::default();
        self.last_run = now;
    }

    fn say_goodbye_again(&mut self, now: Time, from: NodeId, link: u8) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.next_goodbye.is_some_and(|t| now < t) || link >= MAX_LINKS {
            return;
        }
        peer.next_goodbye = Some(now + self.pace.beat_interval);
        let frame = Frame::Leave { incarnation: self.config.incarnation };
        self.send_bytes(from, link, frame.encode().into());
    }
}
