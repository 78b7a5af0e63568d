//! `pcs qdevice`: the arbitrator on this host, which is `bascule qnetd` as the unit `bascule-qnetd.service`.

use crate::corosync::{ask_qnetd, qnetd_pid, quoted_word};
use crate::edit::error;
use crate::grammar::Line;
use crate::source::Failure;
use std::path::Path;
use std::process::Command;

const UNIT: &str = "bascule-qnetd.service";
/// What `corosync-qnetd-certutil` makes.
const STORE: &str = "/etc/corosync/qnetd/tls";

pub fn run(line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["status", model, cluster @ ..] => net(model).and_then(|()| status(cluster.first(), line.has("--full"))),
        ["setup", "model", model] => net(model).and_then(|()| setup(line)),
        ["start", model] => net(model).and_then(|()| start()),
        ["stop", model] => net(model).and_then(|()| stop(line.has("--force"))),
        ["kill", model] => net(model).and_then(|()| kill()),
        ["enable", model] => net(model).and_then(|()| enable(true)),
        ["disable", model] => net(model).and_then(|()| enable(false)),
        ["destroy", model] => net(model).and_then(|()| destroy(line.has("--force"))),
        _ => Err(error(format!("unknown command 'qdevice {}' (see: pcs help)", words.join(" ")))),
    }
}

fn net(model: &str) -> Result<(), Failure> {
    match model {
        "net" => Ok(()),
        _ => Err(error(format!("'{model}' is not a valid model value, use 'net'"))),
    }
}

fn status(cluster: Option<&&str>, full: bool) -> Result<String, Failure> {
    let verbose = if full { "verbose " } else { "" };
    let of = cluster.map_or(String::new(), |c| format!("cluster {} ", quoted_word(c)));
    let ask = |line: String| ask_qnetd(&line).map_err(|_| error("Quorum device 'net' is not running"));
    Ok(ask(format!("status {verbose}"))? + &ask(format!("list {verbose}{of}"))? + "\n")
}

fn setup(line: &Line) -> Result<String, Failure> {
    if Path::new(STORE).exists() {
        return Err(error("Quorum device 'net' has been already initialized"));
    }
    let program = std::env::current_exe().map_err(|e| error(format!("this program cannot be found: {e}")))?;
    let made = Command::new(program).args(["corosync-qnetd-certutil", "-i"]).output();
    let made = made.map_err(|e| error(format!("Unable to initialize quorum device 'net': {e}")))?;
    if !made.status.success() {
        let why = String::from_utf8_lossy(&made.stderr).trim_end().to_owned();
        return Err(error(format!("Unable to initialize quorum device 'net': {why}")));
    }
    kernel::errln!("Quorum device 'net' initialized");
    if line.has("--enable") {
        enable(true)?;
    }
    if line.has("--start") {
        start()?;
    }
    Ok(String::new())
}

fn start() -> Result<String, Failure> {
    kernel::errln!("Starting quorum device...");
    systemctl("start", &format!("or run it otherwise: {}", "bascule qnetd"))?;
    kernel::errln!("quorum device started");
    Ok(String::new())
}

/// Over its socket where systemd does not run it.
fn stop(force: bool) -> Result<String, Failure> {
    unused(force)?;
    kernel::errln!("Stopping quorum device...");
    if systemctl("stop", "").is_err() && qnetd_pid().is_some() {
        ask_qnetd("shutdown ").map_err(|e| error(format!("Unable to stop the arbitrator: {}", e.message)))?;
    }
    kernel::errln!("quorum device stopped");
    Ok(String::new())
}

/// Clusters lose their arbitrator with it.
fn unused(force: bool) -> Result<(), Failure> {
    let clusters = ask_qnetd("list ").unwrap_or_default();
    let names: Vec<String> = clusters
        .lines()
        .filter_map(|l| l.strip_prefix("Cluster \"")?.strip_suffix("\":"))
        .map(|n| format!("'{n}'"))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let text = format!("Quorum device is currently being used by cluster(s): {}", names.join(", "));
    if force {
        super::report::warn(&text);
        return Ok(());
    }
    Err(error(format!("{text}, use --force to override")))
}

fn kill() -> Result<String, Failure> {
    use nix::sys::signal::{Signal, kill};
    if let Some(pid) = qnetd_pid() {
        kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL)
            .map_err(|e| error(format!("Unable to kill the arbitrator, process {pid}: {e}")))?;
    }
    kernel::errln!("quorum device killed");
    Ok(String::new())
}

fn enable(on: bool) -> Result<String, Failure> {
    let verb = if on { "enable" } else { "disable" };
    systemctl(verb, "")?;
    kernel::errln!("quorum device {verb}d");
    Ok(String::new())
}

fn destroy(force: bool) -> Result<String, Failure> {
    stop(force)?;
    // A unit that was never installed is disabled.
    match systemctl("disable", "") {
        Ok(()) => kernel::errln!("quorum device disabled"),
        Err(why) => super::report::warn(&why.message),
    }
    match std::fs::remove_dir_all(STORE) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(error(format!("Unable to destroy quorum device 'net': {STORE}: {e}")))
        }
        _ => {
            kernel::errln!("Quorum device 'net' configuration files removed");
            Ok(String::new())
        }
    }
}

fn systemctl(verb: &str, otherwise: &str) -> Result<(), Failure> {
    let failed = |why: &str| {
        let hint = if otherwise.is_empty() { String::new() } else { format!("; {otherwise}") };
        error(format!("Unable to {verb} {UNIT}: {why}{hint}"))
    };
    let out = Command::new("systemctl").args([verb, UNIT]).output().map_err(|e| failed(&format!("systemctl: {e}")))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&out.stderr).trim_end())),
    }
}
