//! What a client is told of a change while disks are slow, full or dead.

#![allow(clippy::unwrap_used)]

mod harness;

use base::NodeId;
use controller::{Response, Safety};
use harness::{Lab, schedule};

fn told(lab: &Lab, node: u32, id: u64) -> Option<Safety> {
    match lab.node(node).replies.get(&id) {
        Some(Response::Done { safety, .. }) => Some(*safety),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

fn lab(nodes: u32) -> Lab {
    let mut lab = Lab::new(nodes, "", schedule);
    lab.run_ms(3000);
    lab
}

#[test]
fn a_slow_disk_in_the_majority_is_waited_for_and_no_other() {
    let mut lab = lab(3);
    lab.disk_ms.insert(NodeId(2), 400);
    let id = lab.property(1, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe), "nodes 1 and 3 have written it");
    lab.disk_ms.insert(NodeId(3), 300);
    let id = lab.property(1, "two", "2");
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), None);
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
}

#[test]
fn full_disks_make_it_provisional_at_once_and_dead_ones_after_five_seconds() {
    let mut lab = lab(3);
    lab.full_disks.extend([NodeId(2), NodeId(3)]);
    let id = lab.property(2, "one", "1");
    lab.run_ms(100);
    assert_eq!(told(&lab, 2, id), Some(Safety::Provisional));
    lab.full_disks.clear();
    lab.disk_ms.extend([(NodeId(2), 3_600_000), (NodeId(3), 3_600_000)]);
    let id = lab.property(1, "two", "2");
    lab.run_ms(4900);
    assert_eq!(told(&lab, 1, id), None);
    lab.run_ms(200);
    assert_eq!(told(&lab, 1, id), Some(Safety::Provisional));
}

#[test]
fn the_status_waits_for_no_disk() {
    let mut lab = lab(2);
    lab.disk_ms.extend([(NodeId(1), 3_600_000), (NodeId(2), 3_600_000)]);
    let request = controller::Request::Attribute {
        node: None,
        name: base::Word::cleaned("pingd"),
        value: Some(base::Value::cleaned("100")),
    };
    let id = lab.ask(1, request);
    lab.run_ms(100);
    assert_eq!(told(&lab, 1, id), Some(Safety::Safe));
}
