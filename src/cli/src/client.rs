//! The local API's client: one request, one answer, under one deadline.

use base::exit::crm;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;
use wire::api::{ApiError, MAX_BODY_BYTES, MAX_REQUEST_BODY_BYTES, USER_HEADER, socket_path};

/// How long a request may take unless the command says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries while the daemon serves as many requests of this user as it may.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How an answer says [`wire::api::Safety::Provisional`]; within a text the quotes would be escaped.
const PROVISIONAL: &[u8] = br#""safety":"provisional""#;

/// Asks this node's daemon.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    pub timeout: Duration,
    /// In whose place to ask; counts only of root and hacluster.
    pub user: Option<String>,
}

static ACTING_AS: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// For this command: the user in whose place to ask; empty for nobody's. Counts before `CIB_user`.
pub fn act_as(user: &str) {
    let _ = ACTING_AS.set(user.to_owned());
}

/// The user in whose place to ask: of the command line, else of `CIB_user`.
pub fn acting_as() -> Option<String> {
    let chosen = ACTING_AS.get().cloned().or_else(|| std::env::var("CIB_user").ok());
    chosen.filter(|user| !user.is_empty())
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("Not connected: the node daemon is not running here (no answer at {}: {reason})", socket.display())]
    NotRunning { socket: PathBuf, reason: std::io::Error },
    #[error("Permission denied at {}", socket.display())]
    Denied { socket: PathBuf },
    #[error("Connection timed out: no answer from the node daemon within {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("{}", .0.message)]
    Refused(ApiError),
    #[error(
        "Too large: the request has {bytes} bytes, at most {MAX_REQUEST_BODY_BYTES} are accepted; split it into several"
    )]
    TooLarge { bytes: usize },
    #[error("Protocol error: {0}")]
    Protocol(String),
}

impl CallError {
    pub fn exit_code(&self) -> i32 {
        match self {
            CallError::NotRunning { .. } => crm::DISCONNECT,
            CallError::Denied { .. } => crm::INSUFFICIENT_PRIV,
            CallError::Timeout(_) => crm::TIMEOUT,
            CallError::Refused(e) => e.code,
            CallError::TooLarge { .. } => crm::DATAERR,
            CallError::Protocol(_) => crm::PROTOCOL,
        }
    }
}

impl Client {
    /// The daemon of `BASCULE_RUN_DIR`, or of the default run directory.
    pub fn from_env() -> Client {
        let run_dir = std::env::var_os("BASCULE_RUN_DIR");
        Client { socket: socket_path(run_dir.as_deref()), timeout: DEFAULT_TIMEOUT, user: acting_as() }
    }

    /// The daemon of another run directory, or of a file in it.
    pub fn at(path: &std::path::Path) -> Client {
        let run_dir = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        Client { socket: socket_path(Some(run_dir.as_os_str())), ..Client::from_env() }
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.run("GET", path, Bytes::new())
    }

    pub fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|e| CallError::Protocol(e.to_string()))?;
        if body.len() > MAX_REQUEST_BODY_BYTES {
            return Err(CallError::TooLarge { bytes: body.len() });
        }
        self.run("POST", path, body.into())
    }

    /// Every command's changes pass through here, so none can forget to tell.
    fn tell_safety(answer: &[u8]) {
        static TOLD: std::sync::Once = std::sync::Once::new();
        let provisional = answer.windows(PROVISIONAL.len()).any(|w| w == PROVISIONAL);
        if provisional {
            TOLD.call_once(|| {
                kernel::errln!(
                    "warning: applied, but not safe: without quorum a merge may lose it, on too few disks a power failure"
                );
            });
        }
    }

    fn run<T: DeserializeOwned>(&self, method: &str, path: &str, body: Bytes) -> Result<T, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| CallError::Protocol(e.to_string()))?;
        let answer = runtime.block_on(async {
            let exchange = async {
                loop {
                    match self.exchange(method, path, body.clone()).await {
                        Err(CallError::Refused(e)) if e.code == crm::UNAVAILABLE => {
                            tokio::time::sleep(TRY_AGAIN_AFTER).await;
                        }
                        answer => return answer,
                    }
                }
            };
            tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(CallError::Timeout(self.timeout)))
        })?;
        if method == "POST" {
            Client::tell_safety(&answer);
        }
        serde_json::from_slice(&answer).map_err(|e| CallError::Protocol(format!("unexpected answer to {path}: {e}")))
    }

    async fn exchange(&self, method: &str, path: &str, body: Bytes) -> Result<Vec<u8>, CallError> {
        let protocol = |e: &dyn std::fmt::Display| CallError::Protocol(e.to_string());
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(|reason| match reason.kind() {
            std::io::ErrorKind::PermissionDenied => CallError::Denied { socket: self.socket.clone() },
            _ => CallError::NotRunning { socket: self.socket.clone(), reason },
        })?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| protocol(&e))?;
        let driver = tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        if let Some(user) = &self.user {
            request = request.header(USER_HEADER, user);
        }
        let request = request.body(Full::new(body)).map_err(|e| protocol(&e))?;
        let response = sender.send_request(request).await.map_err(|e| protocol(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|e| CallError::Protocol(e.to_string()))?.to_bytes().to_vec();
        driver.abort();
        if status.as_u16() < 400 {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<ApiError>(&body) {
            Ok(error) => CallError::Refused(error),
            Err(_) => CallError::Protocol(format!("HTTP status {status} for {path}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_said_so() {
        let client = Client { socket: "/nonexistent/api.sock".into(), timeout: DEFAULT_TIMEOUT, user: None };
        let error = client.get::<serde_json::Value>("/v1/status").expect_err("nobody listens");
        assert_eq!(error.exit_code(), 102);
        assert!(error.to_string().contains("node daemon is not running"));
    }

    #[test]
    fn an_answer_that_is_provisional_is_known_by_its_field_alone() {
        let answer = |safety, message: &str| {
            let done = wire::api::Done { safety, message: Some(message.to_owned()), ..Default::default() };
            serde_json::to_vec(&done).expect("JSON")
        };
        let known = |answer: &[u8]| answer.windows(PROVISIONAL.len()).any(|w| w == PROVISIONAL);
        assert!(known(&answer(wire::api::Safety::Provisional, "")));
        assert!(!known(&answer(wire::api::Safety::Safe, r#""safety":"provisional""#)));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let dir = std::env::temp_dir().join(format!("bascule-client-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let socket = dir.join("api.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let client = Client { socket, timeout: Duration::from_millis(100), user: None };
        let error = client.get::<serde_json::Value>("/v1/status").expect_err("nobody answers");
        assert_eq!(error.exit_code(), 124);
        let _ = std::fs::remove_dir_all(dir);
    }
}
