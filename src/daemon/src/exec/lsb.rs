//! LSB init scripts: `monitor` is `status`, whose exit codes have a meaning of their own (LSB 5.0, 22.2).

use super::{Ended, Places, child, env};
use base::exit::OcfCode;
use controller::{ExecRequest, OpStatus};
use std::time::Instant;
use tokio::process::Command;

pub(super) fn exists(places: &Places, agent: &str) -> bool {
    !agent.contains('/') && places.init_d.join(agent).is_file()
}

pub(super) async fn run(places: &Places, request: &ExecRequest, deadline: Instant) -> Ended {
    if !exists(places, &request.agent) {
        return Ended::not_installed(format!("{}/{} is not there", places.init_d.display(), request.agent));
    }
    let operation = if request.operation == "monitor" { "status" } else { request.operation.as_str() };
    let file = places.init_d.join(&request.agent);
    let mut command = Command::new(&file);
    command.arg(operation).envs(env::common(places)).current_dir("/");
    match child::run(command, b"", deadline).await {
        Ok(output) => Ended::done(ocf_code(operation, output.code), last_line(&output.stderr)),
        Err(child::ChildError::Deadline) => Ended::timeout(request),
        Err(error) => Ended::new(OcfCode::ERROR, OpStatus::Error, format!("{}: {error}", file.display())),
    }
}

/// Codes of `status` differ from the others': 1 and 2 are dead with a trace left, 3 is stopped.
fn ocf_code(operation: &str, code: i32) -> OcfCode {
    match (operation, code) {
        ("status", 0) => OcfCode::OK,
        ("status", 1..=3) => OcfCode::NOT_RUNNING,
        ("status", 150) => OcfCode::NOT_INSTALLED,
        ("status", 151) => OcfCode::INSUFFICIENT_PRIV,
        ("status", _) => OcfCode::ERROR,
        // A service that was not running is stopped.
        ("stop", 7) => OcfCode::OK,
        (_, 0..=7) => OcfCode(code),
        _ => OcfCode::ERROR,
    }
}

pub(super) fn last_line(text: &str) -> String {
    text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default().chars().take(300).collect()
}
