//! Tests: what becomes of the requests of `cases/`, and what no request may tell.

use super::*;
use crate::{Cib, CibError, Op, Request, Target};
use base::exit::crm;

#[path = "cases/case.rs"]
mod case;

/// As the system has it: who is called nobody is in nogroup.
fn subject(user: &str) -> Option<Subject> {
    let groups = if user == "nobody" { vec!["nogroup".to_owned()] } else { vec![user.to_owned()] };
    Subject::new(user, groups)
}

fn loaded(text: &str) -> Cib {
    Cib::parse(case::read(text).0).expect("a CIB")
}

fn run(text: &str) -> usize {
    let (mut cib, cases) = (loaded(text), case::read(text).1);
    for case in &cases {
        let before = cib.clone();
        let done = match subject(case.user) {
            Some(subject) => cib.apply_as(&case.request(), &subject),
            None => cib.apply(&case.request()),
        };
        let code = done.as_ref().map_or_else(CibError::exit_code, |_| 0);
        assert_eq!(code, case.code, "{}\n{done:?}", case.line);
        if let Err(error) = &done {
            assert_eq!(cib, before, "a refusal changes nothing: {}", case.line);
            assert!(!error.explain().contains("s3cret"), "{error}");
        }
        if !case.look.is_empty() {
            let answer = done.ok().and_then(|d| d.answer);
            let document = answer.as_ref().unwrap_or_else(|| cib.root());
            assert!(case::looks(document, case.look), "{}\n{}", case.line, document.to_pretty());
        }
    }
    cases.len()
}

#[test]
fn requests_of_the_originals_test_group_are_answered_as_there() {
    assert!(run(include_str!("cases/cts.txt")) >= 45);
}

#[test]
fn documented_roles_allow_what_they_say_and_nothing_else() {
    assert!(run(include_str!("cases/explained.txt")) >= 30);
}

#[test]
fn no_way_around_a_permission_is_open() {
    assert!(run(include_str!("cases/evasions.txt")) >= 35);
}

#[test]
fn a_refusal_names_the_rule_and_what_it_forbids() {
    let mut cib = loaded(include_str!("cases/evasions.txt"));
    let eve = subject("eve").expect("not exempt");
    let mut refusal = |xml: &str| {
        let payload = xml::parse(xml).expect("XML");
        let error = cib.apply_as(&Request::new(Op::Modify, Target::Whole, Some(payload)), &eve).expect_err("refused");
        assert_eq!(error.exit_code(), crm::INSUFFICIENT_PRIV);
        error.to_string()
    };
    assert_eq!(
        refusal("<nvpair id='cib-bootstrap-options-enable-acl' value='false'/>"),
        "Permission denied: user eve may not change attribute value of \
         /cib/configuration/crm_config/cluster_property_set[@id='cib-bootstrap-options']/nvpair[@id='cib-bootstrap-options-enable-acl']: \
         permission r-read of role r (user eve) allows reading only"
    );
    assert!(
        refusal("<nvpair id='db-passwd' value='x'/>").ends_with("permission r-secrets of role r (user eve) denies it")
    );
}

#[test]
fn values_that_may_not_be_read_are_whole_after_a_change_beside_them() {
    let mut cib = loaded(include_str!("cases/evasions.txt"));
    let eve = subject("eve").expect("not exempt");
    let payload = xml::parse("<nvpair id='db-role' value='Stopped'/>").expect("XML");
    cib.apply_as(&Request::new(Op::Modify, Target::Whole, Some(payload)), &eve).expect("allowed");
    assert_eq!(cib.root().find_id("db-passwd").and_then(|e| e.attr("value")), Some("s3cret"));
    assert!(!cib.snapshot().contains('\u{1}'));
}

#[test]
fn a_change_of_the_status_is_guarded_as_any_other() {
    let mut cib = loaded(include_str!("cases/cts.txt"));
    let mut write = |user: &str| {
        let subject = subject(user).expect("not exempt");
        let before = cib.clone();
        let guard = cib.guard(&subject).expect("sound").expect("enabled");
        cib.enter(&guard);
        cib.edit_status(|s| {
            s.push(Element::new("node_state").with("id", "1").with("uname", "n1"));
            true
        });
        let done = cib.leave(&guard);
        if done.is_err() {
            cib = before.clone();
        }
        assert_eq!(cib.version().num_updates, before.version().num_updates + u64::from(done.is_ok()));
        done.is_ok()
    };
    assert!(!write("unknownguy") && !write("niceguy") && write("joe"));
}

#[test]
fn what_cannot_be_evaluated_is_closed() {
    let mut cib = loaded(include_str!("cases/cts.txt"));
    let bad =
        "<acl_role id='observer'><acl_permission id='odd' kind='deny' xpath='//nvpair[translate(@name)]'/></acl_role>";
    let request = Request::new(Op::Replace, Target::Section("acls".into()), Some(xml::parse(bad).expect("XML")));
    let refused = cib.apply(&request).expect_err("the schema knows");
    assert!(refused.explain().contains("xpath"), "{}", refused.explain());
    let mut root = cib.root().clone();
    root.set("validate-with", "none");
    root.find_id_mut("observer-read-1").expect("there").set("xpath", "//[");
    let cib = Cib::from_element(root).expect("a CIB");
    let error = cib.seen_by(&subject("niceguy").expect("not exempt")).expect_err("closed");
    assert_eq!(error.exit_code(), crm::INSUFFICIENT_PRIV);
    assert!(error.to_string().contains("permission observer-read-1 of role observer"), "{error}");
    assert!(cib.seen_by(&subject("joe").expect("not exempt")).is_ok(), "others are not concerned");
}

#[test]
fn a_set_with_a_rule_enables_them_too() {
    let set = |rule: &str| {
        let text = format!(
            "<cib><configuration><crm_config><cluster_property_set id='s'>{rule}<nvpair id='e' name='enable-acl' value='true'/>\
             </cluster_property_set></crm_config></configuration><status/></cib>"
        );
        enabled(Cib::parse(&text).expect("a CIB").root())
    };
    assert!(
        set("") && set("<rule id='r' score='1'><date_expression id='d' operation='gt' start='2099-01-01'/></rule>")
    );
}
