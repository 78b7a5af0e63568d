//! The start of a view: members tell their states, all find the same winner, the winner's content goes to all.
//!
//! ```text
//!            View                 last State, all chains equal
//! synced ----------> collecting ------------------------------> synced
//!                        |                                         ^
//!                        | last State, chains differ     Snapshot of the winner
//!                        +--------> waiting ------------------------+
//! ```
//!
//! Other messages that come before the end are kept and applied after it, in their order, on all members alike. Only the
//! controller's `handle` drives this.

use crate::api::ViewId;
use crate::fatal::Fatal;
use crate::message::{Message, Ordered, Snapshot, Standing, State};
use base::NodeId;
use cib::{Lineage, StateOffer, Version};
use std::collections::{BTreeMap, BTreeSet};

/// Messages that may wait for the end of an exchange; the ring's own queues are smaller.
const MAX_WAITING: usize = 65536;

/// A view whose members have not yet agreed on one content.
#[derive(Debug)]
pub struct Exchange {
    pub view: ViewId,
    pub members: BTreeSet<NodeId>,
    pub states: BTreeMap<NodeId, State>,
    pub merge: Option<Merge>,
    /// Messages in order that came too early.
    pub waiting: Vec<Early>,
}

/// An ordered message that waits.
#[derive(Debug)]
pub struct Early {
    pub sender: NodeId,
    pub ordered: Ordered,
}

/// Whose content stays, and who has to take it over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merge {
    pub winner: NodeId,
    pub losers: BTreeSet<NodeId>,
}

/// What to do after a message.
#[derive(PartialEq, Debug)]
pub enum Step {
    Wait,
    /// All states are known and contents differ: the winner sends its own.
    Decided,
    /// Everyone can go on, with this content if given.
    Complete(Option<Box<Snapshot>>),
}

impl Exchange {
    pub fn new(view: ViewId, members: BTreeSet<NodeId>) -> Exchange {
        Exchange { view, members, states: BTreeMap::new(), merge: None, waiting: Vec::new() }
    }

    pub fn receive(&mut self, sender: NodeId, ordered: Ordered) -> Result<Step, Fatal> {
        Ok(match ordered.message {
            Message::State(state) => self.receive_state(sender, *state),
            Message::Snapshot(snapshot) => {
                let wanted = self.merge.as_ref().is_some_and(|m| m.winner == sender) && snapshot.view == self.view;
                if wanted { Step::Complete(Some(snapshot)) } else { Step::Wait }
            }
            _ if self.waiting.len() < MAX_WAITING => {
                self.waiting.push(Early { sender, ordered });
                Step::Wait
            }
            _ => return Err(Fatal::Overflow { limit: MAX_WAITING }),
        })
    }

    fn receive_state(&mut self, sender: NodeId, state: State) -> Step {
        if state.view != self.view || !self.members.contains(&sender) || self.merge.is_some() {
            return Step::Wait;
        }
        self.states.insert(sender, state);
        if self.states.len() < self.members.len() {
            return Step::Wait;
        }
        let Some(merge) = decide(&self.states) else { return Step::Wait };
        let differ = !merge.losers.is_empty();
        self.merge = Some(merge);
        if differ { Step::Decided } else { Step::Complete(None) }
    }
}

/// The same on all members: it depends on nothing but the states.
fn decide(states: &BTreeMap<NodeId, State>) -> Option<Merge> {
    let offer = |(node, s): (&NodeId, &State)| {
        let (admin_epoch, epoch, num_updates) = s.version;
        let lineage = Lineage::parse(&s.lineage).unwrap_or_default();
        StateOffer {
            node: *node,
            lineage,
            version: Version { admin_epoch, epoch, num_updates },
            digest: s.chain.clone(),
        }
    };
    let offers: Vec<StateOffer> = states.iter().map(offer).collect();
    let winner = choose(states, &offers)?;
    let losers = offers.iter().filter(|o| o.digest != winner.digest).map(|o| o.node).collect();
    Some(Merge { winner: winner.node, losers })
}

/// As [`cib::choose_winner`], but content that its owner could not keep in step never wins, and between equal configurations
/// of one lineage that of a node which was away gives way: what the living ring knows of the resources is newer. Members
/// below level 2 do not look at this, so nobody does while there are any.
fn choose<'a>(states: &BTreeMap<NodeId, State>, offers: &'a [StateOffer]) -> Option<&'a StateOffer> {
    let standing = |o: &StateOffer| states.get(&o.node).map_or(Standing::Good, |s| s.standing);
    if states.values().any(|s| s.feature_level < 2) {
        return cib::choose_winner(offers);
    }
    let best = |allowed: &dyn Fn(&StateOffer) -> bool| {
        let chosen: Vec<StateOffer> = offers.iter().filter(|o| allowed(o)).cloned().collect();
        cib::choose_winner(&chosen).map(|w| w.node).and_then(|node| offers.iter().find(|o| o.node == node))
    };
    let sound = |o: &StateOffer| standing(o) > Standing::Void;
    let first = best(&sound).or_else(|| best(&|_| true))?;
    let config = |o: &StateOffer| (o.lineage.view_seq, o.version.admin_epoch, o.version.epoch);
    let as_good = |o: &StateOffer| standing(o) == Standing::Good && config(o) == config(first);
    best(&as_good).or(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(offers: &[(u32, u64, u64, u64, Standing)], level: u32) -> u32 {
        let state = |(node, lineage, epoch, updates, standing): &(u32, u64, u64, u64, Standing)| {
            let text = format!(
                "{{\"view\":{{\"seq\":1,\"rep\":1}},\"name\":\"\",\"nodes\":{{}},\"cluster_name\":\"\",\"program\":\"\",\"incarnation\":1,\"feature_level\":{level},\"ready\":true,\"quorate\":true,\"two_node\":false,\"wall_ms\":0,\"lineage\":\"{lineage}.1\",\"version\":[0,{epoch},{updates}],\"chain\":\"{node}\",\"since\":1,\"node_state\":\"\",\"in_flight\":[]}}"
            );
            let mut state: State = serde_json::from_str(&text).unwrap();
            assert_eq!(state.standing, Standing::Good, "what older members do not say");
            state.standing = *standing;
            (NodeId(*node), state)
        };
        decide(&offers.iter().map(state).collect()).unwrap().winner.0
    }

    #[test]
    fn who_was_away_gives_way_among_equals_only() {
        use Standing::{Good, Stale, Void};
        assert_eq!(winner(&[(1, 8, 5, 90, Stale), (2, 8, 5, 3, Good)], 2), 2, "status of the living ring is newer");
        assert_eq!(winner(&[(1, 8, 6, 0, Stale), (2, 8, 5, 3, Good)], 2), 1, "a change that only it has is kept");
        assert_eq!(winner(&[(1, 12, 5, 0, Stale), (2, 8, 5, 3, Good)], 2), 1, "it was in the last quorate view");
        assert_eq!(winner(&[(1, 12, 9, 0, Void), (2, 8, 5, 3, Stale)], 2), 2, "what could not be followed never wins");
        assert_eq!(winner(&[(1, 12, 9, 0, Void), (2, 8, 5, 3, Void)], 2), 1, "but something has to");
        assert_eq!(winner(&[(1, 8, 5, 90, Stale), (2, 8, 5, 3, Good)], 1), 1, "older members do not know of it");
    }
}
