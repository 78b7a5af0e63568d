//! The control socket: how a command asks the running director, whether it is a daemon of its own or runs in the cluster's node.
//!
//! ```text
//! client: {"op":"status"}\n                                     director: {…one line of JSON…}\n, closed
//!         {"op":"config"}\n                                               {"config":"/etc/ha.d/www.cf","pid":7}\n
//!         {"op":"reload","force":true}\n                                   {"reloaded":true,"warnings":[]}\n
//!         {"op":"mark","wish":"drain","on":true,"real":"10.0.1.1:80"}\n           {"marked":[…]}
//!         {"op":"real","verb":"weight","weight":3,"real":"10.0.1.1:80"}\n         {"marked":[…]}
//! ```
//!
//! One line in, one line out, closed: nothing here has to be kept between two requests, so nothing can be left hanging, which is why it
//! is not HTTP. A client has [`READ_DEADLINE`] to ask within [`MAX_REQUEST_BYTES`]; at most [`MAX_CLIENTS`] are served at a time, others
//! wait in the kernel's queue; requests reach the core one by one. Only root and the director's own user are answered, by the
//! credentials that the kernel gives; the file's mode says the same.

use super::Handle;
use super::edits::RealRequest;
use super::log::Logger;
use super::operator::MarkRequest;
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;

pub const MAX_REQUEST_BYTES: usize = 4_096;
pub const MAX_CLIENTS: usize = 16;
pub const READ_DEADLINE: Duration = Duration::from_secs(2);
/// For the core to answer, and for the client to take the answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Request {
    Status,
    /// Only which configuration it runs.
    Config,
    Mark(MarkRequest),
    Real(RealRequest),
    /// The file is read again; with `force` even if it leaves nothing to serve.
    Reload {
        #[serde(default)]
        force: bool,
    },
}

/// Who answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    pub config: Option<PathBuf>,
    pub pid: u32,
}

/// How sockets' names end.
pub const SOCKET_SUFFIX: &str = ".sock";

/// Where the socket of a configuration is. The name tells which file it is, not only what it is called: two directories may each have
/// a `www.cf`.
pub fn control_path(run_dir: &Path, config: &Path) -> PathBuf {
    run_dir.join(format!("ldirectord.{}{SOCKET_SUFFIX}", tag(config)))
}

/// Where drains, maintenance and edits by command are kept for a configuration.
pub fn state_path(dir: &Path, config: &Path) -> PathBuf {
    dir.join(format!("ldirectord.{}.json", tag(config)))
}

/// The file's name, and a number that stands for its place.
fn tag(config: &Path) -> String {
    let place = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let name: String = place.file_name().map(|n| n.to_string_lossy().chars().take(64).collect()).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    hasher.write(place.as_os_str().as_encoded_bytes());
    format!("{name}.{:08x}", hasher.finish() as u32)
}

/// The listening socket; removed when dropped, unless another director has taken the name.
pub struct ControlSocket {
    path: PathBuf,
    identity: Option<(u64, u64)>,
    task: JoinHandle<()>,
}

/// Listens. Without it the director works as well, so a failure is only told.
pub fn serve(path: &Path, handle: Handle, logger: &Logger) -> Option<ControlSocket> {
    let listener = match listen(path) {
        Ok(listener) => listener,
        Err(e) => {
            logger.log(&format!("Warning: no control socket {}: {e}", path.display()));
            return None;
        }
    };
    let task = tokio::spawn(accept(listener, handle));
    Some(ControlSocket { path: path.to_owned(), identity: identity(path), task })
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// What a dead director has left is taken away; a living one's pid file has kept this one from starting.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: UnixListener, handle: Handle) {
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    let turn = Arc::new(Mutex::new(()));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors left: the checks need them more.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let (handle, turn) = (handle.clone(), turn.clone());
        tokio::spawn(async move {
            let _permit = permit;
            client(stream, &handle, &turn).await;
        });
    }
}

async fn client(mut stream: UnixStream, handle: &Handle, turn: &Mutex<()>) {
    let own = nix::unistd::geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|c| c.uid() == 0 || c.uid() == own) {
        return;
    }
    let answer = match tokio::time::timeout(READ_DEADLINE, request(&mut stream)).await {
        Err(_) => return,
        Ok(Err(why)) => refusal(&why),
        Ok(Ok(request)) => match tokio::time::timeout(ANSWER_DEADLINE, respond(request, handle, turn)).await {
            Ok(answer) => answer,
            Err(_) => refusal("the director did not answer in time"),
        },
    };
    let send = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(ANSWER_DEADLINE, send).await;
}

async fn request(stream: &mut UnixStream) -> Result<Request, String> {
    let mut read = Vec::new();
    let mut chunk = [0; 512];
    while !read.contains(&b'\n') {
        if read.len() >= MAX_REQUEST_BYTES {
            return Err(format!("a request has at most {MAX_REQUEST_BYTES} bytes"));
        }
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(n) => read.extend_from_slice(&chunk[..n]),
            Err(e) => return Err(e.to_string()),
        }
    }
    let line = read.split(|b| *b == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|e| format!("not a request: {e}"))
}

async fn respond(request: Request, handle: &Handle, turn: &Mutex<()>) -> String {
    match request {
        Request::Status => {
            let status = {
                let _turn = turn.lock().await;
                handle.status().await
            };
            match status {
                Some(status) => line(&status),
                None => refusal("the director has stopped"),
            }
        }
        Request::Config => match handle.config_path().await {
            Some(config) => line(&Identity { config, pid: std::process::id() }),
            None => refusal("the director has stopped"),
        },
        Request::Reload { force } => match handle.reload_file(force).await {
            Ok(warnings) => line(&serde_json::json!({ "reloaded": true, "warnings": warnings })),
            Err(e) => refusal(&e.to_string()),
        },
        Request::Real(request) => match handle.real(request).await {
            Ok(marked) => line(&serde_json::json!({ "marked": marked })),
            Err(e) => refusal(&e.to_string()),
        },
        Request::Mark(request) => match handle.mark(request).await {
            Ok(marked) => line(&serde_json::json!({ "marked": marked })),
            Err(e) => refusal(&e.to_string()),
        },
    }
}

fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).unwrap_or_else(|e| refusal(&e.to_string()));
    text.push('\n');
    text
}

fn refusal(why: &str) -> String {
    format!("{}\n", serde_json::json!({ "error": why }))
}
