//! What a ring is told at its start: who is who, how many links, and the times. The caller maps corosync.conf onto it.

use crate::link::{LinkMode, SHORTEST_INTERVAL, Watch};
use crate::path::Sizes;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Links per peer (corosync has eight as well).
pub const MAX_LINKS: u8 = 8;
/// Members of one ring.
pub const MAX_MEMBERS: usize = 32;
/// One message, after which `broadcast` refuses: CIB snapshots pass through here.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// An ordered frame. It goes in as many datagrams as its way needs: large, so that a message needs few turns of the token; not
/// larger, since with one datagram the whole frame is lost.
pub const MAX_FRAME: usize = 16 * 1024;
/// Such a datagram, sealed, in UDP, in IPv6, fits into 576 bytes, which every network takes.
pub const SMALLEST_DATAGRAM: usize = 484;
/// … into 1280, which every network takes that has IPv6. Data begins with it.
pub const USUAL_DATAGRAM: usize = 1188;
/// Larger ones would carry no more.
pub const LARGEST_DATAGRAM: usize = MAX_FRAME;
/// Between two looks at what a link carries, as with corosync.
pub const LOOK_AT_SIZE_EVERY: Duration = Duration::from_secs(30);
/// All messages that wait for the token.
pub const MAX_QUEUED_BYTES: usize = 64 << 20;
/// Ordered frames that not all members hold yet; bounds every store and every bitmap of a commit token.
pub const MAX_OUTSTANDING: u64 = 1024;
/// Retransmission requests that a token carries.
pub const MAX_RETRANSMIT_REQUESTS: usize = 64;
/// Largest number of a ring that is read from a frame at all.
pub const MAX_RING_SEQ: u64 = u64::MAX / 2;
/// How far the number that another node knows may be ahead of ours. A ring adds 4, a start of a daemon a thousand, and one
/// that has lost its file goes on from the clock, 256 for each second since 1970, which stays below 2^40 for this century: a
/// number beyond is a damaged or forged one. Learning it would leave no numbers for the rings to come.
pub const MAX_RING_SEQ_JUMP: u64 = 1 << 40;
/// Largest credible number from a file.
pub const MAX_STORED_RING_SEQ: u64 = 1 << 48;
/// A node that starts and hears others waits so many times `start_wait` for them before it forms a ring of its own.
pub const START_PATIENCE: u32 = 12;
/// With more of them, too much time would pass between two heartbeats to the same peer.
const MAX_TURNS: usize = 2;
/// Rounds of the membership protocol without a ring, after which a node goes on alone and backs off.
pub const MAX_GATHER_ROUNDS: u32 = 8;

/// Times of the protocol. [`Timing::fast`] is Bascule's default, [`Timing::patient`] what an explicit `token` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// Between two heartbeats to one peer or another: peers take turns ([`Config::beat_interval`]).
    pub heartbeat: Duration,
    /// A peer whose heartbeat is so much overdue, and whose host answers no echo requests either although it did before, is
    /// suspected. None: only `suspect` counts.
    pub grace: Option<Duration>,
    /// A peer silent for that long on every link is suspected, also where its host answers: its process is hung.
    pub suspect: Duration,
    /// A link silent for that long is not used while there is a better one.
    pub link_down: Duration,
    /// No token for that long although nobody is suspected: the ring is re-formed.
    pub token: Duration,
    /// An unacknowledged token is sent again, over the next link.
    pub token_retransmit: Duration,
    /// The representative keeps an idle token that long.
    pub hold: Duration,
    /// Between two repetitions of a join message.
    pub join: Duration,
    /// Who is heard but does not agree within this time is taken out of the proposal.
    pub consensus: Duration,
    /// From agreement to an installed ring, else once more.
    pub commit: Duration,
    /// A node that starts listens that long before it forms a ring of its own.
    pub start_wait: Duration,
    /// First back-off after a node had to be taken out; doubles with each repetition up to `backoff_max`.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// A link error (ICMP) counts as suspicion, if heartbeats stayed out as well.
    pub trust_link_errors: bool,
}

impl Timing {
    /// What is run with where the file says nothing.
    pub fn fast() -> Timing {
        Timing::noticing(Timing::USUAL)
    }

    /// Until a dead node is noticed, where the file says nothing.
    pub const USUAL: Duration = Duration::from_millis(120);

    /// A node in a ring of up to three, whose host answers echo requests while it lives, is noticed so long after its death at the
    /// latest: about half of it until somebody misses a heartbeat, the other half for three questions to its host. Who merely
    /// has no processor time has twice that, for its host answers. A dead host is told apart from a busy one no faster than
    /// that: with less than [`Timing::SHORTEST`], three packets lost in a row would do.
    pub fn noticing(dead_after: Duration) -> Timing {
        let ms = Duration::from_millis;
        let dead_after = dead_after.clamp(Timing::SHORTEST, Timing::USUAL);
        Timing {
            // A little more for the part that costs packets; three questions fit into the rest.
            heartbeat: dead_after * 7 / 12,
            grace: Some(dead_after * 5 / 12),
            suspect: (dead_after * 2).max(ms(150)),
            link_down: ms(150),
            token: ms(3000),
            token_retransmit: ms(15),
            hold: ms(1400),
            join: ms(20),
            consensus: ms(250),
            commit: ms(250),
            start_wait: ms(250),
            backoff: ms(100),
            backoff_max: ms(10_000),
            trust_link_errors: true,
        }
    }

    pub const SHORTEST: Duration = Duration::from_millis(30);

    /// Between two heartbeats to the same one of so many peers.
    pub fn beat_interval(&self, peers: usize) -> Duration {
        self.heartbeat * turns(peers) as u32
    }

    /// As they are with so many peers: who gets a heartbeat less often is waited for longer.
    pub fn with_peers(self, peers: usize) -> Timing {
        let more = self.beat_interval(peers) - self.heartbeat;
        Timing { suspect: if self.grace.is_some() { self.suspect + more } else { self.suspect }, ..self }
    }

    /// Until a dead node is noticed; none where that is a matter of `token` alone.
    pub fn dead_after(&self) -> Option<Duration> {
        self.grace.map(|grace| self.heartbeat + grace)
    }

    /// `token` as corosync counts it, with `token_coefficient` already added for the nodes beyond two: nobody is declared
    /// dead before it. Planned leaves and merges are as quick as ever.
    pub fn patient(token: Duration, consensus: Option<Duration>) -> Timing {
        let fast = Timing::fast();
        Timing {
            suspect: token,
            grace: None,
            token,
            consensus: consensus.unwrap_or(token * 6 / 5),
            commit: token,
            heartbeat: fast.heartbeat.min(token / 4),
            link_down: fast.link_down.min(token * 3 / 4),
            hold: fast.hold.min(token / 4),
            token_retransmit: fast.token_retransmit.min(token / 4),
            trust_link_errors: false,
            ..fast
        }
    }
}

#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    /// Every other node of the nodelist.
    pub peers: BTreeSet<NodeId>,
    /// 1..=[`MAX_LINKS`], the same for all nodes.
    pub links: u8,
    /// Link numbers from most to least wanted (`knet_link_priority`); those not named follow in order.
    pub link_order: Vec<u8>,
    pub link_mode: LinkMode,
    /// Of the links that are not watched as usual ([`Config::usual_watch`]).
    pub watches: BTreeMap<u8, Watch>,
    /// Different at every start of the process: random, or the start time.
    pub incarnation: u64,
    /// The last number handed out by `Output::SaveRingSeq`, 0 if none. Beyond [`MAX_STORED_RING_SEQ`] it is not believed, and
    /// an event says so.
    pub ring_seq: u64,
    pub timing: Timing,
    /// `window_size`: frames in flight on the ring in one rotation.
    pub window: u32,
    /// `max_messages`: frames that one node sends per token visit.
    pub max_messages: u32,
    /// Of the datagrams handed to `Output::Send`.
    pub sizes: Sizes,
}

impl Config {
    pub fn new(me: NodeId, peers: impl IntoIterator<Item = NodeId>, incarnation: u64) -> Config {
        Config {
            me,
            peers: peers.into_iter().filter(|p| *p != me).collect(),
            links: 1,
            link_order: Vec::new(),
            link_mode: LinkMode::Passive,
            watches: BTreeMap::new(),
            incarnation,
            ring_seq: 0,
            timing: Timing::fast(),
            window: 50,
            max_messages: 17,
            sizes: Sizes { fixed: None, largest: LARGEST_DATAGRAM, interval: LOOK_AT_SIZE_EVERY },
        }
    }

    /// What a ring cannot be run with. The caller knows which lines of its file these values came from.
    pub fn check(&self) -> Result<(), ConfigError> {
        let nodes = self.peers.len() + 1;
        if nodes > MAX_MEMBERS {
            return Err(ConfigError::TooManyNodes { got: nodes, limit: MAX_MEMBERS });
        }
        if self.links == 0 || self.links > MAX_LINKS {
            return Err(ConfigError::Links { got: self.links, limit: MAX_LINKS });
        }
        if self.me.0 == 0 || self.peers.contains(&NodeId(0)) {
            return Err(ConfigError::NodeZero);
        }
        let t = self.effective_timing();
        let interval = self.beat_interval();
        if interval.is_zero() || interval * 2 > t.suspect {
            return Err(ConfigError::Heartbeat { heartbeat: interval, suspect: t.suspect });
        }
        Ok(())
    }

    /// How a link is watched of which the file says nothing.
    pub fn usual_watch(&self) -> Watch {
        let interval = self.beat_interval();
        Watch { interval, timeout: self.timing.link_down.max(interval * 2), answers: 2, samples: 2048 }
    }

    /// Peers are sent heartbeats in so many turns: of two, each gets every other one. So a node that dies is missed by one of
    /// them after one [`Timing::heartbeat`], for the price of one packet in that time.
    fn turns(&self) -> usize {
        turns(self.peers.len())
    }

    pub(crate) fn effective_timing(&self) -> Timing {
        self.timing.with_peers(self.peers.len())
    }

    /// Between two heartbeats to the same peer.
    pub fn beat_interval(&self) -> Duration {
        self.timing.beat_interval(self.peers.len())
    }

    fn watch(&self, link: u8) -> Watch {
        self.watches.get(&link).copied().unwrap_or_else(|| self.usual_watch())
    }

    /// Between two looks at which heartbeats are due.
    fn beat_every(&self) -> Duration {
        let shortest = self.watches.iter().filter(|(n, _)| **n < self.links).map(|(_, w)| w.interval).min();
        shortest.map_or(self.timing.heartbeat, |s| s.min(self.timing.heartbeat)).max(SHORTEST_INTERVAL)
    }

    /// Link numbers, most wanted first, each exactly once.
    pub fn links_in_order(&self) -> Vec<u8> {
        let count = self.links.clamp(1, MAX_LINKS);
        let mut order: Vec<u8> = Vec::new();
        for link in self.link_order.iter().copied().chain(0..count) {
            if link < count && !order.contains(&link) {
                order.push(link);
            }
        }
        order
    }
}

/// What follows from a [`Config`] and is asked for with every frame and timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub turns: usize,
    pub beat_interval: Duration,
    pub beat_every: Duration,
    /// How late a heartbeat may come, and how long an answer may take.
    pub late: Duration,
    /// Silence after which a heartbeat has not come that should have.
    pub overdue: Duration,
    watches: [Watch; MAX_LINKS as usize],
    usual: Watch,
}

impl Pace {
    pub fn of(config: &Config) -> Pace {
        let late = config.timing.grace.unwrap_or(config.timing.heartbeat) / 4;
        let mut watches = [config.usual_watch(); MAX_LINKS as usize];
        (0..MAX_LINKS).zip(&mut watches).for_each(|(link, watch)| *watch = config.watch(link));
        Pace {
            turns: config.turns(),
            beat_interval: config.beat_interval(),
            beat_every: config.beat_every(),
            late,
            overdue: config.beat_interval() + late,
            watches,
            usual: config.usual_watch(),
        }
    }

    pub fn watch(&self, link: u8) -> &Watch {
        self.watches.get(usize::from(link)).unwrap_or(&self.usual)
    }
}

fn turns(peers: usize) -> usize {
    peers.clamp(1, MAX_TURNS)
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{got} nodes; at most {limit}")]
    TooManyNodes { got: usize, limit: usize },
    #[error("{got} links; 1 to {limit}")]
    Links { got: u8, limit: u8 },
    #[error("node number 0 is reserved")]
    NodeZero,
    #[error("a heartbeat every {heartbeat:?} is too slow to suspect a node after {suspect:?}")]
    Heartbeat { heartbeat: Duration, suspect: Duration },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        let config = |nodes: u32| Config::new(NodeId(1), (1..=nodes).map(NodeId), 1);
        assert_eq!(config(32).check(), Ok(()));
        assert_eq!(config(33).check(), Err(ConfigError::TooManyNodes { got: 33, limit: 32 }));
        assert_eq!(Config { links: 9, ..config(2) }.check(), Err(ConfigError::Links { got: 9, limit: 8 }));
        let slow = Timing { suspect: Duration::from_millis(60), ..Timing::fast() };
        assert!(matches!(Config { timing: slow, ..config(2) }.check(), Err(ConfigError::Heartbeat { .. })));
        for token_ms in [30, 100, 1000, 3000, 30_000] {
            let timing = Timing::patient(Duration::from_millis(token_ms), None);
            assert_eq!(Config { timing, ..config(2) }.check(), Ok(()));
            assert!(timing.hold < timing.token && timing.link_down < timing.suspect);
        }
    }

    #[test]
    fn wanted_links_come_first() {
        let config = Config { links: 4, link_order: vec![2, 9, 2, 1], ..Config::new(NodeId(1), [NodeId(2)], 1) };
        assert_eq!(config.links_in_order(), [2, 1, 0, 3]);
    }
}
