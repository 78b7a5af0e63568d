//! `checktype = external` and `external-perl`: a command whose exit code 0 means up.
//!
//! It runs in a process group of its own; when the deadline drops the check, the whole group is killed.

use super::{External, Outcome, failure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

pub async fn run(external: &External) -> Outcome {
    let mut command = command(external);
    command.args(&external.args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|e| failure(format!("{}: {}", external.command, super::io::plain(&e))))?;
    let mut group = Group { child };
    let status = group.child.wait().await?;
    if status.success() { Ok("exit code 0".to_owned()) } else { Err(failure(status.to_string())) }
}

/// A whole path with blanks is the program; otherwise blanks part its arguments.
fn command(external: &External) -> Command {
    if external.perl {
        let mut command = Command::new("perl");
        command.arg(&external.command);
        return command;
    }
    let mut words = external.command.split_whitespace();
    match words.next() {
        Some(program) if !Path::new(&external.command).exists() => {
            let mut command = Command::new(program);
            command.args(words);
            command
        }
        _ => Command::new(&external.command),
    }
}

/// Kills what is left of the group when dropped early.
struct Group {
    child: Child,
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is gone once the child was waited for, so no other process can be hit.
        if let Some(id) = self.child.id() {
            let _ = killpg(Pid::from_raw(id as i32), Signal::SIGKILL);
        }
    }
}
