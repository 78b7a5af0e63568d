//! Several active directors of one resource act on the same health (DESIGN §3.24).
//!
//! Each tells what its checks say, as it does for a standby anyway; the ring delivers all words to all nodes, its own included, in
//! the same order. After each of them every director computes the same answer from the same words: a server is down when half of
//! the active directors or more say so. What differs between two directors is what has been delivered to one and not yet to the
//! other, and the time that each takes to change its table.
//!
//! A director counts while it is a member and has said something within [`SILENCE`]; one that nobody can agree with goes by its
//! own checks.

use super::board::Board;
use super::outbox::FRESH_EVERY;
use super::slot::Role;
use super::{Inner, base_id, lock};
use base::NodeId;
use ldirectord::service::RealId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Active directors say something every [`FRESH_EVERY`]; who has been silent for so long is not active any more.
pub(super) const SILENCE: Duration = Duration::from_millis(FRESH_EVERY.as_millis() as u64 * 3);

impl Board {
    /// Which servers are up, by the words of the active ones among `members`.
    pub fn agreed(&self, director: &str, members: &BTreeSet<NodeId>, now: Duration) -> BTreeMap<RealId, bool> {
        let mut votes: BTreeMap<RealId, (u32, u32)> = BTreeMap::new();
        for (id, up) in self.words(director, members, now, SILENCE) {
            let (all, down) = votes.entry(id).or_default();
            *all += 1;
            *down += u32::from(!up);
        }
        votes.into_iter().map(|(id, (all, down))| (id, down * 2 < all)).collect()
    }
}

impl Inner {
    /// Gives every director here that wants it what is agreed on now; `false` if one was busy.
    pub(super) async fn agree(&self) -> bool {
        let mut all = true;
        for slot in self.slots() {
            // One that is just being started or stopped, or is asked something, has its turn in the next round.
            let Ok(mut state) = slot.state.try_lock() else {
                all = false;
                continue;
            };
            let agrees = state.agrees;
            let Some(running) = state.running.as_mut().filter(|r| r.role == Role::Active) else { continue };
            let agreed = match agrees {
                true => {
                    let now = kernel::clock::boottime();
                    lock(&self.words).agreed(base_id(&slot.resource), &lock(&self.members), now)
                }
                false => BTreeMap::new(),
            };
            if running.agreed != agreed {
                running.agreed = agreed.clone();
                running.director.agree(agreed).await;
            }
        }
        all
    }
}
