//! Fence agents that a command runs itself: for what they say of themselves, and to have settings looked at.
//!
//! A fence agent without a known action does its default one, which is to reboot its target. So an action is always said both ways that
//! agents know, as an option or on standard input, the environment is closed, and nothing else is asked than [`Question`] has.

use crate::agent_process::{self, Answer};
use crate::source::Failure;
use base::agent::{FENCE_AGENTS_DIR, FENCE_AGENTS_VAR, MetadataQuery};
use base::exit::crm;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may be asked: nothing that switches anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    Metadata,
    ValidateAll,
}

impl Question {
    pub fn name(self) -> &'static str {
        match self {
            Question::Metadata => "metadata",
            Question::ValidateAll => "validate-all",
        }
    }
}

/// The file of an agent that is installed.
pub fn find(agent: &str) -> Option<PathBuf> {
    let safe = !agent.is_empty() && !agent.contains('/') && !agent.starts_with('.');
    let file = directory().join(agent);
    (safe && file.is_file()).then_some(file)
}

pub fn directory() -> PathBuf {
    std::env::var_os(FENCE_AGENTS_VAR).map_or_else(|| FENCE_AGENTS_DIR.into(), PathBuf::from)
}

/// Names of all that are installed.
pub fn installed() -> Vec<String> {
    let files = std::fs::read_dir(directory()).into_iter().flatten().flatten();
    let names = files.filter_map(|f| f.file_name().into_string().ok()).filter(|n| n.starts_with("fence_"));
    let mut names: Vec<String> = names.filter(|n| find(n).is_some_and(|f| is_executable(&f))).collect();
    names.sort();
    names
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.permissions().mode() & 0o111 != 0)
}

/// What the agent says of itself.
pub fn metadata(agent: &str, limit: Duration) -> Result<String, Failure> {
    let answer = ask(agent, Question::Metadata, &BTreeMap::new(), limit)?;
    if answer.code != 0 || !answer.stdout.contains("<resource-agent") {
        return Err(Failure::new(crm::NOSUCH, format!("agent {agent} gives no meta-data")));
    }
    Ok(answer.stdout)
}

/// Asks an agent; the error is that it could not be asked.
pub fn ask(
    agent: &str,
    question: Question,
    params: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let file = find(agent).ok_or_else(|| Failure::new(crm::NOSUCH, format!("Agent {agent} not found")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(crm::OSERR, e.to_string()))?;
    runtime.block_on(run(&file, question, params, limit))
}

async fn run(
    file: &Path,
    question: Question,
    params: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<Answer, Failure> {
    let failed = |e: std::io::Error| Failure::new(crm::OSERR, format!("cannot run {}: {e}", file.display()));
    let mut command = tokio::process::Command::new(file);
    command.env_clear().env("PATH", MetadataQuery::PATH).env("LC_ALL", "C").current_dir("/");
    // Agents that are given any option do not read their standard input.
    if params.is_empty() {
        command.arg("-o").arg(question.name());
    }
    let mut input = format!("action={0}\n", question.name());
    for (name, value) in params.iter().filter(|(n, v)| !n.contains(['\n', '=']) && !v.contains('\n')) {
        if !["action", "option"].contains(&name.as_str()) {
            input.push_str(&format!("{name}={value}\n"));
        }
    }
    let late = || {
        let text = format!("{} did not answer within {} s", file.display(), limit.as_secs());
        Failure::new(crm::TIMEOUT, text)
    };
    agent_process::run(&mut command, &input, limit).await.map_err(failed)?.ok_or_else(late)
}
