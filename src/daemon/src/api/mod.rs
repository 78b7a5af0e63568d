//! The local API: HTTP/1.1 over a unix socket. Who may ask is decided by peer credentials.
//!
//! Each connection is a task of its own, in a place that [`admission`] gives it. What only reads is answered from what the core
//! task ([`crate::node`]) has last shown; what changes anything becomes one question to it. Bodies are those of `wire::api`;
//! [`convert`] maps them onto the controller's requests, [`attribute`] onto changes of the CIB.

mod admission;
mod attribute;
mod convert;
mod peer;

use crate::node::{Ask, Asker, Shown};
use crate::ring::Ring;
use crate::timeline::Timeline;
use admission::{Admission, Place};
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
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use wire::api::{ApiError, Done, Health, MAX_BODY_BYTES, MAX_REQUEST_BODY_BYTES, SOCKET_NAME};

/// A connection that has not sent its next request's head within this is closed.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long a request's body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(30);
/// Longest life of a connection, for those whose peer never reads its answer.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(660);
/// Bodies up to this size are taken at once; all larger ones together may have [`BODY_ROOM_BYTES`] of memory.
const SMALL_BODY_BYTES: usize = 64 * 1024;
const BODY_ROOM_BYTES: usize = 4 * MAX_REQUEST_BODY_BYTES;
/// Connections without a place that are told so at the same time, and how long that may take.
const MAX_TOLD: usize = 64;
const TELL_WITHIN: Duration = Duration::from_millis(300);
/// Large documents that are read, tried or rendered at the same time.
const HEAVY_WORKERS: usize = 2;
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
    body_room: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
}

impl State {
    pub fn new(asker: Asker, timeline: Timeline, ring: Ring, node: &str) -> State {
        let (body_room, heavy) = (Semaphore::new(BODY_ROOM_BYTES), Semaphore::new(HEAVY_WORKERS));
        State { asker, timeline, ring, node: node.into(), body_room: Arc::new(body_room), heavy: Arc::new(heavy) }
    }

    /// The node as it is now; within the time that a reader is given.
    async fn look(&self) -> Result<Arc<Shown>, ApiError> {
        match tokio::time::timeout(ANSWER_WITHIN, self.asker.look()).await {
            Ok(Some(shown)) => Ok(shown),
            Ok(None) => Err(ApiError { code: crm::DISCONNECT, message: "the node is shutting down".to_owned() }),
            Err(_) => Err(ApiError { code: crm::TIMEOUT, message: "the controller does not answer".to_owned() }),
        }
    }

    /// Work whose length depends on the size of a document: on a thread of its own, so that nothing else waits for it.
    async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
        let _turn = self.heavy.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| ApiError { code: crm::SOFTWARE, message: format!("the request failed inside the node: {e}") })
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
    let admission = Admission::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (pool, pid) = peer::pool(&stream);
                let place = admission.admit(pool, Instant::now(), || peer::descends_from_here(pid));
                tokio::spawn(connection(stream, state.clone(), place));
            }
            Err(error) => {
                tracing::warn!("API socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: UnixStream, state: State, place: Option<Place>) {
    let Some(place) = place else { return turned_away(stream).await };
    let serve = place.server();
    let allowed = peer::allowed(&stream).await;
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let (state, allowed, serving) = (state.clone(), allowed.clone(), serve());
        async move {
            let _serving = serving;
            Ok::<_, std::convert::Infallible>(match allowed {
                Ok(user) => respond(request, &state, &user).await,
                Err(why) => failure(StatusCode::FORBIDDEN, crm::INSUFFICIENT_PRIV, why),
            })
        }
    });
    let io = hyper_util::rt::TokioIo::new(stream);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    // A client that goes away in the middle is its own affair.
    tokio::select! {
        _ = http.serve_connection(io, service) => {}
        () = place.taken_away() => {}
        () = tokio::time::sleep(CONNECTION_AT_MOST) => {}
    }
}

/// Says why there is no place, once the request has come; if too many must be told at a time, the rest are just closed.
async fn turned_away(mut stream: UnixStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    static TOLD: Semaphore = Semaphore::const_new(MAX_TOLD);
    let Ok(_turn) = TOLD.try_acquire() else { return };
    // A client that still writes would not see the answer.
    let _ = tokio::time::timeout(TELL_WITHIN, stream.read(&mut [0; 8192])).await;
    let message = format!(
        "too many requests of this user are being served (at most {} of an operator, {} of another user); try again",
        admission::MAX_OPERATORS,
        admission::MAX_PER_USER
    );
    let body = serde_json::to_string(&ApiError { code: crm::UNAVAILABLE, message }).unwrap_or_default();
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let _ = tokio::time::timeout(TELL_WITHIN, stream.write_all(text.as_bytes())).await;
    let _ = tokio::time::timeout(TELL_WITHIN, stream.shutdown()).await;
}

type Reply = Response<Full<Bytes>>;

async fn respond(request: HttpRequest<Incoming>, state: &State, user: &str) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (method, path.as_str()) {
        (Method::GET, "/v1/status") => match state.look().await {
            Ok(shown) => json(StatusCode::OK, &shown.status),
            Err(error) => refused(&error),
        },
        (Method::GET, "/v1/quorum") => match state.look().await {
            Ok(shown) => {
                json(StatusCode::OK, &wire::api::QuorumStatus { now: crate::clock::wall(), ..shown.quorum.clone() })
            }
            Err(error) => refused(&error),
        },
        (Method::GET, "/v1/health") => health(state),
        (Method::GET, "/v1/timeline") => {
            let since = query.strip_prefix("since_us=").and_then(|n| n.parse().ok()).unwrap_or(0);
            json(StatusCode::OK, &state.timeline.since(Time(since)))
        }
        (Method::POST, "/v1/cib") => {
            with_body(request, state, async |call| convert::cib(state, user, call).await).await
        }
        (Method::POST, "/v1/cleanup") => {
            with_body(request, state, async |call| convert::cleanup(state, call).await).await
        }
        (Method::POST, "/v1/attribute") => {
            with_body(request, state, async |call| attribute::run(state, user, call).await).await
        }
        (Method::POST, "/v1/shutdown") => with_body(request, state, async |call| shutdown(state, call).await).await,
        (_, path) if path.starts_with("/v1/") => {
            failure(StatusCode::NOT_FOUND, crm::PROTOCOL, format!("no such request: {path}"))
        }
        _ => failure(StatusCode::NOT_FOUND, crm::PROTOCOL, "requests are below /v1/".to_owned()),
    }
}

fn refused(error: &ApiError) -> Reply {
    let status = match error.code {
        crm::DISCONNECT => StatusCode::SERVICE_UNAVAILABLE,
        crm::TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(status, error)
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

async fn with_body<T: DeserializeOwned + Send + 'static, R: Serialize>(
    request: HttpRequest<Incoming>,
    state: &State,
    handle: impl AsyncFnOnce(T) -> R,
) -> Reply {
    let body = match tokio::time::timeout(BODY_WITHIN, read_body(request, state)).await {
        Ok(Ok(body)) => body,
        Ok(Err(reply)) => return *reply,
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_WITHIN.as_secs());
            return failure(StatusCode::REQUEST_TIMEOUT, crm::TIMEOUT, message);
        }
    };
    let (body, _room) = body;
    let call = match body.len() {
        0..=SMALL_BODY_BYTES => serde_json::from_slice(&body),
        _ => match state.heavy(move || serde_json::from_slice(&body)).await {
            Ok(call) => call,
            Err(error) => return refused(&error),
        },
    };
    match call {
        Ok(call) => json(StatusCode::OK, &handle(call).await),
        Err(error) => {
            // Well-formed, but with a text or a number that cannot be taken: the caller's data is at fault.
            let code = if error.is_data() { crm::DATAERR } else { crm::PROTOCOL };
            failure(StatusCode::BAD_REQUEST, code, format!("body: {error}"))
        }
    }
}

/// A body and the room that it takes; one that is too large is read to its end (or to the most that an answer may have) and
/// not kept, since a client that still writes would not see the answer.
async fn read_body(
    request: HttpRequest<Incoming>,
    state: &State,
) -> Result<(Bytes, Option<tokio::sync::OwnedSemaphorePermit>), Box<Reply>> {
    use hyper::body::Body;
    let mut body = request.into_body();
    let expected = body.size_hint().upper().unwrap_or(u64::MAX);
    if expected > MAX_REQUEST_BODY_BYTES as u64 {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_BODY_BYTES {
                break;
            }
        }
        let found = if expected == u64::MAX { read as u64 } else { expected };
        let message = format!(
            "Too large: the request's body has {found} bytes, at most {MAX_REQUEST_BODY_BYTES} are accepted; \
             split it into several"
        );
        return Err(Box::new(failure(StatusCode::PAYLOAD_TOO_LARGE, crm::DATAERR, message)));
    }
    let room = match expected as usize {
        0..=SMALL_BODY_BYTES => None,
        bytes => state.body_room.clone().acquire_many_owned(bytes as u32).await.ok(),
    };
    match Limited::new(body, MAX_REQUEST_BODY_BYTES).collect().await {
        Ok(body) => Ok((body.to_bytes(), room)),
        Err(error) => Err(Box::new(failure(StatusCode::BAD_REQUEST, crm::PROTOCOL, format!("body: {error}")))),
    }
}

async fn shutdown(state: &State, call: wire::api::ShutdownCall) -> Done {
    if call.keep_resources {
        return match state.asker.ask(|to| Ask::Leave(true, to)).await {
            Some(Ok(())) => Done::default(),
            Some(Err(why)) => Done { code: crm::ERROR, message: Some(why.to_string()), ..Done::default() },
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
