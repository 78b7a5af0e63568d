//! What stands in a resource's way on this node for a time: somebody else holds its address, its link has no carrier; or
//! what endangers it where it runs: a stranger uses its address.
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
    Failed {
        resource: String,
        code: base::exit::OcfCode,
        reason: Reason,
    },
    Hindered {
        resource: String,
        text: String,
    },
    /// It runs on, and that is no reason for anybody not to know of it.
    Troubled {
        resource: String,
        text: String,
    },
    Free {
        resource: String,
    },
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

    /// Resource and node of a clean-up.
    type Cleaned = (Option<String>, Option<String>);

    /// A core that counts the clean-ups it is asked for, and shows a fail count for as long as `failed` says.
    struct Bench {
        forgiver: Forgiver,
        board: super::super::board::Board,
        asked: Arc<Mutex<Vec<Cleaned>>>,
    }

    fn bench() -> Bench {
        let (asker, mut inbox, board) = super::super::core::channel();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let to = asked.clone();
        tokio::spawn(async move {
            while let Some(ask) = inbox.recv().await {
                let super::super::core::Ask::Request(request, answer) = ask else { panic!("no request") };
                let Request::Cleanup { resource, node, operation: None, refresh: false } = *request else {
                    panic!("{request:?}")
                };
                let text = |word: Option<Word>| word.map(|w| w.to_string());
                to.lock().unwrap().push((text(resource), text(node)));
                let _ = answer.send(Response::Failed { code: 1, message: "the cluster has no quorum".into() });
            }
        });
        Bench { forgiver: Forgiver::new(asker, "a".into()), board, asked }
    }

    impl Bench {
        fn show(&self, failed: bool) {
            let count = "<nvpair id=\"f\" name=\"fail-count-vip#start_0\" value=\"INFINITY\"/>";
            let cib = format!(
                "<cib><status><node_state id=\"1\" uname=\"a\"><transient_attributes id=\"1\">\
                 <instance_attributes id=\"s\">{}</instance_attributes></transient_attributes></node_state></status></cib>",
                if failed { count } else { "" }
            );
            let status = "{\"version\":\"\",\"me\":1,\"name\":\"a\",\"cluster_name\":\"\",\"started\":0,\"nodes\":[],\
                \"members\":[],\"dc\":null,\"dc_name\":null,\"quorate\":true,\"view\":null,\"controller\":\"\",\"links\":[],\
                \"counters\":[],\"data_plane\":\"\",\"authenticated\":true,\"realtime\":true,\"memory_locked\":true}";
            let quorum = "{\"now\":0,\"provider\":\"\",\"me\":1,\"ring\":null,\"quorate\":true,\"expected_votes\":1,\
                \"highest_expected\":1,\"total_votes\":1,\"quorum\":1,\"flags\":[],\"members\":[]}";
            let (status, quorum) = (serde_json::from_str(status).unwrap(), serde_json::from_str(quorum).unwrap());
            let groups = wire::api::Groups::default();
            self.board.show(super::super::board::Shown { cib: cib::Cib::parse(&cib).unwrap(), status, quorum, groups });
        }

        fn asked(&self) -> Vec<Cleaned> {
            self.asked.lock().unwrap().clone()
        }

        async fn until_asked(&self, times: usize) {
            let end = tokio::time::Instant::now() + Duration::from_secs(20);
            while self.asked().len() < times {
                assert!(tokio::time::Instant::now() < end, "{:?}", self.asked());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn what_has_failed_for_a_hindrance_is_forgotten_until_no_failure_is_left() {
        let bench = bench();
        bench.show(true);
        bench.forgiver.hindered("vip:0");
        bench.forgiver.forgive("vip:0");
        // The first is refused, or the failure was recorded only after it: another follows.
        bench.until_asked(2).await;
        bench.show(false);
        tokio::time::sleep(FORGIVE_AT.iter().sum::<Duration>()).await;
        assert_eq!(bench.asked(), vec![(Some("vip".into()), Some("a".into())); 2], "and no more without a fail count");
    }

    #[tokio::test]
    async fn what_fails_for_the_next_hindrance_is_not_forgotten_for_the_last_one() {
        let bench = bench();
        bench.show(true);
        bench.forgiver.hindered("vip");
        bench.forgiver.forgive("vip");
        bench.until_asked(1).await;
        bench.forgiver.hindered("vip");
        tokio::time::sleep(FORGIVE_AT.iter().sum::<Duration>()).await;
        assert_eq!(bench.asked().len(), 1);
        // Others have nothing to do with it.
        bench.forgiver.forgive("other");
        bench.until_asked(2).await;
        assert_eq!(bench.asked()[1].0.as_deref(), Some("other"));
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
