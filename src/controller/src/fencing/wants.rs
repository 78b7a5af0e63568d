//! What the DC's transitions want fenced: asked for once, taken over by the next transition, tried again with growing pauses, and given
//! up after `fencing-max-attempts` failures until something has changed.

use super::{FenceAction, max_attempts};
use crate::replica::Replica;
use crate::transition::meta;
use base::outside::{Value, Word};
use base::{NodeId, Time};
use scheduler::graph::{Action, ActionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause after the first failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A fencing that a transition asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub node: NodeId,
    pub name: Word,
    pub action: FenceAction,
    pub delay_ms: i64,
    pub attributes: Vec<(Word, Value)>,
}

/// A fencing that is over, whoever asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over<'a> {
    pub node: NodeId,
    pub name: &'a str,
    pub action: FenceAction,
    pub ok: bool,
    /// By an operator's word.
    pub human: bool,
}

#[derive(Default)]
pub struct Wants {
    /// Asked for, with the action of the present transition that waits for it.
    asked: BTreeMap<NodeId, (FenceAction, Option<ActionId>)>,
    held: BTreeMap<NodeId, Held>,
}

struct Held {
    until: Time,
    /// As often as `fencing-max-attempts` says: a change of the configuration ends the wait.
    given_up: bool,
}

impl Wants {
    /// A view or another DC. Pauses go on.
    pub fn reset(&mut self) {
        self.asked.clear();
    }

    pub fn forget_actions(&mut self) {
        self.asked.values_mut().for_each(|(_, action)| *action = None);
    }

    /// Whether what a new transition wants is under way; then it waits for that.
    pub fn adopt(&mut self, action: &Action, node: NodeId, replica: &Replica) -> bool {
        let verb = verb(action);
        let asked = self.asked.get(&node).is_some_and(|(a, _)| a.covers(verb));
        let under_way = asked || replica.fencing.joinable(node, verb).is_some();
        if under_way {
            self.asked.insert(node, (verb, Some(action.id)));
        }
        under_way
    }

    /// The transition's turn has come: what is to be asked, unless it is under way.
    pub fn start(&mut self, action: &Action, node: NodeId, replica: &Replica) -> Option<Wanted> {
        let verb = verb(action);
        self.asked.insert(node, (verb, Some(action.id)));
        if replica.fencing.joinable(node, verb).is_some() {
            return None;
        }
        let name = action.target().map(|t| Word::cleaned(&t.node)).unwrap_or_default();
        let delay = meta(action, "priority_fencing_delay").and_then(base::text::parse_interval_ms);
        let digest = |of: &str, attribute: &str| Some((Word::cleaned(attribute), Value::cleaned(meta(action, of)?)));
        let digests = [digest("digests_all", "#digests-all"), digest("digests_secure", "#digests-secure")];
        let attributes = digests.into_iter().flatten().collect();
        let delay_ms = delay.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0);
        Some(Wanted { node, name, action: verb, delay_ms, attributes })
    }

    pub fn is_held(&self, now: Time, node: NodeId) -> bool {
        self.held.get(&node).is_some_and(|h| h.until > now)
    }

    /// The end of the next pause.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        self.held.values().map(|h| h.until).filter(|at| *at > now).min()
    }

    /// The configuration has changed: what was given up is tried again.
    pub fn changed(&mut self) {
        self.held.retain(|_, h| !h.given_up);
    }

    /// A fencing is over: the transition's action that has waited for it, and what is to be told.
    pub fn over(
        &mut self,
        now: Time,
        over: &Over<'_>,
        replica: &Replica,
        recheck: Duration,
    ) -> (Option<ActionId>, Option<String>) {
        let waits = self.asked.get(&over.node).is_some_and(|(verb, _)| over.action.covers(*verb));
        let action = if waits { self.asked.remove(&over.node).and_then(|(_, a)| a) } else { None };
        if over.ok {
            self.held.remove(&over.node);
            return (action, None);
        }
        let failures = replica.fencing.failures.get(&over.node.0).copied().unwrap_or(1).max(1);
        let given_up = max_attempts(replica.cib.root()).is_some_and(|most| failures >= most);
        let pause = match given_up {
            true => recheck,
            false => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_PAUSE),
        };
        self.held.insert(over.node, Held { until: now + pause, given_up });
        let again = format!("{} s", pause.as_secs());
        let text = match given_up {
            true => format!(
                "{failures} attempts have failed (fencing-max-attempts): not tried again for {again}, or until the configuration \
                 changes; if the node is down for certain, `stonith_admin --confirm {}` says so",
                over.name
            ),
            false => format!("attempt {failures} has failed: tried again after {again}"),
        };
        (action, Some(text))
    }
}

fn verb(action: &Action) -> FenceAction {
    meta(action, "stonith_action").and_then(FenceAction::parse).unwrap_or(FenceAction::Reboot)
}
