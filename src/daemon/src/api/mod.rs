//! The local API: HTTP/1.1 over a unix socket. Who may ask is decided by peer credentials.
//!
//! Each connection is a task of its own; each request becomes one question to the core task ([`crate::node`]). Bodies are
//! those of `wire::api`; [`convert`] maps them onto the controller's requests, [`attribute`] onto changes of the CIB.

mod attribute;
mod convert;
mod peer;

use crate::node::{Ask, Asker};
use crate::ring::Ring;
use crate::timeline::Timeline;
use base::Time;
use base::exit::crm;
use controller::{Request, Response as Answer};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use wire::api::{ApiError, Done, Health, MAX_BODY_BYTES, SOCKET_NAME};

/// Connections served at the same time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// Default wait for an acknowledgement.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait that a client may ask for.
const ANSWER_AT_MOST: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{}: another node daemon answers there; stop it, or choose another --run-dir", .0.display())]
    InUse(PathBuf),
    #[error("{}: {error}", .path.display())]
    Bind { path: PathBuf, error: std::io::Error },
}

/// What every connection shares.
#[derive(Clone)]
pub struct State {
    asker: Asker,
    timeline: Timeline,
    ring: Ring,
    /// This node's name.
    node: Arc<str>,
}

impl State {
    pub fn new(asker: Asker, timeline: Timeline, ring: Ring, node: &str) -> State {
        State { asker, timeline, ring, node: node.into() }
    }
}

/// Binds the socket, replacing one that nobody answers on.
pub fn bind(run_dir: &Path) -> Result<UnixListener, ServeError> {
    let path = run_dir.join(SOCKET_NAME);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        return Err(ServeError::InUse(path));
    }
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|error| ServeError::Bind { path: path.clone(), error })?;
    peer::protect(&path).map_err(|error| ServeError::Bind { path, error })?;
    Ok(listener)
}

pub fn remove(run_dir: &Path) {
    let _ = std::fs::remove_file(run_dir.join(SOCKET_NAME));
}

/// Serves until aborted.
pub async fn serve(listener: UnixListener, state: State) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let state = state.clone();
                tokio::spawn(async move {
                    connection(stream, state).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!("API socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, state: State) {
    let allowed = peer::allowed(&stream);
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let (state, allowed) = (state.clone(), allowed.clone());
        async move {
            Ok::<_, std::convert::Infallible>(match allowed {
                Ok(user) => respond(request, &state, &user).await,
                Err(why) => failure(StatusCode::FORBIDDEN, crm::INSUFFICIENT_PRIV, why),
            })
        }
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    // A client that goes away in the middle is its own affair.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

type Reply = Response<Full<Bytes>>;

async fn respond(request: HttpRequest<Incoming>, state: &State, user: &str) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (method, path.as_str()) {
        (Method::GET, "/v1/status") => asked(state, Ask::Status).await,
        (Method::GET, "/v1/quorum") => asked(state, Ask::Quorum).await,
        (Method::GET, "/v1/health") => health(state),
        (Method::GET, "/v1/timeline") => {
            let since = query.strip_prefix("since_us=").and_then(|n| n.parse().ok()).unwrap_or(0);
            json(StatusCode::OK, &state.timeline.since(Time(since)))
        }
        (Method::POST, "/v1/cib") => with_body(request, async |call| convert::cib(state, user, call).await).await,
        (Method::POST, "/v1/cleanup") => with_body(request, async |call| convert::cleanup(state, call).await).await,
        (Method::POST, "/v1/attribute") => {
            with_body(request, async |call| attribute::run(state, user, call).await).await
        }
        (Method::POST, "/v1/shutdown") => with_body(request, async |call| shutdown(state, call).await).await,
        (_, path) if path.starts_with("/v1/") => {
            failure(StatusCode::NOT_FOUND, crm::PROTOCOL, format!("no such request: {path}"))
        }
        _ => failure(StatusCode::NOT_FOUND, crm::PROTOCOL, "requests are below /v1/".to_owned()),
    }
}

async fn asked<T: Serialize>(state: &State, make: impl FnOnce(tokio::sync::oneshot::Sender<T>) -> Ask) -> Reply {
    match tokio::time::timeout(ANSWER_WITHIN, state.asker.ask(make)).await {
        Ok(Some(answer)) => json(StatusCode::OK, &answer),
        Ok(None) => failure(StatusCode::SERVICE_UNAVAILABLE, crm::DISCONNECT, "the node is shutting down".to_owned()),
        Err(_) => failure(StatusCode::GATEWAY_TIMEOUT, crm::TIMEOUT, "the controller does not answer".to_owned()),
    }
}

/// Asks the controller; gives up after `within`.
async fn ask(state: &State, request: Request, within: Duration) -> Answer {
    match tokio::time::timeout(within, state.asker.ask(|to| Ask::Request(Box::new(request), to))).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Answer::Failed { code: crm::DISCONNECT, message: "the node is shutting down".to_owned() },
        Err(_) => Answer::Failed {
            code: crm::TIMEOUT,
            message: format!("no acknowledgement within {} ms; the change may still take effect", within.as_millis()),
        },
    }
}

/// The wait that a client asked for, within reason.
fn within(timeout_ms: u64) -> Duration {
    if timeout_ms == 0 { ANSWER_WITHIN } else { Duration::from_millis(timeout_ms).min(ANSWER_AT_MOST) }
}

async fn with_body<T: DeserializeOwned, R: Serialize>(
    request: HttpRequest<Incoming>,
    handle: impl AsyncFnOnce(T) -> R,
) -> Reply {
    let body = match Limited::new(request.into_body(), MAX_BODY_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            return failure(
                StatusCode::BAD_REQUEST,
                crm::PROTOCOL,
                format!("body (at most {MAX_BODY_BYTES} bytes): {error}"),
            );
        }
    };
    match serde_json::from_slice(&body) {
        Ok(call) => json(StatusCode::OK, &handle(call).await),
        Err(error) => {
            // Well-formed, but with a text or a number that cannot be taken: the caller's data is at fault.
            let code = if error.is_data() { crm::DATAERR } else { crm::PROTOCOL };
            failure(StatusCode::BAD_REQUEST, code, format!("body: {error}"))
        }
    }
}

async fn shutdown(state: &State, call: wire::api::ShutdownCall) -> Done {
    if call.keep_resources {
        return match state.asker.ask(|to| Ask::Leave(true, to)).await {
            Some(Ok(())) => Done::default(),
            Some(Err(message)) => Done { code: crm::ERROR, message: Some(message), ..Done::default() },
            None => {
                Done { code: crm::DISCONNECT, message: Some("the node is shutting down".to_owned()), ..Done::default() }
            }
        };
    }
    convert::done(ask(state, Request::Shutdown { cancel: false }, ANSWER_WITHIN).await)
}

/// Answered without the core task, so that it tells when that hangs.
fn health(state: &State) -> Reply {
    let mut problems = Vec::new();
    let silent = crate::clock::now().since(state.ring.last_tick());
    if silent > crate::ring::NOT_READY_AFTER {
        problems.push(format!("the controller has not ticked for {} ms", silent.as_millis()));
    }
    let ring = state.ring.status().totem;
    if !ring.current {
        problems.push(format!("the ring is not current ({:?})", ring.state));
    }
    let ok = problems.is_empty();
    json(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &Health { ok, problems })
}

fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    reply
}

fn failure(status: StatusCode, code: i32, message: String) -> Reply {
    json(status, &ApiError { code, message })
}
