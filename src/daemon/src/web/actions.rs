//! What a page can have done: each action is one of the commands that an operator would type, run as the user who has logged in, so that
//! permissions, texts and effects are the same.

use serde::{Deserialize, Serialize};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Longest run of a command; one that takes longer goes on by itself in the cluster.
const WITHIN: Duration = Duration::from_secs(60);
/// Of what it says, that a page gets.
const MAX_TEXT_BYTES: u64 = 256 * 1024;
/// Longest word of a request.
const MAX_WORD_BYTES: usize = 512;

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    Explain {
        resource: String,
    },
    Plan {},
    Standby {
        node: String,
        on: bool,
    },
    NodeMaintenance {
        node: String,
        on: bool,
    },
    Maintenance {
        on: bool,
    },
    Move {
        resource: String,
        node: String,
    },
    /// Takes back what moves and bans have left.
    Clear {
        resource: String,
    },
    Cleanup {
        resource: String,
    },
    Enable {
        resource: String,
        on: bool,
    },
    Drain {
        config: String,
        server: String,
        on: bool,
    },
    ServerMaintenance {
        config: String,
        server: String,
        on: bool,
    },
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Outcome {
    pub code: i32,
    /// The command as it would be typed.
    pub command: String,
    pub text: String,
}

impl Action {
    /// Whether it only shows something.
    pub fn only_shows(&self) -> bool {
        matches!(self, Action::Explain { .. } | Action::Plan {})
    }

    /// Whether it is about this host alone, where no permission of the cluster's decides.
    pub fn is_of_this_host(&self) -> bool {
        matches!(self, Action::Drain { .. } | Action::ServerMaintenance { .. })
    }

    /// The command; an error for words that could be taken for options, or are no words.
    pub fn words(&self) -> Result<Vec<String>, String> {
        let on_off = |on: &bool, yes: &'static str, no: &'static str| if *on { yes } else { no };
        let words: Vec<&str> = match self {
            Action::Explain { resource } => vec!["explain", resource],
            Action::Plan {} => vec!["plan"],
            Action::Standby { node, on } => vec!["pcs", "node", on_off(on, "standby", "unstandby"), node],
            Action::NodeMaintenance { node, on } => {
                vec!["pcs", "node", on_off(on, "maintenance", "unmaintenance"), node]
            }
            Action::Maintenance { on } => {
                vec!["pcs", "property", "set", on_off(on, "maintenance-mode=true", "maintenance-mode=false")]
            }
            Action::Move { resource, node } => vec!["crm_resource", "--move", "-r", resource, "-N", node],
            Action::Clear { resource } => vec!["crm_resource", "--clear", "-r", resource],
            Action::Cleanup { resource } => vec!["crm_resource", "--cleanup", "-r", resource],
            Action::Enable { resource, on } => vec!["pcs", "resource", on_off(on, "enable", "disable"), resource],
            Action::Drain { config, server, on } => {
                vec!["ldirectord", config, on_off(on, "drain", "undrain"), server]
            }
            Action::ServerMaintenance { config, server, on } => {
                vec!["ldirectord", config, "maintenance", server, on_off(on, "on", "off")]
            }
        };
        // Options of ours stand there as well; what came from outside must not be one.
        let given = self.given();
        let wrong =
            |w: &&&str| w.is_empty() || w.starts_with('-') || w.len() > MAX_WORD_BYTES || w.contains(char::is_control);
        match given.iter().find(wrong) {
            Some(word) => Err(format!("'{}' cannot be a name", word.escape_debug())),
            None => Ok(words.into_iter().map(str::to_owned).collect()),
        }
    }

    fn given(&self) -> Vec<&str> {
        match self {
            Action::Plan {} | Action::Maintenance { .. } => Vec::new(),
            Action::Standby { node, .. } | Action::NodeMaintenance { node, .. } => vec![node],
            Action::Move { resource, node } => vec![resource, node],
            Action::Explain { resource }
            | Action::Clear { resource }
            | Action::Cleanup { resource }
            | Action::Enable { resource, .. } => vec![resource],
            Action::Drain { config, server, .. } | Action::ServerMaintenance { config, server, .. } => {
                vec![config, server]
            }
        }
    }

    /// Runs it in the user's place.
    pub async fn run(&self, user: &str) -> Result<Outcome, String> {
        let words = self.words()?;
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = tokio::process::Command::new(program);
        command.args(&words).env("CIB_user", user).env_remove("CIB_file").env_remove("CIB_shadow");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|e| format!("cannot run it: {e}"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = async {
            let (out, err) = tokio::join!(read(out), read(err));
            (child.wait().await, out + &err)
        };
        let (status, text) = tokio::time::timeout(WITHIN, all)
            .await
            .map_err(|_| format!("no answer within {} s; what was asked may still happen", WITHIN.as_secs()))?;
        let code = status.map_err(|e| e.to_string())?.code().unwrap_or(-1);
        Ok(Outcome { code, command: words.join(" "), text })
    }
}

async fn read(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = (&mut from).take(MAX_TEXT_BYTES).read_to_end(&mut bytes).await;
        // The rest is read and dropped, so that the command can end.
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(json: &str) -> Result<Action, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn an_action_is_the_command_that_one_would_type() {
        let moved = action(r#"{"action":"move","resource":"vip","node":"lb2"}"#).expect("an action");
        assert_eq!(moved.words().expect("words").join(" "), "crm_resource --move -r vip -N lb2");
        assert!(!moved.only_shows() && !moved.is_of_this_host());
        assert!(action(r#"{"action":"plan"}"#).expect("an action").only_shows());
    }

    #[test]
    fn nothing_from_outside_becomes_an_option() {
        for name in ["--force", "-N", "", "a\\nb"] {
            let text = format!(r#"{{"action":"cleanup","resource":"{name}"}}"#);
            assert!(action(&text).expect("an action").words().is_err(), "{name}");
        }
        for wrong in [r#"{"action":"sh"}"#, r#"{"action":"cleanup"}"#, r#"{"action":"plan","x":1}"#, "[]"] {
            assert!(action(wrong).is_err(), "{wrong}");
        }
    }
}
