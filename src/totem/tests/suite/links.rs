//! Several links: modes, priorities, hysteresis, changes at run time; 32 nodes. Each run ends with the checks of the harness.
use crate::harness::Cluster;
use base::NodeId;
use std::collections::BTreeMap;
use std::time::Duration;
use totem::{Config, Event, LinkMode, Timing, Watch};

fn n(i: u32) -> NodeId {
    NodeId(i)
}

fn formed(seed: u64, nodes: u32, links: u8) -> Cluster {
    let mut c = Cluster::new(seed);
    c.links = links;
    c.declare(nodes);
    (1..=nodes).for_each(|i| c.start(n(i)));
    let all: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    c.run_until_true(20_000, |c| c.in_one_view(&all)).unwrap();
    c.run_ms(1000);
    c
}

/// All nodes take over this configuration.
fn change(c: &mut Cluster, nodes: u32, tune: impl Fn(&mut Config)) {
    for i in 1..=nodes {
        let mut config = Config::new(n(i), (1..=nodes).map(NodeId), 0);
        config.links = c.links;
        config.timing = c.timing;
        tune(&mut config);
        c.with(n(i), |node, now| node.reconfigure(now, config)).unwrap();
    }
}

/// Frames that node 1 has sent to node 2, without heartbeats, by link.
fn data_sent(c: &Cluster) -> Vec<u64> {
    let status = c.node(n(1)).status(c.local(n(1)));
    status.peers.iter().find(|p| p.node == n(2)).unwrap().links.iter().map(|l| l.sent.frames).collect()
}

fn talk(c: &mut Cluster, rounds: u32, nodes: u32) -> u64 {
    for i in 0..rounds {
        c.run_ms(10);
        c.broadcast(n(1 + i % nodes), 300).unwrap();
    }
    c.run_ms(400);
    u64::from(rounds)
}

#[test]
fn each_mode_spreads_as_its_name_says_and_no_cut_costs_a_message_or_a_view() {
    for mode in [LinkMode::Passive, LinkMode::Active, LinkMode::RoundRobin] {
        for seed in 0..10 {
            let mut c = formed(seed, 3, 3);
            change(&mut c, 3, |config| (config.link_mode, config.link_order) = (mode, vec![1, 0, 2]));
            c.run_ms(500);
            let before = data_sent(&c);
            talk(&mut c, 60, 3);
            let sent: Vec<u64> = data_sent(&c).iter().zip(before).map(|(a, b)| a - b).collect();
            match mode {
                LinkMode::Passive => assert!(sent[0] == 0 && sent[1] > 0 && sent[2] == 0, "{sent:?}"),
                LinkMode::Active => assert!(sent[0] > 0 && sent[0] == sent[1] && sent[1] == sent[2], "{sent:?}"),
                LinkMode::RoundRobin => {
                    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
                    assert!(*least > 0 && most - least <= 1, "{sent:?}");
                }
            }
            let views = c.node(n(1)).counters().views;
            let mut said = 0;
            for link in [1, 0, 2] {
                let pairs = [(1, 2), (2, 1), (1, 3), (3, 1)];
                c.cut.extend(pairs.iter().map(|(a, b)| (n(*a), n(*b), link)));
                said += talk(&mut c, 60, 3);
                c.heal();
                said += talk(&mut c, 60, 3);
            }
            assert_eq!(c.node(n(1)).counters().views, views, "{mode:?}, seed {seed}: no view");
            let got = c.life(n(3)).delivered().count() as u64;
            assert!(got >= said, "{mode:?}, seed {seed}: {got} of {said}");
            c.check();
        }
    }
}

#[test]
fn a_link_that_was_down_is_not_used_before_enough_answers() {
    let mut c = formed(3, 2, 2);
    let ms = Duration::from_millis;
    let watch = Watch { interval: ms(50), timeout: ms(150), answers: 8, samples: 2048 };
    change(&mut c, 2, |config| config.watches = BTreeMap::from([(0, watch)]));
    let pairs = [(n(1), n(2), 0), (n(2), n(1), 0)];
    c.cut.extend(pairs);
    c.run_ms(500);
    let status = |c: &Cluster| c.node(n(1)).status(c.local(n(1))).peers[0].links.clone();
    assert!(!status(&c)[0].up && status(&c)[1].in_use);
    c.heal();
    c.run_ms(250);
    assert!(!status(&c)[0].up, "five heartbeats are not eight");
    c.run_ms(400);
    assert!(status(&c)[0].up && status(&c)[0].in_use);
    assert_eq!((status(&c)[0].up_count, status(&c)[0].down_count), (2, 1));
}

#[test]
fn a_link_that_is_watched_slowly_costs_less_and_a_dead_node_is_noticed_as_soon() {
    let mut c = formed(4, 2, 2);
    let ms = Duration::from_millis;
    let watch = Watch { interval: ms(500), timeout: ms(1500), answers: 2, samples: 2048 };
    change(&mut c, 2, |config| config.watches = BTreeMap::from([(0, watch), (1, watch)]));
    c.run_ms(2000);
    let beats = |c: &Cluster| {
        let status = c.node(n(1)).status(c.local(n(1)));
        status.peers[0].links.iter().map(|l| l.sent.beats).collect::<Vec<_>>()
    };
    let before = beats(&c);
    c.run_ms(10_000);
    let sent: Vec<u64> = beats(&c).iter().zip(before).map(|(a, b)| a - b).collect();
    assert!((138..=150).contains(&sent[0]) && (18..=25).contains(&sent[1]), "the ring lives by the first: {sent:?}");
    c.crash(n(2));
    let at = c.now;
    c.run_until_true(2000, |c| c.node(n(1)).members() == [n(1)]).unwrap();
    assert!(c.now.since(at) < ms(350), "{:?}", c.now.since(at));
}

#[test]
fn links_times_and_nodes_change_while_messages_flow() {
    let mut c = formed(5, 3, 1);
    let views = c.node(n(1)).counters().views;
    let mut said = 0;
    for links in [2, 3, 1, 8, 2] {
        // The harness carries what any node may send meanwhile.
        c.links = c.links.max(links);
        let now = links;
        change(&mut c, 3, |config| {
            config.links = now;
            config.window = 30 + u32::from(now);
        });
        said += talk(&mut c, 30, 3);
        let status = c.node(n(2)).status(c.local(n(2)));
        assert!(status.peers.iter().all(|p| p.links.len() == usize::from(now) && p.links.iter().all(|l| l.up)));
    }
    c.timing = Timing::patient(Duration::from_millis(2000), None);
    change(&mut c, 3, |config| config.links = 2);
    said += talk(&mut c, 30, 3);
    assert_eq!(c.node(n(1)).counters().views, views, "no view");
    assert!(c.life(n(3)).delivered().count() as u64 >= said);
    // A node more than a ring can have is refused, and nothing changes.
    let mut config = Config::new(n(1), (1..=40).map(NodeId), 0);
    config.links = 1;
    assert!(c.with(n(1), |node, now| node.reconfigure(now, config)).is_err());
    assert_eq!(c.node(n(1)).status(c.local(n(1))).peers[0].links.len(), 2);
    c.check();
}

#[test]
fn thirty_two_nodes_form_one_ring_lose_one_and_order_their_messages() {
    let mut c = formed(6, 32, 2);
    let said = talk(&mut c, 64, 32);
    c.crash(n(7));
    let rest: Vec<NodeId> = (1..=32).filter(|i| *i != 7).map(NodeId).collect();
    let took = c.run_until_true(5000, |c| c.in_one_view(&rest)).unwrap();
    println!("31 of 32 nodes in a new view after {} ms", took.as_millis());
    assert!(took < Duration::from_millis(1000), "{took:?}");
    c.run_ms(1000);
    assert!(c.life(n(32)).delivered().count() as u64 >= said);
    let false_alarms =
        c.life(n(1)).events().filter(|(_, e)| matches!(e, Event::PeerSuspected { node, .. } if *node != n(7)));
    assert_eq!(false_alarms.count(), 0);
    c.check();
}

/// Who is not heard is told before it is taken out, at whatever moment it is cut off and however patiently the link is watched: it
/// forms a ring of its own at once, and goes on renewing what it holds.
#[test]
fn who_is_not_heard_any_more_is_not_without_a_ring() {
    let ms = Duration::from_millis;
    for timeout in [150, 5000] {
        for phase in 0..60 {
            let mut c = Cluster::formed(30 + phase, 2);
            let watch = Watch { interval: ms(50), timeout: ms(timeout), answers: 2, samples: 2048 };
            change(&mut c, 2, |config| config.watches = BTreeMap::from([(0, watch)]));
            c.run_ms(1000 + phase);
            c.cut_one_way(n(1), n(2));
            assert!(c.run_until_true(1000, |c| c.in_one_view(&[n(2)])).is_some());
            let alone = c.run_until_true(1000, |c| c.in_one_view(&[n(1)]));
            assert!(
                alone.is_some_and(|t| t < ms(300)),
                "timeout {timeout}, phase {phase}: {alone:?} {:?}",
                c.members()
            );
        }
    }
}
