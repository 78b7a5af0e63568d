//! Whole clusters of controllers: start-up, failures, fail-over, partitions and merges, with a planner of a few lines.

use crate::harness::planner::plan;
use crate::harness::{GROUP, Lab};
use base::Word;
use base::exit::OcfCode;
use base::{NodeId, Time};
use controller::*;

fn up(n: u32) -> Lab {
    let mut lab = Lab::new(n, GROUP, plan);
    lab.run_ms(500);
    lab
}

#[test]
fn a_cluster_starts_its_group_once() {
    let lab = up(2);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![1], vec![1]));
    assert_eq!(lab.doubles, vec![]);
    let ops = lab.operations(Time::ZERO);
    let count = |key: &str| ops.iter().filter(|o| o.ends_with(key)).count();
    assert_eq!((count("vip_monitor_0"), count("vip_start_0"), count("lvs_start_0")), (2, 1, 1), "{ops:#?}");
    assert!(ops.iter().position(|o| o == "1 vip_start_0") < ops.iter().position(|o| o == "1 lvs_start_0"));
    assert_eq!(lab.node(1).owners.resources.iter().collect::<Vec<_>>(), ["lvs", "vip"]);
    assert!(lab.node(1).owners.current && lab.node(2).owners.resources.is_empty());
    lab.assert_same_cib();
    let root = lab.node(2).controller.cib().root();
    assert_eq!((root.attr("have-quorum"), root.attr("dc-uuid")), (Some("1"), Some("1")));
    let text = root.to_pretty();
    for wanted in
        ["<node id=\"1\" uname=\"node1\"/>", "operation_key=\"vip_start_0\"", "join=\"member\"", "interval=\"10000\""]
    {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
}

#[test]
fn who_replaced_the_configuration_stays_named_when_the_cluster_puts_its_own_back() {
    let mut lab = up(2);
    let bare = "<configuration><crm_config/><nodes/><resources/><constraints/></configuration>";
    let target = cib::Target::Section("configuration".to_owned());
    let mut request = cib::Request::new(cib::Op::Replace, target, xml::parse(bare).ok());
    (request.client, request.user) = ("cibadmin".to_owned(), "root".to_owned());
    lab.run_ms(5000);
    let before = lab.node(1).controller.cib().root().attr("cib-last-written").map(str::to_owned);
    lab.ask(2, Request::Cib(request));
    lab.run_ms(100);
    let root = lab.node(1).controller.cib().root();
    assert!(root.find_id("cib-bootstrap-options-cluster-infrastructure").is_some() && root.find_id("2").is_some());
    let signed = ["update-origin", "update-client", "update-user"].map(|name| root.attr(name));
    assert_eq!(signed, [Some("node2"), Some("cibadmin"), Some("root")]);
    assert_ne!(root.attr("cib-last-written").map(str::to_owned), before, "when as well");
    lab.assert_same_cib();
}

#[test]
fn a_lost_node_is_replaced_within_milliseconds() {
    let mut lab = up(3);
    let killed = lab.now;
    lab.kill(1);
    lab.run_ms(100);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
    let started = lab.log.iter().find(|(at, n, key)| *at >= killed && n.0 == 2 && key == "vip_start_0").unwrap().0;
    assert!(started.since(killed).as_millis() < 20, "{} ms", started.since(killed).as_millis());
    lab.assert_same_cib();
    let kinds: Vec<&str> = lab.node(2).timeline.iter().filter(|e| e.at >= killed).map(|e| e.kind.as_str()).collect();
    let wanted =
        ["view", "synced", "dc", "node_lost", "schedule", "transition", "action_start", "action_end", "transition_end"];
    let mut seen = kinds.iter();
    for kind in wanted {
        assert!(seen.any(|k| *k == kind), "{kind} is missing, or comes too early, in {kinds:?}");
    }
}

#[test]
fn without_quorum_everything_stops() {
    let mut lab = up(3);
    lab.partition(&[&[1], &[2, 3]]);
    lab.run_ms(300);
    assert_eq!(lab.where_is("vip"), vec![2]);
    assert!(lab.node(1).running.is_empty());
    assert_eq!(lab.node(1).controller.cib().root().attr("have-quorum"), Some("0"));
}

#[test]
fn a_failed_monitor_restarts_until_the_threshold_then_moves() {
    let mut lab = up(2);
    for round in 1..=3 {
        lab.nodes.get_mut(&NodeId(1)).unwrap().running.remove("lvs");
        let since = lab.now;
        lab.run_ms(11_000);
        let ops = lab.operations(since);
        let text = lab.node(1).controller.cib().root().to_pretty();
        assert!(text.contains(&format!("name=\"fail-count-lvs#monitor_10000\" value=\"{round}\"")), "{text}");
        if round < 3 {
            assert!(ops.contains(&"1 lvs_start_0".to_owned()), "{ops:?}");
            assert!(!ops.contains(&"1 vip_stop_0".to_owned()), "the address stays: {ops:?}");
            assert_eq!(lab.where_is("lvs"), vec![1]);
        }
    }
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
    assert_eq!(lab.doubles, vec![]);
    let id = lab
        .ask(2, Request::Cleanup { resource: Some(Word::cleaned("lvs")), node: None, operation: None, refresh: false });
    lab.run_ms(200);
    assert!(matches!(lab.node(2).replies[&id], Response::Done { safety: Safety::Safe, .. }));
    let text = lab.node(1).controller.cib().root().to_pretty();
    assert!(!text.contains("fail-count-lvs") && !text.contains("lvs_last_failure_0"), "{text}");
    lab.assert_same_cib();
}

#[test]
fn standby_moves_and_a_preference_moves_back() {
    let mut lab = up(2);
    let id = lab.standby(1, "on");
    lab.run_ms(200);
    assert!(matches!(lab.node(1).replies[&id], Response::Done { safety: Safety::Safe, .. }));
    assert_eq!(lab.where_is("vip"), vec![2]);
    lab.standby(2, "off");
    lab.standby(1, "off");
    lab.run_ms(200);
    assert_eq!(lab.where_is("vip"), vec![2], "it stays where it is");
    let since = lab.now;
    lab.modify(2, "constraints", "<constraints><rsc_location id=\"cli-prefer-director\" rsc=\"director\" node=\"node1\" score=\"INFINITY\"/></constraints>");
    lab.run_ms(200);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![1], vec![1]));
    assert_eq!(lab.doubles, vec![]);
    let ops = lab.operations(since);
    let order = ["2 lvs_stop_0", "2 vip_stop_0", "1 vip_start_0", "1 lvs_start_0"];
    let places: Vec<_> = order.iter().map(|o| ops.iter().position(|x| x == o).unwrap()).collect();
    assert!(places.is_sorted(), "{ops:?}");
}

#[test]
fn a_new_dc_awaits_what_the_old_one_began() {
    let mut lab = up(3);
    lab.standby(1, "on");
    lab.delays.insert("vip_start_0".into(), 400);
    lab.run_ms(60);
    let started = |lab: &Lab| lab.log.iter().filter(|(_, n, k)| n.0 == 2 && k == "vip_start_0").count();
    assert_eq!(started(&lab), 1, "the start on node 2 is under way");
    lab.kill(1);
    lab.run_ms(200);
    assert_eq!(lab.node(2).controller.status().dc, Some(NodeId(2)));
    assert_eq!((started(&lab), lab.where_is("vip")), (1, vec![]), "still under way, and not begun again");
    lab.run_ms(1000);
    assert_eq!((started(&lab), lab.where_is("vip"), lab.where_is("lvs")), (1, vec![2], vec![2]));
    assert_eq!(lab.doubles, vec![]);
    lab.assert_same_cib();
}

#[test]
fn an_agent_that_never_answers_is_a_timeout() {
    let mut lab = up(2);
    lab.delays.insert("lvs_start_0".into(), 10_000_000);
    lab.standby(1, "on");
    lab.run_ms(500);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![]));
    lab.run_ms(85_000);
    let text = lab.node(1).controller.cib().root().to_pretty();
    assert!(text.contains("transition-magic=\"2:1;"), "{text}");
    assert!(text.contains("name=\"fail-count-lvs#start_0\" value=\"INFINITY\""), "{text}");
}

#[test]
fn concurrent_writes_of_a_partition_merge_into_the_quorate_side() {
    for requeue in [false, true] {
        let mut lab = up(3);
        lab.requeue = requeue;
        lab.partition(&[&[1], &[2, 3]]);
        lab.run_ms(200);
        // `fast` allows that much: node 1 was still stopping when node 2 started.
        lab.doubles.clear();
        let lonely = lab.property(1, "on-one", "a");
        let quorate = lab.property(3, "on-two", "b");
        for n in 0..5 {
            lab.property(1, &format!("more-{n}"), "x");
        }
        lab.run_ms(200);
        assert!(matches!(lab.node(1).replies[&lonely], Response::Done { safety: Safety::Provisional, .. }));
        assert!(matches!(lab.node(3).replies[&quorate], Response::Done { safety: Safety::Safe, .. }));
        assert_eq!(lab.where_is("vip"), vec![2]);
        let pending = lab.property(1, "in-flight", "c");
        lab.partition(&[&[1, 2, 3]]);
        lab.run_ms(300);
        lab.assert_same_cib();
        let text = lab.node(1).controller.cib().root().to_pretty();
        assert!(text.contains("on-two") && !text.contains("on-one"), "{text}");
        // What had not been applied before the merge may still be, but its client is told the truth.
        let told = &lab.node(1).replies[&pending];
        match told {
            Response::Done { safety: Safety::Safe, .. } => assert!(text.contains("in-flight")),
            Response::Failed { .. } => assert!(!text.contains("in-flight")),
            other => panic!("{other:?}"),
        }
        assert_eq!(lab.node(1).discarded.len(), 1);
        assert_eq!((lab.node(2).discarded.len(), lab.node(3).discarded.len()), (0, 0));
        assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
        assert_eq!(lab.doubles, vec![], "node 1 had stopped for want of quorum");
    }
}

#[test]
fn two_nodes_that_both_ran_the_group_keep_one() {
    let mut lab = up(2);
    // Each side counts as quorate, as with two_node and no fencing.
    lab.votes = 1;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(300);
    assert_eq!(lab.where_is("vip"), vec![1, 2]);
    lab.property(2, "newer", "yes");
    lab.run_ms(100);
    let since = lab.now;
    lab.partition(&[&[1, 2]]);
    lab.run_ms(500);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
    let ops = lab.operations(since);
    assert!(
        ops.contains(&"1 vip_stop_0".to_owned()) && !ops.iter().any(|o| o.starts_with("2 ") && o.contains("stop")),
        "{ops:?}"
    );
    assert!(lab.node(1).owners.resources.is_empty());
    lab.assert_same_cib();
    let text = lab.node(1).controller.cib().root().to_pretty();
    assert!(!text.contains("join=\"pending\""), "{text}");
}

#[test]
fn writes_during_view_changes_happen_once_and_are_answered() {
    for requeue in [false, true] {
        let mut lab = up(3);
        lab.requeue = requeue;
        let mut asked = Vec::new();
        for round in 0..20u32 {
            let node = 2 + round % 2;
            lab.ask(
                node,
                Request::Attribute {
                    node: Some(Word::cleaned("node2")),
                    name: Word::cleaned("counter"),
                    value: Some(base::Value::cleaned("value++")),
                },
            );
            asked.push((node, lab.property(node, &format!("p{round}"), "v")));
            lab.run_ms(u64::from(round % 3));
            if round % 2 == 0 {
                lab.partition(&[&[1], &[2, 3]])
            } else {
                lab.partition(&[&[1, 2, 3]])
            }
            lab.run_ms(u64::from(round % 4));
        }
        lab.partition(&[&[1, 2, 3]]);
        lab.run_ms(500);
        lab.assert_same_cib();
        let text = lab.node(1).controller.cib().root().to_pretty();
        assert!(text.contains("name=\"counter\" value=\"20\""), "{text}");
        for (node, id) in asked {
            let reply = lab.node(node).replies.get(&id);
            assert!(
                matches!(reply, Some(Response::Done { safety: Safety::Safe | Safety::Provisional, .. })),
                "{reply:?}"
            );
        }
        for round in 0..20 {
            assert!(text.contains(&format!("name=\"p{round}\"")), "p{round} is lost");
        }
    }
}

#[test]
fn a_node_restarted_from_disk_follows_and_probes() {
    let mut lab = up(2);
    lab.votes = 2;
    lab.property(1, "kept", "yes");
    lab.run_ms(200);
    let stored = lab.node(2).persisted.clone();
    assert!(stored.as_ref().unwrap().0.to_compact().contains("kept"));
    assert!(stored.as_ref().unwrap().0.child("status").unwrap().elements().next().is_none());
    lab.kill(2);
    lab.run_ms(200);
    lab.property(1, "later", "yes");
    lab.run_ms(200);
    let since = lab.now;
    lab.restart(2, stored, 2);
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(50);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(300);
    lab.assert_same_cib();
    assert!(lab.node(2).controller.cib().root().to_compact().contains("later"));
    assert!(lab.operations(since).contains(&"2 vip_monitor_0".to_owned()));
    assert_eq!(lab.node(2).discarded, Vec::<String>::new(), "what it had is in the other's past");
    assert_eq!(lab.node(2).controller.status().dc, Some(NodeId(1)));
    assert_eq!(lab.doubles, vec![]);
}

#[test]
fn a_node_leaves_as_asked_without_a_failure() {
    let mut lab = up(2);
    lab.ask(1, Request::Shutdown { cancel: false });
    lab.run_ms(500);
    assert!(!lab.nodes.contains_key(&NodeId(1)), "it has left");
    let text = lab.node(2).controller.cib().root().to_pretty();
    assert!(text.contains("expected=\"down\""), "{text}");
    let planned = lab.node(2).timeline.iter().any(|e| e.kind == "node_lost" && e.text == "has left");
    assert!(planned);
}

#[test]
fn a_view_change_does_not_forget_that_a_node_may_leave() {
    let mut lab = up(3);
    lab.ask(1, Request::Shutdown { cancel: false });
    let may_leave = |lab: &Lab| lab.node(2).timeline.iter().any(|e| e.kind == "leave");
    for _ in 0..200 {
        if may_leave(&lab) {
            break;
        }
        lab.run_ms(1);
    }
    assert!(may_leave(&lab) && lab.nodes.contains_key(&NodeId(1)), "told, but still here");
    lab.kill(3);
    lab.run_ms(500);
    let text = lab.node(2).controller.cib().root().to_pretty();
    assert!(text.contains("expected=\"down\""), "{text}");
}

#[test]
fn safe_takeover_waits_for_the_lease() {
    let mut lab = up(3);
    lab.property(1, "bascule-takeover", "safe");
    lab.run_ms(100);
    let hold_ms = base::lease::Bounds::STANDARD.hold().as_millis() as u64;
    lab.kill(1);
    lab.run_ms(hold_ms - 50);
    assert_eq!(lab.where_is("vip"), Vec::<u32>::new());
    lab.run_ms(250);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
    lab.kill(2);
    lab.run_ms(50);
    lab.votes = 1;
    lab.partition(&[&[3]]);
    lab.run_ms(50);
    assert_eq!(lab.where_is("vip"), Vec::<u32>::new());
    lab.input(NodeId(3), Input::DeathConfirmed { node: NodeId(2) });
    lab.run_ms(50);
    assert_eq!(lab.where_is("vip"), vec![3], "nothing to wait for after a confirmed death");
}

#[test]
fn safe_takeover_waits_for_an_address_whose_start_was_under_way() {
    let mut lab = up(3);
    lab.property(1, "bascule-takeover", "safe");
    lab.delays.insert("vip_start_0".into(), 60_000);
    lab.standby(1, "on");
    lab.run_ms(200);
    assert!(lab.log.iter().any(|(_, n, key)| (*n, key.as_str()) == (NodeId(2), "vip_start_0")), "{:?}", lab.log);
    lab.kill(2);
    let lost = lab.now;
    lab.delays.clear();
    let hold = base::lease::Bounds::STANDARD.hold();
    lab.run_ms(hold.as_millis() as u64 + 500);
    let started = lab.log.iter().find(|(at, n, key)| *at >= lost && *n == NodeId(3) && key == "vip_start_0");
    let at = started.map(|(at, ..)| at.since(lost)).expect("the survivor starts it");
    assert!(at >= hold, "the lost node may have the address, and it was started after {at:?}");
}

#[test]
fn who_stood_still_renews_nothing_before_the_exchange_is_over() {
    let mut lab = up(3);
    assert!(lab.node(1).owners.current);
    // Another member that hangs in the exchange costs a node that ran on nothing.
    lab.input(
        NodeId(1),
        Input::View { id: ViewId { seq: 90, rep: 1 }, members: vec![NodeId(1), NodeId(2)], quorate: true },
    );
    lab.run_ms(10);
    assert!(lab.node(1).owners.current);
    lab.input(NodeId(1), Input::Stalled { ms: 1000 });
    assert!(lab.node(1).owners.current, "whether the ring went on without it is the ring's to know");
    lab.input(
        NodeId(1),
        Input::View { id: ViewId { seq: 94, rep: 1 }, members: vec![NodeId(1), NodeId(2)], quorate: true },
    );
    lab.run_ms(10);
    assert!(!lab.node(1).owners.current);
}

#[test]
fn a_hung_dc_is_replaced_without_a_view() {
    let mut lab = up(3);
    lab.input(NodeId(2), Input::PeerReady { node: NodeId(1), ready: false });
    lab.run_ms(100);
    for n in 1..=3 {
        assert_eq!(lab.node(n).controller.status().dc, Some(NodeId(2)));
    }
    let since = lab.now;
    lab.standby(3, "on");
    lab.standby(1, "on");
    lab.run_ms(200);
    assert!(lab.node(2).timeline.iter().any(|e| e.at >= since && e.kind == "schedule"));
    assert_eq!(lab.where_is("vip"), vec![2]);
    lab.assert_same_cib();
}

#[test]
fn a_failed_start_is_fatal_on_that_node() {
    let mut lab = up(2);
    lab.faults.insert((NodeId(2), "lvs_start_0".into()), OcfCode::NOT_CONFIGURED);
    lab.standby(1, "on");
    lab.run_ms(300);
    let text = lab.node(1).controller.cib().root().to_pretty();
    assert!(text.contains("name=\"fail-count-lvs#start_0\" value=\"INFINITY\""), "{text}");
    assert!(text.contains("id=\"lvs_last_failure_0\""));
    lab.standby(1, "off");
    lab.run_ms(300);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![1], vec![1]));
    assert_eq!(lab.doubles, vec![]);
}

#[test]
fn an_old_document_does_not_bring_old_status_back() {
    let mut lab = up(2);
    let old = lab.node(1).controller.cib().root().clone();
    lab.standby(1, "on");
    lab.run_ms(300);
    assert_eq!(lab.where_is("vip"), vec![2]);
    let mut request = cib::Request::new(cib::Op::Replace, cib::Target::Whole, Some(old));
    request.options.force = true;
    let id = lab.ask(2, Request::Cib(request));
    lab.run_ms(300);
    assert!(
        matches!(lab.node(2).replies[&id], Response::Done { safety: Safety::Safe, .. }),
        "{:?}",
        lab.node(2).replies[&id]
    );
    let text = lab.node(1).controller.cib().root().to_pretty();
    assert!(!text.contains("name=\"standby\""), "the configuration is the old one: {text}");
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]), "but everyone knows where things run");
    lab.assert_same_cib();
}

#[test]
fn a_stale_node_whose_address_expired_stops_the_rest_and_joins() {
    let mut lab = up(2);
    lab.votes = 1;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(100);
    assert_eq!(lab.where_is("vip"), vec![1, 2]);
    lab.property(2, "newer", "yes");
    // Node 1 was stopped for a while: its lease has run out, and its monitor says so as it wakes up.
    lab.nodes.get_mut(&NodeId(1)).unwrap().running.remove("vip");
    lab.run_ms(9_650);
    lab.partition(&[&[1, 2]]);
    let since = lab.now;
    lab.run_ms(1000);
    assert_eq!((lab.where_is("vip"), lab.where_is("lvs")), (vec![2], vec![2]));
    let ops = lab.operations(since);
    assert!(!ops.iter().any(|o| o.starts_with("2 ") && (o.contains("stop") || o.contains("start"))), "{ops:?}");
    lab.assert_same_cib();
}

#[test]
fn a_resource_on_an_unknown_node_does_not_spin() {
    fn astray(cib: &xml::Element, wall: base::WallTime) -> Result<scheduler::Schedule, String> {
        let mut schedule = plan(cib, wall)?;
        for action in &mut schedule.graph.actions {
            if let scheduler::graph::ActionKind::Resource(op) = &mut action.kind {
                op.target.node = "remote1".into();
                op.target.uuid = "remote1".into();
            }
        }
        Ok(schedule)
    }
    let mut lab = Lab::new(2, GROUP, astray);
    lab.run_ms(20_000);
    let runs = lab.node(1).timeline.iter().filter(|e| e.kind == "schedule").count();
    assert!((2..=10).contains(&runs), "{runs} runs in 20 s");
}

#[test]
fn clients_beyond_the_limit_are_refused_and_late_ones_told() {
    let mut lab = up(2);
    // Nothing is ordered while the ring is gone, but the node still listens.
    lab.partition(&[]);
    let asked: Vec<u64> = (0..1100).map(|n| lab.property(1, &format!("p{n}"), "v")).collect();
    lab.run_ms(10);
    let refused =
        asked.iter().filter(|id| matches!(lab.node(1).replies.get(id), Some(Response::Failed { .. }))).count();
    assert!((70..=90).contains(&refused), "{refused} of 1100 refused");
    lab.run_ms(61_000);
    let answered = asked.iter().filter(|id| lab.node(1).replies.contains_key(id)).count();
    assert_eq!(answered, 1100);
}

#[test]
fn leases_follow_the_ring_and_outlast_an_exchange() {
    let mut lab = up(2);
    assert!(lab.node(1).owners.current);
    lab.input(NodeId(1), Input::Ring { current: false });
    assert!(!lab.node(1).owners.current);
    lab.input(NodeId(1), Input::Ring { current: true });
    assert!(lab.node(1).owners.current);
    // A member that never tells its state: the exchange does not end.
    let members = vec![NodeId(1), NodeId(2), NodeId(3)];
    lab.input(NodeId(1), Input::View { id: ViewId { seq: 999, rep: 1 }, members, quorate: true });
    lab.run_ms(3000);
    assert_eq!(lab.node(1).controller.status().state, "joining");
    assert!(lab.node(1).owners.current && lab.node(1).owners.resources.contains("vip"));
}
