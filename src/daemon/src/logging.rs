//! Where log lines go: standard error, syslog's socket, a file, as corosync.conf's logging{} says.
//!
//! Whoever logs never waits: each of the three places has a bounded queue and a thread of its own ([`sink`]). A line that
//! finds no room is dropped and counted; the log tells of it once there is room, the status at any time.

mod recent;
mod sink;

#[cfg(test)]
mod tests;

pub(crate) use recent::recent;

use crate::config::Logging;
use sink::{Place, Sink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// How long the end of the process waits for lines on their way.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

type Places = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// What a change of logging{} takes hold of.
struct Handles {
    filter: reload::Handle<EnvFilter, Layered<Places, Registry>>,
    levels: [reload::Handle<LevelFilter, Registry>; 3],
    sinks: [Sink; 3],
    /// `--log-file`.
    chosen: Option<PathBuf>,
}

static HANDLES: OnceLock<Handles> = OnceLock::new();
static NEWEST: Newest<Logging> = Newest::new();

/// For a service that no corosync.conf speaks of: all goes to standard error. The process's clock begins here.
pub fn start_service(name: &str, debug: bool) {
    let logging = Logging {
        to_stderr: true,
        to_syslog: false,
        to_logfile: false,
        logfile: None,
        debug,
        trace: false,
        timestamp: true,
        priority: "info".to_owned(),
    };
    crate::clock::now();
    for problem in start(&logging, None) {
        kernel::errln!("bascule {name}: {problem}");
    }
}

/// Starts logging for the whole process; `chosen` is `--log-file`. Returns what could not be done.
pub fn start(logging: &Logging, chosen: Option<&Path>) -> Vec<String> {
    let sinks = [Sink::start(Place::Stderr), Sink::start(Place::File), Sink::start(Place::Syslog)];
    let mut layers: Places = Vec::new();
    let mut levels = Vec::new();
    for (n, sink) in sinks.iter().enumerate() {
        let (level, handle) = reload::Layer::new(LevelFilter::OFF);
        levels.push(handle);
        let sink = sink.clone();
        let layer = fmt::layer().with_writer(move || sink.clone()).with_ansi(false).with_target(false);
        let timeless = n == 2 || (n == 0 && !logging.timestamp);
        layers.push(if timeless {
            layer.without_time().with_filter(level).boxed()
        } else {
            layer.with_filter(level).boxed()
        });
    }
    layers.push(recent::Recent.boxed());
    // It stands before all places, so that what nobody wants costs nothing.
    let (filter, handle) = reload::Layer::new(wanted_filter(logging));
    let mut problems = Vec::new();
    if let Err(error) = tracing_subscriber::registry().with(layers).with(filter).try_init() {
        problems.push(error.to_string());
    }
    let Ok(levels) = levels.try_into() else { return problems };
    let handles = Handles { filter: handle, levels, sinks, chosen: chosen.map(Path::to_path_buf) };
    let handles = HANDLES.get_or_init(|| handles);
    // A panic is told like everything else: the usual hook would wait for a standard error that nobody reads.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("{panic}\n{}", std::backtrace::Backtrace::capture());
        crate::blackbox::panicked(&panic.to_string());
    }));
    problems.extend(set(handles, logging));
    problems
}

/// Takes over levels and places of a logging{} that was read anew, and opens the log file again (it may have been moved
/// away); timestamps stay as they were at the start. On a thread of its own, since opening a file takes as long as a disk does;
/// what was asked for last is what holds.
pub fn apply(logging: &Logging) {
    NEWEST.ask(logging.clone());
    tokio::task::spawn_blocking(|| {
        let problems = NEWEST.serve(|logging| HANDLES.get().map(|h| set(h, &logging)));
        problems.flatten().unwrap_or_default().iter().for_each(|p| tracing::warn!("{p}"));
    });
}

/// Lines that each place could not take, since the start.
pub fn dropped() -> Vec<(&'static str, u64)> {
    let Some(handles) = HANDLES.get() else { return Vec::new() };
    ["stderr", "file", "syslog"].into_iter().zip(&handles.sinks).map(|(n, s)| (n, s.dropped())).collect()
}

/// Waits, not for long, until what was logged is out.
pub fn finish() {
    let Some(handles) = HANDLES.get() else { return };
    let end = Instant::now() + FLUSH_WITHIN;
    handles.sinks.iter().for_each(|s| s.flush(end));
}

/// Requests that threads of any order carry out: one at a time, and never an older one after a newer.
struct Newest<T> {
    asked: Mutex<Option<T>>,
    /// Held while one is carried out.
    busy: Mutex<()>,
}

impl<T> Newest<T> {
    const fn new() -> Newest<T> {
        Newest { asked: Mutex::new(None), busy: Mutex::new(()) }
    }

    fn ask(&self, request: T) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// Carries out what was asked for last, if nobody has yet.
    fn serve<R>(&self, carry_out: impl FnOnce(T) -> R) -> Option<R> {
        let _busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let request = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        request.map(carry_out)
    }
}

fn set(handles: &Handles, logging: &Logging) -> Vec<String> {
    let mut problems = Vec::new();
    let file = handles.chosen.as_deref().or(logging.logfile.as_deref().filter(|_| logging.to_logfile));
    handles.sinks[1].reopen(file.map(Path::to_path_buf));
    if let Some(file) = file
        && let Some(problem) = handles.sinks[1].problem(Instant::now() + FLUSH_WITHIN)
    {
        problems.push(format!("{}: no log is written there: {problem}", file.display()));
    }
    let on = |wanted: bool, level: LevelFilter| if wanted { level } else { LevelFilter::OFF };
    let levels = [
        on(logging.to_stderr, LevelFilter::TRACE),
        on(file.is_some(), file_level(&logging.priority, level(logging))),
        on(logging.to_syslog, LevelFilter::TRACE),
    ];
    for (handle, level) in handles.levels.iter().zip(levels) {
        if let Err(error) = handle.reload(level) {
            problems.push(error.to_string());
        }
    }
    if let Err(error) = handles.filter.reload(wanted_filter(logging)) {
        problems.push(error.to_string());
    }
    problems
}

fn wanted_filter(logging: &Logging) -> EnvFilter {
    let filter = std::env::var("BASCULE_LOG").ok().and_then(|f| EnvFilter::try_new(f).ok());
    filter.unwrap_or_else(|| EnvFilter::new(level(logging).to_string()))
}

fn level(logging: &Logging) -> LevelFilter {
    if logging.trace {
        LevelFilter::TRACE
    } else if logging.debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    }
}

/// syslog's words; everything above `warning` is `error` here.
fn file_level(priority: &str, level: LevelFilter) -> LevelFilter {
    let wanted = match priority {
        "emerg" | "alert" | "crit" | "err" => LevelFilter::ERROR,
        "warning" => LevelFilter::WARN,
        "debug" => LevelFilter::DEBUG,
        _ => LevelFilter::INFO,
    };
    if level > LevelFilter::INFO { level } else { wanted }
}
