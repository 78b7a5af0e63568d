//! Records of running instances as files in the run directory: written before a start runs, removed when the instance is gone.
//!
//! One thread writes them in the order in which the controller decided, so that a late removal never takes a newer record away. They
//! outlive the daemon, not the host: after a reboot nothing runs, and a file that is left over is found to be so by a probe.

use controller::Record;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// Records that are read at the start.
const MAX_RECORDS: usize = 4096;
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
const ENDING: &str = ".json";

enum Job {
    Keep(Box<Record>, oneshot::Sender<Result<(), String>>),
    Remove(String),
}

/// The thread's end. Cheap to clone.
#[derive(Clone)]
pub(super) struct Records {
    jobs: mpsc::Sender<Job>,
}

impl Records {
    pub fn start(dir: PathBuf) -> std::io::Result<Records> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("records".into()).spawn(move || {
            while let Ok(job) = inbox.recv() {
                match job {
                    Job::Keep(record, done) => {
                        let kept = keep(&dir, &record).map_err(|e| format!("{}: {e}", dir.display()));
                        if let Err(error) = &kept {
                            tracing::error!("record of {}: {error}", record.instance.id);
                        }
                        // Who does not wait for it has been told by the log.
                        let _ = done.send(kept);
                    }
                    Job::Remove(instance) => remove(&dir, &instance),
                }
            }
        })?;
        Ok(Records { jobs })
    }

    /// Answered when the file is there, or with the reason why it is not.
    pub fn keep(&self, record: Box<Record>) -> oneshot::Receiver<Result<(), String>> {
        let (to, kept) = oneshot::channel();
        let _ = self.jobs.send(Job::Keep(record, to));
        kept
    }

    pub fn remove(&self, instance: String) {
        let _ = self.jobs.send(Job::Remove(instance));
    }
}

fn keep(dir: &Path, record: &Record) -> std::io::Result<()> {
    kernel::files::private_dir(dir)?;
    let file = dir.join(file_name(&record.instance.id));
    let temporary = file.with_extension("tmp");
    let text = serde_json::to_string_pretty(record).map_err(std::io::Error::other)?;
    write_private(&temporary, &text).and_then(|()| std::fs::rename(&temporary, &file)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Parameters may be secrets: for root alone.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt;
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    out.write_all(text.as_bytes())
}

fn remove(dir: &Path, instance: &str) {
    let file = dir.join(file_name(instance));
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!("{}: {error}", file.display());
    }
}

fn file_name(instance: &str) -> String {
    kernel::files::name_of_id(instance) + ENDING
}

/// What a former life of the daemon left, and what of it cannot be read.
pub(super) fn load(dir: &Path) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    let files = match std::fs::read_dir(dir) {
        Ok(files) => files,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (records, problems),
        Err(e) => return (records, vec![format!("{}: {e}", dir.display())]),
    };
    let mut paths: VecDeque<PathBuf> = files.filter_map(|f| Some(f.ok()?.path())).collect();
    paths.retain(|p| p.to_string_lossy().ends_with(ENDING));
    paths.make_contiguous().sort();
    while let Some(path) = paths.pop_front() {
        if records.len() >= MAX_RECORDS {
            problems.push(format!("{}: only {MAX_RECORDS} records are read", dir.display()));
            break;
        }
        match read(&path) {
            Ok(record) => records.push(record),
            Err(error) => problems.push(format!("{}: {error}", path.display())),
        }
    }
    (records, problems)
}

fn read(path: &Path) -> Result<Record, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > MAX_BYTES {
        return Err(format!("{size} bytes are no record"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str) -> Box<Record> {
        let instance = base::Instance { id: id.into(), agent: "Dummy".into(), ..base::Instance::default() };
        Box::new(Record { instance, order: 3, ..Record::default() })
    }

    #[tokio::test(flavor = "current_thread")]
    async fn files_come_back_and_go() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path().join("instances");
        let records = Records::start(dir.clone()).expect("thread");
        let (long, longer) = ("x".repeat(300), "\u{4e2d}".repeat(300));
        for id in ["vip", "web:0", "../../etc/x", ".", &long, &longer] {
            assert_eq!(records.keep(record(id)).await, Ok(Ok(())));
        }
        assert_eq!(load(&dir).0.len(), 6);
        records.remove(longer);
        records.remove(long);
        assert_eq!(records.keep(record("vip")).await, Ok(Ok(())), "in order");
        std::fs::write(dir.join("broken.json"), "{").expect("write");
        let (mut found, problems) = load(&dir);
        found.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
        let ids: Vec<&str> = found.iter().map(|r| r.instance.id.as_str()).collect();
        assert_eq!((ids, problems.len()), (vec![".", "../../etc/x", "vip", "web:0"], 1));
        assert_eq!(found[2], *record("vip"));
        records.remove("vip".into());
        assert_eq!(records.keep(record("web:0")).await, Ok(Ok(())), "in order");
        assert_eq!(load(&dir).0.len(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_cannot_be_written_says_why() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        let records = Records::start(file.join("instances")).expect("thread");
        let told = records.keep(record("vip")).await.expect("an answer");
        assert!(told.is_err_and(|e| e.contains("instances")));
    }
}
