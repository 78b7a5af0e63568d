//! Tests: several changes as one.

use crate::*;
use xml::{Element, parse};

fn cib() -> Cib {
    Cib::parse("<cib epoch='5' num_updates='3' admin_epoch='1'><configuration><crm_config/><nodes/><resources><primitive id='r' class='lsb' type='x'/></resources><constraints><rsc_location id='old' rsc='r' node='n' score='1'/></constraints></configuration><status/></cib>").expect("sound")
}

fn pair(name: &str) -> Request {
    let text = format!(
        "<crm_config><cluster_property_set id='s'><nvpair id='s-{name}' name='{name}' value='1'/></cluster_property_set></crm_config>"
    );
    Request::upsert("crm_config", parse(&text).expect("XML"))
}

fn bad() -> Request {
    Request::delete_xpath("//[", true)
}

#[test]
fn all_steps_are_one_new_version() {
    let mut cib = cib();
    let mut both = Request::transaction(vec![pair("a"), Request::delete_xpath("//rsc_location", true), pair("b")]);
    both.origin = "n".to_owned();
    both.expected = Some(Expected::configuration(cib.version()));
    assert_eq!(Request::decode(&both.encode()).expect("readable"), both);
    let done = cib.apply(&both).expect("accepted");
    assert!(done.changed && done.config_changed);
    assert_eq!(cib.version().to_string(), "1.6.0");
    assert_eq!(cib.root().descendants().filter(|e| e.id().is_some_and(|id| id.starts_with("s-"))).count(), 2);
    assert_eq!(cib.section("constraints").map(|c| c.elements().count()), Some(0));
}

#[test]
fn a_step_that_fails_undoes_those_before_it_and_is_named() {
    let mut cib = cib();
    let before = cib.clone();
    for (at, wrong) in [(2, bad()), (2, Request::query(Target::Whole)), (2, Request::transaction(vec![pair("x")]))] {
        let error = cib.apply(&Request::transaction(vec![pair("a"), wrong])).expect_err("a bad step");
        assert!(error.to_string().starts_with(&format!("step {at} of the transaction")), "{error}");
        assert_eq!(cib, before);
    }
    let nested = Request::transaction(vec![Request::transaction(vec![])]);
    assert!(Request::decode(&nested.encode()).is_err());
}

#[test]
fn a_version_that_has_passed_is_refused() {
    let mut cib = cib();
    let mut request = pair("a");
    request.expected = Expected::parse("1.5.3");
    cib.apply(&request).expect("as expected");
    let error = cib.apply(&request).expect_err("passed");
    assert_eq!(error.exit_code(), base::exit::crm::OLD);
    assert!(error.to_string().contains("from 1.5.3 to 1.6.0"), "{error}");
    // Without num_updates, the status may go on.
    let configuration = Expected::configuration(cib.version());
    cib.edit_status(|s| {
        s.push(Element::new("node_state").with("id", "1"));
        true
    });
    request.expected = Some(configuration);
    assert!(!cib.apply(&request).expect("the configuration is the same").changed);
    for text in ["", "1", "1.x", "1.2.3.4", "-1.2"] {
        assert_eq!(Expected::parse(text), None, "{text}");
    }
}

#[test]
fn paths_of_all_steps_share_one_budget() {
    let mut cib = cib();
    let nodes = (0..1200).fold(Element::new("nodes"), |nodes, n| {
        nodes.with_child(Element::new("node").with("id", n.to_string()).with("uname", format!("n{n}")))
    });
    cib.apply(&Request::upsert("nodes", nodes)).expect("nodes");
    let step = || Request::delete_xpath("//node[@id='none']", true);
    cib.apply(&Request::transaction((0..10).map(|_| step()).collect())).expect("ten are cheap");
    let costly = || Request::delete_xpath("//node[count(//node) = 7]", true);
    let error = cib.apply(&Request::transaction(vec![costly(), costly(), costly()])).expect_err("too much");
    assert!(error.to_string().contains("visits"), "{error}");
}
