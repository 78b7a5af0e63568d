//! The token: who may send, what is missing, what is safe.
//!
//! Only the holder of the token gives out sequence numbers, so the order is total. On each visit a member answers
//! retransmission requests, sends what flow control allows, writes down how far it has everything, and asks for what it misses.
//! The lowest of these marks is what all members hold ("safe"). An idle token rests at the representative for `hold`; whoever
//! gets something to send calls it back with a hold-cancel. A hop is acknowledged, and repeated over another link until it is.

use crate::codec::{Ack, Data, Frame, Token};
use crate::config::{MAX_OUTSTANDING, MAX_RETRANSMIT_REQUESTS};
use crate::node::Node;
use crate::pieces::Parcel;
use crate::store::Inserted;
use crate::types::{GatherReason, Output, State, ViewId};
use base::{NodeId, Time};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;

/// Frames beyond what all members hold, at which senders stop: half of what a store takes.
const SEND_LIMIT: u64 = MAX_OUTSTANDING / 2;
/// Quiet visits in a row after which everybody knows that everything is safe, and the token may rest.
const QUIET_VISITS: u32 = 2;
/// Doublings of the interval between two repetitions of a token.
const MAX_REPEAT_SHIFT: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SentKey {
    pub ring: ViewId,
    pub commit: bool,
    pub seq: u64,
}

/// A token on its way, until the receiver shows that it came.
#[derive(Clone)]
struct Sent {
    to: NodeId,
    frame: Bytes,
    key: SentKey,
    /// The links that it was sent over last, as a set.
    links: u8,
    tries: u32,
    next: Time,
}

#[derive(Default)]
pub(crate) struct TokenState {
    sent: Option<Sent>,
    /// Resting here.
    held: Option<(Token, Time)>,
    last_seq: u64,
    seen: Time,
    my_last_sent: u32,
    my_last_backlog: u32,
    /// The last frame that this node sent at its last visit in a datagram that not every network carries.
    my_large: u64,
    /// `seq` at the last visit: what is still missing now was lost, not late.
    last_high: u64,
    quiet: u32,
    /// A hold-cancel came while the token was elsewhere.
    cancelled: bool,
    /// When it is called back again: a call may be lost.
    next_cancel: Option<Time>,
}

impl TokenState {
    pub fn reset(&mut self, now: Time) {
        let sent = self.sent.take();
        // The commit token's last hop may still have to be repeated.
        *self = TokenState { sent, seen: now, ..TokenState::default() };
    }

    pub fn stop(&mut self) {
        self.sent = None;
        self.held = None;
        self.next_cancel = None;
    }

    pub fn shift(&mut self, now: Time, by: Duration) {
        self.seen = (self.seen + by).min(now);
    }
}

impl Node {
    pub(crate) fn send_reliably(&mut self, now: Time, to: NodeId, frame: Bytes, key: SentKey) {
        let next = now + self.repeat_interval(to);
        let links = self.send_over(to, &mut Parcel::new(frame.clone()), 0, false);
        self.token.sent = Some(Sent { to, frame, key, links, tries: 0, next });
    }

    /// The configured time, or twice the round trip on a slow link.
    fn repeat_interval(&self, to: NodeId) -> Duration {
        let rtt = self.peers.get(&to).and_then(|p| p.links.iter().filter_map(|l| l.rtt_us).max()).unwrap_or(0);
        self.timing.token_retransmit.max(Duration::from_micros(rtt.min(1_000_000) * 2))
    }

    pub(crate) fn on_ack(&mut self, from: NodeId, ack: Ack) {
        let key = SentKey { ring: ack.ring, commit: ack.commit, seq: ack.seq };
        if self.token.sent.as_ref().is_some_and(|s| s.to == from && s.key == key) {
            self.token.sent = None;
        }
    }

    pub(crate) fn start_token(&mut self, now: Time) {
        let Some(f) = &self.forming else { return };
        let count = f.ring.members.len();
        let token = Token {
            ring: f.ring.id,
            token_seq: 1,
            seq: 0,
            fcc: 0,
            backlog: 0,
            done: 0,
            arus: vec![0; count],
            rtr: Vec::new(),
        };
        self.token.sent = None;
        self.token.last_seq = 1;
        self.visit(now, token);
    }

    pub(crate) fn on_token(&mut self, now: Time, from: NodeId, token: Token) {
        let fits = self.token_ring().is_some_and(|r| r.id == token.ring && r.members.len() == token.arus.len());
        let member = self.token_ring().is_some_and(|r| r.position(from).is_some());
        if !fits || !member {
            self.counters.frames_foreign += 1;
            return;
        }
        let ack = Frame::Ack(Ack { ring: token.ring, commit: false, seq: token.token_seq });
        if token.token_seq <= self.token.last_seq {
            self.counters.tokens_duplicate += 1;
            self.send(from, &ack);
            return;
        }
        self.counters.tokens_received += 1;
        self.token.last_seq = token.token_seq;
        self.token.seen = now;
        self.token.sent = None;
        if let Some(f) = &mut self.forming {
            f.since = now;
        }
        let pair = token.arus.len() == 2;
        self.visit(now, token);
        // Between two, the token that goes straight back says the same.
        if !(pair && self.token.sent.as_ref().is_some_and(|s| s.to == from)) {
            self.send(from, &ack);
        }
    }

    fn visit(&mut self, now: Time, mut token: Token) {
        let Some(position) = self.token_ring().and_then(|r| r.position(self.config.me)) else { return };
        self.token.next_cancel = None;
        let in_ring_before = self.state == State::Operational;
        self.look_after_large(now, &token);
        self.serve_requests(&mut token);
        let mut sent = 0;
        if self.state == State::Recovery {
            sent += self.send_recovery(&mut token);
            if self.recovery_done() {
                token.done |= 1 << position;
            }
            let everybody = (1u64 << token.arus.len()) - 1;
            if u64::from(token.done) & everybody == everybody {
                self.install(now);
            }
        }
        if self.state == State::Operational {
            sent += self.send_messages(&mut token, sent);
        }
        token.fcc = token.fcc.saturating_sub(self.token.my_last_sent).saturating_add(sent);
        self.token.my_last_sent = sent;
        let backlog = self.backlog();
        token.backlog = token.backlog.saturating_sub(self.token.my_last_backlog).saturating_add(backlog);
        self.token.my_last_backlog = backlog;
        self.request_missing(&mut token, position);
        self.note_safe(&token);
        self.token.quiet = if is_quiet(&token) { self.token.quiet.saturating_add(1) } else { 0 };
        let cancelled = std::mem::take(&mut self.token.cancelled);
        if !in_ring_before {
            // The token must not rest before it has told everybody to install.
            self.token.quiet = 0;
        }
        let rest = position == 0 && self.state == State::Operational && self.token.quiet >= QUIET_VISITS && !cancelled;
        if rest {
            self.counters.tokens_held += 1;
            self.token.held = Some((token, now + self.timing.hold));
        } else {
            self.pass_on(now, token);
        }
    }

    fn pass_on(&mut self, now: Time, mut token: Token) {
        let Some(ring) = self.token_ring() else { return };
        let Some(position) = ring.position(self.config.me) else { return };
        let Some(next) = ring.members.get((position + 1) % ring.members.len()).copied() else { return };
        token.token_seq += 1;
        let key = SentKey { ring: token.ring, commit: false, seq: token.token_seq };
        self.send_reliably(now, next, Frame::Token(token).encode().into(), key);
    }

    /// The token has been round since large datagrams were sent: who lacks one may be behind a link that does not carry them.
    fn look_after_large(&mut self, now: Time, token: &Token) {
        let large = std::mem::take(&mut self.token.my_large);
        let Some(ring) = self.token_ring().filter(|_| large > 0) else { return };
        let me = self.config.me;
        let lacks = |(member, aru): (&NodeId, &u64)| (*member != me && *aru < large).then_some(*member);
        let behind: Vec<NodeId> = ring.members.iter().zip(&token.arus).filter_map(lacks).collect();
        for member in behind {
            let used = self.peers.get(&member).map_or(0, |p| p.links_in_use(self.config.link_mode, &self.links));
            self.doubt_sizes(now, member, used, usize::MAX);
        }
    }

    fn serve_requests(&mut self, token: &mut Token) {
        let Some(ring) = self.token_ring() else { return };
        let (mine, others): (Vec<u64>, Vec<u64>) =
            token.rtr.iter().copied().partition(|s| ring.store.get(*s).is_some());
        let frames: Vec<Data> = mine.iter().filter_map(|s| ring.store.get(*s).cloned()).collect();
        token.rtr = others;
        self.counters.retransmits_served += frames.len() as u64;
        frames.iter().for_each(|data| {
            self.cast(data, true);
        });
    }

    fn request_missing(&mut self, token: &mut Token, position: usize) {
        let upto = std::mem::replace(&mut self.token.last_high, token.seq).min(token.seq);
        let Some(ring) = self.token_ring() else { return };
        if let Some(aru) = token.arus.get_mut(position) {
            *aru = ring.store.aru.min(token.seq);
        }
        let room = MAX_RETRANSMIT_REQUESTS.saturating_sub(token.rtr.len());
        let wanted: Vec<u64> = ring.store.missing(upto).filter(|s| !token.rtr.contains(s)).take(room).collect();
        self.counters.retransmits_requested += wanted.len() as u64;
        token.rtr.extend(wanted);
    }

    fn note_safe(&mut self, token: &Token) {
        let safe = token.arus.iter().copied().min().unwrap_or(0);
        if self.state == State::Operational && self.ring.store.set_safe(safe) {
            let seq = self.ring.store.safe;
            self.emit(Output::Safe { view: self.ring.id, seq });
        }
    }

    /// How many frames this node may send now.
    fn allowance(&self, token: &Token, already: u32) -> u32 {
        let others = token.fcc.saturating_sub(self.token.my_last_sent);
        let window = self.config.window.saturating_sub(others);
        let (mine, all) = (u64::from(self.backlog()), u64::from(token.backlog).max(u64::from(self.backlog())));
        let share = if all > u64::from(self.config.window) {
            (u64::from(self.config.window) * mine / all.max(1)).max(1) as u32
        } else {
            window
        };
        let safe = token.arus.iter().copied().min().unwrap_or(0);
        let room = SEND_LIMIT.saturating_sub(token.seq.saturating_sub(safe)).min(u64::from(u32::MAX)) as u32;
        self.config.max_messages.min(window).min(share).min(room).saturating_sub(already)
    }

    /// Frames that wait; more than a window of them need not be told apart.
    fn backlog(&self) -> u32 {
        match (self.state, &self.forming) {
            (State::Recovery, Some(f)) => f.to_send.len() as u32,
            _ => self.queue.frames(self.fragment_size(), self.config.window).min(self.config.window * 2),
        }
    }

    fn send_recovery(&mut self, token: &mut Token) -> u32 {
        let payloads = self.recovery_payloads(self.allowance(token, 0));
        let sent = payloads.len() as u32;
        for payload in payloads {
            token.seq += 1;
            self.send_numbered(
                token.seq,
                Data {
                    ring: token.ring,
                    seq: token.seq,
                    sender: self.config.me,
                    recovery: true,
                    msg: 0,
                    index: 0,
                    count: 1,
                    payload,
                },
            );
        }
        sent
    }

    fn send_messages(&mut self, token: &mut Token, already: u32) -> u32 {
        let size = self.fragment_size();
        let mut sent = 0;
        let allowed = self.allowance(token, already);
        while sent < allowed {
            let Some(f) = self.queue.next_fragment(size) else { break };
            token.seq += 1;
            sent += 1;
            if f.index + 1 == f.count {
                self.counters.messages_sent += 1;
            }
            self.send_numbered(
                token.seq,
                Data {
                    ring: token.ring,
                    seq: token.seq,
                    sender: self.config.me,
                    recovery: false,
                    msg: f.msg,
                    index: f.index,
                    count: f.count,
                    payload: f.payload,
                },
            );
        }
        sent
    }

    fn send_numbered(&mut self, seq: u64, data: Data) {
        debug_assert_eq!(seq, data.seq);
        self.counters.frames_sent += 1;
        if self.cast(&data, false) {
            self.token.my_large = seq;
        }
        if let Some(ring) = self.token_ring_mut() {
            ring.store.insert(data);
        }
        if self.state == State::Operational {
            self.deliver_ready();
        }
    }

    /// An ordered frame from a member.
    pub(crate) fn on_data(&mut self, from: NodeId, data: Data) {
        let forming = self.state == State::Recovery && self.forming.as_ref().is_some_and(|f| f.ring.id == data.ring);
        // While the next ring is not yet being committed, what the old one still brings counts as received there.
        let installed = matches!(self.state, State::Operational | State::Gather) && self.ring.id == data.ring;
        let ring = if forming { self.forming.as_mut().map(|f| &mut f.ring) } else { Some(&mut self.ring) };
        let Some(ring) = ring.filter(|_| forming || installed) else {
            self.counters.frames_foreign += 1;
            return;
        };
        if ring.position(from).is_none() || ring.position(data.sender).is_none() || data.seq == 0 {
            self.counters.frames_foreign += 1;
            return;
        }
        let wrapped = (forming && data.recovery).then(|| data.payload.clone());
        match ring.store.insert(data) {
            Inserted::New => {}
            Inserted::Duplicate => {
                self.counters.frames_duplicate += 1;
                return;
            }
            Inserted::TooFar => {
                self.counters.frames_refused += 1;
                return;
            }
        }
        if let Some(wrapped) = wrapped {
            self.on_recovered(&wrapped);
        }
        if installed {
            self.deliver_ready();
        }
    }

    /// There is something to send: get the token moving.
    pub(crate) fn wake_token(&mut self, now: Time) {
        if self.state != State::Operational || self.queue.is_empty() {
            return;
        }
        if self.ring.members.len() == 1 {
            self.send_alone();
        } else if let Some((token, _)) = self.token.held.take() {
            self.token.quiet = 0;
            self.visit(now, token);
        } else if self.token.quiet > 0 && self.token.next_cancel.is_none() {
            self.cancel_hold(now);
        }
    }

    fn cancel_hold(&mut self, now: Time) {
        let Some(rep) = self.ring.members.first().copied().filter(|rep| *rep != self.config.me) else { return };
        self.counters.hold_cancels += 1;
        self.token.next_cancel = Some(now + self.repeat_interval(rep));
        self.send(rep, &Frame::HoldCancel { ring: self.ring.id });
    }

    pub(crate) fn on_hold_cancel(&mut self, now: Time, from: NodeId, ring: ViewId) {
        if self.state != State::Operational || ring != self.ring.id || self.ring.position(from).is_none() {
            self.counters.frames_foreign += 1;
            return;
        }
        self.token.quiet = 0;
        match self.token.held.take() {
            Some((token, _)) => self.pass_on(now, token),
            None => self.token.cancelled = true,
        }
    }

    /// A ring of one: what is queued is ordered, delivered and safe at once.
    fn send_alone(&mut self) {
        let size = self.fragment_size();
        while let Some(f) = self.queue.next_fragment(size) {
            let seq = self.ring.store.high + 1;
            if f.index + 1 == f.count {
                self.counters.messages_sent += 1;
            }
            self.send_numbered(
                seq,
                Data {
                    ring: self.ring.id,
                    seq,
                    sender: self.config.me,
                    recovery: false,
                    msg: f.msg,
                    index: f.index,
                    count: f.count,
                    payload: f.payload,
                },
            );
            if self.ring.store.set_safe(seq) {
                self.emit(Output::Safe { view: self.ring.id, seq });
            }
        }
    }

    pub(crate) fn token_deadline(&self) -> Option<Time> {
        let repeat = self.token.sent.as_ref().map(|s| s.next);
        let held = self.token.held.as_ref().map(|(_, until)| *until);
        [repeat, held, self.token.next_cancel, self.loss_deadline()].into_iter().flatten().min()
    }

    fn loss_deadline(&self) -> Option<Time> {
        let ring = self.token_ring().filter(|r| r.members.len() > 1)?;
        let resting = ring.members.len() > 1 && self.token.held.is_some();
        (!resting).then(|| self.token.seen + self.timing.token)
    }

    pub(crate) fn token_due(&mut self, now: Time) {
        if let Some((token, _)) = self.token.held.take_if(|(_, until)| *until <= now) {
            self.token.seen = now;
            self.pass_on(now, token);
        }
        if self.token.sent.as_ref().is_some_and(|s| s.next <= now) {
            self.repeat_token(now);
        }
        if self.token.next_cancel.take_if(|t| *t <= now).is_some() && self.state == State::Operational {
            self.cancel_hold(now);
        }
        if self.loss_deadline().is_some_and(|t| t <= now) {
            self.counters.token_losses += 1;
            self.start_gather(now, GatherReason::TokenLost, BTreeSet::new(), BTreeSet::new());
        }
    }

    fn repeat_token(&mut self, now: Time) {
        let Some(to) = self.token.sent.as_ref().map(|s| s.to) else { return };
        let interval = self.repeat_interval(to);
        let Some(Sent { frame, links, .. }) = self.token.sent.clone() else { return };
        if let Some(peer) = self.peers.get_mut(&to) {
            let taken = peer.links.iter_mut().enumerate().filter(|(n, _)| links >> n & 1 == 1);
            taken.for_each(|(_, l)| l.doubtful = true);
        }
        self.doubt_sizes(now, to, links, frame.len());
        let other = self.send_over(to, &mut Parcel::new(frame), links, true);
        self.counters.tokens_retransmitted += 1;
        let Some(sent) = &mut self.token.sent else { return };
        sent.links = other;
        sent.tries += 1;
        sent.next = now + interval * (1 << sent.tries.min(MAX_REPEAT_SHIFT));
    }
}

/// Nothing was sent in the last rotation, nothing waits, nothing is missing.
fn is_quiet(token: &Token) -> bool {
    token.fcc == 0 && token.backlog == 0 && token.rtr.is_empty() && token.arus.iter().all(|a| *a == token.seq)
}
