//! What was put in place is taken away, whatever the configuration says by then; failures, reloads and repeated starts. Real scheduler.

use crate::harness::{GROUP, Lab, schedule};
use base::exit::OcfCode;
use base::{NodeId, Reason, Word};
use controller::*;
use std::collections::BTreeSet;

/// A route `x` to `destination`.
fn route(id: &str, agent: &str, destination: &str) -> String {
    let params = match destination {
        "" => String::new(),
        d => format!(
            "<instance_attributes id=\"{id}-ia\"><nvpair id=\"{id}-d\" name=\"destination\" value=\"{d}\"/></instance_attributes>"
        ),
    };
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"{agent}\">{params}\
         <operations><op id=\"{id}-m\" name=\"monitor\" interval=\"10s\"/></operations></primitive>"
    )
}

fn with_meta(primitive: &str, name: &str, value: &str) -> String {
    let meta = format!(
        "<meta_attributes id=\"x-ma\"><nvpair id=\"x-{name}\" name=\"{name}\" value=\"{value}\"/></meta_attributes><operations>"
    );
    primitive.replace("<operations>", &meta)
}

fn replace(lab: &mut Lab, node: u32, resources: &str) {
    let resources = xml::parse(&format!("<resources>{resources}</resources>")).unwrap();
    let target = cib::Target::Section("resources".into());
    lab.ask(node, Request::Cib(cib::Request::new(cib::Op::Replace, target, Some(resources))));
}

fn placed(lab: &Lab) -> BTreeSet<String> {
    lab.nodes.values().flat_map(|n| n.placed.iter().cloned()).collect()
}

fn set(things: &[&str]) -> BTreeSet<String> {
    things.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn what_was_placed_is_gone_however_it_ends() {
    let x = route("x", "Route", "10.1.0.0/24");
    let moved = route("x", "Route", "10.2.0.0/24");
    let other = route("y", "Dummy", "");
    let group = |inner: &str| format!("<group id=\"g\">{other}{inner}</group>");
    let clone = |inner: &str, meta: &str| {
        format!(
            "<clone id=\"c\"><meta_attributes id=\"c-m\"><nvpair id=\"c-m1\" name=\"clone-max\" value=\"1\"/>{meta}</meta_attributes>{inner}</clone>"
        )
    };
    let unique = "<nvpair id=\"c-m2\" name=\"globally-unique\" value=\"true\"/>";
    // Name, before, after, what is to be in place at the end.
    let cases: Vec<(&str, String, String, &[&str])> = vec![
        ("changed", x.clone(), moved.clone(), &["Route destination=10.2.0.0/24"]),
        ("parameter removed", x.clone(), route("x", "Route", ""), &["Route x"]),
        ("deleted", x.clone(), String::new(), &[]),
        ("renamed", x.clone(), route("z", "Route", "10.3.0.0/24"), &["Route destination=10.3.0.0/24"]),
        ("another agent", x.clone(), route("x", "Dummy", ""), &["Dummy x"]),
        (
            "another agent, same parameters",
            x.clone(),
            route("x", "IPaddr2", "10.1.0.0/24"),
            &["IPaddr2 destination=10.1.0.0/24"],
        ),
        ("disabled and changed at once", x.clone(), with_meta(&moved, "target-role", "Stopped"), &[]),
        ("into a group, changed", x.clone(), group(&moved), &["Dummy y", "Route destination=10.2.0.0/24"]),
        ("out of a group, changed", group(&x), moved.clone(), &["Route destination=10.2.0.0/24"]),
        ("group deleted", group(&x), String::new(), &[]),
        ("cloned and changed", x.clone(), clone(&moved, ""), &["Route destination=10.2.0.0/24"]),
        ("clone deleted", clone(&x, ""), String::new(), &[]),
        ("unique clone, changed", clone(&x, unique), clone(&moved, unique), &["Route destination=10.2.0.0/24"]),
        ("unique clone deleted", clone(&x, unique), String::new(), &[]),
        ("made a unique clone, changed", x.clone(), clone(&moved, unique), &["Route destination=10.2.0.0/24"]),
        ("a unique clone no more, changed", clone(&x, unique), moved.clone(), &["Route destination=10.2.0.0/24"]),
    ];
    for (name, before, after, wanted) in &cases {
        for restarted in [false, true] {
            let mut lab = Lab::one_runs_all(before);
            assert!(placed(&lab).contains("Route destination=10.1.0.0/24"), "{name}: {:?}", placed(&lab));
            if restarted {
                let remains = lab.kill_daemon(1);
                lab.run_ms(200);
                replace(&mut lab, 2, after);
                lab.run_ms(200);
                lab.revive(1, remains, 2);
                lab.partition(&[&[1], &[2]]);
                lab.run_ms(50);
                lab.partition(&[&[1, 2]]);
            } else {
                replace(&mut lab, 1, after);
            }
            lab.run_ms(3000);
            assert_eq!(
                placed(&lab),
                set(wanted),
                "{name}, daemon restarted: {restarted}; {:#?}",
                lab.operations(base::Time::ZERO)
            );
            let kept: usize = lab.nodes.values().map(|n| n.records.len()).sum();
            assert_eq!(kept, wanted.len(), "{name}: one record for each that runs");
        }
    }
}

#[test]
fn what_is_unmanaged_stays_as_it_is_and_is_ended_as_it_was() {
    let x = route("x", "Route", "10.1.0.0/24");
    let moved = route("x", "Route", "10.2.0.0/24");
    let mut lab = Lab::one_runs_all(&x);
    replace(&mut lab, 1, &with_meta(&moved, "is-managed", "false"));
    lab.run_ms(25_000);
    assert_eq!(placed(&lab), set(&["Route destination=10.1.0.0/24"]));
    let text = lab.node(2).controller.cib().root().to_pretty();
    assert!(!text.contains("fail-count-x"), "its monitor looks at what runs: {text}");
    replace(&mut lab, 1, &moved);
    lab.run_ms(1000);
    assert_eq!(placed(&lab), set(&["Route destination=10.2.0.0/24"]));
    // Its history forgotten: it is still known what was started.
    replace(&mut lab, 1, &with_meta(&x, "is-managed", "false"));
    lab.run_ms(100);
    lab.ask(1, Request::Cleanup { resource: Some(Word::cleaned("x")), node: None, operation: None, refresh: true });
    lab.run_ms(1000);
    replace(&mut lab, 1, &x);
    lab.run_ms(1000);
    assert_eq!(placed(&lab), set(&["Route destination=10.1.0.0/24"]));
}

#[test]
fn an_orphan_of_a_merge_is_stopped_with_what_it_was_started_with() {
    let mut lab = Lab::one_runs_all(&route("x", "Route", "10.1.0.0/24"));
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(200);
    replace(&mut lab, 2, "");
    lab.run_ms(200);
    assert_eq!(placed(&lab), set(&["Route destination=10.1.0.0/24"]));
    lab.partition(&[&[1, 2]]);
    lab.run_ms(2000);
    assert_eq!(placed(&lab), set(&[]));
}

fn facts(lab: &mut Lab, agent: &str, provider: &str) {
    let name = AgentName { class: "ocf".into(), provider: Some(provider.into()), agent: agent.into() };
    let param = |name: &str, reloadable| ParamFacts { name: name.into(), reloadable, ..ParamFacts::default() };
    let facts = AgentFacts { params: vec![param("fake", true), param("state", false)], reload: Some(Reload::Agent) };
    for node in [1, 2] {
        lab.input(NodeId(node), Input::Facts { agent: name.clone(), facts: facts.clone() });
    }
}

#[test]
fn a_reloadable_parameter_restarts_nobody() {
    let member = |id: &str, fake: &str, state: &str| {
        format!(
            "<primitive id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><instance_attributes id=\"{id}-ia\">\
            <nvpair id=\"{id}-f\" name=\"fake\" value=\"{fake}\"/><nvpair id=\"{id}-s\" name=\"state\" value=\"{state}\"/></instance_attributes>\
            <operations><op id=\"{id}-m\" name=\"monitor\" interval=\"1s\"/></operations></primitive>"
        )
    };
    let group = |fake: &str, state: &str| {
        format!(
            "<group id=\"g\">{}{}{}</group>",
            member("g1", "one", "/1"),
            member("g2", fake, state),
            member("g3", "one", "/3")
        )
    };
    for late in [false, true] {
        let mut lab = Lab::new(2, &group("one", "/2"), schedule);
        if !late {
            facts(&mut lab, "Dummy", "pacemaker");
        }
        lab.run_ms(1000);
        if late {
            facts(&mut lab, "Dummy", "pacemaker");
            lab.run_ms(500);
        }
        let since = lab.now;
        replace(&mut lab, 1, &group("two", "/2"));
        lab.run_ms(1500);
        let ops = lab.operations(since);
        assert!(ops.contains(&"1 g2_reload-agent_0".to_owned()), "late {late}: {ops:?}");
        assert!(!ops.iter().any(|o| o.contains("_stop_") || o.contains("_start_")), "late {late}: {ops:?}");
        let reloads = |ops: &[String]| ops.iter().filter(|o| o.contains("reload")).count();
        lab.run_ms(5000);
        assert_eq!(reloads(&lab.operations(since)), 1, "once");
        // A parameter that is not reloadable restarts it and what comes behind it.
        let since = lab.now;
        replace(&mut lab, 1, &group("two", "/other"));
        lab.run_ms(1500);
        let ops = lab.operations(since);
        for wanted in ["1 g3_stop_0", "1 g2_stop_0", "1 g2_start_0", "1 g3_start_0"] {
            assert!(ops.contains(&wanted.to_owned()), "late {late}: {wanted}: {ops:?}");
        }
        assert_eq!(reloads(&ops), 0, "{ops:?}");
    }
}

#[test]
fn an_address_lost_at_any_moment_comes_back() {
    let mut lab = Lab::new(2, GROUP, schedule);
    lab.run_ms(1000);
    for n in 0..100u64 {
        let (from, to) = if n % 2 == 0 { (1, 2) } else { (2, 1) };
        lab.standby(from, "on");
        lab.run_ms(3 + n * 7 % 400);
        // Taken away by hand; the keeper notices, or a monitor does.
        let gone = lab.nodes.get_mut(&NodeId(to)).unwrap().running.remove("vip");
        if n % 3 != 0 && gone {
            let reason = Reason::cleaned("the address was removed by somebody else");
            lab.input(NodeId(to), Input::Failed { resource: "vip".into(), code: OcfCode::NOT_RUNNING, reason });
        }
        lab.run_ms(20_500);
        assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![to], vec![to]), "round {n}");
        assert!(lab.node(to).owners.resources.contains("vip"), "round {n}: it is renewed");
        lab.standby(from, "off");
        lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: false });
        lab.run_ms(1000);
    }
}

fn fail_count(lab: &Lab, key: &str) -> Option<String> {
    let root = lab.node(2).controller.cib().root();
    let name = format!("fail-count-{key}");
    root.descendants().find(|e| e.attr("name") == Some(&name))?.attr("value").map(str::to_owned)
}

#[test]
fn every_failed_round_counts_and_a_cleanup_is_not_the_last_word() {
    let unmanaged = with_meta(&route("x", "Route", "10.1.0.0/24"), "is-managed", "false");
    let mut lab = Lab::one_runs_all(&route("x", "Route", "10.1.0.0/24"));
    replace(&mut lab, 1, &unmanaged);
    lab.run_ms(100);
    lab.nodes.get_mut(&NodeId(1)).unwrap().placed.clear();
    lab.run_ms(30_500);
    assert_eq!(fail_count(&lab, "x#monitor_10000").as_deref(), Some("3"));
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: false });
    lab.run_ms(500);
    assert_eq!(fail_count(&lab, "x#monitor_10000"), None);
    replace(&mut lab, 1, &route("x", "Route", "10.1.0.0/24"));
    lab.run_ms(1000);
    assert_eq!(placed(&lab), set(&["Route destination=10.1.0.0/24"]), "planned anew");
}

#[test]
fn starts_that_repeat_wait_and_the_first_does_not() {
    let mut lab = Lab::new(1, &route("x", "Route", "10.1.0.0/24"), schedule);
    lab.run_ms(1000);
    // Starts, and is found gone at once.
    lab.faults.insert((NodeId(1), "x_monitor_10000".into()), OcfCode::NOT_RUNNING);
    let gone = || Input::Failed { resource: "x".into(), code: OcfCode::NOT_RUNNING, reason: Reason::cleaned("gone") };
    let since = lab.now;
    lab.input(NodeId(1), gone());
    lab.run_ms(200);
    let starts = |lab: &Lab| lab.operations(since).iter().filter(|o| o.ends_with("x_start_0")).count();
    assert!(starts(&lab) >= 1, "the first recovery is not delayed: {:?}", lab.operations(since));
    lab.run_ms(9800);
    assert!((4..=6).contains(&starts(&lab)), "{} starts in 10 s", starts(&lab));
    let told = lab.node(1).timeline.iter().filter(|e| e.kind == "backoff").count();
    assert!((3..=5).contains(&told), "{told} times told");
    lab.faults.clear();
    lab.run_ms(20_000);
    assert_eq!(lab.where_is("x"), vec![1]);
}

#[test]
fn nothing_waits_for_the_unrelated() {
    let slow = route("slow", "Dummy", "");
    let mut lab = Lab::new(2, &format!("{slow}{}", route("vip", "IPaddr2", "")), schedule);
    lab.votes = 1;
    lab.delays.insert("slow_start_0".into(), 14_000);
    let prefer = "<constraints><rsc_location id=\"a\" rsc=\"slow\" node=\"node1\" score=\"1000\"/><rsc_location id=\"b\" rsc=\"vip\" node=\"node2\" score=\"1000\"/></constraints>";
    lab.modify(1, "constraints", prefer);
    lab.run_ms(2000);
    assert_eq!((lab.where_is("vip"), lab.where_is("slow")), (vec![2], vec![]));
    lab.kill(2);
    lab.run_ms(50);
    assert_eq!((lab.where_is("vip"), lab.where_is("slow")), (vec![1], vec![]), "{:#?}", lab.node(1).timeline);
    lab.run_ms(15_000);
    assert_eq!((lab.where_is("vip"), lab.where_is("slow")), (vec![1], vec![1]));
    let starts = lab.operations(base::Time::ZERO).iter().filter(|o| o.ends_with("slow_start_0")).count();
    assert_eq!(starts, 1, "what was under way was not begun again");
    assert!(lab.operations(base::Time::ZERO).contains(&"1 slow_monitor_10000".to_owned()));
}

#[test]
fn what_changes_while_its_start_is_under_way_is_started_as_it_shall_be() {
    let mut lab = Lab::one_runs_all("");
    lab.delays.insert("x_start_0".into(), 3000);
    replace(&mut lab, 1, &route("x", "Route", "10.1.0.0/24"));
    lab.run_ms(1000);
    replace(&mut lab, 1, &route("x", "Route", "10.2.0.0/24"));
    lab.run_ms(15_000);
    assert_eq!(placed(&lab), set(&["Route destination=10.2.0.0/24"]));
    replace(&mut lab, 1, &route("x", "Route", "10.3.0.0/24"));
    lab.run_ms(1000);
    replace(&mut lab, 1, "");
    lab.run_ms(15_000);
    assert_eq!(placed(&lab), set(&[]));
}

#[test]
fn a_cleanup_touches_what_has_failed() {
    let mut lab = Lab::new(2, &format!("{}{}", route("a", "Dummy", ""), route("b", "Dummy", "")), schedule);
    lab.run_ms(1000);
    lab.faults.insert((NodeId(1), "a_monitor_10000".into()), OcfCode::ERROR);
    lab.run_ms(10_500);
    lab.faults.clear();
    lab.run_ms(1000);
    let since = lab.now;
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: false });
    lab.run_ms(1000);
    let probes =
        |lab: &Lab| lab.operations(since).iter().filter(|o| o.contains("_monitor_0")).cloned().collect::<Vec<_>>();
    assert_eq!(probes(&lab), ["1 a_monitor_0"]);
    // What a probe found running has not failed.
    let since = lab.now;
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.run_ms(1000);
    let since_then = lab.now;
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: false });
    lab.run_ms(1000);
    assert!(
        lab.operations(since).len() >= 4 && lab.operations(since_then).is_empty(),
        "{:?}",
        lab.operations(since_then)
    );
}

#[test]
fn a_cleanup_of_a_group_is_one_of_its_members() {
    let group = format!("<group id=\"g\">{}{}</group>", route("a", "Dummy", ""), route("b", "Dummy", ""));
    let mut lab = Lab::one_runs_all(&format!("{group}{}", route("c", "Dummy", "")));
    for failing in ["b_monitor_10000", "c_monitor_10000"] {
        lab.faults.insert((NodeId(1), failing.into()), OcfCode::ERROR);
    }
    lab.run_ms(10_500);
    lab.faults.clear();
    lab.run_ms(1000);
    assert!(fail_count(&lab, "b#monitor_10000").is_some() && fail_count(&lab, "c#monitor_10000").is_some());
    lab.ask(1, Request::Cleanup { resource: Some(Word::cleaned("g")), node: None, operation: None, refresh: false });
    lab.run_ms(1000);
    assert_eq!(fail_count(&lab, "b#monitor_10000"), None);
    assert!(fail_count(&lab, "c#monitor_10000").is_some(), "of no concern");
}

#[test]
fn a_round_that_was_cancelled_is_not_waited_for() {
    let mut lab = Lab::one_runs_all("");
    lab.delays.insert("x_monitor_10000".into(), 30_000);
    replace(&mut lab, 1, &route("x", "Route", "10.1.0.0/24"));
    lab.run_ms(1000);
    lab.ask(1, Request::Cleanup { resource: None, node: None, operation: None, refresh: true });
    lab.run_ms(120_000);
    assert_eq!(fail_count(&lab, "x#monitor_10000"), None, "{:#?}", lab.operations(base::Time::ZERO));
    assert_eq!(placed(&lab), set(&["Route destination=10.1.0.0/24"]));
}
