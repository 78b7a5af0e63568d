//! A daemon on a host: the real cores, and between them what the product's ring thread and core task do.

use crate::clock::Clock;
use base::{NodeId, Operation, Time};
use controller::{Controller, Owners};
use quorum::Quorum;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What the ring tells the controller's task.
pub enum Report {
    View(totem::View),
    Deliver(totem::Message),
    Safe { view: totem::ViewId, seq: u64 },
    Transitional,
    Event(totem::Event),
    Current(bool),
}

/// An address that this process renews.
#[derive(Clone, Debug)]
pub struct Kept {
    pub address: String,
    pub since: Time,
}

pub struct Process {
    pub life: u64,
    pub me: NodeId,
    pub clock: Clock,
    pub totem: totem::Node,
    pub quorum: Quorum,
    pub controller: Controller,
    /// The controller's task does not run until then; the ring does.
    pub hung_until: Option<Time>,
    pub backlog: VecDeque<Report>,
    /// Messages for which the ring has no room yet.
    pub waiting: VecDeque<Vec<u8>>,
    pub ready: bool,
    pub current: bool,
    /// World time up to which leases may be renewed.
    pub permit_until: Time,
    pub owners: Owners,
    pub ticked: Time,
    pub looked: Time,
    /// How long the controller's task has been silent, as the ring witnessed it.
    pub silent: Duration,
    /// The view as the controller was told it.
    pub members: Vec<NodeId>,
    /// Until then it does not believe itself alone; in its own clock.
    pub listening: Option<Time>,
    pub kept: BTreeMap<String, Kept>,
    /// Fence devices that were started here.
    pub devices: BTreeSet<String>,
    /// Operations that agents are at.
    pub running: BTreeMap<u64, Operation>,
    /// Questions to the LAN for starts under way: call, and questions asked since the last answer.
    pub asking: BTreeMap<u64, Asking>,
    pub newest_schedule: u64,
    pub newest_digest: u64,
    /// World times of the timers that count; others in the queue are stale.
    pub ring_timer: Option<Time>,
    pub due_timer: Option<Time>,
    /// It is about to end in good order.
    pub leaving: bool,
    /// Answers that clients of this process wait for.
    pub clients: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
pub struct Asking {
    pub began: Time,
    pub asked: u32,
}

/// Cluster-wide facts that every process is started with.
pub struct Site {
    pub nodes: Vec<NodeId>,
    pub two_node: bool,
    pub wait_for_all: Option<bool>,
    pub watchdog_ms: u64,
    /// `dead_after` of the corosync.conf on everybody's disk.
    pub dead_after: Duration,
}

impl Site {
    pub fn name(id: NodeId) -> String {
        format!("node{id}")
    }

    pub fn quorum_config(&self, me: NodeId) -> quorum::Config {
        let mut config = quorum::Config::new(me, self.nodes.iter().copied());
        config.two_node = self.two_node;
        config.wait_for_all = self.wait_for_all;
        config
    }

    pub fn quorum(&self, me: NodeId) -> Quorum {
        Quorum::new(self.quorum_config(me)).unwrap_or_else(|e| unreachable!("the simulator's own quorum section: {e}"))
    }

    pub fn ring(&self, me: NodeId, incarnation: u64) -> totem::Config {
        let mut config = totem::Config::new(me, self.nodes.iter().copied(), incarnation);
        config.timing = totem::Timing::noticing(self.dead_after);
        config
    }

    pub fn controller(&self, me: NodeId, incarnation: u64) -> controller::Config {
        let names = self.nodes.iter().map(|n| (*n, Site::name(*n))).collect();
        let mut config = controller::Config::new(me, names, "sim", incarnation);
        config.two_node = self.two_node;
        config.watchdog_ms = self.watchdog_ms;
        config
    }
}
