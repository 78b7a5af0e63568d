//! `--listen`: answers `GET /metrics` over HTTP/1.1, for collectors that come to fetch.
//!
//! Whoever can reach it reads it, as with every exporter; nothing can be changed here. Connections are bounded in number and time, and
//! however many ask, the node is asked once a second at most.

use super::{Facts, text};
use crate::source::Failure;
use base::exit::crm;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Semaphore};

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Collectors that are served at a time; more are turned away at once.
const MAX_CONNECTIONS: usize = 64;
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longest life of a connection; collectors come again.
const CONNECTION_AT_MOST: Duration = Duration::from_secs(300);
/// An answer counts so long.
const FRESH: Duration = Duration::from_secs(1);

/// Where to serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let absolute = path.starts_with('/');
            return if absolute {
                Ok(Place::Unix(path.into()))
            } else {
                Err("expected unix:/ABSOLUTE/PATH".to_owned())
            };
        }
        let expected = |_| "expected ADDRESS:PORT such as 127.0.0.1:9664 or [::1]:9664, or unix:/PATH".to_owned();
        text.parse().map(Place::Tcp).map_err(expected)
    }
}

/// The last answer and when it was made.
type Last = Arc<Mutex<Option<(Instant, Bytes)>>>;

/// For ever; ends where it cannot listen.
pub fn serve(place: &Place) -> Result<i32, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(crm::OSERR, e.to_string()))?;
    runtime.block_on(async {
        let (last, room) = (Last::default(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        match place {
            Place::Tcp(address) => {
                let listener =
                    tokio::net::TcpListener::bind(address).await.map_err(|e| cannot(&address.to_string(), &e))?;
                loop {
                    taken(listener.accept().await.map(|(stream, _)| stream), &last, &room).await;
                }
            }
            Place::Unix(path) => {
                let listener = bind(path).map_err(|e| cannot(&path.display().to_string(), &e))?;
                loop {
                    taken(listener.accept().await.map(|(stream, _)| stream), &last, &room).await;
                }
            }
        }
    })
}

fn cannot(place: &str, error: &std::io::Error) -> Failure {
    Failure::new(crm::CANTCREAT, format!("cannot listen on {place}: {error}"))
}

/// A socket that nobody answers on is replaced.
fn bind(path: &PathBuf) -> std::io::Result<tokio::net::UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    tokio::net::UnixListener::bind(path)
}

async fn taken<S>(accepted: std::io::Result<S>, last: &Last, room: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(stream) = accepted else {
        // Out of descriptors, most likely; they come back.
        return tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let Ok(place) = room.clone().try_acquire_owned() else { return };
    let last = last.clone();
    tokio::spawn(async move {
        let _place = place;
        let service = service_fn(|request| answer(request, last.clone()));
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        // A collector that goes away in the middle is its own affair.
        let _ = tokio::time::timeout(CONNECTION_AT_MOST, connection).await;
    });
}

async fn answer(request: Request<Incoming>, last: Last) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let short = |status: StatusCode, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response
    };
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => {
            let mut response = Response::new(Full::new(current(&last).await));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
            response
        }
        (&Method::GET, _) => short(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
        _ => {
            let mut response = short(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            response
        }
    })
}

/// The last answer if it is fresh, else a new one; who comes meanwhile waits for it.
async fn current(last: &Last) -> Bytes {
    let mut last = last.lock().await;
    if let Some((at, bytes)) = &*last
        && at.elapsed() < FRESH
    {
        return bytes.clone();
    }
    let made = tokio::task::spawn_blocking(|| text(&Facts::ask())).await.unwrap_or_default();
    let bytes = Bytes::from(made);
    *last = Some((Instant::now(), bytes.clone()));
    bytes
}
