//! How many checks run at one time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Checks that run at one time; each needs a few descriptors.
pub const MAX_CONCURRENT: usize = 20_000;

pub struct Limits {
    all: Arc<Semaphore>,
    brisk: Arc<Semaphore>,
}

/// Room for one check.
pub struct Permits {
    _all: OwnedSemaphorePermit,
    brisk: OwnedSemaphorePermit,
}

impl Limits {
    /// `brisk`: checks in their first moments.
    pub fn new(brisk: usize) -> Limits {
        Limits { all: Arc::new(Semaphore::new(concurrent())), brisk: Arc::new(Semaphore::new(brisk)) }
    }

    /// Waits for room; `None`: the runner ends.
    pub async fn room(&self) -> Option<Permits> {
        let all = self.all.clone().acquire_owned().await.ok()?;
        let brisk = self.brisk.clone().acquire_owned().await.ok()?;
        Some(Permits { _all: all, brisk })
    }
}

impl Permits {
    /// Runs a check, and makes room for the first moments of another after `moments`.
    pub async fn hold<T>(self, moments: Duration, mut check: Pin<Box<impl Future<Output = T>>>) -> T {
        let Permits { _all, brisk } = self;
        if let Ok(outcome) = tokio::time::timeout(moments, &mut check).await {
            return outcome;
        }
        drop(brisk);
        check.await
    }
}

/// As many as descriptors allow, after the limit was raised as far as permitted.
fn concurrent() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let limit = if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    // Two for each check (FTP's data, a child's pipes), some for everything else.
    usize::try_from(limit.saturating_sub(128) / 2).unwrap_or(MAX_CONCURRENT).clamp(16, MAX_CONCURRENT)
}
