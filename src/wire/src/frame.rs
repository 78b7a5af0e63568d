//! The clear part of every packet between nodes. It is authenticated together with the sealed body, so it can be read before
//! the key is known but not changed.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | magic `BA 5C` |
//! | 1 | version of the wire, [`VERSION`] |
//! | 1 | kind: 1 data, 2 hello, 3 refusal |
//! | 4 | sender's node number |
//! | 4 | receiver's node number |
//! | 8 | counter: the nonce, and the position in the replay window |
//! | 4 + 4 | data: first bytes of the sender's and of the receiver's session |
//! | 16 | hello, refusal: the sender's session |
//!
//! All integers are little-endian.

use base::NodeId;

pub const MAGIC: [u8; 2] = [0xBA, 0x5C];
pub const VERSION: u8 = 1;
/// A UDP datagram's largest payload.
pub const MAX_PACKET: usize = 65_507;
pub const DATA_HEADER: usize = 28;
pub const HELLO_HEADER: usize = 36;

const KIND_DATA: u8 = 1;
const KIND_HELLO: u8 = 2;
const KIND_REFUSED: u8 = 3;

/// 128 random bits, new at every start of a process.
pub type Session = [u8; 16];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    Data {
        from: NodeId,
        to: NodeId,
        counter: u64,
        from_tag: [u8; 4],
        to_tag: [u8; 4],
    },
    Hello {
        from: NodeId,
        to: NodeId,
        counter: u64,
        session: Session,
    },
    /// Answer to a hello from an address that the nodelist does not have: that node number is somebody else's.
    Refused {
        from: NodeId,
        to: NodeId,
        counter: u64,
        session: Session,
    },
}

/// Why a header could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderError {
    NotOurs,
    BadVersion { got: u8 },
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let (kind, from, to, counter) = match *self {
            Header::Data { from, to, counter, .. } => (KIND_DATA, from, to, counter),
            Header::Hello { from, to, counter, .. } => (KIND_HELLO, from, to, counter),
            Header::Refused { from, to, counter, .. } => (KIND_REFUSED, from, to, counter),
        };
        let mut out = Vec::with_capacity(HELLO_HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&from.0.to_le_bytes());
        out.extend_from_slice(&to.0.to_le_bytes());
        out.extend_from_slice(&counter.to_le_bytes());
        match self {
            Header::Data { from_tag, to_tag, .. } => {
                out.extend_from_slice(from_tag);
                out.extend_from_slice(to_tag);
            }
            Header::Hello { session, .. } | Header::Refused { session, .. } => out.extend_from_slice(session),
        }
        out
    }

    /// The header and its length.
    pub fn decode(packet: &[u8]) -> Result<(Header, usize), HeaderError> {
        if packet.len() > MAX_PACKET || take::<2>(packet, 0)? != MAGIC {
            return Err(HeaderError::NotOurs);
        }
        let [version, kind] = take::<2>(packet, 2)?;
        if version != VERSION {
            return Err(HeaderError::BadVersion { got: version });
        }
        let from = NodeId(u32::from_le_bytes(take(packet, 4)?));
        let to = NodeId(u32::from_le_bytes(take(packet, 8)?));
        let counter = u64::from_le_bytes(take(packet, 12)?);
        match kind {
            KIND_DATA => {
                let (from_tag, to_tag) = (take(packet, 20)?, take(packet, 24)?);
                Ok((Header::Data { from, to, counter, from_tag, to_tag }, DATA_HEADER))
            }
            KIND_HELLO => Ok((Header::Hello { from, to, counter, session: take(packet, 20)? }, HELLO_HEADER)),
            KIND_REFUSED => Ok((Header::Refused { from, to, counter, session: take(packet, 20)? }, HELLO_HEADER)),
            _ => Err(HeaderError::NotOurs),
        }
    }
}

/// The first bytes of a session, enough to tell a stale packet from an altered one.
pub fn tag(session: &Session) -> [u8; 4] {
    [session[0], session[1], session[2], session[3]]
}

fn take<const N: usize>(packet: &[u8], at: usize) -> Result<[u8; N], HeaderError> {
    packet.get(at..at + N).and_then(|s| s.try_into().ok()).ok_or(HeaderError::NotOurs)
}
