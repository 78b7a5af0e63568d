//! Where the processes of one call are kept together, so that they can be ended together whatever they did.
//!
//! Two marks, since neither reaches everywhere: a control group of the call's own (cgroup v2), which needs a writable cgroup
//! tree; and a variable in the environment that every child inherits, which a child can take off. A process group alone is
//! neither: `setsid` leaves it.
//!
//! ```text
//!   OWN_CGROUP/bascule.PID.1/call-N    while the call runs
//!   OWN_CGROUP/bascule.PID.1/left      what calls left running when they ended well
//! ```

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Variable by which the processes of a call are known.
pub(crate) const MARK: &str = "BASCULE_CALL";
const PREFIX: &str = "bascule.";
/// Directories of one process; it needs one, its tests have more.
static DIRECTORIES: AtomicU64 = AtomicU64::new(1);
/// Times that processes are looked for while they are being killed: each may have had a child meanwhile.
const KILL_ROUNDS: u32 = 50;
const KILL_PAUSE: Duration = Duration::from_millis(5);
/// Times that what a call left is moved out of its group.
const LEAVE_ROUNDS: u32 = 5;

/// The groups of this process's calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Groups {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Without it, the environment's mark must do.
    dir: Option<PathBuf>,
    life: String,
    next: AtomicU64,
}

impl Groups {
    /// Makes this process's directory below its own control group; where that cannot be, says so in the log.
    pub fn here() -> Groups {
        let dir = own_directory().inspect_err(|error| {
            tracing::warn!("no control groups for agents ({error}): processes of an agent that hangs are found by their environment");
        });
        Groups::at(dir.ok())
    }

    pub(super) fn at(dir: Option<PathBuf>) -> Groups {
        let life = format!("{}.{}", std::process::id(), kernel::clock::boottime().as_micros());
        Groups { inner: Arc::new(Inner { dir, life, next: AtomicU64::new(1) }) }
    }

    #[cfg(test)]
    pub(super) fn has_directory(&self) -> bool {
        self.inner.dir.is_some()
    }

    pub(super) fn call(&self) -> Scope {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let dir = self.inner.dir.as_ref().map(|dir| dir.join(format!("call-{number}")));
        let dir = dir.filter(|dir| std::fs::create_dir(dir).is_ok());
        Scope { mark: format!("{}.{number}", self.inner.life), leader: None, dir, armed: true }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir {
            remove_empty(dir);
        }
    }
}

/// The processes of one call. Dropped before [`Scope::leave`], it kills them all.
#[derive(Debug)]
pub(super) struct Scope {
    mark: String,
    /// Leader of the process group.
    leader: Option<Pid>,
    dir: Option<PathBuf>,
    armed: bool,
}

impl Scope {
    /// What the environment must have.
    pub fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// Takes in the process that was just started. What it starts in the very first moment may stay outside the control group;
    /// the mark finds that.
    pub fn enter(&mut self, pid: Option<u32>) {
        self.leader = pid.and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        if let (Some(dir), Some(pid)) = (&self.dir, self.leader) {
            let _ = std::fs::write(dir.join("cgroup.procs"), pid.to_string());
        }
    }

    pub fn terminate(&self) {
        if let Some(leader) = self.leader {
            let _ = killpg(leader, Signal::SIGTERM);
        }
    }

    /// Whether somebody is left in the process group, be it a zombie.
    pub fn group_lives(&self) -> bool {
        self.leader.is_some_and(|leader| killpg(leader, None).is_ok())
    }

    /// Kills every process of the call; blocks for some milliseconds.
    pub fn kill(mut self) {
        self.kill_all();
    }

    /// The call has ended well: what it started on purpose runs on, outside the call's group.
    pub fn leave(mut self) {
        self.armed = false;
        let Some(dir) = &self.dir else { return };
        let left = dir.with_file_name("left");
        for _ in 0..LEAVE_ROUNDS {
            if std::fs::remove_dir(dir).is_ok() {
                return;
            }
            if std::fs::create_dir(&left).is_err_and(|e| e.kind() != io::ErrorKind::AlreadyExists) {
                return;
            }
            for pid in processes(dir) {
                let _ = std::fs::write(left.join("cgroup.procs"), pid.to_string());
            }
        }
    }

    fn kill_all(&mut self) {
        self.armed = false;
        for round in 0..KILL_ROUNDS {
            if let Some(leader) = self.leader {
                let _ = killpg(leader, Signal::SIGKILL);
            }
            let mut found = marked(&self.mark);
            if let Some(dir) = &self.dir {
                // Linux 5.14; it reaches children that are being born.
                let _ = std::fs::write(dir.join("cgroup.kill"), "1");
                found.extend(processes(dir));
            }
            for pid in &found {
                let _ = kill(*pid, Signal::SIGKILL);
            }
            if round > 0 && found.is_empty() {
                break;
            }
            std::thread::sleep(KILL_PAUSE);
        }
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if self.armed {
            self.kill_all();
        }
    }
}

/// `OWN_CGROUP/bascule.PID.1`, made now. Those of former processes go as far as nothing runs in them.
fn own_directory() -> io::Result<PathBuf> {
    let own = own_cgroup().ok_or_else(|| io::Error::other("cgroup v2 is not mounted"))?;
    for entry in std::fs::read_dir(&own)?.flatten() {
        let name = entry.file_name();
        let former = name.to_str().and_then(|n| n.strip_prefix(PREFIX)?.split('.').next()?.parse::<u32>().ok());
        if former.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_empty(&entry.path());
        }
    }
    let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
    let dir = own.join(format!("{PREFIX}{}.{number}", std::process::id()));
    match std::fs::create_dir(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display())))
        }
        _ => Ok(dir),
    }
}

/// This process's control group as a directory (cgroups(7), proc_pid_mountinfo(5)).
fn own_cgroup() -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::/"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|l| l.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    Some(Path::new(mount).join(path))
}

fn remove_empty(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        // Files of a control group go with it.
        let _ = std::fs::remove_dir(entry.path());
    }
    let _ = std::fs::remove_dir(dir);
}

fn processes(cgroup: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|l| l.parse().ok()).filter(|pid| *pid > 0).map(Pid::from_raw).collect()
}

/// Processes with this call's mark in their environment.
fn marked(mark: &str) -> BTreeSet<Pid> {
    let wanted = format!("{MARK}={mark}");
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|b| *b == 0).any(|variable| variable == wanted.as_bytes())
    };
    pids.filter(has).map(Pid::from_raw).collect()
}
