//! `ocf:heartbeat:Dummy` and `ocf:pacemaker:Dummy`: a state file that exists while the resource runs.

use crate::call::{AgentCall, AgentOutcome};
use base::exit::OcfCode;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub async fn run(call: &AgentCall, run_dir: &Path) -> AgentOutcome {
    let state = state_file(call, run_dir);
    if call.operation != "validate-all"
        && let Some(seconds) = call.param("op_sleep").and_then(|s| s.parse().ok())
    {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
    match call.operation.as_str() {
        "start" => start(call, &state),
        "stop" => match std::fs::remove_file(&state) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                AgentOutcome::error(format!("{}: {e}", state.display()))
            }
            _ => AgentOutcome::ok(),
        },
        "monitor" | "status" if state.exists() => AgentOutcome::ok(),
        "monitor" | "status" => AgentOutcome::not_running(),
        "migrate_to" | "migrate_from" | "reload" | "reload-agent" | "validate-all" => AgentOutcome::ok(),
        other => AgentOutcome::new(OcfCode::UNIMPLEMENTED, format!("Dummy has no action '{other}'")),
    }
}

fn start(call: &AgentCall, state: &Path) -> AgentOutcome {
    if let Some(bad) = call.param("fail_start_on")
        && nix::unistd::gethostname().is_ok_and(|h| h.to_string_lossy() == bad)
    {
        return AgentOutcome::error("asked to fail here by fail_start_on");
    }
    let written = state.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(state, ""));
    match written {
        Ok(()) => AgentOutcome::ok(),
        Err(e) => AgentOutcome::error(format!("{}: {e}", state.display())),
    }
}

fn state_file(call: &AgentCall, run_dir: &Path) -> PathBuf {
    call.param("state")
        .map_or_else(|| run_dir.join("agents").join(format!("Dummy-{}.state", call.resource)), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[tokio::test(flavor = "current_thread")]
    async fn runs_between_start_and_stop() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let call = |operation: &str| AgentCall {
            resource: "d".into(),
            agent: "Dummy".into(),
            operation: operation.into(),
            params: BTreeMap::new(),
            timeout: Duration::from_secs(5),
        };
        let mut codes = Vec::new();
        for operation in ["monitor", "start", "monitor", "stop", "stop", "monitor", "promote"] {
            codes.push(run(&call(operation), dir.path()).await.code.0);
        }
        assert_eq!(codes, [7, 0, 0, 0, 0, 7, 3]);
    }
}
