//! Members that cannot follow leave and come back by snapshot; members of different levels understand each other.
use crate::harness::{Lab, schedule};
use base::NodeId;
use controller::Request;
use std::collections::BTreeMap;

fn attribute(lab: &mut Lab, node: u32, name: &str, value: &str) -> u64 {
    lab.ask(
        node,
        Request::Attribute { node: None, name: base::Word::cleaned(name), value: Some(base::Value::cleaned(value)) },
    )
}

fn value_at(lab: &Lab, node: u32, name: &str) -> Option<String> {
    let root = lab.node(node).controller.cib().root();
    let pairs = root.descendants().find(|e| e.name() == "nvpair" && e.attr("name") == Some(name))?;
    pairs.attr("value").map(str::to_owned)
}

/// Another value for one attribute, as a fault in memory would make it.
fn other_value(payload: &mut [u8]) {
    let text = String::from_utf8_lossy(payload).into_owned();
    if let Some(at) = text.find("true-one") {
        payload[at..at + 8].copy_from_slice(b"fals-two");
    }
}

/// A kind of message from a later program.
fn unknown_kind(payload: &mut [u8]) {
    let text = String::from_utf8_lossy(payload).into_owned();
    if let Some(at) = text.find("\"Attribute\"").filter(|_| text.contains("true-one")) {
        payload[at + 1..at + 10].copy_from_slice(b"Attribuxx");
    }
}

#[test]
fn who_cannot_read_a_message_leaves_and_comes_back_by_snapshot() {
    let mut lab = Lab::new(3, "", schedule);
    lab.run_ms(3000);
    lab.tamper = Some((NodeId(2), unknown_kind));
    attribute(&mut lab, 1, "colour", "true-one");
    lab.run_ms(100);
    assert_eq!(lab.node(2).stopped.len(), 1, "{:?}", lab.node(2).alerts);
    assert!(lab.node(2).stopped[0].contains("a message of node 1 cannot be read"), "{:?}", lab.node(2).stopped);
    assert!(lab.node(1).controller.status().members == [NodeId(1), NodeId(3)]);
    assert_eq!(lab.node(2).controller.status().state, "out of the ring");
    assert_eq!(value_at(&lab, 2, "colour"), None);
    lab.tamper = None;
    lab.run_ms(3000);
    assert_eq!(value_at(&lab, 2, "colour").as_deref(), Some("true-one"));
    lab.assert_same_cib();
    assert!((1..=3).all(|n| lab.node(n).controller.is_synced()));
    assert_eq!(lab.node(1).controller.status().members.len(), 3);
}

#[test]
fn content_that_differs_is_found_named_and_replaced() {
    for (nodes, victim, stays) in [(3, 1, 2), (3, 3, 1), (2, 2, 1), (5, 4, 1)] {
        let mut lab = Lab::new(nodes, "", schedule);
        lab.run_ms(3000);
        lab.tamper = Some((NodeId(victim), other_value));
        attribute(&mut lab, stays, "colour", "true-one");
        lab.run_ms(100);
        assert_eq!(value_at(&lab, victim, "colour").as_deref(), Some("fals-two"), "it has gone its own way");
        lab.tamper = None;
        lab.run_ms(6000);
        for n in 1..=nodes {
            let named =
                lab.node(n).alerts.iter().any(|a| {
                    a.contains(&format!("node{victim} does not hold what node node")) && a.contains("at message")
                });
            assert!(named, "{nodes} nodes, at {n}: {:?}", lab.node(n).alerts);
            assert_eq!(lab.node(n).stopped.len(), usize::from(n == victim), "{:?}", lab.node(n).stopped);
        }
        lab.run_ms(5000);
        assert_eq!(value_at(&lab, victim, "colour").as_deref(), Some("true-one"));
        lab.assert_same_cib();
        assert_eq!(lab.node(stays).controller.status().members.len(), nodes as usize);
        // All is well again, and stays so.
        lab.run_ms(20_000);
        assert!((1..=nodes).all(|n| lab.node(n).stopped.len() == usize::from(n == victim)));
    }
}

#[test]
fn healthy_members_agree_every_few_seconds() {
    let mut lab = Lab::new(3, crate::harness::GROUP, schedule);
    lab.run_ms(2000);
    for round in 0..40 {
        attribute(&mut lab, 1 + round % 3, "count", &round.to_string());
        lab.run_ms(500);
    }
    for n in 1..=3 {
        let counters = lab.node(n).controller.status().counters;
        assert!(counters.get("digests_asked").is_some_and(|c| (3..=5).contains(c)), "{counters:?}");
        assert_eq!(counters.get("digests_differ"), None);
        assert!(lab.node(n).stopped.is_empty());
    }
}

fn kinds(lab: &Lab) -> BTreeMap<&'static str, usize> {
    let tape = lab.tape.as_ref().unwrap();
    let count = |kind: &str| {
        let start = format!("{{\"{kind}\"");
        tape.iter().filter(|(.., p)| p.get(17..).is_some_and(|body| body.starts_with(start.as_bytes()))).count()
    };
    ["State", "Check", "Digest"].into_iter().map(|k| (k, count(k))).collect()
}

#[test]
fn nothing_is_sent_that_an_older_member_does_not_know() {
    let mut lab = Lab::mixed(3, "", schedule, BTreeMap::from([(NodeId(2), 1)]));
    lab.tape = Some(Vec::new());
    lab.run_ms(12_000);
    assert_eq!(lab.node(1).controller.status().dc, Some(NodeId(2)), "the oldest program coordinates");
    attribute(&mut lab, 1, "colour", "blue");
    lab.run_ms(500);
    lab.assert_same_cib();
    let sent = kinds(&lab);
    assert_eq!((sent["Check"], sent["Digest"]), (0, 0), "{sent:?}");
    // It is upgraded: everybody speaks as all can from then on.
    let stored = lab.node(2).persisted.clone();
    lab.kill(2);
    lab.run_ms(500);
    lab.levels.clear();
    lab.restart(2, stored, 2);
    lab.partition(&[&[1, 2, 3]]);
    lab.run_ms(12_000);
    let sent = kinds(&lab);
    assert!(sent["Check"] >= 2 && sent["Digest"] >= 6, "{sent:?}");
    lab.assert_same_cib();
    assert!((1..=3).all(|n| lab.node(n).stopped.is_empty()));
}

#[test]
fn who_was_stopped_does_not_win_over_the_living_ring() {
    let mut lab = Lab::new(2, "", schedule);
    lab.run_ms(2000);
    // Node 1 is stopped; meanwhile node 2 goes on alone and nothing is changed.
    lab.partition(&[&[1], &[2]]);
    lab.run_ms(2000);
    for n in 0..20 {
        attribute(&mut lab, 1, "stale", &n.to_string());
        lab.run_ms(10);
    }
    attribute(&mut lab, 2, "fresh", "yes");
    lab.run_ms(100);
    lab.input(NodeId(1), controller::Input::StartedOver);
    lab.partition(&[&[1, 2]]);
    lab.run_ms(2000);
    lab.assert_same_cib();
    let marks = lab.node(2).timeline.iter().filter(|e| e.kind == "synced").count();
    assert!(marks >= 3);
    assert_eq!(value_at(&lab, 1, "fresh").as_deref(), Some("yes"));
    assert_eq!(lab.node(1).controller.status().dc, Some(NodeId(2)), "the one that stayed coordinates");
}
