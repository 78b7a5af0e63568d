//! Fencing: who is to be put out, by which device, run where, and what came of it.
//!
//! ```text
//!  ask (any node, the DC) --ordered--> Fencing, one at a time for each target; later equal or weaker asks join it
//!                                        |
//!        .--------------- the DC: plan::next, by what was tried
//!        v                               ^
//!  Order(device, executor) --ordered--> executor runs the agent --Outcome, ordered
//!                                        |
//!                                        v no step left, or it worked
//!  Verdict --ordered--> failed: history, askers told
//!                  '--> success: a target that is a member obeys (drops everything and ends); once it is gone its
//!                       state says so, history, askers told
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`device`] | devices of the configuration and their parameters |
//! | [`topology`] | levels |
//! | [`state`] | what all members hold alike: what is under way, history, who was fenced |
//! | [`plan`] | the next step, from what was tried |
//! | [`driver`] | the DC's part: orders, deadlines, verdicts |
//! | [`executor`] | the executing node's part: delay, check, agent, repetition |
//! | [`query`] | answers for people |
//! | `wants` | what the DC's transitions want fenced, and how soon it is tried again |
//!
//! The state changes by ordered messages alone. What needs time (deadlines, delays) is the DC's or the executor's own; a DC that takes
//! over finds in the state what was ordered and what came of it, waits for what is still under way, and goes on from there.
//!
//! An agent may say that it has worked when it has not. A target that hears the others is told first, and nothing moves before it has
//! left the ring (or has had [`driver::OBEY_WITHIN`]): nothing is held twice. One behind a cut cannot be told. Where it has lost quorum it
//! stops by itself; `bascule-takeover=safe` also waits until its leases are over, since an agent's word does not end them, only an
//! operator's does. Of two nodes that both have quorum each can be told so of the other: what they hold twice ends when they hear each
//! other again, and both end then. A life of a node that was fenced is down for everybody from then on; its next life joins as any other.
//!
//! What the cluster wants because a node was lost is not carried on once the node is back: no further device is tried, and what waits for
//! its delay does not begin. The merge has told what runs there, and the next transition says whether it still has to be fenced.
//!
//! One life of a node is fenced once: a success answers everything that the cluster has asked of that life, what waits as well as what
//! comes after it. What a transition has asked in one view is void in the next.
//!
//! Budgets: each device has its own time (`pcmk_<action>_timeout`, else what the asker said, else `fencing-timeout`), repetitions included;
//! the DC waits [`driver::SLACK_PERCENT`] of it, as the original's clients do, then goes on to the next device. A device that hangs costs
//! its own time and nobody else's.

pub mod device;
pub mod driver;
pub mod executor;
pub mod plan;
pub mod query;
pub mod state;
pub mod topology;
mod wants;

pub use base::FenceAction;
pub use wants::{Over, Wanted, Wants};

#[cfg(test)]
mod tests;

use crate::api::ViewId;
use base::outside::{Reason, Value, Word};
use base::{NodeId, text};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who asks for what the scheduler wants.
pub const CLUSTER: &str = "bascule-controld";

/// Names a request, and the fencing that it began: node, life of the node, number within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct FenceId {
    pub node: u32,
    pub incarnation: u64,
    pub number: u64,
}

impl fmt::Display for FenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}-{}", self.node, self.incarnation, self.number)
    }
}

/// A request for fencing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    pub id: FenceId,
    pub target: u32,
    pub name: Word,
    pub action: FenceAction,
    /// Who asks: program, and perhaps a tag.
    pub client: Word,
    /// Name of the asking node.
    pub origin: Word,
    /// One device's time unless the device says otherwise; 0 = `fencing-timeout`.
    pub timeout_ms: u64,
    /// Before the first device; -1 switches the devices' own delays off too.
    pub delay_ms: i64,
    /// An equal success within this time is enough.
    pub tolerance_ms: u64,
    /// What the target's attributes become with success (unfencing notes which devices it was made for).
    pub attributes: Vec<(Word, Value)>,
    /// The view that a transition of the DC wants it in: in any other one the DC decides anew. People want it in all.
    #[serde(default)]
    pub view: Option<ViewId>,
}

/// The DC's order to run a device.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FenceOrder {
    pub view: ViewId,
    pub id: FenceId,
    /// Counts the orders of one fencing.
    pub attempt: u32,
    pub step: Step,
    pub executor: u32,
    /// The executor's life: who restarts has forgotten the order.
    pub incarnation: u64,
    pub delay_ms: u64,
    pub timeout_ms: u64,
}

/// One device's part in a plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Index of the level; 0 where no topology applies.
    pub level: u32,
    pub device: Word,
    /// What the device is to do; of several devices on one level, each switches off and then on.
    pub action: FenceAction,
}

/// What a device's run has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ended {
    Done,
    /// The agent says no, or took too long.
    Failed,
    /// It could not be run on this node; another may do better.
    Elsewhere,
    /// The device does not know the target.
    Cannot,
}

/// An executor's report, or the DC's where there is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub id: FenceId,
    pub attempt: u32,
    pub step: Step,
    pub executor: u32,
    pub ended: Ended,
    pub reason: Reason,
}

/// Changes of the fencing state that any node may send; applied exactly once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FenceOp {
    Ask(Ask),
    Outcome(Outcome),
    /// `last`: the target has had its time to obey.
    Verdict {
        id: FenceId,
        ok: bool,
        reason: Reason,
        last: bool,
    },
    /// An operator vouches for it that the target is down.
    Confirm {
        id: FenceId,
        target: u32,
        name: Word,
        client: Word,
        origin: Word,
    },
    /// History and failures of one target, or of all, are forgotten.
    Forget {
        target: Option<u32>,
    },
}

/// A cluster property by its name of today or its former one.
pub fn property<'a>(cib: &'a xml::Element, name: &str, former: &str) -> Option<&'a str> {
    cib::config::property(cib, name).or_else(|| cib::config::property(cib, former))
}

/// `fencing-timeout`.
pub fn fencing_timeout_ms(cib: &xml::Element) -> u64 {
    let set = property(cib, "fencing-timeout", "stonith-timeout").and_then(text::parse_interval_ms);
    set.filter(|ms| *ms > 0).unwrap_or(60_000)
}

/// `fencing-max-attempts`; `None` = no bound.
pub fn max_attempts(cib: &xml::Element) -> Option<u32> {
    match property(cib, "fencing-max-attempts", "stonith-max-attempts").and_then(base::Score::parse) {
        None => Some(10),
        Some(score) if score.value() >= base::Score::INFINITY.value() => None,
        Some(score) => Some(u32::try_from(score.value()).unwrap_or(0).max(1)),
    }
}

/// What a node does that learns of its own fencing: `panic` resets the machine, else it ends.
pub fn panics(cib: &xml::Element) -> bool {
    property(cib, "fencing-reaction", "fence-reaction") == Some("panic")
}

/// `fencing-watchdog-timeout`: how long after a node was lost its watchdog has certainly reset it. Never less than twice the watchdog's
/// own time, which is `watchdog_ms`: a node that was frozen feeds it once more when it goes on, before it learns that it was lost. A
/// negative value is just that. `None` if that way of fencing is not in use.
pub fn watchdog_timeout_ms(cib: &xml::Element, watchdog_ms: u64) -> Option<u64> {
    let value = property(cib, "fencing-watchdog-timeout", "stonith-watchdog-timeout")?;
    match text::parse_ms(value)? {
        0 => None,
        ms => Some(u64::try_from(ms).unwrap_or(0).max(watchdog_ms.saturating_mul(2))).filter(|ms| *ms > 0),
    }
}

/// Which node a text names: by name, else by number.
pub(crate) fn node_number(config: &crate::api::Config, name: &str) -> Option<NodeId> {
    let by_name = config.nodes.iter().find(|(_, called)| base::ids::same_node(called, name));
    by_name.or_else(|| config.nodes.iter().find(|(n, _)| n.to_string() == name)).map(|(n, _)| *n)
}
