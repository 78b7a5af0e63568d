//! When the others notice that a node is gone, and what watching costs. Times are printed (`--nocapture`) and bounded.
use crate::harness::{Cluster, after_loss};
use base::NodeId;
use std::time::Duration;
use totem::Timing;

/// Kind byte of a frame that calls a resting token back.
const HOLD_CANCEL: u8 = 7;

fn n(i: u32) -> NodeId {
    NodeId(i)
}

fn ids(list: &[u32]) -> Vec<NodeId> {
    list.iter().map(|i| NodeId(*i)).collect()
}

/// The longest times until the loss of one node is noticed, and until the next view, over sizes, moments, and who it is.
fn worst_loss(timing: Timing, prepare: impl Fn(&mut Cluster), lose: impl Fn(&mut Cluster, NodeId)) -> (u128, u128) {
    let mut worst = (Duration::ZERO, Duration::ZERO);
    for count in 2..=5 {
        for seed in 0..20 {
            let mut c = Cluster::new(seed);
            c.timing = timing;
            c.declare(count);
            prepare(&mut c);
            (1..=count).for_each(|i| c.start(n(i)));
            let ms = 2000 + c.rng.below(100);
            c.run_ms(ms);
            assert!(c.in_one_view(&c.ids()));
            let lost = n(1 + (seed as u32) % count);
            let start = c.now;
            lose(&mut c, lost);
            c.run_ms(600);
            let rest: Vec<NodeId> = c.ids().into_iter().filter(|i| *i != lost).collect();
            assert!(c.in_one_view(&rest), "{:?}", c.members());
            let (detected, installed) = after_loss(&c, &rest, lost, start);
            worst = (worst.0.max(detected), worst.1.max(installed));
            c.check();
        }
    }
    (worst.0.as_millis(), worst.1.as_millis())
}

#[test]
fn a_dead_node_is_noticed_in_120_ms_and_the_ring_goes_on() {
    let worst = worst_loss(Timing::fast(), |_| {}, |c, lost| c.crash(lost));
    println!("dead: noticed after at most {} ms, next view after at most {} ms", worst.0, worst.1);
    assert!(worst.0 <= 122 && worst.1 <= 130, "{worst:?}");
}

#[test]
fn where_the_file_asks_for_it_a_dead_node_is_noticed_in_36_ms() {
    let timing = Timing::noticing(Duration::from_millis(36));
    let worst = worst_loss(timing, |_| {}, |c, lost| c.crash(lost));
    println!("36 ms: noticed after at most {} ms, next view after at most {} ms", worst.0, worst.1);
    assert!(worst.0 <= 37 && worst.1 <= 42, "{worst:?}");
}

#[test]
fn a_process_that_hangs_while_its_host_answers_is_given_more_time() {
    let worst = worst_loss(Timing::fast(), |_| {}, |c, lost| c.pause(lost, 10_000));
    println!("hung: noticed after at most {} ms", worst.0);
    assert!((200..=311).contains(&worst.0), "{worst:?}");
}

#[test]
fn a_host_that_never_answered_is_not_dead_because_it_does_not_now() {
    let silent = |c: &mut Cluster| c.ids().into_iter().for_each(|id| c.mute(id));
    let worst = worst_loss(Timing::fast(), silent, |c, lost| c.crash(lost));
    println!("hosts that answer no echo: noticed after at most {} ms", worst.0);
    assert!((200..=311).contains(&worst.0), "{worst:?}");
}

#[test]
fn an_idle_ring_costs_each_node_twenty_packets_a_second_at_most() {
    for count in [2, 3] {
        let mut c = Cluster::formed(3, count);
        c.run_ms(3000);
        c.traffic.clear();
        c.run_ms(60_000);
        let each = c.traffic.values().sum::<u64>() as f64 / 60.0 / f64::from(count);
        println!("{count} nodes, idle: {each:.1} packets a second and node");
        assert!(each <= 20.0, "{:?}", c.traffic);
    }
}

#[test]
fn a_resting_token_is_called_back_again_if_the_first_call_is_lost() {
    let mut c = Cluster::formed(3, 3);
    c.run_ms(3000);
    let mut lost = 0;
    c.filter = Some(Box::new(move |_, _, kind, _| {
        let drop = kind == HOLD_CANCEL && lost < 3;
        lost += u32::from(drop);
        drop
    }));
    let id = c.broadcast(n(3), 10).unwrap();
    let took = c.run_until_true(2000, |c| c.life(n(1)).delivered().any(|(d, _)| *d == id)).unwrap();
    assert!(took < Duration::from_millis(60), "{took:?}");
}

#[test]
fn an_icmp_error_is_quicker_still() {
    let mut c = Cluster::formed(3, 3);
    let start = c.now;
    c.crash(n(2));
    for _ in 0..6 {
        c.run_ms(50);
        for i in [1, 3] {
            c.with(n(i), |node, now| node.link_error(now, n(2), 0));
        }
    }
    let (detected, installed) = after_loss(&c, &ids(&[1, 3]), n(2), start);
    println!("crash of the process alone: noticed after {detected:?}, next view after {installed:?}");
    assert!(installed < Duration::from_millis(160));
    assert!(c.in_one_view(&ids(&[1, 3])));
}

#[test]
fn an_icmp_error_alone_kills_nobody() {
    let mut c = Cluster::formed(3, 2);
    for _ in 0..200 {
        c.with(n(1), |node, now| node.link_error(now, n(2), 0));
        c.run_ms(5);
    }
    assert_eq!(c.node(n(1)).counters().views, 1);
}

#[test]
fn an_explicit_token_is_waited_for_and_no_longer() {
    let mut c = Cluster::new(7);
    c.timing = Timing::patient(Duration::from_millis(3000), None);
    c.declare(3);
    (1..=3).for_each(|i| c.start(n(i)));
    c.run_ms(3000);
    assert!(c.in_one_view(&c.ids()));
    // Silence of 2.9 s, and the network's word that it is gone, cost nobody its place.
    c.partition(&ids(&[3]));
    for _ in 0..28 {
        c.run_ms(100);
        c.with(n(1), |node, now| node.link_error(now, n(3), 0));
    }
    c.run_ms(50);
    c.heal();
    c.run_ms(3000);
    assert_eq!(c.node(n(1)).counters().views, c.node(n(2)).counters().views);
    assert_eq!(c.life(n(1)).views().filter(|(_, v)| !v.left.is_empty()).count(), 0);
    let start = c.now;
    c.crash(n(3));
    c.run_ms(4000);
    let (detected, installed) = after_loss(&c, &ids(&[1, 2]), n(3), start);
    println!("token 3000: noticed after {detected:?}, next view after {installed:?}");
    assert!(detected >= Duration::from_millis(2870) && detected <= Duration::from_millis(3000));
    assert!(installed <= Duration::from_millis(3010));
    c.leave(n(2));
    let took = c.run_until_true(1000, |c| c.in_one_view(&ids(&[1]))).unwrap();
    assert!(took < Duration::from_millis(10), "a leave needs no patience");
}
