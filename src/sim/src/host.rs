//! A machine: what outlives the daemon (its disk, what agents have put in place, its addresses), and whether it runs at all.

use crate::disk::Disk;
use crate::process::Process;
use crate::site::Site;
use base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Who does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// The daemon was stopped by a signal; its guard runs.
    Daemon,
    /// Nothing of ours runs, the kernel does.
    WithGuard,
    /// The machine itself stands still, and its clocks with it.
    Machine,
}

/// A stop that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Paused {
    pub what: Pause,
    pub since: Time,
    pub until: Time,
}

/// An address on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The resource that placed it.
    pub resource: String,
    pub since: Time,
    /// When the kernel takes it away.
    pub until: Time,
}

pub struct Host {
    pub id: NodeId,
    pub powered: bool,
    pub process: Option<Process>,
    pub paused: Option<Paused>,
    pub disk: Disk,
    /// Its copy of corosync.conf.
    pub file: Rc<Site>,
    /// What agents other than those of addresses have put in place: agent and parameters, and the instance for which they did.
    pub placed: BTreeMap<String, String>,
    pub promoted: BTreeSet<String>,
    /// By address.
    pub addresses: BTreeMap<String, Held>,
    /// How much its wall clock is ahead of the world's, in ms.
    pub wall_ahead_ms: i64,
    pub drift_ppm: i64,
    /// Whether something starts the daemon again after it has ended.
    pub wanted: bool,
    /// What waits for a daemon that does not run for a while.
    pub deferred: Vec<crate::world::Event>,
    pub lives: u64,
}

impl Host {
    pub fn new(id: NodeId, disk: Disk, file: Rc<Site>, drift_ppm: i64) -> Host {
        Host {
            id,
            powered: true,
            process: None,
            paused: None,
            disk,
            file,
            placed: BTreeMap::new(),
            promoted: BTreeSet::new(),
            addresses: BTreeMap::new(),
            wall_ahead_ms: 0,
            drift_ppm,
            wanted: true,
            deferred: Vec::new(),
            lives: 0,
        }
    }

    /// Whether its kernel answers on its networks.
    pub fn answers(&self) -> bool {
        self.powered && !self.paused.is_some_and(|p| p.what == Pause::Machine)
    }

    /// Whether the daemon is there and runs.
    pub fn runs(&self) -> bool {
        self.powered && self.paused.is_none() && self.process.is_some()
    }

    /// Everything volatile is gone.
    pub fn lose_power(&mut self) {
        self.process = None;
        self.powered = false;
        self.paused = None;
        self.placed.clear();
        self.promoted.clear();
        self.addresses.clear();
        self.deferred.clear();
    }

    /// Resources whose instances are in place here, addresses included.
    pub fn active(&self) -> BTreeSet<&str> {
        self.placed.values().map(String::as_str).chain(self.addresses.values().map(|h| h.resource.as_str())).collect()
    }
}
