//! How much processor time ordering costs: nodes wired to each other in memory, no network, no sealing. Every node keeps its
//! queue full; the clock moves by 10 microseconds per round of frames. `cargo bench -p totem`
#![allow(clippy::unwrap_used)]

use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use totem::{Config, Node, Output};

struct Wire {
    nodes: BTreeMap<NodeId, Node>,
    now: Time,
    delivered: u64,
    frames: u64,
}

impl Wire {
    fn new(count: u32) -> Wire {
        let now = Time::from_millis(1);
        let all: Vec<NodeId> = (1..=count).map(NodeId).collect();
        let node = |id: &NodeId| (*id, Node::new(Config::new(*id, all.iter().copied(), 1), now));
        let mut wire = Wire { nodes: all.iter().map(node).collect(), now, delivered: 0, frames: 0 };
        while wire.nodes.values().any(|n| n.members().len() < count as usize) {
            wire.round();
        }
        wire.delivered = 0;
        wire.frames = 0;
        wire
    }

    /// Everything that waits is handed over, and its consequences wait for the next round.
    fn round(&mut self) {
        self.now = self.now + Duration::from_micros(10);
        let mut frames = Vec::new();
        for (id, node) in &mut self.nodes {
            if node.poll_timeout().is_some_and(|t| t <= self.now) {
                node.handle_timeout(self.now);
            }
            while let Some(output) = node.poll_output() {
                match output {
                    Output::Send { to, link, frame } => frames.push((*id, to, link, frame)),
                    Output::Deliver(_) => self.delivered += 1,
                    _ => {}
                }
            }
        }
        self.frames += frames.len() as u64;
        for (from, to, link, frame) in frames {
            if let Some(node) = self.nodes.get_mut(&to) {
                node.handle(self.now, from, link, &frame);
            }
        }
    }
}

fn main() {
    println!("nodes  bytes   messages/s (ordered, all nodes in one thread)   MB/s   frames per message");
    for count in [2, 3, 5] {
        for size in [100usize, 1000, 100_000] {
            let mut wire = Wire::new(count);
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(700) {
                let now = wire.now;
                for node in wire.nodes.values_mut() {
                    while node.status(now).queued < 40 {
                        node.broadcast(now, vec![7; size]).unwrap();
                    }
                }
                wire.round();
            }
            let seconds = start.elapsed().as_secs_f64();
            let messages = wire.delivered as f64 / f64::from(count);
            let (rate, mb) = (messages / seconds, messages * size as f64 / seconds / 1e6);
            println!(
                "{count:>5}  {size:>6}  {rate:>12.0}  {mb:>40.1}  {:>12.1}",
                wire.frames as f64 / messages.max(1.0)
            );
        }
    }
}
