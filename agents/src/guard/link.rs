//! The daemon's end of the pipe; starts the guard process and starts it again if it dies.

use super::Line;
use crate::lease::Vip;
use base::lease::Bounds;
use std::collections::{BTreeSet, VecDeque};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Least time between two starts of the guard process.
const RESTART_EVERY: Duration = Duration::from_secs(1);
/// Wanted size of the pipe: more than all holds together, so that they are never waiting.
const PIPE_BYTES: i32 = 1 << 20;
/// Bytes that wait for a guard that does not read; with more it is replaced.
const MAX_WAITING: usize = 4 << 20;

/// Connection to the guard process, or none (tests, and hosts that hold no address).
pub struct GuardLink {
    program: Option<PathBuf>,
    child: Option<Child>,
    held: BTreeSet<Vip>,
    started: Option<Instant>,
    /// What the pipe had no room for yet.
    waiting: VecDeque<u8>,
    /// Since when the pipe takes nothing.
    blocked: Option<Instant>,
}

impl GuardLink {
    /// Starts `program guard` (this very binary, normally).
    pub fn start(program: PathBuf) -> GuardLink {
        let mut link = GuardLink::none();
        link.program = Some(program);
        link.restart();
        link
    }

    /// No guard: the lease alone protects.
    pub fn none() -> GuardLink {
        GuardLink {
            program: None,
            child: None,
            held: BTreeSet::new(),
            started: None,
            waiting: VecDeque::new(),
            blocked: None,
        }
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
        // What waits is a sign of life as well; a guard that holds nothing waits for none.
        if !self.waiting.is_empty() {
            self.flush();
        } else if self.holds() {
            self.say(&Line::Beat);
        }
    }

    /// Whether there is anything that the guard would have to take away.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    pub(crate) fn hold_vip(&mut self, vip: &Vip) {
        self.held.insert(vip.clone());
        self.say(&Line::Hold(vip.clone()));
    }

    pub(crate) fn drop_vip(&mut self, vip: &Vip) {
        self.held.remove(vip);
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
        self.waiting.clear();
        self.blocked = None;
        if let Some(pipe) = self.child.as_ref().and_then(|c| c.stdin.as_ref()) {
            use nix::fcntl::{FcntlArg, OFlag, fcntl};
            if let Err(error) = fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
                tracing::warn!(%error, "pipe to the guard stays blocking");
            }
            // Refused without the right to it; then more waits here.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
        for vip in self.held.clone() {
            self.say(&Line::Hold(vip));
        }
    }

    fn say(&mut self, line: &Line) {
        if self.child.is_none() {
            return;
        }
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        self.waiting.extend(text);
        self.flush();
    }

    /// The pipe does not block: a stopped guard must not stop the keeper. One that does not read for as long as it would
    /// let a daemon hang is replaced; the next one hears of all addresses anew.
    fn flush(&mut self) {
        let Some(child) = &mut self.child else { return };
        let Some(pipe) = &mut child.stdin else { return };
        while !self.waiting.is_empty() {
            match pipe.write(self.waiting.as_slices().0) {
                Ok(0) => return,
                Ok(written) => {
                    self.waiting.drain(..written);
                    self.blocked = None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let since = *self.blocked.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Bounds::STANDARD.hung || self.waiting.len() > MAX_WAITING {
                        tracing::warn!("the guard does not read; replacing it");
                        let _ = child.kill();
                        self.waiting.clear();
                    }
                    return;
                }
                Err(error) => {
                    // It has ended; the next beat starts another.
                    tracing::warn!(%error, "the guard's pipe is broken");
                    self.waiting.clear();
                    return;
                }
            }
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
