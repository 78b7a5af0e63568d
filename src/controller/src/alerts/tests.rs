//! Who is called for which event, and with which variables.

use super::*;
use crate::api::OpStatus;
use base::NodeId;

fn cib(alerts: &str) -> Element {
    xml::parse(&format!("<cib><configuration><alerts>{alerts}</alerts></configuration><status/></cib>")).expect("good")
}

fn node_event() -> Event {
    Event::Node { name: "d1".into(), id: NodeId(1), member: false }
}

fn resource_event() -> Event {
    Event::Resource {
        node: "d1".into(),
        resource: "vip".into(),
        task: "monitor".into(),
        interval_ms: 10_000,
        target_code: 0,
        status: OpStatus::Done,
        code: 7,
        exec_ms: 12,
    }
}

fn attribute_event(name: &str) -> Event {
    Event::Attribute { node: "d1".into(), id: NodeId(1), name: name.into(), value: Some("3".into()) }
}

fn called(cib: &Element, event: &Event) -> Vec<(String, String)> {
    let all = calls(cib, WallTime::default(), event).calls;
    all.into_iter().map(|c| (c.alert, c.recipient.unwrap_or_default())).collect()
}

/// The table "Environment Variables Passed to Alert Agents" of Pacemaker Administration, less what only the daemon knows.
#[test]
fn each_kind_has_the_documented_variables() {
    let cib = cib(
        "<alert id='a' path='/a'><select><select_nodes/><select_fencing/><select_resources/><select_attributes/></select>\
         <recipient id='r' value='to'/></alert>",
    );
    let fencing = Event::Fencing {
        target: "d2".into(),
        operation: "reboot".into(),
        description: "Operation reboot".into(),
        code: 0,
    };
    let all = ["kind", "node", "recipient", "version"];
    let of = [
        (node_event(), "node", &["desc", "nodeid"][..]),
        (fencing, "fencing", &["desc", "rc", "task"]),
        (resource_event(), "resource", &["desc", "exec_time", "interval", "rc", "rsc", "status", "target_rc", "task"]),
        (attribute_event("x"), "attribute", &["attribute_name", "attribute_value", "nodeid"]),
    ];
    for (event, kind, own) in of {
        let call = calls(&cib, WallTime::default(), &event).calls.remove(0);
        let mut wanted: Vec<String> = all.iter().chain(own).map(|n| format!("CRM_alert_{n}")).collect();
        wanted.extend(all.iter().chain(own).map(|n| format!("CRM_notify_{n}")));
        wanted.sort();
        let got: Vec<String> = call.environment.keys().cloned().collect();
        assert_eq!(got, wanted);
        assert_eq!(call.environment["CRM_alert_kind"], kind);
        assert_eq!(call.environment["CRM_alert_recipient"], "to");
    }
}

#[test]
fn values_are_as_agents_read_them() {
    let cib = cib("<alert id='a' path='/a'/>");
    let of = |event: &Event| calls(&cib, WallTime::default(), event).calls.remove(0);
    let call = of(&resource_event());
    let value = |name: &str| call.environment[&format!("CRM_alert_{name}")].as_str();
    let names = ["desc", "interval", "rc", "target_rc", "status", "exec_time", "rsc", "task", "recipient"];
    assert_eq!(names.map(value), ["Not running", "10000", "7", "0", "0", "12", "vip", "monitor", ""]);
    assert_eq!((call.timeout_ms, call.timestamp_format.as_str(), call.recipient), (30_000, "%H:%M:%S.%06N", None));
    let Event::Resource { node, resource, task, .. } = resource_event() else { return };
    let (status, code) = (OpStatus::Timeout, 1);
    let late = Event::Resource { node, resource, task, interval_ms: 0, target_code: 0, status, code, exec_ms: 20_000 };
    let late = of(&late).environment;
    assert_eq!((late["CRM_alert_desc"].as_str(), late["CRM_alert_status"].as_str()), ("Timed out", "2"));
    assert_eq!(of(&node_event()).environment["CRM_alert_desc"], "lost");
}

#[test]
fn filters_choose() {
    let cib = cib("<alert id='all' path='/a'/>\
         <alert id='nodes' path='/a'><select><select_nodes/></select></alert>\
         <alert id='any' path='/a'><select><select_attributes/></select></alert>\
         <alert id='some' path='/a'><select><select_attributes><attribute id='x' name='pingd'/></select_attributes></select></alert>\
         <alert id='none' path='/a'><select/></alert>");
    let ids = |event: &Event| called(&cib, event).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(&node_event()), ["all", "nodes", "none"], "an empty filter is none");
    assert_eq!(ids(&resource_event()), ["all", "none"]);
    assert_eq!(ids(&attribute_event("pingd")), ["any", "some"], "attributes only where asked for");
    assert_eq!(ids(&attribute_event("other")), ["any"]);
}

#[test]
fn recipients_have_settings_of_their_own() {
    let set = |kind: &str, id: &str, pairs: &[(&str, &str)]| {
        let pairs: String =
            pairs.iter().map(|(n, v)| format!("<nvpair id='{id}-{n}' name='{n}' value='{v}'/>")).collect();
        format!("<{kind} id='{id}'>{pairs}</{kind}>")
    };
    let alert = |meta: &[(&str, &str)]| {
        let own =
            set("meta_attributes", "m", meta) + &set("instance_attributes", "i", &[("debug", "no"), ("mail", "a")]);
        let first = set("meta_attributes", "m1", &[("timeout", "2s"), ("timestamp-format", "%c")])
            + &set("instance_attributes", "i1", &[("debug", "yes"), ("bad-name", "x"), ("CRM_alert_kind", "forged")]);
        let second = set("meta_attributes", "m2", &[("enabled", "false")]);
        cib(&format!(
            "<alert id='a' path='/a'>{own}<recipient id='r1' value='one'>{first}</recipient>\
             <recipient id='r2' value='two'>{second}</recipient><recipient id='r3' value='three'/></alert>"
        ))
    };
    let on = alert(&[("timeout", "15s")]);
    let [first, third] = calls(&on, WallTime::default(), &node_event()).calls.try_into().expect("two of three");
    assert_eq!((first.recipient.as_deref(), third.recipient.as_deref()), (Some("r1"), Some("r3")));
    assert_eq!((first.timeout_ms, third.timeout_ms), (2000, 15_000));
    assert_eq!((first.timestamp_format.as_str(), third.timestamp_format.as_str()), ("%c", DEFAULT_TIMESTAMP));
    assert_eq!((first.environment["debug"].as_str(), third.environment["debug"].as_str()), ("yes", "no"));
    assert_eq!(first.environment["mail"], "a");
    assert!(!first.environment.contains_key("bad-name"), "no shell can read it");
    assert_eq!(first.environment["CRM_alert_kind"], "node", "settings do not change what happened");
    assert!(called(&alert(&[("enabled", "false")]), &node_event()).is_empty(), "recipients cannot switch it on again");
    for bad in ["0", "-5s", "soon"] {
        let calls = calls(&alert(&[("timeout", bad)]), WallTime::default(), &node_event()).calls;
        assert_eq!(calls[1].timeout_ms, DEFAULT_TIMEOUT_MS, "{bad}");
    }
}

#[test]
fn an_event_makes_so_many_calls_at_most() {
    let recipients: String = (0..MAX_CALLS + 5).map(|n| format!("<recipient id='r{n}' value='v'/>")).collect();
    let all = calls(&cib(&format!("<alert id='a' path='/a'>{recipients}</alert>")), WallTime::default(), &node_event());
    assert_eq!((all.calls.len(), all.left_out), (MAX_CALLS, 5));
}

#[test]
fn trouble_is_told_as_a_monitor_that_finds_it_running_in_danger() {
    let cib = cib("<alert id='a' path='/a'><select><select_resources/></select><recipient id='r' value='to'/></alert>");
    let event = Event::Trouble { node: "d1".into(), resource: "vip".into(), description: "used by a stranger".into() };
    let environment = calls(&cib, WallTime::default(), &event).calls.remove(0).environment;
    let said = |name: &str| environment[&format!("CRM_alert_{name}")].clone();
    let wanted =
        [("kind", "resource"), ("node", "d1"), ("rsc", "vip"), ("task", "monitor"), ("rc", "190"), ("target_rc", "0")];
    wanted.iter().for_each(|(name, value)| assert_eq!(said(name), *value, "{name}"));
    assert_eq!(said("desc"), "used by a stranger");
}
