//! Actions: what may be done to a resource on a node, and what must come before.

use super::basics::Str;
use super::config::OpConfig;
use super::ids::{ActIdx, NodeIdx, RscIdx};
use super::map::Map;
use std::rc::Rc;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Requires {
    #[default]
    Nothing,
    Quorum,
    Fencing,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum OnFail {
    Ignore,
    Demote,
    Restart,
    ResetRemote,
    RestartContainer,
    Ban,
    Block,
    Stop,
    Standby,
    Fence,
}

/// An action that must come before, and what that implies.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    pub action: ActIdx,
    pub flags: u32,
    pub graphed: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct After {
    pub action: ActIdx,
    pub flags: u32,
}

#[derive(Clone, Debug)]
pub struct Action {
    pub id: u32,
    pub rsc: Option<RscIdx>,
    pub node: Option<NodeIdx>,
    pub task: Str,
    /// `RSC_TASK_INTERVAL`.
    pub key: Str,
    pub cancel_task: Option<Str>,
    pub reason: Option<Str>,
    pub flags: u32,
    pub needs: Requires,
    pub op: Option<Rc<OpConfig>>,
    pub meta: Map,
    pub extra: Map,
    pub priority: i32,
    pub runnable_before: i32,
    pub required_runnable_before: i32,
    pub before: Vec<Before>,
    pub after: Vec<After>,
}

impl Action {
    pub fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    pub fn meta(&self, name: &str) -> Option<&str> {
        self.meta.get(name).map(|v| &**v)
    }

    pub fn interval_ms(&self) -> u64 {
        self.meta("interval").and_then(base::text::parse_int).and_then(|v| u64::try_from(v).ok()).unwrap_or(0)
    }
}

pub fn op_key(rsc: &str, task: &str, interval_ms: u64) -> Str {
    // Keys are made by the thousand, nearly all of operations that do not recur: without the machinery of `format!`.
    let mut key = String::with_capacity(rsc.len() + task.len() + 12);
    for part in [rsc, "_", task, "_"] {
        key.push_str(part);
    }
    match interval_ms {
        0 => key.push('0'),
        _ => key.push_str(&interval_ms.to_string()),
    }
    key.into()
}

/// Splits a key into resource, task and interval.
pub fn parse_op_key(key: &str) -> Option<(&str, &str, u64)> {
    let (head, interval) = key.rsplit_once('_')?;
    let interval_ms = base::text::parse_int(interval).and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
    let mut at = None;
    for task in ["migrate_from", "migrate_to"] {
        if let Some(rsc) = head.strip_suffix(task).and_then(|h| h.strip_suffix('_')) {
            at = Some(rsc.len());
        }
    }
    let mut at = at.or_else(|| head.rfind('_'))?;
    for prefix in ["pre_notify", "post_notify", "confirmed-pre_notify", "confirmed-post_notify"] {
        if let Some(rsc) = head[..at].strip_suffix(prefix).and_then(|h| h.strip_suffix('_')) {
            at = rsc.len();
            break;
        }
    }
    (at > 0).then(|| (&head[..at], &head[at + 1..], interval_ms))
}
