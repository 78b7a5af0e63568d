//! Programs of an operator's, each in a process group of its own: who gives up on one ends all that it has started.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};

/// Kills what is left of the group when dropped early.
pub struct Group {
    child: Child,
}

impl Group {
    /// Without any input, and with its output thrown away.
    pub fn spawn(mut command: Command) -> std::io::Result<Group> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        Ok(Group { child })
    }

    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is gone once the child was waited for, so no other process can be hit.
        if let Some(id) = self.child.id() {
            let _ = killpg(Pid::from_raw(id as i32), Signal::SIGKILL);
        }
    }
}
