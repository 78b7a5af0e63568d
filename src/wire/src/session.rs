//! One node's end of all its sealed associations: the hello exchange, sealing and opening, and what was dropped and why.
//!
//! ```text
//!   unknown --hello that echoes a recent hello of ours--> established --same, with another session--> established anew
//! ```
//!
//! A hello carries the sender's session and echoes the last hello of the other side. It is believed to be alive, and its
//! session taken, only if it echoes one of *this* process's hellos that no earlier acceptance has used up: recorded hellos
//! of older process lives are answered at most, never believed. Data is sealed under a key of both sessions, so nothing that
//! was recorded before either side's start opens again; within a session the replay window lets every packet through once.
//!
//! Sans-IO: the caller sends what [`Endpoint::poll_transmit`] gives (over every link), and calls again at
//! [`Endpoint::poll_timeout`]. State is one association per configured peer; nothing that arrives makes it grow.

use crate::frame::{self, Header, HeaderError, MAX_PACKET, Session};
use crate::replay::ReplayWindow;
use crate::seal::{Key, Master, OVERHEAD, Root};
use base::{NodeId, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two hellos to the same peer, however many are asked for.
const HELLO_MIN_INTERVAL: Duration = Duration::from_millis(20);
/// First and last interval between hellos to a peer that does not answer.
const HELLO_RETRY: Duration = Duration::from_millis(100);
const HELLO_RETRY_MAX: Duration = Duration::from_millis(800);
/// Largest body that can be sealed.
pub const MAX_BODY: usize = MAX_PACKET - frame::DATA_HEADER - OVERHEAD;
const HELLO_BODY: usize = 25;

/// Why a packet was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Dropped {
    #[error("not a packet of this program")]
    NotOurs,
    #[error("wire version {got}, expected {}", frame::VERSION)]
    BadVersion { got: u8 },
    #[error("altered on the way, or sealed with another key or for another cluster")]
    Altered,
    #[error("seen before, or too old to tell")]
    Replayed,
    #[error("node {0} is not in the nodelist")]
    UnknownSender(NodeId),
    #[error("meant for node {0}")]
    WrongReceiver(NodeId),
    #[error("of another session of node {0} or of ours")]
    StaleSession(NodeId),
}

/// How often each happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DropCounters {
    pub not_ours: u64,
    pub bad_version: u64,
    pub altered: u64,
    pub replayed: u64,
    pub unknown_sender: u64,
    pub wrong_receiver: u64,
    pub stale_session: u64,
}

impl DropCounters {
    pub fn total(&self) -> u64 {
        self.not_ours
            + self.bad_version
            + self.altered
            + self.replayed
            + self.unknown_sender
            + self.wrong_receiver
            + self.stale_session
    }

    fn count(&mut self, why: Dropped) {
        *match why {
            Dropped::NotOurs => &mut self.not_ours,
            Dropped::BadVersion { .. } => &mut self.bad_version,
            Dropped::Altered => &mut self.altered,
            Dropped::Replayed => &mut self.replayed,
            Dropped::UnknownSender(_) => &mut self.unknown_sender,
            Dropped::WrongReceiver(_) => &mut self.wrong_receiver,
            Dropped::StaleSession(_) => &mut self.stale_session,
        } += 1;
    }
}

impl std::ops::AddAssign for DropCounters {
    fn add_assign(&mut self, other: DropCounters) {
        self.not_ours += other.not_ours;
        self.bad_version += other.bad_version;
        self.altered += other.altered;
        self.replayed += other.replayed;
        self.unknown_sender += other.unknown_sender;
        self.wrong_receiver += other.wrong_receiver;
        self.stale_session += other.stale_session;
    }
}

/// Why nothing was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    #[error("node {0} is not in the nodelist")]
    UnknownPeer(NodeId),
    #[error("no session with node {0} yet")]
    NoSession(NodeId),
    #[error("{got} bytes; a packet takes at most {}", MAX_BODY)]
    TooLarge { got: usize },
    #[error("the cipher refused")]
    Cipher,
}

/// What an authentic packet was; `B` is the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened<B = Vec<u8>> {
    Data(NodeId, B),
    /// Part of the exchange; `true` if this peer's session is new, so that `seal` works from now on. An answer may wait in
    /// `poll_transmit`.
    Hello(NodeId, bool),
    /// That peer knows another host under this node's number, and does not let this one in.
    Refused(NodeId),
}

struct Association {
    session: Session,
    /// The other side has it as well: it said so, or uses it.
    confirmed: bool,
    seal: Key,
    open: Key,
    window: ReplayWindow,
}

struct Peer {
    current: Option<Association>,
    /// The last hello that came: its session and counter, to be echoed.
    heard: Option<(Session, u64)>,
    hello_key: Option<Key>,
    next_hello: u64,
    /// Echoes of hellos below this one prove nothing any more.
    min_echo: u64,
    due: Option<Time>,
    last_sent: Option<Time>,
    retry: Duration,
}

pub struct Endpoint {
    master: Master,
    me: NodeId,
    session: Session,
    peers: BTreeMap<NodeId, Peer>,
    /// Shared by all peers, so that no nonce ever repeats.
    next_counter: u64,
    dropped: DropCounters,
}

impl Endpoint {
    /// `session` must be random and new.
    pub fn new(root: &Root, me: NodeId, cluster: &str, session: Session) -> Endpoint {
        Endpoint {
            master: Master::new(root, cluster),
            me,
            session,
            peers: BTreeMap::new(),
            next_counter: 0,
            dropped: DropCounters::default(),
        }
    }

    /// Exactly these are talked to; associations with others end, new ones begin with a hello at `now`.
    pub fn set_peers(&mut self, now: Time, peers: impl IntoIterator<Item = NodeId>) {
        let mut old = std::mem::take(&mut self.peers);
        for id in peers.into_iter().filter(|p| *p != self.me) {
            let peer = old.remove(&id).unwrap_or_else(|| Peer {
                current: None,
                heard: None,
                hello_key: self.master.hello_key(self.me, id, &self.session),
                next_hello: 1,
                min_echo: 1,
                due: Some(now),
                last_sent: None,
                retry: HELLO_RETRY,
            });
            self.peers.insert(id, peer);
        }
    }

    pub fn is_established(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).is_some_and(|p| p.current.is_some())
    }

    /// What is sealed for the peer now opens there.
    pub fn is_confirmed(&self, peer: NodeId) -> bool {
        self.peers.get(&peer).and_then(|p| p.current.as_ref()).is_some_and(|c| c.confirmed)
    }

    /// A hello to this peer is wanted now, or as soon as the rate allows, whatever the patience with those who do not answer.
    pub fn urge(&mut self, to: NodeId, now: Time) {
        if let Some(peer) = self.peers.get_mut(&to) {
            ask(peer, now);
        }
    }

    pub fn dropped(&self) -> DropCounters {
        self.dropped
    }

    pub fn seal(&mut self, to: NodeId, body: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut packet = Vec::with_capacity(frame::DATA_HEADER + body.len() + OVERHEAD);
        self.seal_into(to, body, &mut packet)?;
        Ok(packet)
    }

    /// Behind what `out` has, which stays as it was where nothing is sealed.
    pub fn seal_into(&mut self, to: NodeId, body: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        if body.len() > MAX_BODY {
            return Err(SealError::TooLarge { got: body.len() });
        }
        let peer = self.peers.get(&to).ok_or(SealError::UnknownPeer(to))?;
        let current = peer.current.as_ref().ok_or(SealError::NoSession(to))?;
        let counter = self.next_counter;
        self.next_counter = counter.checked_add(1).ok_or(SealError::Cipher)?;
        let (from_tag, to_tag) = (frame::tag(&self.session), frame::tag(&current.session));
        let header = Header::Data { from: self.me, to, counter, from_tag, to_tag }.encode();
        let before = out.len();
        current.seal.seal_into(counter, &header, body, out).ok_or_else(|| {
            out.truncate(before);
            SealError::Cipher
        })
    }

    /// Whether the packet is under this key, as far as that can be told without taking it.
    pub fn reads(&self, packet: &[u8]) -> bool {
        let Ok((header, length)) = Header::decode(packet) else { return false };
        let (from, counter, session) = match header {
            Header::Data { to_tag, .. } => return to_tag == frame::tag(&self.session),
            Header::Hello { from, counter, session, .. } | Header::Refused { from, counter, session, .. } => {
                (from, counter, session)
            }
        };
        let (head, sealed) = packet.split_at(length);
        self.master.hello_key(from, self.me, &session).is_some_and(|key| key.open(counter, head, sealed).is_some())
    }

    pub fn open(&mut self, now: Time, packet: &[u8]) -> Result<Opened, Dropped> {
        Ok(match self.open_in_place(now, &mut packet.to_vec())? {
            Opened::Data(from, body) => Opened::Data(from, body.to_vec()),
            Opened::Hello(from, fresh) => Opened::Hello(from, fresh),
            Opened::Refused(from) => Opened::Refused(from),
        })
    }

    /// As [`Endpoint::open`]; the body is opened where it stands, and a packet that does not open is lost.
    pub fn open_in_place<'p>(&mut self, now: Time, packet: &'p mut [u8]) -> Result<Opened<&'p [u8]>, Dropped> {
        let result = self.open_inner(now, packet);
        if let Err(why) = result {
            self.dropped.count(why);
        }
        result
    }

    fn open_inner<'p>(&mut self, now: Time, packet: &'p mut [u8]) -> Result<Opened<&'p [u8]>, Dropped> {
        let (header, length) = Header::decode(packet).map_err(|e| match e {
            HeaderError::NotOurs => Dropped::NotOurs,
            HeaderError::BadVersion { got } => Dropped::BadVersion { got },
        })?;
        let (head, sealed) = packet.split_at_mut(length);
        let head = &*head;
        let (from, to) = match header {
            Header::Data { from, to, .. } | Header::Hello { from, to, .. } | Header::Refused { from, to, .. } => {
                (from, to)
            }
        };
        if !self.peers.contains_key(&from) {
            return Err(Dropped::UnknownSender(from));
        }
        if to != self.me {
            return Err(Dropped::WrongReceiver(to));
        }
        match header {
            Header::Data { counter, from_tag, to_tag, .. } => {
                self.open_data(now, from, counter, from_tag, to_tag, head, sealed)
            }
            Header::Hello { counter, session, .. } => self.open_hello(now, from, counter, session, head, sealed),
            Header::Refused { counter, session, .. } => {
                let key = self.master.hello_key(from, self.me, &session).ok_or(Dropped::Altered)?;
                let body = key.open(counter, head, sealed).ok_or(Dropped::Altered)?;
                // Only an answer to this very process.
                if body == self.session { Ok(Opened::Refused(from)) } else { Err(Dropped::Replayed) }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn open_data<'p>(
        &mut self,
        now: Time,
        from: NodeId,
        counter: u64,
        from_tag: [u8; 4],
        to_tag: [u8; 4],
        head: &[u8],
        sealed: &'p mut [u8],
    ) -> Result<Opened<&'p [u8]>, Dropped> {
        let mine = frame::tag(&self.session);
        let peer = self.peers.get_mut(&from).ok_or(Dropped::UnknownSender(from))?;
        let current = peer.current.as_mut().filter(|c| to_tag == mine && from_tag == frame::tag(&c.session));
        let Some(current) = current else {
            // One of us has started anew and the other does not know it yet.
            ask(peer, now);
            return Err(Dropped::StaleSession(from));
        };
        if !current.window.is_new(counter) {
            return Err(Dropped::Replayed);
        }
        let body = current.open.open_in_place(counter, head, sealed).ok_or(Dropped::Altered)?;
        current.window.mark(counter);
        current.confirmed = true;
        Ok(Opened::Data(from, body))
    }

    fn open_hello<'p>(
        &mut self,
        now: Time,
        from: NodeId,
        counter: u64,
        session: Session,
        head: &[u8],
        sealed: &[u8],
    ) -> Result<Opened<&'p [u8]>, Dropped> {
        let key = self.master.hello_key(from, self.me, &session).ok_or(Dropped::Altered)?;
        let Some(body) = key.open(counter, head, sealed) else {
            self.show_own_key(now, from);
            return Err(Dropped::Altered);
        };
        let (echo_session, echo_counter, knows_me) = decode_hello(&body).ok_or(Dropped::NotOurs)?;
        let peer = self.peers.get_mut(&from).ok_or(Dropped::UnknownSender(from))?;
        if peer.heard.is_some_and(|(s, c)| s == session && counter <= c) {
            return Err(Dropped::Replayed);
        }
        peer.heard = Some((session, counter));
        let proven = echo_session == self.session && (peer.min_echo..peer.next_hello).contains(&echo_counter);
        let same = peer.current.as_ref().is_some_and(|c| c.session == session);
        let mut fresh = false;
        if proven && !same {
            let seal = self.master.data_key(self.me, from, &self.session, &session).ok_or(Dropped::Altered)?;
            let open = self.master.data_key(from, self.me, &session, &self.session).ok_or(Dropped::Altered)?;
            peer.current = Some(Association { session, confirmed: false, seal, open, window: ReplayWindow::default() });
            peer.min_echo = peer.next_hello;
            peer.due = None;
            peer.retry = HELLO_RETRY;
            fresh = true;
        }
        let established = match peer.current.as_mut().filter(|c| c.session == session) {
            Some(current) => {
                current.confirmed |= echo_session == self.session && knows_me;
                true
            }
            None => false,
        };
        if !established || !knows_me {
            ask(peer, now);
        }
        Ok(Opened::Hello(from, fresh))
    }

    /// A hello that does not open: its sender may have another key, and would never know from data of an old session alone.
    /// A hello of ours, no more often than to one who does not answer, shows it.
    fn show_own_key(&mut self, now: Time, to: NodeId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let earliest = peer.last_sent.map_or(now, |t| (t + HELLO_RETRY).max(now));
        peer.due = Some(peer.due.map_or(earliest, |due| due.min(earliest)));
    }

    /// What to answer a packet that came from an address which the nodelist does not have: a refusal, if it is a hello of one who
    /// has this cluster's key, and calls itself by a number that belongs to another host. It takes over nothing from the hello.
    pub fn refuse(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (Header::Hello { from, to, counter, session }, length) = Header::decode(packet).ok()? else { return None };
        if to != self.me {
            return None;
        }
        let (head, sealed) = packet.split_at_checked(length)?;
        self.master.hello_key(from, self.me, &session)?.open(counter, head, sealed)?;
        let peer = self.peers.get_mut(&from)?;
        // From the hellos' own count, so that no number is used twice under their key.
        let counter = peer.next_hello;
        peer.next_hello += 1;
        let header = Header::Refused { from: self.me, to: from, counter, session: self.session }.encode();
        peer.hello_key.as_ref()?.seal(counter, &header, &session)
    }

    /// The next hello that is due, to be sent over every link to that peer.
    pub fn poll_transmit(&mut self, now: Time) -> Option<(NodeId, Vec<u8>)> {
        let (me, session) = (self.me, self.session);
        let (id, peer) = self.peers.iter_mut().find(|(_, p)| p.due.is_some_and(|due| due <= now))?;
        let counter = peer.next_hello;
        peer.next_hello += 1;
        peer.last_sent = Some(now);
        peer.due = if peer.current.is_none() {
            let due = now + peer.retry;
            peer.retry = (peer.retry * 2).min(HELLO_RETRY_MAX);
            Some(due)
        } else {
            None
        };
        let header = Header::Hello { from: me, to: *id, counter, session }.encode();
        let knows = peer.current.as_ref().zip(peer.heard).is_some_and(|(c, (heard, _))| c.session == heard);
        let body = encode_hello(peer.heard, knows);
        let packet = peer.hello_key.as_ref()?.seal(counter, &header, &body)?;
        Some((*id, packet))
    }

    /// When `poll_transmit` will have something.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.peers.values().filter_map(|p| p.due).min()
    }
}

/// A hello is wanted now, or as soon as the rate allows.
fn ask(peer: &mut Peer, now: Time) {
    let earliest = peer.last_sent.map_or(now, |t| (t + HELLO_MIN_INTERVAL).max(now));
    peer.due = Some(peer.due.map_or(earliest, |due| due.min(earliest)));
}

fn encode_hello(echo: Option<(Session, u64)>, knows: bool) -> Vec<u8> {
    let (session, counter) = echo.unwrap_or_default();
    let mut body = Vec::with_capacity(HELLO_BODY);
    body.extend_from_slice(&session);
    body.extend_from_slice(&counter.to_le_bytes());
    body.push(u8::from(knows));
    body
}

fn decode_hello(body: &[u8]) -> Option<(Session, u64, bool)> {
    if body.len() != HELLO_BODY {
        return None;
    }
    let session = body.get(..16)?.try_into().ok()?;
    let counter = u64::from_le_bytes(body.get(16..24)?.try_into().ok()?);
    Some((session, counter, body.get(24) == Some(&1)))
}

#[cfg(test)]
mod tests;
