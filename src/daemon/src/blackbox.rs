//! The node's blackbox: what all its parts did of late, in bounded memory, written to the state directory when an operator asks, when
//! a thread panics, when a service manager aborts a node that hangs, and when the node ends against its will.
//!
//! It is made of what the timeline keeps of the cores, the newest lines of the log, and what the node showed last. `fdata` names the
//! newest file, as with corosync; the oldest of [`MAX_FILES`] gives way.

use crate::logging::recent;
use crate::node::Asker;
use crate::timeline::Timeline;
use base::Time;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use wire::api::{Blackbox, BlackboxRecord, BlackboxReply};

/// Files that stay.
const MAX_FILES: usize = 5;
/// So much time the disk has, where something ends or panics meanwhile.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// Panics that come sooner are not written once more: what they say is in the log.
const BETWEEN_PANICS: Duration = Duration::from_secs(60);
const PREFIX: &str = "fdata-";

/// What the process has to write.
pub(crate) struct Sources {
    pub timeline: Timeline,
    pub node: String,
    pub state_dir: PathBuf,
    pub asker: Asker,
}

static SOURCES: OnceLock<Sources> = OnceLock::new();
static LAST_PANIC: Mutex<Option<Instant>> = Mutex::new(None);

/// From now on there is something to write.
pub(crate) fn know(sources: Sources) {
    let _ = SOURCES.set(sources);
}

/// What is known now, and the file that it was written to. Waits for the disk.
pub(crate) fn write(reason: &str) -> Option<BlackboxReply> {
    let sources = SOURCES.get()?;
    let blackbox = gather(sources, reason);
    let name = format!("{PREFIX}{}-{}", crate::clock::wall_us(), std::process::id());
    let text = serde_json::to_vec_pretty(&blackbox).unwrap_or_default();
    let (file, problem) = match store(&sources.state_dir, &name, &text) {
        Ok(file) => (Some(file.display().to_string()), None),
        Err(error) => (None, Some(format!("{}: {error}", sources.state_dir.join(&name).display()))),
    };
    Some(BlackboxReply { file, problem, blackbox })
}

/// The node ends against its will.
pub(crate) fn ended(reason: &str) {
    if let Some(file) = soon(format!("the node ended: {reason}")) {
        tracing::info!("what happened before is written to {file}: corosync-blackbox shows it");
    }
}

/// The process was sent SIGABRT, and ends now.
pub(crate) fn aborted() {
    soon("the process was aborted: a service manager does that to a node that gives no sign of life".to_owned());
}

/// A thread panics.
pub(crate) fn panicked(text: &str) {
    if let Ok(mut last) = LAST_PANIC.try_lock() {
        if last.is_some_and(|at| at.elapsed() < BETWEEN_PANICS) {
            return;
        }
        *last = Some(Instant::now());
        drop(last);
        soon(format!("panic: {text}"));
    }
}

/// On a thread of its own, since a disk may hang.
fn soon(reason: String) -> Option<String> {
    SOURCES.get()?;
    let (to, written) = mpsc::channel();
    let thread = std::thread::Builder::new().name("blackbox".into());
    // Without a thread nothing is written, and without somebody who waits nobody is told.
    let _ = thread.spawn(move || to.send(write(&reason).and_then(|reply| reply.file)));
    written.recv_timeout(WRITE_WITHIN).ok()?
}

fn gather(sources: &Sources, reason: &str) -> Blackbox {
    let (timeline, (lines, lost)) = (sources.timeline.since(Time::ZERO), recent());
    let event = |e: wire::api::TimelineEvent| BlackboxRecord {
        wall_us: e.wall_us,
        kind: e.kind,
        subject: e.subject,
        text: e.text,
    };
    let mut records: Vec<BlackboxRecord> = timeline.events.into_iter().map(event).chain(lines).collect();
    // What was written at the same time keeps its order.
    records.sort_by_key(|r| r.wall_us);
    let shown = sources.asker.last();
    Blackbox {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: sources.node.clone(),
        pid: std::process::id(),
        reason: reason.to_owned(),
        wall_us: crate::clock::wall_us(),
        forgotten: timeline.forgotten + lost,
        records,
        status: shown.as_ref().map(|s| s.status.clone()),
        quorum: shown.map(|s| s.quorum.clone()),
    }
}

/// For root alone: names and addresses are in it.
fn store(dir: &Path, name: &str, text: &[u8]) -> std::io::Result<PathBuf> {
    let file = dir.join(name);
    kernel::files::replace(&file, text, 0o600)?;
    let (link, new) = (dir.join("fdata"), dir.join("fdata.new"));
    // One of a write that was cut off.
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(name, &new)?;
    std::fs::rename(&new, link)?;
    let mut old: Vec<PathBuf> = std::fs::read_dir(dir)?
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|e| e.path())
        .collect();
    old.sort();
    let surplus = old.len().saturating_sub(MAX_FILES);
    for file in &old[..surplus] {
        std::fs::remove_file(file)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_file_is_named_and_the_oldest_give_way() {
        let dir = tempfile::tempdir().expect("a directory");
        let names: Vec<String> = (0..MAX_FILES + 3).map(|n| format!("{PREFIX}100{n}-7")).collect();
        for name in &names {
            store(dir.path(), name, name.as_bytes()).expect("written");
            assert_eq!(std::fs::read_to_string(dir.path().join("fdata")).expect("read"), *name);
        }
        let kept = names.iter().filter(|n| dir.path().join(n).exists()).count();
        assert_eq!((kept, dir.path().join(&names[0]).exists()), (MAX_FILES, false));
        assert!(store(&dir.path().join("absent"), "x", b"").is_err());
    }
}
