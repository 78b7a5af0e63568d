//! The client of an arbitrator: asks for its vote with every view, and says at any time whether this node has it.
//!
//! ```text
//! idle -> connecting -> preinit [-> tls] -> init -> options -> ready
//!  ^---------------- anything that goes wrong ----------------'
//! ```
//!
//! A vote is for one ring: with a new view it is open until the arbitrator has spoken of that very view. Whoever is not connected
//! has none, and is not undecided either. Before the arbitrator can take this node for lost and give its vote to others, this
//! node has given it up: what is not answered in [`GIVE_UP_PERMILLE`] of the heartbeat ends the connection, the server waits for
//! 1500.

mod status;
mod talk;

pub use status::DeviceStatus;

use crate::qnet::{Algorithm, Heuristics, Message, RingId, TieBreaker, Tls, Vote};
use base::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Between two attempts.
const RETRY: Duration = Duration::from_secs(1);
/// An answered echo vouches for the connection so long, in thousandths of the heartbeat; the server counts to 1500.
pub const GIVE_UP_PERMILLE: u64 = 1400;
/// Echoes in one heartbeat: two may be lost.
const ECHOES: u32 = 3;
/// Heartbeat while all nodes are there, where the file asks for nothing: a node that dies is given up by the arbitrator after
/// one and a half of it.
pub const QUICK_HEARTBEAT_MS: u32 = 1500;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where it is: another one is another session.
    pub server: String,
    pub cluster_name: String,
    pub me: u32,
    /// Of the nodelist.
    pub nodes: Vec<u32>,
    pub config_version: Option<u64>,
    pub algorithm: Algorithm,
    pub tie_breaker: TieBreaker,
    pub tls: Tls,
    pub keep_active_partition: bool,
    /// While all nodes are there; while some are away, `timeout_ms` counts.
    pub heartbeat_ms: u32,
    pub timeout_ms: u32,
    pub sync_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub wait_for_all: bool,
    pub heuristics: HeuristicsMode,
    pub heuristics_interval_ms: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeuristicsMode {
    Off,
    On,
    /// With views and connections only.
    Sync,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    Connect,
    StartTls,
    Send(Box<Message>),
    /// The connection ends, or is not wanted any more.
    Disconnect,
    /// Run the heuristics; [`Device::checked`] is waited for.
    Check {
        sync: bool,
    },
    Told {
        text: String,
        /// Worth an operator's attention.
        bad: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    Connecting,
    Preinit,
    Tls,
    Init,
    Options,
    Ready,
}

pub struct Device {
    config: Config,
    phase: Phase,
    /// What is waited for ends then: the next attempt, a connection, an answer.
    until: Time,
    seq: u32,
    secure: bool,
    ring: RingId,
    members: Vec<u32>,
    quorate: bool,
    /// For the present ring.
    vote: Option<bool>,
    /// A view without an answer is undecided until then.
    open_until: Time,
    /// As agreed with the server.
    heartbeat_ms: u32,
    /// The heartbeat of a request that is not answered yet.
    asked_ms: Option<u32>,
    /// The number of each echo that is on its way, and when it was sent.
    echoes: VecDeque<(u32, Time)>,
    /// When the last echo that was answered was sent.
    vouched: Time,
    next_echo: Time,
    heuristics: Checks,
    /// The server knows the option.
    keeps_partition: bool,
    outputs: VecDeque<Output>,
    status: status::Notes,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Checks {
    last: Heuristics,
    /// Of the present view: the list is sent once there is one.
    sync_due: bool,
    next: Option<Time>,
    membership: Heuristics,
    regular: Heuristics,
    connect: Heuristics,
}

impl Device {
    pub fn new(config: Config, now: Time) -> Device {
        let undefined = Heuristics::Undefined;
        Device {
            heartbeat_ms: config.heartbeat_ms,
            config,
            phase: Phase::Idle,
            until: now,
            seq: 0,
            secure: false,
            ring: RingId::default(),
            members: Vec::new(),
            quorate: false,
            vote: None,
            open_until: now,
            asked_ms: None,
            echoes: VecDeque::new(),
            vouched: now,
            next_echo: now,
            heuristics: Checks {
                last: undefined,
                sync_due: false,
                next: None,
                membership: undefined,
                regular: undefined,
                connect: undefined,
            },
            keeps_partition: false,
            outputs: VecDeque::new(),
            status: status::Notes::default(),
        }
    }

    /// Whether the arbitrator's vote is with this node, for the present view.
    pub fn casts(&self) -> bool {
        self.vote == Some(true)
    }

    /// Whether the arbitrator is connected, and has heard of this node.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// The arbitrator has been asked about the present view, and has not answered.
    pub fn is_undecided(&self, now: Time) -> bool {
        self.is_ready() && self.vote.is_none() && now < self.open_until
    }

    /// Until when that may last.
    pub fn undecided_until(&self, now: Time) -> Option<Time> {
        self.is_undecided(now).then_some(self.open_until)
    }

    /// What is wanted of TLS from the next connection on.
    pub fn set_tls(&mut self, tls: Tls) {
        self.config.tls = tls;
    }

    /// A new view: no earlier vote counts for it.
    pub fn set_view(&mut self, ring: RingId, members: Vec<u32>, now: Time) {
        (self.ring, self.members) = (ring, members);
        self.vote = None;
        self.open_until = now + Duration::from_millis(self.config.sync_timeout_ms.into());
        if self.is_ready() {
            self.agree_heartbeat(now);
            self.membership(now);
        }
    }

    /// What votequorum makes of the present view.
    pub fn set_quorate(&mut self, quorate: bool) {
        let changed = std::mem::replace(&mut self.quorate, quorate) != quorate;
        if changed && self.is_ready() {
            self.tell_quorum();
        }
    }

    /// The file was read anew. What the session was begun with cannot change within it.
    pub fn reconfigure(&mut self, config: Config, now: Time) {
        let old = std::mem::replace(&mut self.config, config);
        let (nodes, version) = (self.config.nodes.clone(), self.config.config_version);
        // What TLS came to be is the connection's.
        let same = Config { nodes, config_version: version, tls: self.config.tls, ..old.clone() } == self.config;
        if !same {
            self.disconnect("its configuration has changed", now);
            self.until = now;
        } else if old != self.config && self.is_ready() {
            self.tell_config(crate::qnet::ListKind::ChangedConfig);
        }
    }

    /// The result of an [`Output::Check`].
    pub fn checked(&mut self, result: Heuristics, now: Time) {
        let before = std::mem::replace(&mut self.heuristics.last, result);
        if self.config.heuristics == HeuristicsMode::On {
            self.heuristics.next = Some(now + Duration::from_millis(self.config.heuristics_interval_ms.into()));
        }
        if std::mem::take(&mut self.heuristics.sync_due) {
            self.heuristics.membership = result;
            if self.is_ready() {
                self.tell_membership();
            }
        } else {
            self.heuristics.regular = result;
            if before != result && self.is_ready() && result != Heuristics::Undefined {
                self.tell_heuristics(result);
            }
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<Time> {
        let check = self.heuristics.next.filter(|_| self.is_ready());
        let open = Some(self.open_until).filter(|_| self.is_ready() && self.vote.is_none());
        let own = if self.is_ready() { self.next_echo.min(self.gives_up_at()) } else { self.until };
        [Some(own), check, open].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Time) {
        if self.is_ready() {
            return self.ready_timeout(now);
        }
        if now < self.until {
            return;
        }
        match self.phase {
            Phase::Idle => {
                self.phase = Phase::Connecting;
                self.until = now + Duration::from_millis(self.config.connect_timeout_ms.into());
                self.outputs.push_back(Output::Connect);
            }
            Phase::Connecting => self.disconnect("no connection in time", now),
            _ => self.disconnect("no answer in time", now),
        }
    }

    fn ready_timeout(&mut self, now: Time) {
        if self.gives_up_at() <= now {
            return self.disconnect("it does not answer any more", now);
        }
        if self.next_echo <= now {
            self.echo(now);
        }
        if self.heuristics.next.take_if(|at| *at <= now).is_some() {
            self.outputs.push_back(Output::Check { sync: false });
        }
        if self.vote.is_none() && self.open_until <= now {
            self.vote = Some(false);
            self.told("no decision on this view in time (sync_timeout): going on without its vote", true);
        }
    }

    fn gives_up_at(&self) -> Time {
        self.vouched + Duration::from_millis(u64::from(self.heartbeat_ms).saturating_mul(GIVE_UP_PERMILLE) / 1000)
    }

    fn told(&mut self, text: impl Into<String>, bad: bool) {
        self.outputs.push_back(Output::Told { text: text.into(), bad });
    }

    /// The driver lost the connection, or could not make it.
    pub fn lost(&mut self, why: &str, now: Time) {
        if self.phase != Phase::Idle {
            self.disconnect(why, now);
        }
    }

    /// This node is as it would be without an arbitrator. The next attempt follows.
    fn disconnect(&mut self, why: &str, now: Time) {
        let was_ready = self.is_ready();
        if self.phase != Phase::Idle {
            self.outputs.push_back(Output::Disconnect);
        }
        // Told once for each reason, not with every attempt.
        if was_ready || self.status.trouble.as_deref() != Some(why) {
            self.told(format!("arbitrator: {why}"), true);
        }
        self.status.trouble = Some(why.to_owned());
        self.phase = Phase::Idle;
        self.until = now + RETRY;
        self.secure = false;
        self.echoes.clear();
        self.asked_ms = None;
        // Last man standing, as with the original: who had quorum, and waits for all when it comes back, may keep the vote. An
        // even split may not: the other half gets it.
        let keeps = self.config.algorithm == Algorithm::Lms && self.quorate && self.config.wait_for_all;
        if !(keeps && self.vote == Some(true)) {
            self.vote = Some(false);
        }
    }

    fn decide(&mut self, vote: Option<Vote>, ring: Option<RingId>) {
        if ring != Some(self.ring) {
            return;
        }
        let vote = match vote {
            Some(Vote::Ack) => true,
            Some(Vote::Nack) => false,
            _ => return,
        };
        if self.vote.replace(vote) != Some(vote) {
            let text =
                if vote { "arbitrator: its vote is with this node" } else { "arbitrator: no vote for this node" };
            self.told(text, !vote);
        }
    }
}

#[cfg(test)]
mod tests;
