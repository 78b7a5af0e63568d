//! What a move would come to: the scheduler's word on the document as it would be, before anything is written.

use crate::source::now;
use cib::{Cib, Request};
use scheduler::simulate::{self, Options};
use scheduler::status::{Resource, ResourceKind};
use xml::Element;

/// Where a resource would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreseen {
    /// The document after the changes, and after all that the cluster does because of them.
    pub cib: Element,
    /// Nodes on which the resource is then active.
    pub active_on: Vec<String>,
}

/// Applies the changes to a copy and carries out what the cluster would do; `None` if that cannot be said: the changes are
/// refused, or the resource is one of which several instances run.
pub fn foresee(cib: &Element, changes: &[Request], resource: &Resource) -> Option<Foreseen> {
    if matches!(resource.kind, ResourceKind::Clone { .. }) {
        return None;
    }
    let mut copy = Cib::from_element(cib.clone()).ok()?;
    copy.apply(&Request::transaction(changes.to_vec())).ok()?;
    carried_out(copy.root().clone(), &resource.id)
}

/// Carries out what the cluster would do with this document.
pub fn carried_out(cib: Element, id: &str) -> Option<Foreseen> {
    let options = Options { draw: false, list_scores: false, ..Options::default() };
    let simulated = simulate::run(cib, now(), &options).ok()?;
    let after = simulated.report.after?;
    let active_on = crate::cluster::find(&after.resources, id)?.active_on.clone();
    Some(Foreseen { cib: simulated.cib, active_on })
}
