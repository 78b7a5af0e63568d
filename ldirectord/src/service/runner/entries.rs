//! The plan: which checks there are, for which servers, and when each is due.
//!
//! An entry does not hold its check, only where the configuration describes it and a fingerprint by which a reload knows it again.

use super::CheckId;
use crate::checks::{Check, Progress};
use crate::config::{Config, Real, Virtual};
use crate::pattern::Pattern;
use crate::plan::real_id;
use policy::RealId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Which server of the configuration, and which of its two checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    service: u32,
    real: u32,
    /// The question to its agent.
    pub agent: bool,
}

/// Two checks with the same 128 bits are the same: nobody who writes a configuration makes two that differ collide.
type Fingerprint = [u64; 2];

/// A check without repetition, with the servers that it speaks for.
pub struct Distinct {
    fingerprint: Fingerprint,
    places: Vec<Place>,
}

/// What a configuration asks for.
pub struct Wanted {
    checks: Vec<Distinct>,
    /// Compiled once, and kept as long as they may be needed.
    patterns: Vec<Pattern>,
}

struct Entry {
    fingerprint: Fingerprint,
    place: Place,
    /// Further servers that it speaks for.
    others: Box<[Place]>,
    progress: Progress,
    /// It has never been made.
    first: bool,
    /// While it is under way.
    task: Option<AbortHandle>,
}

#[cfg(test)]
pub const ENTRY_BYTES: usize = size_of::<Entry>();

/// What a check needs to begin.
pub struct Start {
    pub config: Arc<Config>,
    pub place: Place,
    pub progress: Progress,
    pub first: bool,
}

#[derive(Default)]
pub struct Entries {
    config: Option<Arc<Config>>,
    list: BTreeMap<CheckId, Entry>,
    /// Each waiting check once; those under way are not in it.
    queue: BinaryHeap<Reverse<(Instant, CheckId)>>,
    patterns: Vec<Pattern>,
    next: u64,
}

impl Entries {
    /// Checks that were there before stay as they are, new ones are due at `now`.
    pub fn follow(&mut self, config: &Arc<Config>, wanted: Wanted, now: Instant) {
        let old = std::mem::take(&mut self.list).into_iter();
        let mut old: HashMap<Fingerprint, (CheckId, Entry)> = old.map(|(id, e)| (e.fingerprint, (id, e))).collect();
        let mut list = Vec::with_capacity(wanted.checks.len());
        for Distinct { fingerprint, places } in wanted.checks {
            let Some((first, others)) = places.split_first() else { continue };
            let (place, others) = (*first, Box::from(others));
            list.push(match old.remove(&fingerprint) {
                Some((id, entry)) => (id, Entry { place, others, ..entry }),
                None => {
                    let id = CheckId(self.next);
                    self.next += 1;
                    self.queue.push(Reverse((now, id)));
                    (id, Entry { fingerprint, place, others, progress: Progress::default(), first: true, task: None })
                }
            });
        }
        old.values().filter_map(|(_, entry)| entry.task.as_ref()).for_each(AbortHandle::abort);
        // Built as a whole, the tree has no half empty nodes.
        self.list = list.into_iter().collect();
        self.queue.retain(|Reverse((_, id))| self.list.contains_key(id));
        self.queue.shrink_to(self.list.len());
        self.config = Some(config.clone());
        self.patterns = wanted.patterns;
    }

    pub fn clear(&mut self) {
        self.list.values().filter_map(|e| e.task.as_ref()).for_each(AbortHandle::abort);
        *self = Entries { next: self.next, ..Entries::default() };
    }

    /// When the next check is due.
    pub fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// The check that has been due for longest.
    pub fn take(&mut self, now: Instant) -> Option<(CheckId, Start)> {
        let config = self.config.clone()?;
        self.queue.peek().filter(|Reverse((at, _))| *at <= now)?;
        let Reverse((_, id)) = self.queue.pop()?;
        let entry = self.list.get(&id)?;
        Some((id, Start { config, place: entry.place, progress: entry.progress, first: entry.first }))
    }

    pub fn began(&mut self, id: CheckId, task: AbortHandle) {
        match self.list.get_mut(&id) {
            Some(entry) => entry.task = Some(task),
            None => task.abort(),
        }
    }

    /// Tells whether it is the next one now.
    pub fn ended(&mut self, id: CheckId, progress: Progress, first: bool, due: Instant) -> bool {
        let Some(entry) = self.list.get_mut(&id) else { return false };
        (entry.progress, entry.first, entry.task) = (progress, first, None);
        self.queue.push(Reverse((due, id)));
        self.queue.peek().is_some_and(|Reverse((_, top))| *top == id)
    }

    /// Whether it asks an agent, and the servers that it speaks for.
    pub fn reals(&self, id: CheckId) -> Option<(bool, Vec<RealId>)> {
        let (config, entry) = (self.config.as_ref()?, self.list.get(&id)?);
        Some((entry.place.agent, entry.places().filter_map(|place| place.id(config)).collect()))
    }

    pub fn place(&self, id: CheckId) -> Option<(Arc<Config>, Place)> {
        Some((self.config.clone()?, self.list.get(&id)?.place))
    }

    pub fn config(&self) -> Option<Arc<Config>> {
        self.config.clone()
    }

    /// Every server with its check.
    pub fn all(&self) -> Vec<(RealId, Place)> {
        let Some(config) = &self.config else { return Vec::new() };
        let of = |entry: &Entry| entry.places().filter_map(|p| Some((p.id(config)?, p))).collect::<Vec<_>>();
        self.list.values().flat_map(of).collect()
    }
}

impl Entry {
    fn places(&self) -> impl Iterator<Item = Place> {
        std::iter::once(self.place).chain(self.others.iter().copied())
    }
}

impl Place {
    fn find(self, config: &Config) -> Option<(&Virtual, &Real)> {
        let v = config.virtuals.get(self.service as usize)?;
        Some((v, v.reals.get(self.real as usize)?))
    }

    fn id(self, config: &Config) -> Option<RealId> {
        self.find(config).map(|(v, real)| real_id(v, real))
    }

    pub fn check(self, config: &Config) -> Option<Check> {
        let (v, real) = self.find(config)?;
        if self.agent { Check::of_agent(v, real) } else { Check::of(v, real) }
    }
}

/// The checks of a configuration in its order.
pub fn distinct(config: &Config) -> Wanted {
    let mut checks: Vec<Distinct> = Vec::new();
    let mut known: HashMap<Fingerprint, usize> = HashMap::new();
    let mut of_real: HashMap<(RealId, bool), usize> = HashMap::new();
    let mut patterns: BTreeSet<&str> = BTreeSet::new();
    for (service, v) in config.virtuals.iter().enumerate() {
        for (real, r) in v.reals.iter().enumerate() {
            let id = real_id(v, r);
            patterns.insert(&r.receive);
            for check in Check::of(v, r).into_iter().chain(Check::of_agent(v, r)) {
                let agent = check.is_agent();
                let fingerprint = fingerprint(&check);
                let at = *known.entry(fingerprint).or_insert_with(|| {
                    checks.push(Distinct { fingerprint, places: Vec::with_capacity(1) });
                    checks.len() - 1
                });
                // Of two lines for one destination the last counts.
                if let Some(before) = of_real.insert((id, agent), at) {
                    checks[before].places.retain(|p| p.id(config) != Some(id));
                }
                // A file has far fewer services and servers than 2^32.
                checks[at].places.push(Place { service: service as u32, real: real as u32, agent });
            }
        }
    }
    Wanted { checks, patterns: patterns.into_iter().filter_map(|p| Pattern::new(p).ok()).collect() }
}

/// Of all that a check is, which its `Debug` form tells.
fn fingerprint(check: &Check) -> Fingerprint {
    struct Halves(DefaultHasher, DefaultHasher);
    impl fmt::Write for Halves {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            self.1.write(text.as_bytes());
            Ok(())
        }
    }
    let mut halves = Halves(DefaultHasher::new(), DefaultHasher::new());
    halves.1.write_u8(1);
    // Neither hashers nor derived `Debug` fail.
    let _ = write!(halves, "{check:?}");
    [halves.0.finish(), halves.1.finish()]
}
