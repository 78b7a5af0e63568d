//! Asking the running director over its control socket.

use super::paths::Paths;
use ::ldirectord::service::{Identity, MarkRequest, Marked, RealRequest, Request, Status, control_path, sockets};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The director itself gives up earlier, and says so.
const DEADLINE: Duration = Duration::from_secs(20);
/// Of an answer; a status of all servers that a file can have is smaller.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(
        "no director runs for {}: nobody listens on {}; start it with `ldirectord {0} start`, or ask on the node where the cluster \
         runs it",
        config.display(),
        join(tried)
    )]
    NotRunning { config: PathBuf, tried: Vec<PathBuf> },
    #[error("{}: {why}", socket.display())]
    Connection { socket: PathBuf, why: String },
    #[error("{0}")]
    Refused(String),
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" or ")
}

pub fn status(paths: &Paths) -> Result<Status, AskError> {
    ask(paths, &Request::Status)
}

#[derive(serde::Deserialize)]
struct Answer {
    marked: Vec<Marked>,
}

pub fn mark(paths: &Paths, request: MarkRequest) -> Result<Vec<Marked>, AskError> {
    ask::<Answer>(paths, &Request::Mark(request)).map(|a| a.marked)
}

pub fn real(paths: &Paths, request: RealRequest) -> Result<Vec<Marked>, AskError> {
    ask::<Answer>(paths, &Request::Real(request)).map(|a| a.marked)
}

/// Where a cluster's node has its sockets.
pub fn node_dir() -> PathBuf {
    std::env::var_os("BASCULE_RUN_DIR").map_or_else(|| PathBuf::from("/run/bascule"), PathBuf::from)
}

/// Reads the file again; what it warned of is in the director's log.
pub fn reload(paths: &Paths, force: bool) -> Result<(), AskError> {
    ask::<serde_json::Value>(paths, &Request::Reload { force }).map(drop)
}

fn ask<T: DeserializeOwned>(paths: &Paths, request: &Request) -> Result<T, AskError> {
    let (stream, socket) = connect(paths)?;
    exchange(stream, &socket, request)
}

fn exchange<T: DeserializeOwned>(mut stream: UnixStream, socket: &Path, request: &Request) -> Result<T, AskError> {
    let trouble = |why: String| AskError::Connection { socket: socket.to_owned(), why };
    let io = |e: std::io::Error| trouble(e.to_string());
    stream.set_read_timeout(Some(DEADLINE)).and_then(|()| stream.set_write_timeout(Some(DEADLINE))).map_err(io)?;
    let mut line = serde_json::to_vec(request).map_err(|e| trouble(e.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(io)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(io)?;
    if answer.is_empty() {
        return Err(trouble("closed without an answer (are you root?)".to_owned()));
    }
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(&answer) {
        return Err(AskError::Refused(refusal.error));
    }
    serde_json::from_slice(&answer).map_err(|e| trouble(format!("not an answer: {e}")))
}

/// The socket that is named after this file; or, since a file may have several names (links), the one of a director that says it runs
/// the same file.
fn connect(paths: &Paths) -> Result<(UnixStream, PathBuf), AskError> {
    let node = node_dir();
    let mut tried: Vec<PathBuf> = Vec::new();
    for dir in [&paths.run_dir, &node] {
        let socket = control_path(dir, &paths.config);
        if !tried.contains(&socket) {
            tried.push(socket);
        }
    }
    for socket in &tried {
        if let Some(stream) = open(socket)? {
            return Ok((stream, socket.clone()));
        }
    }
    for socket in [&paths.run_dir, &node].into_iter().flat_map(|dir| sockets(dir)) {
        if runs(&socket, &paths.config)
            && let Some(stream) = open(&socket)?
        {
            return Ok((stream, socket));
        }
    }
    Err(AskError::NotRunning { config: paths.config.clone(), tried })
}

/// `None`: nobody listens there.
fn open(socket: &Path) -> Result<Option<UnixStream>, AskError> {
    match UnixStream::connect(socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        Err(e) => Err(AskError::Connection { socket: socket.to_owned(), why: e.to_string() }),
    }
}

/// Whether the director behind this socket runs this very file.
fn runs(socket: &Path, config: &Path) -> bool {
    identify(socket).and_then(|identity| identity.config).is_some_and(|other| same_file(&other, config))
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|one| Some(one) == real(other))
}

fn identify(socket: &Path) -> Option<Identity> {
    let stream = open(socket).ok()??;
    exchange(stream, socket, &Request::Config).ok()
}

/// The process that runs this file without a pid file: a node of a cluster, whose resource it is.
pub fn run_by_node(paths: &Paths) -> Option<u32> {
    let socket = control_path(&node_dir(), &paths.config);
    let sockets = std::iter::once(socket).chain(sockets(&node_dir()));
    let mut runs = sockets.filter_map(|socket| identify(&socket));
    runs.find(|i| i.config.as_ref().is_some_and(|config| same_file(config, &paths.config))).map(|i| i.pid)
}

/// The file of another place and the same name that this process runs, if it does: they share the pid file's name.
pub fn runs_namesake(paths: &Paths, pid: Pid) -> Option<PathBuf> {
    let own = control_path(&paths.run_dir, &paths.config);
    let name = format!("ldirectord.{}.", paths.config.file_name()?.to_str()?);
    let others = sockets(&paths.run_dir).into_iter().filter(|socket| *socket != own);
    let namesakes = others.filter(|s| s.file_name().and_then(|f| f.to_str()).is_some_and(|f| f.starts_with(&name)));
    let found = namesakes.filter_map(|socket| identify(&socket)).find(|i| i.pid == pid.as_raw() as u32);
    found.and_then(|i| i.config).filter(|other| !same_file(other, &paths.config))
}
