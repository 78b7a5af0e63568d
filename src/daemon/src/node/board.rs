//! What the core task shows to all: the applied CIB and what the node says of itself. Readers take it from here and never
//! enter the core task, so that a read waits for nothing.
//!
//! It is renewed before every answer to a client, so that whoever asks after a change was acknowledged sees it, and else when
//! [`RENEW_EVERY`] has passed since something happened: thousands of results a second cost no more than a hundred renewals. While
//! nothing happens but time, it is renewed for who looks, if it is older than [`FRESH_FOR`], and else each [`IDLE_EVERY`]: nobody
//! pays for what nobody reads. A core task that is busy holds a reader up for [`WAIT_AT_MOST`], then the last state has to do.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use wire::api::{Groups, NodeStatus, QuorumStatus};

/// Longest time that a change stays unseen.
pub const RENEW_EVERY: Duration = Duration::from_millis(10);

/// What is shown is renewed so often where nothing happens and nobody looks: it is what a blackbox has.
pub const IDLE_EVERY: Duration = Duration::from_secs(1);
/// Counters and the like may be so old.
const FRESH_FOR: Duration = Duration::from_millis(100);
const WAIT_AT_MOST: Duration = Duration::from_millis(50);

/// One state of the node.
pub struct Shown {
    pub cib: cib::Cib,
    pub status: NodeStatus,
    pub quorum: QuorumStatus,
    pub groups: Groups,
}

type Seen = Option<(Instant, Arc<Shown>)>;

/// The core's end.
pub struct Board {
    shown: watch::Sender<Seen>,
    wanted: Arc<Notify>,
}

/// A reader's end.
#[derive(Clone)]
pub struct Reader {
    seen: watch::Receiver<Seen>,
    wanted: Arc<Notify>,
}

pub fn board() -> (Board, Reader) {
    let ((shown, seen), wanted) = (watch::channel(None), Arc::new(Notify::new()));
    (Board { shown, wanted: wanted.clone() }, Reader { seen, wanted })
}

impl Board {
    pub fn show(&self, shown: Shown) {
        self.shown.send_replace(Some((Instant::now(), Arc::new(shown))));
    }

    /// Somebody looks, and what is shown is too old.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

impl Reader {
    /// As it was shown last, however long ago.
    pub fn last(&self) -> Option<Arc<Shown>> {
        self.seen.borrow().as_ref().map(|(_, shown)| shown.clone())
    }

    /// The present state; right after the start, the first one. `None` if the core task has ended.
    pub async fn look(&self) -> Option<Arc<Shown>> {
        let mut seen = self.seen.clone();
        seen.has_changed().ok()?;
        let fresh = seen.borrow_and_update().as_ref().is_none_or(|(at, _)| at.elapsed() <= FRESH_FOR);
        if !fresh {
            self.wanted.notify_one();
            // Nor is one that has ended waited for: it is told apart below.
            let _ = tokio::time::timeout(WAIT_AT_MOST, seen.changed()).await;
        }
        let shown = seen.wait_for(Option::is_some).await.ok()?;
        shown.as_ref().map(|(_, shown)| shown.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str) -> Shown {
        let status = serde_json::json!({
            "version": "", "me": 1, "name": name, "cluster_name": "", "started": 0, "nodes": [], "members": [], "dc": null,
            "dc_name": null, "quorate": true, "view": null, "controller": "", "links": [], "counters": [], "data_plane": "",
            "authenticated": true, "realtime": false, "memory_locked": false, "warnings": [], "storage": [], "fencing": [],
        });
        let quorum = serde_json::json!({
            "now": 0, "provider": "", "me": 1, "ring": null, "quorate": true, "expected_votes": 1, "highest_expected": 1,
            "total_votes": 1, "quorum": 1, "waiting_for_all": false, "barrier": 0, "flags": [], "members": [],
        });
        Shown {
            cib: cib::Cib::new_empty(base::WallTime(0)),
            status: serde_json::from_value(status).expect("a status"),
            quorum: serde_json::from_value(quorum).expect("a quorum"),
            groups: Groups::default(),
        }
    }

    async fn name(reader: &Reader) -> Option<String> {
        reader.look().await.map(|s| s.status.name.clone())
    }

    #[tokio::test]
    async fn who_looks_has_it_renewed_where_it_is_old_and_waits_for_no_busy_task() {
        let (board, reader) = board();
        board.show(state("first"));
        assert_eq!(name(&reader).await.as_deref(), Some("first"));
        let asked = tokio::time::timeout(Duration::from_millis(10), board.wanted()).await;
        assert!(asked.is_err(), "what is fresh is not renewed");
        // Old, and the task has no time.
        tokio::time::sleep(FRESH_FOR + Duration::from_millis(10)).await;
        let began = Instant::now();
        assert_eq!(name(&reader).await.as_deref(), Some("first"));
        assert!(began.elapsed() < Duration::from_secs(5));
        // The question stands; then it has.
        let task = async {
            board.wanted().await;
            board.show(state("second"));
        };
        let ((), seen) = tokio::join!(task, name(&reader));
        assert_eq!(seen.as_deref(), Some("second"));
        drop(board);
        assert_eq!(name(&reader).await, None, "the task has ended");
    }
}
