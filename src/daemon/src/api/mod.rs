//! The local API: HTTP/1.1 over a unix socket. Who may ask is decided by peer credentials, and what in [`authority`].
//!
//! Each connection is a task of its own, in a place that [`admission`] gives it. What only reads is answered from what the core
//! task ([`crate::node`]) has last shown; what changes anything becomes one question to it. Bodies are those of `wire::api`;
//! [`convert`] maps them onto the controller's requests, [`attribute`] onto changes of the CIB.

mod admission;
mod attribute;
mod authority;
mod convert;
mod far;
mod fencing;
mod keys;
mod peer;

pub use far::serve_far;
pub(crate) use fencing::event;

use admission::{Admission, Place};
pub use authority::State;
use authority::{Caller, Who};
use base::Time;
use base::exit::crm;
use controller::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use wire::api::{ApiError, Done, MAX_BODY_BYTES, MAX_REQUEST_BODY_BYTES, SOCKET_NAME, USER_HEADER};

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
/// Longest name of a user that is taken.
const MAX_USER_BYTES: usize = 64;
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

/// The name of the peer of a local socket, if it may ask.
pub async fn user_of(stream: &UnixStream) -> Result<String, String> {
    peer::allowed(stream).await.map(|who| who.name().to_owned())
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
                Ok(who) => match acting(&request, who).await {
                    Ok(who) => respond(request, &state.caller(who)).await,
                    Err(why) => failure(StatusCode::BAD_REQUEST, crm::USAGE, why),
                },
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

/// The user on whose behalf a request is: the peer, or whom one that no ACL concerns names instead (`CIB_user`). Of anybody
/// else such a word counts nothing.
async fn acting(request: &HttpRequest<Incoming>, peer: Who) -> Result<Who, String> {
    let (Who::Exempt(_), Some(name)) = (&peer, request.headers().get(USER_HEADER)) else { return Ok(peer) };
    let name = name.to_str().ok().filter(|n| !n.is_empty() && n.len() <= MAX_USER_BYTES);
    let name = name.ok_or_else(|| format!("{USER_HEADER}: expected a user's name"))?;
    Ok(peer::named(name.to_owned()).await)
}

async fn respond(request: HttpRequest<Incoming>, caller: &Caller) -> Reply {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    match (method, path.as_str()) {
        (Method::GET, "/v1/status") => told(caller.status().await),
        (Method::GET, "/v1/quorum") => {
            let now = crate::clock::wall();
            told(caller.quorum().await.map(|quorum| wire::api::QuorumStatus { now, ..quorum }))
        }
        (Method::GET, "/v1/health") => {
            let health = caller.health();
            json(if health.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
        }
        (Method::GET, "/v1/timeline") => {
            let since = query.strip_prefix("since_us=").and_then(|n| n.parse().ok()).unwrap_or(0);
            told(caller.timeline(Time(since)).await)
        }
        (Method::POST, "/v1/cib") => with_body(request, caller, async |call| convert::cib(caller, call).await).await,
        (Method::POST, "/v1/cleanup") => {
            with_body(request, caller, async |call| convert::cleanup(caller, call).await).await
        }
        (Method::POST, "/v1/attribute") => {
            with_body(request, caller, async |call| attribute::run(caller, call).await).await
        }
        (Method::POST, "/v1/fencing") => {
            with_body(request, caller, async |call| fencing::run(caller, call).await).await
        }
        (Method::POST, "/v1/shutdown") => with_body(request, caller, async |call| shutdown(caller, call).await).await,
        (Method::POST, "/v1/reload") => with_body(request, caller, async |call| caller.reload(call).await).await,
        (Method::POST, "/v1/votes") => with_body(request, caller, async |call| caller.votes(call).await).await,
        (Method::POST, "/v1/kill") => with_body(request, caller, async |call| caller.kill(call).await).await,
        (Method::GET, "/v1/keys") => {
            let after = query.strip_prefix("after=").and_then(|n| n.parse().ok()).unwrap_or(0);
            told(caller.keys(after).await)
        }
        (Method::GET, "/v1/changes") => {
            told(caller.changes(number(&query, "after").unwrap_or(0), number(&query, "wait_ms").unwrap_or(0)).await)
        }
        (Method::GET, "/v1/groups") => told(caller.groups().await),
        (Method::POST, "/v1/blackbox") => told(caller.blackbox().await),
        (Method::POST, "/v1/keys") => with_body(request, caller, async |call| caller.change_keys(call).await).await,
        (_, path) if path.starts_with("/v1/") => {
            failure(StatusCode::NOT_FOUND, crm::PROTOCOL, format!("no such request: {path}"))
        }
        _ => failure(StatusCode::NOT_FOUND, crm::PROTOCOL, "requests are below /v1/".to_owned()),
    }
}

/// A number among a request's parameters.
fn number(query: &str, name: &str) -> Option<u64> {
    let value = |pair: &str| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    query.split('&').find_map(value)
}

fn told(answer: Result<impl Serialize, ApiError>) -> Reply {
    match answer {
        Ok(answer) => json(StatusCode::OK, &answer),
        Err(error) => refused(&error),
    }
}

fn refused(error: &ApiError) -> Reply {
    let status = match error.code {
        crm::DISCONNECT => StatusCode::SERVICE_UNAVAILABLE,
        crm::TIMEOUT => StatusCode::GATEWAY_TIMEOUT,
        crm::INSUFFICIENT_PRIV => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(status, error)
}

/// The wait that a client asked for, within reason.
fn within(timeout_ms: u64) -> Duration {
    if timeout_ms == 0 { ANSWER_WITHIN } else { Duration::from_millis(timeout_ms).min(ANSWER_AT_MOST) }
}

async fn with_body<T: DeserializeOwned + Send + 'static, R: Serialize>(
    request: HttpRequest<Incoming>,
    caller: &Caller,
    handle: impl AsyncFnOnce(T) -> R,
) -> Reply {
    let body = match tokio::time::timeout(BODY_WITHIN, read_body(request, caller)).await {
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
        _ => match caller.heavy(move || serde_json::from_slice(&body)).await {
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
    caller: &Caller,
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
        bytes => caller.body_room(u32::try_from(bytes).unwrap_or(u32::MAX)).await,
    };
    match Limited::new(body, MAX_REQUEST_BODY_BYTES).collect().await {
        Ok(body) => Ok((body.to_bytes(), room)),
        Err(error) => Err(Box::new(failure(StatusCode::BAD_REQUEST, crm::PROTOCOL, format!("body: {error}")))),
    }
}

async fn shutdown(caller: &Caller, call: wire::api::ShutdownCall) -> Done {
    match call.keep_resources {
        true => caller.leave().await,
        false => convert::done(caller.ask(Request::Shutdown { cancel: false }, ANSWER_WITHIN).await),
    }
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
