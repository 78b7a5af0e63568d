//! Changes of members, quorum and links for monitoring: numbered, bounded, and waited for without asking again and again.

use base::NodeId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use wire::api::{self, Change, MAX_CHANGES_WAIT_MS, Told};

/// Changes that are remembered for those who follow them.
const MAX_CHANGES: usize = 1000;

/// Cheap to clone; written by the core's task.
#[derive(Clone)]
pub(crate) struct Changes(Arc<watch::Sender<api::Changes>>, Arc<std::sync::Mutex<VecDeque<Told>>>);

impl Changes {
    pub fn new(me: NodeId, name: &str) -> Changes {
        let (name, changes) = (name.to_owned(), Vec::new());
        let none = api::Changes { me, name, quorate: false, last: 0, lost: 0, changes };
        Changes(Arc::new(watch::Sender::new(none)), Arc::default())
    }

    pub fn tell(&self, change: Change) {
        self.0.send_modify(|now| {
            now.last += 1;
            if let Change::Quorum { quorate } = change {
                now.quorate = quorate;
            }
            let told = Told { number: now.last, wall_us: crate::clock::wall_us(), change };
            let mut kept = self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kept.push_back(told);
            if kept.len() > MAX_CHANGES {
                kept.pop_front();
            }
        });
    }

    /// What came after a number; if that is nothing, the next that comes in this time. A number that lies ahead is one of an
    /// earlier life of the node, and is answered at once.
    pub async fn since(&self, after: u64, wait_ms: u64) -> api::Changes {
        let mut news = self.0.subscribe();
        let wait = Duration::from_millis(wait_ms.min(MAX_CHANGES_WAIT_MS));
        // Nothing new is an answer too.
        let _ = tokio::time::timeout(wait, news.wait_for(|now| now.last != after)).await;
        let now = self.0.borrow().clone();
        let kept = self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = kept.front().map_or(now.last + 1, |t| t.number);
        let changes = kept.iter().filter(|t| t.number > after).cloned().collect();
        api::Changes { lost: first.saturating_sub(after + 1), changes, ..now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(quorate: bool) -> Change {
        Change::Quorum { quorate }
    }

    #[tokio::test]
    async fn whoever_follows_gets_each_change_once_or_is_told_how_many_were_lost() {
        let changes = Changes::new(NodeId(1), "a");
        assert_eq!(changes.since(0, 0).await.changes, []);
        changes.tell(quorum(true));
        changes.tell(quorum(false));
        let all = changes.since(0, 30_000).await;
        assert_eq!((all.last, all.quorate, all.lost), (2, false, 0));
        assert_eq!(all.changes.iter().map(|t| t.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(changes.since(1, 30_000).await.changes.len(), 1);
        for _ in 0..MAX_CHANGES {
            changes.tell(quorum(true));
        }
        let late = changes.since(1, 0).await;
        assert_eq!((late.changes.len(), late.lost), (MAX_CHANGES, 1));
        assert_eq!(changes.since(0, 0).await.lost, 2);
    }

    #[tokio::test]
    async fn one_who_waits_is_woken_and_one_who_knows_too_much_is_answered() {
        let changes = Changes::new(NodeId(1), "a");
        let waiting = tokio::spawn({
            let changes = changes.clone();
            async move { changes.since(0, MAX_CHANGES_WAIT_MS).await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        changes.tell(quorum(true));
        assert_eq!(waiting.await.expect("woken").changes.len(), 1);
        assert_eq!(changes.since(500, MAX_CHANGES_WAIT_MS).await.last, 1);
    }
}
