//! Who is believed about a server at the moment when a director takes the table over.
//!
//! | own check | peer's verdict | believed |
//! |---|---|---|
//! | fresh, failed | any | own: this host's path to the server counts |
//! | fresh, passed | fresh and newer | the peer: it saw the server last |
//! | fresh, passed | older, or none that is fresh | own |
//! | none that is fresh | fresh | the peer |
//! | stale | none that is fresh | own, as while a machine cannot check |
//! | none | none that is fresh | nobody: the server is unchecked |
//!
//! Fresh is what is no older than [`trust`] of the server's checks. An unchecked server has no weight until a first check
//! of this host passes; its checks begin at once, and the fallback waits for them as at any start. Weight that stands in
//! the table counts as passed as long as no fresh verdict says otherwise, as at any start.

use crate::health::{Health, Record, Source, Standing};
use crate::plan::RealId;
use crate::verdicts::{MAX_VERDICTS, VerdictEntry, Verdicts};
use base::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Verdicts that are older than so many check intervals are not trusted.
pub const TRUSTED_INTERVALS: u32 = 3;
/// Nor those older than this where the interval is short: a dead director is noticed only after a while.
pub const MIN_TRUST: Duration = Duration::from_secs(15);

/// How old a verdict may be, given how often the server is checked and how long a check may take.
pub fn trust(interval: Duration, deadline: Duration) -> Duration {
    interval.saturating_mul(TRUSTED_INTERVALS).saturating_add(deadline).max(MIN_TRUST)
}

/// One side's last observation of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opinion {
    pub up: bool,
    pub age: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Believed {
    Own,
    Peer,
    Nobody,
}

/// The table at the head of this file.
pub fn believe(own: Option<Opinion>, peer: Option<Opinion>, trust: Duration) -> Believed {
    let fresh = |o: Option<Opinion>| o.filter(|o| o.age <= trust);
    match (fresh(own), fresh(peer)) {
        (Some(own), _) if !own.up => Believed::Own,
        (Some(own), Some(peer)) if peer.age >= own.age => Believed::Own,
        (_, Some(_)) => Believed::Peer,
        (Some(_), None) => Believed::Own,
        (None, None) if own.is_some() => Believed::Own,
        (None, None) => Believed::Nobody,
    }
}

/// What the table rests on after a take-over, in servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct TakenOver {
    /// Own checks, and what the configuration fixes.
    pub own: usize,
    /// Verdicts of the former director.
    pub peer: usize,
    /// Weight found in the table.
    pub table: usize,
    /// Nothing is known: no weight before a first check.
    pub unchecked: usize,
}

impl Health {
    /// Settles each server's standing from own checks and a peer's verdicts. `trust` says how old a verdict may be.
    pub fn take_over(&mut self, verdicts: &Verdicts, trust: impl Fn(&RealId) -> Duration, now: Time) -> TakenOver {
        let by_id: BTreeMap<&RealId, &VerdictEntry> =
            verdicts.entries.iter().take(MAX_VERDICTS).map(|e| (&e.real, e)).collect();
        let mut sum = TakenOver::default();
        for (id, record) in self.iter_mut() {
            if record.source == Source::Fixed {
                sum.own += 1;
                continue;
            }
            let earlier = opinion(record, Source::Peer, now);
            let entry = by_id.get(id).filter(|e| earlier.is_none_or(|o| Duration::from_millis(e.age_ms) < o.age));
            let told = entry.map(|e| Opinion { up: e.up, age: Duration::from_millis(e.age_ms) });
            match (believe(opinion(record, Source::Check, now), told.or(earlier), trust(id)), entry) {
                (Believed::Own, _) => sum.own += 1,
                (Believed::Peer, entry) => {
                    if let Some(entry) = entry {
                        adopt(record, entry, now);
                    }
                    sum.peer += 1;
                }
                (Believed::Nobody, _) if record.source == Source::Table => sum.table += 1,
                (Believed::Nobody, _) => {
                    record.set(Standing::Unknown, Source::None, now);
                    record.observed = None;
                    sum.unchecked += 1;
                }
            }
        }
        sum
    }
}

fn opinion(record: &Record, source: Source, now: Time) -> Option<Opinion> {
    let observed = record.observed.filter(|_| record.source == source)?;
    Some(Opinion { up: record.standing == Standing::Up, age: now.since(observed) })
}

fn adopt(record: &mut Record, entry: &VerdictEntry, now: Time) {
    record.set(if entry.up { Standing::Up } else { Standing::Down }, Source::Peer, now);
    record.observed = Some(now - Duration::from_millis(entry.age_ms));
    record.failures = entry.failures;
    record.answer = entry.answer.as_str().into();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Verdict;
    use crate::plan::{Mode, Plan, RealPlan, VirtualPlan};
    use base::ipvs::{Dest, DestKey, Forward, Protocol, Service, ServiceKey, Tunnel};

    const TRUST: Duration = Duration::from_secs(15);

    fn said(up: bool, age_s: u64) -> Option<Opinion> {
        Some(Opinion { up, age: Duration::from_secs(age_s) })
    }

    #[test]
    fn every_row_of_the_table() {
        let rows = [
            (said(false, 9), said(true, 1), Believed::Own),
            (said(false, 9), None, Believed::Own),
            (said(true, 9), said(false, 1), Believed::Peer),
            (said(true, 9), said(true, 1), Believed::Peer),
            (said(true, 1), said(false, 9), Believed::Own),
            (said(true, 5), said(false, 5), Believed::Own),
            (said(true, 9), said(false, 16), Believed::Own),
            (said(true, 9), None, Believed::Own),
            (said(true, 60), said(false, 15), Believed::Peer),
            (said(false, 60), said(true, 15), Believed::Peer),
            (None, said(false, 1), Believed::Peer),
            (said(true, 60), said(false, 16), Believed::Own),
            (said(false, 60), None, Believed::Own),
            (None, said(true, 16), Believed::Nobody),
            (None, None, Believed::Nobody),
        ];
        for (own, peer, expected) in rows {
            assert_eq!(believe(own, peer, TRUST), expected, "own {own:?}, peer {peer:?}");
        }
    }

    #[test]
    fn trust_follows_the_interval_but_outlives_a_dead_director() {
        let secs = Duration::from_secs;
        assert_eq!(trust(secs(1), secs(2)), MIN_TRUST);
        assert_eq!(trust(secs(10), secs(5)), secs(35));
        assert_eq!(trust(Duration::MAX, secs(5)), Duration::MAX);
    }

    fn real(n: u8) -> RealId {
        RealId { service: service(), dest: DestKey { addr: [10, 0, 0, n].into(), port: 80 } }
    }

    fn service() -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, addr: [192, 0, 2, 1].into(), port: 80 }
    }

    fn health(modes: &[Mode], now: Time) -> Health {
        let dest = |n: u8| Dest {
            key: real(n).dest,
            forward: Forward::Masq,
            weight: 1,
            tunnel: Tunnel::Ipip,
            u_threshold: 0,
            l_threshold: 0,
        };
        let reals = (1..).zip(modes).map(|(n, mode)| RealPlan { dest: dest(n), mode: *mode }).collect();
        let service = Service::new(service(), "rr");
        let v = VirtualPlan { service, reals, fallback: None, quiescent: false, tuning: crate::Tuning::fall(1) };
        let mut health = Health::default();
        health.follow(&Plan { virtuals: vec![v], readd_quiescent: false }, now);
        health
    }

    fn check(health: &mut Health, n: u8, up: bool, now: Time) {
        health.record(real(n), &Verdict { up, answer: String::new(), latency_us: 0 }, &crate::Tuning::fall(1), now);
    }

    fn told(n: u8, up: bool, age_ms: u64) -> VerdictEntry {
        VerdictEntry { real: real(n), up, failures: 0, age_ms, answer: String::new() }
    }

    fn standings(health: &Health) -> Vec<(Standing, Source)> {
        health.iter().map(|(_, r)| (r.standing, r.source)).collect()
    }

    #[test]
    fn a_cold_director_believes_what_is_fresh_and_leaves_the_rest_unchecked() {
        let now = Time::from_millis(100_000);
        let mut health = health(&[Mode::Checked, Mode::Checked, Mode::Checked, Mode::Checked, Mode::AlwaysUp], now);
        let verdicts = Verdicts { entries: vec![told(1, true, 100), told(2, false, 100), told(3, true, 15_001)] };
        let sum = health.take_over(&verdicts, |_| TRUST, now);
        assert_eq!(sum, TakenOver { own: 1, peer: 2, table: 0, unchecked: 2 });
        use {Source as S, Standing::*};
        let expected = [(Up, S::Peer), (Down, S::Peer), (Unknown, S::None), (Unknown, S::None), (Up, S::Fixed)];
        assert_eq!(standings(&health), expected);
    }

    #[test]
    fn a_warm_director_keeps_its_own_newer_checks_and_its_own_failures() {
        let mut now = Time::from_millis(100_000);
        let mut health = health(&[Mode::Checked, Mode::Checked, Mode::Checked], now);
        check(&mut health, 1, true, now);
        check(&mut health, 2, false, now);
        check(&mut health, 3, true, now);
        now = Time::from_millis(105_000);
        let verdicts = Verdicts { entries: vec![told(1, false, 100), told(2, true, 100), told(3, false, 6_000)] };
        let sum = health.take_over(&verdicts, |_| TRUST, now);
        assert_eq!(sum, TakenOver { own: 2, peer: 1, table: 0, unchecked: 0 });
        use {Source as S, Standing::*};
        assert_eq!(standings(&health), [(Down, S::Peer), (Down, S::Check), (Up, S::Check)]);
        check(&mut health, 1, true, now);
        assert_eq!(health.get(&real(1)).map(|r| (r.standing, r.source)), Some((Up, S::Check)), "then own checks rule");
    }

    #[test]
    fn what_was_taken_earlier_ages_too() {
        let mut now = Time::from_millis(100_000);
        let mut health = health(&[Mode::Checked, Mode::Checked], now);
        health.take_over(&Verdicts { entries: vec![told(1, true, 0), told(2, true, 0)] }, |_| TRUST, now);
        now = Time::from_millis(116_000);
        let sum = health.take_over(&Verdicts { entries: vec![told(2, false, 10)] }, |_| TRUST, now);
        assert_eq!(sum, TakenOver { own: 0, peer: 1, table: 0, unchecked: 1 });
        use {Source as S, Standing::*};
        assert_eq!(standings(&health), [(Unknown, S::None), (Down, S::Peer)]);
    }
}
