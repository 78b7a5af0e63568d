//! The standing of each real server.
//!
//! ```text
//!              passed check (own or a peer's), or weight found in the table
//!   Unknown ---------------------------------------------------------------> Up
//!      |                                                                     |
//!      | failed check                     failure_count failures in a row    |
//!      +---------------------------> Down <----------------------------------+
//!                                     |  passed check
//!                                     +------------------------------------> Up
//! ```

use crate::plan::{Mode, Plan, RealId};
use base::Time;
use base::ipvs::{ServiceEntry, ServiceKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Unknown,
    Up,
    Down,
}

/// Where the present standing comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nothing is known yet.
    None,
    /// A check of our own.
    Check,
    /// A peer's verdict.
    Peer,
    /// Weight that stood in the table when we came.
    Table,
    /// `checktype = on` or `off`.
    Fixed,
}

/// The outcome of one check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    pub up: bool,
    /// For people: `200 OK`, `connection refused`, …
    pub answer: String,
    pub latency_us: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub standing: Standing,
    pub source: Source,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it has this standing.
    pub since: Time,
    /// When the standing was last observed.
    pub observed: Option<Time>,
    pub maintenance: bool,
    pub answer: String,
    pub latency_us: u64,
    /// Its quiescent entry has been in the table in this period of being down.
    pub placed: bool,
}

/// What a verdict changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transition {
    None,
    /// Failed, but not often enough yet.
    SoftFailure {
        failures: u32,
        limit: u32,
    },
    /// Passed again before it was taken down.
    SoftFailuresReset,
    Up,
    Down,
}

#[derive(Clone, Debug, Default)]
pub struct Health {
    records: BTreeMap<RealId, Record>,
    /// When each virtual service was first planned.
    born: BTreeMap<ServiceKey, Time>,
}

impl Record {
    fn new(now: Time) -> Record {
        Record {
            standing: Standing::Unknown,
            source: Source::None,
            failures: 0,
            since: now,
            observed: None,
            maintenance: false,
            answer: String::new(),
            latency_us: 0,
            placed: false,
        }
    }

    /// Whether it takes connections.
    pub fn serves(&self) -> bool {
        self.standing == Standing::Up && !self.maintenance
    }

    /// Whether something is known of it.
    pub fn known(&self) -> bool {
        self.standing != Standing::Unknown || self.maintenance
    }

    pub(crate) fn set(&mut self, standing: Standing, source: Source, now: Time) {
        if self.standing != standing {
            self.since = now;
            self.placed = false;
        }
        self.standing = standing;
        self.source = source;
    }
}

impl Health {
    /// Follows a new plan: known servers keep their standing, new ones are unknown, missing ones are forgotten.
    pub fn follow(&mut self, plan: &Plan, now: Time) {
        let mut old = std::mem::take(&mut self.records);
        let mut born = std::mem::take(&mut self.born);
        for v in &plan.virtuals {
            self.born.insert(v.service.key, born.remove(&v.service.key).unwrap_or(now));
        }
        for (id, _, real) in plan.ids() {
            let mut record = old.remove(&id).unwrap_or_else(|| Record::new(now));
            match real.mode {
                Mode::AlwaysUp => record.set(Standing::Up, Source::Fixed, now),
                Mode::AlwaysDown => record.set(Standing::Down, Source::Fixed, now),
                Mode::Checked if record.source == Source::Fixed => record = Record::new(now),
                Mode::Checked => {}
            }
            self.records.insert(id, record);
        }
    }

    /// Takes servers that have weight in the table for up until a check says otherwise, so that a restart cuts nobody off.
    pub fn adopt_table(&mut self, table: &[ServiceEntry], now: Time) {
        for entry in table {
            for dest in entry.dests.iter().filter(|d| d.dest.weight > 0) {
                let id = RealId { service: entry.service.key, dest: dest.dest.key };
                if let Some(record) = self.records.get_mut(&id).filter(|r| r.source == Source::None) {
                    record.set(Standing::Up, Source::Table, now);
                }
            }
        }
    }

    /// Takes in a check's outcome.
    pub fn record(&mut self, id: RealId, verdict: &Verdict, failure_count: u32, now: Time) -> Transition {
        let Some(record) = self.records.get_mut(&id).filter(|r| r.source != Source::Fixed) else {
            return Transition::None;
        };
        record.observed = Some(now);
        record.answer.clone_from(&verdict.answer);
        record.latency_us = verdict.latency_us;
        let before = record.standing;
        if verdict.up {
            let failures = std::mem::take(&mut record.failures);
            record.set(Standing::Up, Source::Check, now);
            return match before {
                Standing::Up if failures > 0 => Transition::SoftFailuresReset,
                Standing::Up => Transition::None,
                Standing::Unknown | Standing::Down => Transition::Up,
            };
        }
        record.failures = record.failures.saturating_add(1);
        match before {
            Standing::Up if record.failures < failure_count => {
                record.source = Source::Check;
                Transition::SoftFailure { failures: record.failures, limit: failure_count }
            }
            Standing::Up | Standing::Unknown => {
                record.set(Standing::Down, Source::Check, now);
                Transition::Down
            }
            Standing::Down => {
                record.source = Source::Check;
                Transition::None
            }
        }
    }

    /// Puts a server into or out of maintenance; tells whether that is a change.
    pub fn set_maintenance(&mut self, id: RealId, on: bool, now: Time) -> bool {
        match self.records.get_mut(&id) {
            Some(record) if record.maintenance != on => {
                record.maintenance = on;
                record.since = now;
                record.placed = false;
                true
            }
            _ => false,
        }
    }

    /// Remembers that a quiescent entry stood in the table.
    pub fn note_placed(&mut self, id: RealId) {
        if let Some(record) = self.records.get_mut(&id).filter(|r| !r.serves()) {
            record.placed = true;
        }
    }

    pub fn get(&self, id: &RealId) -> Option<&Record> {
        self.records.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&RealId, &Record)> {
        self.records.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&RealId, &mut Record)> {
        self.records.iter_mut()
    }

    pub fn born(&self, service: &ServiceKey) -> Option<Time> {
        self.born.get(service).copied()
    }
}
