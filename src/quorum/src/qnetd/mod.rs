//! The arbitrator: gives its vote to one part of each cluster that asks.
//!
//! One [`Server`] serves many clusters, and keeps nothing: what it knows of a cluster are its clients' last words, and it ends
//! with their connections.
//!
//! | algorithm | who has the vote |
//! |---|---|
//! | `ffsplit` | one half of an even split: more clients and passed heuristics, the half that was active, the tie breaker |
//! | `lms` | one partition: the only one, who had it, best heuristics, the largest, the tie breaker |
//! | `2nodelms` | both of two that see each other, else one of them |
//! | `test` | everybody, also several partitions at once |
//!
//! Only [`Server::received`], [`Server::gone`] and [`Server::handle_timeout`] change a vote. With `ffsplit` and `lms` whoever
//! loses the vote has confirmed it before anyone of another part gets it.

mod client;
mod ffsplit;
mod lms;
mod status;
mod talk;

pub use client::{Client, Session};
pub use status::{ClientStatus, ClusterStatus};

use crate::qnet::{DecodeError, FrameError, Heuristics, Message, Refusal, Tls, Vote};
use base::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A client that has not introduced itself by then is dropped.
const INTRODUCED_WITHIN: Duration = Duration::from_secs(10);
/// Connections, where nothing else is asked for.
pub const MAX_CLIENTS: usize = 4096;
/// What waits to be sent to one client; one that reads nothing is dropped.
pub const MAX_WAITING: usize = 64;

/// A connection, numbered by who accepted it.
pub type Conn = u64;

#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub tls: Tls,
    pub client_cert_required: bool,
    pub max_clients: usize,
    pub heartbeat_ms: std::ops::RangeInclusive<u32>,
    /// A client that is silent for so many thousandths of its heartbeat is dropped.
    pub silence_permille: u64,
    /// For clients that do not say.
    pub keep_active_partition: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            tls: Tls::Supported,
            client_cert_required: true,
            max_clients: MAX_CLIENTS,
            heartbeat_ms: 1000..=120_000,
            silence_permille: 1500,
            keep_active_partition: false,
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Send {
        to: Conn,
        message: Box<Message>,
    },
    /// The handshake begins; nothing is read as a message before it is over.
    StartTls {
        with: Conn,
    },
    /// What was said before still goes out.
    Close {
        conn: Conn,
        why: String,
    },
    /// For the log.
    Told {
        text: String,
    },
}

/// What one cluster's algorithm keeps between two decisions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Cluster {
    ffsplit: ffsplit::State,
}

pub struct Server {
    config: Config,
    clients: BTreeMap<Conn, Client>,
    clusters: BTreeMap<String, Cluster>,
    outputs: VecDeque<Output>,
}

impl Server {
    pub fn new(config: Config) -> Server {
        Server { config, clients: BTreeMap::new(), clusters: BTreeMap::new(), outputs: VecDeque::new() }
    }

    /// Whether the connection is taken.
    pub fn connected(&mut self, conn: Conn, address: String, now: Time) -> bool {
        let free = self.clients.len() < self.config.max_clients;
        if free {
            self.clients.insert(conn, Client::new(address, now + INTRODUCED_WITHIN));
        }
        free
    }

    /// The handshake is over. `certified`: the names that a client's certificate, signed by our authority, vouches for.
    pub fn tls_started(&mut self, conn: Conn, certified: Option<Vec<String>>) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.session = Session::Tls { certified };
        }
    }

    pub fn received(&mut self, conn: Conn, message: &Message, now: Time) {
        if !self.clients.contains_key(&conn) {
            return;
        }
        self.alive(conn, now);
        self.talk(conn, message, now);
    }

    /// What came cannot be read. A stream that lost its bounds ends; else the client is told.
    pub fn undecodable(&mut self, conn: Conn, error: DecodeError, now: Time) {
        if !self.clients.contains_key(&conn) {
            return;
        }
        self.alive(conn, now);
        match error {
            DecodeError::UnknownKind(_) => self.refuse(conn, None, Refusal::UnsupportedMessage),
            DecodeError::Malformed { seq, .. } => self.refuse(conn, seq, Refusal::Undecodable),
        }
    }

    pub fn unreadable(&mut self, conn: Conn, error: FrameError) {
        self.refuse(conn, None, Refusal::MessageTooLong);
        self.close(conn, error.to_string());
    }

    /// The connection is over.
    pub fn gone(&mut self, conn: Conn, now: Time) {
        let Some(client) = self.clients.remove(&conn) else { return };
        let Some(name) = client.cluster_name.clone().filter(|_| client.introduced) else { return };
        self.told(format!("cluster {name}: node {} ({}) went", client.node_id, client.address));
        if self.members(&name).next().is_none() {
            self.clusters.remove(&name);
            return;
        }
        if client.algorithm == crate::qnet::Algorithm::Ffsplit {
            self.split(&name);
        }
        self.waiting_lms(&name, now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Time> {
        self.clients.values().flat_map(|c| [Some(c.silent_at), c.decide_at]).flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Time) {
        let silent: Vec<Conn> = self.clients.iter().filter(|(_, c)| c.silent_at <= now).map(|(n, _)| *n).collect();
        for conn in silent {
            let ms = self.clients.get(&conn).map_or(0, |c| c.heartbeat_ms);
            self.close(conn, format!("not heard in time (heartbeat {ms} ms)"));
            self.gone(conn, now);
        }
        let due = self.clients.iter().filter(|(_, c)| c.decide_at.is_some_and(|at| at <= now));
        let due: Vec<Conn> = due.map(|(conn, _)| *conn).collect();
        due.into_iter().for_each(|conn| self.decide_late(conn, now));
    }

    fn alive(&mut self, conn: Conn, now: Time) {
        let permille = self.config.silence_permille;
        if let Some(client) = self.clients.get_mut(&conn).filter(|c| c.introduced) {
            let ms = u64::from(client.heartbeat_ms).saturating_mul(permille) / 1000;
            client.silent_at = now + Duration::from_millis(ms);
        }
    }

    /// Introduced clients of one cluster.
    fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Conn, &'a Client)> {
        let of = move |c: &&Client| c.introduced && c.cluster_name.as_deref() == Some(name);
        self.clients.iter().filter(move |(_, c)| of(c)).map(|(conn, c)| (*conn, c))
    }

    fn send(&mut self, to: Conn, message: Message) {
        self.outputs.push_back(Output::Send { to, message: Box::new(message) });
    }

    fn refuse(&mut self, conn: Conn, seq: Option<u32>, why: Refusal) {
        let mut answer = Message::numbered(crate::qnet::Kind::ServerError, seq);
        answer.error = Some(Err(why));
        self.send(conn, answer);
        let address = self.clients.get(&conn).map_or("", |c| &c.address);
        self.told(format!("{address}: refused: {}", why.words()));
    }

    fn close(&mut self, conn: Conn, why: String) {
        self.outputs.push_back(Output::Close { conn, why });
    }

    fn told(&mut self, text: String) {
        self.outputs.push_back(Output::Told { text });
    }

    /// Asynchronously, in a message that the client has to answer.
    fn send_vote(&mut self, conn: Conn, vote: Vote) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.vote_seq = client.vote_seq.wrapping_add(1);
        client.remember(vote);
        let mut message = Message::numbered(crate::qnet::Kind::VoteInfo, Some(client.vote_seq));
        (message.vote, message.ring) = (Some(vote), Some(client.ring));
        self.send(conn, message);
    }
}

/// Clients, one more for each that passed, one less for each that failed.
fn score<'a>(heuristics: impl Iterator<Item = &'a Heuristics>) -> i64 {
    heuristics.fold(0, |sum, h| {
        sum + match h {
            Heuristics::Pass => 2,
            Heuristics::Undefined => 1,
            Heuristics::Fail => 0,
        }
    })
}

#[cfg(test)]
mod tests;
