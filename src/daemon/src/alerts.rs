//! Alert agents: called for what the controller tells, one call after the other for each recipient, never in the way of anything.
//!
//! ```text
//! Output::Notify -> stamped, numbered -> queue of its recipient -> (turn) -> child process with a deadline
//! ```
//!
//! A recipient whose agent hangs holds up nobody but itself: its queue is bounded, and when it is full the oldest call gives way, is
//! counted and told. Calls run as Pacemaker's user, each in a group of its own that ends with it.

mod stamp;

use crate::clock;
use crate::exec::{Places, alert};
use crate::timeline::Timeline;
use controller::alerts::{self, Call, Calls};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OnceCell, Semaphore};

/// Calls that wait for one recipient.
const MAX_WAITING: usize = 100;
/// Calls that wait for all recipients together.
const MAX_WAITING_ALL: usize = 4096;
/// Agents that run at the same time.
const MAX_RUNNING: usize = 32;
/// How long a node that ends waits for alerts of its last events.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Tells an agent how many calls to it were dropped before this one.
const DROPPED: &str = "BASCULE_alert_dropped";

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Alerts {
    inner: Arc<Inner>,
}

struct Inner {
    places: Arc<Places>,
    timeline: Timeline,
    node: String,
    state: Mutex<State>,
    turns: Semaphore,
    user: OnceCell<Option<alert::User>>,
    /// A queue has run empty.
    emptied: Notify,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Alert and recipient.
type Key = (String, Option<String>);

#[derive(Default)]
struct State {
    /// Queues that are worked on; an empty one is removed.
    queues: BTreeMap<Key, Queue>,
    waiting: usize,
    /// `CRM_alert_node_sequence` of the call made last.
    sequence: u64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Dropped since the last call.
    dropped: u64,
    /// Dropped since it was empty last.
    behind: u64,
}

struct Waiting {
    call: Call,
    sequence: u64,
    at_us: i64,
}

impl Alerts {
    pub fn new(places: Arc<Places>, timeline: Timeline, node: &str) -> Alerts {
        Alerts {
            inner: Arc::new(Inner {
                places,
                timeline,
                node: node.to_owned(),
                state: Mutex::default(),
                turns: Semaphore::new(MAX_RUNNING),
                user: OnceCell::new(),
                emptied: Notify::new(),
                counters: Counters::default(),
            }),
        }
    }

    /// Queues the calls for one event; returns at once.
    pub fn send(&self, calls: Calls) {
        let at_us = clock::wall_us();
        if calls.left_out > 0 {
            self.inner.lost(calls.left_out as u64, &format!("more than {} recipients of one event", alerts::MAX_CALLS));
        }
        for call in calls.calls {
            self.queue(call, at_us);
        }
    }

    fn queue(&self, call: Call, at_us: i64) {
        let key = (call.alert.clone(), call.recipient.clone());
        let mut state = self.inner.state();
        state.sequence += 1;
        let (sequence, crowded) = (state.sequence, state.waiting >= MAX_WAITING_ALL);
        let idle = !state.queues.contains_key(&key);
        let queue = state.queues.entry(key.clone()).or_default();
        let mut dropped = 0;
        if queue.waiting.len() >= MAX_WAITING || crowded && !queue.waiting.is_empty() {
            queue.waiting.pop_front();
            dropped = 1;
        }
        if crowded && dropped == 0 {
            dropped = 1;
        } else {
            queue.waiting.push_back(Waiting { call, sequence, at_us });
            state.waiting = state.waiting + 1 - dropped as usize;
        }
        let first = state.queues.get_mut(&key).is_some_and(|queue| {
            queue.dropped += dropped;
            queue.behind += dropped;
            queue.behind == 1 && dropped == 1
        });
        drop(state);
        self.inner.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        if first {
            self.inner.tell(&format!("{}: its agent is slower than events come; the oldest are dropped", name(&key)));
        }
        if idle {
            tokio::spawn(work(self.inner.clone(), key));
        }
    }

    /// Waits for what is queued, but not for long.
    pub async fn drain(&self) {
        let emptied = async {
            loop {
                let notified = self.inner.emptied.notified();
                if self.inner.state().queues.is_empty() {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(DRAIN_LIMIT, emptied).await.is_err() {
            let left: Vec<String> = self.inner.state().queues.keys().map(name).collect();
            tracing::warn!("alerts were not all sent within {} s: {}", DRAIN_LIMIT.as_secs(), left.join(", "));
        }
    }

    /// Names and values for status.
    pub fn counters(&self) -> [(&'static str, u64); 4] {
        let counters = &self.inner.counters;
        let waiting = self.inner.state().waiting as u64;
        [
            ("sent", counters.sent.load(Ordering::Relaxed)),
            ("failed", counters.failed.load(Ordering::Relaxed)),
            ("dropped", counters.dropped.load(Ordering::Relaxed)),
            ("waiting", waiting),
        ]
    }

    /// Recipients that calls are being dropped for, in words.
    pub fn troubles(&self) -> Vec<String> {
        let state = self.inner.state();
        let troubled = state.queues.iter().filter(|(_, q)| q.behind > 0);
        troubled
            .map(|(key, q)| format!("{}: {} calls were dropped, {} wait", name(key), q.behind, q.waiting.len()))
            .collect()
    }
}

fn name((alert, recipient): &Key) -> String {
    match recipient {
        Some(recipient) => format!("alert {alert} to {recipient}"),
        None => format!("alert {alert}"),
    }
}

/// Makes the calls of one queue until it is empty.
async fn work(inner: Arc<Inner>, key: Key) {
    while let Some((waiting, dropped)) = inner.next(&key) {
        let Ok(_turn) = inner.turns.acquire().await else { return };
        let user = inner.user.get_or_init(alert::user).await;
        if dropped > 0 {
            inner.tell(&format!("{}: {dropped} calls were dropped", name(&key)));
        }
        let environment = variables(&waiting, dropped);
        let Call { path, timeout_ms, .. } = &waiting.call;
        let limit = Duration::from_millis(*timeout_ms);
        match alert::run(&inner.places, &inner.node, path, environment, user.as_ref(), limit).await {
            Ok(()) => drop(inner.counters.sent.fetch_add(1, Ordering::Relaxed)),
            Err(reason) => {
                inner.counters.failed.fetch_add(1, Ordering::Relaxed);
                inner.tell(&format!("{}: {path}: {reason}", name(&key)));
            }
        }
    }
    inner.emptied.notify_waiters();
}

/// The call's variables with those of its moment.
fn variables(waiting: &Waiting, dropped: u64) -> BTreeMap<String, String> {
    let Waiting { call, sequence, at_us } = waiting;
    let mut all = call.environment.clone();
    let mut say = |name: &str, value: &str| alerts::set(&mut all, name, value);
    say("node_sequence", &sequence.to_string());
    say("timestamp_epoch", &at_us.div_euclid(1_000_000).to_string());
    say("timestamp_usec", &format!("{:06}", at_us.rem_euclid(1_000_000)));
    // What cannot be written is left out, as documented.
    if let Some(text) = stamp::write(&call.timestamp_format, *at_us, &jiff::tz::TimeZone::system()) {
        say("timestamp", &text);
    }
    if dropped > 0 {
        all.insert(DROPPED.to_owned(), dropped.to_string());
    }
    all
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next call of a queue and how many were dropped before it; an empty queue ends.
    fn next(&self, key: &Key) -> Option<(Waiting, u64)> {
        let mut state = self.state();
        let queue = state.queues.get_mut(key)?;
        let Some(waiting) = queue.waiting.pop_front() else {
            let dropped = queue.dropped;
            state.queues.remove(key);
            drop(state);
            if dropped > 0 {
                self.tell(&format!("{}: {dropped} calls were dropped", name(key)));
            }
            return None;
        };
        let dropped = std::mem::take(&mut queue.dropped);
        state.waiting = state.waiting.saturating_sub(1);
        Some((waiting, dropped))
    }

    fn lost(&self, number: u64, why: &str) {
        self.counters.dropped.fetch_add(number, Ordering::Relaxed);
        self.tell(&format!("{number} alerts were dropped: {why}"));
    }

    fn tell(&self, text: &str) {
        tracing::warn!("{text}");
        self.timeline.add("alert_agent", "", text);
    }
}

#[cfg(test)]
mod tests;
