//! What stands in a resource's way on this node for a time: somebody else holds its address, its link has no carrier.
//!
//! Shown in status while it lasts. What has failed for it meanwhile is forgotten when it is over, without an operator: the
//! failure kept the resource away from here, and was no fault of it.

use super::core::Asker;
use base::{Reason, Word};
use controller::{Request, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use xml::Element;

/// When failures are forgotten: at once, and again if one was recorded only then.
const FORGIVE_AT: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(4)];
/// Time for one such request.
const WITHIN: Duration = Duration::from_secs(5);
/// Resources that are shown as hindered.
const MAX_SHOWN: usize = 64;

/// What happened to a resource without being asked for.
pub(super) enum Happening {
    Failed { resource: String, code: base::exit::OcfCode, reason: Reason },
    Hindered { resource: String, text: String },
    Free { resource: String },
}

/// What is in the way of what, in words.
#[derive(Default)]
pub(super) struct Hindrances(BTreeMap<String, String>);

impl Hindrances {
    pub fn add(&mut self, resource: String, text: String) {
        if self.0.len() < MAX_SHOWN || self.0.contains_key(&resource) {
            self.0.insert(resource, text);
        }
    }

    pub fn remove(&mut self, resource: &str) {
        self.0.remove(resource);
    }

    pub fn shown(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, text)| format!("{resource}: {text}"))
    }
}

/// Forgets what has failed for a hindrance, once that is over.
#[derive(Clone)]
pub(super) struct Forgiver {
    asker: Asker,
    node: String,
    /// How often each resource was hindered: what fails for the next hindrance is not forgotten for the last one.
    times: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Forgiver {
    /// For the failures of this node.
    pub fn new(asker: Asker, node: String) -> Forgiver {
        Forgiver { asker, node, times: Arc::default() }
    }

    pub fn hindered(&self, resource: &str) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        *times.entry(resource.to_owned()).or_default() += 1;
    }

    fn times(&self, resource: &str) -> u64 {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).get(resource).copied().unwrap_or(0)
    }

    pub fn forgive(&self, resource: &str) {
        let (forgiver, resource) = (self.clone(), resource.to_owned());
        let times = self.times(&resource);
        tokio::spawn(async move {
            for (n, wait) in FORGIVE_AT.into_iter().enumerate() {
                tokio::time::sleep(wait).await;
                if forgiver.times(&resource) != times {
                    return;
                }
                // The number of a clone's instance is no part of a configured resource's name.
                let name = resource.split(':').next().unwrap_or(&resource);
                let Some(shown) = forgiver.asker.look().await else { return };
                if n == 0 || has_failed(shown.cib.root(), &forgiver.node, name) {
                    forgiver.clean_up(name).await;
                }
            }
        });
    }

    async fn clean_up(&self, resource: &str) {
        let request = Request::Cleanup {
            resource: Some(Word::cleaned(resource)),
            node: Some(Word::cleaned(&self.node)),
            operation: None,
            refresh: false,
        };
        let asked = self.asker.ask(|to| super::core::Ask::Request(Box::new(request), to));
        match tokio::time::timeout(WITHIN, asked).await {
            Ok(Some(Response::Failed { message, .. })) => {
                tracing::warn!("the failure of {resource} was not forgotten: {message}");
            }
            Ok(_) => {}
            Err(_) => tracing::warn!("the failure of {resource} was not forgotten within {} s", WITHIN.as_secs()),
        }
    }
}

/// Whether the node has a fail count of the resource.
fn has_failed(cib: &Element, node: &str, resource: &str) -> bool {
    let states = cib.child("status").into_iter().flat_map(Element::elements);
    let own = states.filter(|s| s.attr("uname").is_some_and(|name| base::ids::same_node(name, node)));
    let attributes = own.flat_map(|s| s.elements_named("transient_attributes")).flat_map(Element::descendants);
    let prefix = format!("fail-count-{resource}#");
    attributes.filter_map(|e| e.attr("name")).any(|name| name.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fail_count_is_one_of_this_node_and_resource() {
        let cib = xml::parse(
            "<cib><status><node_state id=\"1\" uname=\"a\"><transient_attributes id=\"1\"><instance_attributes id=\"s\">\
             <nvpair id=\"f\" name=\"fail-count-vip#start_0\" value=\"INFINITY\"/></instance_attributes>\
             </transient_attributes></node_state><node_state id=\"2\" uname=\"b\"/></status></cib>",
        )
        .unwrap();
        assert!(has_failed(&cib, "a", "vip") && has_failed(&cib, "A", "vip"));
        assert!(!has_failed(&cib, "b", "vip") && !has_failed(&cib, "a", "vi") && !has_failed(&cib, "a", "vip2"));
    }

    #[test]
    fn what_is_over_is_not_shown() {
        let mut all = Hindrances::default();
        all.add("vip".into(), "held".into());
        all.add("vip".into(), "still held".into());
        assert_eq!(all.shown().collect::<Vec<_>>(), ["vip: still held"]);
        all.remove("vip");
        assert_eq!(all.shown().count(), 0);
    }
}
