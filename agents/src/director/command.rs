//! The agent as an OCF executable. No daemon is around it to hold a director, so the command `ldirectord` runs one.
//!
//! Unlike the stock agent: a stop returns when the daemon has ended, a stop without configuration file is no failure that
//! gets the node fenced, and no monitor can harm a running daemon.

use super::{META, Settings, load, refused};
use crate::outcome::AgentOutcome;
use base::Operation;
use base::exit::OcfCode;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Between two looks at whether the daemon has started or ended; the call's deadline ends the waiting.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `program` is the multi-call binary.
pub(crate) async fn run(operation: &Operation, program: &Path) -> AgentOutcome {
    let config = Settings::of(&operation.instance).config;
    match operation.action.as_str() {
        "start" => start(&config, program).await,
        "stop" => stop(&config, program).await,
        "monitor" | "status" => status(&config, program).await,
        "validate-all" => load(&config).await.map_or_else(|e| refused(&e), |_| AgentOutcome::ok()),
        other => AgentOutcome::unimplemented(META.name, other),
    }
}

async fn start(config: &Path, program: &Path) -> AgentOutcome {
    let before = status(config, program).await;
    if before.code != OcfCode::NOT_RUNNING {
        return before;
    }
    if let Err(error) = load(config).await {
        return refused(&error);
    }
    match ask(config, program, "start").await {
        Ok(0) => {}
        Ok(code) => {
            let reason = format!("ldirectord start ended with exit code {code}; its log says why");
            return AgentOutcome::error(reason);
        }
        Err(outcome) => return outcome,
    }
    loop {
        let now = status(config, program).await;
        if now.code != OcfCode::NOT_RUNNING {
            return now;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn stop(config: &Path, program: &Path) -> AgentOutcome {
    if let Err(outcome) = ask(config, program, "stop").await {
        return outcome;
    }
    while ask(config, program, "status").await == Ok(0) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    AgentOutcome::ok()
}

async fn status(config: &Path, program: &Path) -> AgentOutcome {
    if !config.exists() {
        let reason = format!("configfile='{}' does not exist here", config.display());
        return AgentOutcome::new(OcfCode::NOT_INSTALLED, reason);
    }
    match ask(config, program, "status").await {
        Ok(0) => AgentOutcome::ok(),
        // 1: a pid file whose process is gone.
        Ok(1 | 3) => AgentOutcome::not_running(),
        Ok(code) => AgentOutcome::error(format!("ldirectord status ended with exit code {code}")),
        Err(outcome) => outcome,
    }
}

/// Exit code of `ldirectord CONFIG ACTION`. The daemon that it may leave behind must hold none of our pipes.
async fn ask(config: &Path, program: &Path, action: &str) -> Result<i32, AgentOutcome> {
    let mut command = tokio::process::Command::new(program);
    command.arg("ldirectord").arg(config).arg(action);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = command.status().await.map_err(|e| AgentOutcome::error(format!("{}: {e}", program.display())))?;
    Ok(ended.code().unwrap_or(-1))
}
