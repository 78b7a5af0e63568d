//! One entry of a history: the last result of one operation of a resource.

use super::ORIGIN;
use crate::message::OpRecord;
use std::sync::{Arc, LazyLock};
use xml::{Element, Name};

/// Last result of each operation that a resource's entry keeps; more than a resource has operations.
const MAX_ENTRIES: usize = 256;

/// What every entry has, in this order; the names, and the values that are always the same, are there once for all entries.
struct Entry {
    element: Name,
    names: [Name; 15],
    last_rc_change: Name,
    origin: Arc<str>,
    feature_set: Arc<str>,
}

static ENTRY: LazyLock<Entry> = LazyLock::new(|| Entry {
    element: Name::from("lrm_rsc_op"),
    names: [
        "id",
        "operation_key",
        "operation",
        "crm-debug-origin",
        "crm_feature_set",
        "transition-key",
        "transition-magic",
        "exit-reason",
        "on_node",
        "call-id",
        "rc-code",
        "op-status",
        "interval",
        "exec-time",
        "queue-time",
    ]
    .map(Name::from),
    last_rc_change: Name::from("last-rc-change"),
    origin: Arc::from(ORIGIN),
    feature_set: Arc::from(cib::FEATURE_SET),
});

/// The name before which the time of the last change stands, if there is one.
const BEFORE_CHANGE: usize = 13;

/// Puts a result in the place of what the history has under `id`.
pub(super) fn write_entry(resource: &mut Element, id: &str, record: &OpRecord) {
    let (op, entry) = (&record.identity, &*ENTRY);
    let status = record.status.number();
    let values: [Arc<str>; 15] = [
        Arc::from(id),
        Arc::from(&*op.key),
        Arc::from(&*op.operation),
        Arc::clone(&entry.origin),
        Arc::clone(&entry.feature_set),
        Arc::from(&*op.transition_key),
        Arc::from(format!("{status}:{};{}", record.code, op.transition_key)),
        Arc::from(&*record.reason),
        Arc::from(&*op.node_name),
        Arc::from(record.call.to_string()),
        Arc::from(record.code.to_string()),
        Arc::from(status.to_string()),
        Arc::from(op.interval_ms.to_string()),
        Arc::from(record.exec_ms.to_string()),
        Arc::from(record.queue_ms.to_string()),
    ];
    let mut attrs = Vec::with_capacity(values.len() + op.extra.len() + 2);
    attrs.extend(entry.names.iter().cloned().zip(values));
    if record.changed_s != 0 {
        attrs.insert(BEFORE_CHANGE, (entry.last_rc_change.clone(), Arc::from(record.changed_s.to_string())));
    }
    let mut e = Element::of(entry.element.clone(), attrs);
    for (name, value) in &op.extra {
        e.set(name, value);
    }
    e.set("op-digest", &op.digest);
    if let Some(old) = resource.find_mut(|old| old.id() == Some(id)) {
        *old = e;
    } else if resource.elements().count() < MAX_ENTRIES {
        resource.push(e);
    }
}
