//! Stock OCF agents.

use super::{Ended, Places, child, env};
use base::exit::OcfCode;
use controller::{ExecRequest, OpStatus};
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;
use tokio::process::Command;

pub(super) async fn run(places: &Places, request: &ExecRequest, deadline: Instant) -> Ended {
    let provider = request.provider.as_deref().unwrap_or("heartbeat");
    if [provider, &request.agent].iter().any(|part| part.is_empty() || part.contains('/') || part.starts_with('.')) {
        return Ended::not_installed(format!(
            "expected a provider and agent name, found `{provider}:{}`",
            request.agent
        ));
    }
    let file = places.ocf_root.join("resource.d").join(provider).join(&request.agent);
    match std::fs::metadata(&file) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {}
        Ok(_) => return Ended::not_installed(format!("{} is not executable", file.display())),
        Err(_) => return Ended::not_installed(format!("{} is not there", file.display())),
    }
    let mut command = Command::new(&file);
    command.arg(&request.operation).envs(env::ocf(places, request)).current_dir("/");
    match child::run(command, b"", deadline).await {
        Ok(output) => finished(request, &output),
        Err(child::ChildError::Deadline) => Ended::timeout(request),
        Err(error) => Ended::new(OcfCode::ERROR, OpStatus::Error, format!("{}: {error}", file.display())),
    }
}

fn finished(request: &ExecRequest, output: &child::Output) -> Ended {
    for line in output.stderr.lines() {
        tracing::debug!(resource = request.resource, operation = request.operation, "{line}");
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
