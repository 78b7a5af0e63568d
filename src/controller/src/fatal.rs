//! Why a member cannot follow the others any more.
//!
//! Every member applies the same messages to the same content. One that cannot read a message, cannot take a snapshot over, or
//! finds that its content differs, would go on as something else under the same name. So whatever handles what was ordered
//! returns this error, and there is one thing to do with it: the node leaves the ring at once and comes back by snapshot, with
//! nothing of its own that could win a merge.

use crate::api::ViewId;
use crate::message::DecodeError;
use base::NodeId;
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fatal {
    #[error("a message of node {sender} cannot be read here ({error}); is this program older than that node's?")]
    Unreadable { sender: NodeId, error: DecodeError },
    #[error("a message of view {}.{} came in view {}.{}", got.rep, got.seq, expected.rep, expected.seq)]
    OtherView { got: ViewId, expected: ViewId },
    #[error("the snapshot of node {winner} cannot be taken over: {error}")]
    Snapshot { winner: NodeId, error: String },
    #[error("more than {limit} messages wait for the end of an exchange")]
    Overflow { limit: usize },
    #[error("at message {seq} the content here differs from that of node {with}: {what}")]
    Diverged { seq: u64, with: NodeId, what: &'static str },
}

/// First time out of the ring, doubled by every further fail-stop …
const FIRST_MS: u64 = 1000;
/// … up to this.
const LONGEST_MS: u64 = 60_000;
/// After so long without one the next fail-stop counts as the first again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// How long to stay away.
#[derive(Default, Debug)]
pub struct Backoff {
    last: Option<base::Time>,
    times: u32,
}

impl Backoff {
    pub fn next_ms(&mut self, now: base::Time) -> u64 {
        if self.last.is_some_and(|t| now.since(t) > FORGIVEN_AFTER) {
            self.times = 0;
        }
        self.last = Some(now);
        let ms = FIRST_MS.saturating_mul(1 << self.times.min(16)).min(LONGEST_MS);
        self.times = self.times.saturating_add(1);
        ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Time;

    #[test]
    fn who_fails_again_and_again_stays_away_for_longer_but_never_for_good() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (1..9).map(|s| backoff.next_ms(Time::from_millis(s * 1000))).collect();
        assert_eq!(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.next_ms(Time::from_millis(10_000_000)), 1000);
    }
}
