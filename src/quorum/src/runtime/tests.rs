//! The rules of changing votes, one after the other and together.

#![allow(clippy::unwrap_used)]

use crate::*;
use std::time::Duration;

fn nodes(ids: &[u32]) -> Vec<NodeId> {
    ids.iter().map(|i| NodeId(*i)).collect()
}

fn plain(n: u32) -> Config {
    Config::new(NodeId(1), (1..=n).map(NodeId))
}

fn at(s: u64) -> Time {
    Time::from_millis(s * 1000)
}

fn numbers(q: &Quorum) -> (u32, u32, u32, bool) {
    (q.expected_votes(), q.total_votes(), q.quorum_votes(), q.is_quorate())
}

/// Waits out the window.
fn stand(q: &mut Quorum, s: u64) {
    let due = q.poll_timeout(at(s)).unwrap();
    assert_eq!(due, at(s + 10));
    assert!(!q.handle_timeout(at(s + 9)), "too early");
    q.handle_timeout(due);
}

#[test]
fn the_last_man_stands_step_by_step() {
    let mut q = Quorum::new(Config { last_man_standing: true, ..plain(8) }).unwrap();
    q.set_view(&nodes(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(q.poll_timeout(at(0)), None, "all are here");
    q.set_view(&nodes(&[1, 2, 3, 4, 5]));
    stand(&mut q, 0);
    assert_eq!(numbers(&q), (5, 5, 3, true));
    q.set_view(&nodes(&[1, 2, 3]));
    stand(&mut q, 20);
    q.set_view(&nodes(&[1, 2]));
    stand(&mut q, 40);
    assert_eq!(numbers(&q), (2, 2, 2, true));
    q.set_view(&nodes(&[1]));
    assert!(!q.is_quorate() && q.poll_timeout(at(60)).is_none(), "one of two has no majority");
    q.set_view(&nodes(&[1, 2, 3, 4]));
    assert_eq!(numbers(&q), (4, 4, 3, true), "who comes back counts");
}

#[test]
fn a_partition_without_quorum_never_shrinks_and_a_second_loss_starts_the_window_anew() {
    let mut q = Quorum::new(Config { last_man_standing: true, ..plain(8) }).unwrap();
    q.set_view(&nodes(&[1, 2, 3, 4, 5, 6, 7, 8]));
    q.set_view(&nodes(&[1, 2, 3]));
    assert_eq!((q.poll_timeout(at(0)), q.is_quorate()), (None, false));
    assert!(!q.handle_timeout(at(100)));
    q.set_view(&nodes(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(q.poll_timeout(at(100)), Some(at(110)));
    q.set_view(&nodes(&[1, 2, 3, 4, 5]));
    assert_eq!(q.poll_timeout(at(105)), Some(at(115)));
    q.set_view(&nodes(&[1, 2, 3, 4]));
    assert!(!q.is_quorate() && !q.handle_timeout(at(200)) && q.expected_votes() == 8);
}

#[test]
fn with_a_tie_breaker_one_node_is_left_standing() {
    let config = Config { last_man_standing: true, auto_tie_breaker: Some(TieBreaker::Lowest), ..plain(3) };
    let mut q = Quorum::new(config).unwrap();
    q.set_view(&nodes(&[1, 2, 3]));
    q.set_view(&nodes(&[1, 2]));
    stand(&mut q, 0);
    q.set_view(&nodes(&[1]));
    assert!(q.is_quorate(), "it has the lowest id");
    stand(&mut q, 20);
    assert_eq!(numbers(&q), (1, 1, 1, true));
    let weighted = Config { votes: [(NodeId(1), 2), (NodeId(2), 1)].into(), last_man_standing: true, ..plain(2) };
    let error = Quorum::new(weighted).err();
    assert_eq!(error, Some(ConfigError::LastManStandingVotes { node: NodeId(1), votes: 2 }));
}

#[test]
fn who_leaves_in_good_order_is_not_expected_any_more() {
    let five = || Config { expected_votes: Some(3), allow_downscale: true, ..plain(5) };
    let mut q = Quorum::new(five()).unwrap();
    q.set_view(&nodes(&[1, 2, 3, 4, 5]));
    assert_eq!(numbers(&q), (5, 5, 3, true));
    q.parted(NodeId(5));
    q.set_view(&nodes(&[1, 2, 3, 4]));
    assert_eq!(numbers(&q), (4, 4, 3, true));
    q.set_view(&nodes(&[1, 2, 3]));
    assert_eq!(numbers(&q), (4, 3, 3, true), "node 4 died");
    q.parted(NodeId(3));
    q.set_view(&nodes(&[1, 2]));
    assert_eq!(numbers(&q), (3, 2, 2, true), "not below what the file expects");
    q.parted(NodeId(2));
    q.set_view(&nodes(&[1]));
    assert_eq!(numbers(&q), (3, 1, 2, false));
    assert_eq!(q.barrier(), Some(5), "for the next life");
    let mut next = Quorum::new(Config { barrier: 5, ..five() }).unwrap();
    next.set_view(&nodes(&[1, 2]));
    assert_eq!(numbers(&next), (5, 2, 3, false), "a detached pair does not take over after its restart");
}

#[test]
fn expected_votes_do_not_fall_by_themselves() {
    let mut q = Quorum::new(Config { expected_votes: Some(2), ..plain(5) }).unwrap();
    q.set_view(&nodes(&[1, 2, 3, 4, 5]));
    q.parted(NodeId(5));
    q.set_view(&nodes(&[1, 2, 3]));
    assert_eq!(numbers(&q), (5, 3, 3, true));
    q.set_view(&nodes(&[1, 2]));
    assert_eq!(numbers(&q), (5, 2, 3, false));
    assert_eq!(q.barrier(), None, "not asked for");
}

#[test]
fn the_operator_changes_votes_within_reason() {
    let mut q = Quorum::new(plain(3)).unwrap();
    q.set_view(&nodes(&[1]));
    assert_eq!(q.check_expected(2), Err(VotesError::NoQuorum { quorum: 2, total: 1 }));
    assert_eq!(q.check_expected(0), Err(VotesError::BelowPresent { expected: 0, total: 1 }));
    assert_eq!(q.check_expected(1), Ok(()));
    assert!(q.set_expected(1) && q.is_quorate());
    q.set_view(&nodes(&[1, 2, 3]));
    assert_eq!(numbers(&q), (3, 3, 2, true));
    assert_eq!(q.check_expected(2), Err(VotesError::BelowPresent { expected: 2, total: 3 }));
    assert_eq!(q.check_votes(NodeId(9), 1), Err(VotesError::UnknownNode { node: NodeId(9) }));
    q.set_votes(NodeId(2), 3);
    assert_eq!(numbers(&q), (5, 5, 3, true));
    q.set_votes(NodeId(2), 1);
    assert_eq!(numbers(&q), (5, 3, 3, true), "as the original: what was expected once stays");
    assert_eq!(q.check_votes(NodeId(2), 0), Err(VotesError::NoQuorum { quorum: 3, total: 2 }));
    q.reconfigure(plain(3)).unwrap();
    assert_eq!(numbers(&q), (3, 3, 2, true), "the file counts again");
}

#[test]
fn who_was_cut_off_forgets_how_many_there_were() {
    let config = |me| Config { me: NodeId(me), last_man_standing: true, ..plain(5) };
    let (mut most, mut cut) = (Quorum::new(config(1)).unwrap(), Quorum::new(config(5)).unwrap());
    for q in [&mut most, &mut cut] {
        q.set_view(&nodes(&[1, 2, 3, 4, 5]));
    }
    most.set_view(&nodes(&[1, 2, 3, 4]));
    stand(&mut most, 0);
    most.set_view(&nodes(&[1, 2, 3]));
    stand(&mut most, 20);
    cut.set_view(&nodes(&[5]));
    let said = most.run_time().clone();
    for q in [&mut most, &mut cut] {
        q.set_view(&nodes(&[1, 2, 3, 5]));
    }
    cut.adopt(said, true, false);
    assert_eq!(numbers(&cut), numbers(&most));
    assert_eq!(numbers(&most), (4, 4, 3, true));
}

#[test]
fn who_joins_learns_what_was_changed() {
    let mut old = Quorum::new(plain(3)).unwrap();
    old.set_view(&nodes(&[1]));
    old.set_expected(1);
    old.set_votes(NodeId(1), 2);
    let mut new = Quorum::new(Config { me: NodeId(2), ..plain(3) }).unwrap();
    for q in [&mut old, &mut new] {
        q.set_view(&nodes(&[1, 2]));
    }
    let said = old.run_time().clone();
    assert!(!said.is_empty());
    new.adopt(said, true, false);
    assert_eq!(numbers(&new), numbers(&old));
    assert!(!old.adopt(RunTime { expected: Some(9), votes: Default::default() }, false, true));
    assert_eq!(numbers(&new), numbers(&old), "who had quorum does not learn from who had none");
    let window = Config { last_man_standing_window: Duration::from_secs(1), last_man_standing: true, ..plain(3) };
    assert!(Quorum::new(window).is_ok());
}
