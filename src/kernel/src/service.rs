//! The node daemon as a service of this host: a unit where systemd runs, else a process of its own that outlives whoever started it.
#![allow(unsafe_code)]

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const UNIT: &str = "bascule.service";
/// Says which of the two it is: `systemd` or `direct`; else what runs here decides.
pub const CHOICE_VAR: &str = "BASCULE_SERVICES";
/// Without systemd: options of the node daemon, separated by blanks; a unit has its own.
pub const NODE_OPTIONS_VAR: &str = "BASCULE_NODE_OPTIONS";
const SYSTEMD: &str = "/run/systemd/system";
/// Until a daemon that was started answers or has ended.
const UP_WITHIN: Duration = Duration::from_secs(60);
/// Until a killed one is gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EACH: Duration = Duration::from_millis(20);
/// Of the log of one that has ended at once.
const TAIL_BYTES: u64 = 2000;
/// The other stack's daemons, by their units and the files that they keep while they run.
const FOREIGN: [(&str, &str); 2] = [("corosync", "/run/corosync.pid"), ("pacemaker", "/run/pacemakerd.pid")];

/// How the node daemon is run here.
#[derive(Clone, Debug)]
pub struct Service {
    pub systemd: bool,
    /// The program itself, and the words that make it the node.
    pub program: PathBuf,
    pub words: Vec<String>,
    /// Where it answers while it runs.
    pub socket: PathBuf,
    /// Without systemd: where what it says goes, and the mark that it shall run with the host.
    pub log: PathBuf,
    pub mark: PathBuf,
}

/// Whether services are systemd's here.
pub fn systemd_runs() -> bool {
    match std::env::var(CHOICE_VAR).as_deref() {
        Ok("systemd") => true,
        Ok("direct") => false,
        _ => Path::new(SYSTEMD).is_dir(),
    }
}

/// The words that make the program the node.
pub fn node_words() -> Vec<String> {
    let options = std::env::var(NODE_OPTIONS_VAR).unwrap_or_default();
    std::iter::once("node").chain(options.split_whitespace()).map(str::to_owned).collect()
}

impl Service {
    pub fn is_running(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    pub fn is_enabled(&self) -> bool {
        match self.systemd {
            true => systemctl(&["is-enabled", "--quiet", UNIT]).is_ok(),
            false => self.mark.exists(),
        }
    }

    /// Until it answers. Without systemd whoever goes on living gets the child, which is its to wait for.
    pub fn start(&self) -> Result<Option<Child>, String> {
        if self.is_running() {
            return Ok(None);
        }
        if self.systemd {
            let hint = "'journalctl -u bascule' tells more";
            systemctl(&["start", UNIT]).map_err(|why| format!("{why}; {hint}"))?;
            return Ok(None);
        }
        let mut child = self.spawn().map_err(|e| format!("{}: {e}", self.program.display()))?;
        let began = Instant::now();
        loop {
            if self.is_running() {
                return Ok(Some(child));
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the node daemon has ended ({status}):\n{}", tail(&self.log)));
            }
            if began.elapsed() > UP_WITHIN {
                return Err(format!("the node daemon does not answer; see {}", self.log.display()));
            }
            std::thread::sleep(LOOK_EACH);
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = crate::files::open_to_append(&self.log, true)?;
        let mut command = Command::new(&self.program);
        command.args(&self.words).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Not told to somebody else's service manager, whose socket this process may have.
        command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("WATCHDOG_PID");
        // SAFETY: between fork and exec only setsid(2) is called, which allocates nothing.
        unsafe {
            command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
        }
        command.spawn()
    }

    pub fn enable(&self, on: bool) -> Result<(), String> {
        if self.systemd {
            return systemctl(&[if on { "enable" } else { "disable" }, "--quiet", UNIT]);
        }
        let done = match on {
            true => crate::files::replace(&self.mark, b"", 0o600),
            false => match std::fs::remove_file(&self.mark) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        done.map_err(|e| format!("{}: {e}", self.mark.display()))
    }

    /// At once, whatever it holds; its guard takes the addresses away. Whether there was one.
    pub fn kill(&self) -> Result<bool, String> {
        let Some(pid) = self.pid() else { return Ok(false) };
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).map_err(|e| format!("process {pid}: {e}"))?;
        let began = Instant::now();
        while self.pid() == Some(pid) {
            if began.elapsed() > GONE_WITHIN {
                return Err(format!("process {pid} is killed, and still there"));
            }
            std::thread::sleep(LOOK_EACH);
        }
        Ok(true)
    }

    /// Of whoever answers at the socket.
    fn pid(&self) -> Option<nix::unistd::Pid> {
        let stream = UnixStream::connect(&self.socket).ok()?;
        let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials).ok()?;
        (peer.pid() > 1).then(|| nix::unistd::Pid::from_raw(peer.pid()))
    }
}

/// Daemons of corosync and Pacemaker that run here.
pub fn foreign() -> Vec<String> {
    let runs = |pid_file: &str| {
        let pid = std::fs::read_to_string(pid_file).ok().and_then(|t| t.trim().parse::<i32>().ok());
        pid.is_some_and(|pid| pid > 1 && nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok())
    };
    FOREIGN.iter().filter(|(_, file)| runs(file)).map(|(name, _)| (*name).to_owned()).collect()
}

/// What it says goes into the error.
pub fn systemctl(words: &[&str]) -> Result<(), String> {
    let told = |why: &str| format!("systemctl {}: {}", words.join(" "), why.trim());
    let output =
        Command::new("systemctl").args(words).stdin(Stdio::null()).output().map_err(|e| told(&e.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(told(&format!("{} ({})", String::from_utf8_lossy(&output.stderr).trim(), output.status))),
    }
}

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|e| format!("{}: {e}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(dir: &Path, script: &str) -> Service {
        Service {
            systemd: false,
            program: "/bin/sh".into(),
            words: vec!["-c".to_owned(), script.to_owned()],
            socket: dir.join("api.sock"),
            log: dir.join("log"),
            mark: dir.join("enabled"),
        }
    }

    #[test]
    fn one_that_ends_at_once_says_why_and_the_mark_comes_and_goes() {
        let dir = std::env::temp_dir().join(format!("bascule-service-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let service = service(&dir, "echo no such key >&2; exit 78");
        let why = service.start().expect_err("it ends");
        assert!(why.contains("no such key") && why.contains("78"), "{why}");
        assert!(!service.is_enabled() && !service.is_running());
        service.enable(true).expect("marked");
        assert!(service.is_enabled());
        service.enable(false).and_then(|()| service.enable(false)).expect("twice is once");
        assert!(!service.is_enabled());
        assert_eq!(service.kill(), Ok(false));
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
