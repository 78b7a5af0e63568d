//! Verdicts as they travel to the director that may take over: each with its age, so that clocks need not agree.

use crate::health::{Health, Source, Standing};
use crate::plan::RealId;
use base::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// More entries than this are not taken from a peer.
pub const MAX_VERDICTS: usize = 200_000;

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Verdicts {
    pub entries: Vec<VerdictEntry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VerdictEntry {
    pub real: RealId,
    pub up: bool,
    /// Failures in a row so far.
    pub failures: u32,
    /// Time since the check, when exported.
    pub age_ms: u64,
    pub answer: String,
}

impl Health {
    /// All verdicts that come from checks, own or a peer's.
    pub fn export(&self, now: Time) -> Verdicts {
        let known = self.iter().filter(|(_, r)| matches!(r.source, Source::Check | Source::Peer));
        let entries = known.filter_map(|(id, r)| {
            let age = now.since(r.observed?);
            let age_ms = age.as_millis().min(u128::from(u64::MAX)) as u64;
            Some(VerdictEntry {
                real: *id,
                up: r.standing == Standing::Up,
                failures: r.failures,
                age_ms,
                answer: r.answer.to_string(),
            })
        });
        Verdicts { entries: entries.collect() }
    }

    /// Takes a peer's verdicts where it has none of its own, or an older one of a peer; returns how many were taken.
    /// Verdicts older than `max_age` say nothing.
    pub fn import(&mut self, verdicts: &Verdicts, max_age: Duration, now: Time) -> usize {
        let fresh = verdicts.entries.iter().take(MAX_VERDICTS).filter(|e| u128::from(e.age_ms) <= max_age.as_millis());
        let by_id: BTreeMap<&RealId, &VerdictEntry> = fresh.map(|e| (&e.real, e)).collect();
        let mut taken = 0;
        for (id, record) in self.iter_mut() {
            let Some(entry) = by_id.get(id) else { continue };
            let observed = now - Duration::from_millis(entry.age_ms);
            let newer = match record.source {
                Source::None | Source::Table => true,
                Source::Peer => record.observed.is_none_or(|o| o < observed),
                Source::Check | Source::Fixed => false,
            };
            if newer {
                record.set(if entry.up { Standing::Up } else { Standing::Down }, Source::Peer, now);
                record.observed = Some(observed);
                record.failures = entry.failures;
                record.answer = entry.answer.as_str().into();
                taken += 1;
            }
        }
        taken
    }
}
