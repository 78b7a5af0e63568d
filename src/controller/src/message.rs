//! What controllers say to each other in ordered messages, and its form on the wire.
//!
//! A message is one JSON document behind a version byte, cut into parts of at most [`MAX_PART_BYTES`]. JSON because
//! its decoder is bounded and well fuzzed, and because fields can be added during a rolling upgrade; nothing here is
//! on the token's path.

use crate::api::{OpStatus, ViewId};
use crate::digest::Sha;
use crate::fencing::state::Entry;
use crate::fencing::{FenceOp, FenceOrder};
use base::outside::{Reason, Value, Word};
use base::{NodeId, Operation};
use cib::acl::Subject;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Version byte of the form on the wire.
pub const WIRE_VERSION: u8 = 1;
/// Level of this program's features; all members run at the lowest level among them.
///
/// | level | brought |
/// |---|---|
/// | 2 | SHA-256 in the replica's chain, over the messages themselves; [`Message::Check`] and [`Message::Digest`]; [`Standing`] decides in a merge |
/// | 3 | [`Op::As`]; fencing as replicated state: [`Message::Fence`], [`Op::Fence`]; below it the DC fences alone, and tells the result as [`Op::Fenced`] |
/// | 4 | [`Exec::router`]: remote and guest nodes |
pub const FEATURE_LEVEL: u32 = 4;
/// The level from which on remote and guest nodes are driven.
pub const REMOTE_LEVEL: u32 = 4;
/// Largest payload that goes out as one ordered message.
pub const MAX_PART_BYTES: usize = 32 * 1024;
/// Largest message, all parts together.
pub const MAX_MESSAGE_BYTES: usize = 96 << 20;
/// Version, message number, part, parts.
const HEADER_BYTES: usize = 1 + 8 + 4 + 4;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// The first message of every member in every view.
    State(Box<State>),
    /// The winner's content, if members differ.
    Snapshot(Box<Snapshot>),
    /// Must be applied exactly once, in whichever view.
    Op(Box<OpMessage>),
    /// The DC asks a node to run an operation.
    Exec(Box<Exec>),
    /// The DC says that a node has nothing left to stop and may leave.
    Leave { view: ViewId, node: NodeId },
    /// The DC says that quorum changed without a view.
    Quorum { view: ViewId, quorate: bool },
    /// Someone saw that a member's controller hangs, or answers again.
    Ready { view: ViewId, node: NodeId, ready: bool },
    /// The sender's disk holds, or could not take, the configuration as of message `seq` of this view.
    Stored { view: ViewId, seq: u64, written: bool },
    /// A member that lost a merge has stopped what runs elsewhere.
    Joined { view: ViewId },
    /// The DC asks everybody what they hold at this position.
    Check { view: ViewId, number: u64 },
    /// What the sender held at the position of that check.
    Digest { view: ViewId, number: u64, chain: String, document: String },
    /// The DC asks a node to run a fence device.
    Fence(Box<FenceOrder>),
}

impl Message {
    /// The feature level from which on members know this message: below it, it is not sent. Who adds a kind says here what
    /// every member has to be able to read it.
    pub fn level(&self) -> u32 {
        match self {
            Message::State(_)
            | Message::Snapshot(_)
            | Message::Leave { .. }
            | Message::Quorum { .. }
            | Message::Ready { .. }
            | Message::Stored { .. }
            | Message::Joined { .. } => 1,
            Message::Op(op) => op.op.level(),
            Message::Exec(exec) => exec.router.map_or(1, |_| REMOTE_LEVEL),
            Message::Check { .. } | Message::Digest { .. } => 2,
            Message::Fence(_) => 3,
        }
    }
}

/// How far a member's content is to be trusted in a merge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub enum Standing {
    /// It could not follow the others: its content never wins while anybody else's is there.
    Void,
    /// It was stopped for a while, or put out: among equal configurations another's content wins.
    Stale,
    #[default]
    Good,
}

/// What a member brings to a view.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct State {
    pub view: ViewId,
    pub name: Word,
    /// The nodelist, as this node's configuration has it.
    pub nodes: BTreeMap<u32, Word>,
    /// Name and program version of the cluster, for `crm_config`.
    pub cluster_name: Word,
    pub program: Word,
    pub incarnation: u64,
    /// How long this life has lasted; 0, where the member does not say.
    #[serde(default)]
    pub lasted_ms: u64,
    pub feature_level: u32,
    pub ready: bool,
    pub quorate: bool,
    /// `two_node` in this node's configuration.
    pub two_node: bool,
    /// This node's votes; one, where it does not say.
    #[serde(default)]
    pub votes: Option<u32>,
    pub wall_ms: i64,
    /// `SEQ.REP` of [`cib::Lineage`].
    pub lineage: String,
    pub version: (u64, u64, u64),
    /// Equal chains have applied the same messages to the same content.
    pub chain: String,
    /// View since which this node has been a member of its lineage.
    pub since: u64,
    /// This node's own `node_state`, as XML; empty if it has none.
    pub node_state: String,
    /// Operations that this node is running.
    pub in_flight: Vec<InFlight>,
    #[serde(default)]
    pub standing: Standing,
    /// The last fencings that this node knows of.
    #[serde(default)]
    pub fencing: Vec<Entry>,
    /// Time of this node's hardware watchdog; 0 without one.
    #[serde(default)]
    pub watchdog_ms: u64,
}

/// Replicated content, as its winner holds it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub view: ViewId,
    pub cib: String,
    pub chain: String,
    pub config_log: VecDeque<String>,
    pub lineage: String,
    pub since: BTreeMap<u32, u64>,
    pub dedup: Dedup,
    pub in_flight: Vec<InFlight>,
    pub leaving: BTreeSet<u32>,
    #[serde(default)]
    pub fencing: crate::fencing::state::State,
    /// The last known life of each node.
    #[serde(default)]
    pub lives: BTreeMap<u32, u64>,
    #[serde(default)]
    pub watchdogs: BTreeMap<u32, u64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OpMessage {
    pub incarnation: u64,
    /// Counts the operations of one life of one node.
    pub seq: u64,
    pub wall_ms: i64,
    pub op: Op,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// An encoded [`cib::Request`].
    Cib(String),
    Attribute {
        node: u32,
        name: Word,
        value: Option<Value>,
    },
    Cleanup {
        resource: Option<Word>,
        node: Option<u32>,
        operation: Option<(Word, u64)>,
        refresh: bool,
    },
    Shutdown {
        node: u32,
        cancel: bool,
    },
    Result(Box<OpRecord>),
    /// Forget a resource's failures on a node, with `history` all that is known of it there.
    Forget {
        node: u32,
        resource: String,
        history: bool,
    },
    /// Fencing of a node succeeded, as members below level 3 tell it.
    Fenced {
        node: u32,
        action: String,
    },
    /// On behalf of a user to whom ACLs may apply: checked by every member against the ACLs that are in force when its turn has
    /// come, and not only against those of the moment in which it was asked.
    As {
        subject: Subject,
        op: Box<Op>,
    },
    Fence(Box<FenceOp>),
}

impl Op {
    /// What it does, in a refusal.
    pub fn verb(&self) -> &'static str {
        match self {
            Op::Cib(_) => "change the configuration",
            Op::Attribute { .. } => "set an attribute",
            Op::Cleanup { .. } => "forget failures",
            Op::Shutdown { .. } => "stop this node",
            Op::Result(_) => "report a result",
            Op::Forget { .. } => "forget a history",
            Op::Fenced { .. } => "report fencing",
            Op::As { op, .. } => op.verb(),
            Op::Fence(_) => "have a say in fencing",
        }
    }

    /// As [`Message::level`].
    pub fn level(&self) -> u32 {
        match self {
            Op::Cib(_)
            | Op::Attribute { .. }
            | Op::Cleanup { .. }
            | Op::Shutdown { .. }
            | Op::Result(_)
            | Op::Forget { .. }
            | Op::Fenced { .. } => 1,
            Op::As { op, .. } => op.level().max(3),
            Op::Fence(_) => 3,
        }
    }
}

/// An operation as its whole life long: who runs what, why, and what is expected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpIdentity {
    pub node: NodeId,
    pub node_name: String,
    pub resource: String,
    pub class: String,
    pub provider: Option<String>,
    pub agent: String,
    pub operation: String,
    pub interval_ms: u64,
    /// `operation_key`.
    pub key: String,
    /// `ACTION:TRANSITION:TARGET_RC:UUID`; unique.
    pub transition_key: String,
    pub target_rc: i32,
    /// Digest of the parameters.
    pub digest: String,
    /// `on-fail=ignore`.
    pub ignore_failure: bool,
    pub bump: Bump,
    /// Further attributes of the history entry.
    pub extra: Vec<(String, String)>,
}

/// What a failure does to the fail count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Bump {
    None,
    One,
    Infinity,
}

/// An operation that was given to a node and has not reported yet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InFlight {
    pub identity: OpIdentity,
    /// How long to wait for the report at most.
    pub wait_ms: u64,
    /// As [`Exec::router`].
    #[serde(default)]
    pub router: Option<NodeId>,
}

impl InFlight {
    /// The member that reports.
    pub fn host(&self) -> NodeId {
        self.router.unwrap_or(self.identity.node)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Exec {
    pub view: ViewId,
    pub identity: OpIdentity,
    /// With the instance as the configuration has it; the node puts its record of it in its place where it has one.
    pub operation: Operation,
    /// Parameters that belong to this operation alone, and never to the instance.
    pub own: Vec<String>,
    pub wait_ms: u64,
    /// The member that has the connection to the node, if that one is remote.
    #[serde(default)]
    pub router: Option<NodeId>,
}

impl Exec {
    /// The member that sees to it.
    pub fn host(&self) -> NodeId {
        self.router.unwrap_or(self.identity.node)
    }
}

/// How an operation ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OpRecord {
    pub identity: OpIdentity,
    pub call: i64,
    pub code: i32,
    pub status: OpStatus,
    pub reason: Reason,
    pub exec_ms: u64,
    pub queue_ms: u64,
    /// Seconds since the epoch when the result changed.
    pub changed_s: i64,
}

impl OpRecord {
    /// Whether the result is other than expected. Degraded counts as working.
    pub fn failed(&self) -> bool {
        let code = match (self.code, self.identity.operation.as_str()) {
            (190, "monitor") => 0,
            (191, "monitor") => 8,
            (code, _) => code,
        };
        match self.status {
            OpStatus::Pending | OpStatus::Cancelled => false,
            OpStatus::Done => code != self.identity.target_rc,
            _ => true,
        }
    }
}

/// Which operations of which life of which node have been applied.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Dedup {
    nodes: BTreeMap<u32, Seen>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Seen {
    incarnation: u64,
    /// Everything below was applied or is given up.
    floor: u64,
    above: BTreeSet<u64>,
}

/// How far apart operations of one node may be applied; far more than it may have under way at a time.
const DEDUP_WINDOW: usize = 4096;

impl Dedup {
    /// Notes an operation; false if it was applied before.
    pub fn admit(&mut self, node: NodeId, incarnation: u64, seq: u64) -> bool {
        let seen = self.nodes.entry(node.0).or_default();
        if seen.incarnation != incarnation {
            *seen = Seen { incarnation, ..Seen::default() };
        }
        if seq < seen.floor || !seen.above.insert(seq) {
            return false;
        }
        while seen.above.remove(&seen.floor) {
            seen.floor = seen.floor.saturating_add(1);
        }
        while seen.above.len() > DEDUP_WINDOW {
            if let Some(first) = seen.above.pop_first() {
                seen.floor = first.saturating_add(1);
            }
        }
        true
    }
}

/// Why a payload is not a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("message of version {found}, expected {WIRE_VERSION}")]
    Version { found: u8 },
    #[error("message of {bytes} bytes is shorter than its header")]
    Short { bytes: usize },
    #[error("part {part} of {parts} does not follow part {expected}")]
    Part { part: u32, parts: u32, expected: u32 },
    #[error("message larger than {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
    #[error("unreadable message: {0}")]
    Json(String),
}

/// Encodes `message` as the payloads to broadcast, in order; `number` tells this sender's messages apart.
pub fn encode(message: &Message, number: u64) -> Vec<Vec<u8>> {
    let body = serde_json::to_vec(message).unwrap_or_default();
    let room = MAX_PART_BYTES - HEADER_BYTES;
    let parts = body.len().div_ceil(room).max(1) as u32;
    let pieces: Vec<&[u8]> = if body.is_empty() { vec![&[]] } else { body.chunks(room).collect() };
    let with_header = |(part, piece): (usize, &&[u8])| {
        let mut out = Vec::with_capacity(HEADER_BYTES + piece.len());
        out.push(WIRE_VERSION);
        out.extend(number.to_le_bytes());
        out.extend((part as u32).to_le_bytes());
        out.extend(parts.to_le_bytes());
        out.extend_from_slice(piece);
        out
    };
    pieces.iter().enumerate().map(with_header).collect()
}

/// A message as it was ordered.
#[derive(Clone, PartialEq, Debug)]
pub struct Ordered {
    pub message: Message,
    /// Of its bytes.
    pub digest: Sha,
}

/// Puts parts together, per sender. The ring delivers each sender's messages in order, so one buffer each is enough.
///
/// A view may begin between two parts: the first ones belong to the old view and the rest comes in the new one, where nobody can use
/// it. All members pass it over alike; its sender sends again what still counts.
#[derive(Default)]
pub struct Assembler {
    open: BTreeMap<NodeId, Partial>,
    /// Who has begun a message in this view: from then on no part may be missing.
    begun: BTreeSet<NodeId>,
}

struct Partial {
    number: u64,
    next: u32,
    parts: u32,
    body: Vec<u8>,
}

impl Assembler {
    /// The message that `payload` completes, if any.
    pub fn push(&mut self, sender: NodeId, payload: &[u8]) -> Result<Option<Ordered>, DecodeError> {
        let (header, piece) =
            payload.split_at_checked(HEADER_BYTES).ok_or(DecodeError::Short { bytes: payload.len() })?;
        if header[0] != WIRE_VERSION {
            return Err(DecodeError::Version { found: header[0] });
        }
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let number = u64::from(word(1)) | u64::from(word(5)) << 32;
        let (part, parts) = (word(9), word(13));
        if part == 0 {
            self.begun.insert(sender);
        } else if !self.begun.contains(&sender) {
            return Ok(None);
        }
        if parts == 1 && part == 0 {
            return decode(piece).map(Some);
        }
        if part == 0 {
            self.open.insert(sender, Partial { number, next: 0, parts, body: Vec::new() });
        }
        let partial = self.open.get_mut(&sender).filter(|p| p.number == number && p.next == part && p.parts == parts);
        let Some(partial) = partial else {
            let expected = self.open.remove(&sender).map_or(0, |p| p.next);
            return Err(DecodeError::Part { part, parts, expected });
        };
        if partial.body.len() + piece.len() > MAX_MESSAGE_BYTES {
            self.open.remove(&sender);
            return Err(DecodeError::TooLarge);
        }
        partial.body.extend_from_slice(piece);
        partial.next += 1;
        if partial.next < parts {
            return Ok(None);
        }
        let body = self.open.remove(&sender).map(|p| p.body).unwrap_or_default();
        decode(&body).map(Some)
    }

    /// To be called at every view: who joins has not seen the parts before it, so nobody may use them.
    pub fn clear(&mut self) {
        self.open.clear();
        self.begun.clear();
    }
}

/// Fields that this program does not know are passed over, kinds that it does not know are an error.
fn decode(body: &[u8]) -> Result<Ordered, DecodeError> {
    let message = serde_json::from_slice(body).map_err(|e| DecodeError::Json(e.to_string()))?;
    Ok(Ordered { message, digest: crate::digest::sha(body) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_travel_in_parts() {
        let op = OpMessage { incarnation: 1, seq: 1, wall_ms: 0, op: Op::Cib("x".repeat(100_000)) };
        let message = Message::Op(Box::new(op));
        let parts = encode(&message, 7);
        assert_eq!(parts.len(), 4);
        let mut assembler = Assembler::default();
        for part in &parts[..3] {
            assert_eq!(assembler.push(NodeId(1), part), Ok(None));
        }
        let whole = assembler.push(NodeId(1), &parts[3]).map(|m| m.map(|m| m.message));
        assert_eq!(whole, Ok(Some(message)));
        assert_eq!(assembler.push(NodeId(1), &parts[2]), Err(DecodeError::Part { part: 2, parts: 4, expected: 0 }));
    }

    #[test]
    fn a_view_that_begins_between_two_parts_ends_their_message_and_nothing_else() {
        let large = |seq| {
            let op = OpMessage { incarnation: 1, seq, wall_ms: 0, op: Op::Cib("x".repeat(100_000)) };
            Message::Op(Box::new(op))
        };
        let (before, after) = (encode(&large(1), 7), encode(&large(2), 8));
        let mut assembler = Assembler::default();
        assert_eq!(assembler.push(NodeId(1), &before[0]), Ok(None));
        assembler.clear();
        for part in before[1..].iter().chain(&after[..3]) {
            assert_eq!(assembler.push(NodeId(1), part), Ok(None));
        }
        let whole = assembler.push(NodeId(1), &after[3]).map(|m| m.map(|m| m.message));
        assert_eq!(whole, Ok(Some(large(2))));
        let lost = Err(DecodeError::Part { part: 2, parts: 4, expected: 1 });
        assert_eq!(assembler.push(NodeId(1), &before[0]), Ok(None));
        assert_eq!(assembler.push(NodeId(1), &before[2]), lost, "within a view none may be missing");
    }

    #[test]
    fn noise_is_refused() {
        let mut assembler = Assembler::default();
        // A view in which the sender has said something already.
        let first = encode(&Message::Quorum { view: ViewId::default(), quorate: true }, 0);
        assert!(assembler.push(NodeId(1), &first[0]).is_ok_and(|m| m.is_some()));
        let mut noise = 12345u64;
        let mut refused = 0;
        for length in 0..400usize {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (noise >> 56) as u8
                })
                .collect();
            refused += usize::from(assembler.push(NodeId(1), &bytes).is_err());
            let mut framed = encode(&Message::Quorum { view: ViewId::default(), quorate: true }, 1).remove(0);
            let at = length % framed.len();
            framed[at] ^= (noise >> 40) as u8;
            let _ = assembler.push(NodeId(2), &framed);
        }
        assert!(refused >= 395, "{refused}");
    }

    #[test]
    fn unknown_fields_are_passed_over_and_unknown_kinds_are_not() {
        let mut assembler = Assembler::default();
        let mut push = |body: &str| {
            let mut payload = vec![WIRE_VERSION];
            payload.extend([0; 8]);
            payload.extend(0u32.to_le_bytes());
            payload.extend(1u32.to_le_bytes());
            payload.extend(body.as_bytes());
            assembler.push(NodeId(1), &payload)
        };
        let known = push(r#"{"Joined":{"view":{"seq":4,"rep":1},"colour":"blue"}}"#);
        assert!(matches!(known, Ok(Some(Ordered { message: Message::Joined { .. }, .. }))), "{known:?}");
        for unknown in [
            r#"{"Paint":{"view":{"seq":4,"rep":1}}}"#,
            r#"{"Op":{"incarnation":1,"seq":1,"wall_ms":0,"op":{"Paint":{}}}}"#,
        ] {
            assert!(matches!(push(unknown), Err(DecodeError::Json(_))), "{unknown}");
        }
    }

    #[test]
    fn an_operation_is_admitted_once() {
        let mut dedup = Dedup::default();
        let node = NodeId(1);
        assert!(dedup.admit(node, 9, 0));
        assert!(dedup.admit(node, 9, 2));
        assert!(!dedup.admit(node, 9, 2));
        assert!(dedup.admit(node, 9, 1));
        assert!(!dedup.admit(node, 9, 1));
        assert!(!dedup.admit(node, 9, 0));
        assert!(dedup.admit(node, 10, 0), "a new life counts anew");
    }
}
