//! Where a configuration and its pid file are, and which process runs for it.

use nix::unistd::Pid;
use std::path::{Path, PathBuf};

pub struct Paths {
    pub config: PathBuf,
    /// Basename of the configuration as given, or `ldirectord`: stands in the pid file's name and in log lines.
    pub name: String,
    /// The argument as given, for `execute`.
    pub given: Option<String>,
    pub pid_file: PathBuf,
    pub run_dir: PathBuf,
}

impl Paths {
    pub fn find(given: Option<&str>, run_dir: &Path) -> Result<Paths, String> {
        let file = given.unwrap_or("ldirectord.cf");
        let places = [
            Path::new("/etc/ha.d").join(file.trim_start_matches('/')),
            Path::new("/etc/ha.d/conf").join(file.trim_start_matches('/')),
            PathBuf::from(file),
        ];
        let Some(config) = places.iter().find(|p| p.is_file()) else {
            // A director that runs is stopped and asked also when its file is gone.
            let all = places.iter().map(|place| Paths::of(place, given, run_dir));
            if let Some(running) = all.into_iter().find(|paths| paths.running().is_some()) {
                return Ok(running);
            }
            let tried: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            return Err(format!("configuration file {file} not found (looked for {})", tried.join(", ")));
        };
        Ok(Paths::of(config, given, run_dir))
    }

    fn of(config: &Path, given: Option<&str>, run_dir: &Path) -> Paths {
        let name = match given {
            Some(given) => Path::new(given).file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            None => "ldirectord".to_owned(),
        };
        Paths {
            config: std::path::absolute(config).unwrap_or_else(|_| config.to_owned()),
            pid_file: run_dir.join(format!("ldirectord.{name}.pid")),
            given: given.map(str::to_owned),
            run_dir: run_dir.to_owned(),
            name,
        }
    }

    /// The pid in the file, whether that process lives or not.
    pub fn recorded(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(&self.pid_file).ok()?;
        text.trim().parse().ok().filter(|p| *p > 0).map(Pid::from_raw)
    }

    /// The process that runs for this configuration: recorded, an ldirectord by its command line, and not for a file of the same name
    /// in another directory, whose pid file has the same name.
    pub fn running(&self) -> Option<Pid> {
        self.alive().filter(|pid| super::ask::runs_namesake(self, *pid).is_none())
    }

    /// The process and its file, if the pid file is held for another file of this name.
    pub fn namesake(&self) -> Option<(Pid, PathBuf)> {
        let pid = self.alive()?;
        super::ask::runs_namesake(self, pid).map(|file| (pid, file))
    }

    fn alive(&self) -> Option<Pid> {
        self.recorded().filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("ldirectord") && !is_zombie(*pid)
        })
    }
}

/// A process that has ended and only waits to be collected does not run.
fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}
