//! corosync.conf as the simulated cluster has it: one file for all nodes, of which each host has a copy on its disk and each
//! process runs with the one that it has taken over last.

use base::NodeId;
use quorum::qdevice::{self, HeuristicsMode, QUICK_HEARTBEAT_MS};
use quorum::qnet::{Algorithm, TieBreaker, Tls};
use quorum::reload::{Listed, Shared};
use std::time::Duration;

/// The client's times where the file says nothing (`daemon::config::device`).
const LONG_HEARTBEAT_MS: u32 = 8_000;
const SYNC_TIMEOUT_MS: u32 = 30_000;

#[derive(Clone, PartialEq, Debug)]
pub struct Site {
    /// Of the file: each change has the next one.
    pub number: u64,
    pub nodes: Vec<NodeId>,
    /// Asked for; it counts for two nodes only.
    pub two_node: bool,
    pub wait_for_all: Option<bool>,
    pub watchdog_ms: u64,
    pub dead_after: Duration,
    pub links: u8,
    pub arbitrator: Option<Arbitrator>,
}

/// `quorum.device{}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arbitrator {
    pub algorithm: Algorithm,
    pub keep_active_partition: bool,
}

impl Site {
    pub fn name(id: NodeId) -> String {
        format!("node{id}")
    }

    /// Of the arbitrator: one, or with `lms` as many as bring a single node through.
    pub fn device_votes(&self) -> Option<u32> {
        let others = self.nodes.len().saturating_sub(1) as u32;
        self.arbitrator.map(|a| if a.algorithm == Algorithm::Lms { others } else { 1 })
    }

    /// Whether two parts may be quorate: with `two_node` each of two is alone; with `lms` and `wait_for_all` who loses the arbitrator
    /// goes on, as with the original, and an arbitrator that does not see it may give the vote to others.
    pub fn admits_two(&self) -> bool {
        let keeps = self.wait_for_all == Some(true) && self.arbitrator.is_some_and(|a| a.algorithm == Algorithm::Lms);
        keeps || self.two_node && self.nodes.len() == 2
    }

    pub fn quorum_config(&self, me: NodeId) -> quorum::Config {
        let mut config = quorum::Config::new(me, self.nodes.iter().copied());
        config.two_node = self.two_node;
        config.wait_for_all = self.wait_for_all;
        config.device = self.device_votes();
        config
    }

    pub fn quorum(&self, me: NodeId) -> quorum::Quorum {
        let quorum = quorum::Quorum::new(self.quorum_config(me));
        quorum.unwrap_or_else(|e| unreachable!("the simulator's own quorum section: {e}"))
    }

    pub fn ring(&self, me: NodeId, incarnation: u64) -> totem::Config {
        let mut config = totem::Config::new(me, self.nodes.iter().copied(), incarnation);
        config.timing = totem::Timing::noticing(self.dead_after);
        config.links = self.links;
        config
    }

    pub fn names(&self) -> std::collections::BTreeMap<NodeId, String> {
        self.nodes.iter().map(|n| (*n, Site::name(*n))).collect()
    }

    pub fn controller(&self, me: NodeId, incarnation: u64) -> controller::Config {
        let mut config = controller::Config::new(me, self.names(), "sim", incarnation);
        config.two_node = self.two_node;
        config.watchdog_ms = self.watchdog_ms;
        config
    }

    pub fn device(&self, me: NodeId) -> Option<qdevice::Config> {
        let Arbitrator { algorithm, keep_active_partition } = self.arbitrator?;
        Some(qdevice::Config {
            server: "arbitrator".to_owned(),
            cluster_name: "sim".to_owned(),
            me: me.0,
            nodes: self.nodes.iter().map(|n| n.0).collect(),
            config_version: Some(self.number),
            algorithm,
            tie_breaker: TieBreaker::Lowest,
            tls: Tls::Unsupported,
            keep_active_partition,
            heartbeat_ms: QUICK_HEARTBEAT_MS,
            timeout_ms: LONG_HEARTBEAT_MS,
            sync_timeout_ms: SYNC_TIMEOUT_MS,
            connect_timeout_ms: LONG_HEARTBEAT_MS,
            wait_for_all: self.wait_for_all.unwrap_or(false),
            heuristics: HeuristicsMode::Off,
            heuristics_interval_ms: 0,
        })
    }

    /// The nodelist, each node with an address on each link.
    pub fn listed(&self) -> Vec<Listed<(NodeId, u8)>> {
        let of = |id: &NodeId| Listed {
            id: *id,
            name: Site::name(*id),
            addresses: (0..self.links).map(|link| (*id, link)).collect(),
        };
        self.nodes.iter().map(of).collect()
    }

    /// What has to be the same on all nodes before anything is taken over.
    pub fn shared(&self) -> Shared {
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        let keys = [
            ("totem.config_version", self.number.to_string()),
            ("totem.dead_after", self.dead_after.as_millis().to_string()),
            ("nodelist.nodes", nodes.join(" ")),
        ];
        Shared::of(&keys.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(), [0; 16])
    }
}
