//! Remote and guest nodes: what the results of their connections mean for their states.
//!
//! ```text
//! none, down --start--> up (history forgotten, probed anew) --stop--> down
//!                        | ^ '--fenced--> down for certain
//!                        '-' migrate_from: another member has the connection; what is repeated is asked for anew
//! ```

use super::{Effect, Replica};
use crate::api::OpStatus;
use crate::message::{OpRecord, REMOTE_LEVEL};
use crate::status;
use base::NodeId;
use base::exit::OcfCode;
use base::operation::is_connection;

impl Replica {
    /// An operation has ended; if it was one of a connection, its remote node may have come or gone.
    pub(super) fn follow_connection(&mut self, record: &OpRecord, effects: &mut Vec<Effect>) {
        let id = &record.identity;
        let done = record.status == OpStatus::Done && record.code == OcfCode::OK.0;
        let connection = is_connection(&id.class, id.provider.as_deref(), &id.agent);
        if !connection || !done || self.level() < REMOTE_LEVEL {
            return;
        }
        let (name, host) = (id.resource.clone(), id.node);
        let node = NodeId::of_remote(&name);
        match id.operation.as_str() {
            "start" => {
                self.cib.edit_status(|s| {
                    status::remote::up(s, &name);
                    true
                });
                // Another life: that the former one was fenced says nothing of it.
                *self.lives.entry(node).or_default() += 1;
                self.end_flights(node);
                effects.push(Effect::Changed { reason: format!("remote node {name} is there") });
                effects.push(Effect::Connected { node, name, host });
            }
            "migrate_from" => {
                self.cib.edit_status(|s| {
                    status::remote::moved(s, &name);
                    true
                });
                self.end_flights(node);
                effects.push(Effect::Changed { reason: format!("the connection to {name} has moved") });
                effects.push(Effect::Connected { node, name, host });
            }
            "stop" => {
                effects.push(Effect::Disconnected { node, host });
                if self.status().is_some_and(|s| status::remote::is_held_elsewhere(s, &name, host)) {
                    return;
                }
                self.cib.edit_status(|s| {
                    status::remote::down(s, &name);
                    true
                });
                self.end_flights(node);
                // One that asked to go has gone: whether it is to come back is planned anew.
                effects.push(Effect::Changed { reason: format!("remote node {name} has been left") });
            }
            _ => {}
        }
    }

    /// What was under way over a former connection reports to nobody.
    fn end_flights(&mut self, node: NodeId) {
        self.in_flight.retain(|(n, _), _| *n != node);
    }

    /// Makes sure that what is said of a node has a place: of a remote one only its name, in the configuration, can tell.
    pub(super) fn meet(&mut self, node: NodeId) -> bool {
        if !node.is_remote() || self.status().is_some_and(|s| status::node_state(s, node).is_some()) {
            return true;
        }
        let names = cib::config::remote_nodes(self.cib.root());
        let Some(name) = names.into_iter().find(|n| NodeId::of_remote(n) == node).map(str::to_owned) else {
            return false;
        };
        self.cib.edit_status(|s| {
            status::remote::introduce(s, &name);
            true
        });
        true
    }
}
