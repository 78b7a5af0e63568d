//! Operation histories of the status section.

use xml::Element;

/// One recorded operation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Operation {
    pub id: String,
    pub key: String,
    pub node: String,
    pub resource: String,
    pub task: String,
    pub interval_ms: u64,
    pub call_id: i32,
    pub rc: i32,
    /// `op-status`; -1 is pending.
    pub status: i32,
    /// Exit code that the transition expected.
    pub expected: Option<i32>,
    pub exit_reason: Option<String>,
    pub last_change: Option<i64>,
    pub exec_ms: i64,
    pub queue_ms: i64,
}

impl Operation {
    fn of(e: &Element, node: &str, resource: &str) -> Operation {
        let text = |name: &str| e.attr(name).unwrap_or_default().to_owned();
        let number = |name: &str| e.attr(name).and_then(|v| v.parse::<i64>().ok());
        // ACTION:TRANSITION:EXPECTED_RC:UUID
        let expected = e.attr("transition-key").and_then(|k| k.split(':').nth(2)?.parse().ok());
        Operation {
            id: text("id"),
            key: e.attr("operation_key").or(e.id()).unwrap_or_default().to_owned(),
            node: node.to_owned(),
            resource: resource.to_owned(),
            task: text("operation"),
            interval_ms: number("interval").unwrap_or(0).max(0) as u64,
            call_id: number("call-id").unwrap_or(0) as i32,
            rc: number("rc-code").unwrap_or(-1) as i32,
            status: number("op-status").unwrap_or(0) as i32,
            expected,
            exit_reason: e.attr("exit-reason").filter(|r| !r.is_empty()).map(str::to_owned),
            last_change: number("last-rc-change").filter(|t| *t > 0),
            exec_ms: number("exec-time").unwrap_or(0),
            queue_ms: number("queue-time").unwrap_or(0),
        }
    }

    pub fn pending(&self) -> bool {
        self.status == -1
    }

    /// A probe that finds nothing or something is no failure.
    pub fn failed(&self) -> bool {
        if self.pending() || (self.task == "monitor" && self.interval_ms == 0 && matches!(self.rc, 0 | 7 | 8)) {
            return false;
        }
        if self.status != 0 && self.status != -1 {
            return true;
        }
        match self.expected {
            Some(expected) => self.rc != expected && !matches!((self.rc, expected), (190, 0) | (191, 8)),
            None => !matches!(self.rc, 0 | 8),
        }
    }
}

/// Of one resource's history on one node what belongs to its present life: from its start on (or what implies one, a
/// promotion or a monitor that found it running), failures included; nothing once it was stopped.
pub fn since_start<'a, 'o>(history: &'a [&'o Operation]) -> &'a [&'o Operation] {
    let (mut start, mut stop, mut promoted, mut seen) = (None, None, None, None);
    for (i, op) in history.iter().enumerate() {
        match op.task.as_str() {
            "stop" if op.status == 0 => stop = Some(i),
            "start" | "migrate_from" => start = Some(i),
            "monitor" if seen <= stop && matches!(op.rc, 0 | 8) => seen = Some(i),
            "promote" | "demote" => promoted = Some(i),
            _ => {}
        }
    }
    let start = start.or(promoted).or(seen);
    match start < stop {
        true => &[],
        false => &history[start.unwrap_or(0)..],
    }
}

/// Every recorded operation, node by node, resource by resource, in the order of their calls.
pub fn operations(cib: &Element) -> Vec<Operation> {
    let states = cib.child("status").into_iter().flat_map(|s| s.elements_named("node_state"));
    let mut out = Vec::new();
    for state in states {
        let node = state.attr("uname").unwrap_or_default();
        let resources = state.child("lrm").and_then(|l| l.child("lrm_resources"));
        for resource in resources.into_iter().flat_map(|r| r.elements_named("lrm_resource")) {
            let id = resource.id().unwrap_or_default();
            let mut ops: Vec<Operation> =
                resource.elements_named("lrm_rsc_op").map(|e| Operation::of(e, node, id)).collect();
            // A pending operation has no call number yet: it is the newest.
            ops.sort_by_key(|o| (if o.call_id < 0 { i32::MAX } else { o.call_id }, o.last_change));
            out.extend(ops);
        }
    }
    out
}
