//! The same clusters with the real scheduler.

use crate::harness::{GROUP, Lab, schedule};
use base::exit::OcfCode;
use base::{NodeId, Time};
use controller::*;

fn up(n: u32) -> Lab {
    let mut lab = Lab::new(n, GROUP, schedule);
    lab.run_ms(1000);
    lab
}

/// Runs on exactly this node, and the cluster is at rest.
fn assert_on(lab: &Lab, node: u32) {
    assert_eq!(
        (lab.where_is("vip"), lab.where_is("lvs")),
        (vec![node], vec![node]),
        "{:#?}",
        lab.operations(Time::ZERO)
    );
    let dc = lab.nodes.values().find(|n| n.controller.status().dc == Some(n.controller.config().me)).unwrap();
    assert_eq!(dc.controller.status().state, "idle");
    assert!(dc.timeline.iter().filter(|e| e.kind == "schedule").count() < 60, "it came to rest");
    assert!(!dc.timeline.iter().any(|e| e.kind == "schedule_failed"), "{:?}", dc.timeline);
}

#[test]
fn start_up() {
    let lab = up(2);
    assert_on(&lab, 1);
    let ops = lab.operations(Time::ZERO);
    let count = |key: &str| ops.iter().filter(|o| o.ends_with(key)).count();
    assert_eq!((count("vip_monitor_0"), count("vip_start_0"), count("lvs_start_0")), (2, 1, 1), "{ops:#?}");
    assert_eq!((count("vip_monitor_10000"), count("lvs_monitor_10000")), (1, 1), "{ops:#?}");
    lab.assert_same_cib();
}

#[test]
fn hard_loss() {
    let mut lab = up(3);
    let killed = lab.now;
    lab.kill(1);
    lab.run_ms(200);
    assert_on(&lab, 2);
    let started = lab.log.iter().find(|(at, _, key)| *at >= killed && key == "vip_start_0").unwrap().0;
    assert!(started.since(killed).as_millis() < 20);
    lab.assert_same_cib();
}

#[test]
fn standby_and_back() {
    let mut lab = up(2);
    lab.standby(1, "on");
    lab.run_ms(500);
    assert_on(&lab, 2);
    lab.standby(1, "off");
    lab.run_ms(500);
    lab.modify(2, "constraints", "<constraints><rsc_location id=\"cli-prefer-director\" rsc=\"director\" role=\"Started\" node=\"node1\" score=\"INFINITY\"/></constraints>");
    lab.run_ms(500);
    assert_on(&lab, 1);
    assert_eq!(lab.doubles, vec![]);
}

#[test]
fn monitor_failures_up_to_the_threshold() {
    let mut lab = up(2);
    lab.modify(1, "rsc_defaults", "<rsc_defaults><meta_attributes id=\"d\"><nvpair id=\"d-s\" name=\"resource-stickiness\" value=\"100\"/></meta_attributes></rsc_defaults>");
    lab.run_ms(100);
    for round in 1..=3 {
        lab.nodes.get_mut(&NodeId(1)).unwrap().running.remove("lvs");
        let since = lab.now;
        lab.run_ms(11_000);
        if round < 3 {
            assert_on(&lab, 1);
            assert!(!lab.operations(since).contains(&"1 vip_stop_0".to_owned()), "{:?}", lab.operations(since));
        }
    }
    assert_on(&lab, 2);
    lab.ask(
        2,
        Request::Cleanup { resource: Some(base::Word::cleaned("lvs")), node: None, operation: None, refresh: false },
    );
    lab.run_ms(500);
    assert_on(&lab, 2);
    lab.assert_same_cib();
}

#[test]
fn a_start_that_fails_moves_the_group() {
    let mut lab = up(2);
    lab.faults.insert((NodeId(2), "lvs_start_0".into()), OcfCode::ERROR);
    lab.standby(1, "on");
    lab.run_ms(500);
    assert_eq!(lab.where_is("lvs"), Vec::<u32>::new());
    lab.standby(1, "off");
    lab.run_ms(500);
    assert_on(&lab, 1);
}

#[test]
fn no_quorum_stops_and_merge_settles() {
    let mut lab = up(3);
    lab.partition(&[&[1], &[2, 3]]);
    lab.run_ms(500);
    assert_on(&lab, 2);
    assert!(lab.node(1).running.is_empty());
    let since = lab.now;
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(500);
    assert_on(&lab, 2);
    let ops = lab.operations(since);
    assert!(!ops.iter().any(|o| o.contains("_start_") || o.contains("_stop_")), "{ops:?}");
    lab.assert_same_cib();
}

#[test]
fn two_owners_become_one() {
    let mut lab = up(2);
    lab.votes = 1;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(500);
    assert_eq!(lab.where_is("vip"), vec![1, 2]);
    lab.property(2, "newer", "yes");
    lab.run_ms(100);
    let since = lab.now;
    lab.partition(&[&[1, 2]]);
    lab.run_ms(1000);
    assert_on(&lab, 2);
    let ops = lab.operations(since);
    assert!(!ops.iter().any(|o| o.starts_with("2 ") && (o.contains("_start_") || o.contains("_stop_"))), "{ops:?}");
}

#[test]
fn planned_leave_and_return() {
    let mut lab = up(2);
    lab.votes = 1;
    let stored = lab.node(1).persisted.clone();
    lab.ask(1, Request::Shutdown { cancel: false });
    lab.run_ms(1500);
    assert!(!lab.nodes.contains_key(&NodeId(1)));
    assert_on(&lab, 2);
    lab.restart(1, stored, 2);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(500);
    assert_on(&lab, 2);
    lab.assert_same_cib();
}

#[test]
fn a_refresh_finds_what_runs() {
    let mut lab = up(2);
    let since = lab.now;
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.run_ms(500);
    assert_on(&lab, 1);
    let ops = lab.operations(since);
    assert!(!ops.iter().any(|o| o.contains("_start_") || o.contains("_stop_")), "{ops:?}");
    assert!(ops.contains(&"1 vip_monitor_10000".to_owned()), "its monitor runs again: {ops:?}");
}

#[test]
fn changed_parameters_restart() {
    let mut lab = up(2);
    let since = lab.now;
    let set = "<instance_attributes id=\"vip-p\"><nvpair id=\"vip-ip\" name=\"ip\" value=\"10.0.0.1\"/></instance_attributes>";
    lab.modify(
        1,
        "resources",
        &format!("<resources><group id=\"director\"><primitive id=\"vip\">{set}</primitive></group></resources>"),
    );
    lab.run_ms(500);
    assert_on(&lab, 1);
    let ops = lab.operations(since);
    for wanted in ["1 lvs_stop_0", "1 vip_stop_0", "1 vip_start_0", "1 lvs_start_0"] {
        assert!(ops.contains(&wanted.to_owned()), "{wanted}: {ops:?}");
    }
}

#[test]
fn a_removed_resource_is_stopped_and_forgotten() {
    let mut lab = up(2);
    lab.ask(1, Request::Cib(cib::Request::delete_xpath("//group[@id='director']", false)));
    lab.run_ms(500);
    assert!(lab.node(1).running.is_empty());
    let text = lab.node(2).controller.cib().root().to_pretty();
    assert!(!text.contains("lrm_rsc_op"), "{text}");
}

#[test]
fn a_failure_that_no_monitor_found_is_recovered_at_once() {
    for with_monitor in [true, false] {
        let mut lab = up(2);
        if !with_monitor {
            lab.ask(1, Request::Cib(cib::Request::delete_xpath("//op", false)));
            lab.run_ms(500);
        }
        lab.nodes.get_mut(&NodeId(1)).unwrap().running.remove("vip");
        let since = lab.now;
        let reason = "the address was removed by somebody else".to_owned();
        lab.input(
            NodeId(1),
            Input::Failed {
                resource: "vip".into(),
                code: OcfCode::NOT_RUNNING,
                reason: base::Reason::cleaned(&reason),
            },
        );
        lab.input(
            NodeId(2),
            Input::Failed {
                resource: "vip".into(),
                code: OcfCode::NOT_RUNNING,
                reason: base::Reason::cleaned("not ours"),
            },
        );
        lab.run_ms(300);
        assert_on(&lab, 1);
        let ops = lab.operations(since);
        for wanted in ["1 lvs_stop_0", "1 vip_stop_0", "1 vip_start_0", "1 lvs_start_0"] {
            assert!(ops.contains(&wanted.to_owned()), "monitor {with_monitor}: {wanted}: {ops:?}");
        }
        assert_eq!(lab.doubles, vec![]);
        let status = lab.node(2).controller.cib().section("status").unwrap().to_pretty();
        assert!(status.contains(&reason) && !status.contains("not ours"), "{status}");
        let key = if with_monitor { "fail-count-vip#monitor_10000" } else { "fail-count-vip#asyncmon_0" };
        assert!(status.contains(&format!("name=\"{key}\" value=\"1\"")), "{status}");
        lab.assert_same_cib();
    }
}

/// corosync.conf calls node 1 otherwise than a CIB that was brought along: it has one name everywhere, by its id.
#[test]
fn a_renamed_node_has_one_name_and_keeps_what_is_its_own() {
    let mut lab = Lab::new(3, "", schedule);
    lab.run_ms(300);
    lab.standby(1, "on");
    lab.modify(1, "nodes", "<nodes><node id=\"1\" uname=\"n1\"/></nodes>");
    lab.run_ms(300);
    lab.kill(3);
    lab.run_ms(500);
    lab.assert_same_cib();
    let root = lab.node(2).controller.cib().root();
    let names: Vec<(&str, &str)> = root
        .descendants()
        .filter(|e| e.id() == Some("1") && e.attr("uname").is_some())
        .filter_map(|e| Some((e.name(), e.attr("uname")?)))
        .collect();
    assert_eq!(names, [("node", "node1"), ("node_state", "node1")]);
    assert!(root.to_pretty().contains("nodes-1-standby"));
}

#[test]
fn what_is_looked_for_anew_is_not_stopped_before_all_of_it_is_found() {
    let mut lab = up(2);
    lab.modify(
        1,
        "resources",
        "<resources><primitive id=\"after\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"/></resources>",
    );
    lab.modify(1, "constraints", "<constraints><rsc_order id=\"o\" first=\"director\" then=\"after\"/></constraints>");
    lab.run_ms(500);
    assert_on(&lab, 1);
    // What comes after the group is found first, and the group not to be there, as far as anybody knows.
    lab.delays.insert("vip_monitor_0".to_owned(), 300);
    lab.delays.insert("lvs_monitor_0".to_owned(), 300);
    let since = lab.now;
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.run_ms(2_000);
    let ops = lab.operations(since);
    assert!(ops.contains(&"1 vip_monitor_0".to_owned()), "{ops:#?}");
    assert!(!ops.iter().any(|o| o.ends_with("_stop_0") || o.ends_with("_start_0")), "{ops:#?}");
    assert_on(&lab, 1);
}

#[test]
fn a_loss_is_not_kept_waiting_by_probes() {
    let mut lab = up(3);
    lab.delays.insert("lvs_monitor_0".to_owned(), 2_500);
    lab.ask(2, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.run_ms(100);
    let killed = lab.now;
    lab.kill(1);
    lab.run_ms(1_000);
    let started = lab.log.iter().find(|(at, _, key)| *at >= killed && key == "vip_start_0");
    assert!(started.is_some(), "{:#?}", lab.operations(killed));
}

#[test]
fn while_an_arbitrator_is_asked_what_runs_goes_on_and_nothing_begins() {
    for quorate in [true, false] {
        let mut lab = up(2);
        assert_on(&lab, 1);
        let until = lab.now + std::time::Duration::from_secs(20);
        for node in [1, 2] {
            lab.input(NodeId(node), Input::Undecided { until });
        }
        let cut = lab.now;
        lab.partition(&[&[1], &[2]]);
        lab.run_ms(5000);
        assert_eq!(lab.operations(cut), Vec::<String>::new());
        assert_eq!(lab.where_is("vip"), [1]);
        // It has spoken.
        lab.input(NodeId(1), Input::Undecided { until: Time::ZERO });
        lab.input(NodeId(1), Input::Quorum { quorate });
        lab.run_ms(1000);
        assert_eq!(lab.where_is("vip"), if quorate { vec![1] } else { Vec::new() });
        // Nobody waits for ever.
        lab.run_ms(20_000);
        assert_eq!(lab.where_is("lvs"), if quorate { vec![1] } else { Vec::new() });
    }
}
