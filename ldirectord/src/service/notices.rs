//! The wording of log lines about the table and its servers, as operators and their scripts know it.

use crate::config::{bracketed, service_id, service_label};
use base::ipvs::{DestKey, ServiceKey};
use policy::{Flap, Op, RealId, Role, Transition};

/// What a change of the table is called.
pub fn of_op(op: &Op, stopping: bool) -> String {
    let when = if stopping { "stop" } else { "start" };
    match op {
        Op::AddService(s) => format!("Added virtual server: {}", service_label(&s.key)),
        Op::EditService(s) => format!("Changed virtual server: {}", service_label(&s.key)),
        Op::DeleteService(key) => format!("Purged virtual server ({when}): {}", service_label(key)),
        Op::AddDest { service, dest, role } => {
            let word = if dest.weight == 0 { "Quiescent" } else { "Added" };
            format!("{word} {} server: {} (Weight set to {})", tag(*role), pair(service, &dest.key), dest.weight)
        }
        Op::EditDest { service, dest, role, weight_before } => {
            let word = match (*weight_before, dest.weight) {
                (_, 0) => "Quiescent",
                (0, _) => "Restored",
                _ => "Changed",
            };
            format!("{word} {} server: {} (Weight set to {})", tag(*role), pair(service, &dest.key), dest.weight)
        }
        Op::DeleteDest { service, dest, role: Role::Foreign } => {
            format!("Purged real server ({when}): {}", pair(service, dest))
        }
        Op::DeleteDest { service, dest, role } => format!("Deleted {} server: {}", tag(*role), pair(service, dest)),
    }
}

/// What a verdict's consequence is called; up and down show in the table's changes.
pub fn of_transition(id: &RealId, transition: Transition) -> Option<String> {
    let name = format!("{} ({})", server(&id.dest), service_id(&id.service));
    match transition {
        Transition::SoftFailure { failures, limit } => {
            Some(format!("Soft failure real server: {name} failure {failures}/{limit}"))
        }
        Transition::SoftFailuresReset => Some(format!("Resetting soft failure count: {name}")),
        Transition::Rising { passes, limit } => Some(format!("Recovering real server: {name} passed {passes}/{limit}")),
        Transition::None | Transition::Up | Transition::Down | Transition::Damped | Transition::Held => None,
    }
}

/// What a server's coming or going is called, as the original calls the change of the table that it brings.
pub fn of_news(id: &RealId, serves: bool, quiescent: bool, weight: u32) -> String {
    let pair = pair(&id.service, &id.dest);
    match (serves, quiescent) {
        (true, true) => format!("Restored real server: {pair} (Weight set to {weight})"),
        (true, false) => format!("Added real server: {pair} (Weight set to {weight})"),
        (false, true) => format!("Quiescent real server: {pair} (Weight set to 0)"),
        (false, false) => format!("Deleted real server: {pair}"),
    }
}

pub fn damped(id: &RealId, flap: &Flap) -> String {
    format!(
        "Flapping real server: {} ({}) went down {} times within {} s; held down until no check has failed for {} s",
        server(&id.dest),
        service_id(&id.service),
        flap.changes,
        flap.window.as_secs(),
        flap.hold.as_secs()
    )
}

fn tag(role: Role) -> &'static str {
    if role == Role::Fallback { "fallback" } else { "real" }
}

/// `10.0.1.1:80 (10.0.0.1:80)`.
pub fn pair(service: &ServiceKey, dest: &DestKey) -> String {
    format!("{} ({})", server(dest), service_label(service))
}

pub fn server(dest: &DestKey) -> String {
    format!("{}:{}", bracketed(dest.addr), dest.port)
}
