//! systemd units, by way of `systemctl`, which waits for the job that it asked for.

use super::lsb::last_line;
use super::{Ended, Places, child, env};
use base::exit::OcfCode;
use controller::{ExecRequest, OpStatus};
use std::time::Instant;
use tokio::process::Command;

pub(super) async fn run(places: &Places, request: &ExecRequest, deadline: Instant) -> Ended {
    if request.agent.is_empty() || request.agent.starts_with('-') || request.agent.contains(['/', '*', '?', '[']) {
        return Ended::not_installed(format!("expected a unit's name, found `{}`", request.agent));
    }
    let unit = if request.agent.contains('.') { request.agent.clone() } else { format!("{}.service", request.agent) };
    match request.operation.as_str() {
        "start" | "stop" | "reload" => act(places, request, &unit, deadline).await,
        "monitor" | "status" => state(places, request, &unit, deadline).await,
        other => Ended::new(
            OcfCode::UNIMPLEMENTED,
            OpStatus::NotSupported,
            format!("systemd units have no operation `{other}`"),
        ),
    }
}

async fn act(places: &Places, request: &ExecRequest, unit: &str, deadline: Instant) -> Ended {
    match systemctl(places, &[&request.operation, unit], deadline).await {
        Ok(output) if output.code == 0 => Ended::done(OcfCode::OK, ""),
        // 5: no such unit; stopped it surely is.
        Ok(output) if output.code == 5 && request.operation == "stop" => Ended::done(OcfCode::OK, ""),
        Ok(output) if output.code == 5 => Ended::not_installed(last_line(&output.stderr)),
        Ok(output) => Ended::done(OcfCode::ERROR, last_line(&output.stderr)),
        Err(error) => failed(request, error),
    }
}

async fn state(places: &Places, request: &ExecRequest, unit: &str, deadline: Instant) -> Ended {
    let output = match systemctl(places, &["show", "--property=LoadState,ActiveState", unit], deadline).await {
        Ok(output) if output.code == 0 => output,
        Ok(output) => return Ended::done(OcfCode::ERROR, last_line(&output.stderr)),
        Err(error) => return failed(request, error),
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

fn failed(request: &ExecRequest, error: child::ChildError) -> Ended {
    match error {
        child::ChildError::Deadline => Ended::timeout(request),
        child::ChildError::Spawn(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Ended::not_installed("systemctl is not there")
        }
        other => Ended::new(OcfCode::ERROR, OpStatus::Error, format!("systemctl: {other}")),
    }
}

async fn systemctl(places: &Places, args: &[&str], deadline: Instant) -> Result<child::Output, child::ChildError> {
    let mut command = Command::new(&places.systemctl);
    command.args(args).envs(env::common(places)).env("LC_ALL", "C");
    child::run(command, b"", deadline).await
}
