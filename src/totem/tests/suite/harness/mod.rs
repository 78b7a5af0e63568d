//! A cluster on a virtual clock: nodes, a network that loses, delays, repeats, reorders and cuts, and a log of all that each
//! process life was told. Everything follows from the seed.

pub mod check;

use base::{NodeId, Time};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use totem::{Config, Event, Message, Node, Output, State, Timing, Transitional, View, ViewId};

pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn chance(&mut self, percent: f64) -> bool {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 100.0 < percent
    }
}

#[derive(Clone, Debug)]
pub enum Entry {
    Sent { id: MessageId },
    Deliver { id: MessageId, message: Message },
    Safe { view: ViewId, seq: u64 },
    Transitional(Transitional),
    View(View),
    Event(Event),
}

/// Origin, its process life, its number there.
pub type MessageId = (u32, u64, u64);

/// One process life.
pub struct Life {
    pub node: NodeId,
    pub incarnation: u64,
    pub log: Vec<(Time, Entry)>,
    /// Not crashed, not left.
    pub running: bool,
}

impl Life {
    pub fn views(&self) -> impl Iterator<Item = (Time, &View)> {
        self.log.iter().filter_map(|(t, e)| if let Entry::View(v) = e { Some((*t, v)) } else { None })
    }

    pub fn delivered(&self) -> impl Iterator<Item = (&MessageId, &Message)> {
        self.log
            .iter()
            .filter_map(|(_, e)| if let Entry::Deliver { id, message } = e { Some((id, message)) } else { None })
    }

    pub fn events(&self) -> impl Iterator<Item = (Time, &Event)> {
        self.log.iter().filter_map(|(t, e)| if let Entry::Event(v) = e { Some((*t, v)) } else { None })
    }
}

struct Host {
    node: Option<Node>,
    life: usize,
    ring_seq: u64,
    sent: u64,
    paused_until: Option<Time>,
    /// How far the clock of the machine is behind: it stands still while the machine does.
    lag: Duration,
    inbox: Vec<Packet>,
    /// The machine stands still, not just the process: its kernel answers nobody.
    frozen: bool,
    /// Whether it answers echo requests at all.
    answers: bool,
}

/// What carries no frame: a question to a host, and its answer.
const ECHO_REQUEST: &[u8] = b"?";
const ECHO_REPLY: &[u8] = b"!";

#[derive(Clone)]
struct Packet {
    from: NodeId,
    to: NodeId,
    link: u8,
    frame: Bytes,
}

pub type Filter = Box<dyn FnMut(NodeId, NodeId, u8, &[u8]) -> bool>;

pub struct Cluster {
    pub now: Time,
    pub rng: Rng,
    pub lives: Vec<Life>,
    pub loss: f64,
    pub duplicate: f64,
    /// Microseconds one way: at least, and at most that much more.
    pub delay: (u64, u64),
    /// Directed, per link.
    pub cut: BTreeSet<(NodeId, NodeId, u8)>,
    pub links: u8,
    /// Bytes of a datagram that are carried, where not all are; larger ones are dropped without a word.
    pub carries: BTreeMap<(NodeId, NodeId, u8), usize>,
    /// … and what the sending host itself refuses, and says so.
    pub takes: BTreeMap<(NodeId, u8), usize>,
    pub timing: Timing,
    /// Drops what it says `true` to: (from, to, kind byte of the frame, frame).
    pub filter: Option<Filter>,
    /// Frames of each kind that were sent.
    pub traffic: BTreeMap<u8, u64>,
    hosts: BTreeMap<NodeId, Host>,
    packets: BTreeMap<(Time, u64), Packet>,
    next_packet: u64,
    next_incarnation: u64,
    /// What a cut kept back: a host queues a few packets while it cannot resolve the neighbour's address, and sends them when
    /// the cable is in again.
    kept: BTreeMap<(NodeId, NodeId, u8), Vec<Packet>>,
}

/// Packets that wait for one neighbour's address.
const KEPT: usize = 3;

impl Cluster {
    pub fn new(seed: u64) -> Cluster {
        Cluster {
            now: Time::from_millis(1000),
            rng: Rng::new(seed),
            lives: Vec::new(),
            loss: 0.0,
            duplicate: 0.0,
            delay: (100, 50),
            cut: BTreeSet::new(),
            links: 1,
            carries: BTreeMap::new(),
            takes: BTreeMap::new(),
            timing: Timing::fast(),
            filter: None,
            traffic: BTreeMap::new(),
            hosts: BTreeMap::new(),
            packets: BTreeMap::new(),
            next_packet: 0,
            next_incarnation: 1,
            kept: BTreeMap::new(),
        }
    }

    /// `n` nodes, started and in one view.
    pub fn formed(seed: u64, n: u32) -> Cluster {
        let mut c = Cluster::new(seed);
        c.declare(n);
        (1..=n).for_each(|i| c.start(NodeId(i)));
        c.run_ms(2000);
        let all: Vec<NodeId> = (1..=n).map(NodeId).collect();
        assert!(c.in_one_view(&all), "{:?}", c.members());
        c
    }

    /// The nodelist.
    pub fn declare(&mut self, n: u32) {
        for i in 1..=n {
            let host = Host {
                node: None,
                life: usize::MAX,
                ring_seq: 0,
                sent: 0,
                paused_until: None,
                lag: Duration::ZERO,
                inbox: Vec::new(),
                frozen: false,
                answers: true,
            };
            self.hosts.insert(NodeId(i), host);
        }
    }

    /// What the node finds in its file at its next start.
    pub fn store_ring_seq(&mut self, id: NodeId, seq: u64) {
        self.hosts.get_mut(&id).unwrap().ring_seq = seq;
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.hosts.keys().copied().collect()
    }

    pub fn running(&self) -> Vec<NodeId> {
        self.hosts.iter().filter(|(_, h)| h.node.is_some()).map(|(id, _)| *id).collect()
    }

    pub fn start(&mut self, id: NodeId) {
        let peers = self.ids();
        let incarnation = self.next_incarnation;
        // Room to start over.
        self.next_incarnation += 1 << 20;
        let mut config = Config::new(id, peers, incarnation);
        config.links = self.links;
        config.timing = self.timing;
        config.ring_seq = self.hosts[&id].ring_seq;
        self.lives.push(Life { node: id, incarnation, log: Vec::new(), running: true });
        let host = self.hosts.get_mut(&id).unwrap();
        assert!(host.node.is_none());
        // A process counts its time from its own start, so its clock is behind that of a life before.
        host.lag = if host.life == usize::MAX { Duration::ZERO } else { self.now.since(Time::from_millis(1)) };
        host.node = Some(Node::new(config, self.now - host.lag));
        host.life = self.lives.len() - 1;
        host.sent = 0;
        host.paused_until = None;
        host.frozen = false;
        host.inbox.clear();
        self.drain(id);
    }

    /// Its machine's firewall lets no echo requests in.
    pub fn mute(&mut self, id: NodeId) {
        self.hosts.get_mut(&id).unwrap().answers = false;
    }

    /// The machine is off.
    pub fn crash(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).unwrap();
        if host.node.take().is_some() {
            self.lives[host.life].running = false;
        }
    }

    pub fn leave(&mut self, id: NodeId) {
        let now = self.local(id);
        let host = self.hosts.get_mut(&id).unwrap();
        if let Some(node) = &mut host.node {
            node.leave(now);
            self.lives[host.life].running = false;
            self.drain(id);
        }
    }

    /// SIGSTOP for a while; what arrives waits in the socket.
    pub fn pause(&mut self, id: NodeId, ms: u64) {
        let until = self.now + Duration::from_millis(ms);
        let host = self.hosts.get_mut(&id).unwrap();
        // A machine that stands still is not woken by what happens to a process on it.
        host.paused_until = Some(host.paused_until.map_or(until, |t| t.max(until)));
    }

    /// A paused virtual machine: as with `pause`, but its clock does not tell it.
    pub fn freeze(&mut self, id: NodeId, ms: u64) {
        let host = &self.hosts[&id];
        // Of a machine that stands still already, the clock stands still for what this adds.
        let stands_until = host.paused_until.filter(|_| host.frozen).unwrap_or(self.now);
        self.pause(id, ms);
        let host = self.hosts.get_mut(&id).unwrap();
        host.frozen = true;
        host.lag += (self.now + Duration::from_millis(ms)).since(stands_until);
    }

    /// The time as that node's clock has it.
    pub fn local(&self, id: NodeId) -> Time {
        self.now - self.hosts[&id].lag
    }

    pub fn broadcast(&mut self, id: NodeId, size: usize) -> Option<MessageId> {
        let now = self.local(id);
        let host = self.hosts.get_mut(&id).unwrap();
        if host.paused_until.is_some() {
            return None;
        }
        let node = host.node.as_mut()?;
        host.sent += 1;
        let life = host.life;
        let message = (id.0, self.lives[life].incarnation, host.sent);
        if node.broadcast(now - host.lag, encode(message, size)).is_err() {
            host.sent -= 1;
            return None;
        }
        self.lives[life].log.push((now, Entry::Sent { id: message }));
        self.drain(id);
        Some(message)
    }

    pub fn node(&self, id: NodeId) -> &Node {
        self.hosts[&id].node.as_ref().unwrap()
    }

    pub fn with<T>(&mut self, id: NodeId, f: impl FnOnce(&mut Node, Time) -> T) -> T {
        let now = self.local(id);
        let result = f(self.hosts.get_mut(&id).unwrap().node.as_mut().unwrap(), now);
        self.drain(id);
        result
    }

    pub fn life(&self, id: NodeId) -> &Life {
        &self.lives[self.hosts[&id].life]
    }

    /// Both ways, all links, between every node of `a` and every other node not in `a`.
    pub fn partition(&mut self, a: &[NodeId]) {
        for x in self.ids() {
            for y in self.ids() {
                if a.contains(&x) != a.contains(&y) {
                    self.cut_one_way(x, y);
                }
            }
        }
    }

    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        (0..self.links).for_each(|l| {
            self.cut.insert((from, to, l));
        });
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        for packet in std::mem::take(&mut self.kept).into_values().flatten() {
            self.enqueue(packet, self.delay.0);
        }
    }

    pub fn members(&self) -> BTreeMap<NodeId, (State, Vec<NodeId>)> {
        let of = |n: &Node| (n.status(self.now).state, n.members().to_vec());
        self.hosts.iter().filter_map(|(id, h)| h.node.as_ref().map(|n| (*id, of(n)))).collect()
    }

    pub fn in_one_view(&self, ids: &[NodeId]) -> bool {
        let Some(first) = ids.first() else { return true };
        let view = self.node(*first).view();
        ids.iter().all(|id| {
            let n = self.node(*id);
            n.view() == view && n.members() == ids && n.status(self.now).state == State::Operational
        })
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now + Duration::from_millis(ms));
    }

    /// Runs until the condition holds; the time it took, or `None` if it did not within `limit_ms`.
    pub fn run_until_true(&mut self, limit_ms: u64, mut condition: impl FnMut(&Cluster) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + Duration::from_millis(limit_ms));
        while !condition(self) {
            let next = self.next_time()?;
            if next > end {
                return None;
            }
            self.run_until(next);
        }
        Some(self.now.since(start))
    }

    fn next_time(&self) -> Option<Time> {
        let packet = self.packets.keys().next().map(|(t, _)| *t);
        let timers = self.hosts.values().filter_map(|h| match (h.paused_until, &h.node) {
            (Some(t), _) => Some(t),
            (None, Some(n)) => n.poll_timeout().map(|t| t + h.lag),
            _ => None,
        });
        timers.chain(packet).min()
    }

    pub fn run_until(&mut self, end: Time) {
        let mut still = (self.now, 0u32);
        while let Some(next) = self.next_time().filter(|t| *t <= end) {
            self.now = self.now.max(next);
            still = if still.0 == self.now { (still.0, still.1 + 1) } else { (self.now, 0) };
            assert!(still.1 < 10_000, "time stands still at {:?}: {:?}", self.now, self.members());
            self.resume_paused();
            self.fire_timers();
            self.deliver_packets();
        }
        self.now = self.now.max(end);
    }

    fn resume_paused(&mut self) {
        for id in self.ids() {
            let now = self.now;
            let host = self.hosts.get_mut(&id).unwrap();
            if host.paused_until.is_some_and(|t| t <= now) {
                host.paused_until = None;
                host.frozen = false;
                for p in std::mem::take(&mut host.inbox) {
                    self.handle(p);
                }
            }
        }
    }

    fn fire_timers(&mut self) {
        for id in self.ids() {
            let now = self.now;
            let host = self.hosts.get_mut(&id).unwrap();
            if host.paused_until.is_some() {
                continue;
            }
            let local = now - host.lag;
            if let Some(node) = host.node.as_mut().filter(|n| n.poll_timeout().is_some_and(|t| t <= local)) {
                node.handle_timeout(local);
                self.drain(id);
            }
        }
    }

    fn deliver_packets(&mut self) {
        while let Some(entry) = self.packets.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let packet = entry.remove();
            self.handle(packet);
        }
    }

    fn handle(&mut self, p: Packet) {
        let to = p.to;
        let now = self.local(to);
        let Some(host) = self.hosts.get_mut(&to) else { return };
        if p.frame == ECHO_REQUEST {
            if host.node.is_some() && host.answers && !host.frozen {
                self.transmit(Packet { from: to, to: p.from, link: p.link, frame: Bytes::from_static(ECHO_REPLY) });
            }
            return;
        }
        if host.paused_until.is_some() {
            // A socket buffer is finite as well.
            if host.inbox.len() < 300 {
                host.inbox.push(p);
            }
            return;
        }
        if let Some(node) = &mut host.node {
            if p.frame == ECHO_REPLY {
                node.host_answered(now, p.from);
            } else {
                node.handle(now, p.from, p.link, &p.frame);
            }
            self.drain(to);
        }
    }

    fn drain(&mut self, id: NodeId) {
        loop {
            let host = self.hosts.get_mut(&id).unwrap();
            let Some(output) = host.node.as_mut().and_then(Node::poll_output) else { break };
            let log = &mut self.lives[host.life].log;
            let entry = match output {
                Output::Send { to, link, frame }
                    if self.takes.get(&(id, link)).is_some_and(|most| frame.len() > *most) =>
                {
                    let local = self.now - host.lag;
                    if let Some(node) = &mut host.node {
                        node.too_large(local, to, link, Some(frame.len()));
                    }
                    continue;
                }
                Output::Send { to, link, frame } => {
                    self.transmit(Packet { from: id, to, link, frame });
                    continue;
                }
                Output::Echo { to, link } => {
                    self.transmit(Packet { from: id, to, link, frame: Bytes::from_static(ECHO_REQUEST) });
                    continue;
                }
                Output::SaveRingSeq(seq) => {
                    assert!(seq >= host.ring_seq || host.ring_seq > totem::config::MAX_STORED_RING_SEQ);
                    host.ring_seq = seq;
                    continue;
                }
                Output::Deliver(message) => Entry::Deliver { id: decode(&message.payload), message },
                Output::Safe { view, seq } => Entry::Safe { view, seq },
                Output::Transitional(t) => Entry::Transitional(t),
                Output::View(v) => Entry::View(v),
                Output::Event(e) => Entry::Event(e),
            };
            log.push((self.now, entry));
            if let Some((_, Entry::Event(Event::StartedOver { incarnation, .. }))) = log.last() {
                // The same process, but nothing binds it to the views before.
                let life = Life { node: id, incarnation: *incarnation, log: Vec::new(), running: true };
                self.lives[host.life].running = false;
                self.lives.push(life);
                host.life = self.lives.len() - 1;
            }
        }
        let host = self.hosts.get_mut(&id).unwrap();
        if host.node.as_ref().is_some_and(|n| n.has_left()) {
            host.node = None;
        }
    }

    fn transmit(&mut self, p: Packet) {
        let kind = p.frame.get(1).copied().unwrap_or(0);
        *self.traffic.entry(kind).or_default() += 1;
        let path = (p.from, p.to, p.link);
        if self.cut.contains(&path) {
            if self.rng.chance(5.0) {
                let kept = self.kept.entry(path).or_default();
                kept.push(p);
                let excess = kept.len().saturating_sub(KEPT);
                kept.drain(..excess);
            }
            return;
        }
        if self.carries.get(&path).is_some_and(|most| p.frame.len() > *most) || self.rng.chance(self.loss) {
            return;
        }
        if self.filter.as_mut().is_some_and(|f| f(p.from, p.to, kind, &p.frame)) {
            return;
        }
        let copies = if self.rng.chance(self.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.rng.chance(self.duplicate) { self.rng.below(30_000) } else { 0 };
            let us = self.delay.0 + self.rng.below(self.delay.1 + 1) + late;
            self.enqueue(p.clone(), us);
        }
    }

    fn enqueue(&mut self, p: Packet, us: u64) {
        self.next_packet += 1;
        self.packets.insert((self.now + Duration::from_micros(us), self.next_packet), p);
    }
}

fn encode(id: MessageId, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + size);
    bytes.extend_from_slice(&id.0.to_le_bytes());
    bytes.extend_from_slice(&id.1.to_le_bytes());
    bytes.extend_from_slice(&id.2.to_le_bytes());
    bytes.extend((0..size).map(|i| (i as u64 ^ id.2) as u8));
    bytes
}

fn decode(bytes: &[u8]) -> MessageId {
    let id = (
        u32::from_le_bytes(bytes[..4].try_into().unwrap()),
        u64::from_le_bytes(bytes[4..12].try_into().unwrap()),
        u64::from_le_bytes(bytes[12..20].try_into().unwrap()),
    );
    assert!(bytes[20..].iter().enumerate().all(|(i, b)| *b == (i as u64 ^ id.2) as u8), "payload damaged");
    id
}

/// From `start`: when the first of `nodes` suspected `dead`, and when all of them had a view without it.
pub fn after_loss(c: &Cluster, nodes: &[NodeId], dead: NodeId, start: Time) -> (Duration, Duration) {
    let suspected = |id: &NodeId| {
        let about = |e: &Event| matches!(e, Event::PeerSuspected { node, .. } if *node == dead);
        c.life(*id).events().find(|(t, e)| *t >= start && about(e)).map(|(t, _)| t)
    };
    let detected = nodes.iter().filter_map(suspected).min().unwrap();
    let installed = |id: &NodeId| {
        c.life(*id).views().find(|(t, v)| *t >= start && !v.members.contains(&dead)).map(|(t, _)| t).unwrap()
    };
    (detected.since(start), nodes.iter().map(installed).max().unwrap().since(start))
}
