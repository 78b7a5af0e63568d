//! systemd units, by way of `systemctl`, which waits for the job that it asked for.

use super::child::Program;
use super::lsb::last_line;
use super::{Ended, Places, child, env};
use base::Operation;
use base::exit::OcfCode;
use controller::OpStatus;
use std::path::Path;
use std::time::Instant;

pub(super) async fn run(places: &Places, operation: &Operation, deadline: Instant) -> Ended {
    let agent = &operation.instance.agent;
    if agent.is_empty() || agent.starts_with('-') || agent.contains(['/', '*', '?', '[']) {
        return Ended::not_installed(format!("expected a unit's name, found `{agent}`"));
    }
    let unit = if agent.contains('.') { agent.clone() } else { format!("{agent}.service") };
    if !places.systemd.exists() {
        return without_systemd(operation, "systemd does not run on this host: there are no units");
    }
    match operation.action.as_str() {
        "start" | "stop" | "reload" => act(places, operation, &unit, deadline).await,
        "monitor" | "status" => state(places, operation, &unit, deadline).await,
        other => Ended::new(
            OcfCode::UNIMPLEMENTED,
            OpStatus::NotSupported,
            format!("systemd units have no operation `{other}`"),
        ),
    }
}

/// Nothing runs there, and whatever is to be stopped is.
fn without_systemd(operation: &Operation, why: &str) -> Ended {
    match operation.action.as_str() {
        "stop" => Ended::done(OcfCode::OK, ""),
        _ => Ended::not_installed(why),
    }
}

async fn act(places: &Places, operation: &Operation, unit: &str, deadline: Instant) -> Ended {
    match systemctl(places, &[&operation.action, unit], deadline).await {
        Ok(output) if output.code == 0 => Ended::done(OcfCode::OK, ""),
        // 5: no such unit; stopped it surely is.
        Ok(output) if output.code == 5 && operation.action == "stop" => Ended::done(OcfCode::OK, ""),
        Ok(output) if output.code == 5 => Ended::not_installed(last_line(&output.stderr)),
        Ok(output) => Ended::done(OcfCode::ERROR, last_line(&output.stderr)),
        Err(error) => failed(operation, error),
    }
}

async fn state(places: &Places, operation: &Operation, unit: &str, deadline: Instant) -> Ended {
    let output = match systemctl(places, &["show", "--property=LoadState,ActiveState", unit], deadline).await {
        Ok(output) if output.code == 0 => output,
        Ok(output) => return Ended::done(OcfCode::ERROR, last_line(&output.stderr)),
        Err(error) => return failed(operation, error),
    };
    let property =
        |name: &str| output.stdout.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    match (property("LoadState"), property("ActiveState")) {
        ("not-found", "inactive" | "") => Ended::not_installed(format!("unit {unit} is not there")),
        (_, "active" | "reloading" | "activating") => Ended::done(OcfCode::OK, ""),
        (_, "failed") => Ended::done(OcfCode::NOT_RUNNING, format!("unit {unit} is in state failed")),
        (_, "inactive" | "deactivating") => Ended::done(OcfCode::NOT_RUNNING, ""),
        (_, other) => Ended::done(OcfCode::ERROR, format!("unit {unit} is in state `{other}`")),
    }
}

fn failed(operation: &Operation, error: child::ChildError) -> Ended {
    match error {
        child::ChildError::Spawn(e) if e.kind() == std::io::ErrorKind::NotFound => {
            without_systemd(operation, "systemctl is not there")
        }
        other => Ended::without_output(operation, Path::new("systemctl"), other),
    }
}

async fn systemctl(places: &Places, args: &[&str], deadline: Instant) -> Result<child::Output, child::ChildError> {
    let args = args.iter().map(|a| (*a).into()).collect();
    let program = Program { file: places.systemctl.clone(), args, env: env::common(places, None) };
    child::run(&places.groups, &program, b"", deadline).await
}
