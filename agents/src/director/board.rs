//! What the other nodes' directors have told. Pure: time is an argument.

use super::bulletin::{Body, Bulletin};
use super::outbox::MAX_SHARED;
use base::NodeId;
use ldirectord::service::{MarkEntry, Marks, RealId, VerdictEntry, Verdicts};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Directors of one node that are remembered.
const MAX_DIRECTORS: usize = 64;
/// Nodes that are remembered for one director.
const MAX_NODES: usize = 32;

#[derive(Default)]
pub(crate) struct Board {
    directors: BTreeMap<String, BTreeMap<NodeId, Teller>>,
    /// What operators have asked for at any node, this one included.
    marks: BTreeMap<String, Marks>,
}

/// One node's account of a director's servers.
#[derive(Default)]
struct Teller {
    life: u64,
    account: u64,
    /// When it last said something of its servers.
    heard: Duration,
    known: BTreeMap<RealId, Told>,
    /// A complete account of which parts have come.
    coming: Option<Coming>,
}

struct Coming {
    account: u64,
    parts: u32,
    known: BTreeMap<RealId, Told>,
}

struct Told {
    up: bool,
    failures: u32,
    answer: String,
    /// When the check was made, on this machine's clock.
    at: Duration,
}

impl Board {
    /// Takes a bulletin in that arrived at `now`. What cannot be placed is dropped; the next complete account heals it.
    /// Tells whether it has brought marks that were not known.
    pub fn take(&mut self, from: NodeId, bulletin: Bulletin, now: Duration) -> bool {
        match bulletin.body {
            Body::Marks { entries } => self.note_marks(&bulletin.director, &entries),
            body => {
                self.take_verdicts(from, Bulletin { body, ..bulletin }, now);
                false
            }
        }
    }

    /// Tells whether something of it is new.
    pub fn note_marks(&mut self, director: &str, entries: &[MarkEntry]) -> bool {
        if self.marks.len() >= MAX_DIRECTORS && !self.marks.contains_key(director) {
            return false;
        }
        self.marks.entry(director.to_owned()).or_default().merge(entries).1
    }

    pub fn marks(&self, director: &str) -> Vec<MarkEntry> {
        self.marks.get(director).map(Marks::entries).unwrap_or_default()
    }

    fn take_verdicts(&mut self, from: NodeId, bulletin: Bulletin, now: Duration) {
        let full = self.directors.len() >= MAX_DIRECTORS && !self.directors.contains_key(&bulletin.director);
        if full {
            return;
        }
        let tellers = self.directors.entry(bulletin.director).or_default();
        if tellers.len() >= MAX_NODES && !tellers.contains_key(&from) {
            return;
        }
        let teller = tellers.entry(from).or_default();
        teller.heard = now;
        if teller.life != bulletin.life {
            *teller = Teller {
                life: bulletin.life,
                heard: now,
                known: std::mem::take(&mut teller.known),
                ..Teller::default()
            };
        }
        match bulletin.body {
            Body::All { part, last, entries } => teller.all(bulletin.account, part, last, entries, now),
            Body::Changed { entries } if bulletin.account == teller.account => teller.put(entries, now),
            Body::Fresh { ages_ms } if bulletin.account == teller.account => {
                let ages: BTreeMap<_, _> = ages_ms.into_iter().collect();
                for (id, told) in &mut teller.known {
                    if let Some(age_ms) = ages.get(&id.service) {
                        told.at = told.at.max(now.saturating_sub(Duration::from_millis(*age_ms)));
                    }
                }
            }
            Body::Changed { .. } | Body::Fresh { .. } | Body::Marks { .. } => {}
        }
    }

    /// The newest word on each server, with its age at `now`.
    pub fn verdicts(&self, director: &str, now: Duration) -> Verdicts {
        let mut newest: BTreeMap<RealId, &Told> = BTreeMap::new();
        for (id, told) in self.directors.get(director).into_iter().flat_map(BTreeMap::values).flat_map(|t| &t.known) {
            let best = newest.entry(*id).or_insert(told);
            if told.at > best.at {
                *best = told;
            }
        }
        let entry = |(real, told): (RealId, &Told)| VerdictEntry {
            real,
            up: told.up,
            failures: told.failures,
            age_ms: now.saturating_sub(told.at).as_millis() as u64,
            answer: told.answer.clone(),
        };
        Verdicts { entries: newest.into_iter().map(entry).collect() }
    }

    /// What those among `members` say who were heard within `silence`.
    pub fn words(
        &self,
        director: &str,
        members: &BTreeSet<NodeId>,
        now: Duration,
        silence: Duration,
    ) -> impl Iterator<Item = (RealId, bool)> {
        let tellers = self.directors.get(director).into_iter().flatten();
        let active = tellers.filter(move |(n, t)| members.contains(n) && now.saturating_sub(t.heard) <= silence);
        active.flat_map(|(_, t)| &t.known).map(|(id, told)| (*id, told.up))
    }

    pub fn forget(&mut self, director: &str) {
        self.directors.remove(director);
        self.marks.remove(director);
    }
}

impl Teller {
    fn all(&mut self, account: u64, part: u32, last: bool, entries: Vec<VerdictEntry>, now: Duration) {
        if part == 0 {
            self.coming = Some(Coming { account, parts: 0, known: BTreeMap::new() });
        }
        let Some(mut coming) = self.coming.take().filter(|c| c.account == account && c.parts == part) else { return };
        coming.parts += 1;
        insert(&mut coming.known, entries, now);
        if last {
            self.account = account;
            self.known = coming.known;
        } else {
            self.coming = Some(coming);
        }
    }

    fn put(&mut self, entries: Vec<VerdictEntry>, now: Duration) {
        insert(&mut self.known, entries, now);
    }
}

fn insert(known: &mut BTreeMap<RealId, Told>, entries: Vec<VerdictEntry>, now: Duration) {
    for e in entries {
        if known.len() >= MAX_SHARED && !known.contains_key(&e.real) {
            return;
        }
        let at = now.saturating_sub(Duration::from_millis(e.age_ms));
        known.insert(e.real, Told { up: e.up, failures: e.failures, answer: e.answer, at });
    }
}
