//! `stonith_admin --validate`.

use super::StonithAdmin;
use crate::agent_process::Answer;
use crate::fence_agent::{self, Question};
use crate::source::Failure;
use base::exit::crm;
use xml::{Element, Node};

/// The agent has no such action.
const UNSUPPORTED: i32 = 3;

impl StonithAdmin {
    pub(super) fn validate_settings(&self) -> Result<i32, Failure> {
        let Some(agent) = self.needs_agent() else { return Ok(crm::USAGE) };
        // Parameters for the cluster are none of the agent's.
        let mut params = self.params()?;
        params.retain(|name, _| !name.starts_with("pcmk_"));
        let (code, answer) = match self.checkable(agent) {
            Ok(()) => {
                let answer =
                    fence_agent::ask(agent, Question::ValidateAll, &self.with_target(agent, params), self.limit())?;
                (if answer.code == 0 { crm::OK } else { crm::ERROR }, answer)
            }
            Err((code, stderr)) => (code, Answer { stderr, ..Answer::default() }),
        };
        let word = if code == crm::OK { "succeeded" } else { "failed" };
        let device = self.device.first();
        let on = device.map(|d| format!(" on {d}")).unwrap_or_default();
        let mut text = format!("Validation of {agent}{on} {word}\n");
        text += &answer.stdout;
        if !self.quiet && !answer.stderr.is_empty() {
            kernel::errln!("{}", answer.stderr.trim_end());
        }
        if self.quiet {
            text.clear();
        }
        let mut e = Element::new("validate").with("agent", agent).with("valid", (code == crm::OK).to_string());
        if let Some(device) = device {
            e.set("device", device);
        }
        let mut command = Element::new("command").with("code", code.to_string());
        for (name, said) in [("stdout", &answer.stdout), ("stderr", &answer.stderr)] {
            if !said.is_empty() {
                let mut output = Element::new("output").with("source", name);
                output.nodes_mut().push(Node::Text(said.clone()));
                command.push(output);
            }
        }
        e.push(command);
        self.print_with(code, text, vec![e])
    }

    /// An agent that does not name the action might take it for another one.
    fn checkable(&self, agent: &str) -> Result<(), (i32, String)> {
        if fence_agent::find(agent).is_none() {
            return Err((crm::NOSUCH, format!("Agent {agent} not found")));
        }
        let document = fence_agent::metadata(agent, self.limit()).map_err(|f| (f.code, f.message))?;
        let named = xml::parse(&document).is_ok_and(|e| {
            e.descendants().any(|a| a.name() == "action" && a.attr("name") == Some(Question::ValidateAll.name()))
        });
        match named {
            true => Ok(()),
            false => Err((UNSUPPORTED, format!("Agent {agent} does not support validation"))),
        }
    }

    /// Agents that need a target get one; which does not matter here.
    fn with_target(
        &self,
        agent: &str,
        mut params: std::collections::BTreeMap<String, String>,
    ) -> std::collections::BTreeMap<String, String> {
        let document = fence_agent::metadata(agent, self.limit()).unwrap_or_default();
        let parsed = xml::parse(&document).ok();
        let takes = |name: &str| {
            parsed
                .as_ref()
                .is_some_and(|e| e.descendants().any(|p| p.name() == "parameter" && p.attr("name") == Some(name)))
        };
        if let Some(name) = ["plug", "port"].into_iter().find(|n| takes(n)) {
            params.entry(name.to_owned()).or_insert_with(|| "node1".to_owned());
        }
        params.insert("nodename".to_owned(), "node1".to_owned());
        params
    }
}
