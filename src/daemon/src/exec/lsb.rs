//! LSB init scripts: `monitor` is `status`, whose exit codes have a meaning of their own (LSB 5.0, 22.2).

use super::child::Program;
use super::{Ended, Places, child, env};
use base::Operation;
use base::exit::OcfCode;
use std::time::Instant;

pub(super) fn exists(places: &Places, agent: &str) -> bool {
    !agent.contains('/') && places.init_d.join(agent).is_file()
}

pub(super) async fn run(places: &Places, operation: &Operation, deadline: Instant) -> Ended {
    let agent = &operation.instance.agent;
    if !exists(places, agent) {
        return Ended::not_installed(format!("{}/{agent} is not there", places.init_d.display()));
    }
    let action = if operation.action == "monitor" { "status" } else { operation.action.as_str() };
    let env = env::common(places, Some(&operation.node));
    let program = Program { file: places.init_d.join(agent), args: vec![action.into()], env };
    match child::run(&places.groups, &program, b"", deadline).await {
        Ok(output) => Ended::done(ocf_code(action, output.code), last_line(&output.stderr)),
        Err(error) => Ended::without_output(operation, &program.file, error),
    }
}

/// Codes of `status` differ from the others': 1 and 2 are dead with a trace left, 3 is stopped.
fn ocf_code(action: &str, code: i32) -> OcfCode {
    match (action, code) {
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
    text.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default().to_owned()
}
