//! Controllers over the real ring, on a virtual network that loses and cuts: what the ring promises is what they rely on.

use base::exit::OcfCode;
use base::{NodeId, Time, WallTime};
use cib::Cib;
use controller::*;

use crate::harness::{GROUP, START_WALL, document, schedule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use xml::Element;

struct Host {
    ring: totem::Node,
    brain: Controller,
    running: BTreeSet<String>,
    replies: BTreeMap<u64, Response>,
    life: u64,
}

/// What outlives a process.
#[derive(Default, Clone)]
struct Disk {
    ring_seq: u64,
    cib: Option<(Arc<Element>, String)>,
}

enum Event {
    Packet { from: NodeId, to: NodeId, link: u8, frame: Vec<u8> },
    Done { node: NodeId, life: u64, call: u64, operation: base::Operation },
    Scheduled { node: NodeId, life: u64, ticket: u64, cib: Arc<Element>, wall: WallTime },
    Stored { node: NodeId, life: u64, saved: Persist },
}

struct World {
    now: Time,
    hosts: BTreeMap<NodeId, Host>,
    disks: BTreeMap<NodeId, Disk>,
    /// When each disk has done what it was given.
    disk_free: BTreeMap<NodeId, Time>,
    /// One write takes less than that.
    disk_us: u64,
    events: BTreeMap<(Time, u64), Event>,
    order: u64,
    /// Pairs that hear nothing of each other.
    cut: BTreeSet<(NodeId, NodeId)>,
    loss_percent: u64,
    random: u64,
    size: u32,
    next_life: u64,
    next_client: u64,
    /// Nodes whose process is stopped, with the packets that wait in its sockets.
    paused: BTreeMap<NodeId, Vec<Event>>,
    /// Members that make quorum.
    majority: usize,
    starts: Vec<(Time, NodeId, String)>,
    stops: Vec<(Time, NodeId, String)>,
}

impl World {
    fn new(size: u32, seed: u64) -> World {
        World::with_majority(size, size as usize / 2 + 1, seed)
    }

    fn with_majority(size: u32, majority: usize, seed: u64) -> World {
        let mut world = World {
            now: Time::from_millis(1000),
            hosts: BTreeMap::new(),
            disks: BTreeMap::new(),
            disk_free: BTreeMap::new(),
            disk_us: 2000,
            events: BTreeMap::new(),
            order: 0,
            cut: BTreeSet::new(),
            loss_percent: 0,
            random: seed,
            size,
            next_life: 1,
            next_client: 0,
            paused: BTreeMap::new(),
            majority,
            starts: Vec::new(),
            stops: Vec::new(),
        };
        (1..=size).for_each(|n| world.boot(n));
        world
    }

    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) % n
    }

    fn boot(&mut self, id: u32) {
        let me = NodeId(id);
        let disk = self.disks.entry(me).or_default().clone();
        let life = self.next_life;
        self.next_life += 1;
        let all = (1..=self.size).map(NodeId);
        let mut config = totem::Config::new(me, all.clone(), life);
        config.ring_seq = disk.ring_seq;
        let ring = totem::Node::new(config, self.now);
        let names = all.map(|n| (n, format!("node{n}"))).collect();
        let (cib, lineage) = match disk.cib {
            Some((e, lineage)) => (Cib::from_element((*e).clone()).unwrap(), lineage),
            None => (Cib::parse(&document(GROUP)).unwrap(), String::new()),
        };
        let mut config = Config::new(me, names, "test", life);
        config.two_node = self.majority == 1;
        let brain = Controller::new(config, cib, &lineage, self.now);
        self.hosts.insert(me, Host { ring, brain, running: BTreeSet::new(), replies: BTreeMap::new(), life });
        self.drain(me);
    }

    fn push(&mut self, delay: Duration, event: Event) {
        self.order += 1;
        self.events.insert((self.now + delay, self.order), event);
    }

    fn wall(&self) -> WallTime {
        WallTime(START_WALL + self.now.as_millis() as i64)
    }

    fn run_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        loop {
            let timer = |h: &Host| [h.ring.poll_timeout(), h.brain.poll_timeout()].into_iter().flatten().min();
            let awake = self.hosts.iter().filter(|(n, _)| !self.paused.contains_key(n));
            let due = awake.filter_map(|(n, h)| Some((timer(h)?, *n))).min();
            let event = self.events.keys().next().copied();
            match (event, due) {
                (Some((at, order)), due) if at <= end && due.is_none_or(|(t, _)| at <= t) => {
                    self.now = self.now.max(at);
                    let event = self.events.remove(&(at, order)).unwrap();
                    self.happen(event);
                }
                (_, Some((at, node))) if at <= end => {
                    self.now = self.now.max(at);
                    let (now, wall) = (self.now, self.wall());
                    let host = self.hosts.get_mut(&node).unwrap();
                    host.ring.handle_timeout(now);
                    host.brain.handle(now, wall, Input::Tick);
                    self.drain(node);
                    self.now = self.now + Duration::from_micros(1);
                }
                _ => break,
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        let (now, wall) = (self.now, self.wall());
        let (Event::Packet { to: owner, .. }
        | Event::Done { node: owner, .. }
        | Event::Scheduled { node: owner, .. }
        | Event::Stored { node: owner, .. }) = &event;
        if let Some(inbox) = self.paused.get_mut(owner) {
            return inbox.push(event);
        }
        let node = match event {
            Event::Packet { from, to, link, frame } => {
                let Some(host) = self.hosts.get_mut(&to) else { return };
                host.ring.handle(now, from, link, &frame);
                to
            }
            Event::Done { node, life, call, operation } => {
                let Some(host) = self.hosts.get_mut(&node).filter(|h| h.life == life) else { return };
                let there = host.running.contains(&operation.instance.id);
                let code = match operation.action.as_str() {
                    "start" => {
                        host.running.insert(operation.instance.id.clone());
                        self.starts.push((now, node, operation.instance.id.clone()));
                        OcfCode::OK
                    }
                    "stop" => {
                        self.stops.push((now, node, operation.instance.id.clone()));
                        host.running.remove(&operation.instance.id);
                        OcfCode::OK
                    }
                    _ if there => OcfCode::OK,
                    _ => OcfCode::NOT_RUNNING,
                };
                host.brain.handle(now, wall, Input::Executed { call, result: ExecResult::done(code) });
                node
            }
            Event::Stored { node, life, saved } => {
                let Some(host) = self.hosts.get_mut(&node).filter(|h| h.life == life) else { return };
                self.disks.entry(node).or_default().cib = Some((saved.cib, saved.lineage));
                host.brain.handle(now, wall, Input::Stored { ticket: saved.ticket, written: true });
                node
            }
            Event::Scheduled { node, life, ticket, cib, wall: at } => {
                let Some(host) = self.hosts.get_mut(&node).filter(|h| h.life == life) else { return };
                let result = schedule(&cib, at).map(Box::new);
                host.brain.handle(now, wall, Input::Scheduled { ticket, result });
                node
            }
        };
        self.drain(node);
    }

    /// Passes outputs of ring and controller on until both are silent.
    fn drain(&mut self, node: NodeId) {
        let (now, wall) = (self.now, self.wall());
        loop {
            let Some(host) = self.hosts.get_mut(&node) else { return };
            if let Some(output) = host.ring.poll_output() {
                self.ring_output(node, output, now, wall);
            } else if let Some(output) = host.brain.poll_output() {
                self.brain_output(node, output);
            } else {
                return;
            }
        }
    }

    fn ring_output(&mut self, node: NodeId, output: totem::Output, now: Time, wall: WallTime) {
        let host = self.hosts.get_mut(&node).unwrap();
        let view_of = |v: totem::ViewId| ViewId { seq: v.seq, rep: v.rep };
        let input = match output {
            totem::Output::Send { to, link, frame } => {
                let lost = self.cut.contains(&(node, to)) || self.below(100) < self.loss_percent;
                let delay = Duration::from_micros(100 + self.below(50));
                if !lost {
                    self.push(delay, Event::Packet { from: node, to, link, frame: frame.to_vec() });
                }
                return;
            }
            // Hosts that answer no questions.
            totem::Output::Echo { .. } => return,
            totem::Output::Deliver(m) => {
                Input::Deliver { sender: m.sender, view: view_of(m.view), seq: m.seq, payload: m.payload }
            }
            totem::Output::Safe { view, seq } => Input::Safe { view: view_of(view), seq },
            totem::Output::Transitional(_) => Input::Transitional,
            totem::Output::View(v) => {
                let quorate = v.members.len() >= self.majority;
                Input::View { id: view_of(v.id), members: v.members, quorate }
            }
            totem::Output::SaveRingSeq(seq) => {
                self.disks.entry(node).or_default().ring_seq = seq;
                return;
            }
            totem::Output::Event(totem::Event::LocalStall { stalled_ms }) => Input::Stalled { ms: stalled_ms },
            totem::Output::Event(_) => return,
        };
        host.brain.handle(now, wall, input);
    }

    fn brain_output(&mut self, node: NodeId, output: Output) {
        let now = self.now;
        let host = self.hosts.get_mut(&node).unwrap();
        let life = host.life;
        match output {
            Output::Broadcast(payload) => host.ring.broadcast(now, payload).unwrap(),
            Output::Execute { call, operation, .. } => {
                self.push(Duration::from_millis(5), Event::Done { node, life, call, operation })
            }
            Output::Schedule { ticket, cib, wall } => {
                self.push(Duration::from_millis(1), Event::Scheduled { node, life, ticket, cib, wall });
            }
            Output::Reply { id, response } => drop(host.replies.insert(id, response)),
            Output::Persist(saved) => {
                let free = self.disk_free.get(&node).copied().unwrap_or_default().max(now);
                let ready = free + Duration::from_micros(1 + self.below(self.disk_us));
                self.disk_free.insert(node, ready);
                self.push(ready.since(now), Event::Stored { node, life, saved });
            }
            _ => {}
        }
    }

    fn kill(&mut self, id: u32) {
        self.hosts.remove(&NodeId(id));
    }

    fn pause(&mut self, id: u32) {
        self.paused.insert(NodeId(id), Vec::new());
    }

    fn resume(&mut self, id: u32) {
        for event in self.paused.remove(&NodeId(id)).unwrap() {
            self.push(Duration::ZERO, event);
        }
    }

    fn split(&mut self, alone: u32) {
        for other in (1..=self.size).filter(|n| *n != alone) {
            self.cut.insert((NodeId(alone), NodeId(other)));
            self.cut.insert((NodeId(other), NodeId(alone)));
        }
    }

    fn property(&mut self, node: u32, name: &str) -> u64 {
        self.next_client += 1;
        let pair = Element::new("nvpair").with("id", format!("opt-{name}")).with("name", name).with("value", "v");
        let set = Element::new("cluster_property_set").with("id", "cib-bootstrap-options").with_child(pair);
        let request = cib::Request::upsert("crm_config", Element::new("crm_config").with_child(set));
        let (now, wall, id) = (self.now, self.wall(), self.next_client);
        let host = self.hosts.get_mut(&NodeId(node)).unwrap();
        host.brain.handle(now, wall, Input::Client { id, request: Request::Cib(request) });
        self.drain(NodeId(node));
        id
    }

    fn where_is(&self, resource: &str) -> Vec<u32> {
        self.hosts.iter().filter(|(_, h)| h.running.contains(resource)).map(|(n, _)| n.0).collect()
    }

    fn text(&self, node: u32) -> String {
        self.hosts[&NodeId(node)].brain.cib().root().to_pretty()
    }
}

#[test]
fn a_killed_node_is_replaced_within_a_third_of_a_second() {
    let mut world = World::new(3, 7);
    world.run_ms(3000);
    assert_eq!((world.where_is("vip"), world.where_is("lvs")), (vec![1], vec![1]));
    let killed = world.now;
    world.kill(1);
    world.run_ms(2000);
    assert_eq!((world.where_is("vip"), world.where_is("lvs")), (vec![2], vec![2]));
    let (at, ..) = world.starts.iter().find(|(at, _, r)| *at > killed && r == "vip").unwrap();
    let outage = at.since(killed).as_millis();
    assert!(outage < 330, "{outage} ms");
    assert_eq!(world.text(2), world.text(3));
}

#[test]
fn a_stopped_process_that_wakes_up_disturbs_nobody() {
    for (size, majority, deaf_ms) in [(3, 2, 0), (2, 1, 0), (2, 1, 300), (3, 2, 300)] {
        let mut world = World::with_majority(size, majority, 3);
        world.run_ms(12_000);
        let owner = world.where_is("vip")[0];
        world.pause(owner);
        // Its lease ends meanwhile; its director would go on.
        world.hosts.get_mut(&NodeId(owner)).unwrap().running.remove("vip");
        world.run_ms(5000);
        let taken = world.where_is("vip");
        assert_eq!(taken.len(), 1, "{size} nodes");
        let woken = world.now;
        if deaf_ms > 0 {
            // What waited in the sockets is lost, and it takes a while until the first packet comes.
            world.paused.insert(NodeId(owner), Vec::new());
            world.split(owner);
        }
        world.resume(owner);
        world.run_ms(deaf_ms);
        world.cut.clear();
        world.run_ms(8000);
        assert_eq!((world.where_is("vip"), world.where_is("lvs")), (taken.clone(), taken.clone()), "{size} nodes");
        assert!(!world.starts.iter().any(|(at, ..)| *at > woken), "{size} nodes: {:?}", world.starts);
        assert!(world.stops.iter().all(|(_, n, _)| n.0 == owner), "{size} nodes: {:?}", world.stops);
        assert_eq!(world.text(1), world.text(2));
    }
}

#[test]
fn what_was_called_safe_outlives_the_power_failing_everywhere() {
    let mut safe = 0;
    for seed in crate::harness::seeds(60) {
        for (size, majority) in [(2, 1), (3, 2)] {
            safe += power_failure(size, majority, seed);
        }
    }
    assert!(safe > 100, "only {safe} writes were acknowledged before the power failed");
}

/// Slow disks, writes on all nodes, then all of them are gone at once. How many writes had been called safe.
fn power_failure(size: u32, majority: usize, seed: u64) -> usize {
    let mut world = World::with_majority(size, majority, seed);
    world.disk_us = 40_000;
    world.run_ms(2000);
    let mut writes = Vec::new();
    for round in 0..10 + world.below(10) {
        let node = 1 + world.below(u64::from(size)) as u32;
        let name = format!("w{round}");
        writes.push((node, world.property(node, &name), name));
        let pause = world.below(30);
        world.run_ms(pause);
    }
    let told = |(node, id, _): &(u32, u64, String)| world.hosts[&NodeId(*node)].replies.get(id).cloned();
    let is_safe = |w: &(u32, u64, String)| matches!(told(w), Some(Response::Done { safety: Safety::Safe, .. }));
    let safe: Vec<String> = writes.iter().filter(|w| is_safe(w)).map(|(.., name)| name.clone()).collect();
    let mut order: Vec<u32> = (1..=size).collect();
    order.iter().for_each(|n| world.kill(*n));
    order.rotate_left(seed as usize % size as usize);
    for node in order {
        world.boot(node);
        let pause = world.below(500);
        world.run_ms(pause);
    }
    world.run_ms(5000);
    for node in 1..=size {
        let text = world.text(node);
        for name in &safe {
            assert!(text.contains(&format!("name=\"{name}\"")), "seed {seed}, {size} nodes: safe write {name} is lost");
        }
    }
    safe.len()
}

#[test]
fn disorder_on_the_real_ring_heals() {
    for seed in crate::harness::seeds(12) {
        one_life(seed);
    }
}

fn one_life(seed: u64) {
    let mut world = World::new(3, seed);
    world.run_ms(2000);
    world.loss_percent = seed % 3;
    let mut writes: Vec<(u32, u64, u64, String)> = Vec::new();
    for round in 0..30 {
        let up: Vec<u32> = world.hosts.keys().map(|n| n.0).collect();
        let node = up[world.below(up.len() as u64) as usize];
        let name = format!("w{round}");
        let life = world.hosts[&NodeId(node)].life;
        writes.push((node, life, world.property(node, &name), name));
        match world.below(6) {
            0 if up.len() == 3 => world.kill(node),
            1 => {
                for id in 1..=3 {
                    if !world.hosts.contains_key(&NodeId(id)) {
                        world.boot(id);
                    }
                }
            }
            2 => world.split(node),
            3 => world.cut.clear(),
            _ => {}
        }
        let pause = world.below(400);
        world.run_ms(pause);
    }
    world.cut.clear();
    world.loss_percent = 0;
    for id in 1..=3 {
        if !world.hosts.contains_key(&NodeId(id)) {
            world.boot(id);
        }
    }
    world.run_ms(20_000);
    let text = world.text(1);
    assert_eq!(text, world.text(2), "seed {seed}");
    assert_eq!(text, world.text(3), "seed {seed}");
    for (node, life, id, name) in writes {
        let host = &world.hosts[&NodeId(node)];
        match host.replies.get(&id) {
            Some(Response::Done { safety: Safety::Safe, .. }) => {
                assert!(text.contains(&format!("name=\"{name}\"")), "seed {seed}: safe write {name} is lost");
            }
            Some(_) => {}
            None => assert_ne!(host.life, life, "seed {seed}: {name} was never answered"),
        }
    }
    assert_eq!(world.where_is("vip").len(), 1, "seed {seed}: {:?}", world.where_is("vip"));
    assert_eq!(world.where_is("vip"), world.where_is("lvs"), "seed {seed}");
}
