//! Clients and the real server, on a virtual clock and connections that can be cut or hang.

use super::*;
use crate::qnet::{Frames, Kind, MAX_BODY_BYTES};
use crate::qnetd::{self, Server};
use std::collections::BTreeMap;

const TICK: u64 = 50;

#[derive(Default)]
struct Link {
    up: bool,
    /// Nothing passes, and nobody is told.
    hangs: bool,
    to_server: Vec<Vec<u8>>,
    to_client: Vec<Vec<u8>>,
}

struct World {
    now: Time,
    server: Option<Server>,
    devices: BTreeMap<u64, Device>,
    links: BTreeMap<u64, Link>,
    /// What each client is as the server numbers it.
    conns: BTreeMap<u64, u64>,
    next: u64,
    ring: u64,
}

fn config(me: u64, nodes: &[u32], algorithm: Algorithm) -> Config {
    Config {
        server: "arbiter".to_owned(),
        cluster_name: "web".to_owned(),
        me: me as u32,
        nodes: nodes.to_vec(),
        config_version: Some(1),
        algorithm,
        tie_breaker: TieBreaker::Lowest,
        tls: Tls::Unsupported,
        keep_active_partition: true,
        heartbeat_ms: QUICK_HEARTBEAT_MS,
        timeout_ms: 8000,
        sync_timeout_ms: 24_000,
        connect_timeout_ms: 8000,
        wait_for_all: false,
        heuristics: HeuristicsMode::Off,
        heuristics_interval_ms: 30_000,
    }
}

impl World {
    fn new(nodes: u32, algorithm: Algorithm) -> World {
        let ids: Vec<u32> = (1..=nodes).collect();
        let device = |n: &u32| (u64::from(*n), Device::new(config((*n).into(), &ids, algorithm), Time::ZERO));
        let devices = ids.iter().map(device).collect();
        let mut world = World {
            now: Time::ZERO,
            server: Some(Server::new(qnetd::Config::default())),
            devices,
            links: ids.iter().map(|n| (u64::from(*n), Link::default())).collect(),
            conns: BTreeMap::new(),
            next: 0,
            ring: 0,
        };
        world.view(&ids);
        world
    }

    /// These form a ring of their own.
    fn view(&mut self, members: &[u32]) {
        self.ring += 4;
        let ring = RingId { node: members[0], seq: self.ring };
        for n in members {
            let device = self.devices.get_mut(&u64::from(*n)).expect("a node");
            device.set_view(ring, members.to_vec(), self.now);
        }
        self.exchange();
    }

    fn drop_conn(&mut self, node: u64) {
        if let (Some(conn), Some(server)) = (self.conns.remove(&node), self.server.as_mut()) {
            server.gone(conn, self.now);
        }
        *self.links.get_mut(&node).expect("a link") = Link { hangs: self.links[&node].hangs, ..Link::default() };
    }

    /// Everything that is on its way arrives, until nothing is said any more.
    fn exchange(&mut self) {
        for _ in 0..200 {
            if !self.outputs() && !self.deliver() {
                return;
            }
        }
        panic!("they never fall silent");
    }

    fn outputs(&mut self) -> bool {
        let mut any = false;
        let nodes: Vec<u64> = self.devices.keys().copied().collect();
        for node in nodes {
            while let Some(output) = self.devices.get_mut(&node).and_then(Device::poll_output) {
                any = true;
                match output {
                    Output::Connect if self.server.is_some() && !self.links[&node].hangs => {
                        let Some(server) = self.server.as_mut() else { continue };
                        self.next += 1;
                        assert!(server.connected(self.next, node.to_string(), self.now));
                        self.conns.insert(node, self.next);
                        self.links.get_mut(&node).expect("a link").up = true;
                        self.devices.get_mut(&node).expect("a node").connected(self.now);
                    }
                    Output::Send(m) => self.links.get_mut(&node).expect("a link").to_server.push(m.encode()),
                    // A server that cannot be reached does not see the end of the connection either.
                    Output::Disconnect if self.links[&node].hangs => {
                        self.conns.remove(&node);
                        *self.links.get_mut(&node).expect("a link") = Link { hangs: true, ..Link::default() };
                    }
                    Output::Disconnect => self.drop_conn(node),
                    Output::Check { .. } => panic!("there are no heuristics"),
                    Output::Connect if !self.links[&node].hangs => {
                        self.devices.get_mut(&node).expect("a node").lost("refused", self.now);
                    }
                    Output::Connect | Output::StartTls | Output::Told { .. } => {}
                }
            }
        }
        while let Some(output) = self.server.as_mut().and_then(Server::poll_output) {
            any = true;
            match output {
                qnetd::Output::Send { to, message } => {
                    if let Some(node) = self.conns.iter().find(|(_, c)| **c == to).map(|(n, _)| *n) {
                        self.links.get_mut(&node).expect("a link").to_client.push(message.encode());
                    }
                }
                qnetd::Output::Close { conn, .. } => {
                    if let Some(node) = self.conns.iter().find(|(_, c)| **c == conn).map(|(n, _)| *n)
                        && !self.links[&node].hangs
                    {
                        self.conns.remove(&node);
                        self.links.get_mut(&node).expect("a link").up = false;
                        self.devices.get_mut(&node).expect("a node").lost("closed", self.now);
                    }
                }
                _ => {}
            }
        }
        any
    }

    fn deliver(&mut self) -> bool {
        let mut any = false;
        for (node, link) in &mut self.links {
            if link.hangs {
                continue;
            }
            for bytes in std::mem::take(&mut link.to_server) {
                any = true;
                if let (Some(server), Some(conn)) = (self.server.as_mut(), self.conns.get(node)) {
                    server.received(*conn, &read(&bytes), self.now);
                }
            }
            for bytes in std::mem::take(&mut link.to_client) {
                any = true;
                self.devices.get_mut(node).expect("a node").received(&read(&bytes), self.now);
            }
        }
        any
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(TICK) {
            self.now = self.now + Duration::from_millis(TICK);
            self.devices.values_mut().for_each(|d| d.handle_timeout(self.now));
            if let Some(server) = self.server.as_mut() {
                server.handle_timeout(self.now);
            }
            self.exchange();
            self.one_partition_at_most();
        }
    }

    fn one_partition_at_most(&self) {
        let rings: std::collections::BTreeSet<RingId> =
            self.devices.values().filter(|d| d.casts()).map(|d| d.ring).collect();
        assert!(rings.len() <= 1, "at {:?} the vote is in {rings:?}", self.now);
    }

    fn casts(&self) -> Vec<u64> {
        self.devices.iter().filter(|(_, d)| d.casts()).map(|(n, _)| *n).collect()
    }

    /// The server ends, and all see it.
    fn server_ends(&mut self) {
        self.server = None;
        self.conns.clear();
        self.links.values_mut().for_each(|l| *l = Link { hangs: l.hangs, ..Link::default() });
        self.devices.values_mut().for_each(|d| d.lost("closed", self.now));
        self.exchange();
    }
}

fn read(bytes: &[u8]) -> Message {
    let mut frames = Frames::new(MAX_BODY_BYTES);
    frames.push(bytes);
    Message::decode(&frames.cut().expect("sound").expect("whole")).expect("sound")
}

#[test]
fn a_pair_has_the_vote_and_of_two_halves_one_keeps_it() {
    for algorithm in [Algorithm::Ffsplit, Algorithm::Lms, Algorithm::TwoNodeLms] {
        let mut world = World::new(2, algorithm);
        world.pass(3000);
        assert_eq!(world.casts(), [1, 2], "{algorithm:?}");
        world.view(&[2]);
        assert!(world.devices[&2].vote != Some(true), "{algorithm:?}: not before the arbitrator knows of both");
        world.view(&[1]);
        world.pass(9000);
        assert_eq!(world.casts(), [1], "{algorithm:?}");
        world.view(&[1, 2]);
        world.pass(9000);
        assert_eq!(world.casts(), [1, 2], "{algorithm:?}");
    }
}

#[test]
fn who_dies_is_given_up_after_one_and_a_half_heartbeats() {
    let mut world = World::new(2, Algorithm::Ffsplit);
    world.pass(3000);
    world.links.get_mut(&1).expect("a link").hangs = true;
    // The dead one does nothing any more; the other is undecided, and says so.
    let dead = world.devices.remove(&1).expect("a node");
    assert!(dead.casts());
    world.view(&[2]);
    assert!(world.devices[&2].is_undecided(world.now));
    let mut waited = 0;
    while world.casts().is_empty() {
        world.pass(TICK);
        waited += TICK;
        assert!(waited <= u64::from(QUICK_HEARTBEAT_MS) * 3 / 2, "not decided after {waited} ms");
    }
    // Alone it does not give up lightly: the heartbeat is long now.
    assert_eq!(world.devices[&2].heartbeat_ms, 8000);
    world.links.get_mut(&2).expect("a link").hangs = true;
    world.pass(5000);
    world.links.get_mut(&2).expect("a link").hangs = false;
    world.pass(1000);
    assert_eq!(world.casts(), [2]);
}

#[test]
fn a_ring_that_forms_while_a_client_introduces_itself_makes_its_heartbeat_short() {
    let mut device = Device::new(config(1, &[1, 2], Algorithm::Lms), Time::ZERO);
    let mut server = Server::new(qnetd::Config::default());
    device.set_view(RingId { node: 1, seq: 4 }, vec![1], Time::ZERO);
    device.handle_timeout(Time::ZERO);
    assert!(server.connected(1, "node1".to_owned(), Time::ZERO));
    device.connected(Time::ZERO);
    let mut agreed = None;
    for round in 0..10 {
        if round == 1 {
            assert!(!device.is_ready());
            device.set_view(RingId { node: 1, seq: 8 }, vec![1, 2], Time::ZERO);
        }
        while let Some(output) = device.poll_output() {
            if let Output::Send(message) = output {
                server.received(1, &message, Time::ZERO);
            }
        }
        while let Some(output) = server.poll_output() {
            if let qnetd::Output::Send { message, .. } = output {
                agreed = if message.kind == Kind::SetOptionReply { message.heartbeat_ms } else { agreed };
                device.received(&message, Time::ZERO);
            }
        }
    }
    assert!(device.is_ready());
    assert_eq!((agreed, device.heartbeat_ms), (Some(QUICK_HEARTBEAT_MS), QUICK_HEARTBEAT_MS));
}

#[test]
fn a_server_that_ends_takes_its_vote_along_and_gives_it_again() {
    let mut world = World::new(2, Algorithm::Ffsplit);
    world.pass(3000);
    world.server_ends();
    assert!(world.casts().is_empty() && !world.devices[&1].is_undecided(world.now));
    world.pass(5000);
    assert!(world.devices[&1].status().trouble.is_some(), "it is told why");
    world.server = Some(Server::new(qnetd::Config::default()));
    world.pass(3000);
    assert_eq!(world.casts(), [1, 2]);
    // One that takes everything and answers nothing is left by itself.
    world.links.values_mut().for_each(|l| l.hangs = true);
    world.pass(u64::from(QUICK_HEARTBEAT_MS) * GIVE_UP_PERMILLE / 1000 + 200);
    assert!(world.casts().is_empty());
}

#[test]
fn a_half_that_does_not_reach_the_arbitrator_has_no_vote_before_the_other_gets_it() {
    let mut world = World::new(2, Algorithm::Ffsplit);
    world.pass(3000);
    world.links.get_mut(&1).expect("a link").hangs = true;
    world.view(&[1]);
    world.view(&[2]);
    // `pass` looks at every moment.
    world.pass(4000);
    assert_eq!(world.casts(), [2]);
    // The half that has it loses the arbitrator, and no view tells it anything.
    world.links.get_mut(&1).expect("a link").hangs = false;
    world.pass(12_000);
    assert_eq!(world.casts(), [2], "the active half stays");
    world.links.get_mut(&2).expect("a link").hangs = true;
    world.pass(14_000);
    assert_eq!(world.casts(), [1]);
}

#[test]
fn what_becomes_of_quorum_is_told_once() {
    let mut world = World::new(2, Algorithm::Lms);
    world.pass(3000);
    let device = world.devices.get_mut(&1).expect("a node");
    let mut told = |quorate: bool| {
        device.set_quorate(quorate);
        let outputs: Vec<Output> = std::iter::from_fn(|| device.poll_output()).collect();
        let lists = outputs.into_iter().filter_map(|o| if let Output::Send(m) = o { m.quorate } else { None });
        lists.collect::<Vec<bool>>()
    };
    assert_eq!((told(true), told(true), told(false)), (vec![true], vec![], vec![false]));
}

#[test]
fn patience_ends_at_its_very_moment() {
    let mut world = World::new(2, Algorithm::Ffsplit);
    world.pass(3000);
    let device = world.devices.get_mut(&1).expect("a node");
    let ends = device.gives_up_at();
    device.handle_timeout(Time(ends.0 - 1));
    assert!(device.is_ready());
    device.handle_timeout(ends);
    assert!(!device.is_ready() && device.poll_timeout() > Some(ends), "else whoever drives it never sleeps");
}

#[test]
fn programs_are_run_again_after_their_interval() {
    let with = Config { heuristics: HeuristicsMode::On, ..config(1, &[1, 2], Algorithm::Ffsplit) };
    let mut device = Device::new(with, Time::ZERO);
    device.phase = Phase::Ready;
    device.checked(Heuristics::Pass, Time::ZERO);
    assert_eq!(device.heuristics.next, Some(Time::from_millis(30_000)));
}

#[test]
fn an_answer_for_another_view_is_none() {
    let mut world = World::new(2, Algorithm::Ffsplit);
    world.pass(3000);
    let device = world.devices.get_mut(&1).expect("a node");
    let old = device.ring;
    device.set_view(RingId { node: 1, seq: 99 }, vec![1], world.now);
    let mut late = Message::numbered(Kind::VoteInfo, Some(5));
    (late.vote, late.ring) = (Some(Vote::Ack), Some(old));
    device.received(&late, world.now);
    assert!(!device.casts() && device.is_undecided(world.now));
    let confirmed = std::iter::from_fn(|| device.poll_output());
    assert!(confirmed.into_iter().any(|o| matches!(o, Output::Send(m) if m.kind == Kind::VoteInfoReply)));
}

#[test]
fn what_ends_a_session_is_named() {
    let now = Time::ZERO;
    let mut device = Device::new(Config { tls: Tls::Required, ..config(1, &[1, 2], Algorithm::Lms) }, now);
    device.handle_timeout(now);
    device.connected(now);
    let mut reply = Message::numbered(Kind::PreinitReply, Some(1));
    (reply.tls, reply.client_cert_required) = (Some(Tls::Unsupported), Some(false));
    device.received(&reply, now);
    assert_eq!(device.status().trouble.as_deref(), Some("TLS is required here, and it does not offer it"));
    assert_eq!(device.poll_timeout(), Some(now + RETRY));
    // Every other reply out of place ends it as well.
    let later = now + RETRY;
    device.handle_timeout(later);
    device.connected(later);
    device.received(&Message::new(Kind::InitReply), later);
    assert_eq!(device.status().trouble.as_deref(), Some("it sent what was not expected"));
}

/// A part that grows beyond the one that has the vote gets it when that one knows that it has it no more.
#[test]
fn the_last_man_loses_the_vote_before_others_get_it() {
    let mut world = World::new(3, Algorithm::Lms);
    world.pass(3000);
    for node in [1, 2, 3] {
        world.view(&[node]);
    }
    world.pass(9000);
    assert_eq!(world.casts(), [1]);
    world.links.get_mut(&1).expect("a link").hangs = true;
    world.view(&[2, 3]);
    // `pass` looks at every moment.
    world.pass(10_000);
    assert_eq!(world.casts(), [1]);
    world.links.get_mut(&1).expect("a link").hangs = false;
    world.pass(1000);
    assert_eq!(world.casts(), [2, 3]);
}

/// Whatever happens to rings, connections and the server: the vote is in one partition at most, at every moment; and once all is
/// well, everybody has it.
#[test]
fn never_two_partitions_at_once() {
    for seed in 1..=120u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let algorithm = if seed % 2 == 0 { Algorithm::Ffsplit } else { Algorithm::Lms };
        let nodes = if algorithm == Algorithm::Lms { 2 + below(4) as u32 } else { [2u32, 4][below(2) as usize] };
        let mut world = World::new(nodes, algorithm);
        let ids: Vec<u32> = (1..=nodes).collect();
        for _ in 0..30 {
            match below(6) {
                0 => world.view(&ids),
                1 | 2 => {
                    let cut = 1 + below(u64::from(nodes) - 1) as usize;
                    let (a, b) = ids.split_at(cut);
                    world.view(a);
                    world.pass(TICK * below(4));
                    world.view(b);
                }
                3 => {
                    let node = 1 + below(nodes.into());
                    let link = world.links.get_mut(&node).expect("a link");
                    link.hangs = !link.hangs;
                }
                4 if world.server.is_some() => world.server_ends(),
                _ => world.server = world.server.take().or_else(|| Some(Server::new(qnetd::Config::default()))),
            }
            let long = [1, 1, 6][below(3) as usize];
            world.pass(TICK * below(80) * long);
        }
        world.links.values_mut().for_each(|l| l.hangs = false);
        world.server = world.server.take().or_else(|| Some(Server::new(qnetd::Config::default())));
        world.view(&ids);
        world.pass(30_000);
        assert_eq!(world.casts().len(), ids.len(), "seed {seed}");
    }
}
