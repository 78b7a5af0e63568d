//! Whole clusters that fence: the real scheduler, pretended agents that kill, lie, hang and fail.

use crate::harness::fences::{Acts, Agent, device, fenced, level};
use crate::harness::{GROUP, Lab, schedule};
use base::{NodeId, Time, Word};
use controller::fencing::FenceAction;
use controller::fencing::query::{FencingQuery, HUMAN};
use controller::*;
use std::collections::BTreeMap;

/// Nodes 1..=n with the group and these devices, settled.
fn up(n: u32, cib: &str, agents: &[(&str, Agent)]) -> Lab {
    let mut lab = Lab::on(&vec![1; n as usize], cib, schedule, BTreeMap::new());
    lab.agents = agents.iter().map(|(name, a)| ((*name).to_owned(), a.clone())).collect();
    lab.run_ms(3000);
    assert_eq!(lab.where_is("vip").len(), 1, "{}", lab.node(1).controller.cib().root().to_pretty());
    lab
}

fn one(params: &[(&str, &str)], agents: &[(&str, Agent)]) -> Lab {
    up(3, &fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", params)), "", ""), agents)
}

fn request(target: &str, action: FenceAction) -> Request {
    let (target, client) = (Word::cleaned(target), Word::cleaned("test"));
    Request::Fence(FenceRequest { target, action, timeout_ms: 0, delay_ms: 0, tolerance_ms: 0, client })
}

/// Time from `since` to the first start of the address, in ms.
fn moved_after(lab: &Lab, since: Time) -> u64 {
    let start = lab.log.iter().find(|(at, _, key)| *at > since && key == "vip_start_0");
    start.unwrap_or_else(|| panic!("not started: {:?}", lab.log)).0.since(since).as_millis() as u64
}

/// The device, its executor and its end.
fn runs(lab: &Lab) -> Vec<String> {
    lab.fences.iter().map(|f| format!("{} {} {} on {}", f.agent, f.action, f.target, f.on)).collect()
}

/// What each node saw, in order of time.
fn timeline(lab: &Lab, since: Time) -> String {
    let of = |(n, node): (&NodeId, &crate::harness::Node)| {
        let events = node.timeline.iter().filter(move |e| e.at >= since);
        events
            .map(|e| (e.at, format!("{} {} {} {} {}", e.at.as_millis(), n.0, e.kind, e.subject, e.text)))
            .collect::<Vec<_>>()
    };
    let mut all: Vec<(Time, String)> = lab.nodes.iter().flat_map(of).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, text)| text + "\n").collect()
}

fn told(lab: &Lab, node: u32, kind: &str) -> Vec<String> {
    let events = lab.node(node).timeline.iter().filter(|e| e.kind == kind);
    events.map(|e| format!("{}: {}", e.subject, e.text)).collect()
}

#[test]
fn resources_move_only_after_the_verdict_and_a_node_is_fenced_once() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Kills, 700))]);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    let killed = lab.now;
    lab.run_ms(600);
    assert!(lab.where_is("vip").is_empty());
    lab.run_ms(3000);
    let after = moved_after(&lab, killed);
    assert!((700..800).contains(&after), "{after} ms");
    assert_eq!(lab.fences.len(), 1, "{:?}", runs(&lab));
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
    lab.assert_same_cib();
    let others: Vec<u32> = (1..=3).filter(|n| *n != owner).collect();
    for other in others {
        let text = lab.node(other).controller.cib().root().to_pretty();
        assert!(text.contains("in_ccm=\"0\"") && text.contains("expected=\"down\""), "{text}");
        let event = &lab.node(other).controller.status().fencing[0];
        assert_eq!(
            (event.ok, event.device.as_str(), event.target.clone()),
            (Some(true), "ipmi", format!("node{owner}"))
        );
    }
}

#[test]
fn a_failed_stop_fences_once_and_the_node_comes_back_without_a_loop() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Kills, 300))]);
    let owner = lab.where_is("vip")[0];
    lab.faults.insert((NodeId(owner), "lvs_stop_0".to_owned()), base::exit::OcfCode::ERROR);
    let stored = lab.node(owner).persisted.clone();
    let dc = lab.node(owner).controller.status().dc.unwrap().0;
    lab.standby(if owner == 3 { 2 } else { 3 }, "off");
    lab.standby(owner, "on");
    lab.run_ms(5000);
    assert_eq!(lab.fences.len(), 1, "{:?} (DC was {dc})", runs(&lab));
    assert!(!lab.nodes.contains_key(&NodeId(owner)));
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
    lab.faults.clear();
    lab.restart(owner, stored, 2);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(30_000);
    assert_eq!((lab.fences.len(), lab.obeyed.len()), (1, 0), "{:?}", runs(&lab));
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
    lab.assert_same_cib();
    assert!(lab.node(1).controller.cib().root().to_pretty().matches("join=\"member\"").count() == 3);
}

#[test]
fn an_agent_that_lies_leaves_no_second_holder_while_the_target_hears() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Lies, 100))]);
    let owner = lab.where_is("vip")[0];
    lab.faults.insert((NodeId(owner), "lvs_stop_0".to_owned()), base::exit::OcfCode::ERROR);
    lab.standby(owner, "on");
    lab.run_ms(4000);
    assert_eq!(lab.obeyed.iter().map(|(_, n, _)| n.0).collect::<Vec<_>>(), vec![owner]);
    assert_eq!((lab.fences.len(), lab.where_is("vip").len(), lab.doubles.clone()), (1, 1, vec![]), "{:?}", runs(&lab));
    let obeyed = lab.obeyed[0].0;
    let started = lab.log.iter().find(|(_, n, key)| n.0 != owner && key == "vip_start_0").unwrap().0;
    assert!(started > obeyed);
}

#[test]
fn who_was_fenced_while_apart_ends_at_the_merge_and_comes_back_anew() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Lies, 100))]);
    let owner = lab.where_is("vip")[0];
    let rest: Vec<u32> = (1..=3).filter(|n| *n != owner).collect();
    lab.partition(&[&[owner], &rest]);
    lab.run_ms(3000);
    assert_eq!((lab.fences.len(), lab.where_is("vip").len()), (1, 1), "{}", timeline(&lab, Time::from_millis(3900)));
    assert!(lab.nodes.contains_key(&NodeId(owner)), "it has heard nothing, and has stopped for want of quorum");
    assert_eq!(lab.doubles, vec![], "its stop was over before the agent had answered");
    let stored = lab.node(owner).persisted.clone();
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(1000);
    assert_eq!(lab.obeyed.iter().map(|(_, n, _)| n.0).collect::<Vec<_>>(), vec![owner]);
    lab.restart(owner, stored, 2);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(3000);
    assert_eq!((lab.obeyed.len(), lab.fences.len()), (1, 1), "{:?}", runs(&lab));
    assert_eq!(lab.node(owner).controller.status().members.len(), 3);
    lab.assert_same_cib();
}

#[test]
fn a_device_that_hangs_costs_its_own_time_only() {
    let devices = device("slow", "fence_h", &[("pcmk_reboot_timeout", "4s")]) + &device("good", "fence_a", &[]);
    let resources = devices.replace("type=\"fence_h\">", "type=\"fence_h\"><meta_attributes id=\"m\"><nvpair id=\"mp\" name=\"priority\" value=\"9\"/></meta_attributes>");
    let agents = [("fence_h", Agent::new(Acts::Hangs, 0)), ("fence_a", Agent::new(Acts::Kills, 500))];
    let mut lab = up(3, &fenced(&[], &format!("{GROUP}{resources}"), "", ""), &agents);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    let killed = lab.now;
    lab.run_ms(20_000);
    let after = moved_after(&lab, killed);
    assert!((4500..4700).contains(&after), "{after} ms: {:?}", runs(&lab));
    assert_eq!(lab.fences.iter().map(|f| f.agent.as_str()).collect::<Vec<_>>(), ["fence_h", "fence_a"]);
}

#[test]
fn what_fails_is_repeated_within_its_time_and_then_tried_from_another_node() {
    let mut agent = Agent::new(Acts::Kills, 100);
    agent.fails = 1;
    let mut lab = one(&[], &[("fence_a", agent.clone())]);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    lab.run_ms(3000);
    let first: Vec<u32> = lab.fences.iter().map(|f| f.on).collect();
    assert!(first.len() == 2 && first[0] == first[1], "repeated where it failed: {:?}", runs(&lab));
    agent.fails = 2;
    let mut lab = one(&[], &[("fence_a", agent.clone())]);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    lab.run_ms(5000);
    let nodes: Vec<u32> = lab.fences.iter().map(|f| f.on).collect();
    assert!(nodes.len() == 3 && nodes[0] != nodes[2], "the other node has its try: {:?}", runs(&lab));
    assert_eq!(lab.where_is("vip").len(), 1);
    // Where the agent is not installed nothing is wasted on it.
    (agent.fails, agent.missing_on) = (0, vec![1, 2]);
    let mut lab = one(&[], &[("fence_a", agent)]);
    lab.kill(lab.where_is("vip")[0]);
    lab.run_ms(3000);
    assert_eq!(lab.fences.iter().map(|f| f.on).collect::<Vec<_>>(), [3], "{:?}", runs(&lab));
}

#[test]
fn attempts_grow_rarer_and_end_and_a_change_begins_them_anew() {
    let cib = fenced(
        &[("fencing-max-attempts", "3"), ("cluster-recheck-interval", "1h")],
        &format!("{GROUP}{}", device("ipmi", "fence_a", &[("pcmk_reboot_retries", "1")])),
        "",
        "",
    );
    let mut lab = up(3, &cib, &[("fence_a", Agent::new(Acts::Fails, 100))]);
    let owner = lab.where_is("vip")[0];
    let rest: Vec<u32> = (1..=3).filter(|n| *n != owner).collect();
    lab.kill(owner);
    lab.run_ms(600_000);
    assert_eq!(lab.fences.len(), 3 * 2, "three attempts by two nodes: {:?}", runs(&lab));
    let dc = lab.node(rest[0]).controller.status().dc.unwrap().0;
    let said = told(&lab, dc, "fence_retry");
    assert!(said.len() == 3 && said[2].contains("fencing-max-attempts") && said[2].contains("--confirm"), "{said:?}");
    // What changes nothing of it begins nothing.
    lab.ask(
        rest[0],
        Request::Attribute { node: None, name: Word::cleaned("x"), value: Some(base::Value::cleaned("1")) },
    );
    lab.run_ms(10_000);
    assert_eq!(lab.fences.len(), 6);
    lab.agents.insert("fence_a".to_owned(), Agent::new(Acts::Kills, 100));
    lab.property(rest[0], "some-property", "x");
    lab.run_ms(3000);
    assert_eq!((lab.fences.len(), lab.where_is("vip").len()), (7, 1), "{:?}", runs(&lab));
}

#[test]
fn the_dc_dies_in_mid_fencing_and_so_does_an_executor() {
    for (ms, die_after) in [(2000, 500), (2000, 1990)] {
        let here = "<rsc_location id=\"here\" rsc=\"ipmi\" node=\"node1\" score=\"INFINITY\"/>";
        let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", &[])), "", here);
        let mut lab = up(4, &cib, &[("fence_a", Agent::new(Acts::Kills, ms))]);
        let dc = lab.node(1).controller.status().dc.unwrap().0;
        let victim = if dc == 4 { 3 } else { 4 };
        lab.votes = 3;
        lab.kill(victim);
        lab.run_ms(die_after);
        assert_eq!(lab.fences.len(), 1);
        // The device runs there.
        assert_eq!(lab.fences[0].on, dc);
        lab.kill(dc);
        lab.run_ms(20_000);
        let of_victim: Vec<_> = lab.fences.iter().filter(|f| f.target == victim).collect();
        assert_eq!(of_victim.len(), 2, "repeated by another: {:?}", runs(&lab));
        assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
        let started = lab.log.iter().rfind(|(_, _, key)| key == "vip_start_0").unwrap().0;
        assert!(lab.fences.iter().all(|f| f.ended.is_none_or(|at| at <= started)), "{:?}", lab.fences);
        lab.assert_same_cib();
    }
}

#[test]
fn an_executor_that_outlives_the_dc_is_waited_for() {
    // The DC cannot run it: its agent is elsewhere.
    let mut agent = Agent::new(Acts::Kills, 2000);
    let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", &[])), "", "");
    agent.missing_on = vec![1];
    let mut lab = up(4, &cib, &[("fence_a", agent)]);
    assert_eq!(lab.node(1).controller.status().dc, Some(NodeId(1)));
    lab.votes = 3;
    lab.kill(4);
    lab.run_ms(500);
    assert_eq!(lab.fences.iter().map(|f| f.on).collect::<Vec<_>>(), [2]);
    lab.kill(1);
    lab.run_ms(8000);
    let of_victim: Vec<_> = lab.fences.iter().filter(|f| f.target == 4).collect();
    assert_eq!(of_victim.len(), 1, "not repeated: {:?}", runs(&lab));
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
}

#[test]
fn a_request_of_any_node_is_answered_by_the_verdict_and_later_ones_join_it() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Kills, 500))]);
    let victim = lab.where_is("vip")[0];
    let others: Vec<u32> = (1..=3).filter(|n| *n != victim).collect();
    let off = lab.ask(others[0], request(&format!("node{victim}"), FenceAction::Off));
    lab.run_ms(100);
    let reboot = lab.ask(others[1], request(&victim.to_string(), FenceAction::Reboot));
    lab.run_ms(200);
    assert!(!lab.node(others[0]).replies.contains_key(&off), "there is no verdict yet");
    lab.run_ms(3000);
    for (node, id) in [(others[0], off), (others[1], reboot)] {
        assert!(matches!(lab.node(node).replies[&id], Response::Done { .. }), "{:?}", lab.node(node).replies[&id]);
    }
    assert_eq!(lab.fences.len(), 1, "{:?}", runs(&lab));
    assert_eq!(lab.where_is("vip").len(), 1);
    // Nobody is there by that name, and what cannot be done is said.
    let id = lab.ask(others[0], request("nobody", FenceAction::Off));
    lab.run_ms(10);
    assert!(
        matches!(&lab.node(others[0]).replies[&id], Response::Failed { message, .. } if message.contains("nobody"))
    );
    lab.agents.insert("fence_a".to_owned(), Agent::new(Acts::Fails, 10));
    let id = lab.ask(others[0], request(&format!("node{victim}"), FenceAction::Off));
    lab.run_ms(5000);
    assert!(
        matches!(&lab.node(others[0]).replies[&id], Response::Failed { message, .. } if message.contains("no power switch")),
        "{:?}",
        lab.node(others[0]).replies[&id]
    );
}

#[test]
fn a_recent_success_is_enough_for_who_says_so() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Kills, 100))]);
    let victim = lab.where_is("vip")[0];
    let asker = if victim == 1 { 2 } else { 1 };
    lab.ask(asker, request(&format!("node{victim}"), FenceAction::Off));
    lab.run_ms(2000);
    let mut again = request(&format!("node{victim}"), FenceAction::Off);
    if let Request::Fence(r) = &mut again {
        r.tolerance_ms = 10_000;
    }
    let id = lab.ask(asker, again.clone());
    lab.run_ms(500);
    assert!(matches!(lab.node(asker).replies[&id], Response::Done { .. }));
    assert_eq!(lab.fences.len(), 1);
    lab.run_ms(10_000);
    lab.ask(asker, again);
    lab.run_ms(500);
    assert_eq!(lab.fences.len(), 2, "that was too long ago");
}

#[test]
fn levels_need_all_their_devices_and_a_reboot_of_two_supplies_is_off_then_on() {
    let resources = ["a", "b", "c", "d"]
        .map(|n| device(n, &format!("fence_{n}"), &[("pcmk_reboot_retries", "1"), ("pcmk_off_retries", "1")]));
    let levels: String = (1..=3)
        .flat_map(|n| {
            [
                level(&format!("node{n}"), 1, "a"),
                level(&format!("node{n}"), 2, "b,c"),
                level(&format!("node{n}"), 3, "d"),
            ]
        })
        .collect();
    let cib = fenced(&[], &format!("{GROUP}{}", resources.concat()), &levels, "");
    let agent = |acts| Agent::new(acts, 100);
    let agents = [
        ("fence_a", agent(Acts::Fails)),
        ("fence_b", agent(Acts::Lies)),
        ("fence_c", agent(Acts::Kills)),
        ("fence_d", agent(Acts::Kills)),
    ];
    let mut lab = up(3, &cib, &agents);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    lab.run_ms(5000);
    let seen: Vec<String> = lab.fences.iter().map(|f| format!("{} {}", f.agent, f.action)).collect();
    let wanted = ["fence_a reboot", "fence_a reboot", "fence_b off", "fence_c off", "fence_b on", "fence_c on"];
    assert_eq!(seen, wanted, "both nodes have tried the first level");
    assert_eq!(lab.where_is("vip").len(), 1);
    // One supply that stays on spoils the level.
    let agents = [
        ("fence_a", agent(Acts::Fails)),
        ("fence_b", agent(Acts::Lies)),
        ("fence_c", agent(Acts::Fails)),
        ("fence_d", agent(Acts::Kills)),
    ];
    let mut lab = up(3, &cib, &agents);
    let owner = lab.where_is("vip")[0];
    lab.kill(owner);
    lab.run_ms(5000);
    let last = lab.fences.last().unwrap();
    assert_eq!((last.agent.as_str(), last.action.as_str()), ("fence_d", "reboot"), "{:?}", runs(&lab));
    assert_eq!(lab.where_is("vip").len(), 1);
}

#[test]
fn two_nodes_shoot_each_other_and_the_delay_decides() {
    let devices = device("for1", "fence_a", &[("pcmk_host_list", "node1"), ("pcmk_delay_base", "2s")])
        + &device("for2", "fence_a", &[("pcmk_host_list", "node2")]);
    let cib = fenced(&[("no-quorum-policy", "ignore")], &format!("{GROUP}{devices}"), "", "");
    let mut lab = up(2, &cib, &[("fence_a", Agent::new(Acts::Kills, 500))]);
    lab.votes = 1;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(10_000);
    assert_eq!(lab.nodes.keys().map(|n| n.0).collect::<Vec<_>>(), [1], "{:?}", runs(&lab));
    assert_eq!((lab.where_is("vip"), lab.doubles.len()), (vec![1], 0), "{}", timeline(&lab, Time::from_millis(3900)));
    assert_eq!(lab.fences.len(), 1, "the other died in its delay: {:?}", runs(&lab));
}

#[test]
fn of_two_that_were_told_lies_of_each_other_one_ends_at_the_merge() {
    let devices = device("ipmi", "fence_a", &[]);
    let cib = fenced(&[("no-quorum-policy", "ignore")], &format!("{GROUP}{devices}"), "", "");
    let mut lab = up(2, &cib, &[("fence_a", Agent::new(Acts::Lies, 500))]);
    lab.votes = 1;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(3000);
    assert_eq!(lab.fences.len(), 2);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(500);
    let ended: Vec<u32> = lab.obeyed.iter().map(|(_, n, _)| n.0).collect();
    assert_eq!(
        ended.len(),
        1,
        "if both ended, nobody would hold anything: {}",
        timeline(&lab, Time::from_millis(3900))
    );
    let (ended, stays) = (ended[0], 3 - ended[0]);
    assert_eq!(told(&lab, stays, "fence_contradicted").len(), 1);
    assert!(lab.node(stays).alerts.iter().any(|a| a.contains("an agent lies")), "{:?}", lab.node(stays).alerts);
    let since = lab.doubles.len();
    lab.run_ms(3000);
    assert_eq!((lab.where_is("vip"), lab.doubles.len(), lab.fences.len()), (vec![stays], since, 2), "{:?}", runs(&lab));
    // Neither the one that comes back nor any later view says it again.
    let stored = lab.node(stays).persisted.clone();
    lab.restart(ended, stored, 2);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(3000);
    assert_eq!((lab.obeyed.len(), lab.fences.len(), lab.where_is("vip").len()), (1, 2, 1), "{:?}", runs(&lab));
    assert_eq!(lab.node(ended).controller.status().members.len(), 2);
    lab.assert_same_cib();
}

#[test]
fn an_operators_word_ends_it_and_a_member_is_not_down() {
    let mut lab = one(&[("pcmk_reboot_retries", "1")], &[("fence_a", Agent::new(Acts::Hangs, 0))]);
    let owner = lab.where_is("vip")[0];
    let other = if owner == 1 { 2 } else { 1 };
    let confirm = || Request::ConfirmDown {
        target: Word::cleaned(&format!("node{owner}")),
        client: Word::cleaned("stonith_admin"),
    };
    let id = lab.ask(other, confirm());
    lab.run_ms(100);
    assert!(
        matches!(&lab.node(other).replies[&id], Response::Failed { message, .. } if message.contains("is a member"))
    );
    lab.kill(owner);
    lab.run_ms(5000);
    assert!(lab.where_is("vip").is_empty());
    let id = lab.ask(other, confirm());
    lab.run_ms(500);
    assert!(matches!(lab.node(other).replies[&id], Response::Done { .. }));
    assert_eq!(lab.where_is("vip").len(), 1);
    let event = &lab.node(other).controller.status().fencing[0];
    assert_eq!((event.ok, event.delegate.as_deref()), (Some(true), Some(HUMAN)));
    let clean = Request::ForgetFencing { target: None };
    let id = lab.ask(other, clean);
    lab.run_ms(100);
    assert!(matches!(lab.node(other).replies[&id], Response::Done { .. }));
    assert!(lab.nodes.values().all(|n| n.controller.status().fencing.is_empty()));
}

#[test]
fn a_dynamic_list_decides_and_is_asked_for_once() {
    let mut agent = Agent::new(Acts::Kills, 100);
    agent.actions = "<action name=\"off\"/><action name=\"list\"/>";
    agent.lists = "node1,\nnode2,\nnode3,";
    let mut stranger = agent.clone();
    stranger.lists = "other";
    let devices = device("x", "fence_x", &[]) + &device("ipmi", "fence_a", &[]);
    let cib = fenced(&[], &format!("{GROUP}{devices}"), "", "");
    let mut lab = up(3, &cib, &[("fence_x", stranger), ("fence_a", agent)]);
    let owner = lab.where_is("vip")[0];
    let other = if owner == 1 { 2 } else { 1 };
    let target = Some(format!("node{owner}"));
    let id = lab.ask(other, Request::FencingQuery { query: FencingQuery::Devices { target }, timeout_ms: 0 });
    lab.run_ms(100);
    let Response::Fencing(answer) = &lab.node(other).replies[&id] else { panic!("{:?}", lab.node(other).replies) };
    assert_eq!(answer.devices.iter().map(|d| d.device.id.as_str()).collect::<Vec<_>>(), ["ipmi"]);
    lab.kill(owner);
    lab.run_ms(2000);
    let seen: Vec<String> = lab.fences.iter().map(|f| format!("{} {}", f.agent, f.action)).collect();
    assert_eq!(seen, ["fence_a off"], "it has no reboot of its own, so it switches off");
}

#[test]
fn banned_and_stopped_devices_are_not_used_and_the_target_shoots_itself_last() {
    let ban =
        |node: &str| format!("<rsc_location id=\"ban-{node}\" rsc=\"ipmi\" node=\"{node}\" score=\"-INFINITY\"/>");
    let devices = device("ipmi", "fence_a", &[]);
    let cib = fenced(&[], &format!("{GROUP}{devices}"), "", &(ban("node1") + &ban("node2")));
    let mut lab = up(3, &cib, &[("fence_a", Agent::new(Acts::Kills, 100))]);
    let id = lab.ask(1, request("node2", FenceAction::Off));
    lab.run_ms(2000);
    assert!(matches!(lab.node(1).replies[&id], Response::Done { .. }));
    assert_eq!(lab.fences.iter().map(|f| f.on).collect::<Vec<_>>(), [3]);
    let mut lab = up(3, &cib, &[("fence_a", Agent::new(Acts::Kills, 100))]);
    lab.ask(1, request("node3", FenceAction::Off));
    lab.run_ms(2000);
    assert_eq!(lab.fences.iter().map(|f| f.on).collect::<Vec<_>>(), [3], "nobody else may");
    assert!(!lab.nodes.contains_key(&NodeId(3)));
    let stopped = devices.replace("<instance_attributes", "<meta_attributes id=\"m\"><nvpair id=\"mp\" name=\"target-role\" value=\"Stopped\"/></meta_attributes><instance_attributes");
    let mut lab =
        up(3, &fenced(&[], &format!("{GROUP}{stopped}"), "", ""), &[("fence_a", Agent::new(Acts::Kills, 100))]);
    let id = lab.ask(1, request("node3", FenceAction::Off));
    lab.run_ms(1000);
    assert!(
        matches!(&lab.node(1).replies[&id], Response::Failed { message, .. } if message.contains("no device can fence node3"))
    );
}

#[test]
fn an_action_limit_makes_the_second_wait_and_targets_are_fenced_at_the_same_time() {
    for (limit, together) in [("1", false), ("-1", true)] {
        let devices = device("ipmi", "fence_a", &[("pcmk_action_limit", limit)]);
        let cib = fenced(&[], &format!("{GROUP}{devices}"), "", "");
        let mut lab = up(5, &cib, &[("fence_a", Agent::new(Acts::Kills, 1000))]);
        let owner = lab.where_is("vip")[0];
        let two: Vec<u32> = (2..=5).filter(|n| *n != owner).take(2).collect();
        for n in &two {
            lab.ask(1, request(&n.to_string(), FenceAction::Off));
        }
        lab.run_ms(900);
        assert_eq!(lab.fences.len(), if together { 2 } else { 1 }, "limit {limit}: {:?}", runs(&lab));
        lab.run_ms(6000);
        assert_eq!(lab.fences.len(), 2, "{:?}", runs(&lab));
        assert!(two.iter().all(|n| !lab.nodes.contains_key(&NodeId(*n))));
    }
}

#[test]
fn history_outlives_the_asker_and_the_dc_and_comes_with_a_merge() {
    let mut lab = one(&[], &[("fence_a", Agent::new(Acts::Kills, 100))]);
    lab.votes = 1;
    let stored = lab.node(2).persisted.clone();
    lab.ask(1, request("node2", FenceAction::Off));
    lab.run_ms(2000);
    lab.kill(1);
    lab.run_ms(3000);
    assert!(lab.node(3).controller.status().fencing.iter().any(|e| e.target == "node2" && e.origin == "node1"));
    lab.restart(2, stored, 2);
    lab.partition(&[&[2], &[3]]);
    lab.run_ms(200);
    lab.partition(&[&[2, 3]]);
    lab.run_ms(1000);
    assert!(lab.nodes.contains_key(&NodeId(2)), "another life of it");
    assert!(lab.node(2).controller.status().fencing.iter().any(|e| e.target == "node2" && e.ok == Some(true)));
}

#[test]
fn without_a_device_the_watchdog_of_a_node_without_quorum_is_counted_on() {
    let cib = fenced(&[("fencing-watchdog-timeout", "-1")], GROUP, "", "");
    let watched = || {
        let mut lab = Lab::watched(&[1, 1, 1], &cib, schedule, BTreeMap::new(), 5000);
        lab.run_ms(3000);
        assert!(lab.node(1).controller.cib().root().to_pretty().contains("name=\"have-watchdog\" value=\"true\""));
        lab
    };
    let mut lab = watched();
    let owner = lab.where_is("vip")[0];
    let rest: Vec<u32> = (1..=3).filter(|n| *n != owner).collect();
    lab.partition(&[&[owner], &rest]);
    let cut = lab.now;
    lab.run_ms(1000);
    assert!(!lab.node(owner).controller.may_feed(), "its watchdog starves");
    assert!(rest.iter().all(|n| lab.node(*n).controller.may_feed()));
    lab.run_ms(20_000);
    let after = moved_after(&lab, cut);
    assert!((10_000..10_200).contains(&after), "twice the watchdog's own time: {after} ms");
    // A shorter time than a frozen node may live on is not believed.
    let hasty = fenced(&[("stonith-watchdog-timeout", "3s")], GROUP, "", "");
    let mut lab = Lab::watched(&[1, 1, 1], &hasty, schedule, BTreeMap::new(), 5000);
    lab.run_ms(3000);
    let owner = lab.where_is("vip")[0];
    let rest: Vec<u32> = (1..=3).filter(|n| *n != owner).collect();
    lab.partition(&[&[owner], &rest]);
    let cut = lab.now;
    lab.run_ms(20_000);
    let after = moved_after(&lab, cut);
    assert!((10_000..10_200).contains(&after), "twice the watchdog's own time: {after} ms");
    // A member is told to reset itself, whatever its quorum.
    let mut lab = watched();
    let owner = lab.where_is("vip")[0];
    let other = if owner == 1 { 2 } else { 1 };
    let id = lab.ask(other, request(&format!("node{owner}"), FenceAction::Reboot));
    lab.run_ms(15_000);
    assert!(matches!(lab.node(other).replies[&id], Response::Done { .. }), "{:?}", lab.node(other).replies);
    assert_eq!(lab.obeyed.iter().map(|(_, n, _)| n.0).collect::<Vec<_>>(), [owner]);
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
    // Of two halves each may have quorum: nobody can count on the other's watchdog.
    let mut lab = Lab::watched(&[1, 1], &cib, schedule, BTreeMap::new(), 5000);
    lab.run_ms(3000);
    lab.votes = 1;
    let two_node = lab.nodes.len();
    assert_eq!(two_node, 2);
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(1000);
    assert!(lab.nodes.values().all(|n| n.controller.may_feed()), "both have quorum");
}

#[test]
fn unfencing_is_noted_and_runs_on_the_target_where_the_agent_wants_it() {
    let mut agent = Agent::new(Acts::Lies, 50);
    agent.actions = "<action name=\"on\" on_target=\"1\" automatic=\"1\"/><action name=\"off\"/>";
    let mut lab = one(&[], &[("fence_a", agent)]);
    let id = lab.ask(1, request("node3", FenceAction::On));
    lab.run_ms(1000);
    assert!(matches!(lab.node(1).replies[&id], Response::Done { .. }), "{:?}", lab.node(1).replies);
    assert_eq!(lab.fences.iter().map(|f| (f.action.as_str(), f.on)).collect::<Vec<_>>(), [("on", 3)]);
    assert!(lab.node(2).controller.cib().root().to_pretty().contains("name=\"#node-unfenced\""));
    assert_eq!(lab.obeyed.len(), 0);
}
