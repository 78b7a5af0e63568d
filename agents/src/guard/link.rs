//! The daemon's end of the pipe; starts the guard process and starts it again if it dies.

use super::Line;
use crate::lease::Vip;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Least time between two starts of the guard process.
const RESTART_EVERY: Duration = Duration::from_secs(1);

/// Connection to the guard process, or none (tests, and hosts that hold no address).
pub struct GuardLink {
    program: Option<PathBuf>,
    child: Option<Child>,
    held: Vec<Vip>,
    started: Option<Instant>,
}

impl GuardLink {
    /// Starts `program guard` (this very binary, normally).
    pub fn start(program: PathBuf) -> GuardLink {
        let mut link = GuardLink { program: Some(program), child: None, held: Vec::new(), started: None };
        link.restart();
        link
    }

    /// No guard: the lease alone protects.
    pub fn none() -> GuardLink {
        GuardLink { program: None, child: None, held: Vec::new(), started: None }
    }

    /// Process id of the guard, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(crate) fn beat(&mut self) {
        if let Some(child) = &mut self.child
            && child.try_wait().is_ok_and(|s| s.is_some())
        {
            tracing::error!("the guard process has died; starting it again");
            self.child = None;
        }
        if self.child.is_none() {
            self.restart();
        }
        self.say(&Line::Beat);
    }

    pub(crate) fn hold_vip(&mut self, vip: &Vip) {
        self.held.push(vip.clone());
        self.say(&Line::Hold(vip.clone()));
    }

    pub(crate) fn drop_vip(&mut self, vip: &Vip) {
        self.held.retain(|v| v != vip);
        self.say(&Line::Drop(vip.clone()));
    }

    fn restart(&mut self) {
        let Some(program) = &self.program else { return };
        if self.started.is_some_and(|at| at.elapsed() < RESTART_EVERY) {
            return;
        }
        self.started = Some(Instant::now());
        let spawned = Command::new(program)
            .args(["guard", "--watch", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        match spawned {
            Ok(child) => self.child = Some(child),
            Err(error) => return tracing::error!(%error, "the guard process does not start; the lease alone protects"),
        }
        if let Some(pipe) = self.child.as_ref().and_then(|c| c.stdin.as_ref())
            && let Err(error) = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))
        {
            tracing::warn!(%error, "pipe to the guard stays blocking");
        }
        for vip in self.held.clone() {
            self.say(&Line::Hold(vip));
        }
    }

    /// The pipe does not block: a stopped guard must not stop the keeper. What does not fit is said again after its
    /// restart, since the guard is then killed.
    fn say(&mut self, line: &Line) {
        let Some(child) = &mut self.child else { return };
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let Some(pipe) = &mut child.stdin else { return };
        // Lines are far below PIPE_BUF, so a write is whole or not at all (pipe(7)).
        match pipe.write(&text) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if !matches!(line, Line::Beat) {
                    tracing::warn!("the guard does not read; replacing it");
                    let _ = child.kill();
                }
            }
            Err(error) => tracing::warn!(%error, "the guard's pipe is broken"),
        }
    }
}

impl Drop for GuardLink {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
