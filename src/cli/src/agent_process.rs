//! An agent that a command runs itself: within a time, its output bounded, ended with all that it has started.

use base::exit::OcfCode;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// What is read of each of an agent's outputs.
const MAX_OUTPUT: u64 = 1 << 20;

/// What an agent answered.
#[derive(Debug, Default)]
pub struct Answer {
    /// One that was killed has not answered: an error.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs it with this on its standard input; `None`: it had not ended in time, and was killed.
pub async fn run(command: &mut Command, input: &str, limit: Duration) -> std::io::Result<Option<Answer>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let whole = async {
        let feed = async {
            if let Some(mut pipe) = stdin {
                // An agent that reads nothing has its reasons.
                let _ = pipe.write_all(input.as_bytes()).await;
            }
        };
        let ((), stdout, stderr, status) = tokio::join!(feed, read(stdout), read(stderr), child.wait());
        let code = status?.code().unwrap_or(OcfCode::ERROR.0);
        Ok(Answer { code, stdout, stderr })
    };
    match tokio::time::timeout(limit, whole).await {
        Ok(answer) => answer.map(Some),
        Err(_) => {
            if let Some(group) = group {
                let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
            }
            Ok(None)
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
