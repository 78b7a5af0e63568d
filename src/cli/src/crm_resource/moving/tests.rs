//! Moves on documents: what is refused, what is said, and what is written at once.

use super::*;
use crate::cluster;

/// A resource that runs on `a`; on `b` nothing does.
fn document(options: &str, constraints: &str) -> Element {
    let state = |id: u32, name: &str, ops: &str| {
        format!(
            "<node_state id='{id}' uname='{name}' in_ccm='1700000000' crmd='1700000000' join='member' expected='member'>\
             <lrm id='{id}'><lrm_resources><lrm_resource id='d' class='ocf' provider='heartbeat' type='Dummy'>{ops}\
             </lrm_resource></lrm_resources></lrm></node_state>"
        )
    };
    let op = |operation: &str, rc: u32, expected: u32, call: u32| {
        format!(
            "<lrm_rsc_op id='d_last_0' operation='{operation}' operation_key='d_{operation}_0' call-id='{call}' rc-code='{rc}' \
             op-status='0' interval='0' transition-key='1:1:{expected}:x' transition-magic='0:{rc};1:1:{expected}:x'/>"
        )
    };
    let text = format!(
        "<cib epoch='7' num_updates='2' admin_epoch='0' have-quorum='1' dc-uuid='1'><configuration><crm_config>\
         <cluster_property_set id='o'><nvpair id='o-f' name='stonith-enabled' value='false'/></cluster_property_set>\
         </crm_config><nodes><node id='1' uname='a'/><node id='2' uname='b'/></nodes><resources>\
         <primitive id='d' class='ocf' provider='heartbeat' type='Dummy'>{options}</primitive></resources>\
         <constraints>{constraints}</constraints></configuration><status>{}{}</status></cib>",
        state(1, "a", &op("start", 0, 0, 2)),
        state(2, "b", &op("monitor", 7, 7, 1))
    );
    xml::parse(&text).expect("well-formed")
}

fn with<T>(cib: &Element, work: impl FnOnce(&View<'_>, &Place<'_>) -> T) -> T {
    let view = View::of(cib).expect("a CIB");
    let resource = cluster::find(&view.cluster.resources, "d").expect("it is there");
    assert_eq!(resource.active_on, ["a"]);
    let place = Place { resource, node: Some("b"), promoted: false, lifetime: None };
    work(&view, &place)
}

const PREFERS_A: &str = "<rsc_location id='p' rsc='d' node='a' score='50'/>";
const STICKY: &str =
    "<meta_attributes id='m'><nvpair id='m-s' name='resource-stickiness' value='100'/></meta_attributes>";

#[test]
fn a_move_that_goes_back_when_its_constraint_goes_is_refused_before_anything_is_done() {
    let error = with(&document("", PREFERS_A), lasts).expect_err("it prefers a");
    assert_eq!(error.code, crm::ERROR);
    assert!(error.message.contains("it would be on a then; nothing was done"), "{}", error.message);
    assert!(error.message.contains("pcs resource move-with-constraint d b"), "{}", error.message);
    with(&document(STICKY, PREFERS_A), lasts).expect("it stays for its stickiness");
}

#[test]
fn a_move_to_where_it_may_not_run_says_so() {
    let banned = "<rsc_location id='never' rsc='d' node='b' score='-INFINITY'/>";
    let error = with(&document("", banned), lasts).expect_err("b is out of the question");
    assert!(error.message.starts_with("Unable to move resource 'd'"), "{}", error.message);
    let cib = document("", banned);
    let warning = with(&cib, |view, place| stays_put(view, place, &plan_move(view, place, false).expect("a plan")));
    assert!(warning.is_some_and(|w| w.contains("will not move to b")));
    let cib = document("", PREFERS_A);
    let warning = with(&cib, |view, place| stays_put(view, place, &plan_move(view, place, false).expect("a plan")));
    assert_eq!(warning, None, "the constraint stays, and so does the resource");
}

#[test]
fn a_move_after_a_ban_is_one_change_of_what_was_read() {
    let dir = std::env::temp_dir().join(format!("bascule-moving-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = dir.join("cib.xml");
    let old = "<rsc_location id='cli-ban-d-on-b' rsc='d' role='Started' node='b' score='-INFINITY'/>";
    let cib = document("", old);
    std::fs::write(&file, cib.to_pretty()).expect("written");
    let source = Source::File(file.clone());
    with(&cib, |view, place| move_to(&source, view, place, false)).expect("moved");
    let after = source.cib().expect("readable");
    assert_eq!(after.attr("epoch"), Some("9"), "two changes by the original's count, made as one");
    let constraints = after.child("configuration").and_then(|c| c.child("constraints")).expect("there");
    let ids: Vec<_> = constraints.elements().filter_map(Element::id).collect();
    assert_eq!(ids, ["cli-prefer-d"]);
    // Thought out for what is no longer there.
    let error = with(&cib, |view, place| ban(&source, view, place)).expect_err("it has changed");
    assert_eq!(error.code, crm::OLD);
    assert_eq!(source.cib().expect("readable"), after, "nothing was done");
    let _ = std::fs::remove_dir_all(dir);
}
