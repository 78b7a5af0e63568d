//! One child process with bounded output and a deadline. It and whatever it started end together ([`groups`](super::groups)),
//! except what a call that ended well has left running.

use super::groups::{Groups, Scope};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Kept of each of standard output and standard error: the beginning and the end, half each.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// How long output is waited for after the process itself has ended: a daemon that it started may hold the pipe open.
const LINGER: Duration = Duration::from_millis(200);
/// Between the request to end and the kill.
const GRACE: Duration = Duration::from_millis(500);
const GRACE_LOOK: Duration = Duration::from_millis(10);
/// Stands between beginning and end where the middle was thrown away.
const GAP: &str = "\n…\n";
/// Longest first line of a script (`BINPRM_BUF_SIZE`).
const MAX_FIRST_LINE: u64 = 256;
/// What runs a script that names no interpreter, as execvp(3) does.
const SHELL: &str = "/bin/sh";

/// What is to be run; its environment is exactly this.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub file: PathBuf,
    pub args: Vec<OsString>,
    pub env: super::env::Environment,
}

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
    /// The file is there and is not something that can be run.
    #[error("not started: {0}")]
    Script(String),
    #[error("not waited for: {0}")]
    Wait(std::io::Error),
    #[error("did not finish before its deadline and was killed")]
    Deadline,
}

/// Runs `program` to its end, writing `input` to it first.
pub(crate) async fn run(
    groups: &Groups,
    program: &Program,
    input: &[u8],
    deadline: Instant,
) -> Result<Output, ChildError> {
    run_as(groups, program, None, input, deadline).await
}

/// [`run`] as another user.
pub(crate) async fn run_as(
    groups: &Groups,
    program: &Program,
    user: Option<&super::alert::User>,
    input: &[u8],
    deadline: Instant,
) -> Result<Output, ChildError> {
    let mut running = Running::start(groups.call(), program, user, !input.is_empty())?;
    let Some((child, scope)) = &mut running.parts else { return Err(ChildError::Deadline) };
    match tokio::time::timeout_at(deadline.into(), finish(child, input)).await {
        Ok(output) => {
            if output.is_ok()
                && let Some((_, scope)) = running.parts.take()
            {
                scope.leave();
            }
            output
        }
        Err(_) => {
            scope.terminate();
            let parts = running.parts.take();
            end(parts).await;
            Err(ChildError::Deadline)
        }
    }
}

/// A child and its kin. Dropped (the call was cancelled), they end in the background; without a runtime, at once.
struct Running {
    parts: Option<(Child, Scope)>,
}

impl Running {
    fn start(
        mut scope: Scope,
        program: &Program,
        user: Option<&super::alert::User>,
        with_input: bool,
    ) -> Result<Running, ChildError> {
        let (name, value) = scope.mark();
        let command = |file: &Path| {
            let mut command = Command::new(file);
            command.env_clear().envs(&program.env).env(name, value).current_dir("/");
            command.stdin(if with_input { Stdio::piped() } else { Stdio::null() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
            if let Some(user) = user {
                command.uid(user.uid).gid(user.gid);
            }
            command
        };
        let mut spawned = command(&program.file).args(&program.args).spawn();
        if spawned.as_ref().is_err_and(|e| e.raw_os_error() == Some(nix::libc::ENOEXEC)) {
            if first_line(&program.file).is_some_and(|l| l.ends_with('\r')) {
                return Err(ChildError::Script(format!("{}: {CRLF}", program.file.display())));
            }
            spawned = command(Path::new(SHELL)).arg(&program.file).args(&program.args).spawn();
        }
        let child = spawned.map_err(|error| unstarted(&program.file, error))?;
        scope.enter(child.id());
        Ok(Running { parts: Some((child, scope)) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        parts.1.terminate();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(end(Some(parts)))),
            Err(_) => drop(parts),
        }
    }
}

/// Gives those that were asked to end a moment, then kills whatever is left.
async fn end(parts: Option<(Child, Scope)>) {
    let Some((mut child, scope)) = parts else { return };
    let ended = async {
        let _ = child.wait().await;
        while scope.group_lives() {
            tokio::time::sleep(GRACE_LOOK).await;
        }
    };
    let _ = tokio::time::timeout(GRACE, ended).await;
    let _ = tokio::task::spawn_blocking(move || scope.kill()).await;
    let _ = tokio::time::timeout(LINGER, child.wait()).await;
}

const CRLF: &str = "its lines end in CR LF, as other systems write them; they must end in LF";

/// The kernel says "no such file" of an interpreter, too.
fn unstarted(file: &Path, error: std::io::Error) -> ChildError {
    if error.kind() != std::io::ErrorKind::NotFound {
        return ChildError::Spawn(error);
    }
    match first_line(file) {
        Some(line) if line.ends_with('\r') => ChildError::Script(format!("{}: {CRLF}", file.display())),
        Some(line) if line.starts_with("#!") => {
            ChildError::Script(format!("{}: its interpreter `{}` is not there", file.display(), line[2..].trim()))
        }
        _ => ChildError::Spawn(error),
    }
}

fn first_line(file: &Path) -> Option<String> {
    let mut text = Vec::new();
    std::fs::File::open(file).ok()?.take(MAX_FIRST_LINE).read_to_end(&mut text).ok()?;
    let line = text.split(|b| *b == b'\n').next()?;
    Some(String::from_utf8_lossy(line).into_owned())
}

async fn finish(child: &mut Child, input: &[u8]) -> Result<Output, ChildError> {
    let (mut out, mut err) = (Kept::default(), Kept::default());
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
    Ok(Output { code, signal, stdout: out.text(), stderr: err.text() })
}

/// Reads on whatever is kept, so that the child does not block.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, kept: &mut Kept) {
    let Some(pipe) = pipe else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(n @ 1..) = pipe.read(&mut buffer).await {
        kept.add(&buffer[..n]);
    }
}

/// Beginning and end of a stream: what a program says first and last tells most.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: Vec<u8>,
    gap: bool,
}

impl Kept {
    const HALF: usize = (MAX_OUTPUT_BYTES - GAP.len()) / 2;

    fn add(&mut self, bytes: &[u8]) {
        let (first, rest) = bytes.split_at(bytes.len().min(Self::HALF.saturating_sub(self.head.len())));
        self.head.extend_from_slice(first);
        self.tail.extend_from_slice(rest);
        // In large steps, so that a stream of megabytes is not moved byte by byte.
        if self.tail.len() > 2 * Self::HALF {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let over = self.tail.len().saturating_sub(Self::HALF);
        self.gap |= over > 0;
        self.tail.drain(..over);
    }

    fn text(mut self) -> String {
        self.cut();
        let mut all = self.head;
        if self.gap {
            all.extend_from_slice(GAP.as_bytes());
        }
        all.extend_from_slice(&self.tail);
        String::from_utf8_lossy(&all).into_owned()
    }
}
