//! A running director of either kind: its configuration, its table, its processor time and memory.

use super::double;
use super::responder::{PORT, address, number};
use kernel::ipvs::{Ipvs, Memory};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Perl,
    Ours,
}

impl Kind {
    pub fn name(self) -> &'static str {
        if self == Kind::Perl { "perl" } else { "ours" }
    }
}

pub struct Director {
    kind: Kind,
    reals: usize,
    dir: tempfile::TempDir,
    child: Child,
}

impl Director {
    /// One virtual service with so many servers, which are asked for a page.
    pub fn start(kind: Kind, reals: usize, settings: &str) -> Result<Director, String> {
        let say = |e: std::io::Error| format!("{}: {e}", kind.name());
        let dir = tempfile::tempdir().map_err(say)?;
        let config = dir.path().join("bench.cf");
        let lines: String = (0..reals).map(|n| format!("    real={}:{PORT} masq 1\n", address(n))).collect();
        let log = dir.path().join("log");
        let text = format!(
            "{settings}supervised=yes\nlogfile=\"{}\"\nvirtual=10.0.0.1:80\n{lines}    service=http\n    request=\"index.html\"\n    \
             receive=\"alive\"\n    scheduler=wrr\n    protocol=tcp\n    checktype=negotiate\n",
            log.display()
        );
        std::fs::write(&config, text).map_err(say)?;
        let mut command = match kind {
            Kind::Perl => {
                let mut command = Command::new("/usr/sbin/ldirectord");
                command.env(double::FILE, dir.path().join("table"));
                command
            }
            Kind::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bascule"));
                command.arg("ldirectord").arg("--table").arg(dir.path().join("table.json"));
                command.arg("--run-dir").arg(dir.path()).arg("--state-dir").arg(dir.path());
                command
            }
        };
        command.arg(&config).arg("start").stdin(Stdio::null()).stdout(Stdio::null());
        let errors = std::fs::File::create(dir.path().join("errors")).map_err(say)?;
        let child = command.stderr(errors).spawn().map_err(say)?;
        Ok(Director { kind, reals, dir, child })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn describe(&self) -> String {
        let errors = std::fs::read_to_string(self.dir.path().join("errors")).unwrap_or_default();
        format!("{} with {} servers ({})", self.kind.name(), self.reals, errors.trim())
    }

    fn table(&self) -> PathBuf {
        self.dir.path().join(if self.kind == Kind::Perl { "table" } else { "table.json" })
    }

    /// Numbers of the servers that have weight.
    pub fn serving(&self) -> Vec<usize> {
        let rows: Vec<(String, bool)> = match self.kind {
            Kind::Perl => {
                double::read(&self.table()).unwrap_or_default().into_iter().map(|(r, w)| (r, w != "0")).collect()
            }
            Kind::Ours => {
                let Ok(mut memory) = Memory::load(&self.table()) else { return Vec::new() };
                let entries = memory.services().unwrap_or_default();
                let dests = entries.iter().flat_map(|e| &e.dests);
                dests.map(|d| (format!("{}:{}", d.dest.key.addr, d.dest.key.port), d.dest.weight > 0)).collect()
            }
        };
        let of = |real: &str| -> Option<usize> { number(real.rsplit_once(':')?.0.parse::<Ipv4Addr>().ok()?) };
        rows.iter().filter(|(_, weight)| *weight).filter_map(|(real, _)| of(real)).collect()
    }

    /// Of the director itself; the original's calls of ipvsadm are its children's.
    pub fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        // Fields 14 and 15 of proc(5), in hundredths of a second.
        (ticks(11) + ticks(12)) * 10.0
    }

    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }

    pub fn is_gone(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    pub fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        for _ in 0..100 {
            if self.is_gone() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Director {
    fn drop(&mut self) {
        if !self.is_gone() {
            self.stop();
        }
    }
}
