//! Alerts: which programs of the section `alerts` are called for an event, and what they are told.
//!
//! Pure. The controller turns what happened into an [`Event`] and hands out one [`Call`] for each recipient that wants it; the daemon
//! stamps it with the time and runs it. As in Pacemaker every node tells of nodes and of fencing, the node that ran an operation
//! tells of it, and the coordinator, which writes them, tells of attributes.
//!
//! Sources: Pacemaker Explained, "Alerts"; Pacemaker Administration, "Writing an Alert Agent".

mod configured;
mod event;

#[cfg(test)]
mod tests;

pub use configured::{DEFAULT_TIMEOUT_MS, DEFAULT_TIMESTAMP, configured};
pub use event::{Event, Kind, exit_words, status_words};

use base::WallTime;
use std::collections::BTreeMap;
use xml::Element;

/// Most calls that one event makes; recipients beyond are left out, and that is told.
pub const MAX_CALLS: usize = 256;
/// What `CRM_alert_version` says: the version whose alerts these are. Agents compare it.
pub const VERSION: &str = "3.0.1";
const PREFIX: &str = "CRM_alert_";
/// What every variable was called first; agents written for Pacemaker 2 may read these.
const OLD_PREFIX: &str = "CRM_notify_";

/// One call of an alert agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// Id of the alert, and of the recipient if it has any. Calls of one recipient are made one after the other.
    pub alert: String,
    pub recipient: Option<String>,
    pub path: String,
    pub timeout_ms: u64,
    /// As `date` reads it, with `%xN` for the fraction of the second in `x` digits.
    pub timestamp_format: String,
    /// All variables but those that only the moment of the call knows: sequence and times.
    pub environment: BTreeMap<String, String>,
}

/// The calls for one event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    pub calls: Vec<Call>,
    /// Recipients that were left out because there are more than [`MAX_CALLS`].
    pub left_out: usize,
}

/// What the configuration wants to be called for `event`; rules are evaluated as of `now`.
pub fn calls(cib: &Element, now: WallTime, event: &Event) -> Calls {
    let mut out = Calls::default();
    for agent in configured(cib, now).into_iter().filter(|a| a.wants(event)) {
        if out.calls.len() >= MAX_CALLS {
            out.left_out += 1;
            continue;
        }
        let mut environment = agent.environment;
        let mut say = |name: &str, value: &str| set(&mut environment, name, value);
        say("kind", event.kind().word());
        say("version", VERSION);
        say("recipient", &agent.recipient_value);
        event.variables().into_iter().for_each(|(name, value)| say(name, &value));
        out.calls.push(Call {
            alert: agent.alert,
            recipient: agent.recipient,
            path: agent.path,
            timeout_ms: agent.timeout_ms,
            timestamp_format: agent.timestamp_format,
            environment,
        });
    }
    out
}

/// Sets a variable of the call under its name and its former one.
pub fn set(environment: &mut BTreeMap<String, String>, name: &str, value: &str) {
    for prefix in [PREFIX, OLD_PREFIX] {
        environment.insert(format!("{prefix}{name}"), value.to_owned());
    }
}
