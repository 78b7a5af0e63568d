//! Whatever becomes of one of several links, no view and no message is lost by it: where nothing else goes wrong, each message is
//! delivered to all members within a bound, in the order in which it was sent. (That there is no view says [`super::needless`].)

use crate::plan::{Kind, Plan, SETTLED_MS};
use crate::world::World;
use base::{NodeId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A lost frame is asked for and sent again a few times over.
const BOUND: Duration = Duration::from_millis(1_500);

#[derive(Default)]
pub struct Links {
    watched: bool,
    /// By sender and receiver: when it was sent, and what it was.
    owed: BTreeMap<(NodeId, NodeId), VecDeque<(Time, u64)>>,
    broken: Option<String>,
}

impl Links {
    pub fn new(plan: &Plan) -> Links {
        Links { watched: plan.kind == Kind::Calm, ..Links::default() }
    }

    pub fn sent(&mut self, now: Time, from: NodeId, members: &[NodeId], payload: &[u8]) {
        if !self.watched || now < Time::from_millis(1_000 + SETTLED_MS) {
            return;
        }
        for to in members {
            self.owed.entry((from, *to)).or_default().push_back((now, digest(payload)));
        }
    }

    pub fn delivered(&mut self, to: NodeId, from: NodeId, payload: &[u8]) {
        let Some((_, owed)) = self.owed.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        if owed != digest(payload) {
            self.broken.get_or_insert(format!("node {to} is given another message of node {from} than the next one"));
        }
    }

    /// What is delivered in a new view follows other rules, and that there is one breaks another property.
    pub fn view(&mut self) {
        self.owed.clear();
    }
}

fn digest(payload: &[u8]) -> u64 {
    payload.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

impl World {
    pub(crate) fn watch_links(&mut self) {
        let now = self.now;
        let links = &mut self.book.links;
        let late = links.owed.iter().find(|(_, owed)| owed.front().is_some_and(|(at, _)| now.since(*at) > BOUND));
        let late = late.map(|((from, to), _)| format!("a message of node {from} has not come to node {to} in time"));
        if let Some(text) = links.broken.take().or(late) {
            self.book.fail("links", now, text);
        }
    }
}
