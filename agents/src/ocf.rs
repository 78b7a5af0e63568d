//! A native agent as an OCF executable: `bascule ocf AGENT ACTION`, parameters in `OCF_RESKEY_*`.
//!
//! Outside the daemon there is no keeper, so an address started this way is permanent until it is stopped, and a director
//! runs in a daemon of its own.

use crate::director;
use crate::native::{Agents, Options};
use crate::outcome::AgentOutcome;
use base::exit::OcfCode;
use base::{Instance, Operation};
use std::collections::BTreeMap;
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

async fn call(agent: &str, action: &str) -> AgentOutcome {
    let given =
        std::env::vars().filter_map(|(name, value)| Some((name.strip_prefix("OCF_RESKEY_")?.to_owned(), value)));
    let (meta, params): (BTreeMap<String, String>, _) = given.partition(|(n, _)| n.starts_with(Operation::META_PREFIX));
    let operation = Operation {
        instance: Instance {
            id: std::env::var("OCF_RESOURCE_INSTANCE").unwrap_or_else(|_| "default".into()),
            class: "ocf".to_owned(),
            provider: std::env::var("OCF_RESOURCE_PROVIDER").ok(),
            agent: agent.to_owned(),
            params,
        },
        action: action.to_owned(),
        timeout_ms: LIMIT.as_millis() as u64,
        meta: meta.into_iter().map(|(n, v)| (n[Operation::META_PREFIX.len()..].to_owned(), v)).collect(),
        ..Operation::default()
    };
    let limited = tokio::time::timeout(LIMIT, perform(&operation)).await;
    limited.unwrap_or_else(|_| AgentOutcome::error(format!("{action} did not finish within {} s", LIMIT.as_secs())))
}

async fn perform(operation: &Operation) -> AgentOutcome {
    let run_dir = std::env::var_os("BASCULE_RUN_DIR").map_or_else(|| PathBuf::from("/run/bascule"), PathBuf::from);
    // A director needs a daemon around it, so one is started.
    if operation.instance.agent == director::META.name && operation.action != "meta-data" {
        return match std::env::current_exe() {
            Ok(program) => director::command::run(operation, &program).await,
            Err(error) => AgentOutcome::error(format!("this program cannot be found: {error}")),
        };
    }
    match Agents::start(Options::standalone(run_dir)) {
        Ok(agents) => agents.run(operation).await,
        Err(error) => AgentOutcome::error(error.to_string()),
    }
}
