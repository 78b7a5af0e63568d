//! Signs of life to the guard process, from a thread of their own: no amount of renewals, starts and stops delays them.
//!
//! They vouch for the keeper: when it has not made a step for [`Bounds::stuck`], they stop, and the guard acts. While nothing is held
//! there is nothing to vouch for, and keeper, heart and guard sleep.

use super::table::Vip;
use crate::guard::GuardLink;
use base::lease::Bounds;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// While nothing is held, so often it is looked whether the guard is there; it needs no signs of life then.
const IDLE: Duration = Duration::from_secs(1);

/// Ends the thread, and with it the guard process, when it is dropped.
pub(crate) struct Heart {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    guard: Mutex<GuardLink>,
    /// Last step of the keeper, µs of the boot clock.
    step: AtomicU64,
    ended: AtomicBool,
}

impl Shared {
    fn guard(&self) -> MutexGuard<'_, GuardLink> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the time until the next one.
    fn beat(&self, bounds: &Bounds) -> Duration {
        let step = Duration::from_micros(self.step.load(Ordering::Acquire));
        let mut guard = self.guard();
        if !guard.holds() || kernel::clock::boottime().saturating_sub(step) < bounds.stuck {
            guard.beat();
        }
        if guard.holds() { bounds.beat } else { IDLE }
    }
}

impl Heart {
    /// Starts the thread in the caller's network namespace, where a guard that has to be started again belongs.
    pub fn start(guard: GuardLink) -> std::io::Result<Heart> {
        let shared = Arc::new(Shared {
            guard: Mutex::new(guard),
            step: AtomicU64::new(kernel::clock::boottime().as_micros() as u64),
            ended: AtomicBool::new(false),
        });
        let its = shared.clone();
        let thread = std::thread::Builder::new().name("lease-heart".into()).spawn(move || {
            let bounds = Bounds::STANDARD;
            while !its.ended.load(Ordering::Acquire) {
                let next = its.beat(&bounds);
                std::thread::park_timeout(next);
            }
        })?;
        Ok(Heart { shared, thread: Some(thread) })
    }

    /// The keeper goes on.
    pub fn step(&self) {
        self.shared.step.store(kernel::clock::boottime().as_micros() as u64, Ordering::Release);
    }

    /// Whether the guard is there for anything now.
    pub fn holds(&self) -> bool {
        self.shared.guard().holds()
    }

    pub fn hold_vip(&self, vip: &Vip) {
        self.shared.guard().hold_vip(vip);
        // From now on it beats.
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    pub fn drop_vip(&self, vip: &Vip) {
        self.shared.guard().drop_vip(vip);
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic; if it did, there is nothing left to end.
            let _ = thread.join();
        }
    }
}
