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
use crate::message::{Message, Snapshot, State};
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
    pub message: Message,
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

    pub fn receive(&mut self, sender: NodeId, message: Message) -> Step {
        match message {
            Message::State(state) => self.receive_state(sender, *state),
            Message::Snapshot(snapshot) => {
                let wanted = self.merge.as_ref().is_some_and(|m| m.winner == sender) && snapshot.view == self.view;
                if wanted { Step::Complete(Some(snapshot)) } else { Step::Wait }
            }
            message => {
                if self.waiting.len() < MAX_WAITING {
                    self.waiting.push(Early { sender, message });
                }
                Step::Wait
            }
        }
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
    let winner = cib::choose_winner(&offers)?;
    let losers = offers.iter().filter(|o| o.digest != winner.digest).map(|o| o.node).collect();
    Some(Merge { winner: winner.node, losers })
}
