//! Log lines: to a file (opened for each line, so that it can be rotated), to syslog, to stdout, or to `tracing`.
//!
//! A thread of its own writes, so that a slow disk delays no check. A full queue drops lines and says how many.

use crate::config::LogTarget;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines that wait to be written.
const MAX_QUEUE: usize = 10_000;

/// How long the end waits for the last lines: what they go to may hang.
const LAST_LINES: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Where lines go, whatever `logfile` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogMode {
    /// As the configuration says.
    Configured,
    /// `[time] text` on stdout (`supervised`).
    Stdout,
    /// `text` on stderr (`-d`).
    Stderr,
    Tracing,
}

enum Job {
    Line(String),
    Target(LogTarget),
}

#[derive(Clone)]
pub struct Logger {
    inner: Arc<Inner>,
}

struct Inner {
    mode: LogMode,
    queue: Mutex<Option<SyncSender<Job>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: AtomicU64,
}

impl Logger {
    pub fn tracing() -> Logger {
        Logger::new(LogMode::Tracing, LogTarget::Syslog(String::new()), "")
    }

    /// `name` stands in each line of a file, as in `[time|NAME|pid] text`.
    pub fn new(mode: LogMode, target: LogTarget, name: &str) -> Logger {
        let mut inner =
            Inner { mode: mode.clone(), queue: Mutex::new(None), writer: Mutex::new(None), dropped: AtomicU64::new(0) };
        if mode != LogMode::Tracing {
            let (queue, jobs) = sync_channel(MAX_QUEUE);
            let mut writer = Writer { mode, target, name: name.to_owned(), syslog: None };
            let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&jobs));
            if let Ok(thread) = thread {
                inner.queue = Mutex::new(Some(queue));
                inner.writer = Mutex::new(Some(thread));
            }
        }
        Logger { inner: Arc::new(inner) }
    }

    pub fn log(&self, text: &str) {
        if self.inner.mode == LogMode::Tracing {
            tracing::info!(target: "ldirectord", "{text}");
            return;
        }
        let dropped = self.inner.dropped.swap(0, Ordering::Relaxed);
        let text = if dropped == 0 { text.to_owned() } else { format!("{text} ({dropped} lines before it were lost)") };
        if !self.send(Job::Line(text)) {
            self.inner.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }

    /// Follows a new `logfile`.
    pub fn set_target(&self, target: &LogTarget) {
        self.send(Job::Target(target.clone()));
    }

    /// Writes what is queued and ends the writer, if that can be done in time.
    pub fn close(&self) {
        lock(&self.inner.queue).take();
        let Some(writer) = lock(&self.inner.writer).take() else { return };
        let end = Instant::now() + LAST_LINES;
        while !writer.is_finished() && Instant::now() < end {
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn send(&self, job: Job) -> bool {
        match lock(&self.inner.queue).as_ref().map(|q| q.try_send(job)) {
            Some(Err(TrySendError::Full(_))) => false,
            Some(Ok(()) | Err(TrySendError::Disconnected(_))) | None => true,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Writer {
    mode: LogMode,
    target: LogTarget,
    name: String,
    syslog: Option<UnixDatagram>,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Target(target) => self.target = target,
                Job::Line(text) => self.write(&text),
            }
        }
    }

    fn write(&mut self, text: &str) {
        let pid = std::process::id();
        match (&self.mode, self.target.clone()) {
            (LogMode::Stdout, _) => {
                kernel::outln!("[{}] {text}", now());
            }
            (LogMode::Stderr, _) => {
                kernel::errln!("{text}");
            }
            (_, LogTarget::File(path)) => append(&path, &format!("[{}|{}|{pid}] {text}\n", now(), self.name)),
            (_, LogTarget::Syslog(facility)) => self.syslog(&facility, &format!("ldirectord[{pid}]: {text}")),
        }
    }

    /// RFC 3164 to the local daemon, level info.
    fn syslog(&mut self, facility: &str, text: &str) {
        let line = format!("<{}>{} {text}", facility_code(facility) * 8 + 6, stamp());
        for _ in 0..2 {
            if self.syslog.is_none() {
                let socket = UnixDatagram::unbound().and_then(|s| s.connect("/dev/log").map(|()| s));
                self.syslog = socket.and_then(|s| s.set_nonblocking(true).map(|()| s)).ok();
            }
            match self.syslog.as_ref().map(|s| s.send(line.as_bytes())) {
                Some(Ok(_)) => return,
                // The daemon was restarted: connect anew, once.
                _ => self.syslog = None,
            }
        }
    }
}

/// Opened for each line; a line that cannot be written is lost, as there is nowhere to say so.
pub fn append(path: &Path, text: &str) {
    let file = kernel::files::open_to_append(path, true);
    let _ = file.and_then(|mut f| f.write_all(text.as_bytes()));
}

/// Local time as `Fri Nov 20 18:14:53 2026`.
pub fn now() -> String {
    jiff::Zoned::now().strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn stamp() -> String {
    jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string()
}

fn facility_code(name: &str) -> u32 {
    let names = ["kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"];
    let local = name.strip_prefix("local").and_then(|n| n.parse::<u32>().ok()).filter(|n| *n < 8);
    local.map(|n| 16 + n).or_else(|| names.iter().position(|n| *n == name).map(|i| i as u32)).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_every_line_in_the_known_form() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a"), dir.path().join("b"));
        let logger = Logger::new(LogMode::Configured, LogTarget::File(first.clone()), "x.cf");
        logger.log("one");
        logger.set_target(&LogTarget::File(second.clone()));
        logger.log("two");
        logger.close();
        logger.log("after the end");
        let text = std::fs::read_to_string(first).unwrap();
        assert!(text.starts_with('[') && text.ends_with(&format!("|x.cf|{}] one\n", std::process::id())), "{text}");
        assert!(std::fs::read_to_string(second).unwrap().ends_with("] two\n"));
    }

    #[test]
    fn facilities() {
        assert_eq!((facility_code("local0"), facility_code("daemon"), facility_code("nonsense")), (16, 3, 3));
    }
}
