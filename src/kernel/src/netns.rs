//! Test hosts from namespaces, without `ip`, `unshare` or any other program.
//!
//! A [`Namespace`] is a network, mount, UTS, IPC and PID namespace of its own, held by one small process that is init
//! inside it. Everything that runs in it is a descendant of that PID namespace, so when init goes, all of it goes:
//!
//! ```text
//!   create ──► init waits for end-of-file on a pipe ──► exits ──► kernel kills whatever still runs inside
//!                       ▲                                  ▲
//!        creator drops the Namespace, or dies      kill(), kill -9
//! ```
//!
//! Only the creator holds the other end of that pipe, so nothing survives it, however it ends. `netns` changes nothing on
//! the host; what is inside (links, mounts) disappears with the namespace.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error("namespaces need root: {step}: {errno}")]
    NotPermitted { step: &'static str, errno: Errno },
    #[error("{step}: {errno}")]
    System { step: &'static str, errno: Errno },
    #[error("{0}: a path or name with a NUL byte")]
    Nul(String),
    #[error("namespace {0} is gone")]
    Gone(String),
    #[error("{step}: {source}")]
    Io { step: &'static str, source: io::Error },
    #[error("a thread inside namespace {0} panicked")]
    Panicked(String),
}

/// What a namespace gets besides an empty network with `lo` down.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Host name inside (and the name used in messages).
    pub hostname: String,
    /// Existing directories that become an empty tmpfs of their own. `/run` always does.
    pub tmpfs: Vec<PathBuf>,
    /// Directories or files `from` (outside) seen at `to` (must exist) inside.
    pub binds: Vec<(PathBuf, PathBuf)>,
}

impl Spec {
    pub fn new(hostname: &str) -> Spec {
        Spec { hostname: hostname.to_owned(), ..Spec::default() }
    }
}

/// A held namespace; dropping it ends everything inside.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    init: Pid,
    pidfd: OwnedFd,
    /// Closing it is what tells init to exit.
    hold: Option<OwnedFd>,
}

const EVERYTHING: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWPID);

impl Namespace {
    /// Makes the namespace and waits until its mounts stand.
    pub fn create(spec: &Spec) -> Result<Namespace, NetnsError> {
        let plan = Plan::new(spec)?;
        let (hold_read, hold_write) = pipe("hold pipe")?;
        let (ready_read, ready_write) = pipe("ready pipe")?;
        // SAFETY: without CLONE_VM this is fork(2) with new namespaces; the child runs only `init_process`, which
        // allocates nothing and takes no lock (other threads' locks may be held in its copy of the memory).
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                (EVERYTHING.bits() | libc::SIGCHLD) as libc::c_ulong,
                0usize,
                0usize,
                0usize,
                0usize,
            )
        };
        match pid {
            0 => init_process(&plan, hold_read.as_raw_fd(), ready_write.as_raw_fd()),
            p if p < 0 => return Err(system("clone", Errno::last())),
            _ => {}
        }
        let init = Pid::from_raw(pid as i32);
        drop(hold_read);
        drop(ready_write);
        let pidfd = pidfd_open(init).map_err(|e| system("pidfd_open", e))?;
        let made = Namespace { name: spec.hostname.clone(), init, pidfd, hold: Some(hold_write) };
        made.await_ready(ready_read)?;
        Ok(made)
    }

    /// Host name given at creation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of its init, as seen from outside.
    pub fn init_pid(&self) -> i32 {
        self.init.as_raw()
    }

    /// Runs `f` on a thread that has entered the namespace. Sockets opened there stay bound to it, and processes
    /// spawned there live in it. `f` must not start threads (the kernel refuses them across PID namespaces).
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        self.enter_with(EVERYTHING, f)
    }

    /// As [`run`](Self::run), but enters the network namespace only; `f` may start threads (they inherit it).
    pub fn run_net<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        self.enter_with(CloneFlags::CLONE_NEWNET, f)
    }

    /// Spawns a child process inside; it is our child and, like everything inside, dies with the namespace.
    pub fn spawn(&self, command: &mut std::process::Command) -> Result<std::process::Child, NetnsError> {
        self.run(|| command.spawn())?.map_err(|source| NetnsError::Io { step: "spawn", source })
    }

    /// SIGKILL for every process inside except init: what a power loss leaves of user space. Network, mounts and
    /// addresses stay as they are.
    pub fn kill_all(&self) -> Result<(), NetnsError> {
        // SAFETY: the forked child only calls kill and _exit, both async-signal-safe; `-1` reaches the PID namespace's
        // processes alone, since the thread entered it before the fork.
        let pid = self.run(|| unsafe {
            match libc::fork() {
                0 => {
                    if libc::getppid() == 0 {
                        libc::kill(-1, libc::SIGKILL);
                    }
                    libc::_exit(0)
                }
                pid => pid,
            }
        })?;
        if pid < 0 {
            return Err(system("fork", Errno::last()));
        }
        waitpid(Pid::from_raw(pid), None)
            .map(drop)
            .or_else(|e| if e == Errno::ECHILD { Ok(()) } else { Err(system("waitpid", e)) })
    }

    /// Ends the namespace now: init and all inside are killed.
    pub fn kill(mut self) {
        self.end();
    }

    fn enter_with<T: Send>(&self, flags: CloneFlags, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        let entered = || -> Result<T, NetnsError> {
            if flags.contains(CloneFlags::CLONE_NEWNS) {
                // A mount namespace can only be changed by a thread with its own root and working directory.
                unshare(CloneFlags::CLONE_FS).map_err(|e| system("unshare", e))?;
            }
            setns(&self.pidfd, flags).map_err(|e| {
                if e == Errno::ESRCH { NetnsError::Gone(self.name.clone()) } else { system("setns", e) }
            })?;
            Ok(f())
        };
        std::thread::scope(|scope| scope.spawn(entered).join())
            .unwrap_or_else(|_| Err(NetnsError::Panicked(self.name.clone())))
    }

    /// Init writes 8 bytes: step index and errno; step 0 is success.
    fn await_ready(&self, ready: OwnedFd) -> Result<(), NetnsError> {
        let mut answer = [0u8; 8];
        let got = nix::unistd::read(&ready, &mut answer).map_err(|e| system("read from init", e))?;
        if got != answer.len() {
            return Err(NetnsError::Gone(self.name.clone()));
        }
        let [a, b, c, d, e, f, g, h] = answer;
        let (step, errno) = (u32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h]));
        if step == 0 {
            Ok(())
        } else {
            Err(system(STEPS[(step as usize).min(STEPS.len() - 1)], Errno::from_raw(errno)))
        }
    }

    fn end(&mut self) {
        drop(self.hold.take());
        let init = self.init;
        let _ = kill(init, Signal::SIGKILL);
        // Init's exit is complete only when everything inside has been reaped, and the children spawned by `spawn` are
        // their owner's to reap, possibly after this call: so wait elsewhere.
        if !matches!(waitpid(init, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..))) {
            std::thread::spawn(move || while let Err(Errno::EINTR) = waitpid(init, None) {});
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.end();
    }
}

const STEPS: [&str; 7] = ["", "hostname", "private mounts", "mount /proc", "mount /sys", "tmpfs", "bind mount"];

fn system(step: &'static str, errno: Errno) -> NetnsError {
    if errno == Errno::EPERM { NetnsError::NotPermitted { step, errno } } else { NetnsError::System { step, errno } }
}

fn pipe(step: &'static str) -> Result<(OwnedFd, OwnedFd), NetnsError> {
    let (read, write) = io::pipe().map_err(|source| NetnsError::Io { step, source })?;
    Ok((read.into(), write.into()))
}

fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: a plain system call; the returned descriptor is ours alone (and close-on-exec by definition).
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        if fd < 0 { Err(Errno::last()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
    }
}

/// Everything init needs, allocated before the clone.
struct Plan {
    hostname: CString,
    tmpfs: Vec<CString>,
    binds: Vec<(CString, CString)>,
}

impl Plan {
    fn new(spec: &Spec) -> Result<Plan, NetnsError> {
        let c = |s: &OsStr| CString::new(s.as_bytes()).map_err(|_| NetnsError::Nul(s.to_string_lossy().into_owned()));
        let mut tmpfs = vec![c(OsStr::new("/run"))?];
        for dir in &spec.tmpfs {
            if dir != Path::new("/run") {
                tmpfs.push(c(dir.as_os_str())?);
            }
        }
        let binds = spec
            .binds
            .iter()
            .map(|(from, to)| Ok((c(from.as_os_str())?, c(to.as_os_str())?)))
            .collect::<Result<_, NetnsError>>()?;
        Ok(Plan { hostname: c(OsStr::new(&spec.hostname))?, tmpfs, binds })
    }
}

/// Body of the init process. Runs in a forked copy of a possibly multi-threaded process: system calls only.
fn init_process(plan: &Plan, hold: RawFd, ready: RawFd) -> ! {
    // SAFETY: system calls on descriptors and C strings that live in this process's own copy of the memory; the
    // descriptors kept (0: hold pipe, 1: ready pipe) are duplicated before the rest is closed.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_IGN); // orphans are reaped by the kernel
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::setsid(); // a terminal's Ctrl-C is for the creator to act upon
        let (hold, ready) = (libc::fcntl(hold, libc::F_DUPFD, 10), libc::fcntl(ready, libc::F_DUPFD, 10));
        libc::dup2(hold, 0);
        libc::dup2(ready, 1);
        libc::syscall(libc::SYS_close_range, 2, libc::c_uint::MAX, 0);
        let (step, errno) = match prepare(plan) {
            Ok(()) => (0, 0),
            Err((step, errno)) => (step, errno as i32),
        };
        let mut answer = [0u8; 8];
        answer[..4].copy_from_slice(&u32::to_ne_bytes(step));
        answer[4..].copy_from_slice(&i32::to_ne_bytes(errno));
        libc::write(1, answer.as_ptr().cast(), answer.len());
        libc::close(1);
        let mut byte = 0u8;
        if step == 0 {
            loop {
                let got = libc::read(0, (&raw mut byte).cast(), 1);
                if got == 0 || (got < 0 && Errno::last() != Errno::EINTR) {
                    break;
                }
            }
        }
        libc::_exit(0)
    }
}

fn prepare(plan: &Plan) -> Result<(), (u32, Errno)> {
    // SAFETY: see `init_process`; all pointers are to NUL-terminated strings that outlive the calls.
    unsafe {
        let check = |step: u32, rc: libc::c_int| if rc == 0 { Ok(()) } else { Err((step, Errno::last())) };
        let null = std::ptr::null();
        check(1, libc::sethostname(plan.hostname.as_ptr(), plan.hostname.as_bytes().len()))?;
        check(2, libc::mount(c"none".as_ptr(), c"/".as_ptr(), null, libc::MS_REC | libc::MS_PRIVATE, null.cast()))?;
        // A bind source may lie under what becomes a tmpfs, so binds come first.
        for (from, to) in &plan.binds {
            check(6, libc::mount(from.as_ptr(), to.as_ptr(), null, libc::MS_BIND | libc::MS_REC, null.cast()))?;
        }
        check(3, libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), 0, null.cast()))?;
        // /sys/class/net shows the network namespace of whoever mounted it. Not vital: some machines forbid it.
        libc::mount(c"sysfs".as_ptr(), c"/sys".as_ptr(), c"sysfs".as_ptr(), 0, null.cast());
        for dir in &plan.tmpfs {
            check(5, libc::mount(c"tmpfs".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), 0, c"mode=755".as_ptr().cast()))?;
        }
    }
    Ok(())
}

/// The network namespace descriptor of a held namespace, for moving links into it.
pub(crate) fn netns_fd(ns: &Namespace) -> Result<OwnedFd, NetnsError> {
    let path = format!("/proc/{}/ns/net", ns.init);
    std::fs::File::open(path)
        .map(OwnedFd::from)
        .map_err(|source| NetnsError::Io { step: "open network namespace", source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// A pidfd becomes readable when its process has ended.
    fn alive(fd: BorrowedFd<'_>) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0)
    }

    #[test]
    fn a_child_lives_inside_and_dies_with_the_namespace() {
        if !root() {
            return;
        }
        let ns = Namespace::create(&Spec::new("alpha")).unwrap();
        let out = ns
            .run(|| {
                Command::new("sh")
                    .args(["-c", "cat /proc/sys/kernel/hostname; ls /sys/class/net; ls /run | wc -l; echo $PPID"])
                    .output()
            })
            .unwrap()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out.stdout).split_whitespace().collect::<Vec<_>>(),
            ["alpha", "lo", "0", "0"]
        );
        let mut child = ns.spawn(Command::new("sleep").arg("100")).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        let start = Instant::now();
        ns.kill();
        assert!(!child.wait().unwrap().success());
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn kill_all_spares_init_and_the_network() {
        if !root() {
            return;
        }
        let ns = Namespace::create(&Spec::new("beta")).unwrap();
        let mut child = ns.spawn(Command::new("sleep").arg("100")).unwrap();
        ns.kill_all().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(alive(ns.pidfd.as_fd()));
        assert!(ns.run(|| std::fs::read_to_string("/proc/sys/kernel/hostname")).unwrap().unwrap().starts_with("beta"));
    }

    #[test]
    fn a_bind_is_seen_and_a_bad_one_is_named() {
        if !root() {
            return;
        }
        let dir = std::env::temp_dir();
        let spec = Spec { binds: vec![(dir.clone(), "/mnt".into())], ..Spec::new("gamma") };
        let ns = Namespace::create(&spec).unwrap();
        assert!(ns.run(|| std::fs::read_dir("/mnt").is_ok()).unwrap());
        let bad = Spec { binds: vec![(dir, "/does/not/exist".into())], ..Spec::new("delta") };
        assert!(matches!(
            Namespace::create(&bad),
            Err(NetnsError::System { step: "bind mount", errno: Errno::ENOENT })
        ));
    }
}
