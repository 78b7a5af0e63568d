//! What a merge finds and puts right: a fencing whose target is back, what a node holds that still cleans up, clones on both sides; and
//! members of an older program.
//! Real scheduler.

use crate::harness::fences::{Acts, Agent, device, fenced};
use crate::harness::{GROUP, Lab, schedule};
use base::{FenceAction, NodeId, Time, Word};
use controller::{FenceRequest, Request};
use std::collections::BTreeMap;

fn primitive(id: &str, agent: &str) -> String {
    format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"heartbeat\" type=\"{agent}\">\
         <meta_attributes id=\"{id}-m\"><nvpair id=\"{id}-s\" name=\"resource-stickiness\" value=\"100\"/></meta_attributes>\
         <operations><op id=\"{id}-o\" name=\"monitor\" interval=\"10s\"/></operations></primitive>"
    )
}

fn with_a_device_that_lies() -> Lab {
    let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", &[])), "", "");
    let mut lab = Lab::on(&[1, 1, 1], &cib, schedule, BTreeMap::new());
    lab.agents.insert("fence_a".to_owned(), Agent::new(Acts::Lies, 100));
    lab.run_ms(3000);
    lab
}

fn reboot(target: &str) -> Request {
    let (target, client, action) = (Word::cleaned(target), Word::cleaned("test"), FenceAction::Reboot);
    Request::Fence(FenceRequest { target, action, timeout_ms: 0, delay_ms: 0, tolerance_ms: 0, client })
}

/// Node 3 is away for this long, and its fencing begins by such an agent; who was to be fenced later than `grace_ms` after its return.
fn fenced_after_its_return(params: &[(&str, &str)], agent: Agent, away_ms: u64, grace_ms: u64) -> Vec<u32> {
    let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", params)), "", "");
    let mut lab = Lab::on(&[1, 1, 1], &cib, schedule, BTreeMap::new());
    lab.agents.insert("fence_a".to_owned(), agent);
    lab.run_ms(3000);
    lab.partition(&[&[1, 2], &[3]]);
    lab.run_ms(away_ms);
    assert!(lab.node(1).timeline.iter().any(|e| e.kind == "fence"), "it was wanted");
    lab.partition(&[&[1, 2, 3]]);
    let since = Time::from_millis(lab.now.as_millis() + grace_ms);
    lab.run_ms(30_000);
    assert!(lab.nodes.contains_key(&NodeId(3)) && lab.obeyed.is_empty());
    assert!(lab.node(1).controller.status().fencing.iter().all(|e| e.ok.is_some()), "nothing is left under way");
    lab.fences.iter().filter(|f| f.at > since).map(|f| f.target).collect()
}

#[test]
fn who_is_back_is_not_fenced_any_more() {
    // One that fails is not tried again; one that waits for its delay does not begin.
    let fails = Agent::new(Acts::Fails, 400);
    assert_eq!(fenced_after_its_return(&[("pcmk_reboot_retries", "4")], fails, 300, 0), Vec::<u32>::new());
    let kills = Agent::new(Acts::Kills, 100);
    assert_eq!(fenced_after_its_return(&[("pcmk_delay_base", "2s")], kills, 300, 0), Vec::<u32>::new());
}

#[test]
fn what_one_holds_who_still_cleans_up_is_started_nowhere_else() {
    // Two nodes that both have quorum alone; node 2 runs everything.
    let mut lab = Lab::new(2, &(primitive("a", "Dummy") + &primitive("b", "IPaddr2")), schedule);
    (lab.exact, lab.votes) = (true, 1);
    lab.property(1, "bascule-takeover", "safe");
    lab.standby(1, "on");
    lab.run_ms(1000);
    assert_eq!((lab.where_is("a"), lab.where_is("b")), (vec![2], vec![2]));
    lab.standby(1, "off");
    lab.run_ms(500);
    // Apart, node 1 starts `a` at once and `b` when its lease is over; node 2 needs long to stop `a` after the merge.
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(1000);
    assert_eq!((lab.where_is("a"), lab.where_is("b")), (vec![1, 2], vec![2]));
    lab.doubles.clear();
    lab.delays.insert("a_stop_0".into(), 8_000);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(20_000);
    assert_eq!(lab.doubles, vec![], "{:?}", lab.operations(Time::ZERO));
    assert_eq!(lab.where_is("b").len(), 1);
    assert_eq!(lab.where_is("a").len(), 1);
}

#[test]
fn instances_of_a_clone_live_through_a_merge() {
    let clone = format!("<clone id=\"c\">{}</clone>", primitive("x", "Dummy"));
    let mut lab = Lab::new(2, &clone, schedule);
    (lab.exact, lab.votes) = (true, 1);
    lab.run_ms(1000);
    assert_eq!(lab.where_is("x"), vec![1, 2]);
    let since = lab.now;
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(1000);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(5000);
    let stops: Vec<String> = lab.operations(since).into_iter().filter(|o| o.contains("stop")).collect();
    assert_eq!(stops, Vec::<String>::new());
    assert_eq!(lab.where_is("x"), vec![1, 2]);
}

/// All that the others know of it is that it is configured.
#[test]
fn who_was_fenced_before_anybody_met_it_ends_at_the_first_meeting() {
    let mut lab = with_a_device_that_lies();
    let stored: Vec<_> = (1..=3).map(|n| lab.node(n).persisted.clone()).collect();
    lab.kill(1);
    lab.kill(2);
    lab.run_ms(2000);
    for n in [1, 2] {
        lab.restart(n, stored[n as usize - 1].clone(), 2);
    }
    lab.partition(&[&[3], &[1, 2]]);
    lab.run_ms(3000);
    lab.ask(1, reboot("node3"));
    lab.run_ms(2000);
    assert!(lab.fences.iter().any(|f| f.target == 3), "{:?}", lab.fences);
    assert!(lab.nodes.contains_key(&NodeId(3)) && lab.obeyed.is_empty(), "it has heard nothing");
    let fenced = lab.fences.len();
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(1000);
    assert_eq!(lab.obeyed.iter().map(|(_, n, _)| n.0).collect::<Vec<_>>(), [3], "{:?}", lab.node(1).timeline);
    // Its next life is another one, and stays.
    lab.restart(3, stored[2].clone(), 3);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(5000);
    assert_eq!((lab.obeyed.len(), lab.fences.len()), (1, fenced), "{:?}", lab.fences);
    assert_eq!(lab.node(3).controller.status().members.len(), 3);
    lab.assert_same_cib();
}

#[test]
fn who_comes_up_after_a_fencing_of_whoever_was_there_stays() {
    let mut lab = with_a_device_that_lies();
    let stored: Vec<_> = (1..=3).map(|n| lab.node(n).persisted.clone()).collect();
    (1..=3).for_each(|n| lab.kill(n));
    lab.run_ms(2000);
    for n in [1, 2] {
        lab.restart(n, stored[n as usize - 1].clone(), 2);
    }
    lab.partition(&[&[1, 2]]);
    lab.run_ms(3000);
    lab.ask(1, reboot("node3"));
    lab.run_ms(2000);
    assert!(lab.fences.iter().any(|f| f.target == 3), "{:?}", lab.fences);
    lab.restart(3, stored[2].clone(), 2);
    lab.partition(&[&[1, 2], &[3]]);
    // It has lived for a while when they meet, and was not there when it happened.
    lab.run_ms(4000);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(5000);
    assert_eq!(lab.obeyed.len(), 0, "{:?}", lab.node(1).timeline);
    assert_eq!(lab.node(3).controller.status().members.len(), 3);
    lab.assert_same_cib();
}

#[test]
fn members_of_an_older_program_still_see_their_dc_fence() {
    let cib = fenced(&[], &format!("{GROUP}{}", device("ipmi", "fence_a", &[])), "", "");
    let mut lab = Lab::on(&[1, 1, 1], &cib, schedule, BTreeMap::from([(NodeId(2), 2)]));
    lab.agents = BTreeMap::from([("fence_a".to_owned(), Agent::new(Acts::Kills, 300))]);
    lab.run_ms(3000);
    let dc = lab.node(3).controller.status().dc.unwrap().0;
    let owner = lab.where_is("vip")[0];
    let victim = if owner == dc { if dc == 3 { 1 } else { 3 } } else { owner };
    lab.kill(victim);
    lab.run_ms(3000);
    assert_eq!(lab.fences.iter().map(|f| (f.on, f.target)).collect::<Vec<_>>(), [(dc, victim)]);
    assert_eq!((lab.where_is("vip").len(), lab.doubles.len()), (1, 0));
    lab.assert_same_cib();
}
