//! Where log lines go: standard error, syslog's socket, a file, as corosync.conf's logging{} says.

use crate::config::Logging;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// `daemon.info`: facility 3, severity 6 (RFC 5424, 6.2.1).
const SYSLOG_PRIORITY: u8 = 3 * 8 + 6;
const SYSLOG_SOCKET: &str = "/dev/log";

/// Starts logging for the whole process; `chosen` is `--log-file`. Returns what could not be done.
pub fn start(logging: &Logging, chosen: Option<&Path>) -> Vec<String> {
    let mut problems = Vec::new();
    let level = if logging.trace {
        LevelFilter::TRACE
    } else if logging.debug {
        LevelFilter::DEBUG
    } else {
        LevelFilter::INFO
    };
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if logging.to_stderr {
        let layer = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
        layers.push(if logging.timestamp { layer.boxed() } else { layer.without_time().boxed() });
    }
    let file = chosen.or(logging.logfile.as_deref().filter(|_| logging.to_logfile));
    if let Some(path) = file {
        match open(path) {
            Ok(file) => {
                let layer = fmt::layer().with_writer(Mutex::new(file)).with_ansi(false).with_target(false);
                layers.push(layer.with_filter(file_level(&logging.priority, level)).boxed());
            }
            Err(error) => problems.push(format!("{}: no log is written there: {error}", path.display())),
        }
    }
    if logging.to_syslog
        && let Some(syslog) = Syslog::connect()
    {
        layers.push(
            fmt::layer().with_writer(move || syslog.clone()).with_ansi(false).with_target(false).without_time().boxed(),
        );
    }
    let filter = std::env::var("BASCULE_LOG").ok().and_then(|f| EnvFilter::try_new(f).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level.to_string()));
    if let Err(error) = tracing_subscriber::registry().with(layers).with(filter).try_init() {
        problems.push(error.to_string());
    }
    problems
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
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

/// One datagram per line to the local syslog; a line that it does not take is lost, never waited for.
#[derive(Clone)]
struct Syslog {
    socket: Arc<UnixDatagram>,
}

impl Syslog {
    fn connect() -> Option<Syslog> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(SYSLOG_SOCKET).ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Syslog { socket: Arc::new(socket) })
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut packet = format!("<{SYSLOG_PRIORITY}>bascule[{}]: ", std::process::id()).into_bytes();
        packet.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        let _ = self.socket.send(&packet);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tells systemd something (`READY=1`), if it started this process as `Type=notify`.
pub fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").and_then(|p| p.into_string().ok()) else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let sent = match path.strip_prefix('@') {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name)
            .and_then(|a| socket.send_to_addr(state.as_bytes(), &a)),
        None => socket.send_to(state.as_bytes(), &path),
    };
    if let Err(error) = sent {
        tracing::warn!("systemd was not told `{state}`: {error}");
    }
}
