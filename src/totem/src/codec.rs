//! Frames of the ring protocol as bytes: our own format, version 1, little-endian, canonical.
//!
//! One byte of version, one of kind, then the fields in order. Lists have a count in front and a named limit; node lists are
//! strictly ascending. Decoding refuses whatever encoding would not produce, and never allocates more than the frame's length
//! allows. Frames arrive authenticated; the checks here protect against faults, not against forgers.

use crate::config::{MAX_MEMBERS, MAX_OUTSTANDING, MAX_RETRANSMIT_REQUESTS, MAX_RING_SEQ};
use crate::types::{State, ViewId};
use base::NodeId;
use bytes::Bytes;
use std::collections::BTreeSet;

const VERSION: u8 = 1;

pub const FLAG_READY: u8 = 1;
pub const FLAG_QUORATE: u8 = 2;
/// The receiver shall answer at once.
pub const FLAG_PROBE: u8 = 4;

const HEARTBEAT: u8 = 1;
const PIECE: u8 = 9;
const PROBE: u8 = 10;
const PROBE_REPLY: u8 = 11;

/// What a datagram counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    Heartbeat,
    /// Looks for the size of datagram that a link carries.
    Probe,
    /// Everything else.
    Ring,
}

/// For counting: looks at the kind alone.
pub fn class(frame: &[u8]) -> Class {
    match frame.get(1) {
        Some(&HEARTBEAT) => Class::Heartbeat,
        Some(&(PROBE | PROBE_REPLY)) => Class::Probe,
        _ => Class::Ring,
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    Heartbeat(Heartbeat<Vec<NodeId>>),
    Join(Join),
    Leave {
        incarnation: u64,
    },
    Commit(Commit),
    Token(Token),
    Ack(Ack),
    HoldCancel {
        ring: ViewId,
    },
    Data(Data),
    Piece(Piece),
    Probe(Probe),
    /// A probe of that number and size came.
    ProbeReply(Probe),
}

/// A part of a frame that is larger than a datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Of the sender's life, the lower half: numbers begin anew in each.
    pub incarnation: u32,
    /// The sender's number of the frame.
    pub number: u32,
    /// Of the whole frame. All pieces but the last are equally long.
    pub length: u16,
    pub index: u8,
    pub count: u8,
    pub bytes: Bytes,
}

/// A datagram of just this size: does it pass?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    pub number: u32,
    pub size: u16,
}

/// Bytes of a piece besides its part of the frame.
pub const PIECE_OVERHEAD: usize = 2 + 4 + 4 + 2 + 1 + 1;
/// The smallest probe.
pub const PROBE_BYTES: usize = 2 + 4 + 2;

/// "I am alive, in this ring, and I hear these." By far the most frequent frame: it is written from lists that are there, and
/// read into such as cost little.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat<L> {
    pub incarnation: u64,
    pub seq: u64,
    pub view: ViewId,
    pub state: State,
    pub flags: u8,
    /// Highest ring number known.
    pub ring_seq: u64,
    /// Bit per link on which the sender hears the receiver.
    pub your_links: u8,
    pub sent_us: u64,
    /// `sent_us` of the receiver's last heartbeat on this link plus the time it was kept; 0 if there was none.
    pub echo_us: u64,
    /// Ascending, both.
    pub members: L,
    /// Whom the sender hears and would share a ring with.
    pub hears: L,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    pub incarnation: u64,
    /// Grows with every change of the sender's proposal.
    pub join_seq: u64,
    pub ring_seq: u64,
    pub proc: BTreeSet<NodeId>,
    pub fail: BTreeSet<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    pub ring: ViewId,
    /// Hops made: below the number of members entries are being filled in, then they are being made known.
    pub hop: u16,
    /// By ascending node.
    pub entries: Vec<CommitEntry>,
}

/// What a member brings along from its old ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitEntry {
    pub node: NodeId,
    pub filled: bool,
    pub old: ViewId,
    /// It holds everything up to here,
    pub aru: u64,
    /// nothing above here,
    pub high: u64,
    /// and between them what this bitmap says; bit 0 is `aru + 1`.
    pub held: Vec<u8>,
    /// To whom it has promised to deliver all that they sent there.
    pub obligation: BTreeSet<NodeId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    pub ring: ViewId,
    pub token_seq: u64,
    /// Last sequence number given out.
    pub seq: u64,
    /// Frames sent in the last rotation.
    pub fcc: u32,
    /// Frames that wait at all members.
    pub backlog: u32,
    /// Bit per member: has recovered all that it can of its old ring.
    pub done: u32,
    /// Per member: it holds everything up to here.
    pub arus: Vec<u64>,
    /// Sequence numbers that somebody misses.
    pub rtr: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    pub ring: ViewId,
    pub commit: bool,
    /// `token_seq`, or the commit token's `hop`.
    pub seq: u64,
}

/// One fragment of a message, ordered by `seq` on its ring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Data {
    pub ring: ViewId,
    pub seq: u64,
    pub sender: NodeId,
    /// The payload is an encoded `Data` of an old ring.
    pub recovery: bool,
    /// The sender's number of the message that this is part of.
    pub msg: u64,
    pub index: u32,
    pub count: u32,
    pub payload: Bytes,
}

/// Bytes of a `Data` frame besides its payload.
pub const DATA_OVERHEAD: usize = 2 + 12 + 8 + 4 + 1 + 8 + 4 + 4 + 4;

/// Most frames without a payload are no longer than this.
const USUAL_BYTES: usize = 128;

/// A frame that no correct peer sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("ends too early")]
    Short,
    #[error("goes on after its end")]
    Long,
    #[error("version {got}, expected {}", VERSION)]
    Version { got: u8 },
    #[error("unknown kind {got}")]
    Kind { got: u8 },
    #[error("ring number {got}: at most {}", MAX_RING_SEQ)]
    RingNumber { got: u64 },
    #[error("{field}: {got} is out of range")]
    Range { field: &'static str, got: u64 },
}

impl Frame {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(USUAL_BYTES));
        w.u8(VERSION);
        match self {
            Frame::Heartbeat(h) => return h.encode(),
            Frame::Join(j) => {
                w.u8(2);
                w.u64(j.incarnation);
                w.u64(j.join_seq);
                w.u64(j.ring_seq);
                w.nodes(&j.proc);
                w.nodes(&j.fail);
            }
            Frame::Leave { incarnation } => {
                w.u8(3);
                w.u64(*incarnation);
            }
            Frame::Commit(c) => encode_commit(&mut w, c),
            Frame::Token(t) => encode_token(&mut w, t),
            Frame::Ack(a) => {
                w.u8(6);
                w.view(a.ring);
                w.u8(u8::from(a.commit));
                w.u64(a.seq);
            }
            Frame::HoldCancel { ring } => {
                w.u8(7);
                w.view(*ring);
            }
            Frame::Data(d) => return d.encode(),
            Frame::Piece(p) => encode_piece(&mut w.0, p),
            Frame::Probe(p) => {
                w.u8(PROBE);
                w.u32(p.number);
                w.u16(p.size);
                w.0.resize(usize::from(p.size).max(PROBE_BYTES), 0);
            }
            Frame::ProbeReply(p) => {
                w.u8(PROBE_REPLY);
                w.u32(p.number);
                w.u16(p.size);
            }
        }
        w.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Frame, DecodeError> {
        Frame::read(Reader { rest: bytes, whole: None })
    }

    /// As `decode`; what the frame carries is not copied.
    pub fn decode_shared(bytes: &Bytes) -> Result<Frame, DecodeError> {
        Frame::read(Reader { rest: bytes, whole: Some(bytes) })
    }

    fn read(mut r: Reader<'_>) -> Result<Frame, DecodeError> {
        let version = r.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version { got: version });
        }
        let frame = match r.u8()? {
            HEARTBEAT => Frame::Heartbeat(decode_heartbeat(&mut r)?),
            2 => Frame::Join(Join {
                incarnation: r.u64()?,
                join_seq: r.u64()?,
                ring_seq: r.ring_seq()?,
                proc: r.nodes()?,
                fail: r.nodes()?,
            }),
            3 => Frame::Leave { incarnation: r.u64()? },
            4 => Frame::Commit(decode_commit(&mut r)?),
            5 => Frame::Token(decode_token(&mut r)?),
            6 => Frame::Ack(Ack { ring: r.view()?, commit: r.bool("commit")?, seq: r.u64()? }),
            7 => Frame::HoldCancel { ring: r.view()? },
            8 => Frame::Data(decode_data(&mut r)?),
            PIECE => Frame::Piece(decode_piece(&mut r)?),
            PROBE => {
                let probe = Probe { number: r.u32()?, size: r.u16()? };
                let range = DecodeError::Range { field: "size", got: u64::from(probe.size) };
                let padding = usize::from(probe.size).checked_sub(PROBE_BYTES).ok_or(range)?;
                // Without an early end, which would be a step for each of the many bytes.
                if r.take(padding)?.iter().fold(0, |all, b| all | b) != 0 {
                    return Err(range);
                }
                Frame::Probe(probe)
            }
            PROBE_REPLY => Frame::ProbeReply(Probe { number: r.u32()?, size: r.u16()? }),
            got => return Err(DecodeError::Kind { got }),
        };
        if r.rest.is_empty() { Ok(frame) } else { Err(DecodeError::Long) }
    }
}

impl Data {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(DATA_OVERHEAD + self.payload.len()));
        w.u8(VERSION);
        w.u8(8);
        w.view(self.ring);
        w.u64(self.seq);
        w.u32(self.sender.0);
        w.u8(u8::from(self.recovery));
        w.u64(self.msg);
        w.u32(self.index);
        w.u32(self.count);
        w.u32(self.payload.len() as u32);
        w.0.extend_from_slice(&self.payload);
        w.0
    }
}

/// Appended to `out`.
pub(crate) fn piece_head(out: &mut Vec<u8>, p: &Piece) {
    out.extend_from_slice(&[VERSION, PIECE]);
    out.extend_from_slice(&p.incarnation.to_le_bytes());
    out.extend_from_slice(&p.number.to_le_bytes());
    out.extend_from_slice(&p.length.to_le_bytes());
    out.extend_from_slice(&[p.index, p.count]);
}

fn encode_piece(out: &mut Vec<u8>, p: &Piece) {
    out.clear();
    piece_head(out, p);
    out.extend_from_slice(&p.bytes);
}

/// Only as `pieces::cut` makes them.
fn decode_piece(r: &mut Reader<'_>) -> Result<Piece, DecodeError> {
    let (incarnation, number, length) = (r.u32()?, r.u32()?, r.u16()?);
    let (index, count) = (r.u8()?, r.u8()?);
    let range = crate::pieces::range(usize::from(length), index, count);
    let range = range.ok_or(DecodeError::Range { field: "piece", got: u64::from(index) })?;
    let bytes = r.shared(range.len())?;
    Ok(Piece { incarnation, number, length, index, count, bytes })
}

impl<L: AsRef<[NodeId]>> Heartbeat<L> {
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(USUAL_BYTES));
        w.u8(VERSION);
        w.u8(HEARTBEAT);
        w.u64(self.incarnation);
        w.u64(self.seq);
        w.view(self.view);
        w.u8(state_code(self.state));
        w.u8(self.flags);
        w.u64(self.ring_seq);
        w.u8(self.your_links);
        w.u64(self.sent_us);
        w.u64(self.echo_us);
        w.ascending(self.members.as_ref());
        w.ascending(self.hears.as_ref());
        w.0
    }
}

fn decode_heartbeat(r: &mut Reader<'_>) -> Result<Heartbeat<Vec<NodeId>>, DecodeError> {
    Ok(Heartbeat {
        incarnation: r.u64()?,
        seq: r.u64()?,
        view: r.view()?,
        state: state_of(r.u8()?)?,
        flags: r.u8()?,
        ring_seq: r.ring_seq()?,
        your_links: r.u8()?,
        sent_us: r.u64()?,
        echo_us: r.u64()?,
        members: r.ascending()?,
        hears: r.ascending()?,
    })
}

fn encode_commit(w: &mut Writer, c: &Commit) {
    w.u8(4);
    w.view(c.ring);
    w.u16(c.hop);
    w.u8(c.entries.len() as u8);
    for e in &c.entries {
        w.u32(e.node.0);
        w.u8(u8::from(e.filled));
        w.view(e.old);
        w.u64(e.aru);
        w.u64(e.high);
        w.0.extend_from_slice(&e.held);
        w.nodes(&e.obligation);
    }
}

fn decode_commit(r: &mut Reader<'_>) -> Result<Commit, DecodeError> {
    let (ring, hop) = (r.view()?, r.u16()?);
    let count = r.count(MAX_MEMBERS, "members")?;
    let mut entries: Vec<CommitEntry> = Vec::with_capacity(count);
    for _ in 0..count {
        let node = r.node()?;
        if entries.last().is_some_and(|e| e.node >= node) {
            return Err(DecodeError::Range { field: "node", got: u64::from(node.0) });
        }
        let (filled, old, aru, high) = (r.bool("filled")?, r.view()?, r.u64()?, r.u64()?);
        let span = high.checked_sub(aru).filter(|s| *s <= MAX_OUTSTANDING);
        let span = span.ok_or(DecodeError::Range { field: "high", got: high })?;
        let held = r.take(span.div_ceil(8) as usize)?.to_vec();
        let obligation = r.nodes()?;
        entries.push(CommitEntry { node, filled, old, aru, high, held, obligation });
    }
    if usize::from(hop) > 2 * count || count == 0 {
        return Err(DecodeError::Range { field: "hop", got: u64::from(hop) });
    }
    Ok(Commit { ring, hop, entries })
}

fn encode_token(w: &mut Writer, t: &Token) {
    w.u8(5);
    w.view(t.ring);
    w.u64(t.token_seq);
    w.u64(t.seq);
    w.u32(t.fcc);
    w.u32(t.backlog);
    w.u32(t.done);
    w.u8(t.arus.len() as u8);
    t.arus.iter().for_each(|a| w.u64(*a));
    w.u8(t.rtr.len() as u8);
    t.rtr.iter().for_each(|s| w.u64(*s));
}

fn decode_token(r: &mut Reader<'_>) -> Result<Token, DecodeError> {
    let (ring, token_seq, seq) = (r.view()?, r.u64()?, r.u64()?);
    let (fcc, backlog, done) = (r.u32()?, r.u32()?, r.u32()?);
    let count = r.count(MAX_MEMBERS, "members")?;
    let arus = (0..count).map(|_| r.u64()).collect::<Result<Vec<_>, _>>()?;
    let count = r.count(MAX_RETRANSMIT_REQUESTS, "retransmit requests")?;
    let rtr = (0..count).map(|_| r.u64()).collect::<Result<Vec<_>, _>>()?;
    if let Some(got) = arus.iter().chain(&rtr).find(|s| **s > seq) {
        return Err(DecodeError::Range { field: "sequence number", got: *got });
    }
    Ok(Token { ring, token_seq, seq, fcc, backlog, done, arus, rtr })
}

fn decode_data(r: &mut Reader<'_>) -> Result<Data, DecodeError> {
    let (ring, seq, sender, recovery) = (r.view()?, r.u64()?, r.node()?, r.bool("recovery")?);
    let (msg, index, count) = (r.u64()?, r.u32()?, r.u32()?);
    if index >= count {
        return Err(DecodeError::Range { field: "fragment", got: u64::from(index) });
    }
    let length = r.u32()? as usize;
    let payload = r.shared(length)?;
    Ok(Data { ring, seq, sender, recovery, msg, index, count, payload })
}

fn state_code(state: State) -> u8 {
    match state {
        State::Operational => 1,
        State::Gather => 2,
        State::Commit => 3,
        State::Recovery => 4,
        State::Left => 5,
    }
}

fn state_of(code: u8) -> Result<State, DecodeError> {
    Ok(match code {
        1 => State::Operational,
        2 => State::Gather,
        3 => State::Commit,
        4 => State::Recovery,
        5 => State::Left,
        got => return Err(DecodeError::Range { field: "state", got: u64::from(got) }),
    })
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, v: u8) {
        self.0.push(v);
    }
    fn u16(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn u32(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn u64(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn view(&mut self, v: ViewId) {
        self.u32(v.rep);
        self.u64(v.seq);
    }
    fn nodes(&mut self, set: &BTreeSet<NodeId>) {
        self.u8(set.len() as u8);
        set.iter().for_each(|n| self.u32(n.0));
    }
    fn ascending(&mut self, nodes: &[NodeId]) {
        self.u8(nodes.len() as u8);
        nodes.iter().for_each(|n| self.u32(n.0));
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    /// What it reads from, if that can be shared.
    whole: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(head)
    }
    fn shared(&mut self, n: usize) -> Result<Bytes, DecodeError> {
        let taken = self.take(n)?;
        Ok(self.whole.map_or_else(|| Bytes::copy_from_slice(taken), |whole| whole.slice_ref(taken)))
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Short)
    }
    fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeError::Range { field, got: u64::from(got) }),
        }
    }
    fn count(&mut self, limit: usize, field: &'static str) -> Result<usize, DecodeError> {
        let got = self.u8()?;
        if usize::from(got) > limit {
            return Err(DecodeError::Range { field, got: u64::from(got) });
        }
        Ok(usize::from(got))
    }
    fn node(&mut self) -> Result<NodeId, DecodeError> {
        match self.u32()? {
            0 => Err(DecodeError::Range { field: "node", got: 0 }),
            id => Ok(NodeId(id)),
        }
    }
    fn view(&mut self) -> Result<ViewId, DecodeError> {
        Ok(ViewId { rep: self.u32()?, seq: self.ring_seq()? })
    }
    /// A ring number; room is left above it so that counting up never overflows.
    fn ring_seq(&mut self) -> Result<u64, DecodeError> {
        let got = self.u64()?;
        if got > MAX_RING_SEQ {
            return Err(DecodeError::RingNumber { got });
        }
        Ok(got)
    }
    fn nodes(&mut self) -> Result<BTreeSet<NodeId>, DecodeError> {
        Ok(self.ascending()?.into_iter().collect())
    }
    fn ascending(&mut self) -> Result<Vec<NodeId>, DecodeError> {
        let count = self.count(MAX_MEMBERS, "nodes")?;
        let mut nodes = Vec::with_capacity(count.min(self.rest.len() / 4));
        for _ in 0..count {
            let node = self.node()?;
            if nodes.last().is_some_and(|last| *last >= node) {
                return Err(DecodeError::Range { field: "node", got: u64::from(node.0) });
            }
            nodes.push(node);
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests;
