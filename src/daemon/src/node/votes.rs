//! Votes that change while the node runs: orders of an operator, the window of `last_man_standing`, what must outlive a restart.

use super::core::Core;
use super::orders::Order;
use crate::clock;
use base::exit::crm;
use base::{NodeId, Time};
use controller::Input;
use quorum::RunTime;
use std::path::Path;
use tokio::sync::oneshot;
use wire::api::{Done, VotesCall};

/// Where the original keeps it, in its form: four bytes of this machine's order.
const BARRIER_FILE: &str = "ev_tracking";

/// The most votes that a former life expected, where that was tracked.
pub(super) fn read_barrier(state_dir: &Path) -> u32 {
    let bytes = std::fs::read(state_dir.join(BARRIER_FILE)).ok();
    bytes.and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

impl Core {
    /// Refused here at once if it is unsound; else every member does it at the same place of the order.
    pub(super) async fn votes(&mut self, call: VotesCall, to: oneshot::Sender<Done>) {
        let order = match call {
            VotesCall::Expected(votes) => self.quorum.check_expected(votes).map(|()| Order::ExpectedVotes(votes)),
            VotesCall::Of { node, votes } => {
                let node = node.unwrap_or(self.me());
                self.quorum.check_votes(node, votes).map(|()| Order::Votes { node, votes })
            }
            VotesCall::CancelWaitForAll => Ok(Order::CancelWaitForAll),
        };
        // A client that has gone needs no answer.
        let _ = match order {
            Ok(order) => {
                self.ring.broadcast(order.encode()).await;
                to.send(Done::default())
            }
            Err(why) => {
                let code = match why {
                    quorum::VotesError::UnknownNode { .. } => crm::NOHOST,
                    _ => crm::DATAERR,
                };
                to.send(Done { code, message: Some(why.to_string()), ..Done::default() })
            }
        };
    }

    pub(super) async fn votes_ordered(&mut self, sender: NodeId, order: Order) {
        let was_quorate = self.quorum.is_quorate();
        let text = match order {
            // What was sound when it was asked for may not be any more.
            Order::ExpectedVotes(votes) if self.quorum.check_expected(votes).is_ok() => {
                self.quorum.set_expected(votes);
                format!("{votes} votes are expected from now on")
            }
            Order::Votes { node, votes } if self.quorum.check_votes(node, votes).is_ok() => {
                self.quorum.set_votes(node, votes);
                format!("node {} has {votes} votes from now on", self.controller.config().name_of(node))
            }
            Order::CancelWaitForAll => {
                self.quorum.cancel_wait_for_all();
                "the operator vouches for the absent nodes: nobody waits for all any more".to_owned()
            }
            Order::RunTimeVotes { expected, votes, quorate } => {
                if self.came_along.contains(&sender) {
                    return;
                }
                self.quorum.adopt(RunTime { expected, votes }, quorate, self.quorate_before);
                "votes as they were changed before this node came".to_owned()
            }
            _ => return,
        };
        self.told_of_votes(was_quorate, &text).await;
    }

    /// After a view, those who came along tell the others what was changed at run time.
    pub(super) async fn tell_run_time(&mut self, view: &totem::View) {
        self.came_along = view.transitional.iter().copied().collect();
        let first = view.transitional.first() == Some(&self.me());
        if first && !view.joined.is_empty() && !self.quorum.run_time().is_empty() {
            let RunTime { expected, votes } = self.quorum.run_time().clone();
            let order = Order::RunTimeVotes { expected, votes, quorate: self.quorate_before };
            self.ring.broadcast(order.encode()).await;
        }
    }

    /// When votes change by themselves.
    pub(super) fn votes_due(&mut self) -> Option<Time> {
        self.quorum.poll_timeout(clock::now())
    }

    pub(super) async fn votes_time(&mut self) {
        let was_quorate = self.quorum.is_quorate();
        let before = self.quorum.expected_votes();
        self.quorum.handle_timeout(clock::now());
        let now = self.quorum.expected_votes();
        if before != now {
            self.told_of_votes(was_quorate, &format!("last_man_standing: {now} votes are expected, {before} before"))
                .await;
        }
    }

    async fn told_of_votes(&mut self, was_quorate: bool, text: &str) {
        tracing::info!("quorum: {text}");
        self.timeline.add("quorum", "", text);
        self.count_votes();
        let quorate = self.quorum.is_quorate();
        if was_quorate != quorate {
            self.quorum_changed();
            self.step(Input::Quorum { quorate }).await;
        }
        self.show();
    }

    /// What a majority is, for the controller: with every view, and whenever votes change.
    pub(super) fn count_votes(&mut self) {
        let config = self.quorum.config();
        let (nodes, two_node) = (self.identity.settings.names(), config.two_node_effective());
        let votes = config.votes.keys().map(|n| (*n, self.quorum.votes_of(*n))).collect();
        self.controller.set_nodes(nodes, votes, self.quorum.expected_votes(), two_node);
    }

    /// Looked at with every tick: written where it is tracked and has changed, away from this task.
    pub(super) fn keep_barrier(&mut self) {
        let Some(barrier) = self.quorum.barrier().filter(|b| *b != self.barrier_kept) else { return };
        self.barrier_kept = barrier;
        let file = self.identity.args.state_dir.join(BARRIER_FILE);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = kernel::files::replace(&file, &barrier.to_ne_bytes(), 0o600) {
                tracing::error!("{}: {error}: expected votes are not tracked", file.display());
            }
        });
    }

    /// `corosync-cfgtool -k`: the node that is meant leaves at once.
    pub(super) async fn killed(&mut self, sender: NodeId) {
        let by = self.controller.config().name_of(sender);
        let text = format!("killed by an operator of {by} (corosync-cfgtool -k)");
        tracing::error!("{text}");
        self.timeline.add("killed", "", &text);
        self.ring.leave().await;
        self.end(text);
    }

    pub(super) async fn kill(&mut self, node: NodeId, to: oneshot::Sender<Done>) {
        if !self.controller.status().members.contains(&node) {
            let message = Some(format!("node {node} is not in the ring"));
            let _ = to.send(Done { code: crm::NOHOST, message, ..Done::default() });
            return;
        }
        self.ring.broadcast(Order::Kill(node).encode()).await;
        let _ = to.send(Done::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_barrier_is_read_in_the_originals_form() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read_barrier(dir.path()), 0);
        std::fs::write(dir.path().join(BARRIER_FILE), 5u32.to_ne_bytes()).expect("written");
        assert_eq!(read_barrier(dir.path()), 5);
        std::fs::write(dir.path().join(BARRIER_FILE), b"torn").map(drop).expect("written");
        std::fs::write(dir.path().join(BARRIER_FILE), b"to").expect("written");
        assert_eq!(read_barrier(dir.path()), 0, "damaged: nothing is known");
    }
}
