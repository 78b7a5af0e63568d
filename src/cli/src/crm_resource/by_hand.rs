//! `--force-*`, `--validate`: an agent is run here and now, by hand; the cluster does not know of it.

use super::{listing, parameters};
use crate::agent_process::{self, Answer};
use crate::crm_mon::View;
use crate::report::Common;
use crate::source::Failure;
use base::exit::{OcfCode, crm};
use scheduler::status::{Resource, ResourceKind};
use std::collections::BTreeMap;
use std::time::Duration;
use xml::Element;

/// Time that an agent has unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Start,
    Stop,
    Promote,
    Demote,
    Check,
    Validate,
}

impl Action {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Action::Start => "force-start",
            Action::Stop => "force-stop",
            Action::Promote => "force-promote",
            Action::Demote => "force-demote",
            Action::Check => "force-check",
            Action::Validate => "validate",
        }
    }

    /// As an agent knows it.
    fn operation(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Promote => "promote",
            Action::Demote => "demote",
            Action::Check => "monitor",
            Action::Validate => "validate-all",
        }
    }
}

/// What is run, with what.
pub struct Call {
    pub action: Action,
    /// `class`, `provider`, `type`.
    pub agent: [String; 3],
    /// The resource's id, if it is one of the configuration.
    pub id: Option<String>,
    pub params: BTreeMap<String, String>,
    pub overrides: BTreeMap<String, String>,
    /// How much an agent shall say (`-V`).
    pub verbose: u8,
    pub timeout: Option<Duration>,
}

/// A configured resource's call; refuses what would work against the cluster.
pub fn of_resource(view: &View<'_>, r: &Resource, action: Action, force: bool) -> Result<Call, Failure> {
    let name = action.operation();
    if !matches!(r.kind, ResourceKind::Primitive { .. }) {
        let inner = r.children.first().map(|c| format!("; try the one within, {}", c.name)).unwrap_or_default();
        let message = format!("'{}' is several resources, and {} runs one agent{inner}", r.name, action.name());
        return Err(Failure::new(crm::UNIMPLEMENT_FEATURE, message));
    }
    let changes = matches!(action, Action::Start | Action::Promote | Action::Demote);
    if changes && !force && !r.active_on.is_empty() {
        let message = format!(
            "It is not safe to {name} {} here: for the cluster it runs on {}. Set target-role=Stopped first, or use --force",
            r.name,
            r.active_on.join(", ")
        );
        return Err(Failure::new(crm::UNSAFE, message));
    }
    let e = parameters::expanded(view.cib, parameters::element(view.cib, &r.name)?);
    let attr = |name: &str| e.attr(name).unwrap_or_default().to_owned();
    let index = cib::config::Index::new(view.cib);
    let values = cib::config::values(&e, "instance_attributes", &index);
    let params = values.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Call {
        action,
        agent: [attr("class"), attr("provider"), attr("type")],
        id: Some(r.name.clone()),
        params,
        overrides: BTreeMap::new(),
        verbose: 0,
        timeout: None,
    })
}

impl Call {
    fn spec(&self) -> String {
        let [class, provider, agent] = &self.agent;
        if provider.is_empty() { format!("{class}:{agent}") } else { format!("{class}:{provider}:{agent}") }
    }

    /// Runs the agent and tells what it said; the exit code is the agent's.
    pub fn perform(&self, common: &Common) -> Result<i32, Failure> {
        let outcome = self.outcome()?;
        let failed = outcome.code != OcfCode::OK.0;
        let words = crate::report::exit_words(outcome.code);
        let errors = failed.then(|| format!("crm_resource: Error performing operation: {words}"));
        if let Some(error) = errors.as_ref().filter(|_| common.is_text()) {
            kernel::errln!("{error}");
        }
        let errors: Vec<String> = errors.into_iter().collect();
        common.print_result(outcome.code, &errors, || self.text(&outcome), || vec![self.element(&outcome)])?;
        Ok(outcome.code)
    }

    /// The same as text alone.
    pub fn told(&self) -> Result<(String, i32), Failure> {
        let outcome = self.outcome()?;
        Ok((self.text(&outcome), outcome.code))
    }

    fn outcome(&self) -> Result<Answer, Failure> {
        let mut command = self.command()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::new(crm::OSERR, format!("cannot wait for the agent: {e}")))?;
        runtime.block_on(run(&mut command, self.timeout.unwrap_or(TIMEOUT)))
    }

    fn command(&self) -> Result<tokio::process::Command, Failure> {
        let [class, provider, agent] = &self.agent;
        let spec = self.spec();
        let operation = self.action.operation();
        let mut command;
        match class.as_str() {
            "ocf" if crate::agents::native_document(&spec).is_some() => {
                let own = std::env::current_exe();
                let own = own.map_err(|e| Failure::new(crm::OSERR, format!("cannot find this program: {e}")))?;
                command = tokio::process::Command::new(own);
                command.args(["ocf", agent, operation]);
            }
            "ocf" | "lsb" => {
                let operation = if class == "lsb" && operation == "monitor" { "status" } else { operation };
                command = tokio::process::Command::new(listing::executable(&spec)?);
                command.arg(operation);
            }
            "systemd" | "service" => {
                let verb = if operation == "monitor" { "is-active" } else { operation };
                command = tokio::process::Command::new("systemctl");
                command.args([verb, agent]);
            }
            _ => {
                let message =
                    format!("{} runs no {class} agents; for fence devices: stonith_admin", self.action.name());
                return Err(Failure::new(crm::UNIMPLEMENT_FEATURE, message));
            }
        }
        command.env("LC_ALL", "C").env("OCF_ROOT", listing::ocf_root_dir());
        command.env("OCF_RA_VERSION_MAJOR", "1").env("OCF_RA_VERSION_MINOR", "1");
        command.env("OCF_RESOURCE_INSTANCE", self.id.as_deref().unwrap_or("test"));
        command.env("OCF_RESOURCE_TYPE", agent).env("OCF_RESOURCE_PROVIDER", provider);
        command.env("OCF_RESKEY_crm_feature_set", scheduler::FEATURE_SET);
        let limit = self.timeout.unwrap_or(TIMEOUT).as_millis().to_string();
        command.env("OCF_RESKEY_CRM_meta_timeout", limit).env("OCF_RESKEY_CRM_meta_name", operation);
        if self.verbose > 1 {
            command.env("OCF_TRACE_RA", "1").env("OCF_TRACE_FILE", "/dev/stderr");
        }
        let sound = |n: &String, v: &String| !n.is_empty() && !n.contains(['=', '\0']) && !v.contains('\0');
        for (name, value) in self.params.iter().chain(&self.overrides).filter(|(n, v)| sound(n, v)) {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        Ok(command)
    }

    fn text(&self, outcome: &Answer) -> String {
        let (name, code) = (self.action.name(), outcome.code);
        let of = self.id.as_ref().map(|id| format!("for {id} ")).unwrap_or_default();
        let words = match crate::args::compat_21() {
            true => OcfCode(code).words().to_owned(),
            false => crate::report::exit_words(code).to_owned(),
        };
        let mut out = format!("Operation {name} {of}({}) returned {code} ({words})\n", self.spec());
        for (what, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
            let lines = text.lines().filter(|l| !l.trim().is_empty());
            lines.for_each(|line| out += &format!(" >  {what}: {line}\n"));
        }
        out
    }

    fn element(&self, outcome: &Answer) -> Element {
        let [class, provider, agent] = &self.agent;
        let mut e = Element::new("resource-agent-action").with("action", self.action.name()).with("class", class);
        e.set("type", agent);
        if let Some(id) = &self.id {
            e.set("rsc", id);
        }
        if !provider.is_empty() {
            e.set("provider", provider);
        }
        let over = |(name, value): (&String, &String)| {
            let o = Element::new("override").with("name", name).with("value", value);
            self.id.iter().fold(o, |o, id| o.with("rsc", id))
        };
        e.push(self.overrides.iter().map(over).fold(Element::new("overrides"), Element::with_child));
        let status = Element::new("agent-status").with("code", outcome.code.to_string());
        let status = status.with("message", crate::report::exit_words(outcome.code)).with("execution_code", "0");
        e.push(status.with("execution_message", if crate::args::compat_21() { "complete" } else { "Done" }));
        let mut command = Element::new("command").with("code", outcome.code.to_string());
        for (what, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
            if !text.trim().is_empty() {
                command.push(crate::report::quoted("output", text).with("source", what));
            }
        }
        if !command.nodes().is_empty() {
            e.push(command);
        }
        e
    }
}

async fn run(command: &mut tokio::process::Command, limit: Duration) -> Result<Answer, Failure> {
    let failed = |e: std::io::Error| Failure::new(crm::OSERR, format!("cannot run the agent: {e}"));
    let late = || {
        let text = format!("the agent was killed: it had not finished after {} s (--timeout)", limit.as_secs());
        Failure::new(crm::TIMEOUT, text)
    };
    agent_process::run(command, "", limit).await.map_err(failed)?.ok_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(script: &str) -> (tempfile::TempDir, Call) {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("agent");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        let call = Call {
            action: Action::Check,
            agent: ["ocf".into(), "test".into(), "agent".into()],
            id: Some("r".to_owned()),
            params: BTreeMap::from([("ip".to_owned(), "192.0.2.1".to_owned())]),
            overrides: BTreeMap::new(),
            verbose: 0,
            timeout: None,
        };
        (dir, call)
    }

    fn outcome(dir: &tempfile::TempDir, limit: Duration) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut command = tokio::process::Command::new("sh");
        command.arg(dir.path().join("agent")).env("OCF_RESKEY_ip", "192.0.2.1");
        runtime.block_on(run(&mut command, limit))
    }

    #[test]
    fn what_an_agent_says_and_ends_with_is_told() {
        let (dir, call) = call("echo \"on $OCF_RESKEY_ip\"; echo 'ocf-exit-reason:gone' >&2; exit 7");
        let outcome = outcome(&dir, TIMEOUT).expect("it ran");
        assert_eq!(
            call.text(&outcome),
            "Operation force-check for r (ocf:test:agent) returned 7 (Not running)\n >  stdout: on 192.0.2.1\n >  stderr: ocf-exit-reason:gone\n"
        );
        let e = call.element(&outcome);
        assert_eq!(e.child("agent-status").and_then(|s| s.attr("code")), Some("7"));
        assert_eq!(e.child("command").map(|c| c.elements().count()), Some(2));
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let (dir, _) = call("sleep 600");
        let failure = outcome(&dir, Duration::from_millis(50)).expect_err("it hangs");
        assert_eq!(failure.code, crm::TIMEOUT);
    }
}
