//! What goes into the controller and what comes out of it.
//!
//! The daemon turns packets, timers, finished agents and clients' requests into [`Input`]s, and performs every
//! [`Output`]. Nothing here touches a clock, a socket or a file.

use crate::fencing::executor::{AgentCall, AgentResult};
use crate::fencing::query::{Event, FencingAnswer, FencingQuery};
use crate::record::{AgentFacts, AgentName, Record};
use base::exit::OcfCode;
use base::outside::{Reason, Value, Word};
use base::{Names, NodeId, Operation, Time, WallTime};
use cib::acl::Subject;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xml::Element;

/// What a node has to know about itself and its cluster before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    /// Names of all nodes of the nodelist, this one included.
    pub nodes: BTreeMap<NodeId, String>,
    pub cluster_name: String,
    /// Version shown as `dc-version`.
    pub version: String,
    /// Random number of this process's life: tells its operations from those of its former lives, and is the
    /// source of the UUID in transition keys.
    pub incarnation: u64,
    /// Votes of every node; one that is not listed has one.
    pub votes: BTreeMap<NodeId, u32>,
    /// Votes of the whole cluster: a change is safe once disks of more than half of them hold it.
    pub expected_votes: u32,
    /// `two_node` of corosync.conf: each of two nodes has quorum alone, so quorum does not tell which of two lines of
    /// history is the cluster's.
    pub two_node: bool,
    /// How long a lost node's addresses can outlive it.
    pub lease: base::lease::Bounds,
    /// Level of this node's features ([`crate::FEATURE_LEVEL`]); a lower one makes it behave like an older program.
    pub feature_level: u32,
    /// Operations that one node runs at the same time, unless `node-action-limit` says otherwise (twice its cores).
    pub node_action_limit: u32,
    /// Time of this node's hardware watchdog, in ms; 0 without one.
    pub watchdog_ms: u64,
}

impl Config {
    /// Defaults for everything that is not this node's or cluster's own.
    pub fn new(me: NodeId, nodes: BTreeMap<NodeId, String>, cluster_name: &str, incarnation: u64) -> Config {
        Config {
            me,
            votes: nodes.keys().map(|n| (*n, 1)).collect(),
            expected_votes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
            nodes,
            cluster_name: cluster_name.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation,
            two_node: false,
            lease: base::lease::Bounds::STANDARD,
            feature_level: crate::FEATURE_LEVEL,
            node_action_limit: 4,
            watchdog_ms: 0,
        }
    }

    /// This node's name, or its number if the nodelist has none.
    pub fn name_of(&self, node: NodeId) -> String {
        self.nodes.get(&node).cloned().unwrap_or_else(|| node.to_string())
    }

    pub fn votes_of(&self, node: NodeId) -> u32 {
        self.votes.get(&node).copied().unwrap_or(1)
    }

    pub fn my_name(&self) -> String {
        self.name_of(self.me)
    }
}

/// A view's identity, ordered by age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct ViewId {
    pub seq: u64,
    /// Number of the node that formed it.
    pub rep: u32,
}

/// Something that happened to this node.
#[derive(Clone, Debug)]
pub enum Input {
    /// The ring has formed anew. Every message until the next view is delivered to these members.
    View { id: ViewId, members: Vec<NodeId>, quorate: bool },
    /// Quorum changed without a view (votes were changed, a device voted).
    Quorum { quorate: bool },
    /// An arbitrator has been asked whether this view has quorum: until it has answered, or until then, nothing new is decided, and
    /// what runs goes on. A time that is over ends it.
    Undecided { until: Time },
    /// An ordered message, own ones included.
    Deliver { sender: NodeId, view: ViewId, seq: u64, payload: Vec<u8> },
    /// Every member holds all messages of `view` up to `seq`.
    Safe { view: ViewId, seq: u64 },
    /// The view is ending (totem's transitional configuration): what is delivered until the next view, and what is
    /// called safe until then, is known only to those who come along.
    Transitional,
    /// Whether the ring is in operation (true) or re-forming; leases are renewed only while it is.
    Ring { current: bool },
    /// A client of this node asks; the answer comes as [`Output::Reply`] with the same `id`.
    Client { id: u64, request: Request },
    /// An operation has ended, or (recurring ones) one round of it.
    Executed { call: u64, result: ExecResult },
    /// A resource of this node has failed without being asked: its address was lost, its link went down. Recorded like a
    /// failed monitor. Nothing happens if this node does not hold the resource.
    Failed { resource: String, code: OcfCode, reason: Reason },
    /// What the meta-data of an agent say, whenever they are known: once for each agent is enough.
    Facts { agent: AgentName, facts: AgentFacts },
    /// Answer to [`Output::Schedule`].
    Scheduled { ticket: u64, result: Result<Box<scheduler::Schedule>, String> },
    /// The disk holds (or could not take) what [`Output::Persist`] with this ticket gave, and everything before it.
    Stored { ticket: u64, written: bool },
    /// Answer to [`Output::FenceAgent`].
    FenceAgent { call: u64, result: AgentResult },
    /// This process did not run for that long. Others may have taken over what it holds.
    Stalled { ms: u64 },
    /// The ring has left this node behind (it was stopped, or put out), and the next view takes it in like one that starts.
    StartedOver,
    /// Answer to [`Output::Digest`].
    Digested { ticket: u64, digest: String },
    /// It is certain that this node does not run (its host says so, an operator said so).
    DeathConfirmed { node: NodeId },
    /// Readiness of a member as its heartbeats tell.
    PeerReady { node: NodeId, ready: bool },
    /// A resource of this node runs on, and somebody should know of this.
    Trouble { resource: String, text: String },
    /// Something the timeline shall show in its causal place: a lost heartbeat, an announced address.
    Observed { kind: String, subject: String, text: String },
    /// Time passes; also sent when [`crate::Controller::poll_timeout`] is due.
    Tick,
}

/// What the daemon has to do.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send as an ordered message to all members, this node included.
    Broadcast(Vec<u8>),
    /// Run an agent; answer with [`Input::Executed`] of the same call.
    Execute {
        call: u64,
        operation: Operation,
        /// To be kept in a file before the operation runs; if that fails, it does not run and has failed.
        record: Option<Box<Record>>,
    },
    /// Keep this record in place of the instance's former one. Records are written in the order in which they come.
    Record(Box<Record>),
    /// The instance is gone: its record is to be removed.
    Unrecord {
        instance: String,
    },
    /// Stop waiting for this call: kill it if it runs. It needs no answer; a late one is ignored.
    Cancel {
        call: u64,
    },
    /// Compute a transition on a worker; answer with [`Input::Scheduled`]. A newer ticket replaces an older one.
    Schedule {
        ticket: u64,
        cib: Arc<Element>,
        wall: WallTime,
    },
    Reply {
        id: u64,
        response: Response,
    },
    /// Store the CIB; the latest one counts. Answer with [`Input::Stored`].
    Persist(Persist),
    /// Content that lost at a merge: keep it as a file.
    Discarded {
        cib: Arc<Element>,
        reason: String,
    },
    /// What this node may hold leases for.
    Owners(Owners),
    /// Run a fence agent; answer with [`Input::FenceAgent`] of the same call.
    FenceAgent {
        call: u64,
        run: AgentCall,
    },
    /// This node was fenced, or cannot rule it out: drop every address and director at once, and end. With `panic` the machine is
    /// reset.
    Obey {
        reason: String,
        panic: bool,
    },
    Timeline(TimelineEvent),
    Alert(Alert),
    /// Alert agents to be called for one event; nothing waits for them.
    Notify(crate::alerts::Calls),
    /// Compute [`crate::digest_of`] of the document on a worker; answer with [`Input::Digested`]. Only the newest matters.
    Digest {
        ticket: u64,
        cib: Arc<Element>,
    },
    /// This node cannot follow the others: leave the ring at once, and come back as a newcomer after that time. Nothing that
    /// the ring still delivers before the next view is looked at.
    FailStop {
        reason: String,
        return_after_ms: u64,
    },
    /// All of this node's resources are stopped as asked: leave the ring and exit.
    Leave,
}

/// A CIB to be stored: configuration without status.
#[derive(Clone, Debug)]
pub struct Persist {
    /// Counts up.
    pub ticket: u64,
    pub cib: Arc<Element>,
    /// Goes beside the CIB and back into [`crate::Controller::new`]: text of one line.
    pub lineage: String,
}

/// Resources that the applied state gives to this node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owners {
    /// False while the ring re-forms, and before the first view: renew nothing, but remove nothing either.
    pub current: bool,
    pub resources: Names,
    /// Nodes that may live without being heard, and hold what this node is told to start.
    pub silent: BTreeSet<NodeId>,
}

/// A client's request.
#[derive(Clone, Debug)]
pub enum Request {
    Cib(cib::Request),
    /// Set (or, without value, delete) a transient attribute; `value` may be `value++` or `value+=N`.
    Attribute {
        node: Option<Word>,
        name: Word,
        value: Option<Value>,
    },
    /// Forget failures; with `refresh` the whole history, so that resources are probed again.
    Cleanup {
        resource: Option<Word>,
        node: Option<Word>,
        operation: Option<(Word, u64)>,
        refresh: bool,
    },
    /// Stop this node's resources, then leave ([`Output::Leave`]). `cancel` takes an earlier request back.
    Shutdown {
        cancel: bool,
    },
    /// Any of these on behalf of a user to whom ACLs may apply.
    As {
        subject: Subject,
        request: Box<Request>,
    },
    /// Answered by [`Response::Fencing`].
    FencingQuery {
        query: FencingQuery,
        timeout_ms: u64,
    },
    /// Fence a node; the answer is the verdict.
    Fence(FenceRequest),
    /// The operator knows that the node is down.
    ConfirmDown {
        target: Word,
        client: Word,
    },
    ForgetFencing {
        target: Option<Word>,
    },
}

/// What a client wants fenced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FenceRequest {
    /// Name or number.
    pub target: Word,
    pub action: crate::fencing::FenceAction,
    /// 0 = as configured.
    pub timeout_ms: u64,
    /// -1 = no delay at all.
    pub delay_ms: i64,
    pub tolerance_ms: u64,
    pub client: Word,
}

/// How far a change had got when it was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Safety {
    /// Nothing was changed.
    Unchanged,
    /// Applied and ordered, but without quorum (or with `two_node` by one node alone): a merge may discard it; or on too few
    /// disks, in time: a power failure may lose it.
    Provisional,
    /// Held by a majority of votes.
    Safe,
}

/// The answer to a [`Request`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    Done {
        safety: Safety,
        answer: Option<Element>,
        version: (u64, u64, u64),
    },
    /// `code` is one of `base::exit::crm`.
    Failed {
        code: i32,
        message: String,
    },
    Fencing(Box<FencingAnswer>),
}

/// Status of an operation as the history writes it (`op-status`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum OpStatus {
    Pending,
    Done,
    Cancelled,
    /// It did not answer in time: nobody knows what it did.
    Timeout,
    NotSupported,
    Error,
    NotInstalled,
    /// The node that ran it cannot be reached.
    NotConnected,
}

impl OpStatus {
    pub fn number(self) -> i32 {
        match self {
            OpStatus::Pending => -1,
            OpStatus::Done => 0,
            OpStatus::Cancelled => 1,
            OpStatus::Timeout => 2,
            OpStatus::NotSupported => 3,
            OpStatus::Error => 4,
            OpStatus::NotInstalled => 7,
            OpStatus::NotConnected => 8,
        }
    }
}

/// How an action ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecResult {
    pub code: OcfCode,
    pub status: OpStatus,
    /// What the agent said as its reason (`ocf_exit_reason`), or empty.
    pub reason: Reason,
    pub exec_ms: u64,
    pub queue_ms: u64,
}

impl ExecResult {
    /// The agent ran to its end with this code.
    pub fn done(code: OcfCode) -> ExecResult {
        ExecResult { code, status: OpStatus::Done, reason: Reason::default(), exec_ms: 0, queue_ms: 0 }
    }

    pub fn timeout(reason: &str) -> ExecResult {
        let reason = Reason::cleaned(reason);
        ExecResult { code: OcfCode::ERROR, status: OpStatus::Timeout, reason, exec_ms: 0, queue_ms: 0 }
    }
}

/// One line of the causal timeline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimelineEvent {
    pub at: Time,
    pub wall: WallTime,
    /// `view`, `synced`, `quorum`, `dc`, `schedule`, `transition`, `action_start`, `action_end`, `discarded`, `fence`, …
    pub kind: String,
    /// What it is about: a node, an operation's key.
    pub subject: String,
    pub text: String,
}

/// Something that an operator should be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alert {
    Node {
        name: String,
        online: bool,
    },
    Resource {
        node: String,
        resource: String,
        operation: String,
        code: OcfCode,
        target: OcfCode,
        reason: String,
    },
    /// A fencing is over.
    Fencing {
        event: Box<Event>,
    },
    /// Something about fencing that wants an operator: given up, say.
    FencingTrouble {
        name: String,
        message: String,
    },
    Discarded {
        reason: String,
    },
    /// A message of a peer that this version cannot read.
    Protocol {
        message: String,
    },
}

/// A start that is held back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldStart {
    pub node: NodeId,
    pub resource: String,
    pub for_ms: u64,
}

/// What the controller knows, for status displays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    pub view: Option<ViewId>,
    pub members: Vec<NodeId>,
    pub quorate: bool,
    /// Members have exchanged their states since the last view.
    pub synced: bool,
    pub dc: Option<NodeId>,
    /// `starting`, `joining`, `idle`, `scheduling`, `transition 5`, `following`.
    pub state: String,
    /// Members whose disk fails or hangs.
    pub disks: BTreeMap<NodeId, crate::disks::DiskTrouble>,
    /// The stored configuration was lost, and no member has brought one.
    pub no_content: bool,
    /// On the DC: starts that wait, since they failed again and again.
    pub held_back: Vec<HeldStart>,
    /// Fencing under way and the last results, newest first.
    pub fencing: Vec<Event>,
    /// Named counters: messages applied, duplicates dropped, undecodable messages, …
    pub counters: BTreeMap<&'static str, u64>,
}
