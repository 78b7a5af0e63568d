//! The standing of each real server.
//!
//! ```text
//!              passed check (own or a peer's), or weight found in the table
//!   Unknown ---------------------------------------------------------------> Up
//!      |                                                                     |
//!      | failed check                            `fall` failures in a row    |
//!      +---------------------------> Down <----------------------------------+
//!                                     |  `rise` passed checks in a row, and not held down for flapping
//!                                     +------------------------------------> Up
//! ```

use crate::agent::{Admin, AgentReport, AgentState};
use crate::plan::{Mode, Plan, RealId, RealPlan, VirtualPlan};
use crate::tuning::{MAX_FLAP_CHANGES, Tuning};
use base::Time;
use base::ipvs::{ServiceEntry, ServiceKey};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

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
    /// Passed checks in a row.
    pub passes: u32,
    /// Held down for flapping, at least until then.
    pub held_until: Option<Time>,
    /// When it last came back after it could not serve; its weight grows from there.
    pub risen: Option<Time>,
    /// The operator wants no new connections on it.
    pub drained: bool,
    /// What its agent has said, if one has.
    pub agent: Option<AgentState>,
    /// When it went down lately, as far back as flap damping looks.
    falls: Option<Box<Falls>>,
    /// Since when it has this standing.
    pub since: Time,
    /// When the standing was last observed.
    pub observed: Option<Time>,
    pub maintenance: bool,
    /// What the active directors have agreed on; it counts instead of the standing here.
    pub agreed: Option<bool>,
    /// Not with this one any more: the server has been down for this host for too long.
    pub dissents: bool,
    /// Shared with servers that gave the same.
    pub answer: Arc<str>,
    pub latency_us: u64,
    /// Its quiescent entry has been in the table in this period of being down.
    pub placed: bool,
    /// Whether it served when people were last told of it.
    told: Option<bool>,
}

/// Apart from the record, since few servers ever have any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Falls(VecDeque<Time>);

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
    /// Passed, but not often enough yet.
    Rising {
        passes: u32,
        limit: u32,
    },
    /// Passed often enough, but is held down for flapping.
    Held,
    Up,
    Down,
    /// Down, and held down for flapping from now on.
    Damped,
}

#[derive(Clone, Debug)]
pub struct Health {
    records: BTreeMap<RealId, Record>,
    /// When each virtual service was first planned.
    born: BTreeMap<ServiceKey, Time>,
    /// The newest one, which most servers give.
    answer: Arc<str>,
}

impl Default for Health {
    fn default() -> Health {
        Health { records: BTreeMap::new(), born: BTreeMap::new(), answer: "".into() }
    }
}

impl Record {
    fn new(now: Time, answer: &Arc<str>) -> Record {
        Record {
            standing: Standing::Unknown,
            source: Source::None,
            failures: 0,
            passes: 0,
            held_until: None,
            risen: None,
            drained: false,
            agent: None,
            falls: None,
            since: now,
            observed: None,
            maintenance: false,
            agreed: None,
            dissents: false,
            answer: answer.clone(),
            latency_us: 0,
            placed: false,
            told: None,
        }
    }

    /// Whether it is in service: established connections go on, and new ones come unless it is drained.
    pub fn serves(&self) -> bool {
        self.agreed.filter(|_| !self.dissents).unwrap_or(self.standing == Standing::Up) && self.wanted()
    }

    /// Whether it takes new connections.
    pub fn takes(&self) -> bool {
        self.serves() && !self.is_drained()
    }

    /// Whether it is to have no new connections, by the operator's or its agent's word.
    pub fn is_drained(&self) -> bool {
        self.drained || self.agent.as_ref().is_some_and(|a| a.admin == Admin::Drain || a.percent == 0)
    }

    /// Whether it passes its checks and only flap damping keeps it out.
    pub(crate) fn spare(&self, rise: u32) -> bool {
        let passing = self.standing == Standing::Down && self.held_until.is_some() && self.passes >= rise.max(1);
        passing && self.wanted() && !self.is_drained()
    }

    /// Whether neither operator nor agent has taken it out.
    fn wanted(&self) -> bool {
        !self.maintenance && self.agent.as_ref().is_none_or(|a| !a.down && a.admin != Admin::Maint)
    }

    /// The weight that it has now, of the configured one.
    pub(crate) fn weight(&self, configured: u32, tuning: &Tuning, now: Time) -> u32 {
        if self.is_drained() {
            return 0;
        }
        let percent = self.agent.as_ref().map_or(100, |a| a.percent);
        let share = (u64::from(configured) * u64::from(percent)).div_ceil(100);
        let share = if percent > 100 { share.min(u64::from(crate::tuning::MAX_WEIGHT)) } else { share };
        tuning.ramp(share.min(u64::from(u32::MAX)) as u32, self.risen, now)
    }

    /// Whether something is known of it.
    pub fn known(&self) -> bool {
        self.standing != Standing::Unknown || self.agreed.is_some() || !self.wanted()
    }

    fn passed(&mut self, tuning: &Tuning, now: Time) -> Transition {
        let failures = std::mem::take(&mut self.failures);
        self.passes = self.passes.saturating_add(1);
        match self.standing {
            Standing::Up => {
                self.source = Source::Check;
                return if failures > 0 { Transition::SoftFailuresReset } else { Transition::None };
            }
            Standing::Unknown => {}
            Standing::Down => {
                self.source = Source::Check;
                if self.passes < tuning.rise {
                    return Transition::Rising { passes: self.passes, limit: tuning.rise };
                }
                if self.held_until.is_some_and(|until| now < until) {
                    return Transition::Held;
                }
                self.held_until = None;
                self.risen = Some(now);
            }
        }
        self.set(Standing::Up, Source::Check, now);
        Transition::Up
    }

    fn failed(&mut self, tuning: &Tuning, now: Time) -> Transition {
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        match self.standing {
            Standing::Up if self.failures < tuning.fall => {
                self.source = Source::Check;
                Transition::SoftFailure { failures: self.failures, limit: tuning.fall }
            }
            Standing::Up => {
                self.set(Standing::Down, Source::Check, now);
                if self.fell(tuning, now) { Transition::Damped } else { Transition::Down }
            }
            Standing::Unknown => {
                self.set(Standing::Down, Source::Check, now);
                Transition::Down
            }
            Standing::Down => {
                self.source = Source::Check;
                // Only a time without any failure ends it.
                if let (Some(until), Some(flap)) = (&mut self.held_until, &tuning.flap) {
                    *until = now + flap.hold;
                }
                Transition::None
            }
        }
    }

    /// Counts a fall; tells whether it was one too many.
    fn fell(&mut self, tuning: &Tuning, now: Time) -> bool {
        let Some(flap) = &tuning.flap else { return false };
        let falls = &mut self.falls.get_or_insert_default().0;
        falls.push_back(now);
        let limit = flap.changes.clamp(1, MAX_FLAP_CHANGES) as usize;
        while falls.len() > limit || falls.front().is_some_and(|t| now.since(*t) > flap.window) {
            falls.pop_front();
        }
        let held = falls.len() >= limit;
        self.held_until = held.then(|| now + flap.hold);
        held
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
        let none: Arc<str> = "".into();
        let follow = |(id, v, real): (RealId, &VirtualPlan, &RealPlan)| {
            let mut record = old.remove(&id).unwrap_or_else(|| Record::new(now, &none));
            match real.mode {
                Mode::AlwaysUp => record.set(Standing::Up, Source::Fixed, now),
                Mode::AlwaysDown => record.set(Standing::Down, Source::Fixed, now),
                Mode::Checked if record.source == Source::Fixed => record = Record::new(now, &none),
                Mode::Checked => {}
            }
            if !v.tuning.agent {
                record.agent = None;
            }
            if v.tuning.flap.is_none() {
                record.held_until = None;
                record.falls = None;
            }
            (id, record)
        };
        // Built as a whole, the tree has no half empty nodes.
        self.records = plan.ids().map(follow).collect();
    }

    /// Takes servers that have weight in the table for up until a check says otherwise, so that a restart cuts nobody off.
    pub fn adopt_table(&mut self, table: &[ServiceEntry], now: Time) {
        for entry in table {
            for dest in entry.dests.iter().filter(|d| d.dest.weight > 0) {
                self.adopt(RealId { service: entry.service.key, dest: dest.dest.key }, now);
            }
        }
    }

    /// The same for one server of which nothing is known yet.
    pub fn adopt(&mut self, id: RealId, now: Time) {
        if let Some(record) = self.records.get_mut(&id).filter(|r| r.source == Source::None) {
            record.set(Standing::Up, Source::Table, now);
        }
    }

    /// Takes in a check's outcome.
    pub fn record(&mut self, id: RealId, verdict: &Verdict, tuning: &Tuning, now: Time) -> Transition {
        let Some(record) = self.records.get_mut(&id).filter(|r| r.source != Source::Fixed) else {
            return Transition::None;
        };
        record.observed = Some(now);
        if *record.answer != *verdict.answer {
            if *self.answer != *verdict.answer {
                self.answer = verdict.answer.as_str().into();
            }
            record.answer = self.answer.clone();
        }
        record.latency_us = verdict.latency_us;
        if verdict.up { record.passed(tuning, now) } else { record.failed(tuning, now) }
    }

    /// Takes in what a server's agent says; tells whether that is a change.
    pub fn agent(&mut self, id: RealId, report: &AgentReport, now: Time) -> bool {
        let Some(record) = self.records.get_mut(&id) else { return false };
        let (before, served) = (record.agent.clone().unwrap_or_default(), record.takes());
        let mut state = before.clone();
        state.take(report);
        let changed = state != before;
        record.agent = Some(state);
        if record.takes() && !served {
            record.risen = Some(now);
        }
        changed
    }

    /// Keeps new connections from a server, or lets them come again; tells whether that is a change.
    pub fn set_drained(&mut self, id: RealId, on: bool, now: Time) -> bool {
        match self.records.get_mut(&id) {
            Some(record) if record.drained != on => {
                record.drained = on;
                record.risen = if on { record.risen } else { Some(now) };
                true
            }
            _ => false,
        }
    }

    /// Puts a server into or out of maintenance; tells whether that is a change.
    pub fn set_maintenance(&mut self, id: RealId, on: bool, now: Time) -> bool {
        match self.records.get_mut(&id) {
            Some(record) if record.maintenance != on => {
                record.maintenance = on;
                record.since = now;
                record.placed = false;
                record.risen = if on { record.risen } else { Some(now) };
                true
            }
            _ => false,
        }
    }

    /// Whether a server serves, if people have not been told so: the first good word of one is no news, everything else is.
    pub fn news(&mut self, id: &RealId) -> Option<bool> {
        let record = self.records.get_mut(id).filter(|r| r.known())?;
        let serves = record.serves();
        let before = record.told.replace(serves);
        (before.unwrap_or(true) != serves).then_some(serves)
    }

    /// What is known by now counts as told: whoever takes over tells of what changes from here.
    pub fn take_for_granted(&mut self) {
        for record in self.records.values_mut().filter(|r| r.known()) {
            record.told = Some(record.serves());
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
