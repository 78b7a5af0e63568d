//! `pcs stonith sbd`: watchdog and shared disk of this node, through Debian's `sbd` and its file.
//!
//! The original asks the `pcsd` of every node. There is none here: what concerns another node is refused with what to do there.

use crate::edit::{error, pair};
use crate::grammar::Line;
use crate::source::{Failure, host_name};
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where the settings of `sbd` are: Debian's place, then Red Hat's.
const FILES: [&str; 2] = ["/etc/default/sbd", "/etc/sysconfig/sbd"];
/// Names another file.
const FILE_VAR: &str = "BASCULE_SBD_CONFIG";
/// Options of `enable`, and the values that each takes; none = a number of seconds.
const OPTIONS: [(&str, &[&str]); 4] = [
    ("SBD_DELAY_START", &["yes", "no"]),
    ("SBD_STARTMODE", &["always", "clean"]),
    ("SBD_TIMEOUT_ACTION", &["flush", "noflush", "reboot", "off", "crashdump"]),
    ("SBD_WATCHDOG_TIMEOUT", &[]),
];
/// What `enable` sets by other words than their names.
const SET_OTHERWISE: [&str; 4] = ["SBD_DEVICE", "SBD_OPTS", "SBD_PACEMAKER", "SBD_WATCHDOG_DEV"];
/// Times of a device, and the options of `sbd create` for them.
const TIMES: [(&str, &str); 4] =
    [("watchdog-timeout", "-1"), ("allocate-timeout", "-2"), ("loop-timeout", "-3"), ("msgwait-timeout", "-4")];
const MESSAGES: [&str; 6] = ["test", "reset", "off", "crashdump", "exit", "clear"];
/// More than this one node can have.
const MAX_DEVICES: usize = 3;

pub fn run(line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        ["status"] => Ok(status(line.has("--full"))),
        ["config"] => config(),
        ["enable", options @ ..] => enable(options, line.has("--force")),
        ["disable"] => disable(),
        ["watchdog", "list"] => watchdogs(),
        ["watchdog", "list", node] => here(node).and_then(|()| watchdogs()),
        ["watchdog", "test", device @ ..] => test(device.first().copied(), line.has("--force")),
        ["device", "setup", options @ ..] => setup(options, line.has("--force")),
        ["device", "message", device, node, message] => tell(device, node, message),
        _ => Err(error(format!("unknown command 'stonith sbd {}' (see: pcs help)", words.join(" ")))),
    }
}

fn file() -> PathBuf {
    let there = || FILES.iter().map(PathBuf::from).find(|f| f.exists());
    std::env::var_os(FILE_VAR).map(PathBuf::from).or_else(there).unwrap_or_else(|| FILES[0].into())
}

/// That a node is this one.
fn here(node: &str) -> Result<(), Failure> {
    if base::ids::same_node(node, &host_name()) {
        return Ok(());
    }
    let this = host_name();
    Err(error(format!("{node}: this command works on the node where it is run, which is {this}; run it on {node}")))
}

/// Runs a program to its end.
fn program(name: &str, args: &[&str]) -> Result<Output, Failure> {
    Command::new(name).args(args).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            error(format!("{name} is not installed on this node (Debian: apt install {name})"))
        }
        _ => error(format!("cannot run {name}: {e}")),
    })
}

fn done(what: &str, out: Output) -> Result<String, Failure> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match out.status.success() {
        true => Ok(said(&out.stdout)),
        false => Err(error(format!("{what}: {}", said(if out.stderr.is_empty() { &out.stdout } else { &out.stderr })))),
    }
}

/// `None` where systemd cannot be asked.
fn unit(question: &str) -> Option<bool> {
    // Its own words are for its own callers.
    Command::new("systemctl").args([question, "--quiet", "sbd.service"]).output().ok().map(|o| o.status.success())
}

fn status(full: bool) -> String {
    let installed = Command::new("sbd").arg("help").output().is_ok();
    let word = |answer: Option<bool>| match answer {
        Some(true) => "YES",
        Some(false) => " NO",
        None => "N/A",
    };
    let (enabled, running) = (word(unit("is-enabled")), word(unit("is-active")));
    let mut out = format!(
        "SBD STATUS\n<node name>: <installed> | <enabled> | <running>\n{}: {} | {enabled} | {running}\n",
        host_name(),
        word(Some(installed))
    );
    if full {
        for device in settings().get("SBD_DEVICE").map(String::as_str).unwrap_or_default().split(';') {
            let Some(list) =
                Some(device).filter(|d| !d.is_empty()).and_then(|d| program("sbd", &["-d", d, "list"]).ok())
            else {
                continue;
            };
            let text = String::from_utf8_lossy(&list.stdout).into_owned();
            out += &format!("\nMessages list on device '{device}':\n{}\n", text.trim_end());
        }
    }
    out
}

type Settings = std::collections::BTreeMap<String, String>;

/// Assignments as a shell would read them, without its other arts.
fn settings() -> Settings {
    let text = std::fs::read_to_string(file()).unwrap_or_default();
    let assignments = text.lines().filter_map(assignment);
    assignments.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn assignment(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.trim().split_once('=')?;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = value.trim();
    let inner = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    (plain && !name.is_empty()).then(|| (name, inner.unwrap_or(value)))
}

fn config() -> Result<String, Failure> {
    let settings = settings();
    if settings.is_empty() {
        return Err(error(format!("unable to get sbd configuration: {} has no settings", file().display())));
    }
    let shown = settings.iter().filter(|(n, _)| !SET_OTHERWISE.contains(&n.as_str()));
    let mut out: String = shown.map(|(name, value)| format!("{name}={value}\n")).collect();
    let node = host_name();
    out += &format!(
        "\nWatchdogs:\n  {node}: {}\n",
        settings.get("SBD_WATCHDOG_DEV").map_or("/dev/watchdog", String::as_str)
    );
    let devices: Vec<&str> =
        settings.get("SBD_DEVICE").map_or("", String::as_str).split(';').filter(|d| !d.is_empty()).collect();
    if !devices.is_empty() {
        out += &format!("\nDevices:\n  {node}: \"{}\"\n", devices.join("\", \""));
    }
    Ok(out)
}

/// Puts settings into the file; what stands there beside them stays.
fn write(new: &Settings) -> Result<(), Failure> {
    let path = file();
    let cannot = |e: std::io::Error| error(format!("cannot write {}: {e}", path.display()));
    let mut left = new.clone();
    let mut out = String::new();
    for line in std::fs::read_to_string(&path).unwrap_or_default().lines() {
        match assignment(line).and_then(|(name, _)| left.remove(name).map(|value| (name, value))) {
            Some((name, value)) => out += &format!("{name}=\"{value}\"\n"),
            // A second assignment would win.
            None if assignment(line).is_some_and(|(name, _)| new.contains_key(name)) => {}
            None => out += &format!("{line}\n"),
        }
    }
    left.iter().for_each(|(name, value)| out += &format!("{name}=\"{value}\"\n"));
    kernel::files::replace(&path, out.as_bytes(), 0o644).map_err(cannot)
}

fn enable(options: &[&str], force: bool) -> Result<String, Failure> {
    let mut new = Settings::new();
    let mut devices = Vec::new();
    for word in options {
        let (name, value) = pair(word)?;
        if value.contains(['"', '\'', '\\', '`', '$', '\n', ';']) {
            return Err(error(format!("'{value}' is not a valid {name} value")));
        }
        match name.as_str() {
            "watchdog" => drop(new.insert("SBD_WATCHDOG_DEV".to_owned(), of_this_node(&value)?)),
            "device" => devices.push(of_this_node(&value)?),
            _ => {
                check_option(&name, &value, force)?;
                new.insert(name, value);
            }
        }
    }
    if devices.len() > MAX_DEVICES {
        return Err(error(format!("At most {MAX_DEVICES} devices can be specified for a node")));
    }
    let watchdog = new.entry("SBD_WATCHDOG_DEV".to_owned()).or_insert_with(|| "/dev/watchdog".to_owned()).clone();
    for path in devices.iter().chain([&watchdog]) {
        if !path.starts_with('/') {
            return Err(error(format!("'{path}' is not an absolute path")));
        }
        if !Path::new(path).exists() && !force {
            return Err(error(format!("{path} does not exist on this node, use --force to override")));
        }
    }
    new.insert("SBD_DEVICE".to_owned(), devices.join(";"));
    program("sbd", &["help"])?;
    write(&new)?;
    done("cannot enable sbd", program("systemctl", &["enable", "sbd.service"])?)?;
    kernel::errln!("Warning: Cluster restart is required in order to apply these changes.");
    kernel::errln!("Warning: this node alone is set up; run the same command on every other node");
    Ok(format!("{}: sbd enabled\n", host_name()))
}

/// `PATH` or `PATH@NODE`.
fn of_this_node(value: &str) -> Result<String, Failure> {
    match value.rsplit_once('@') {
        Some((path, node)) => here(node).map(|()| path.to_owned()),
        None => Ok(value.to_owned()),
    }
}

fn check_option(name: &str, value: &str, force: bool) -> Result<(), Failure> {
    let names = || OPTIONS.map(|(n, _)| format!("'{n}'")).join(", ");
    if SET_OTHERWISE.contains(&name) {
        let text = format!("Cannot set SBD option(s) '{name}' via this command or they are managed by pcs");
        return Err(error(text));
    }
    let Some((_, values)) = OPTIONS.iter().find(|(n, _)| *n == name) else {
        return match force {
            true => Ok(()),
            false => Err(error(format!(
                "invalid SBD option '{name}', allowed options are: {}, use --force to override",
                names()
            ))),
        };
    };
    let fits = match values {
        [] => value.parse::<u32>().is_ok(),
        // Actions may be joined by a comma.
        values => value.split(',').all(|v| values.contains(&v)),
    };
    let expected = if values.is_empty() { "a non-negative integer".to_owned() } else { values.join(", ") };
    if fits { Ok(()) } else { Err(error(format!("'{value}' is not a valid {name} value, use {expected}"))) }
}

fn disable() -> Result<String, Failure> {
    done("cannot disable sbd", program("systemctl", &["disable", "sbd.service"])?)?;
    kernel::errln!("Warning: Cluster restart is required in order to apply these changes.");
    kernel::errln!("Warning: on this node alone; run the same command on every other node");
    Ok(format!("{}: sbd disabled\n", host_name()))
}

fn watchdogs() -> Result<String, Failure> {
    let found = std::fs::read_dir("/sys/class/watchdog").into_iter().flatten().flatten();
    let mut lines: Vec<String> = found
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let identity = std::fs::read_to_string(entry.path().join("identity")).unwrap_or_default();
            Some(format!("  /dev/{name}  {}", identity.trim()).trim_end().to_owned() + "\n")
        })
        .collect();
    lines.sort();
    Ok(match lines.is_empty() {
        true => "No available watchdog\n".to_owned(),
        false => format!("Available watchdog(s):\n{}", lines.concat()),
    })
}

/// Nothing that destroys is done without a yes or `--force`.
fn sure(question: &str, force: bool) -> Result<(), Failure> {
    if force {
        kernel::errln!("Warning: {question}");
        return Ok(());
    }
    kernel::errln!("WARNING: {question} Are you sure you want to continue? [y/N]");
    let mut answer = String::new();
    if std::io::stdin().is_terminal() {
        let _ = std::io::stdin().lock().read_line(&mut answer);
    }
    match ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        true => Ok(()),
        false => Err(error("not confirmed, use --force to do it without a question")),
    }
}

fn test(device: Option<&str>, force: bool) -> Result<String, Failure> {
    program("sbd", &["help"])?;
    sure("This operation is expected to force-reboot this system without following any shutdown procedures.", force)?;
    let device = device.map(|d| vec!["-w", d]).unwrap_or_default();
    let args: Vec<&str> = device.into_iter().chain(["test-watchdog"]).collect();
    done("Unable to initialize test of the watchdog", program("sbd", &args)?).map(|text| text + "\n")
}

fn setup(options: &[&str], force: bool) -> Result<String, Failure> {
    let (mut devices, mut times) = (Vec::new(), Vec::new());
    for word in options {
        let (name, value) = pair(word)?;
        match TIMES.iter().find(|(n, _)| *n == name) {
            _ if name == "device" => devices.push(value),
            Some((_, option)) if value.parse::<u32>().is_ok() => times.extend([(*option).to_owned(), value]),
            Some(_) => return Err(error(format!("'{value}' is not a valid {name} value, use a non-negative integer"))),
            None => {
                let allowed = TIMES.map(|(n, _)| format!("'{n}'")).join(", ");
                return Err(error(format!("invalid option '{name}', allowed options are: 'device', {allowed}")));
            }
        }
    }
    if devices.is_empty() {
        return Err(error("No device defined"));
    }
    program("sbd", &["help"])?;
    sure(&format!("All current content on device(s) '{}' will be overwritten.", devices.join("', '")), force)?;
    kernel::errln!("Initializing device(s) '{}'...", devices.join("', '"));
    let mut args: Vec<&str> = devices.iter().flat_map(|d| ["-d", d]).collect();
    args.extend(times.iter().map(String::as_str));
    args.push("create");
    done("Initialization of device(s) failed", program("sbd", &args)?)?;
    Ok("Device(s) initialized successfully\n".to_owned())
}

/// A message in the shared disk reaches another node.
fn tell(device: &str, node: &str, message: &str) -> Result<String, Failure> {
    if !MESSAGES.contains(&message) {
        return Err(error(format!("'{message}' is not a valid message value, use {}", MESSAGES.join(", "))));
    }
    let what = format!("Unable to set message '{message}' for node '{node}' on device '{device}'");
    done(&what, program("sbd", &["-d", device, "message", node, message])?)?;
    Ok(format!("Message '{message}' set for node '{node}' on device '{device}'\n"))
}
