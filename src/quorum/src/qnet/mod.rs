//! What a cluster and its arbitrator say to each other: the messages of corosync-qdevice and corosync-qnetd, version by version
//! the same on the wire, so that either end can be theirs.
//!
//! A message is `u16 type | u32 length of the body | body`, big-endian; the body is a list of options `u16 type | u16 length |
//! value`. Options that are not known are passed over, and none has a fixed place. Which ones a message needs is for who
//! receives it to judge, since the answer names what is missing.
//!
//! ```text
//! client                                   server
//! PREINIT name                      ->
//!                                   <-     PREINIT_REPLY tls wanted, certificate wanted
//! STARTTLS, handshake               ->                                      (where both want it)
//! INIT id, algorithm, tie breaker   ->
//!                                   <-     INIT_REPLY error or limits
//! SET_OPTION                        ->
//!                                   <-     SET_OPTION_REPLY
//! NODE_LIST configuration, members  ->
//!                                   <-     NODE_LIST_REPLY vote
//!                                   <-     VOTE_INFO vote, at any time
//! VOTE_INFO_REPLY                   ->
//! ECHO_REQUEST                      ->     ECHO_REPLY                       (every heartbeat)
//! ```

mod frame;
mod options;
mod words;

pub use frame::{Frame, FrameError, Frames, HEADER_BYTES};
pub use options::{DecodeError, KNOWN as KNOWN_OPTIONS, Malformed};
pub use words::{Algorithm, Heuristics, Kind, ListKind, NodeState, Refusal, TieBreaker, Tls, Vote};

/// Largest body that is taken before anything else is agreed, both ways; also what our server offers.
pub const MAX_BODY_BYTES: usize = 32 * 1024;
/// Longest name of a cluster.
pub const MAX_NAME_BYTES: usize = 255;
/// Most nodes in one list: as many as a nodelist may hold.
pub const MAX_NODES: usize = 384;
/// The registered TCP port.
pub const PORT: u16 = 5403;

/// A ring, as votequorum calls it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct RingId {
    pub node: u32,
    pub seq: u64,
}

/// One entry of a node list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: u32,
    /// 0: none was given.
    pub data_centre: u32,
    pub state: Option<NodeState>,
}

impl Node {
    pub fn new(id: u32) -> Node {
        Node { id, data_centre: 0, state: None }
    }
}

/// Any message; what it does not carry is `None` or empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub kind: Kind,
    pub seq: Option<u32>,
    pub cluster_name: Option<String>,
    pub tls: Option<Tls>,
    pub client_cert_required: Option<bool>,
    pub supported_messages: Vec<u16>,
    pub supported_options: Vec<u16>,
    /// `Ok` stands in a reply as code 0.
    pub error: Option<Result<(), Refusal>>,
    pub max_request_bytes: Option<u32>,
    pub max_reply_bytes: Option<u32>,
    pub node_id: Option<u32>,
    pub supported_algorithms: Vec<u16>,
    pub algorithm: Option<Algorithm>,
    pub heartbeat_ms: Option<u32>,
    pub ring: Option<RingId>,
    pub config_version: Option<u64>,
    pub list: Option<ListKind>,
    pub nodes: Vec<Node>,
    pub vote: Option<Vote>,
    pub quorate: Option<bool>,
    pub tie_breaker: Option<TieBreaker>,
    pub heuristics: Heuristics,
    pub keep_active_partition: Option<bool>,
}

impl Message {
    pub fn new(kind: Kind) -> Message {
        Message {
            kind,
            seq: None,
            cluster_name: None,
            tls: None,
            client_cert_required: None,
            supported_messages: Vec::new(),
            supported_options: Vec::new(),
            error: None,
            max_request_bytes: None,
            max_reply_bytes: None,
            node_id: None,
            supported_algorithms: Vec::new(),
            algorithm: None,
            heartbeat_ms: None,
            ring: None,
            config_version: None,
            list: None,
            nodes: Vec::new(),
            vote: None,
            quorate: None,
            tie_breaker: None,
            heuristics: Heuristics::Undefined,
            keep_active_partition: None,
        }
    }

    /// With the number that its answer will carry, or the one of the message that it answers.
    pub fn numbered(kind: Kind, seq: Option<u32>) -> Message {
        Message { seq, ..Message::new(kind) }
    }

    pub fn encode(&self) -> Vec<u8> {
        frame::encode(self.kind.code(), &options::write(self))
    }

    /// From what [`Frames::cut`] gave.
    pub fn decode(frame: &Frame) -> Result<Message, DecodeError> {
        options::read(frame)
    }
}

#[cfg(test)]
mod tests;
