//! Edges of what runs: what everybody has forgotten, parameters that change under a promotion, agents that cannot be notified. Real
//! scheduler.

use crate::harness::Lab;
use base::exit::OcfCode;
use base::{NodeId, Time, Value, Word};
use controller::*;

fn route(id: &str, destination: &str) -> String {
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"Route\"><instance_attributes id=\"{id}-ia\">\
         <nvpair id=\"{id}-d\" name=\"destination\" value=\"{destination}\"/></instance_attributes>\
         <operations><op id=\"{id}-m\" name=\"monitor\" interval=\"10s\"/>\
         <op id=\"{id}-p\" name=\"monitor\" role=\"Promoted\" interval=\"9s\"/></operations></primitive>"
    )
}

fn promotable(inner: &str, notify: bool) -> String {
    format!(
        "<clone id=\"c\"><meta_attributes id=\"c-m\"><nvpair id=\"c-p\" name=\"promotable\" value=\"true\"/>\
         <nvpair id=\"c-n\" name=\"notify\" value=\"{notify}\"/></meta_attributes>{inner}</clone>"
    )
}

fn replace(lab: &mut Lab, resources: &str) {
    let resources = xml::parse(&format!("<resources>{resources}</resources>")).unwrap();
    lab.ask(
        1,
        Request::Cib(cib::Request::new(cib::Op::Replace, cib::Target::Section("resources".into()), Some(resources))),
    );
}

fn score(lab: &mut Lab, value: &str) {
    let (name, value) = (Word::cleaned("master-x"), Some(Value::cleaned(value)));
    lab.ask(1, Request::Attribute { node: Some(Word::cleaned("node1")), name, value });
}

fn count(lab: &Lab, since: Time, what: &str) -> usize {
    lab.operations(since).iter().filter(|o| *o == what).count()
}

#[test]
fn what_was_forgotten_and_deleted_is_stopped_all_the_same() {
    for gap_ms in [0, 1, 3, 5, 10] {
        let mut lab = Lab::one_runs_all(&route("x", "10.1.0.0/24"));
        assert_eq!(lab.node(1).placed.len(), 1);
        lab.delays.insert("x_monitor_0".into(), 50);
        lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
        lab.run_ms(gap_ms);
        replace(&mut lab, "");
        lab.run_ms(15_000);
        assert!(lab.node(1).placed.is_empty(), "{gap_ms} ms: {:?}", lab.operations(Time::ZERO));
        assert!(lab.node(1).records.is_empty(), "{gap_ms} ms");
    }
}

#[test]
fn parameters_that_change_under_a_promotion_reach_it_though_the_transition_is_cut() {
    let mut lab = Lab::one_runs_all(&promotable(&route("x", "10.1.0.0/24"), false));
    score(&mut lab, "10");
    lab.run_ms(1000);
    assert_eq!(count(&lab, Time::ZERO, "1 x_promote_0"), 1, "{:?}", lab.operations(Time::ZERO));
    let since = lab.now;
    replace(&mut lab, &promotable(&route("x", "10.2.0.0/24"), false));
    while count(&lab, since, "1 x_demote_0") == 0 {
        lab.run_ms(1);
        assert!(lab.now.since(since).as_millis() < 5000, "{:?}", lab.operations(Time::ZERO));
    }
    score(&mut lab, "5");
    lab.run_ms(5000);
    assert!(lab.node(1).placed.contains("Route destination=10.2.0.0/24"), "{:?}", lab.operations(since));
    assert_eq!(count(&lab, since, "1 x_promote_0"), 1, "{:?}", lab.operations(since));
}

#[test]
fn who_cannot_be_notified_is_promoted_all_the_same() {
    let mut lab = Lab::one_runs_all(&promotable(&route("x", "10.1.0.0/24"), true));
    lab.faults.insert((NodeId(1), "x_notify_0".into()), OcfCode::UNIMPLEMENTED);
    lab.faults.insert((NodeId(1), "x_pre_notify_promote_0".into()), OcfCode::UNIMPLEMENTED);
    let since = lab.now;
    score(&mut lab, "10");
    lab.run_ms(5000);
    assert_eq!(count(&lab, since, "1 x_promote_0"), 1, "{:?}", lab.operations(since));
    let notified = lab.operations(since).iter().filter(|o| o.contains("notify")).count();
    assert!(notified >= 2, "it was asked: {:?}", lab.operations(since));
}
