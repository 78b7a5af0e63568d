//! Fail counts: transient attributes that a failure sets and a clean-up takes away.

use super::{is_recorded, remove_attributes, set_attribute};
use crate::message::{Bump, OpRecord};
use base::NodeId;
use xml::Element;

pub(super) fn bump_fail_count(status: &mut Element, record: &OpRecord, now_s: i64) {
    let value = if record.identity.bump == Bump::Infinity { "INFINITY" } else { "value++" };
    if let [count, last] = counted(record).as_slice() {
        set_attribute(status, record.identity.node, count, Some(value));
        set_attribute(status, record.identity.node, last, Some(&now_s.to_string()));
    }
}

/// Names of the attributes that a failure sets: its count and its time; empty if it is none that counts.
pub fn counted(record: &OpRecord) -> Vec<String> {
    let op = &record.identity;
    if !record.failed() || op.ignore_failure || op.bump == Bump::None || !is_recorded(&op.operation) {
        return Vec::new();
    }
    let suffix = format!("{}#{}_{}", op.resource, op.operation, op.interval_ms);
    vec![format!("fail-count-{suffix}"), format!("last-failure-{suffix}")]
}

/// Forgets fail counts of a resource (of one operation of it) on one node; tells the names of the attributes.
pub fn clear_fail_count(
    status: &mut Element,
    node: NodeId,
    resource: &str,
    operation: Option<(&str, u64)>,
) -> Vec<String> {
    remove_attributes(status, node, |name| {
        let rest = name.strip_prefix("fail-count-").or_else(|| name.strip_prefix("last-failure-"));
        let Some(rest) = rest.and_then(|r| r.strip_prefix(resource)).and_then(|r| r.strip_prefix('#')) else {
            return false;
        };
        operation.is_none_or(|(op, interval)| rest == format!("{op}_{interval}"))
    })
}
