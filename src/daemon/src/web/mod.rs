//! The web page: served by `bascule pcsd` beside what hosts ask of each other, as pcsd does.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `/app.js`, `/style.css`, `/icon.svg` | the page, which is in the program and asks no other host |
//! | `GET /manual`, `/manual/TOPIC` | the manual |
//! | `POST /web/login` | `{"user", "password"}`, or `{"token"}`: a session's cookie |
//! | `POST /web/logout` | ends it |
//! | `GET /web/me` | who has logged in, and whether this user may act on this host |
//! | `GET /web/events` | the state ([`state`]) whenever it changes, as server-sent events |
//! | `POST /web/action` | an [`actions::Action`] is carried out, its [`actions::Outcome`] |
//!
//! Everything below `/web/` but the log-in needs a session; whatever changes something also needs a header that pages of other sites
//! cannot send. The node's API decides what a user may see and change.

mod actions;
mod history;
mod manual;
mod session;
mod state;
mod watch;

use actions::{Action, Outcome};
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use session::Sessions;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;
pub type Reply = Response<Body>;

/// Of a request's body.
const MAX_BODY_BYTES: usize = 16 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// A page that hears nothing for longer tries again.
const ALIVE_EACH: Duration = Duration::from_secs(15);
/// What pages of other sites cannot send without being asked first, and they are not.
const OWN_HEADER: &str = "bascule-page";
/// Whom no permission of the cluster's concerns.
const EXEMPT: [&str; 2] = ["root", "hacluster"];

const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
];

struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static str,
}

const ASSETS: [Asset; 4] = [
    Asset { path: "/", kind: "text/html; charset=utf-8", content: include_str!("assets/index.html") },
    Asset { path: "/app.js", kind: "text/javascript; charset=utf-8", content: include_str!("assets/app.js") },
    Asset { path: "/style.css", kind: "text/css; charset=utf-8", content: include_str!("assets/style.css") },
    Asset { path: "/icon.svg", kind: "image/svg+xml", content: include_str!("assets/icon.svg") },
];

/// What somebody who logs in has to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub password: Option<String>,
    #[serde(default)]
    pub token: Option<String>,
}

/// Why it is not enough: a status and words.
pub struct NotIn {
    pub status: StatusCode,
    pub why: String,
}

pub struct Web {
    watch: Arc<Watch>,
    sessions: Sessions,
}

#[derive(Serialize)]
struct Me<'a> {
    user: &'a str,
    /// May act on what is of this host alone.
    operator: bool,
}

impl Web {
    /// `socket`: where the node answers.
    pub fn new(socket: &Path) -> Web {
        Web { watch: Watch::new(socket), sessions: Sessions::default() }
    }

    /// Keeps the servers' history; until aborted.
    pub async fn follow_servers(&self) {
        self.watch.clone().follow_servers().await;
    }

    /// Whether a request is for the page.
    pub fn has(path: &str) -> bool {
        path.starts_with("/web/") || path.starts_with(manual::PATH) || ASSETS.iter().any(|a| a.path == path)
    }

    /// `check` says which user somebody is who wants to log in; `audit` hears of each change: user, outcome, what.
    pub async fn respond<F>(
        &self,
        request: Request<Incoming>,
        check: impl FnOnce(Login) -> F,
        audit: impl Fn(&str, &str, &str),
    ) -> Reply
    where
        F: Future<Output = Result<String, NotIn>>,
    {
        let mut reply = match (request.method().clone(), request.uri().path()) {
            (Method::GET, path) if path.starts_with(manual::PATH) => of_the_manual(path),
            (Method::GET, path) if !path.starts_with("/web/") => asset(path),
            (Method::POST, "/web/login") => self.log_in(request, check).await,
            _ => match self.sessions.user(cookies(request.headers())) {
                Some(user) => self.with_session(request, user, audit).await,
                None => failure(StatusCode::UNAUTHORIZED, "log in first"),
            },
        };
        for (name, value) in HEADERS {
            reply.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        reply
    }

    async fn log_in<F>(&self, request: Request<Incoming>, check: impl FnOnce(Login) -> F) -> Reply
    where
        F: Future<Output = Result<String, NotIn>>,
    {
        let login = match own_body(request).await {
            Ok(login) => login,
            Err(refused) => return *refused,
        };
        let user = match check(login).await {
            Ok(user) => user,
            Err(NotIn { status, why }) => return failure(status, &why),
        };
        let Some(cookie) = self.sessions.open(&user).and_then(|c| HeaderValue::from_str(&c).ok()) else {
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "no random numbers");
        };
        let mut reply = json(StatusCode::OK, &Me { user: &user, operator: self.is_operator(&user).await });
        reply.headers_mut().insert(SET_COOKIE, cookie);
        reply
    }

    async fn with_session(&self, request: Request<Incoming>, user: String, audit: impl Fn(&str, &str, &str)) -> Reply {
        match (request.method().clone(), request.uri().path()) {
            (Method::GET, "/web/me") => {
                json(StatusCode::OK, &Me { user: &user, operator: self.is_operator(&user).await })
            }
            (Method::GET, "/web/events") => events(self.watch.follow(&user)),
            (Method::POST, "/web/logout") => {
                let cookie = self.sessions.close(cookies(request.headers()));
                let mut reply = json(StatusCode::OK, &serde_json::json!({}));
                reply.headers_mut().extend(HeaderValue::from_str(&cookie).ok().map(|c| (SET_COOKIE, c)));
                reply
            }
            (Method::POST, "/web/action") => match own_body::<Action>(request).await {
                Ok(action) => self.act(&action, &user, audit).await,
                Err(refused) => *refused,
            },
            _ => failure(StatusCode::NOT_FOUND, "there is no such request"),
        }
    }

    async fn act(&self, action: &Action, user: &str, audit: impl Fn(&str, &str, &str)) -> Reply {
        if action.is_of_this_host() && !self.is_operator(user).await {
            let why = "a director of this host is changed by root or hacluster, or while the cluster has no ACLs";
            return failure(StatusCode::FORBIDDEN, why);
        }
        let outcome = action.run(user).await;
        if !action.only_shows() {
            match &outcome {
                Ok(Outcome { code: 0, command, .. }) => audit(user, "done", command),
                Ok(Outcome { code, command, .. }) => audit(user, "failed", &format!("{command}: exit status {code}")),
                Err(why) => audit(user, "refused", why),
            }
        }
        match outcome {
            Ok(outcome) => json(StatusCode::OK, &outcome),
            Err(why) => failure(StatusCode::BAD_REQUEST, &why),
        }
    }

    async fn is_operator(&self, user: &str) -> bool {
        EXEMPT.contains(&user) || self.watch.has_no_acls().await
    }
}

fn cookies(headers: &HeaderMap) -> Option<&str> {
    headers.get(COOKIE).and_then(|c| c.to_str().ok())
}

fn of_the_manual(path: &str) -> Reply {
    let Some(text) = manual::page(path) else {
        return failure(StatusCode::NOT_FOUND, "there is no such chapter");
    };
    let mut reply = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

fn asset(path: &str) -> Reply {
    let Some(asset) = ASSETS.iter().find(|a| a.path == path) else {
        return failure(StatusCode::NOT_FOUND, "there is no such page");
    };
    let mut reply = Response::new(Full::new(Bytes::from_static(asset.content.as_bytes())).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    // After an upgrade the new page is wanted.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply
}

/// Every new state, and a sign of life in between.
fn events(states: tokio::sync::watch::Receiver<Bytes>) -> Reply {
    let first = Some((states, true));
    let stream = futures_util::stream::unfold(first, |kept| async move {
        let (mut states, first) = kept?;
        let changed = match first && !states.borrow_and_update().is_empty() {
            true => Ok(Ok(())),
            false => tokio::time::timeout(ALIVE_EACH, states.changed()).await,
        };
        let line = match changed {
            Ok(Ok(())) => {
                let state = states.borrow_and_update().clone();
                let mut line = Vec::with_capacity(state.len() + 16);
                line.extend_from_slice(b"data: ");
                // JSON as it is written here has no line ends.
                line.extend_from_slice(&state);
                line.extend_from_slice(b"\n\n");
                Bytes::from(line)
            }
            Ok(Err(_)) => return None,
            Err(_) => Bytes::from_static(b": alive\n\n"),
        };
        Some((Ok::<_, Infallible>(Frame::data(line)), Some((states, false))))
    });
    let mut reply = Response::new(StreamBody::new(stream.boxed()).boxed_unsync());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The body of a request that a page of ours has made.
async fn own_body<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, Box<Reply>> {
    if !request.headers().contains_key(OWN_HEADER) {
        return Err(Box::new(failure(StatusCode::FORBIDDEN, &format!("expected the header {OWN_HEADER}"))));
    }
    let body = tokio::time::timeout(BODY_WITHIN, Limited::new(request.into_body(), MAX_BODY_BYTES).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => return Err(Box::new(failure(StatusCode::BAD_REQUEST, &format!("body: {error}")))),
        Err(_) => return Err(Box::new(failure(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))),
    };
    serde_json::from_slice(&body).map_err(|e| Box::new(failure(StatusCode::BAD_REQUEST, &format!("body: {e}"))))
}

fn json(status: StatusCode, body: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut reply = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn failure(status: StatusCode, why: &str) -> Reply {
    json(status, &serde_json::json!({ "error": why }))
}
