//! Connections: TLS, HTTP/1.1, one request after the other, all within bounds.
//!
//! | bound | |
//! |---|---|
//! | connections, of one address | [`MAX_CONNECTIONS`], [`MAX_PER_ADDRESS`] |
//! | handshake, head of a request, body | [`HANDSHAKE_WITHIN`], [`HEAD_WITHIN`], [`BODY_WITHIN`] |
//! | head, body | [`MAX_HEAD_BYTES`], by [`Permit::body_bytes`] |
//! | a connection as a whole | [`CONNECTION_AT_MOST`] |

use super::gate::{Ask, Gate, Peer, Permit};
use super::identity::{Identity, pin_of};
use super::login::{Denied, Logins};
use super::stage::Desk;
use super::{lists, node};
use crate::web::{Login, NotIn, Web};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use kernel::service::Service;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_openssl::SslStream;
use wire::pcsd::{Add, Auth, Authorized, Done, Fetched, FileBody, Forget, Kind, Places, Refusal, USER};
use wire::pcsd::{ServiceCall, Stage, Transaction, is_plain};

/// Each open page has one for as long as it is open.
pub const MAX_CONNECTIONS: usize = 1024;
pub const MAX_PER_ADDRESS: usize = 256;
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
pub const BODY_WITHIN: Duration = Duration::from_secs(30);
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// A stop waits for resources to move away.
pub const CONNECTION_AT_MOST: Duration = Duration::from_secs(1260);
/// Until a host that wants in is a node.
const ADD_WITHIN: Duration = Duration::from_secs(170);
/// Whether the certificate is still good for long.
pub const RENEW_EACH: Duration = Duration::from_secs(24 * 3600);

pub struct Server {
    pub places: Places,
    pub service: Service,
    pub host: String,
    identity: Mutex<Arc<Identity>>,
    gate: Gate,
    logins: Logins,
    desk: Mutex<Desk>,
    /// Files and the node's life are one order's at a time.
    busy: tokio::sync::Mutex<()>,
    open: Mutex<BTreeMap<IpAddr, usize>>,
    pub web: Web,
}

impl Server {
    pub fn new(places: Places, host: String, identity: Identity, pam: Option<String>) -> Server {
        Server {
            service: node::service(&places),
            gate: Gate::new(&places.pcsd),
            logins: Logins::new(&places.pcsd, pam),
            desk: Mutex::new(Desk::open(places.clone())),
            identity: Mutex::new(Arc::new(identity)),
            busy: tokio::sync::Mutex::new(()),
            open: Mutex::default(),
            web: Web::new(&places.socket),
            places,
            host,
        }
    }

    /// The certificate anew where its end comes near, or where another has been put in its place.
    pub fn renew(&self) -> Result<bool, String> {
        let (identity, new) = Identity::keep(&self.places.pcsd, &self.host)?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(identity);
        Ok(new)
    }

    /// Until aborted.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => match Place::take(&self, from.ip()) {
                    Some(place) => drop(tokio::spawn(self.clone().connection(stream, from, place))),
                    // Nothing is said to whom there is no room for: it would cost a handshake.
                    None => tracing::warn!("{from}: too many connections"),
                },
                Err(error) => {
                    tracing::warn!("{error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, from: SocketAddr, _place: Place) {
        let _ = tcp.set_nodelay(true);
        let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let tls = identity.server().map_err(|e| e.to_string());
        let tls = tls.and_then(|ssl| SslStream::new(ssl, tcp).map_err(|e| e.to_string()));
        let mut tls = match tls {
            Ok(tls) => tls,
            Err(error) => return tracing::error!("TLS: {error}"),
        };
        match tokio::time::timeout(HANDSHAKE_WITHIN, Pin::new(&mut tls).accept()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!("{from}: {error}"),
            Err(_) => return tracing::debug!("{from}: no handshake within {} s", HANDSHAKE_WITHIN.as_secs()),
        }
        let pin = tls.ssl().peer_certificate().and_then(|c| pin_of(&c));
        let peer = Peer { from, pin };
        let service = service_fn(move |request| {
            let (server, peer) = (self.clone(), peer.clone());
            async move { Ok::<_, std::convert::Infallible>(server.respond_any(request, &peer).await) }
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        http.max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        let io = hyper_util::rt::TokioIo::new(tls);
        let _ = tokio::time::timeout(CONNECTION_AT_MOST, http.serve_connection(io, service)).await;
    }

    /// Hosts ask below `/v1/`, people look at the page.
    async fn respond_any(&self, request: Request<Incoming>, peer: &Peer) -> crate::web::Reply {
        if !Web::has(request.uri().path()) {
            return self.respond(request, peer).await.map(|body| body.boxed_unsync());
        }
        let log_in = |login| self.log_in_page(login, peer);
        self.web.respond(request, log_in, |user, outcome, what| self.gate.note_page(peer, user, outcome, what)).await
    }

    /// As a host logs in; there is no key to be remembered, the page gets a session.
    async fn log_in_page(&self, login: Login, peer: &Peer) -> Result<String, NotIn> {
        let user = if login.token.is_some() { USER.to_owned() } else { login.user };
        let auth = Auth { user: user.clone(), password: login.password, token: login.token, from: "page".to_owned() };
        let checked = self.logins.check(auth, peer.from.ip()).await.map_err(Failure::from);
        let outcome = if checked.is_ok() { "done" } else { "refused" };
        self.gate.note_page(peer, &user, outcome, "log-in");
        checked.map(|_| user).map_err(|f| NotIn { status: f.status, why: f.why })
    }

    async fn respond(&self, request: Request<Incoming>, peer: &Peer) -> Reply {
        let Some(ask) = Ask::of(request.uri().path()) else {
            return refusal(StatusCode::NOT_FOUND, "there is no such request");
        };
        if request.method() != Method::POST {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "expected POST");
        }
        // Before a byte of the body is read.
        let permit = match self.gate.admit(peer, ask) {
            Ok(permit) => permit,
            Err(why) => return refusal(StatusCode::UNAUTHORIZED, &why),
        };
        let body = match body(request, &permit).await {
            Ok(body) => body,
            Err((status, why)) => {
                self.gate.note(&permit, "refused", &why);
                return refusal(status, &why);
            }
        };
        match self.carry_out(&permit, &body).await {
            Ok(reply) => {
                self.gate.note(&permit, "done", &reply.told);
                json(StatusCode::OK, reply.body)
            }
            Err(failure) => {
                self.gate.note(&permit, "failed", &failure.why);
                let mut reply = refusal(failure.status, &failure.why);
                let after = failure.after_s.and_then(|s| HeaderValue::from_str(&s.to_string()).ok());
                after.into_iter().for_each(|s| drop(reply.headers_mut().insert(RETRY_AFTER, s)));
                reply
            }
        }
    }

    async fn carry_out(&self, permit: &Permit, body: &[u8]) -> Result<Answer, Failure> {
        match permit.ask() {
            Ask::Login => self.log_in(permit, parse(body)?).await,
            Ask::Host => answer("", &node::host(&self.places, &self.service, &self.host).await),
            Ask::Stage => {
                let (call, by): (Stage, _) = (parse(body)?, permit.name.clone());
                let what: Vec<&str> = call.files.iter().map(|f| f.kind.words()).collect();
                let told = format!("{}: {}", call.transaction.escape_debug(), what.join(", "));
                self.desk(&told, move |desk, service| desk.stage(&call, &by, service)).await
            }
            Ask::Commit => {
                let Transaction { transaction } = parse(body)?;
                self.desk(&transaction.clone(), move |desk, _| desk.commit(&transaction)).await
            }
            Ask::Abort => {
                let Transaction { transaction } = parse(body)?;
                self.desk(&transaction.clone(), move |desk, _| desk.abort(&transaction)).await
            }
            Ask::Service => {
                let ServiceCall { action } = parse(body)?;
                let _turn = self.busy.lock().await;
                let message = node::act(&self.places, &self.service, action).await?;
                answer(&format!("{action:?}: {message}"), &Done { message })
            }
            Ask::Fetch => answer("files", &fetch(&self.places)?),
            Ask::Add => self.add(parse(body)?).await,
            Ask::Forget => {
                let Forget { pins } = parse(body)?;
                lists::forget(&self.places.pcsd, &pins)?;
                answer(&format!("{} keys", pins.len()), &Done::default())
            }
        }
    }

    /// By the command that an operator would type here; it asks this daemon in turn, so nothing is held meanwhile.
    async fn add(&self, call: Add) -> Result<Answer, Failure> {
        if !is_plain(&call.name) || !is_plain(&call.address) {
            return Err(Failure::of(StatusCode::BAD_REQUEST, "expected the name and the address of a host"));
        }
        let mut command = tokio::process::Command::new(&self.service.program);
        command.args(["pcs", "cluster", "node", "add", &call.name, &format!("addr={}", call.address)]);
        command.args(["--start", "--enable", "--wait=120"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        command.env_remove("NOTIFY_SOCKET");
        let output = tokio::time::timeout(ADD_WITHIN, command.output()).await;
        let output = output.map_err(|_| format!("{} was not added within {} s", call.name, ADD_WITHIN.as_secs()))?;
        let output = output.map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.success() {
            true => answer(&format!("{} is added", call.name), &Done { message: said }),
            false => {
                Err(Failure::from(said.lines().skip_while(|l| !l.starts_with("Error")).collect::<Vec<_>>().join("\n")))
            }
        }
    }

    async fn desk(
        &self,
        told: &str,
        work: impl FnOnce(&mut Desk, &Service) -> Result<String, String>,
    ) -> Result<Answer, Failure> {
        let _turn = self.busy.lock().await;
        // A disk that is slow holds up this connection and those that wait for their turn, nobody else.
        let done = tokio::task::block_in_place(|| {
            let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut desk, &self.service)
        });
        answer(told, &Done { message: done? })
    }

    async fn log_in(&self, permit: &Permit, auth: Auth) -> Result<Answer, Failure> {
        let pin = permit.peer.pin.clone();
        let pin =
            pin.ok_or_else(|| Failure::of(StatusCode::BAD_REQUEST, "no key was shown: expected a client certificate"))?;
        let name = auth.from.clone();
        if !is_plain(&name) {
            return Err(Failure::of(StatusCode::BAD_REQUEST, "expected the name of the asking host"));
        }
        match self.logins.check(auth, permit.peer.from.ip()).await {
            Ok(how) => {
                lists::authorise(&self.places.pcsd, &pin, &name, how)?;
                let told = format!("{name} may give orders from now on ({how})");
                answer(&told, &Authorized { host: self.host.clone(), version: env!("CARGO_PKG_VERSION").to_owned() })
            }
            Err(denied) => Err(denied.into()),
        }
    }
}

/// The files of the cluster, for a host that joins.
fn fetch(places: &Places) -> Result<Fetched, Failure> {
    let read = |kind, path: &Path| {
        let bytes = kernel::files::read_regular(path, crate::config::MAX_FILE_BYTES);
        bytes.map(|b| FileBody::of(kind, &b)).map_err(|e| format!("{}: {e}", path.display()))
    };
    let known = lists::known(&places.pcsd)?.known_hosts;
    let hosts = serde_json::to_vec(&known).map_err(|e| e.to_string())?;
    let files = vec![
        read(Kind::CorosyncConf, &places.conf)?,
        read(Kind::Authkey, &places.authkey)?,
        FileBody::of(Kind::Hosts, &hosts),
    ];
    Ok(Fetched { files })
}

type Reply = Response<Full<Bytes>>;

struct Answer {
    body: Vec<u8>,
    /// For the log.
    told: String,
}

fn answer(told: &str, body: &impl Serialize) -> Result<Answer, Failure> {
    let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
    Ok(Answer { body, told: told.to_owned() })
}

struct Failure {
    status: StatusCode,
    why: String,
    after_s: Option<u64>,
}

impl Failure {
    fn of(status: StatusCode, why: &str) -> Failure {
        Failure { status, why: why.to_owned(), after_s: None }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Failure {
        match denied {
            Denied::Wrong => Failure::of(StatusCode::FORBIDDEN, "Username and/or password is incorrect"),
            Denied::Impossible(why) => Failure::of(StatusCode::NOT_IMPLEMENTED, &why),
            Denied::Wait(seconds) => Failure {
                after_s: Some(seconds),
                ..Failure::of(
                    StatusCode::TOO_MANY_REQUESTS,
                    &format!("too many failed log-ins from this address: try again in {seconds} s"),
                )
            },
        }
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure { status: StatusCode::CONFLICT, why, after_s: None }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|e| Failure::of(StatusCode::BAD_REQUEST, &format!("body: {e}")))
}

async fn body(request: Request<Incoming>, permit: &Permit) -> Result<Bytes, (StatusCode, String)> {
    use hyper::body::Body;
    let most = permit.body_bytes();
    let body = request.into_body();
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body may have {most} bytes"));
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_WITHIN, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("body: {error}"))),
        Err(_) => {
            Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {} s", BODY_WITHIN.as_secs())))
        }
    }
}

fn json(status: StatusCode, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn refusal(status: StatusCode, why: &str) -> Reply {
    json(status, serde_json::to_vec(&Refusal { message: why.to_owned() }).unwrap_or_default())
}

/// Room for one connection.
struct Place {
    server: Arc<Server>,
    from: IpAddr,
}

impl Place {
    fn take(server: &Arc<Server>, from: IpAddr) -> Option<Place> {
        let mut open = server.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(&from).copied().unwrap_or(0);
        if all >= MAX_CONNECTIONS || own >= MAX_PER_ADDRESS {
            return None;
        }
        open.insert(from, own + 1);
        Some(Place { server: server.clone(), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.server.open.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get(&self.from).copied() {
            Some(own) if own > 1 => drop(open.insert(self.from, own - 1)),
            _ => drop(open.remove(&self.from)),
        }
    }
}
