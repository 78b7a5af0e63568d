//! A native agent as an OCF executable: `bascule ocf AGENT ACTION`, parameters in `OCF_RESKEY_*`.
//!
//! Outside the daemon there is no keeper, so an address started this way is permanent until it is stopped, and a director
//! runs in a daemon of its own.

use crate::call::{AgentCall, AgentOutcome};
use crate::native::{Agents, Options};
use base::exit::OcfCode;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Longer than any action should take; whoever calls the agent has a shorter one.
const LIMIT: Duration = Duration::from_secs(60);

/// Entry point of the hidden applet; exit code and output are those of an OCF agent.
pub fn run(args: Vec<OsString>) -> i32 {
    let words: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let [agent, operation] = words.as_slice() else {
        kernel::errln!("usage: bascule ocf AGENT ACTION   (e.g. OCF_RESKEY_ip=192.0.2.1 bascule ocf IPaddr2 monitor)");
        return OcfCode::UNIMPLEMENTED.0;
    };
    let outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(call(agent, operation)),
        Err(error) => AgentOutcome::error(error.to_string()),
    };
    kernel::output::put(&outcome.output);
    if !outcome.reason.is_empty() {
        // The prefix by which the cluster's executor finds the reason in an agent's output.
        kernel::errln!("ocf-exit-reason:{}", outcome.reason);
    }
    outcome.code.0
}

async fn call(agent: &str, operation: &str) -> AgentOutcome {
    let params = std::env::vars()
        .filter_map(|(name, value)| Some((name.strip_prefix("OCF_RESKEY_")?.to_owned(), value)))
        .filter(|(name, _)| !name.starts_with("CRM_meta_"))
        .collect();
    let run_dir = std::env::var_os("BASCULE_RUN_DIR").map_or_else(|| PathBuf::from("/run/bascule"), PathBuf::from);
    let agents = match Agents::start(Options::standalone(run_dir)) {
        Ok(agents) => agents,
        Err(error) => return AgentOutcome::error(error.to_string()),
    };
    if !agents.knows(agent) {
        return AgentOutcome::new(OcfCode::NOT_INSTALLED, format!("no native agent is called '{agent}'"));
    }
    let call = AgentCall {
        resource: std::env::var("OCF_RESOURCE_INSTANCE").unwrap_or_else(|_| "default".into()),
        agent: agent.to_owned(),
        operation: operation.to_owned(),
        params,
        timeout: LIMIT,
    };
    if agent != "ldirectord" || operation == "meta-data" {
        return agents.run(call).await;
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return AgentOutcome::error(format!("this program cannot be found: {error}")),
    };
    let limited = tokio::time::timeout(LIMIT, crate::director::command::run(&call, &program)).await;
    limited.unwrap_or_else(|_| AgentOutcome::error(format!("{operation} did not finish within {} s", LIMIT.as_secs())))
}
