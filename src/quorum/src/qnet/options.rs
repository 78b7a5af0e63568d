//! Options of a message: written in the original's order, read in any.

use super::frame::Frame;
use super::words::{Algorithm, Heuristics, Kind, ListKind, NodeState, Refusal, TieBreaker, Tls, Vote};
use super::{MAX_NAME_BYTES, MAX_NODES, Message, Node, RingId};

/// What an option is, by its number on the wire.
mod number {
    pub const SEQ: u16 = 0;
    pub const CLUSTER_NAME: u16 = 1;
    pub const TLS: u16 = 2;
    pub const CLIENT_CERT_REQUIRED: u16 = 3;
    pub const SUPPORTED_MESSAGES: u16 = 4;
    pub const SUPPORTED_OPTIONS: u16 = 5;
    pub const ERROR: u16 = 6;
    pub const MAX_REQUEST_BYTES: u16 = 7;
    pub const MAX_REPLY_BYTES: u16 = 8;
    pub const NODE_ID: u16 = 9;
    pub const SUPPORTED_ALGORITHMS: u16 = 10;
    pub const ALGORITHM: u16 = 11;
    pub const HEARTBEAT: u16 = 12;
    pub const RING: u16 = 13;
    pub const CONFIG_VERSION: u16 = 14;
    pub const DATA_CENTRE: u16 = 15;
    pub const NODE_STATE: u16 = 16;
    pub const NODE: u16 = 17;
    pub const LIST: u16 = 18;
    pub const VOTE: u16 = 19;
    pub const QUORATE: u16 = 20;
    pub const TIE_BREAKER: u16 = 21;
    pub const HEURISTICS: u16 = 22;
    pub const KEEP_ACTIVE_PARTITION: u16 = 23;
}

/// Options that this version knows.
pub const KNOWN: std::ops::RangeInclusive<u16> = number::SEQ..=number::KEEP_ACTIVE_PARTITION;

/// Why a message cannot be read: the peer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("a message of type {0}, which this version does not know")]
    UnknownKind(u16),
    /// `seq`, if it had been read by then: an answer carries it.
    #[error("{kind:?}: {why}")]
    Malformed { kind: Kind, seq: Option<u32>, why: Malformed },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    #[error("option {option} goes beyond the end of what holds it")]
    Truncated { option: u16 },
    #[error("option {option} expected another length, got {got} bytes")]
    Length { option: u16, got: usize },
    #[error("option {option} has a value that has no meaning")]
    Value { option: u16 },
    #[error("more than {MAX_NODES} nodes in one list")]
    TooManyNodes,
}

struct Writer(Vec<u8>);

impl Writer {
    /// What does not fit the length field is cut off; nothing that is written here comes near it.
    fn put(&mut self, option: u16, value: &[u8]) {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend(option.to_be_bytes());
        self.0.extend(length.to_be_bytes());
        self.0.extend(&value[..usize::from(length)]);
    }

    fn u8(&mut self, option: u16, value: Option<u8>) {
        value.into_iter().for_each(|v| self.put(option, &[v]));
    }

    fn u16(&mut self, option: u16, value: Option<u16>) {
        value.into_iter().for_each(|v| self.put(option, &v.to_be_bytes()));
    }

    fn u32(&mut self, option: u16, value: Option<u32>) {
        value.into_iter().for_each(|v| self.put(option, &v.to_be_bytes()));
    }

    fn u64(&mut self, option: u16, value: Option<u64>) {
        value.into_iter().for_each(|v| self.put(option, &v.to_be_bytes()));
    }

    fn list(&mut self, option: u16, values: &[u16]) {
        if !values.is_empty() {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
            self.put(option, &bytes);
        }
    }
}

pub(super) fn write(m: &Message) -> Vec<u8> {
    let mut w = Writer(Vec::new());
    w.u32(number::SEQ, m.seq);
    if let Some(name) = &m.cluster_name {
        w.put(number::CLUSTER_NAME, name.as_bytes());
    }
    w.u8(number::TLS, m.tls.map(Tls::code));
    w.u8(number::CLIENT_CERT_REQUIRED, m.client_cert_required.map(u8::from));
    w.u16(number::ERROR, m.error.map(|e| e.err().map_or(0, Refusal::code)));
    w.list(number::SUPPORTED_MESSAGES, &m.supported_messages);
    w.list(number::SUPPORTED_OPTIONS, &m.supported_options);
    w.u32(number::MAX_REQUEST_BYTES, m.max_request_bytes);
    w.u32(number::MAX_REPLY_BYTES, m.max_reply_bytes);
    w.list(number::SUPPORTED_ALGORITHMS, &m.supported_algorithms);
    w.u32(number::NODE_ID, m.node_id);
    w.u16(number::ALGORITHM, m.algorithm.map(Algorithm::code));
    w.u32(number::HEARTBEAT, m.heartbeat_ms);
    if let Some(breaker) = m.tie_breaker {
        let (mode, id) = match breaker {
            TieBreaker::Lowest => (1, 0),
            TieBreaker::Highest => (2, 0),
            TieBreaker::Node(id) => (3u8, id),
        };
        let bytes: Vec<u8> = [mode].into_iter().chain(id.to_be_bytes()).collect();
        w.put(number::TIE_BREAKER, &bytes);
    }
    w.u8(number::LIST, m.list.map(ListKind::code));
    // A reply to a list has its ring before its vote, all else the other way round; readers do not mind.
    if let Some(ring) = m.ring {
        let bytes: Vec<u8> = ring.node.to_be_bytes().into_iter().chain(ring.seq.to_be_bytes()).collect();
        w.put(number::RING, &bytes);
    }
    w.u64(number::CONFIG_VERSION, m.config_version);
    w.u8(number::QUORATE, m.quorate.map(u8::from));
    for node in &m.nodes {
        let mut inner = Writer(Vec::new());
        inner.u32(number::NODE_ID, Some(node.id));
        inner.u32(number::DATA_CENTRE, Some(node.data_centre).filter(|d| *d != 0));
        inner.u8(number::NODE_STATE, node.state.map(NodeState::code));
        w.put(number::NODE, &inner.0);
    }
    w.u8(number::VOTE, m.vote.map(Vote::code));
    w.u8(number::HEURISTICS, Some(m.heuristics).filter(|h| *h != Heuristics::Undefined).map(Heuristics::code));
    w.u8(number::KEEP_ACTIVE_PARTITION, m.keep_active_partition.map(u8::from));
    w.0
}

/// One option: its number and its bytes.
struct Opt<'a> {
    number: u16,
    value: &'a [u8],
}

impl Opt<'_> {
    fn bytes<const N: usize>(&self) -> Result<[u8; N], Malformed> {
        let wrong = Malformed::Length { option: self.number, got: self.value.len() };
        self.value.try_into().map_err(|_| wrong)
    }

    fn u8(&self) -> Result<u8, Malformed> {
        self.bytes::<1>().map(|[b]| b)
    }

    fn u16(&self) -> Result<u16, Malformed> {
        self.bytes().map(u16::from_be_bytes)
    }

    fn u32(&self) -> Result<u32, Malformed> {
        self.bytes().map(u32::from_be_bytes)
    }

    fn u64(&self) -> Result<u64, Malformed> {
        self.bytes().map(u64::from_be_bytes)
    }

    fn list(&self) -> Result<Vec<u16>, Malformed> {
        if !self.value.len().is_multiple_of(2) {
            return Err(Malformed::Length { option: self.number, got: self.value.len() });
        }
        Ok(self.value.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
    }

    fn truth(&self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.senseless()),
        }
    }

    fn of<T>(&self, known: Option<T>) -> Result<T, Malformed> {
        known.ok_or_else(|| self.senseless())
    }

    fn senseless(&self) -> Malformed {
        Malformed::Value { option: self.number }
    }

    fn tie_breaker(&self) -> Result<TieBreaker, Malformed> {
        let [mode, a, b, c, d] = self.bytes::<5>()?;
        match mode {
            1 => Ok(TieBreaker::Lowest),
            2 => Ok(TieBreaker::Highest),
            3 => Ok(TieBreaker::Node(u32::from_be_bytes([a, b, c, d]))),
            _ => Err(self.senseless()),
        }
    }

    fn ring(&self) -> Result<RingId, Malformed> {
        let [n0, n1, n2, n3, seq @ ..] = self.bytes::<12>()?;
        Ok(RingId { node: u32::from_be_bytes([n0, n1, n2, n3]), seq: u64::from_be_bytes(seq) })
    }

    fn name(&self) -> Result<String, Malformed> {
        if self.value.is_empty() || self.value.len() > MAX_NAME_BYTES {
            return Err(Malformed::Length { option: self.number, got: self.value.len() });
        }
        let text = std::str::from_utf8(self.value).map_err(|_| self.senseless())?;
        if text.chars().any(char::is_control) { Err(self.senseless()) } else { Ok(text.to_owned()) }
    }

    fn node(&self) -> Result<Node, Malformed> {
        let mut node = Node::new(0);
        let mut named = false;
        for inner in Options(self.value) {
            let inner = inner?;
            match inner.number {
                number::NODE_ID => (node.id, named) = (inner.u32()?, true),
                number::DATA_CENTRE => node.data_centre = inner.u32()?,
                number::NODE_STATE => node.state = Some(inner.of(NodeState::of_code(inner.u8()?))?),
                _ => {}
            }
        }
        if named { Ok(node) } else { Err(self.senseless()) }
    }
}

/// The options of a body or of a node, one after the other; ends with the first that is cut off.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Result<Opt<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let Some(([n0, n1, l0, l1], rest)) = bytes.split_first_chunk::<4>() else {
            return Some(Err(Malformed::Truncated { option: 0 }));
        };
        let number = u16::from_be_bytes([*n0, *n1]);
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Some(Err(Malformed::Truncated { option: number }));
        };
        self.0 = rest;
        Some(Ok(Opt { number, value }))
    }
}

pub(super) fn read(frame: &Frame) -> Result<Message, DecodeError> {
    let kind = Kind::of_code(frame.kind).ok_or(DecodeError::UnknownKind(frame.kind))?;
    let mut message = Message::new(kind);
    for option in Options(&frame.body) {
        let taken = option.and_then(|o| take(&mut message, &o));
        if let Err(why) = taken {
            return Err(DecodeError::Malformed { kind, seq: message.seq, why });
        }
    }
    Ok(message)
}

fn take(m: &mut Message, o: &Opt<'_>) -> Result<(), Malformed> {
    match o.number {
        number::SEQ => m.seq = Some(o.u32()?),
        number::CLUSTER_NAME => m.cluster_name = Some(o.name()?),
        number::TLS => m.tls = Some(o.of(Tls::of_code(o.u8()?))?),
        number::CLIENT_CERT_REQUIRED => m.client_cert_required = Some(o.u8()? != 0),
        number::SUPPORTED_MESSAGES => m.supported_messages = o.list()?,
        number::SUPPORTED_OPTIONS => m.supported_options = o.list()?,
        number::ERROR => {
            m.error = Some(match o.u16()? {
                0 => Ok(()),
                code => Err(o.of(Refusal::of_code(code))?),
            });
        }
        number::MAX_REQUEST_BYTES => m.max_request_bytes = Some(o.u32()?),
        number::MAX_REPLY_BYTES => m.max_reply_bytes = Some(o.u32()?),
        number::NODE_ID => m.node_id = Some(o.u32()?),
        number::SUPPORTED_ALGORITHMS => m.supported_algorithms = o.list()?,
        number::ALGORITHM => m.algorithm = Some(o.of(Algorithm::of_code(o.u16()?))?),
        number::HEARTBEAT => m.heartbeat_ms = Some(o.u32()?),
        number::RING => m.ring = Some(o.ring()?),
        number::CONFIG_VERSION => m.config_version = Some(o.u64()?),
        number::NODE if m.nodes.len() == MAX_NODES => return Err(Malformed::TooManyNodes),
        number::NODE => m.nodes.push(o.node()?),
        number::LIST => m.list = Some(o.of(ListKind::of_code(o.u8()?))?),
        number::VOTE => m.vote = Some(o.of(Vote::of_code(o.u8()?))?),
        number::QUORATE => m.quorate = Some(o.truth()?),
        number::TIE_BREAKER => m.tie_breaker = Some(o.tie_breaker()?),
        number::HEURISTICS => m.heuristics = o.of(Heuristics::of_code(o.u8()?))?,
        number::KEEP_ACTIVE_PARTITION => m.keep_active_partition = Some(o.truth()?),
        // Of a later version, or of no meaning outside of a node.
        _ => {}
    }
    Ok(())
}
