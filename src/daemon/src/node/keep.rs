//! The thread that writes the state directory, so that nobody else waits for a disk.
//!
//! ```text
//!   core task, ring thread --> wanted: newest CIB, discarded contents, ring number --> thread --> disk
//!                                 ^                                                      |
//!                                 '--------- what failed, until it is stored ------------'
//! ```
//!
//! Only what is wanted now is kept, so a disk that hangs for a day costs the memory of one CIB. A write that failed is
//! repeated, with a growing pause; new work is tried at once. Each write is told to the core task ([`Note`]), and
//! [`Keeper::trouble`] says what status shows meanwhile.

use crate::clock;
use crate::store::{Disk, RING_SEQ_BLOCK, Store, StoreError};
use base::Time;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use xml::Element;

#[cfg(test)]
mod tests;

/// Pause after the first failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Discarded contents that wait for the disk; the oldest is given up for a newer one, and told.
const MAX_WAITING_DISCARDS: usize = 8;
/// A write that takes longer is told in the status.
const SLOW_AFTER: Duration = Duration::from_secs(2);
/// The same failure is logged again after this.
const REPEAT_LOG: Duration = Duration::from_secs(60);

/// What the thread has to say.
#[derive(Debug)]
pub(super) enum Note {
    /// The CIB with this ticket was written, or could not be (it is tried again, and then told a second time).
    Stored {
        ticket: u64,
        written: bool,
    },
    Discarded {
        file: PathBuf,
        reason: String,
    },
    /// The state directory began to fail, or takes writes again.
    Storage {
        failing: bool,
        text: String,
    },
}

/// The others' end; cheap to clone.
#[derive(Clone)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
    /// Ring numbers below this are reserved on disk.
    reserved: AtomicU64,
    /// µs since when a write is under way; 0 if none is.
    busy_since: AtomicU64,
}

#[derive(Default)]
struct Wanted {
    cib: Option<Cib>,
    discarded: VecDeque<Discard>,
    ring_seq: Option<u64>,
    /// Answered once all that is wanted has been tried.
    flush: Vec<oneshot::Sender<()>>,
    /// Something came since the thread looked last.
    fresh: bool,
    given_up: u64,
    failing: Option<Failing>,
}

struct Cib {
    ticket: u64,
    cib: Arc<Element>,
    lineage: String,
}

struct Discard {
    cib: Arc<Element>,
    reason: String,
}

#[derive(Clone)]
struct Failing {
    text: String,
    since: Time,
}

/// Starts the thread.
pub(super) fn start(store: Store, notes: tokio::sync::mpsc::UnboundedSender<Note>) -> std::io::Result<Keeper> {
    let keeper = Keeper { shared: Arc::default() };
    let mut writer = Writer::new(store, keeper.shared.clone(), notes);
    std::thread::Builder::new().name("store".into()).spawn(move || {
        loop {
            writer.turn();
        }
    })?;
    Ok(keeper)
}

impl Keeper {
    /// The newest CIB counts; one that still waits is replaced.
    pub fn cib(&self, ticket: u64, cib: Arc<Element>, lineage: String) {
        self.want(|w| w.cib = Some(Cib { ticket, cib, lineage }));
    }

    pub fn discarded(&self, cib: Arc<Element>, reason: String) {
        self.want(|w| {
            if w.discarded.len() >= MAX_WAITING_DISCARDS {
                w.discarded.pop_front();
                w.given_up += 1;
            }
            w.discarded.push_back(Discard { cib, reason });
        });
    }

    /// Asks for ring numbers beyond `seq` to be reserved, without waiting; says whether `seq` itself is. Nearly always that
    /// is two loads of an integer.
    pub fn reserve(&self, seq: u64) -> bool {
        let reserved = self.shared.reserved.load(Ordering::Acquire);
        if seq.saturating_add(RING_SEQ_BLOCK / 2) >= reserved {
            self.want(|w| w.ring_seq = w.ring_seq.max(Some(seq)));
        }
        seq < reserved
    }

    /// Answered when everything before it was written, or tried in vain.
    pub fn flush(&self) -> oneshot::Receiver<()> {
        let (to, done) = oneshot::channel();
        self.want(|w| w.flush.push(to));
        done
    }

    /// What is wrong with the state directory, if anything; for status.
    pub fn trouble(&self) -> Option<String> {
        let now = clock::now();
        let busy = self.shared.busy_since.load(Ordering::Acquire);
        let (failing, given_up) = {
            let wanted = self.shared.lock();
            (wanted.failing.clone(), wanted.given_up)
        };
        let mut text = match (failing, now.since(Time(busy))) {
            (Some(f), _) => format!(
                "{}; changes are kept in memory and tried again, since {} s: a power failure loses them here",
                f.text,
                now.since(f.since).as_secs()
            ),
            (None, busy_for) if busy != 0 && busy_for > SLOW_AFTER => {
                format!("a write has been under way for {} s: does the disk hang?", busy_for.as_secs())
            }
            _ => return None,
        };
        if given_up > 0 {
            text += &format!("; {given_up} discarded contents were given up");
        }
        Some(format!("state directory: {text}"))
    }

    fn want(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.shared.lock();
        change(&mut wanted);
        wanted.fresh = true;
        drop(wanted);
        self.shared.changed.notify_one();
    }
}

impl Shared {
    /// Held for a few assignments at a time, never during a write.
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer<D: Disk> {
    store: Store<D>,
    shared: Arc<Shared>,
    notes: tokio::sync::mpsc::UnboundedSender<Note>,
    pause: Duration,
    /// Whether something failed and has to be tried again after the pause.
    again: bool,
    /// This ticket was told to have failed.
    failed_ticket: Option<u64>,
    logged: Option<(String, Time)>,
}

impl<D: Disk> Writer<D> {
    fn new(store: Store<D>, shared: Arc<Shared>, notes: tokio::sync::mpsc::UnboundedSender<Note>) -> Writer<D> {
        Writer { store, shared, notes, pause: FIRST_PAUSE, again: false, failed_ticket: None, logged: None }
    }

    /// Waits for work, or for the end of the pause, and tries everything once.
    fn turn(&mut self) {
        {
            let mut wanted = self.shared.lock();
            let mut paused = false;
            while !(wanted.fresh || self.again && paused) {
                let wait = if self.again { self.pause } else { LONGEST_PAUSE };
                let (back, timed_out) =
                    self.shared.changed.wait_timeout(wanted, wait).unwrap_or_else(PoisonError::into_inner);
                (wanted, paused) = (back, timed_out.timed_out());
            }
            wanted.fresh = false;
        }
        self.round();
    }

    /// Tries everything that is wanted once.
    fn round(&mut self) {
        let (cib, discarded, ring_seq, flush) = {
            let mut w = self.shared.lock();
            (w.cib.take(), std::mem::take(&mut w.discarded), w.ring_seq.take(), std::mem::take(&mut w.flush))
        };
        self.shared.busy_since.store(clock::now().0.max(1), Ordering::Release);
        let mut failure = None;
        if let Some(seq) = ring_seq {
            failure = self.ring_seq(seq).err().or(failure);
        }
        for discard in discarded {
            failure = self.discard(discard).err().or(failure);
        }
        if let Some(cib) = cib {
            failure = self.cib(cib).err().or(failure);
        }
        self.shared.busy_since.store(0, Ordering::Release);
        self.judge(failure);
        // Who waited has gone, or is told.
        for to in flush {
            let _ = to.send(());
        }
    }

    fn ring_seq(&mut self, seq: u64) -> Result<(), StoreError> {
        let reserved = self.store.reserve_ring_seq(seq);
        match &reserved {
            Ok(upto) => self.shared.reserved.store(*upto, Ordering::Release),
            Err(_) => {
                let mut w = self.shared.lock();
                w.ring_seq = w.ring_seq.max(Some(seq));
            }
        }
        reserved.map(drop)
    }

    fn discard(&mut self, discard: Discard) -> Result<(), StoreError> {
        let stamp = stamp(clock::wall().secs());
        match self.store.save_discarded(&stamp, &discard.cib.to_pretty()) {
            Ok(file) => {
                let _ = self.notes.send(Note::Discarded { file, reason: discard.reason });
                Ok(())
            }
            Err(error) => {
                let mut w = self.shared.lock();
                if w.discarded.len() < MAX_WAITING_DISCARDS {
                    w.discarded.push_front(discard);
                } else {
                    w.given_up += 1;
                }
                Err(error)
            }
        }
    }

    fn cib(&mut self, cib: Cib) -> Result<(), StoreError> {
        let saved = self.store.save_cib(&cib.cib.to_pretty(), &cib.lineage);
        let ticket = cib.ticket;
        match saved {
            Ok(_) => {
                self.failed_ticket = None;
                let _ = self.notes.send(Note::Stored { ticket, written: true });
                Ok(())
            }
            Err(error) => {
                if self.failed_ticket.replace(ticket) != Some(ticket) {
                    let _ = self.notes.send(Note::Stored { ticket, written: false });
                }
                // A newer one that came meanwhile is the one to store.
                self.shared.lock().cib.get_or_insert(cib);
                Err(error)
            }
        }
    }

    /// Keeps the state for status, log and the next pause.
    fn judge(&mut self, failure: Option<StoreError>) {
        let now = clock::now();
        let before = self.shared.lock().failing.clone();
        let Some(error) = failure else {
            self.again = false;
            self.pause = FIRST_PAUSE;
            self.logged = None;
            if let Some(before) = before {
                self.shared.lock().failing = None;
                let text = format!("takes writes again, after {} s", now.since(before.since).as_secs());
                tracing::warn!("state directory: {text}; everything is stored");
                let _ = self.notes.send(Note::Storage { failing: false, text });
            }
            return;
        };
        // The number of the generation changes with each try.
        let text = format!("{}: {}", error.step, error.error);
        let repeated = self.logged.as_ref().is_some_and(|(t, at)| *t == text && now.since(*at) < REPEAT_LOG);
        if !repeated {
            tracing::error!("state directory: {error}; what could not be written is kept and tried again");
            self.logged = Some((text, now));
        }
        if before.is_none() {
            let _ = self.notes.send(Note::Storage { failing: true, text: error.to_string() });
        }
        let since = before.map_or(now, |f| f.since);
        self.shared.lock().failing = Some(Failing { text: error.to_string(), since });
        self.pause = if self.again { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        self.again = true;
    }
}

/// `20260131T235959Z`.
fn stamp(secs: i64) -> String {
    jiff::Timestamp::from_second(secs)
        .map(|t| t.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_else(|_| secs.to_string())
}
