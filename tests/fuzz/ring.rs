//! What comes from other nodes and from programs of this host: packets as they stand on the wire, frames of the ring as they are
//! once opened (a peer may be faulty, or forge), frames of the process groups.

use crate::fuzz;
use base::{NodeId, Time};
use std::collections::BTreeSet;
use std::time::Duration;
use totem::{Config, Node, Output};
use wire::groups::{FromNode, ToNode};
use wire::seal::Root;
use wire::session::{Endpoint, Opened};

const ME: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
/// Inputs that one node, or one pair of ends, has to bear.
const INPUTS: u64 = 500;
/// Outputs after one frame: all that a node may send in one turn of the token, to two peers, in pieces.
const MOST_OUTPUTS: usize = 4096;
/// Timers that may be due at one moment.
const MOST_AT_ONCE: u32 = 1000;

/// Two nodes in a ring of the three that the file lists, that have exchanged messages of all sizes; and every frame that they sent.
struct Ring {
    nodes: [Node; 2],
    now: Time,
    recorded: Vec<Vec<u8>>,
    inputs: u64,
}

impl Ring {
    fn formed() -> Ring {
        let now = Time::from_millis(1000);
        let node = |id: u32| {
            let mut config = Config::new(NodeId(id), (1..=3).map(NodeId), u64::from(id));
            // One looks for the size of datagram, the other sends in pieces.
            config.sizes.fixed = (id == 2).then_some(totem::config::USUAL_DATAGRAM);
            Node::new(config, now)
        };
        let mut ring = Ring { nodes: [node(1), node(2)], now, recorded: Vec::new(), inputs: 0 };
        ring.run(Duration::from_millis(1000));
        for length in [0, 100, 2000, 40_000] {
            for node in &mut ring.nodes {
                node.broadcast(ring.now, vec![7; length]).expect("room");
            }
            ring.run(Duration::from_millis(20));
        }
        assert_eq!(ring.nodes[0].members(), [ME, PEER], "the two found each other");
        ring
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(due) = self.nodes.iter().filter_map(Node::poll_timeout).min().filter(|t| *t <= end) {
            self.now = self.now.max(due);
            self.nodes.iter_mut().for_each(|n| n.handle_timeout(self.now));
            while self.exchange() {}
        }
        self.now = end;
    }

    fn exchange(&mut self) -> bool {
        let mut any = false;
        for from in [0, 1] {
            while let Some(output) = self.nodes[from].poll_output() {
                let Output::Send { to, link, frame } = output else { continue };
                if to == NodeId(2 - from as u32) {
                    self.recorded.push(frame.to_vec());
                    self.nodes[1 - from].handle(self.now, NodeId(1 + from as u32), link, &frame);
                }
                any = true;
            }
        }
        any
    }

    /// A hostile frame, and time to act on it.
    fn bears(&mut self, frame: &[u8]) {
        self.inputs += 1;
        let node = &mut self.nodes[0];
        node.handle(self.now, NodeId(2 + (self.inputs % 2) as u32), (self.inputs % 3) as u8, frame);
        let end = self.now + Duration::from_millis(self.inputs % 40);
        let mut at_once = 0;
        loop {
            let outputs = std::iter::from_fn(|| node.poll_output()).count();
            assert!(outputs <= MOST_OUTPUTS, "{outputs} outputs");
            let Some(due) = node.poll_timeout().filter(|t| *t <= end) else { break };
            at_once = if due > self.now { 0 } else { at_once + 1 };
            assert!(at_once < MOST_AT_ONCE, "time stands still");
            self.now = self.now.max(due);
            node.handle_timeout(self.now);
        }
        self.now = end;
        let listed = BTreeSet::from([ME, PEER, NodeId(3)]);
        assert!(node.members().iter().all(|m| listed.contains(m)), "{:?}", node.members());
        assert!(node.members().is_empty() || node.members().contains(&ME), "not without itself");
    }
}

#[test]
fn frames_of_the_ring() {
    let mut ring = Ring::formed();
    let mut samples: Vec<Vec<u8>> = Vec::new();
    // A few of each kind and length.
    for frame in &ring.recorded {
        let alike = |s: &&Vec<u8>| s.get(1) == frame.get(1) && s.len().abs_diff(frame.len()) < 200;
        if samples.iter().filter(alike).count() < 3 {
            samples.push(frame.clone());
        }
    }
    let kinds: BTreeSet<u8> = samples.iter().filter_map(|s| s.get(1).copied()).collect();
    assert!([1, 2, 4, 5, 8, 9, 10, 11].iter().all(|k| kinds.contains(k)), "kinds {kinds:?}");
    fuzz("frame of the ring", &samples, |input| {
        if ring.inputs >= INPUTS {
            ring = Ring::formed();
        }
        ring.bears(input);
        totem::codec::Frame::decode(input).is_ok()
    });
}

/// Two ends with a session, and what they sent each other.
fn ends() -> (Endpoint, Vec<Vec<u8>>) {
    let end = |me, session| {
        let mut end = Endpoint::new(&Root::new(&[7; 128]), me, "web", [session; 16]);
        end.set_peers(Time::ZERO, [ME, PEER]);
        end
    };
    let (mut a, mut b) = (end(ME, 1), end(PEER, 2));
    let mut packets = Vec::new();
    for ms in 0..500 {
        let now = Time::from_millis(ms);
        while let Some((_, packet)) = b.poll_transmit(now) {
            let _ = a.open(now, &packet);
            packets.push(packet);
        }
        while let Some((_, packet)) = a.poll_transmit(now) {
            let _ = b.open(now, &packet);
        }
    }
    packets.extend((0..8).filter_map(|n| b.seal(ME, &[n; 100]).ok()));
    assert!(a.is_established(PEER) && packets.len() > 8, "a session");
    (a, packets)
}

#[test]
fn packets_between_nodes() {
    let (mut end, packets) = ends();
    let (mut inputs, mut bodies) = (0, BTreeSet::new());
    fuzz("packet between nodes", &packets, |input| {
        inputs += 1;
        if inputs % INPUTS == 0 {
            (end, bodies) = (ends().0, BTreeSet::new());
        }
        let now = Time::from_millis(500 + inputs);
        if let Ok(Opened::Data(from, body)) = end.open(now, input) {
            assert!(from == PEER && packets.iter().any(|p| p == input), "nothing but what was sealed opens");
            assert!(bodies.insert(body), "and once");
        }
        let _ = end.refuse(input);
        while end.poll_transmit(now).is_some() {}
        wire::frame::Header::decode(input).is_ok()
    });
}

#[test]
fn frames_of_process_groups() {
    let to = [ToNode::Join("web".to_owned()), ToNode::Send(vec![7; 300]), ToNode::Leave];
    let samples: Vec<Vec<u8>> = to.iter().map(|f| f.encode()[4..].to_vec()).collect();
    fuzz("frame from a program", &samples, |input| ToNode::decode(input).is_ok());
    let message = FromNode::Message { node: PEER, pid: 9, message: vec![7; 300] };
    let members = br#"{"members":[{"node":2,"pid":7}],"left":[],"joined":[{"node":2,"pid":7}]}"#;
    let samples = [message.encode()[4..].to_vec(), [&[1], &members[..]].concat()];
    fuzz("frame to a program", &samples, |input| FromNode::decode(input).is_ok());
}
