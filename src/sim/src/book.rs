//! What was seen in a run: the properties' own books, and the first of them that did not hold.

use crate::plan::Plan;
use crate::properties::{
    active::Active, addresses::Addresses, arbitrator::Arbitrated, evs::Evs, fencing::Fencing, limits::Limits,
    links::Links, needless::Needless, quorum::Quorum, reload::Reload, status::Shown, takeover::Takeover,
};
use crate::story::Story;
use base::{NodeId, Time};
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// File under `properties`.
    pub property: &'static str,
    pub at: Time,
    pub text: String,
}

pub struct Book {
    pub broken: Option<Violation>,
    pub story: Story,
    pub evs: Evs,
    pub quorum: Quorum,
    pub arbitrated: Arbitrated,
    pub links: Links,
    pub reload: Reload,
    pub active: Active,
    pub addresses: Addresses,
    pub fencing: Fencing,
    pub limits: Limits,
    pub needless: Needless,
    pub shown: Shown,
    pub takeover: Takeover,
    pub events: u64,
    pub schedules: u64,
    pub fail_stops: u64,
    /// No agent has lied or failed so far.
    pub agents_trusted: bool,
    /// No monitor has said that something is not there, and no start that it is.
    pub monitors_trusted: bool,
    /// No device has lied.
    pub devices_honest: bool,
    /// A resource was deleted on the way.
    pub deleted: bool,
    /// Somebody has taken an address away behind the cluster's back.
    pub addresses_lost: bool,
    /// Whose disk has forgotten what it had stored.
    pub forgetful: BTreeSet<NodeId>,
}

impl Book {
    pub fn new(plan: &Plan) -> Book {
        Book {
            broken: None,
            story: Story::default(),
            evs: Evs::default(),
            quorum: Quorum::default(),
            arbitrated: Arbitrated::default(),
            links: Links::new(plan),
            reload: Reload::default(),
            active: Active::default(),
            addresses: Addresses::default(),
            fencing: Fencing::default(),
            limits: Limits::default(),
            needless: Needless::default(),
            shown: Shown::default(),
            takeover: Takeover::default(),
            events: 0,
            schedules: 0,
            fail_stops: 0,
            agents_trusted: true,
            monitors_trusted: true,
            devices_honest: true,
            deleted: false,
            addresses_lost: false,
            forgetful: BTreeSet::new(),
        }
    }

    pub fn fail(&mut self, property: &'static str, at: Time, text: String) {
        self.broken.get_or_insert(Violation { property, at, text });
    }

    pub fn life_begins(&mut self, id: NodeId, life: u64) {
        self.evs.begins(id, life);
        self.quorum.begins(id);
    }

    pub fn life_ends(&mut self, id: NodeId, _life: u64, _now: Time) {
        self.evs.ends(id);
        self.quorum.ends(id);
    }

    pub fn power_lost(&mut self, id: NodeId) {
        self.active.power_lost(id);
    }

    pub fn fenced_by_hand(&mut self, of: NodeId, now: Time) {
        self.fencing.by_hand.insert(of, now);
    }
}
