//! Asking the running director over its control socket.

use super::paths::Paths;
use ::ldirectord::service::{MarkRequest, Marked, Request, Status, control_path};
use serde::de::DeserializeOwned;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// The director itself gives up earlier, and says so.
const DEADLINE: Duration = Duration::from_secs(20);
/// Of an answer; a status of all servers that a file can have is smaller.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no director for this configuration listens on {}", join(tried))]
    NotRunning { tried: Vec<PathBuf> },
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

pub fn mark(paths: &Paths, request: MarkRequest) -> Result<Vec<Marked>, AskError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        marked: Vec<Marked>,
    }
    ask::<Answer>(paths, &Request::Mark(request)).map(|a| a.marked)
}

fn ask<T: DeserializeOwned>(paths: &Paths, request: &Request) -> Result<T, AskError> {
    let (mut stream, socket) = connect(paths)?;
    let trouble = |why: String| AskError::Connection { socket: socket.clone(), why };
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

/// A daemon's socket bears the name that the configuration was given by; one within the cluster's node that of the file.
fn connect(paths: &Paths) -> Result<(UnixStream, PathBuf), AskError> {
    let file = paths.config.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let node = std::env::var_os("BASCULE_RUN_DIR").map_or_else(|| PathBuf::from("/run/bascule"), PathBuf::from);
    let mut tried = vec![control_path(&paths.run_dir, &paths.name)];
    for other in [control_path(&paths.run_dir, &file), control_path(&node, &file)] {
        if !tried.contains(&other) {
            tried.push(other);
        }
    }
    for socket in &tried {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok((stream, socket.clone())),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(e) => return Err(AskError::Connection { socket: socket.clone(), why: e.to_string() }),
        }
    }
    Err(AskError::NotRunning { tried })
}
