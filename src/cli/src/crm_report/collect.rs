//! What one host has to tell: what its commands say, its files and logs, the inputs of its transitions.

use super::conceal::Conceal;
use super::when::{self, Window};
use super::{ANALYSIS, COROSYNC_CONF, pack};
use crate::source::{Failure, Source, now};
use base::WallTime;
use bzip2::Compression;
use bzip2::write::BzEncoder;
use regex::Regex;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::api::NodeStatus;

/// Of a log or a file, its end.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Of what one command says.
const MAX_SAID_BYTES: u64 = 64 << 20;
/// Inputs of transitions of one node.
const MAX_INPUTS: usize = 500;
/// Lines of [`ANALYSIS`].
const MAX_TELLING: usize = 2000;
/// How long a command may take, in seconds.
const PATIENCE_S: u64 = 60;

/// What is looked for in logs.
pub const TELLING: &[&str] = &[r"\b(CRIT|ERROR|EMERG)\b", r"\b(crit|error)(ical)?:", r"\bpanicked\b"];

/// Our own commands, and the files for what they say.
const SAYS: &[(&str, &[&str])] = &[
    ("crm_mon.txt", &["crm_mon", "-1", "-rfAtc", "-m3"]),
    ("crm_mon.xml", &["crm_mon", "-1", "--output-as=xml"]),
    ("crm_verify.txt", &["crm_verify", "-LV"]),
    ("members.txt", &["crm_node", "-l"]),
    ("quorum.txt", &["corosync-quorumtool", "-s"]),
    ("links.txt", &["corosync-cfgtool", "-n"]),
    ("arbitrator.txt", &["corosync-qdevice-tool", "-s"]),
    ("cmap.txt", &["corosync-cmapctl"]),
    ("groups.txt", &["corosync-cpgtool"]),
    ("blackbox.txt", &["corosync-blackbox"]),
    ("fencing.txt", &["stonith_admin", "--history", "*", "-V"]),
    ("plan.txt", &["crm_simulate", "-LsR"]),
    ("ipvs.txt", &["ipvsadm", "-ln", "--stats"]),
    ("doctor.txt", &["doctor"]),
];
/// The host's commands.
const HOST_SAYS: &[(&str, &[&str])] = &[
    ("addresses.txt", &["ip", "address"]),
    ("routes.txt", &["ip", "route", "show", "table", "all"]),
    ("processes.txt", &["ps", "axf", "-o", "pid,etime,rss,stat,args"]),
    ("disks.txt", &["df", "-h"]),
];
const FILES: &[&str] = &["/etc/ha.d/ldirectord.cf", "/etc/booth/booth.conf", "/etc/default/sbd", "/etc/hosts"];
/// Where logs are that no configuration names.
const LOGS: &[&str] = &["/var/log/cluster/corosync.log", "/var/log/pacemaker.log", "/var/log/ldirectord.log"];

pub struct Wanted<'a> {
    pub window: Window,
    /// Logs that nobody named are looked for.
    pub search: bool,
    pub logs: &'a [PathBuf],
    pub conceal: &'a Conceal,
    pub telling: &'a [Regex],
}

/// Fills `dir` with all that this host has to tell.
pub fn gather(source: &Source, status: Option<&NodeStatus>, wanted: &Wanted<'_>, dir: &Path) -> Result<(), Failure> {
    let cib = source.cib().ok();
    let kept = cib.is_none().then(|| state_dir().join("cib.xml")).and_then(|p| std::fs::read_to_string(p).ok());
    let cib = cib.or_else(|| xml::parse(&kept?).ok());
    if let Some(cib) = &cib {
        wanted.conceal.learn(cib);
        learn_kept_apart(wanted.conceal, cib);
        pack::write(&dir.join("cib.xml"), &wanted.conceal.text(&cib.to_pretty()))?;
    }
    let mark = if status.is_some() { "RUNNING" } else { "STOPPED" };
    pack::write(&dir.join(mark), "")?;
    pack::write(&dir.join("sysinfo.txt"), &system())?;
    if let Some(status) = status {
        let text = serde_json::to_string_pretty(status).unwrap_or_default();
        pack::write(&dir.join("status.json"), &wanted.conceal.text(&text))?;
        let timeline = source.client().and_then(|c| c.get::<serde_json::Value>("/v1/timeline").ok());
        if let Some(timeline) = timeline {
            pack::write(&dir.join("timeline.json"), &wanted.conceal.text(&format!("{timeline:#}\n")))?;
        }
    }
    let own = std::env::current_exe().unwrap_or_else(|_| "bascule".into());
    for (file, line) in SAYS {
        said(wanted, dir, file, &mut Command::new(&own), line)?;
    }
    for (file, line) in HOST_SAYS {
        said(wanted, dir, file, &mut Command::new(line[0]), &line[1..])?;
    }
    let running: Vec<(&str, &str)> =
        status.into_iter().flat_map(|s| &s.configuration).map(|(k, v)| (k.as_str(), v.as_str())).collect();
    for file in FILES.iter().chain([&COROSYNC_CONF]).map(Path::new) {
        if let Ok(bytes) = kernel::files::read_regular(file, MAX_FILE_BYTES) {
            let text = wanted.conceal.text(&String::from_utf8_lossy(&bytes));
            pack::write(&dir.join(file.file_name().unwrap_or_default()), &text)?;
        }
    }
    let mut telling = String::new();
    logs(wanted, &running, dir, &mut telling)?;
    pack::write(&dir.join(ANALYSIS), &telling)?;
    inputs(wanted, dir)
}

fn state_dir() -> PathBuf {
    std::env::var_os("BASCULE_STATE_DIR").unwrap_or_else(|| wire::api::DEFAULT_STATE_DIR.into()).into()
}

/// Values that `cibsecret` keeps on this host; they may still stand in a log.
fn learn_kept_apart(conceal: &Conceal, cib: &xml::Element) {
    use base::secret::{DIR, DIR_VAR, ELSEWHERE, MAX_BYTES, place};
    let dir: PathBuf = std::env::var_os(DIR_VAR).unwrap_or_else(|| DIR.into()).into();
    for r in cib.descendants().filter(|e| e.name() == "primitive") {
        for p in r.descendants().filter(|p| p.attr("value") == Some(ELSEWHERE)) {
            let at = r.id().zip(p.attr("name")).and_then(|(id, name)| place(&dir, id, name));
            let value = at.and_then(|at| kernel::files::read_regular(&at.value, MAX_BYTES).ok());
            value.into_iter().for_each(|v| conceal.learn_value(&String::from_utf8_lossy(&v)));
        }
    }
}

fn system() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
    let memory: Vec<String> = read("/proc/meminfo").lines().take(3).map(str::to_owned).collect();
    format!(
        "Host: {}\nBascule: {}\nSystem: {name}\nKernel: {}Time: {}\nLoad: {}Up (s): {}{}\n",
        crate::source::host_name(),
        env!("CARGO_PKG_VERSION"),
        read("/proc/version"),
        crate::clock::stamp(now()),
        read("/proc/loadavg"),
        read("/proc/uptime"),
        memory.join("\n")
    )
}

/// A command's answer; errors are an answer too.
fn said(wanted: &Wanted<'_>, dir: &Path, file: &str, command: &mut Command, words: &[&str]) -> Result<(), Failure> {
    let out = run(command.args(words));
    let text = out.unwrap_or_else(|e| format!("{}: {e}\n", command.get_program().display()));
    pack::write(&dir.join(file), &wanted.conceal.text(&text))
}

/// All that it writes, within time and size.
fn run(command: &mut Command) -> std::io::Result<String> {
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds the other end, and would keep it open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = reader.take(MAX_SAID_BYTES).read_to_end(&mut bytes);
        drop(done);
        read.map(|_| bytes)
    });
    let late = ended.recv_timeout(std::time::Duration::from_secs(PATIENCE_S))
        == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    if late {
        let _ = child.kill();
    }
    let _ = child.wait();
    let bytes = reading.join().map_err(|_| std::io::Error::other("it was not read"))??;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if late {
        let _ = writeln!(text, "\n(ended after {PATIENCE_S} s)");
    }
    Ok(text)
}

fn logs(wanted: &Wanted<'_>, running: &[(&str, &str)], dir: &Path, telling: &mut String) -> Result<(), Failure> {
    let window = &wanted.window;
    let mut files: Vec<PathBuf> = wanted.logs.to_vec();
    if wanted.search {
        let named = running.iter().filter(|(key, _)| *key == "logging.logfile").map(|(_, value)| PathBuf::from(value));
        files.extend(named.chain(LOGS.iter().map(PathBuf::from)));
        let mut journal = Command::new("journalctl");
        journal.args(["--no-pager", "-o", "short-iso-precise", "-u", "bascule*", "-u", "booth*", "-u", "sbd*", "-k"]);
        journal.arg("--since").arg(format!("@{}", window.from.secs()));
        journal.arg("--until").arg(format!("@{}", window.to.secs().saturating_add(1)));
        if let Ok(text) = run(&mut journal) {
            keep_log(wanted, &dir.join("journal.log"), &text, telling)?;
        }
    }
    let mut seen = BTreeSet::new();
    for file in files {
        let Some(name) = file.file_name().map(|n| n.to_string_lossy().into_owned()) else { continue };
        if !seen.insert(file.clone()) {
            continue;
        }
        match end_of(&file) {
            Ok(text) => keep_log(wanted, &dir.join(name), &within(&text, window), telling)?,
            Err(e) if wanted.logs.contains(&file) => {
                pack::write(&dir.join(format!("{name}.missing")), &format!("{}: {e}\n", file.display()))?;
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn keep_log(wanted: &Wanted<'_>, to: &Path, text: &str, telling: &mut String) -> Result<(), Failure> {
    let text = wanted.conceal.text(text);
    let name = to.file_name().unwrap_or_default().display();
    let lines = text.lines().filter(|line| wanted.telling.iter().any(|p| p.is_match(line)));
    for line in lines.take(MAX_TELLING.saturating_sub(telling.lines().count())) {
        let _ = writeln!(telling, "{name}: {line}");
    }
    pack::write(to, &text)
}

fn end_of(file: &Path) -> std::io::Result<String> {
    let mut open = kernel::files::open_regular(file)?;
    let length = open.metadata()?.len();
    open.seek(SeekFrom::Start(length.saturating_sub(MAX_FILE_BYTES)))?;
    let mut bytes = Vec::new();
    open.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lines of that time; one that tells no time goes with the line before. A log that tells none at all is kept whole.
fn within(text: &str, window: &Window) -> String {
    let now = now();
    let mut last: Option<WallTime> = None;
    let mut kept = String::new();
    for line in text.lines() {
        last = when::of_line(line, now).or(last);
        if last.is_none_or(|at| window.holds(at)) {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// What transitions of that time were made from, without its secrets.
fn inputs(wanted: &Wanted<'_>, dir: &Path) -> Result<(), Failure> {
    for (from, to) in [(wire::api::INPUTS_DIR, "pengine"), ("failed-transitions", "failed-transitions")] {
        let Ok(entries) = std::fs::read_dir(state_dir().join(from)) else { continue };
        let mut files: Vec<(i64, PathBuf)> = entries
            .flatten()
            .filter_map(|e| Some((e.metadata().ok()?.mtime(), e.path())))
            .filter(|(at, _)| wanted.window.holds(WallTime::from_secs(*at)))
            .filter(|(_, path)| path.extension().is_some_and(|end| end == "bz2" || end == "xml"))
            .collect();
        files.sort();
        for (_, path) in files.iter().rev().take(MAX_INPUTS) {
            // One that is being replaced is no loss.
            let Ok(text) = crate::cibadmin::text_of(path) else { continue };
            if let Ok(cib) = xml::parse(&text) {
                wanted.conceal.learn(&cib);
            }
            let text = wanted.conceal.text(&text);
            let kept = pack::made(&dir.join(to))?.join(path.file_name().unwrap_or_default());
            let bytes = match path.extension().is_some_and(|end| end == "bz2") {
                true => packed(&text),
                false => Ok(text.into_bytes()),
            };
            let bytes = bytes.map_err(|e| pack::cannot(&kept, &e))?;
            std::fs::write(&kept, bytes).map_err(|e| pack::cannot(&kept, &e))?;
        }
    }
    Ok(())
}

fn packed(text: &str) -> std::io::Result<Vec<u8>> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_time_in_question_stays() {
        let at = |s: i64| WallTime::from_secs(1_800_000_000 + s);
        let window = Window { from: at(10), to: at(20) };
        let text = "2027-01-15T08:00:05Z a\n2027-01-15T08:00:15Z b\n  more of b\n2027-01-15T08:00:25Z c\n  more of c\n";
        assert_eq!(within(text, &window), "2027-01-15T08:00:15Z b\n  more of b\n");
        assert_eq!(within("no times\nat all\n", &window), "no times\nat all\n");
    }

    #[test]
    fn a_command_is_heard_on_both_ways_and_not_for_ever() {
        let said = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).expect("it runs");
        assert_eq!(said, "out\nerr\n");
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }
}
