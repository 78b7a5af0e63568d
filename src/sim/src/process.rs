//! A daemon on a host: the real cores, and between them what the product's ring thread and core task do.

use crate::clock::Clock;
use crate::device::Arbitration;
use crate::reload::Reloads;
use crate::site::Site;
use base::{NodeId, Operation, Time};
use controller::{Controller, Owners};
use quorum::Quorum;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
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

/// A core, and when it wants to be called next: asked again only after somebody has had it in hand.
pub struct Core<T> {
    core: T,
    touched: bool,
    deadline: Option<Time>,
}

impl<T> Core<T> {
    pub fn new(core: T) -> Core<T> {
        Core { core, touched: true, deadline: None }
    }

    /// For what it wants done, which changes nothing of when it wants to be called.
    pub fn outlet(&mut self) -> &mut T {
        &mut self.core
    }

    /// Its deadline is a function of its state.
    pub fn deadline(&mut self, ask: impl FnOnce(&T) -> Option<Time>) -> Option<Time> {
        if std::mem::take(&mut self.touched) {
            self.deadline = ask(&self.core);
        }
        self.deadline
    }
}

impl<T> Deref for Core<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.core
    }
}

impl<T> DerefMut for Core<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.touched = true;
        &mut self.core
    }
}

pub struct Process {
    pub life: u64,
    pub me: NodeId,
    /// The file that it runs with.
    pub site: Rc<Site>,
    pub clock: Clock,
    pub totem: Core<totem::Node>,
    pub quorum: Quorum,
    pub controller: Core<Controller>,
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
    pub view: totem::ViewId,
    pub reloads: Reloads,
    pub arbitration: Arbitration,
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
