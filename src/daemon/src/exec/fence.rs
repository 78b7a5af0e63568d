//! Fence agents: executables that read `name=value` lines on standard input and answer by their exit code (Fence Agent API).
//!
//! What is to be run is decided in [`controller::fencing`]; here it is only run: one child for each call, within its time, its output
//! bounded.

use super::child::{ChildError, Output, Program};
use super::secrets::{self, Secrets};
use super::{Ended, MAX_REASON_BYTES, Places, child, env};
use base::agent::MetadataQuery;
use base::exit::OcfCode;
use base::{Operation, Reason};
use controller::OpStatus;
use controller::fencing::device::Device;
use controller::fencing::executor::{AgentCall, AgentEnd, AgentKind, AgentResult};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Runs an agent to its end or the end of its time.
pub async fn run(places: &Places, call: &AgentCall) -> AgentResult {
    let deadline = Instant::now() + Duration::from_millis(call.timeout_ms.max(1));
    let Some(file) = file(places, &call.agent) else {
        let reason = format!("{}/{} is not there", places.fence_agents.display(), call.agent);
        return result(AgentEnd::NotInstalled, String::new(), &reason);
    };
    let mut secrets = Secrets::default();
    let ran = match &call.kind {
        AgentKind::Metadata => metadata(places, file, deadline).await,
        AgentKind::Run { device, input } => {
            let mut input = input.clone();
            let params = input.iter_mut().map(|(name, value)| (name.as_str(), value));
            secrets = match secrets::reveal(&places.secrets, device, params) {
                Ok(secrets) => secrets,
                Err(why) => return result(AgentEnd::NotStarted, String::new(), &why),
            };
            let lines = input.into_iter().map(|(name, value)| format!("{name}={value}\n"));
            let text = Zeroizing::new(lines.collect::<String>());
            let program = Program { file, args: Vec::new(), env: env::common(places, None) };
            child::run(&places.groups, &program, text.as_bytes(), deadline).await
        }
    };
    match ran {
        Ok(output) => {
            let reason =
                if output.code == 0 { String::new() } else { super::lsb::last_line(&output.stderr).to_owned() };
            result(AgentEnd::Code(output.code), without_doctype(&output.stdout), &secrets.hide(&reason))
        }
        Err(ChildError::Deadline) => result(AgentEnd::Timeout, String::new(), ""),
        Err(error) => result(AgentEnd::NotStarted, String::new(), &error.to_string()),
    }
}

async fn metadata(places: &Places, file: PathBuf, deadline: Instant) -> Result<Output, ChildError> {
    let query = MetadataQuery::of("stonith");
    let args = query.args.iter().map(|a| (*a).into()).collect();
    let env = [("PATH", MetadataQuery::PATH), ("LC_ALL", "C")];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    child::run(&places.groups, &Program { file, args, env }, query.input.as_bytes(), deadline).await
}

fn result(end: AgentEnd, output: String, reason: &str) -> AgentResult {
    AgentResult { end, output, reason: Reason::cleaned(&base::text::one_line(reason, MAX_REASON_BYTES)) }
}

/// Operations of a device as a resource: it is not started anywhere, but it must answer.
pub(super) async fn resource(places: &Places, operation: &Operation, deadline: Instant) -> Ended {
    let instance = &operation.instance;
    let device = Device::new(&instance.id, &instance.agent, instance.params.clone());
    if file(places, &device.agent).is_none() {
        return match operation.action.as_str() {
            "monitor" | "stop" => {
                Ended::done(if operation.action == "stop" { OcfCode::OK } else { OcfCode::NOT_RUNNING }, "")
            }
            _ => Ended::not_installed(format!("{}/{} is not there", places.fence_agents.display(), device.agent)),
        };
    }
    match operation.action.as_str() {
        "stop" => Ended::done(OcfCode::OK, ""),
        // A probe: no device is running before the cluster starts it.
        "monitor" if operation.interval_ms == 0 => Ended::done(OcfCode::NOT_RUNNING, ""),
        "start" | "monitor" => {
            let timeout_ms = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
            let kind = AgentKind::of(&device, "monitor", None, None);
            let result = run(places, &AgentCall { agent: device.agent, kind, timeout_ms }).await;
            match result.end {
                AgentEnd::Code(0) => Ended::done(OcfCode::OK, ""),
                AgentEnd::Timeout => Ended::timeout(operation),
                _ => Ended::done(OcfCode::ERROR, result.said()),
            }
        }
        other => Ended::new(
            OcfCode::UNIMPLEMENTED,
            OpStatus::NotSupported,
            format!("fence devices have no operation `{other}`"),
        ),
    }
}

fn file(places: &Places, agent: &str) -> Option<PathBuf> {
    let file = places.fence_agents.join(agent);
    (!agent.is_empty() && !agent.contains('/') && file.is_file()).then_some(file)
}

/// Our parser takes no document types; those of agents say nothing that is needed.
pub(crate) fn without_doctype(document: &str) -> String {
    let Some(at) = document.find("<!DOCTYPE") else { return document.to_owned() };
    let end = document[at..].find('>').map_or(document.len(), |end| at + end + 1);
    format!("{}{}", &document[..at], &document[end..])
}
