//! Bodies of `POST /v1/fencing`: everything that `stonith_admin`, `crm_mon`, `pcs` and `crm` ask of fencing.
//!
//! Devices and levels are configuration: they are registered and changed through `/v1/cib`. Agents that are installed, and what they
//! say of themselves, are found without a daemon. All other questions are here.

pub use base::FenceAction;
use base::outside::Word;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FencingCall {
    pub op: FencingOp,
    /// How long one device may take, in ms; 0 = as configured (`fencing-timeout`). Of a query: how long agents may take to list.
    #[serde(default)]
    pub timeout_ms: u64,
    /// Program that asks, with its process if known: `stonith_admin.1234`; empty = `api`.
    #[serde(default)]
    pub client: Word,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FencingOp {
    /// Devices that this node can use (`--list-registered`), or those of them that can fence `target` (`--list`). Answered in
    /// [`FencingReply::devices`].
    Devices { target: Option<Word> },
    /// Whom the device can fence (`--list-targets`): asks the device if its list is dynamic. In [`FencingReply::targets`].
    Targets { device: Word },
    /// Runs the device's monitor now (`--query`). The reply's code and message say how it went.
    Monitor { device: Word },
    /// Levels of all targets, or those that apply to one. In [`FencingReply::levels`].
    Levels { target: Option<Word> },
    /// What was done and is under way, newest first, all or of one target. In [`FencingReply::history`].
    History { target: Option<Word> },
    /// Fences a node, and answers when the verdict is there (`--fence`, `--reboot`, `--unfence`).
    Fence {
        /// Name or number of a node.
        target: Word,
        action: FenceAction,
        /// Wait this long before the first device, beside the devices' own delays; -1 = no delay at all, theirs neither.
        #[serde(default)]
        delay_ms: i64,
        /// An equal action on the target that succeeded within this time is enough.
        #[serde(default)]
        tolerance_ms: u64,
        /// Goes into log and history beside the client.
        #[serde(default)]
        tag: Option<Word>,
    },
    /// The operator has seen to it that the node is down (`--confirm`).
    Confirm { target: Word },
    /// Forgets the history, all or of one target, and that attempts have failed (`--history=X --cleanup`).
    Cleanup { target: Option<Word> },
}

/// Fields of other questions than the one asked are empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FencingReply {
    /// Exit code (`base::exit::crm`); 0 is success.
    pub code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    pub devices: Vec<FenceDevice>,
    pub targets: Vec<FenceTarget>,
    pub levels: Vec<FenceLevel>,
    pub history: Vec<FenceEvent>,
}

/// A device as the configuration has it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FenceDevice {
    pub id: String,
    pub agent: String,
    /// How it is found out whom it can fence: `static-list`, `dynamic-list`, `status`, `none`.
    pub host_check: String,
    /// Nodes that it names, with their ports; empty for `status` and `none`, and for `dynamic-list` unless it was asked.
    pub targets: Vec<FenceTarget>,
    /// Names of nodes whose status says that it runs (is monitored) there.
    pub running_on: Vec<String>,
    pub priority: i64,
    /// Why nobody uses it: stopped by `target-role`, say.
    pub disabled: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FenceTarget {
    pub node: String,
    /// What the device calls it, if that is another name.
    pub port: Option<String>,
}

/// A `fencing-level`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FenceLevel {
    pub id: String,
    pub target: FenceLevelTarget,
    pub index: u32,
    pub devices: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceLevelTarget {
    Node(String),
    /// An extended regular expression of names.
    Pattern(String),
    Attribute {
        name: String,
        value: String,
    },
}

/// One fencing: under way, or over. The fields are those of `crm_mon`'s `fence_event`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FenceEvent {
    /// Unique for the cluster's life.
    pub id: String,
    /// Name of the node.
    pub target: String,
    /// `off`, `reboot`, `on`.
    pub action: String,
    pub state: FenceState,
    /// Node that ran the device; `a human` for a confirmation; absent while none has.
    pub delegate: Option<String>,
    /// Device that did it, or that is being tried.
    pub device: Option<String>,
    /// Program that asked first.
    pub client: String,
    /// Node on which it asked.
    pub origin: String,
    /// When it was asked for, ms since the epoch.
    pub asked_ms: i64,
    /// When it was over; 0 while it is not.
    pub completed_ms: i64,
    /// Why it failed.
    pub exit_reason: Option<String>,
    /// What is being done, for one under way: `delay`, `waiting for ipmi1`, …
    pub detail: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceState {
    #[default]
    Pending,
    Success,
    Failed,
}
