#![allow(clippy::unwrap_used)]

use super::*;

fn nodes(ids: &[u32]) -> Vec<NodeId> {
    ids.iter().map(|i| NodeId(*i)).collect()
}

fn quorum(config: Config) -> Quorum {
    Quorum::new(config).unwrap()
}

fn plain(n: u32) -> Config {
    Config::new(NodeId(1), (1..=n).map(NodeId))
}

#[test]
fn majority_of_three_and_of_four() {
    let mut q = quorum(plain(3));
    assert!(!q.is_quorate());
    assert!(!q.set_view(&nodes(&[1])));
    assert!(q.set_view(&nodes(&[1, 3])));
    assert!(q.is_quorate() && q.quorum_votes() == 2);
    assert!(q.set_view(&nodes(&[1])));
    let mut q = quorum(plain(4));
    q.set_view(&nodes(&[1, 2]));
    assert!(!q.is_quorate(), "half is not a majority");
    q.set_view(&nodes(&[1, 2, 3]));
    assert!(q.is_quorate());
}

#[test]
fn weighted_votes() {
    let mut config = plain(3);
    config.votes.insert(NodeId(1), 3);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    assert!(q.is_quorate(), "3 of 5");
    assert!(!q.is_majority(&nodes(&[2, 3])));
    q.set_view(&nodes(&[2, 3]));
    assert!(!q.is_quorate());
}

#[test]
fn expected_votes_above_and_below_the_list() {
    let mut config = plain(3);
    config.expected_votes = Some(5);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1, 2]));
    assert!(!q.is_quorate(), "2 of 5");
    q.set_view(&nodes(&[1, 2, 3]));
    assert!(q.is_quorate());
    let mut config = plain(3);
    config.expected_votes = Some(1);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1, 2, 3]));
    assert_eq!((q.expected_votes(), q.quorum_votes()), (3, 2), "never below what is present");
}

#[test]
fn two_node_waits_for_all_once() {
    let mut config = plain(2);
    config.two_node = true;
    let mut q = quorum(config.clone());
    q.set_view(&nodes(&[1]));
    assert!(!q.is_quorate() && q.is_waiting_for_all());
    q.set_view(&nodes(&[1, 2]));
    assert!(q.is_quorate());
    q.set_view(&nodes(&[1]));
    assert!(q.is_quorate(), "alone goes on");
    // A restarted daemon knows nothing of its former life: the other one may have gone on without it.
    let mut restarted = quorum(config.clone());
    restarted.set_view(&nodes(&[1]));
    assert!(!restarted.is_quorate() && restarted.is_waiting_for_all(), "each start waits anew");
    config.wait_for_all = Some(false);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    assert!(q.is_quorate(), "explicitly off");
}

#[test]
fn two_node_is_off_for_three() {
    let mut config = plain(3);
    config.two_node = true;
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    assert!(!q.is_quorate());
    assert_eq!(q.quorum_votes(), 2);
}

#[test]
fn wait_for_all_is_released_by_operator_or_by_a_quorate_peer() {
    let mut config = plain(3);
    config.wait_for_all = Some(true);
    let mut q = quorum(config.clone());
    q.set_view(&nodes(&[1, 2]));
    assert!(!q.is_quorate());
    assert!(q.cancel_wait_for_all());
    assert!(q.is_quorate());
    let mut q = quorum(config);
    q.set_view(&nodes(&[1, 2]));
    assert!(q.learn(NodeId(2), true), "2 has seen all");
    assert!(q.is_quorate());
}

#[test]
fn what_lacks_for_quorum_is_said_with_the_cure() {
    let names = (1..=3).map(|n| (NodeId(n), format!("n{n}"))).collect();
    let mut config = plain(2);
    config.two_node = true;
    let mut q = quorum(config);
    assert_eq!(q.lack(&names), None, "no view yet");
    q.set_view(&nodes(&[1]));
    let why = q.lack(&names).unwrap();
    assert!(why.starts_with("no quorum: ") && why.contains("wait_for_all") && why.contains("n2 is missing"), "{why}");
    q.set_view(&nodes(&[1, 2]));
    assert_eq!(q.lack(&names), None);
    q.set_view(&nodes(&[1]));
    assert_eq!(q.lack(&names), None, "quorate alone");
    let mut q = quorum(plain(3));
    q.set_view(&nodes(&[1]));
    assert_eq!(q.lack(&names).as_deref(), Some("no quorum: 1 of 3 votes are here, 2 are needed; missing: n2 n3"));
    let mut config = plain(2);
    (config.two_node, config.wait_for_all) = (true, Some(false));
    let mut q = quorum(config);
    q.listen(true);
    q.set_view(&nodes(&[1]));
    assert!(q.lack(&names).unwrap().contains("n2 is missing, but may live"));
}

#[test]
fn a_quorate_peer_vouches_only_as_a_member() {
    let mut config = plain(2);
    config.two_node = true;
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    assert!(!q.learn(NodeId(2), true) && !q.is_quorate(), "heard, but in no ring with it");
    q.set_view(&nodes(&[1, 2]));
    assert!(q.is_quorate());
}

#[test]
fn tie_breaker_gives_one_half_the_right() {
    let half = |me: u32, view: &[u32], breaker: TieBreaker| {
        let mut config = plain(4);
        config.me = NodeId(me);
        config.auto_tie_breaker = Some(breaker);
        let mut q = quorum(config);
        q.set_view(&nodes(&[1, 2, 3, 4]));
        q.set_view(&nodes(view));
        q.is_quorate()
    };
    for (breaker, low) in
        [(TieBreaker::Lowest, true), (TieBreaker::Highest, false), (TieBreaker::List(nodes(&[3, 1])), false)]
    {
        assert_eq!(half(1, &[1, 2], breaker.clone()), low);
        assert_eq!(half(3, &[3, 4], breaker), !low);
    }
    assert!(!half(1, &[1], TieBreaker::Lowest), "a quarter is no tie");
    // Nor are a quarter of those who were left, and two of five.
    let after = |all: u32, views: &[&[u32]]| {
        let mut config = plain(all);
        config.auto_tie_breaker = Some(TieBreaker::Lowest);
        let mut q = quorum(config);
        for view in views {
            q.set_view(&nodes(view));
        }
        q.is_quorate()
    };
    assert!(!after(4, &[&[1, 2, 3, 4], &[1, 2], &[1]]));
    assert!(!after(5, &[&[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[1, 2]]));
}

#[test]
fn tie_breaker_never_makes_both_halves_quorate() {
    for mask in 0u32..16 {
        let part = |inside: bool| -> Vec<NodeId> {
            (0..4).filter(|i| (mask >> i & 1 == 1) == inside).map(|i| NodeId(i + 1)).collect()
        };
        let verdict = |view: &[NodeId]| {
            let mut config = plain(4);
            config.auto_tie_breaker = Some(TieBreaker::Lowest);
            let mut q = quorum(config);
            q.set_view(&nodes(&[1, 2, 3, 4]));
            q.set_view(view);
            q.is_quorate()
        };
        assert!(!(verdict(&part(true)) && verdict(&part(false))), "mask {mask}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut config = plain(2);
    (config.device, config.two_node) = (Some(1), true);
    assert_eq!(Quorum::new(config).err(), Some(ConfigError::BesideDevice { key: "two_node" }));
    let mut config = plain(2);
    (config.two_node, config.auto_tie_breaker) = (true, Some(TieBreaker::Lowest));
    assert_eq!(Quorum::new(config).err(), Some(ConfigError::TwoNodeAndTieBreaker));
    let mut config = plain(3);
    config.me = NodeId(9);
    assert_eq!(Quorum::new(config).err(), Some(ConfigError::NotInList { me: NodeId(9) }));
}

#[test]
fn a_device_makes_a_half_quorate_and_its_loss_does_no_harm_to_the_whole() {
    let mut config = plain(2);
    config.device = Some(1);
    let mut q = quorum(config.clone());
    assert!(q.set_view(&nodes(&[1, 2])), "two of three");
    assert_eq!((q.expected_votes(), q.total_votes(), q.quorum_votes()), (3, 2, 2));
    assert!(!q.set_device(true, true));
    assert_eq!((q.expected_votes(), q.total_votes(), q.quorum_votes()), (3, 3, 2));
    assert!(!q.set_device(false, false) && q.is_quorate());
    // Alone: only with the vote.
    assert!(q.set_view(&nodes(&[1])));
    assert!(q.lack(&BTreeMap::new()).unwrap().contains("arbitrator (quorum device, 1) is not reached"));
    assert!(q.set_device(true, true) && q.is_quorate());
    assert!(q.set_device(true, false) && !q.is_quorate());
    // A device alone is nobody.
    q.set_device(true, true);
    q.set_view(&[]);
    assert!(!q.is_quorate());
    // All nodes once are enough for wait_for_all; an arbitrator that is down does not hold a start up.
    config.wait_for_all = Some(true);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    q.set_device(true, true);
    assert!(q.is_waiting_for_all() && !q.is_quorate());
    q.set_device(false, false);
    assert!(q.set_view(&nodes(&[1, 2])) && q.is_quorate());
    // As many votes as nodes less one: any node may be the last.
    let mut config = plain(4);
    config.device = Some(3);
    let mut q = quorum(config);
    q.set_view(&nodes(&[1]));
    q.set_device(true, true);
    assert_eq!((q.total_votes(), q.quorum_votes(), q.is_quorate()), (4, 4, true));
    // Taken away with a reload.
    q.reconfigure(plain(4)).unwrap();
    assert_eq!((q.expected_votes(), q.total_votes(), q.device()), (4, 1, DeviceState::default()));
}

#[test]
fn status_has_what_quorumtool_prints() {
    let mut config = plain(2);
    config.two_node = true;
    let mut q = quorum(config);
    q.set_view(&nodes(&[1, 2]));
    let names = BTreeMap::from([(NodeId(1), "alpha".to_owned())]);
    let s = q.status((1, 0x1c), &names);
    assert_eq!(s.ring_id(), "1.1c");
    assert_eq!(s.flags(), ["2Node", "Quorate", "WaitForAll"]);
    assert_eq!((s.expected_votes, s.highest_expected, s.total_votes, s.quorum), (2, 2, 2, 1));
    assert_eq!(s.members[0].name, "alpha");
    assert!(s.members[0].local && !s.members[1].local);
    q.set_view(&nodes(&[1]));
    assert_eq!(q.status((1, 0x20), &names).absent[0].node, NodeId(2));
}

#[test]
fn a_restarted_node_of_two_listens_before_it_acts_alone() {
    let mut config = Config::new(NodeId(1), [NodeId(1), NodeId(2)]);
    (config.two_node, config.wait_for_all) = (true, Some(false));
    let mut quorum = Quorum::new(config).unwrap();
    quorum.listen(true);
    assert!(!quorum.set_view(&[NodeId(1)]) && !quorum.is_quorate());
    assert!(quorum.listen(false) && quorum.is_quorate(), "nobody was heard");
    quorum.listen(true);
    assert!(quorum.set_view(&[NodeId(1), NodeId(2)]) && quorum.is_quorate());
    assert!(!quorum.set_view(&[NodeId(1)]) && quorum.is_quorate(), "both were there: it has heard enough");
}

#[test]
fn the_half_of_a_pair_that_reaches_nothing_has_no_vote() {
    let mut config = plain(2);
    (config.two_node, config.must_reach) = (true, true);
    let mut q = quorum(config.clone());
    q.set_view(&nodes(&[1, 2]));
    assert!(q.is_quorate(), "together they need nobody else");
    assert!(q.set_view(&nodes(&[1])));
    assert!(!q.is_quorate(), "nothing was reached yet");
    assert!(q.reach(true) && q.is_quorate());
    assert!(q.reach(false) && !q.is_quorate());
    assert!(q.set_view(&nodes(&[1, 2])) && q.is_quorate());
    // Without targets, and with more nodes, it is no rule.
    config.must_reach = false;
    let mut q = quorum(config);
    q.set_view(&nodes(&[1, 2]));
    q.set_view(&nodes(&[1]));
    assert!(q.is_quorate());
    let mut q = quorum(Config { must_reach: true, ..plain(3) });
    q.set_view(&nodes(&[1, 2]));
    assert!(q.is_quorate());
}
