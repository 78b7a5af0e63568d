//! When each check runs. The next one begins an interval after the last has ended.
//!
//! ```text
//!   follow(configuration) ──► plan: one entry a check, when it is due ──► pacer (one task) ──► a task for each check under way
//!                               ▲                                                                      │ what it found
//!                               └──────────────────────── due again ───────────────────────────────────┴──► core
//! ```
//!
//! A check that waits is a few words in the plan; what it asks is put together when it is due, and gone when it has been answered.
//! Thousands of servers with the same question so cost next to nothing.
//!
//! Checks that are all due at once (at start, say) begin in the order in which they came, [`MAX_BRISK`] at a time: more would only
//! cost memory. Whoever has not answered within [`BRISK`] makes room, so that servers that hang hold up nobody.

mod entries;
mod limits;
#[cfg(test)]
mod tests;

pub use limits::MAX_CONCURRENT;

use self::entries::{Entries, Start};
use self::limits::{Limits, Permits};
use crate::checks::Check;
use crate::config::Config;
use policy::{RealId, Verdict};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Checks that are in their first moments at one time, and how long these are.
const MAX_BRISK: usize = 64;
const BRISK: Duration = Duration::from_millis(5);
/// Pause before a check that this machine could not make is tried again.
const RETRY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CheckId(u64);

/// What a check has found; `Err`: this machine could not ask.
pub struct Finding {
    pub id: CheckId,
    pub outcome: Result<Verdict, String>,
}

pub struct Runner {
    plan: Arc<Plan>,
    pacer: AbortHandle,
}

/// What pacer, checks and core share. The lock is held for moments only, never across an `await`.
struct Plan {
    entries: Mutex<Entries>,
    /// Something is due earlier than the pacer knows.
    sooner: Notify,
    limits: Limits,
    findings: mpsc::Sender<Finding>,
}

impl Runner {
    /// Within a tokio runtime.
    pub fn new(findings: mpsc::Sender<Finding>) -> Runner {
        let entries = Mutex::new(Entries::default());
        let plan = Arc::new(Plan { entries, sooner: Notify::new(), limits: Limits::new(MAX_BRISK), findings });
        let pacer = tokio::spawn(pace(plan.clone())).abort_handle();
        Runner { plan, pacer }
    }

    /// Runs exactly the checks of a configuration; those that run already are left alone.
    pub fn follow(&mut self, config: &Arc<Config>) {
        let wanted = entries::distinct(config);
        self.plan.entries().follow(config, wanted, Instant::now());
        self.plan.sooner.notify_one();
    }

    pub fn stop(&mut self) {
        self.plan.entries().clear();
    }

    /// Whether it asks an agent, and the servers that it speaks for.
    pub fn reals(&self, id: CheckId) -> Option<(bool, Vec<RealId>)> {
        self.plan.entries().reals(id)
    }

    /// In a few words.
    pub fn label(&self, id: CheckId) -> String {
        let found = self.plan.entries().place(id);
        found.and_then(|(config, place)| place.check(&config)).map(|check| check.label()).unwrap_or_default()
    }

    /// The check of each real server, in a few words.
    pub fn by_real(&self) -> BTreeMap<RealId, String> {
        let (config, all) = {
            let entries = self.plan.entries();
            let Some(config) = entries.config() else { return BTreeMap::new() };
            (config, entries.all())
        };
        let checks = all.into_iter().filter(|(_, place)| !place.agent);
        checks.filter_map(|(id, place)| Some((id, place.check(&config)?.label()))).collect()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.pacer.abort();
        self.plan.entries().clear();
    }
}

impl Plan {
    /// No code that holds it panics, and the entries stay whole if it does.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts what is due, as far as there is room.
async fn pace(plan: Arc<Plan>) {
    loop {
        let next = plan.entries().next();
        if next.is_none_or(|at| at > Instant::now()) {
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = plan.sooner.notified() => continue,
                () = due => {}
            }
        }
        // Before the lock is taken: there may be no room for a while, and what is due may be another check by then.
        let Some(permits) = plan.limits.room().await else { return };
        let mut entries = plan.entries();
        if let Some((id, start)) = entries.take(Instant::now()) {
            let task = tokio::spawn(run(plan.clone(), id, start, permits));
            entries.began(id, task.abort_handle());
        }
    }
}

/// One check from its beginning to its place in the plan.
async fn run(plan: Arc<Plan>, id: CheckId, start: Start, permits: Permits) {
    let Start { config, place, mut progress, first } = start;
    let Some(check) = place.check(&config) else { return };
    // One that hangs keeps no former configuration in memory.
    drop(config);
    // Boxed, so that it is never moved: the task would have room for two of it.
    let outcome = permits.hold(BRISK, Box::pin(check.run(&mut progress))).await;
    let pause = if outcome.is_ok() { pause(&check, first, noise()) } else { RETRY };
    let first = first && outcome.is_err();
    if plan.findings.send(Finding { id, outcome }).await.is_err() {
        return;
    }
    let soonest = plan.entries().ended(id, progress, first, Instant::now() + pause);
    if soonest {
        plan.sooner.notify_one();
    }
}

/// The time until the next check. The first one is cut at random, so that checks which all began at once do not stay together.
fn pause(check: &Check, first: bool, noise: u32) -> Duration {
    // From 0 to 1.
    let share = f64::from(noise) / f64::from(u32::MAX);
    if first {
        return check.interval.mul_f64(share);
    }
    let jitter = f64::from(check.jitter_percent.min(100)) / 100.0;
    check.interval.mul_f64(1.0 + jitter * (2.0 * share - 1.0))
}

/// Enough randomness to part two timers.
fn noise() -> u32 {
    RandomState::new().hash_one(()) as u32
}
