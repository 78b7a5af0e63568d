//! Places of this host: the console, syslog, a program, and net-snmp's `snmptrap`.

use super::event::Event;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take; then it is killed with all that it has started.
const PROGRAM_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SYSLOG_SOCKET: &str = "/dev/log";
/// `daemon.notice` (RFC 5424, 6.2.1).
const PRIORITY: u8 = 3 * 8 + 5;
const SNMPTRAP: [&str; 2] = ["/usr/bin/snmptrap", "/usr/local/bin/snmptrap"];

/// Where events go.
pub(super) trait Place: Send {
    fn name(&self) -> String;
    fn tell(&mut self, event: &Event) -> Result<(), String>;
}

fn missed(event: &Event) -> Option<String> {
    (event.missed > 0).then(|| format!("{} events before this one were missed", event.missed))
}

pub(super) struct Console {
    pub json: bool,
}

impl Place for Console {
    fn name(&self) -> String {
        "standard output".to_owned()
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        if self.json {
            kernel::output::put(format!("{}\n", event.json()));
        } else {
            missed(event).into_iter().for_each(|m| kernel::output::put(format!("[warning] {m}\n")));
            kernel::output::put(format!("[notice] {}\n", event.line()));
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct Syslog(Option<UnixDatagram>);

impl Place for Syslog {
    fn name(&self) -> String {
        "syslog".to_owned()
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        let lines = missed(event).into_iter().chain([event.line()]);
        for line in lines {
            let packet = format!("<{PRIORITY}>notifyd[{}]: {line}", std::process::id());
            let open = || UnixDatagram::unbound().and_then(|s| s.connect(SYSLOG_SOCKET).map(|()| s));
            let sent = match self.0.take().map_or_else(open, Ok) {
                // A syslog that was restarted has another socket.
                Ok(socket) => socket.send(packet.as_bytes()).map(|_| socket).or_else(|_| {
                    let socket = open()?;
                    socket.send(packet.as_bytes()).map(|_| socket)
                }),
                Err(error) => Err(error),
            };
            self.0 = Some(sent.map_err(|e| format!("{SYSLOG_SOCKET}: {e}"))?);
        }
        Ok(())
    }
}

pub(super) struct Program(PathBuf);

impl Program {
    pub fn new(file: &Path) -> Result<Program, String> {
        use std::os::unix::fs::PermissionsExt;
        let meta = std::fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?;
        if !file.is_absolute() || !meta.is_file() || meta.permissions().mode() & 0o111 == 0 {
            return Err(format!("{}: expected the whole path of a program that may be run", file.display()));
        }
        Ok(Program(file.to_owned()))
    }
}

impl Place for Program {
    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        run(Command::new(&self.0).envs(event.environment()))
    }
}

pub(super) struct Snmp {
    program: PathBuf,
    manager: String,
    community: String,
}

impl Snmp {
    pub fn new(manager: &str, community: &str) -> Result<Snmp, String> {
        let program = SNMPTRAP.map(PathBuf::from).into_iter().find(|p| p.exists());
        let program = program.ok_or(
            "traps are sent by net-snmp's snmptrap, which is not on this host: install it (Debian: apt-get install snmp), \
             or use --program",
        )?;
        Ok(Snmp { program, manager: manager.to_owned(), community: community.to_owned() })
    }
}

impl Place for Snmp {
    fn name(&self) -> String {
        format!("SNMP manager {}", self.manager)
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        let (trap, variables) = event.trap();
        let mut command = Command::new(&self.program);
        command.args(["-v", "2c", "-c", &self.community, &self.manager, "", trap]);
        for (object, kind, value) in variables {
            command.args([object, &kind.to_string(), &value]);
        }
        run(&mut command)
    }
}

/// To its end, or to the end of its time.
fn run(command: &mut Command) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let end = Instant::now() + PROGRAM_WITHIN;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) if Instant::now() < end => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                kill(&mut child);
                return Err(format!("not done within {} s, and killed", PROGRAM_WITHIN.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn kill(child: &mut Child) {
    use nix::sys::signal::{Signal, killpg};
    if let Ok(group) = i32::try_from(child.id()) {
        // One that has just ended needs none.
        let _ = killpg(nix::unistd::Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::super::event::sample;
    use super::*;
    use wire::api::Change;

    #[test]
    fn a_program_is_told_by_its_environment_and_its_failure_is_known() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let (file, out) = (dir.path().join("tell"), dir.path().join("out"));
        let script = format!(
            "#!/bin/sh\necho \"$CRM_notify_kind $CRM_notify_text\" >> {}\nexit $CRM_notify_missed\n",
            out.display()
        );
        std::fs::write(&file, script).expect("written");
        assert!(Program::new(&file).is_err(), "it may not be run");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
        let mut program = Program::new(&file).expect("a program");
        let mut event = sample(Change::Quorum { quorate: false });
        assert_eq!(program.tell(&event), Ok(()));
        event.missed = 3;
        assert!(program.tell(&event).expect_err("it fails").contains('3'));
        let lines = std::fs::read_to_string(out).expect("read");
        assert_eq!(lines, "quorum n1[1] has lost quorum\nquorum n1[1] has lost quorum\n");
    }
}
