//! Where alerts are sent from, and for what: whole clusters on a virtual clock.

use crate::harness::{Lab, schedule};
use base::exit::OcfCode;
use base::{NodeId, Reason, Word};
use controller::*;

const ALERTS: &str = "<alerts><alert id='a' path='/a'><select><select_nodes/><select_fencing/><select_resources/><select_attributes/>\
     </select></alert></alerts>";

fn up() -> Lab {
    let dummy = "<primitive id=\"d\" class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\">\
         <operations><op id=\"d-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>";
    let mut lab = Lab::new(3, dummy, schedule);
    lab.exact = true;
    lab.run_ms(2000);
    lab.modify(1, "alerts", ALERTS);
    lab.run_ms(2000);
    lab
}

/// `node: kind what desc`, one for each call since the last look.
fn told(lab: &mut Lab) -> Vec<String> {
    let mut out = Vec::new();
    for (id, node) in &mut lab.nodes {
        for call in std::mem::take(&mut node.notified) {
            let value = |name: &str| call.environment.get(&format!("CRM_alert_{name}")).cloned().unwrap_or_default();
            let what = match value("kind").as_str() {
                "resource" => format!("{}_{}_{}", value("rsc"), value("task"), value("interval")),
                "attribute" => format!("{}={}", value("attribute_name"), value("attribute_value")),
                _ => value("node"),
            };
            out.push(format!("{}: {} {what} {}", id.0, value("kind"), value("desc")).trim_end().to_owned());
        }
    }
    out
}

fn holder(lab: &Lab) -> u32 {
    lab.where_is("d")[0]
}

#[test]
fn every_node_tells_of_nodes() {
    let mut lab = up();
    told(&mut lab);
    lab.kill(3);
    lab.run_ms(3000);
    let mut all = told(&mut lab);
    all.retain(|t| t.contains("node "));
    assert_eq!(all, ["1: node node3 lost", "2: node node3 lost"]);
}

#[test]
fn the_node_that_ran_an_operation_tells_of_it() {
    let mut lab = up();
    told(&mut lab);
    let from = holder(&lab);
    lab.standby(from, "on");
    lab.run_ms(5000);
    let to = holder(&lab);
    let mut all = told(&mut lab);
    all.retain(|t| t.contains("resource "));
    let mut wanted = vec![
        format!("{from}: resource d_monitor_10000 Cancelled"),
        format!("{from}: resource d_stop_0 OK"),
        format!("{to}: resource d_start_0 OK"),
        format!("{to}: resource d_monitor_10000 OK"),
    ];
    wanted.sort();
    all.sort();
    assert_eq!(all, wanted);
}

#[test]
fn a_failure_is_told_once_and_its_count_by_the_coordinator() {
    let mut lab = up();
    told(&mut lab);
    let at = holder(&lab);
    let reason = Reason::cleaned("gone");
    lab.input(NodeId(at), Input::Failed { resource: "d".into(), code: OcfCode::NOT_RUNNING, reason });
    lab.run_ms(5000);
    let all = told(&mut lab);
    let dc = lab.nodes[&NodeId(1)].controller.status().dc.unwrap().0;
    let failures: Vec<&String> = all.iter().filter(|t| t.contains("Not running")).collect();
    assert_eq!(failures, [&format!("{at}: resource d_monitor_10000 Not running")]);
    let counts: Vec<&String> = all.iter().filter(|t| t.contains("fail-count-d#monitor_10000=1")).collect();
    assert_eq!(counts, [&format!("{dc}: attribute fail-count-d#monitor_10000=1")]);
}

#[test]
fn an_attribute_is_told_when_it_changes() {
    let mut lab = up();
    let dc = lab.nodes[&NodeId(1)].controller.status().dc.unwrap().0;
    for value in [Some("5"), Some("5"), Some("6"), None, None] {
        told(&mut lab);
        let value = value.map(|v| base::Value::checked(v).unwrap());
        let before = lab.nodes[&NodeId(2)].controller.cib().root().to_compact();
        lab.ask(2, Request::Attribute { node: None, name: Word::cleaned("x"), value: value.clone() });
        lab.run_ms(500);
        let changed = lab.nodes[&NodeId(2)].controller.cib().root().to_compact() != before;
        let mut wanted = Vec::new();
        if changed {
            wanted.push(format!("{dc}: attribute x={}", value.as_ref().map_or("", |v| v.as_str())));
        }
        assert_eq!(told(&mut lab), wanted);
    }
}
