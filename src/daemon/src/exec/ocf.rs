//! Stock OCF agents.

use super::child::Program;
use super::{Ended, Places, child, env};
use base::Operation;
use base::exit::OcfCode;
use controller::OpStatus;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

/// What an agent says of itself, run like any other action; `None` if it says nothing, or too much.
pub(super) async fn document(places: &Places, operation: &Operation, deadline: Instant) -> Option<String> {
    let program = program(places, operation).ok()?;
    let output = child::run(&places.groups, &program, b"", deadline).await.ok()?;
    (output.code == OcfCode::OK.0).then_some(output.stdout)
}

pub(super) async fn run(places: &Places, operation: &Operation, deadline: Instant) -> Ended {
    let program = match program(places, operation) {
        Ok(program) => program,
        Err(ended) => return ended,
    };
    match child::run(&places.groups, &program, b"", deadline).await {
        Ok(output) => finished(operation, &output),
        Err(error) => Ended::without_output(operation, &program.file, error),
    }
}

/// The agent's file with the operation's environment, if there is one that can be run.
fn program(places: &Places, operation: &Operation) -> Result<Program, Ended> {
    let (provider, agent) = (operation.instance.provider(), &operation.instance.agent);
    if [provider, agent].iter().any(|part| part.is_empty() || part.contains('/') || part.starts_with('.')) {
        let reason = format!("expected a provider and agent name, found `{provider}:{agent}`");
        return Err(Ended::not_installed(reason));
    }
    let file = places.ocf_root.join("resource.d").join(provider).join(agent);
    match std::fs::metadata(&file) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {}
        Ok(_) => return Err(Ended::not_installed(format!("{} is not executable", file.display()))),
        Err(_) => return Err(Ended::not_installed(format!("{} is not there", file.display()))),
    }
    Ok(Program { file, args: vec![operation.action.clone().into()], env: env::ocf(places, operation) })
}

fn finished(operation: &Operation, output: &child::Output) -> Ended {
    for line in output.stderr.lines() {
        tracing::debug!(resource = operation.instance.id, operation = operation.action, "{line}");
    }
    if let Some(signal) = output.signal {
        return Ended::new(OcfCode::ERROR, OpStatus::Error, format!("the agent was killed by signal {signal}"));
    }
    let code = OcfCode(output.code);
    let reason = env::exit_reason(&output.stderr);
    let status = match code {
        OcfCode::UNIMPLEMENTED => OpStatus::NotSupported,
        OcfCode::NOT_INSTALLED => OpStatus::NotInstalled,
        _ => OpStatus::Done,
    };
    Ended::new(code, status, reason)
}
