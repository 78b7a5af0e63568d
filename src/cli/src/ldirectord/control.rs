//! start, stop, reload and status of the daemon from outside.

use super::paths::Paths;
use super::{Ldirectord, exit};
use ::ldirectord::config::Accepted;
use nix::sys::signal::{Signal, kill};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long `stop` waits for the daemon to clear its table and end; then it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(12);

/// Starts the daemon as a process of its own; returns when it has set up the table, or with what it said when it could not.
pub fn start(args: &Ldirectord, paths: &Paths) -> i32 {
    if paths.running().is_some() {
        return exit::OK;
    }
    if let Some((pid, other)) = paths.namesake() {
        let (own, file) = (paths.config.display(), paths.pid_file.display());
        kernel::errln!(
            "ldirectord: process {pid} runs {}, which has the same name as {own}, and holds the pid file {file}; give one of the two \
             files another name",
            other.display()
        );
        return exit::FAILED;
    }
    if let Some(pid) = super::ask::run_by_node(paths) {
        return by_node(paths, pid, "started");
    }
    let exe = match std::env::current_exe() {
        Ok(exe) => exe,
        Err(e) => {
            kernel::errln!("ldirectord: cannot find this program: {e}");
            return exit::FAILED;
        }
    };
    let mut command = Command::new(exe);
    // The name that the original's own `status` looks for, and by which the applet is chosen.
    command.arg0("ldirectord").arg("--daemon").arg("--run-dir").arg(&paths.run_dir);
    command.arg("--state-dir").arg(&args.state_dir);
    if let Some(table) = &args.table {
        command.arg("--table").arg(table);
    }
    command.args(paths.given.iter().map(String::as_str).chain(["start"]));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            kernel::errln!("ldirectord: cannot start the daemon: {e}");
            return exit::FAILED;
        }
    };
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        // Ends with a line, or with the process.
        let _ = BufReader::new(out).read_line(&mut line);
    }
    if line.trim() == "ready" {
        return exit::OK;
    }
    match child.wait() {
        Ok(status) => status.code().unwrap_or(exit::FAILED),
        Err(_) => exit::FAILED,
    }
}

/// Two directors on one table would undo each other's work, and what the cluster starts the cluster stops.
fn by_node(paths: &Paths, pid: u32, what: &str) -> i32 {
    let file = paths.config.display();
    kernel::errln!(
        "ldirectord: process {pid} runs {file} as a resource of the cluster: there it is {what} (pcs resource …)"
    );
    exit::FAILED
}

/// Ends the daemon and waits until it is gone.
pub fn stop(paths: &Paths) -> i32 {
    let Some(pid) = paths.running() else {
        return match super::ask::run_by_node(paths) {
            Some(pid) => by_node(paths, pid, "stopped"),
            None => exit::OK,
        };
    };
    if let Err(e) = kill(pid, Signal::SIGTERM) {
        kernel::errln!("ldirectord: cannot stop process {pid}: {e}");
        return exit::FAILED;
    }
    let begin = Instant::now();
    let mut killed = false;
    while paths.running() == Some(pid) {
        if begin.elapsed() > STOP_DEADLINE && !killed {
            killed = true;
            kernel::errln!("ldirectord: process {pid} did not end within {} s and is killed", STOP_DEADLINE.as_secs());
            let _ = kill(pid, Signal::SIGKILL);
        }
        if begin.elapsed() > STOP_DEADLINE + Duration::from_secs(2) {
            return exit::FAILED;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    if killed {
        let _ = std::fs::remove_file(&paths.pid_file);
    }
    exit::OK
}

/// Asked over the control socket, which tells what came of it.
pub fn reload_by_force(paths: &Paths) -> i32 {
    match super::ask::reload(paths, true) {
        Ok(()) => exit::OK,
        Err(why) => {
            kernel::errln!("ldirectord: {why}");
            exit::FAILED
        }
    }
}

pub fn reload(paths: &Paths) -> i32 {
    let Some(pid) = paths.running() else {
        kernel::errln!("ldirectord is not running for {}", paths.config.display());
        return exit::FAILED;
    };
    match kill(pid, Signal::SIGHUP) {
        Ok(()) => exit::OK,
        Err(e) => {
            kernel::errln!("ldirectord: cannot signal process {pid}: {e}");
            exit::FAILED
        }
    }
}

/// Of the daemon and of the instances that it starts by `execute`; the first that does not run decides the exit code.
pub fn status(paths: &Paths, accepted: Option<&Accepted>) -> i32 {
    let mut code = one_status(paths);
    for name in accepted.map(|a| a.config.global.execute.as_slice()).unwrap_or_default() {
        let child = match Paths::find(Some(name), &paths.run_dir) {
            Ok(child) => one_status(&child),
            Err(why) => {
                kernel::errln!("ldirectord: {why}");
                exit::FAILED
            }
        };
        if code == exit::OK {
            code = child;
        }
    }
    code
}

fn one_status(paths: &Paths) -> i32 {
    let file = paths.config.display();
    if let Some(pid) = paths.running() {
        kernel::errln!("ldirectord for {file} is running with pid: {pid}");
        return exit::OK;
    }
    if let Some(pid) = super::ask::run_by_node(paths) {
        kernel::errln!("ldirectord for {file} is running with pid: {pid}, as a resource of the cluster");
        return exit::OK;
    }
    let namesake = paths.namesake();
    if let Some((pid, other)) = &namesake {
        kernel::errln!("ldirectord process {pid} runs another file of this name: {}", other.display());
    }
    let stale = namesake.is_none() && paths.pid_file.exists();
    if stale {
        kernel::errln!("ldirectord stale pid file {} for {file}", paths.pid_file.display());
    }
    kernel::outln!("ldirectord is stopped for {file}");
    if stale { exit::FAILED } else { exit::STOPPED }
}
