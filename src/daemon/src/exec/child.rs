//! One child process in a process group of its own, with bounded output and a deadline.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Kept of each of standard output and standard error; the rest is read and thrown away.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// How long output is waited for after the process itself has ended: a daemon that it started may hold the pipe open.
const LINGER: Duration = Duration::from_millis(200);

/// What a child left.
#[derive(Debug)]
pub struct Output {
    /// Exit code; for a death by signal 128 plus the signal's number.
    pub code: i32,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("not started: {0}")]
    Spawn(std::io::Error),
    #[error("not waited for: {0}")]
    Wait(std::io::Error),
    #[error("did not finish before its deadline and was killed")]
    Deadline,
}

/// Kills the whole group when the call ends in any way but the normal one.
struct Group {
    id: Option<u32>,
}

impl Group {
    fn kill(&mut self) {
        if let Some(id) = self.id.take().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `command` to its end, writing `input` to it first.
pub(crate) async fn run(mut command: Command, input: &[u8], deadline: Instant) -> Result<Output, ChildError> {
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(ChildError::Spawn)?;
    let mut group = Group { id: child.id() };
    let result = tokio::time::timeout_at(deadline.into(), finish(&mut child, input)).await;
    match result {
        Ok(output) => {
            // What it left running on purpose (a started service) stays.
            group.id = None;
            output
        }
        Err(_) => {
            group.kill();
            let _ = tokio::time::timeout(LINGER, child.wait()).await;
            Err(ChildError::Deadline)
        }
    }
}

async fn finish(child: &mut Child, input: &[u8]) -> Result<Output, ChildError> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let stdin = child.stdin.take();
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let feed = async {
            if let Some(mut pipe) = stdin {
                // A child that does not read its input has its reasons.
                let _ = pipe.write_all(input).await;
            }
        };
        let drain = async { tokio::join!(read(&mut stdout, &mut out), read(&mut stderr, &mut err), feed) };
        let wait = child.wait();
        tokio::pin!(drain, wait);
        let mut drained = false;
        let status = loop {
            tokio::select! {
                status = &mut wait => break status.map_err(ChildError::Wait)?,
                _ = &mut drain, if !drained => drained = true,
            }
        };
        if !drained {
            let _ = tokio::time::timeout(LINGER, drain).await;
        }
        status
    };
    let signal = status.signal();
    let code = status.code().unwrap_or_else(|| 128 + signal.unwrap_or(0));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { code, signal, stdout: text(out), stderr: text(err) })
}

/// Keeps the first [`MAX_OUTPUT_BYTES`], reads on so that the child does not block.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(pipe) = pipe else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
}
