//! The status section's operation histories, typed.

use crate::model::{NodeIdx, RscIdx, Str};
use base::text::parse_int;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use xml::Element;

/// `op-status` values.
pub mod exec {
    pub const PENDING: i32 = -1;
    pub const DONE: i32 = 0;
    pub const CANCELLED: i32 = 1;
    pub const NOT_SUPPORTED: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const ERROR_HARD: i32 = 5;
    pub const ERROR_FATAL: i32 = 6;
    pub const NOT_INSTALLED: i32 = 7;
    pub const NOT_CONNECTED: i32 = 8;
    pub const NO_FENCE_DEVICE: i32 = 10;
    pub const NO_SECRETS: i32 = 11;
}

/// Which entry: node state, resource, operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpRef {
    pub state: u32,
    pub rsc: u32,
    pub op: u32,
}

#[derive(Clone, Debug, Default)]
pub struct OpEntry {
    pub id: Option<Str>,
    pub key: Option<Str>,
    pub task: Option<Str>,
    pub interval_ms: u64,
    pub status: Option<i32>,
    pub rc: Option<i32>,
    pub call_id: i32,
    pub call_id_text: Option<Str>,
    pub transition_key: Option<Str>,
    pub magic: Option<Str>,
    pub last_change: Option<i64>,
    pub exit_reason: Option<Str>,
    pub on_node: Option<Str>,
    pub digest: Option<Str>,
    pub restart_digest: Option<Str>,
    pub secure_digest: Option<Str>,
    pub force_restart: Option<Str>,
    pub secure_params: Option<Str>,
    pub feature_set: Option<Str>,
    pub migrate_source: Option<Str>,
    pub migrate_target: Option<Str>,
    pub exec_ms: i64,
    pub queue_ms: i64,
}

#[derive(Clone, Debug, Default)]
pub struct RscHistory {
    pub id: Option<Str>,
    pub shutdown_lock: Option<i64>,
    pub has_entries: bool,
    pub ops: Box<[OpEntry]>,
    /// Attributes of the element but its id: class, type, …; shared by all elements with the same.
    pub attrs: Rc<Attrs>,
}

pub type Attrs = [(Str, Str)];

/// One `<node_state>`.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    pub id: Option<Str>,
    pub name: Option<Str>,
    pub in_ccm: Option<Str>,
    pub crmd: Option<Str>,
    pub join: Option<Str>,
    pub expected: Option<Str>,
    pub in_maintenance: bool,
    pub fenced: bool,
    pub resources: Box<[RscHistory]>,
    /// Numbers of the resources that have ids, sorted by these; of equal ones in document order.
    by_id: Box<[u32]>,
}

#[derive(Clone, Debug, Default)]
pub struct Histories {
    pub states: Vec<NodeState>,
    /// Numbers of the states of a node, by its name.
    by_name: BTreeMap<Str, Vec<u32>>,
}

/// A failed operation that is still in the history.
#[derive(Clone, Debug)]
pub struct FailedOp {
    pub op: OpRef,
    pub node: Str,
    pub rsc_id: Str,
}

/// A history entry whose parameters can only be compared after placement.
#[derive(Clone, Copy, Debug)]
pub struct ParamCheck {
    pub rsc: RscIdx,
    pub node: NodeIdx,
    pub op: OpRef,
    pub last_failure: bool,
}

fn int(e: &Element, name: &str) -> Option<i32> {
    e.attr(name).and_then(parse_int).and_then(|v| i32::try_from(v).ok())
}

fn time(e: &Element, name: &str) -> Option<i64> {
    e.attr(name).and_then(parse_int)
}

impl OpEntry {
    fn read(e: &Element) -> OpEntry {
        let text = |name: &str| e.shared_attr(name);
        OpEntry {
            id: text("id"),
            key: text("operation_key").or_else(|| text("id")),
            task: text("operation"),
            interval_ms: e.attr("interval").and_then(parse_int).and_then(|v| u64::try_from(v).ok()).unwrap_or(0),
            status: int(e, "op-status"),
            rc: int(e, "rc-code"),
            call_id: int(e, "call-id").unwrap_or(-1),
            call_id_text: text("call-id"),
            transition_key: text("transition-key"),
            magic: text("transition-magic"),
            last_change: time(e, "last-rc-change"),
            exit_reason: text("exit-reason"),
            on_node: text("on_node"),
            digest: text("op-digest"),
            restart_digest: text("op-restart-digest"),
            secure_digest: text("op-secure-digest"),
            force_restart: text("op-force-restart"),
            secure_params: text("op-secure-params"),
            feature_set: text("crm_feature_set"),
            migrate_source: text("migrate_source"),
            migrate_target: text("migrate_target"),
            exec_ms: time(e, "exec-time").unwrap_or(0),
            queue_ms: time(e, "queue-time").unwrap_or(0),
        }
    }

    pub fn task(&self) -> &str {
        self.task.as_deref().unwrap_or_default()
    }

    pub fn is_probe(&self) -> bool {
        self.interval_ms == 0 && self.task() == "monitor"
    }

    /// A failed probe that means no more than that the resource is not there.
    pub fn masks_probe_failure(&self) -> bool {
        self.is_probe() && (matches!(self.rc.unwrap_or(0), 2 | 5) || self.status == Some(exec::NOT_INSTALLED))
    }

    /// The exit status that the transition expected; -1 if the entry does not tell.
    pub fn target_rc(&self) -> i32 {
        match self.transition_key.as_deref() {
            None => -1,
            Some(key) => decode_key(key).map_or(-1, |k| k.target_rc),
        }
    }
}

/// `ACTION:TRANSITION:TARGET_RC:UUID`.
struct Key<'a> {
    transition: i32,
    target_rc: i32,
    uuid: &'a str,
}

fn decode_key(key: &str) -> Option<Key<'_>> {
    let mut parts = key.splitn(4, ':');
    let mut number = || parts.next()?.trim().parse::<i32>().ok();
    let (_, transition, target_rc) = (number()?, number()?, number()?);
    let uuid = parts.next()?.split_whitespace().next()?;
    Some(Key { transition, target_rc, uuid })
}

/// `STATUS:RC;KEY`.
fn decode_magic(magic: &str) -> Option<Key<'_>> {
    decode_key(magic.split_once(';')?.1)
}

/// Tells which of two entries of a history happened later.
pub fn compare_ops(a: &OpEntry, b: &OpEntry) -> Ordering {
    let same_node = match (&a.on_node, &b.on_node) {
        (None, None) => true,
        (Some(x), Some(y)) => x.eq_ignore_ascii_case(y),
        _ => false,
    };
    if same_node && a.id == b.id {
        return Ordering::Equal;
    }
    let (x, y) = (a.call_id, b.call_id);
    if x == -1 && y == -1 {
        return Ordering::Equal;
    }
    if same_node && x >= 0 && x < y {
        return Ordering::Less;
    }
    if same_node && y >= 0 && x > y {
        return Ordering::Greater;
    }
    if x >= 0 && y >= 0 && (!same_node || x == y) {
        let (last_a, last_b) = (a.last_change.unwrap_or(-1), b.last_change.unwrap_or(-1));
        return if last_a >= 0 && last_a < last_b {
            Ordering::Less
        } else if last_b >= 0 && last_a > last_b {
            Ordering::Greater
        } else {
            Ordering::Equal
        };
    }
    // One of them is pending: the transition numbers decide.
    let decoded = a.magic.as_deref().and_then(decode_magic).zip(b.magic.as_deref().and_then(decode_magic));
    let Some((ka, kb)) = decoded else { return Ordering::Equal };
    let (ta, tb) = (ka.transition, kb.transition);
    if !ka.uuid.eq_ignore_ascii_case(kb.uuid) || ta == tb {
        if y == -1 { Ordering::Less } else { Ordering::Greater }
    } else if (ta >= 0 && ta < tb) || tb == -1 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

impl RscHistory {
    fn read(e: &Element, known: &mut BTreeSet<Rc<Attrs>>) -> RscHistory {
        let attrs: Vec<(Str, Str)> = e.shared_attrs().filter(|(n, _)| **n != *"id").collect();
        let attrs = known.get(&attrs[..]).cloned().unwrap_or_else(|| {
            let made: Rc<Attrs> = attrs.into();
            known.insert(Rc::clone(&made));
            made
        });
        let ops: Vec<OpEntry> = e.elements_named("lrm_rsc_op").map(OpEntry::read).collect();
        RscHistory {
            id: e.shared_attr("id"),
            shutdown_lock: time(e, "shutdown-lock"),
            has_entries: !e.nodes().is_empty(),
            ops: ops.into(),
            attrs,
        }
    }

    pub fn attr(&self, name: &str) -> Option<&Str> {
        self.attrs.iter().find(|(n, _)| **n == *name).map(|(_, v)| v)
    }

    /// Numbers of the operations, oldest first.
    pub fn sorted(&self) -> Vec<u32> {
        // Of equal entries the later one goes first.
        let mut order: Vec<u32> = (0..self.ops.len() as u32).rev().collect();
        merge_sort(&mut order, &|a, b| compare_ops(&self.ops[*a as usize], &self.ops[*b as usize]));
        order
    }
}

/// Stable merge sort that accepts comparisons which are not a total order.
pub fn merge_sort<T: Copy>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) {
    if items.len() < 2 {
        return;
    }
    let half = items.len() / 2;
    let mut left = items[..half].to_vec();
    let mut right = items[half..].to_vec();
    merge_sort(&mut left, compare);
    merge_sort(&mut right, compare);
    let (mut l, mut r) = (0, 0);
    for slot in items.iter_mut() {
        let take_left = r >= right.len() || (l < left.len() && compare(&left[l], &right[r]) != Ordering::Greater);
        if take_left {
            *slot = left[l];
            l += 1;
        } else {
            *slot = right[r];
            r += 1;
        }
    }
}

/// Positions within a sorted history after which operations count for the current run of the resource.
pub fn active_range(ops: &[&OpEntry]) -> (i32, i32) {
    let (mut start, mut stop, mut implied_monitor, mut implied_clone) = (-1, -1, -1, -1);
    for (i, op) in ops.iter().enumerate() {
        let i = i as i32;
        match op.task() {
            "stop" if op.status == Some(exec::DONE) => stop = i,
            "start" | "migrate_from" => start = i,
            "monitor" if implied_monitor <= stop && matches!(op.rc, Some(0 | 8)) => implied_monitor = i,
            "promote" | "demote" => implied_clone = i,
            _ => {}
        }
    }
    if start == -1 {
        start = if implied_clone != -1 { implied_clone } else { implied_monitor };
    }
    (start, stop)
}

impl NodeState {
    fn read(e: &Element, known: &mut BTreeSet<Rc<Attrs>>) -> NodeState {
        let text = |name: &str| e.shared_attr(name);
        let flag = |name: &str| e.attr(name).and_then(parse_int).unwrap_or(0) > 0;
        let lrm = e.child("lrm").and_then(|l| l.child("lrm_resources"));
        let list = lrm.into_iter().flat_map(|l| l.elements_named("lrm_resource"));
        let resources: Box<[RscHistory]> = list.map(|r| RscHistory::read(r, known)).collect();
        let mut by_id: Vec<u32> = (0..resources.len() as u32).filter(|r| resources[*r as usize].id.is_some()).collect();
        by_id.sort_by(|a, b| resources[*a as usize].id.cmp(&resources[*b as usize].id));
        NodeState {
            id: text("id"),
            name: text("uname"),
            in_ccm: text("in_ccm"),
            crmd: text("crmd"),
            join: text("join"),
            expected: text("expected"),
            in_maintenance: flag("node_in_maintenance"),
            fenced: flag("node_fenced"),
            resources,
            by_id: by_id.into(),
        }
    }

    /// Numbers of the resource's histories.
    fn places(&self, rsc: &str) -> &[u32] {
        let id = |r: &u32| self.resources[*r as usize].id.as_deref().unwrap_or_default();
        let from = self.by_id.partition_point(|r| id(r) < rsc);
        let to = from + self.by_id[from..].partition_point(|r| id(r) == rsc);
        &self.by_id[from..to]
    }
}

impl Histories {
    pub fn read(status: Option<&Element>) -> Histories {
        let mut all = Histories::default();
        let mut known = BTreeSet::new();
        for e in status.into_iter().flat_map(|s| s.elements_named("node_state")) {
            let state = NodeState::read(e, &mut known);
            if let Some(name) = &state.name {
                all.by_name.entry(name.clone()).or_default().push(all.states.len() as u32);
            }
            all.states.push(state);
        }
        all
    }

    pub fn op(&self, at: OpRef) -> &OpEntry {
        &self.states[at.state as usize].resources[at.rsc as usize].ops[at.op as usize]
    }

    pub fn op_mut(&mut self, at: OpRef) -> &mut OpEntry {
        &mut self.states[at.state as usize].resources[at.rsc as usize].ops[at.op as usize]
    }

    pub fn rsc(&self, state: u32, rsc: u32) -> &RscHistory {
        &self.states[state as usize].resources[rsc as usize]
    }

    /// Places of a resource's histories on a node.
    fn places(&self, node: &str, rsc: &str) -> impl Iterator<Item = (u32, u32)> {
        let states = self.by_name.get(node).into_iter().flatten();
        states.flat_map(move |state| self.states[*state as usize].places(rsc).iter().map(|r| (*state, *r)))
    }

    /// The only history of the resource on the node.
    pub fn find_resource(&self, node: &str, rsc: &str) -> Option<(u32, u32)> {
        let mut places = self.places(node, rsc);
        places.next().filter(|_| places.next().is_none())
    }

    /// All entries of the resource on the node.
    pub fn ops_of(&self, node: &str, rsc: &str) -> Vec<OpRef> {
        let entries = |(state, rsc): (u32, u32)| {
            (0..self.rsc(state, rsc).ops.len() as u32).map(move |op| OpRef { state, rsc, op })
        };
        self.places(node, rsc).flat_map(entries).collect()
    }

    /// The only operation `task` of the resource on the node (for migrations: between this and the other node), if it had
    /// the result asked for.
    pub fn find_op(
        &self,
        rsc: &str,
        task: &str,
        node: &str,
        other: Option<&str>,
        target_rc: Option<i32>,
    ) -> Option<OpRef> {
        let mut found = self.ops_of(node, rsc).into_iter().filter(|r| {
            let op = self.op(*r);
            let peer = match task {
                "migrate_to" => op.migrate_target.as_deref(),
                "migrate_from" => op.migrate_source.as_deref(),
                _ => other,
            };
            op.task() == task && (other.is_none() || peer == other)
        });
        let one = found.next().filter(|_| found.next().is_none())?;
        let op = self.op(one);
        let matches =
            target_rc.is_none_or(|rc| op.rc.unwrap_or(1) == rc && op.status.unwrap_or(exec::ERROR) == exec::DONE);
        matches.then_some(one)
    }
}
