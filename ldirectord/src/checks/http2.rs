//! `service = http2` and `grpc`: an answer over HTTP/2 (RFC 9113), and gRPC's health protocol (`grpc.health.v1`).
//!
//! http2 speaks TLS with ALPN, grpc does not, as both are mostly run; an absolute URL in `request` says it otherwise (`http://…`,
//! `https://…`). For http2 the status must be 2xx and `receive` match the body; for grpc the service that `request` names (none: the
//! server as a whole) must be SERVING. The connection goes to the real server whatever the URL names.

use super::io::{Net, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{HttpMethod, Real, ServiceProtocol, Virtual, absolute_url, bracketed};
use crate::pattern::Pattern;
use bytes::Bytes;
use h2::RecvStream;
use hyper::header::{CONTENT_TYPE, HeaderMap, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use std::net::SocketAddr;

/// Bytes of a body that are looked at, and of headers that are taken.
const MAX_BODY_BYTES: usize = 1 << 20;
const MAX_HEADER_BYTES: u32 = 256 << 10;
const AGENT: &str = concat!("bascule-ldirectord/", env!("CARGO_PKG_VERSION"));
const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
/// `grpc.health.v1.HealthCheckResponse.ServingStatus`.
const STATES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u64 = 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http2 {
    server: SocketAddr,
    tls: Option<Tls>,
    url: Uri,
    method: HttpMethod,
    receive: Pattern,
    /// The service whose health is asked for.
    health: Option<String>,
}

impl Http2 {
    pub fn of(v: &Virtual, real: &Real, receive: Pattern) -> Result<Http2, String> {
        let server = SocketAddr::new(real.addr, v.port_to_check(real));
        let grpc = v.service == ServiceProtocol::Grpc;
        let (secure, named, path) = match absolute_url(&real.request).and_then(|url| url.split_once("://")) {
            Some((scheme, rest)) => {
                let at = rest.find('/').unwrap_or(rest.len());
                (scheme == "https", Some(&rest[..at]), &rest[at..])
            }
            None => (!grpc, None, &*real.request),
        };
        let host = match (&v.virtual_host, named) {
            (Some(host), _) => host.clone(),
            (None, Some(named)) => named.to_owned(),
            (None, None) => format!("{}:{}", bracketed(server.ip()), server.port()),
        };
        let health = grpc.then(|| path.trim_start_matches('/').to_owned());
        let path =
            if grpc { HEALTH_PATH.to_owned() } else { super::http::escape(if path.is_empty() { "/" } else { path }) };
        let scheme = if secure { "https" } else { "http" };
        let url: Uri =
            format!("{scheme}://{host}{path}").parse().map_err(|e| format!("`{host}{path}` is no URL: {e}"))?;
        let name = url.host().filter(|h| h.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err());
        let tls = secure.then(|| Tls { name: name.map(str::to_owned), ..v.into() });
        Ok(Http2 { server, tls, url, method: v.http_method, receive, health })
    }

    pub fn label(&self) -> String {
        let what = if self.health.is_some() { "grpc" } else { "http2" };
        format!("{what} {} at {}", self.url, self.server)
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        self.asked(net).await.map_err(|e| self.with_cure(e))
    }

    /// A server that speaks TLS ends a connection without it, and says nothing.
    fn with_cure(&self, e: Failure) -> Failure {
        let ended = ["broken pipe", "closed", "reset", "ended"].iter().any(|word| e.why.contains(word));
        match self.tls {
            None if ended && !e.local => {
                Failure { why: format!("{}; if it speaks TLS: request = \"https://NAME/\"", e.why), ..e }
            }
            _ => e,
        }
    }

    async fn asked(&self, net: &Net) -> Outcome {
        let stream = net.open(self.server, self.tls.as_ref()).await?;
        let mut builder = h2::client::Builder::new();
        builder.max_header_list_size(MAX_HEADER_BYTES).enable_push(false);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(words)?;
        let exchange = self.exchange(sender);
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            done = &mut exchange => done,
            closed = &mut connection => match closed {
                Ok(()) => exchange.await,
                Err(e) => Err(words(e)),
            },
        }
    }

    async fn exchange(&self, sender: h2::client::SendRequest<Bytes>) -> Outcome {
        let mut sender = sender.ready().await.map_err(words)?;
        let mut request = Request::builder().uri(self.url.clone()).header(USER_AGENT, AGENT);
        request = match (&self.health, self.method) {
            (Some(_), _) => {
                request.method(Method::POST).header(CONTENT_TYPE, "application/grpc").header("te", "trailers")
            }
            (None, HttpMethod::Head) => request.method(Method::HEAD),
            (None, HttpMethod::Get) => request.method(Method::GET),
        };
        let request = request.body(()).map_err(|e| failure(format!("request: {e}")))?;
        let (response, mut body) = sender.send_request(request, self.health.is_none()).map_err(words)?;
        if let Some(service) = &self.health {
            body.send_data(question(service), true).map_err(words)?;
        }
        let response = response.await.map_err(words)?;
        match &self.health {
            Some(service) => healthy(service, response).await,
            None => self.judge(response).await,
        }
    }

    async fn judge(&self, response: Response<RecvStream>) -> Outcome {
        let status = response.status();
        let (body, _) = read(response.into_body()).await?;
        let start = || String::from_utf8_lossy(&body[..body.len().min(160)]).into_owned();
        match (status.is_success(), self.receive.is_match(&body)) {
            (true, true) => Ok(format!("{status} by HTTP/2")),
            (true, false) => Err(failure(format!("{status}, but the body does not match: {}", start()))),
            (false, _) => Err(failure(format!("{status}: {}", start()))),
        }
    }
}

async fn healthy(service: &str, response: Response<RecvStream>) -> Outcome {
    if !response.status().is_success() {
        return Err(failure(format!("{}, no answer of gRPC", response.status())));
    }
    // An answer of trailers alone has them in its head.
    let head = response.headers().clone();
    let (body, trailers) = read(response.into_body()).await?;
    let status = |headers: &HeaderMap| headers.get("grpc-status").and_then(|s| s.to_str().ok()?.parse::<u32>().ok());
    let what = if service.is_empty() { "the server" } else { service };
    match trailers.as_ref().and_then(status).or_else(|| status(&head)) {
        Some(0) => {}
        Some(12) => {
            return Err(failure(
                "the server has no health service (grpc.health.v1): use service = http2 or checktype = connect",
            ));
        }
        Some(5) => return Err(failure(format!("{what} is not known to the server: correct request"))),
        Some(code) => return Err(failure(format!("gRPC status {code}"))),
        None => return Err(failure("no answer of gRPC: no status in it")),
    }
    let state = body.get(5..).and_then(serving_status).ok_or_else(|| failure("a malformed answer of gRPC"))?;
    let name = STATES.get(state as usize).copied().unwrap_or("of an unknown state");
    let text = format!("{what} is {name}");
    if state == SERVING { Ok(text) } else { Err(failure(text)) }
}

/// `HealthCheckRequest { service = 1 }`, behind gRPC's five bytes: not compressed, length.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(&mut message, service.len() as u64);
        message.extend(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Field 1 of `HealthCheckResponse`; a message without it says 0.
fn serving_status(message: &[u8]) -> Option<u64> {
    match message {
        [] => Some(0),
        [0x08, value, ..] if *value < 0x80 => Some(u64::from(*value)),
        _ => None,
    }
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Failure> {
    let mut out = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(words)?;
        let _ = body.flow_control().release_capacity(data.len());
        let room = MAX_BODY_BYTES - out.len();
        out.extend_from_slice(&data[..data.len().min(room)]);
        if out.len() >= MAX_BODY_BYTES {
            return Ok((out, None));
        }
    }
    let trailers = body.trailers().await.map_err(words)?;
    Ok((out, trailers))
}

fn words(e: h2::Error) -> Failure {
    match e.into_io() {
        Some(io) => io.into(),
        None => failure("no HTTP/2 answer: the server broke the protocol or refused the request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_messages() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[5..8], [0x0a, 0xac, 2]);
        assert_eq!((serving_status(&[8, 1]), serving_status(&[]), serving_status(&[9])), (Some(1), Some(0), None));
    }
}
