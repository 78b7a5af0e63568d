//! Requests of users with ACLs: every member checks them when their turn has come.

use crate::harness::{Lab, planner};
use base::exit::crm;
use base::{NodeId, Value, Word};
use cib::acl::Subject;
use controller::{Request, Response};
use std::collections::BTreeMap;

const ACLS: &str = "<acls><acl_role id='r'><acl_permission id='p' kind='write' xpath=\"//transient_attributes//nvpair[@name='load']\"/>\
    <acl_permission id='q' kind='write' xpath='/cib/configuration/crm_config'/></acl_role><acl_target id='olga'><role id='r'/></acl_target></acls>";

fn lab(levels: BTreeMap<NodeId, u32>) -> Lab {
    let mut lab = Lab::mixed(2, "", planner::plan, levels);
    lab.run_ms(300);
    lab.modify(1, "acls", ACLS);
    lab.run_ms(100);
    lab
}

fn asked_by(user: &str, request: Request) -> Request {
    let subject = Subject::new(user, Vec::new()).expect("a user with ACLs");
    Request::As { subject, request: Box::new(request) }
}

fn attribute(name: &str) -> Request {
    Request::Attribute { node: None, name: Word::cleaned(name), value: Some(Value::cleaned("1")) }
}

fn option(name: &str, value: &str) -> Request {
    let text = format!(
        "<crm_config><cluster_property_set id='cib-bootstrap-options'><nvpair id='o-{name}' name='{name}' value='{value}'/>\
         </cluster_property_set></crm_config>"
    );
    Request::Cib(cib::Request::upsert("crm_config", xml::parse(&text).expect("XML")))
}

/// What a request of this user ends with.
fn code(lab: &mut Lab, user: &str, request: Request) -> i32 {
    let id = lab.ask(2, asked_by(user, request));
    lab.run_ms(200);
    lab.assert_same_cib();
    match lab.node(2).replies.get(&id) {
        Some(Response::Done { .. }) => 0,
        Some(Response::Failed { code, .. }) => *code,
        other => panic!("no answer to a change: {other:?}"),
    }
}

#[test]
fn what_acls_do_not_allow_is_refused_on_all_members_alike() {
    let mut lab = lab(BTreeMap::new());
    assert_eq!(code(&mut lab, "piet", attribute("load")), 0, "not enabled");
    lab.property(1, "enable-acl", "true");
    lab.run_ms(100);
    let cleanup = || Request::Cleanup { resource: None, node: None, operation: None, refresh: true };
    let before = lab.node(1).controller.cib().clone();
    for (user, request) in [
        ("piet", attribute("load")),
        ("piet", option("batch-limit", "1")),
        ("piet", Request::Shutdown { cancel: false }),
        ("olga", attribute("shutdown")),
        ("olga", Request::Shutdown { cancel: false }),
        ("olga", asked_by("olga", attribute("load"))),
    ] {
        assert_ne!(code(&mut lab, user, request.clone()), 0, "{user} {request:?}");
    }
    assert_eq!(*lab.node(1).controller.cib(), before, "nothing has changed");
    assert_eq!(code(&mut lab, "olga", Request::Shutdown { cancel: false }), crm::INSUFFICIENT_PRIV);
    let mut other = attribute("load");
    if let Request::Attribute { value, .. } = &mut other {
        *value = Some(Value::cleaned("2"));
    }
    assert_eq!(code(&mut lab, "olga", other), 0);
    assert_eq!(code(&mut lab, "olga", option("batch-limit", "1")), 0);
    assert_eq!(code(&mut lab, "olga", cleanup()), 0, "there is nothing to forget");
}

#[test]
fn the_acls_that_count_are_those_of_the_moment_of_application() {
    let mut lab = lab(BTreeMap::new());
    // Both are under way at the same time: the one that enables ACLs is ordered first.
    lab.property(1, "enable-acl", "true");
    let id = lab.ask(2, asked_by("piet", option("batch-limit", "9")));
    lab.run_ms(300);
    lab.assert_same_cib();
    let text = lab.node(1).controller.cib().root().to_compact();
    let refused = matches!(lab.node(2).replies.get(&id), Some(Response::Failed { .. }));
    assert_eq!(refused, !text.contains("batch-limit"), "{text}");
    let again = lab.ask(2, asked_by("piet", option("batch-limit", "8")));
    lab.run_ms(300);
    assert!(matches!(lab.node(2).replies.get(&again), Some(Response::Failed { code: crm::INSUFFICIENT_PRIV, .. })));
}

#[test]
fn beside_a_member_that_knows_no_acls_nothing_is_let_through() {
    let mut lab = lab(BTreeMap::from([(NodeId(1), 2)]));
    assert_eq!(code(&mut lab, "piet", attribute("load")), 0, "not enabled");
    lab.property(1, "enable-acl", "true");
    lab.run_ms(100);
    assert_eq!(code(&mut lab, "olga", option("batch-limit", "1")), crm::UNAVAILABLE);
}
