//! One place for log lines, behind a bounded queue and a thread of its own: whoever logs never waits for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines that wait for one place; further ones are dropped and counted.
pub const QUEUE_LINES: usize = 4096;
/// A longer line is cut.
pub const MAX_LINE_BYTES: usize = 8192;
/// `daemon.info`: facility 3, severity 6 (RFC 5424, 6.2.1).
const SYSLOG_PRIORITY: u8 = 3 * 8 + 6;
const SYSLOG_SOCKET: &str = "/dev/log";
/// syslog gets so much time for a line.
const SYSLOG_WITHIN: Duration = Duration::from_millis(500);
/// Between two looks at a thread that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where the lines of a sink go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Stderr,
    /// The file that [`Sink::reopen`] names.
    File,
    Syslog,
}

/// The writers' end; cheap to clone.
#[derive(Clone)]
pub(super) struct Sink {
    queue: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    dropped: AtomicU64,
    /// Lines put in, and lines dealt with.
    put: AtomicU64,
    done: AtomicU64,
    file: Mutex<Wanted>,
}

#[derive(Default)]
struct Wanted {
    path: Option<PathBuf>,
    /// Counts the calls of [`Sink::reopen`].
    asked: u64,
    opened: u64,
    problem: Option<String>,
}

impl Sink {
    pub fn start(place: Place) -> Sink {
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let shared = Arc::new(Shared::default());
        let mut thread = Thread { place, shared: shared.clone(), out: None, told: 0 };
        // Without a thread everything is dropped and counted.
        let _ = std::thread::Builder::new().name("log".into()).spawn(move || thread.run(&lines));
        Sink { queue, shared }
    }

    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Closes the file, and opens this one from the next line on.
    pub fn reopen(&self, path: Option<PathBuf>) {
        let mut wanted = self.shared.file();
        wanted.path = path;
        wanted.asked += 1;
        wanted.problem = None;
        drop(wanted);
        self.put(Vec::new());
    }

    /// Why the file cannot be opened; nothing if it is open, or if that is not known by then.
    pub fn problem(&self, end: Instant) -> Option<String> {
        loop {
            let wanted = self.shared.file();
            if wanted.opened == wanted.asked || Instant::now() >= end {
                return wanted.problem.clone();
            }
            drop(wanted);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until all lines put in before are out, but not beyond `end`.
    pub fn flush(&self, end: Instant) {
        let put = self.shared.put.load(Ordering::Acquire);
        while self.shared.done.load(Ordering::Acquire) < put && Instant::now() < end {
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn put(&self, line: Vec<u8>) {
        self.shared.put.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(line).is_err() {
            self.shared.done.fetch_add(1, Ordering::AcqRel);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A whole line each time, as the formatting layer writes it.
impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept = line[..line.len().min(MAX_LINE_BYTES)].to_vec();
        if kept.len() < line.len() {
            kept.extend_from_slice(b"...\n");
        }
        self.put(kept);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Held for a few assignments, never while a file is opened or written.
    fn file(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    place: Place,
    shared: Arc<Shared>,
    out: Option<Out>,
    /// Dropped lines that the log has told of.
    told: u64,
}

enum Out {
    File(File),
    Syslog(UnixDatagram),
}

impl Thread {
    fn run(&mut self, lines: &Receiver<Vec<u8>>) {
        while let Ok(line) = lines.recv() {
            self.open();
            if !line.is_empty() {
                self.line(&line);
            }
            self.shared.done.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn line(&mut self, line: &[u8]) {
        if self.write(line).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            let text =
                format!("WARN {} log lines were dropped before this one: no room, or no answer\n", dropped - self.told);
            if self.write(text.as_bytes()).is_ok() {
                self.told = dropped;
            }
        }
    }

    /// A part of a line that got out stays; the next line begins anew.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match (self.place, &mut self.out) {
            (Place::Stderr, _) => io::stderr().write_all(line),
            (_, Some(Out::File(file))) => file.write_all(line),
            (_, Some(Out::Syslog(socket))) => {
                let mut packet = format!("<{SYSLOG_PRIORITY}>bascule[{}]: ", std::process::id()).into_bytes();
                packet.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
                let sent = socket.send(&packet);
                if sent.is_err() {
                    // A syslog that was restarted has another socket.
                    self.out = None;
                }
                sent.map(drop)
            }
            (_, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn open(&mut self) {
        match self.place {
            Place::Stderr => {}
            Place::Syslog => {
                if self.out.is_none() {
                    self.out = syslog().ok().map(Out::Syslog);
                }
            }
            Place::File => {
                let (path, asked) = {
                    let wanted = self.shared.file();
                    if wanted.asked == wanted.opened && (self.out.is_some() || wanted.path.is_none()) {
                        return;
                    }
                    (wanted.path.clone(), wanted.asked)
                };
                self.out = None;
                let opened = path.as_deref().map(file).transpose();
                let mut wanted = self.shared.file();
                wanted.opened = asked;
                match opened {
                    Ok(file) => self.out = file.map(Out::File),
                    Err(error) => wanted.problem = Some(error.to_string()),
                }
            }
        }
    }
}

/// Names and addresses of a cluster are in it, so only owner and group read it.
fn file(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        // Its mode stays what it is: /var/log is everybody's.
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(SYSLOG_SOCKET)?;
    socket.set_write_timeout(Some(SYSLOG_WITHIN))?;
    Ok(socket)
}
