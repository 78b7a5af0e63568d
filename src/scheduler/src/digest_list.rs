//! The digests of one resource's operation on a node, with what they are made of: for `crm_resource --digests`.

use crate::digest::{Subject, digest_params};
use crate::model::Sched;
use crate::unpack::history::{OpEntry, compare_ops};
use base::WallTime;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use xml::Element;

/// What [`digests`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperationDigests {
    pub task: String,
    pub interval_ms: u64,
    /// `all`, `nonprivate` and, where the history tells, `nonreloadable`: digest and parameters.
    pub sets: Vec<(&'static str, String, BTreeMap<String, String>)>,
}

/// Why there are none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoDigests {
    #[error(transparent)]
    Schedule(#[from] crate::ScheduleError),
    #[error("Resource '{0}' not found")]
    NoResource(String),
    #[error("Node '{0}' not found")]
    NoNode(String),
    /// A collection has no operations.
    #[error("'{0}' is several resources: only a primitive has digests of operations")]
    NotPrimitive(String),
}

/// Of the operation that tells most of the resource's state there, else of its start; `given` takes the place of parameters.
pub fn digests(
    cib: &Element,
    now: WallTime,
    resource: &str,
    node: &str,
    given: &BTreeMap<String, String>,
) -> Result<OperationDigests, NoDigests> {
    crate::with_deep_stack(|| {
        let upgraded = cib::upgrade::upgraded(cib);
        let mut s = Sched::unpack(&upgraded.cib, now)?;
        let rsc = s.find_resource(resource).ok_or_else(|| NoDigests::NoResource(resource.to_owned()))?;
        if !s[rsc].is_primitive() {
            return Err(NoDigests::NotPrimitive(resource.to_owned()));
        }
        let node = s.find_node(node).ok_or_else(|| NoDigests::NoNode(node.to_owned()))?;
        let (name, id) = (s[node].name.to_string(), s[rsc].xml_id().to_string());
        let entries: Vec<OpEntry> =
            s.history.ops_of(&name, &id).into_iter().map(|at| s.history.op(at).clone()).collect();
        let entry = best(&entries);
        let task = entry.map_or("start", OpEntry::task).to_owned();
        let recorded = entry.map_or(0, |e| e.interval_ms);
        let asked = given.get("CRM_meta_interval").and_then(|v| v.parse().ok());
        let interval_ms = asked.unwrap_or(recorded);
        let of = Subject { rsc, task: &task, interval_ms, node, entry };
        let (all, _) = s.all_params(&of, given);
        let secure = s.secure_params(&of, &all);
        let restart = Sched::restart_params(&all, entry);
        let mut sets = vec![("all", digest_params(&all), all), ("nonprivate", digest_params(&secure), secure)];
        sets.extend(restart.map(|kept| ("nonreloadable", digest_params(&kept), kept)));
        Ok(OperationDigests { task, interval_ms, sets })
    })
    .map_err(NoDigests::from)?
}

/// The newest of those that brought the resource where it is; else a recurring one; a failure only where there is nothing else.
fn best(entries: &[OpEntry]) -> Option<&OpEntry> {
    let effective = |e: &OpEntry| {
        e.interval_ms == 0
            && ["monitor", "start", "promote", "migrate_from"].contains(&e.task().to_ascii_lowercase().as_str())
    };
    let failure = |e: &OpEntry| e.id.as_deref().is_some_and(|id| id.ends_with("_last_failure_0"));
    let mut best: Option<&OpEntry> = None;
    for e in entries {
        let worse = best.is_some_and(|b| {
            (effective(b) && !effective(e))
                || (!effective(b) && b.interval_ms != 0 && !effective(e) && e.interval_ms == 0)
                || (!failure(b) && failure(e))
                || (b.restart_digest.is_some() && e.restart_digest.is_none())
                || compare_ops(b, e) == Ordering::Greater
        });
        if !worse {
            best = Some(e);
        }
    }
    best
}
