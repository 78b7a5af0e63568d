//! Starts that repeat are held back: 1 s, 2 s, 4 s … up to a minute, for each resource on each node, and where a recurring operation
//! found the failure never longer than that operation's interval: what is lost is back within two of them.
//!
//! The first recovery is never delayed. Only starts that follow a failure count, and a resource that ran well for a while begins anew.

use crate::api::HeldStart;
use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

const LONGEST: Duration = Duration::from_secs(60);
/// A run of this and twice the last delay is a good one.
const GOOD_RUN: Duration = Duration::from_secs(5);
/// Resources with their nodes that are remembered at most; the one that failed longest ago goes first.
const MAX_RUNS: usize = 4096;

#[derive(Default)]
pub struct Backoff {
    runs: BTreeMap<(NodeId, String), Run>,
}

struct Run {
    /// Longest delay.
    at_most: Duration,
    /// Recoveries in a row that did not last.
    repeats: u32,
    started: Option<Time>,
    /// Since when it has failed and waits for a start.
    failed: Option<Time>,
    told: bool,
}

impl Backoff {
    /// `interval_ms` is that of the operation that failed.
    pub fn failed(&mut self, now: Time, node: NodeId, resource: &str, interval_ms: u64) {
        if self.runs.len() >= MAX_RUNS
            && let Some(oldest) = self.runs.iter().min_by_key(|(_, r)| r.failed.or(r.started)).map(|(k, _)| k.clone())
        {
            self.runs.remove(&oldest);
        }
        let fresh = || Run { at_most: LONGEST, repeats: 0, started: None, failed: None, told: false };
        let run = self.runs.entry((node, resource.to_owned())).or_insert_with(fresh);
        if run.failed.is_some() {
            return;
        }
        if run.started.is_some_and(|at| now.since(at) >= GOOD_RUN + run.delay() * 2) {
            run.repeats = 0;
        }
        run.at_most = if interval_ms == 0 { LONGEST } else { Duration::from_millis(interval_ms).min(LONGEST) };
        (run.failed, run.told) = (Some(now), false);
    }

    pub fn started(&mut self, now: Time, node: NodeId, resource: &str) {
        let Some(run) = self.runs.get_mut(&(node, resource.to_owned())) else { return };
        if run.failed.take().is_some() {
            run.repeats = run.repeats.saturating_add(1);
        }
        run.started = Some(now);
    }

    /// Until when a start has to wait, if it has to.
    pub fn until(&self, now: Time, node: NodeId, resource: &str) -> Option<Time> {
        self.runs.get(&(node, resource.to_owned()))?.until(now)
    }

    /// What to say of a start that waits, once for each time.
    pub fn tell(&mut self, now: Time, node: NodeId, resource: &str) -> Option<String> {
        let until = self.until(now, node, resource)?;
        let run = self.runs.get_mut(&(node, resource.to_owned()))?;
        let wait_ms = until.since(now).as_millis();
        let text = format!(
            "its start is held back for {wait_ms} ms, since it failed soon after {} starts; a clean-up ends the wait",
            run.repeats
        );
        (!std::mem::replace(&mut run.told, true)).then_some(text)
    }

    /// What waits by now.
    pub fn held(&self, now: Time) -> Vec<HeldStart> {
        let held = |((node, resource), run): (&(NodeId, String), &Run)| {
            let for_ms = run.until(now)?.since(now).as_millis() as u64;
            Some(HeldStart { node: *node, resource: resource.clone(), for_ms })
        };
        self.runs.iter().filter_map(held).collect()
    }

    /// An operator wants it tried again at once.
    pub fn forget(&mut self, node: NodeId, resource: &str) {
        self.runs.remove(&(node, resource.to_owned()));
    }

    pub fn clear(&mut self) {
        self.runs.clear();
    }

    /// The first start that may be tried then.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        self.runs.values().filter_map(|r| r.until(now)).min()
    }
}

impl Run {
    /// Until when a start has to wait, if it has to.
    fn until(&self, now: Time) -> Option<Time> {
        self.failed.map(|at| at + self.delay()).filter(|until| *until > now)
    }

    fn delay(&self) -> Duration {
        match self.repeats {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(6)).min(self.at_most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_wait_longer_and_a_good_run_begins_anew() {
        let (mut backoff, node) = (Backoff::default(), NodeId(1));
        let mut now = Time::from_millis(1000);
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed(now, node, "x", 0);
            let until = backoff.until(now, node, "x");
            waits.push(until.map_or(0, |u| u.since(now).as_secs()));
            assert_eq!(backoff.tell(now, node, "x").is_some(), until.is_some());
            assert_eq!(backoff.tell(now, node, "x"), None, "told once");
            now = until.unwrap_or(now);
            assert_eq!(backoff.until(now, node, "x"), None);
            backoff.started(now, node, "x");
            now = now + Duration::from_millis(100);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.until(now, NodeId(2), "x"), None, "another node may start it at once");
        now = now + Duration::from_secs(126);
        backoff.failed(now, node, "x", 0);
        assert_eq!(backoff.until(now, node, "x"), None);
    }

    #[test]
    fn what_a_monitor_finds_lost_waits_for_its_interval_at_most() {
        let (mut backoff, node) = (Backoff::default(), NodeId(1));
        let mut now = Time::from_millis(1000);
        for round in 0..9 {
            backoff.failed(now, node, "x", 3000);
            let wait = backoff.until(now, node, "x").map_or(0, |u| u.since(now).as_millis());
            assert_eq!(wait, [0, 1000, 2000, 3000, 3000, 3000, 3000, 3000, 3000][round]);
            now = now + Duration::from_millis(wait as u64);
            backoff.started(now, node, "x");
            now = now + Duration::from_millis(1500);
        }
    }
}
