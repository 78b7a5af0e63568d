//! The arbitrator: the real server of [`quorum::qnetd`] on a machine of its own, and connections to it as TCP makes them: in
//! order, nothing lost, held up for as long as the way is cut; who ends says so, unless its machine has no power.

use crate::world::{What, World};
use base::{NodeId, Time};
use quorum::qnet::{Frames, MAX_BODY_BYTES, Message};
use quorum::qnetd::{Config, Conn, Output, Server};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// One way takes so long, in µs, at least and at most.
const WAY_US: (u64, u64) = (150, 3_000);

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Its process ends, and knows nothing when it starts again.
    Stopped,
    /// It is there, takes connections, and does nothing.
    Hung,
    /// One node does not reach it.
    Unreached { node: NodeId },
}

/// One connection.
struct Wire {
    node: NodeId,
    life: u64,
    to_server: VecDeque<Vec<u8>>,
    to_node: VecDeque<Vec<u8>>,
    /// The other end is gone.
    ended_by_node: bool,
    ended_by_server: bool,
}

pub struct Arbiter {
    server: Server,
    wires: BTreeMap<Conn, Wire>,
    last: Conn,
    pub runs: bool,
    pub hung: bool,
    timer: Option<Time>,
    pub cut: BTreeSet<NodeId>,
    /// When it started again, knowing nothing.
    started: Option<Time>,
}

impl Default for Arbiter {
    fn default() -> Arbiter {
        Arbiter {
            server: Server::new(Config::default()),
            wires: BTreeMap::new(),
            last: 0,
            runs: true,
            hung: false,
            timer: None,
            cut: BTreeSet::new(),
            started: None,
        }
    }
}

impl Arbiter {
    /// One that has just started does not know of a node that it cannot hear and that still counts on its vote: for as long as such
    /// a node waits for an answer (1.4 long heartbeats), two may have it.
    pub fn is_new(&self, now: Time) -> bool {
        self.started.is_some_and(|at| now.since(at) < Duration::from_millis(11_500))
    }

    /// Whether it works, and this node reaches it.
    pub fn serves(&self, node: NodeId) -> bool {
        self.runs && !self.hung && !self.cut.contains(&node)
    }
}

fn read(bytes: &[u8]) -> Option<Message> {
    let mut frames = Frames::new(MAX_BODY_BYTES);
    frames.push(bytes);
    Message::decode(&frames.cut().ok()??).ok()
}

impl World {
    /// A node wants to be connected; gives the connection.
    pub(crate) fn dial(&mut self, id: NodeId) -> Conn {
        let life = self.host(id).lives;
        let a = &mut self.arbiter;
        a.last += 1;
        let conn = a.last;
        if a.cut.contains(&id) {
            // No answer: the client's own patience ends it.
            return conn;
        }
        let (to_server, to_node) = Default::default();
        let wire = Wire { node: id, life, to_server, to_node, ended_by_node: false, ended_by_server: !a.runs };
        let (refused, taken) = (!a.runs, a.runs && a.server.connected(conn, format!("node{id}"), self.now));
        if taken || refused {
            a.wires.insert(conn, wire);
        }
        let us = self.way();
        self.soon(us, id, if taken { What::Linked { conn } } else { What::FromArbiter { conn } });
        conn
    }

    fn way(&mut self) -> u64 {
        self.rng.between(WAY_US.0, WAY_US.1)
    }

    /// A node sends over its connection.
    pub(crate) fn tell_arbiter(&mut self, conn: Conn, bytes: Vec<u8>) {
        let us = self.way();
        let Some(wire) = self.arbiter.wires.get_mut(&conn) else { return };
        wire.to_server.push_back(bytes);
        let node = wire.node;
        self.after(us, node, 0, What::ToArbiter { conn });
    }

    /// A node's end of the connection is closed.
    pub(crate) fn hang_up(&mut self, conn: Conn) {
        let us = self.way();
        let Some(wire) = self.arbiter.wires.get_mut(&conn) else { return };
        wire.ended_by_node = true;
        let node = wire.node;
        self.after(us, node, 0, What::ToArbiter { conn });
    }

    /// What has come to the server is read, in order.
    pub(crate) fn arbiter_hears(&mut self, conn: Conn) {
        let (now, a) = (self.now, &mut self.arbiter);
        let Some(wire) = a.wires.get_mut(&conn) else { return };
        if !a.runs || a.hung || a.cut.contains(&wire.node) {
            return;
        }
        while let Some(bytes) = wire.to_server.pop_front() {
            match read(&bytes) {
                Some(message) => a.server.received(conn, &message, now),
                None => {
                    return self.book.fail("arbitrator", now, format!("the arbitrator cannot read {bytes:?}"));
                }
            }
        }
        if wire.ended_by_node {
            a.wires.remove(&conn);
            a.server.gone(conn, now);
        }
        self.arbiter_speaks();
    }

    pub(crate) fn arbiter_timer(&mut self) {
        let (now, a) = (self.now, &mut self.arbiter);
        if a.timer.is_none_or(|at| at > now) || !a.runs || a.hung {
            return;
        }
        a.timer = None;
        a.server.handle_timeout(now);
        self.arbiter_speaks();
    }

    fn arbiter_speaks(&mut self) {
        while let Some(output) = self.arbiter.server.poll_output() {
            let conn = match output {
                Output::Send { to, message } => {
                    let Some(wire) = self.arbiter.wires.get_mut(&to) else { continue };
                    wire.to_node.push_back(message.encode());
                    to
                }
                Output::Close { conn, .. } => {
                    let Some(wire) = self.arbiter.wires.get_mut(&conn) else { continue };
                    wire.ended_by_server = true;
                    conn
                }
                Output::Told { text } => {
                    self.tell(NodeId(0), || format!("arbitrator: {text}"));
                    continue;
                }
                Output::StartTls { .. } => continue,
            };
            self.answer_goes(conn);
        }
        let Some(at) = self.arbiter.server.poll_timeout() else { return };
        let at = at.max(self.now + Duration::from_micros(1));
        if self.arbiter.timer.is_none_or(|before| at < before || before < self.now) {
            self.arbiter.timer = Some(at);
            self.at(at, NodeId(1), 0, What::ArbiterTimer);
        }
    }

    fn answer_goes(&mut self, conn: Conn) {
        let us = self.way();
        let Some(wire) = self.arbiter.wires.get(&conn) else { return };
        let (node, life) = (wire.node, wire.life);
        self.after(us, node, life, What::FromArbiter { conn });
    }

    /// What a node's socket holds of this connection: messages in order, and whether it is over.
    pub(crate) fn heard_of_arbiter(&mut self, conn: Conn) -> (Vec<Message>, bool) {
        let a = &mut self.arbiter;
        let Some(wire) = a.wires.get_mut(&conn) else { return (Vec::new(), false) };
        if a.cut.contains(&wire.node) {
            return (Vec::new(), false);
        }
        let messages: Vec<Option<Message>> = wire.to_node.drain(..).map(|bytes| read(&bytes)).collect();
        let over = wire.ended_by_server;
        if over {
            a.wires.remove(&conn);
        }
        if messages.iter().any(Option::is_none) {
            self.book.fail("arbitrator", self.now, "a node cannot read what the arbitrator says".to_owned());
        }
        (messages.into_iter().flatten().collect(), over)
    }

    pub(crate) fn arbiter_trouble(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Stopped => {
                self.arbiter.runs = false;
                self.arbiter.timer = None;
                let all: Vec<Conn> = self.arbiter.wires.keys().copied().collect();
                for conn in all {
                    if let Some(wire) = self.arbiter.wires.get_mut(&conn) {
                        wire.to_server.clear();
                        wire.ended_by_server = true;
                    }
                    self.answer_goes(conn);
                }
            }
            Trouble::Hung => self.arbiter.hung = true,
            Trouble::Unreached { node } => drop(self.arbiter.cut.insert(node)),
        }
    }

    pub(crate) fn arbiter_mended(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Stopped if !self.arbiter.runs => {
                self.arbiter.runs = true;
                self.arbiter.started = Some(self.now);
                self.arbiter.server = Server::new(Config::default());
                self.arbiter.wires.retain(|_, wire| wire.ended_by_server);
            }
            Trouble::Stopped => {}
            Trouble::Hung => self.arbiter.hung = false,
            Trouble::Unreached { node } => drop(self.arbiter.cut.remove(&node)),
        }
        self.arbiter_goes_on();
    }

    /// What was held up comes through; timers that were due are looked at before or after it.
    pub(crate) fn arbiter_goes_on(&mut self) {
        let all: Vec<(Conn, NodeId)> = self.arbiter.wires.iter().map(|(conn, w)| (*conn, w.node)).collect();
        for (conn, node) in all {
            let us = self.way();
            self.after(us, node, 0, What::ToArbiter { conn });
            self.answer_goes(conn);
        }
        if let Some(at) = self.arbiter.timer {
            let later = self.rng.below(2 * WAY_US.1);
            self.at(at.max(self.now + Duration::from_micros(later)), NodeId(1), 0, What::ArbiterTimer);
        }
    }

    /// A machine that has lost its power says nothing more.
    pub(crate) fn wires_fall_silent(&mut self, id: NodeId) {
        self.arbiter.wires.retain(|_, w| w.node != id);
    }
}
