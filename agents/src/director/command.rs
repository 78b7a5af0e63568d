//! The agent as an OCF executable. No daemon is around it to hold a director, so the command `ldirectord` runs one.
//!
//! Unlike the stock agent: a stop returns when the daemon has ended, a stop without configuration file is no failure that
//! gets the node fenced, and no monitor can harm a running daemon.

use super::{config_path, load, refused};
use crate::call::{AgentCall, AgentOutcome};
use base::exit::OcfCode;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Between two looks at whether the daemon has started or ended; the call's deadline ends the waiting.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `program` is the multi-call binary.
pub(crate) async fn run(call: &AgentCall, program: &Path) -> AgentOutcome {
    match call.operation.as_str() {
        "start" => start(call, program).await,
        "stop" => stop(call, program).await,
        "monitor" | "status" => status(call, program).await,
        "validate-all" => load(&config_path(call)).await.map_or_else(|e| refused(&e), |_| AgentOutcome::ok()),
        other => AgentOutcome::new(OcfCode::UNIMPLEMENTED, format!("ldirectord has no action '{other}'")),
    }
}

async fn start(call: &AgentCall, program: &Path) -> AgentOutcome {
    let before = status(call, program).await;
    if before.code != OcfCode::NOT_RUNNING {
        return before;
    }
    if let Err(error) = load(&config_path(call)).await {
        return refused(&error);
    }
    match ask(call, program, "start").await {
        Ok(0) => {}
        Ok(code) => {
            let reason = format!("ldirectord start ended with exit code {code}; its log says why");
            return AgentOutcome::error(reason);
        }
        Err(outcome) => return outcome,
    }
    loop {
        let now = status(call, program).await;
        if now.code != OcfCode::NOT_RUNNING {
            return now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn stop(call: &AgentCall, program: &Path) -> AgentOutcome {
    if let Err(outcome) = ask(call, program, "stop").await {
        return outcome;
    }
    while ask(call, program, "status").await == Ok(0) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    AgentOutcome::ok()
}

async fn status(call: &AgentCall, program: &Path) -> AgentOutcome {
    let config = config_path(call);
    if !config.exists() {
        let reason = format!("configfile='{}' does not exist here", config.display());
        return AgentOutcome::new(OcfCode::NOT_INSTALLED, reason);
    }
    match ask(call, program, "status").await {
        Ok(0) => AgentOutcome::ok(),
        // 1: a pid file whose process is gone.
        Ok(1 | 3) => AgentOutcome::not_running(),
        Ok(code) => AgentOutcome::error(format!("ldirectord status ended with exit code {code}")),
        Err(outcome) => outcome,
    }
}

/// Exit code of `ldirectord CONFIG ACTION`. The daemon that it may leave behind must hold none of our pipes.
async fn ask(call: &AgentCall, program: &Path, action: &str) -> Result<i32, AgentOutcome> {
    let mut command = tokio::process::Command::new(program);
    command.arg("ldirectord").arg(config_path(call)).arg(action);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = command.status().await.map_err(|e| AgentOutcome::error(format!("{}: {e}", program.display())))?;
    Ok(ended.code().unwrap_or(-1))
}
