//! What of the verdicts has to be told, and when. Pure: time is an argument.
//!
//! Changes go out at once. That nothing has changed goes out every [`FRESH_EVERY`] in one short bulletin, whatever the
//! number of servers. Everything goes out to newcomers, when a server has left the configuration, and now and then.

use super::bulletin::Body;
use base::ipvs::ServiceKey;
use ldirectord::service::{MarkEntry, RealId, VerdictEntry, Verdicts};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two words that everything stands as told.
pub const FRESH_EVERY: Duration = Duration::from_secs(1);
/// Between two complete accounts that nobody asked for.
const ALL_EVERY: Duration = Duration::from_secs(120);
/// Servers of one director that are shared; the verdicts of the others stay here.
pub const MAX_SHARED: usize = 20_000;
/// Bytes of entries in one bulletin.
const PART_BYTES: usize = 24 * 1024;
/// Services in one word of freshness.
const MAX_AGES: usize = 256;
/// Marks in one bulletin; none is longer than 200 bytes.
const MARKS_IN_ONE: usize = 120;
/// Longest answer that travels, in characters.
const MAX_ANSWER: usize = 60;

#[derive(Default)]
pub(crate) struct Outbox {
    account: u64,
    /// What the others know, once they were told everything.
    told: Option<BTreeMap<RealId, bool>>,
    all_at: Duration,
    fresh_at: Duration,
    /// The marks that the others were told, and when.
    marks: Option<Vec<MarkEntry>>,
    marks_at: Duration,
}

impl Outbox {
    /// The others know nothing: the next step tells all.
    pub fn reset(&mut self) {
        self.told = None;
        self.marks = None;
    }

    pub fn account(&self) -> u64 {
        self.account
    }

    /// What to say at `now`, in this order.
    pub fn step(&mut self, verdicts: &Verdicts, now: Duration, newcomers: bool) -> Vec<Body> {
        let entries = &verdicts.entries[..verdicts.entries.len().min(MAX_SHARED)];
        let known: BTreeMap<RealId, bool> = entries.iter().map(|e| (e.real, e.up)).collect();
        let due = newcomers || now.saturating_sub(self.all_at) >= ALL_EVERY;
        let told = match self.told.take() {
            Some(told) if !due && told.keys().all(|id| known.contains_key(id)) => told,
            _ => {
                self.account += 1;
                self.told = Some(known);
                (self.all_at, self.fresh_at) = (now, now);
                return all(entries);
            }
        };
        let news = entries.iter().filter(|e| told.get(&e.real) != Some(&e.up));
        let mut bodies: Vec<Body> = parts(news).into_iter().map(|entries| Body::Changed { entries }).collect();
        self.told = Some(known);
        if now.saturating_sub(self.fresh_at) >= FRESH_EVERY && !entries.is_empty() {
            self.fresh_at = now;
            bodies.extend(fresh(entries));
        }
        bodies
    }
}

impl Outbox {
    /// Marks go out whole whenever one has changed, to newcomers, and now and then: they are few. Every director tells them,
    /// so that one that comes back hears them whoever is active.
    pub fn step_marks(&mut self, marks: Vec<MarkEntry>, now: Duration, newcomers: bool) -> Vec<Body> {
        let again = !marks.is_empty() && (newcomers || now.saturating_sub(self.marks_at) >= ALL_EVERY);
        if !again && self.marks.as_ref().map_or(marks.is_empty(), |told| *told == marks) {
            return Vec::new();
        }
        self.marks_at = now;
        let bodies = marks.chunks(MARKS_IN_ONE).map(|part| Body::Marks { entries: part.to_vec() }).collect();
        self.marks = Some(marks);
        bodies
    }
}

fn all(entries: &[VerdictEntry]) -> Vec<Body> {
    let mut parts = parts(entries.iter());
    if parts.is_empty() {
        parts.push(Vec::new());
    }
    let end = parts.len() - 1;
    let numbered = parts.into_iter().enumerate();
    numbered.map(|(n, entries)| Body::All { part: n as u32, last: n == end, entries }).collect()
}

fn fresh(entries: &[VerdictEntry]) -> Vec<Body> {
    let mut ages: BTreeMap<ServiceKey, u64> = BTreeMap::new();
    for e in entries {
        let age = ages.entry(e.real.service).or_default();
        *age = (*age).max(e.age_ms);
    }
    let ages: Vec<(ServiceKey, u64)> = ages.into_iter().collect();
    ages.chunks(MAX_AGES).map(|chunk| Body::Fresh { ages_ms: chunk.to_vec() }).collect()
}

/// Entries in lots that fit one bulletin each.
fn parts<'a>(entries: impl Iterator<Item = &'a VerdictEntry>) -> Vec<Vec<VerdictEntry>> {
    let mut parts: Vec<Vec<VerdictEntry>> = Vec::new();
    let mut bytes = usize::MAX;
    for entry in entries {
        let answer = entry.answer.chars().take(MAX_ANSWER).collect();
        let entry = VerdictEntry { answer, ..entry.clone() };
        let length = serde_json::to_vec(&entry).map_or(0, |text| text.len() + 1);
        bytes = bytes.saturating_add(length);
        match parts.last_mut() {
            Some(part) if bytes <= PART_BYTES => part.push(entry),
            _ => {
                bytes = length;
                parts.push(vec![entry]);
            }
        }
    }
    parts
}
