//! The local API's bodies: JSON over HTTP/1.1 on `RUN_DIR/api.sock`.
//!
//! Shared by the daemon, which answers, and by every command, which asks. Fields may be added with a default; none is
//! renamed or removed within `/v1`. XML travels as text, so that this crate needs no tree; all other text that can get into the
//! cluster's tree is of the checked kinds of [`base::outside`], so that reading a request checks it.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/cib` | [`CibCall`] | [`CibReply`] |
//! | `GET /v1/status` | – | [`NodeStatus`] |
//! | `GET /v1/quorum` | – | [`QuorumStatus`] |
//! | `GET /v1/timeline[?since_us=N]` | – | [`Timeline`] |
//! | `POST /v1/cleanup` | [`CleanupCall`] | [`Done`] |
//! | `POST /v1/attribute` | [`AttributeCall`] | [`AttributeReply`] |
//! | `POST /v1/shutdown` | [`ShutdownCall`] | [`Done`] |
//! | `POST /v1/fencing` | [`FencingCall`] | [`FencingReply`] |
//! | `POST /v1/reload` | [`ReloadCall`] | [`Done`] |
//! | `POST /v1/votes` | [`VotesCall`] | [`Done`] |
//! | `POST /v1/kill` | [`KillCall`] | [`Done`] |
//! | `GET /v1/keys[?after=N]` | – | [`Keys`] |
//! | `POST /v1/keys` | [`KeysCall`] | [`KeysReply`] |
//! | `GET /v1/changes[?after=N&wait_ms=N]` | – | [`Changes`] |
//! | `GET /v1/groups` | – | [`Groups`] |
//! | `POST /v1/blackbox` | [`BlackboxCall`] | [`BlackboxReply`] |
//! | `GET /v1/health` | – | [`Health`] |
//!
//! Any request may instead be answered with an HTTP status of 400 or more and [`ApiError`].

use base::outside::{Expression, Value, Word};
use base::{NodeId, Time, WallTime};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

mod fencing;
mod incident;
mod keys;
mod told;

pub use fencing::*;
pub use incident::*;
pub use keys::*;
pub use told::*;

/// File name of the API's socket within the run directory.
pub const SOCKET_NAME: &str = "api.sock";
/// Header of a request that root or hacluster makes with another user's permissions (`CIB_user`). Of anybody else it counts nothing.
pub const USER_HEADER: &str = "bascule-user";
/// Run directory unless `BASCULE_RUN_DIR` says otherwise.
pub const DEFAULT_RUN_DIR: &str = "/run/bascule";
/// State directory unless `BASCULE_STATE_DIR` says otherwise.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/bascule";
/// Below the state directory: what transitions were made from.
pub const INPUTS_DIR: &str = "pengine";
/// Largest answer; a CIB of thousands of resources stays far below it.
pub const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Largest body of a request: one of the largest that the CIB accepts, as JSON. Larger ones are refused unread.
pub const MAX_REQUEST_BODY_BYTES: usize = 12 * 1024 * 1024;

/// The socket to ask, given the values of `BASCULE_RUN_DIR` (or nothing).
pub fn socket_path(run_dir: Option<&std::ffi::OsStr>) -> PathBuf {
    PathBuf::from(run_dir.unwrap_or(DEFAULT_RUN_DIR.as_ref())).join(SOCKET_NAME)
}

/// Why a request could not be served at all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ApiError {
    /// Exit code for the command to end with (`base::exit::crm`).
    pub code: i32,
    pub message: String,
}

/// Answer of requests that only succeed or fail.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Exit code (`base::exit::crm`); 0 is success.
    pub code: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default)]
    pub safety: Safety,
}

/// How far a change had got when it was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Safety {
    /// Nothing was changed.
    #[default]
    Unchanged,
    /// Applied here and ordered, but without quorum (a merge may discard it), or too few disks could write it in time (a
    /// power failure everywhere may lose it).
    Provisional,
    /// Written by nodes with a majority of the votes; status, which is on no disk, is held by all members.
    Safe,
}

/// What to do with the CIB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CibOp {
    Query,
    Create,
    Modify,
    Replace,
    Delete,
    /// Delete every element that the XPath selects.
    DeleteAll,
    /// The payload is a diff.
    Patch,
    Erase,
    /// Raise the epoch.
    Bump,
    Upgrade,
    /// All of [`CibCall::steps`] as one change, or nothing.
    Transaction,
}

/// Which part of the CIB.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CibTarget {
    #[default]
    Whole,
    /// `configuration`, `nodes`, `resources`, `constraints`, `crm_config`, `rsc_defaults`, `op_defaults`, `status`,
    /// `acls`, `fencing-topology`, `tags`, `alerts`.
    Section(Word),
    XPath(Expression),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CibCall {
    pub op: CibOp,
    #[serde(default)]
    pub target: CibTarget,
    /// The payload as XML text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
    #[serde(default)]
    pub options: CibOptions,
    /// Of a transaction: the changes in their order. Their own `steps`, `expected` and time-outs do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<CibCall>,
    /// Refuse unless the CIB is at this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedVersion>,
}

/// The version at which a change was thought out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExpectedVersion {
    pub admin_epoch: u64,
    pub epoch: u64,
    /// Absent: changes of the status do not matter.
    #[serde(default)]
    pub num_updates: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CibOptions {
    /// `--allow-create`: modify creates what is missing.
    pub allow_create: bool,
    /// `--no-children`: answer only the elements that match.
    pub no_children: bool,
    /// `--node-path`: answer the paths of the elements that match.
    pub node_path: bool,
    /// `--force`.
    pub force: bool,
    /// `--score`: attribute values such as `name+=5` are evaluated.
    pub score: bool,
    /// Apply and answer, but keep nothing.
    pub dry_run: bool,
    /// How long to wait for the acknowledgement, in ms; 0 = the daemon's default.
    pub timeout_ms: u64,
    /// Program that asks, for `update-client`; empty = `api`.
    pub client: Word,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CibReply {
    /// Exit code (`base::exit::crm`); 0 is success.
    pub code: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The answer as XML text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<String>,
    #[serde(default)]
    pub safety: Safety,
    /// `admin_epoch.epoch.num_updates` after the operation.
    #[serde(default)]
    pub version: (u64, u64, u64),
}

/// Forget failures or histories: `crm_resource --cleanup` and `--refresh`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CleanupCall {
    pub resource: Option<Word>,
    /// Node name.
    pub node: Option<Word>,
    pub operation: Option<Word>,
    pub interval_ms: Option<u64>,
    /// Forget the whole history and probe again, not only failures.
    pub refresh: bool,
    pub force: bool,
}

/// How long a node attribute lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// In the status section, until the node's cluster stack stops.
    #[default]
    Reboot,
    /// In the configuration.
    Forever,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeAction {
    Query,
    /// Query on every node.
    QueryAll,
    /// `value` may be `value++`, `value+=N`, as `attrd_updater` takes it.
    Set {
        value: Value,
    },
    Delete,
    /// Only the dampening.
    SetDelay,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttributeCall {
    pub name: Word,
    /// Node name; the local node if absent.
    #[serde(default)]
    pub node: Option<Word>,
    pub action: AttributeAction,
    #[serde(default)]
    pub lifetime: Lifetime,
    /// Wait this long for further changes before writing, in ms.
    #[serde(default)]
    pub dampen_ms: Option<u64>,
    /// Never written to the CIB.
    #[serde(default)]
    pub private: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AttributeReply {
    pub code: i32,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub values: Vec<AttributeValue>,
    /// Of a change of the configuration; a transient attribute is on no disk.
    #[serde(default)]
    pub safety: Safety,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttributeValue {
    pub node: String,
    pub name: String,
    pub value: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ShutdownCall {
    /// Leave resources running (maintenance, upgrade): addresses become permanent and the ring is left.
    pub keep_resources: bool,
}

/// Read corosync.conf again, on all members or on none. A refusal's message has a line for each thing that is refused, with the
/// node that says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReloadCall {
    /// Only open this node's log files again.
    pub logs_only: bool,
}

/// Change votes at run time, on all members; until the file is read again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VotesCall {
    Expected(u32),
    /// Of a node; of the one asked if none is named.
    Of {
        node: Option<NodeId>,
        votes: u32,
    },
    /// The operator vouches that absent nodes are down.
    CancelWaitForAll,
}

/// Have a member leave the ring at once and end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KillCall {
    pub node: NodeId,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Health {
    /// The ring is current and the controller ticks.
    pub ok: bool,
    /// What is wrong, if anything.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What `GET /v1/status` answers: this node's view of the cluster.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    pub version: String,
    pub me: NodeId,
    pub name: String,
    pub cluster_name: String,
    pub started: WallTime,
    /// Every node of the nodelist, in order.
    pub nodes: Vec<NodeInfo>,
    /// Ids in the current view, in order; empty before the first view.
    pub members: Vec<NodeId>,
    pub dc: Option<NodeId>,
    pub dc_name: Option<String>,
    pub quorate: bool,
    pub view: Option<ViewInfo>,
    /// Controller's state in its own words, e.g. `idle`, `transition 5`.
    pub controller: String,
    pub links: Vec<LinkInfo>,
    pub counters: Vec<Counter>,
    /// `kernel` or `relay`.
    pub data_plane: String,
    /// Packets are sealed with the cluster's key.
    pub authenticated: bool,
    /// The ring thread has real-time priority and locked memory.
    pub realtime: bool,
    pub memory_locked: bool,
    /// Standing warnings for the operator.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whose disk does not take what it should; part of the warnings as well.
    #[serde(default)]
    pub storage: Vec<StorageTrouble>,
    /// Fencing under way and the last results, newest first.
    #[serde(default)]
    pub fencing: Vec<FenceEvent>,
    /// The file as it runs: key, value.
    #[serde(default)]
    pub configuration: Vec<(String, String)>,
}

/// A node whose state directory fails, hangs, or has lost its content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StorageTrouble {
    pub node: String,
    pub text: String,
}

impl std::fmt::Display for StorageTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "storage of {}: {}", self.node, self.text)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NodeInfo {
    pub id: NodeId,
    pub name: String,
    pub addresses: Vec<String>,
    pub votes: u32,
    pub member: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ViewInfo {
    pub rep: NodeId,
    pub seq: u64,
}

/// One link to one peer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LinkInfo {
    pub peer: NodeId,
    pub link: u8,
    pub local: String,
    pub remote: String,
    pub up: bool,
    /// Smoothed round-trip time in µs, if measured.
    pub rtt_us: Option<u64>,
    /// Time since the last packet, in ms.
    pub idle_ms: Option<u64>,
    /// Ordered traffic takes it at present.
    #[serde(default)]
    pub in_use: bool,
    #[serde(default)]
    pub stats: LinkStats,
}

/// What a link has carried and how it fared since the start; under knet's names in `stats.knet.nodeX.linkY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStats {
    pub up_count: u64,
    pub down_count: u64,
    /// Round trips in µs.
    pub latency_min: u64,
    pub latency_max: u64,
    pub latency_ave: u64,
    pub latency_samples: u64,
    /// Bytes of data that a packet over it takes, as it was found or is fixed.
    pub mtu: u64,
    pub tx_data_packets: u64,
    pub tx_data_bytes: u64,
    pub rx_data_packets: u64,
    pub rx_data_bytes: u64,
    /// Heartbeats, which answer each other.
    pub tx_ping_packets: u64,
    pub tx_ping_bytes: u64,
    pub rx_ping_packets: u64,
    pub rx_ping_bytes: u64,
    /// Looking for the size of packet that passes.
    pub tx_pmtu_packets: u64,
    pub tx_pmtu_bytes: u64,
    pub tx_pmtu_retries: u64,
    pub rx_pmtu_packets: u64,
    pub rx_pmtu_bytes: u64,
    /// As sealed, the exchange of sessions among them.
    pub tx_total_packets: u64,
    pub tx_total_bytes: u64,
    pub tx_total_errors: u64,
    pub rx_total_packets: u64,
    pub rx_total_bytes: u64,
    /// Reports of the network that nobody is there.
    pub icmp_errors: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counter {
    /// Dotted, e.g. `totem.retransmits`, `session.dropped.replayed`.
    pub name: String,
    pub value: u64,
}

/// What `corosync-quorumtool -s` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QuorumStatus {
    pub now: WallTime,
    /// `corosync_votequorum`, or empty if none is configured.
    pub provider: String,
    pub me: NodeId,
    pub ring: Option<ViewInfo>,
    pub quorate: bool,
    pub expected_votes: u32,
    pub highest_expected: u32,
    pub total_votes: u32,
    pub quorum: u32,
    /// Waiting for a first meeting of all nodes.
    #[serde(default)]
    pub waiting_for_all: bool,
    /// Expected votes never fall below this (`expected_votes_tracking`).
    #[serde(default)]
    pub barrier: u32,
    /// `2Node`, `Quorate`, `WaitForAll`, … in the original's order.
    pub flags: Vec<String>,
    pub members: Vec<QuorumMember>,
    /// The arbitrator, where one is configured.
    #[serde(default)]
    pub device: Option<DeviceInfo>,
}

/// What `corosync-qdevice-tool -s` prints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeviceInfo {
    pub votes: u32,
    pub registered: bool,
    pub alive: bool,
    /// Its votes are with this node's partition.
    pub cast: bool,
    /// It is being asked about the present view.
    pub undecided: bool,
    pub cluster_name: String,
    pub config_version: Option<u64>,
    pub host: String,
    pub port: u16,
    pub force_ip_version: u8,
    pub algorithm: String,
    pub tie_breaker: String,
    pub keep_active_partition: String,
    pub timeout_ms: u32,
    pub sync_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub heartbeat_ms: u32,
    pub tls: String,
    pub tls_active: bool,
    /// `Connected`, `Connecting`, `Connect failed`, `Disconnected`.
    pub state: String,
    pub trouble: Option<String>,
    pub heuristics_mode: String,
    pub heuristics: String,
    pub heuristics_regular: String,
    pub heuristics_membership: String,
    pub heuristics_connect: String,
    pub connected_since: Option<WallTime>,
    /// When the last echo came back.
    pub echoed: Option<WallTime>,
    /// When the vote was last looked at.
    pub polled: Option<WallTime>,
}

/// What one member's device says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemberDevice {
    pub alive: bool,
    pub cast: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QuorumMember {
    pub id: NodeId,
    pub name: String,
    pub votes: u32,
    pub local: bool,
    /// Registered, and what it says.
    #[serde(default)]
    pub device: Option<MemberDevice>,
}

/// Events in causal order as this node saw them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Timeline {
    pub node: String,
    /// Monotonic now of this node, to place the events in the past.
    pub now: Time,
    pub wall: WallTime,
    /// Events that fell out of the bounded store.
    pub forgotten: u64,
    pub events: Vec<TimelineEvent>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TimelineEvent {
    /// Monotonic stamp in µs, of this node only.
    pub at: Time,
    /// The same moment as calendar time in µs since the epoch, for comparing nodes of one host.
    pub wall_us: i64,
    /// `heartbeat_lost`, `link`, `view`, `quorum`, `dc`, `schedule`, `action_start`, `action_end`, `address_added`,
    /// `announced`, `discarded`, `cib`, …
    pub kind: String,
    /// What it is about: a node, a resource operation, an address.
    pub subject: String,
    /// One line for people.
    pub text: String,
}
