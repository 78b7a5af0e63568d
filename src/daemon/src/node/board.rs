//! What the core task shows to all: the applied CIB and what the node says of itself. Readers take it from here and never
//! enter the core task, so that a read waits for nothing.
//!
//! It is renewed before every answer to a client, so that whoever asks after a change was acknowledged sees it, and else when
//! [`RENEW_EVERY`] has passed since the last time: what is shown is never older than that, and thousands of results a second
//! cost no more than a hundred renewals.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::api::{Groups, NodeStatus, QuorumStatus};

/// Longest time that a change stays unseen.
pub const RENEW_EVERY: Duration = Duration::from_millis(10);

/// One state of the node.
pub struct Shown {
    pub cib: cib::Cib,
    pub status: NodeStatus,
    pub quorum: QuorumStatus,
    pub groups: Groups,
}

/// The core's end.
pub struct Board(watch::Sender<Option<Arc<Shown>>>);

/// A reader's end.
#[derive(Clone)]
pub struct Reader(watch::Receiver<Option<Arc<Shown>>>);

pub fn board() -> (Board, Reader) {
    let (show, seen) = watch::channel(None);
    (Board(show), Reader(seen))
}

impl Board {
    pub fn show(&self, shown: Shown) {
        self.0.send_replace(Some(Arc::new(shown)));
    }
}

impl Reader {
    pub fn last(&self) -> Option<Arc<Shown>> {
        self.0.borrow().clone()
    }

    /// The present state; right after the start, the first one. `None` if the core task has ended.
    pub async fn look(&self) -> Option<Arc<Shown>> {
        let mut seen = self.0.clone();
        seen.has_changed().ok()?;
        seen.wait_for(Option::is_some).await.ok()?.clone()
    }
}
