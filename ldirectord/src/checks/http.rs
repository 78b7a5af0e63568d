//! `service = http`, `https`, `http_proxy`: the final status is 2xx and `receive` matches the body.
//!
//! Redirects are followed. One to the virtual host (or to the server itself) stays on the real server; one to another host goes there,
//! as the original does.

use super::io::{Net, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{HttpMethod, Real, ServiceProtocol, Virtual, absolute_url, bracketed};
use crate::pattern::Pattern;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a body that are searched; more are not read.
pub const MAX_BODY_BYTES: usize = 1 << 20;
pub const MAX_REDIRECTS: u32 = 7;

const AGENT: &str = concat!("bascule-ldirectord/", env!("CARGO_PKG_VERSION"));

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpCheck {
    url: Uri,
    method: HttpMethod,
    /// The real server; for a proxy the proxy.
    server: SocketAddr,
    /// Whether `server` is asked whatever host the URL names.
    pinned: bool,
    proxy: bool,
    virtual_host: Option<String>,
    tls: Tls,
    receive: Pattern,
}

impl HttpCheck {
    pub fn of(v: &Virtual, real: &Real, receive: Pattern) -> Result<HttpCheck, String> {
        let proxy = v.service == ServiceProtocol::HttpProxy;
        let text = match (absolute_url(&real.request), &v.virtual_host) {
            (None, Some(host)) if proxy => Cow::Owned(format!("http://{host}{}", real.request)),
            (None, None) if proxy => {
                return Err("a proxy needs an absolute URL in request, or a virtualhost".to_owned());
            }
            (Some(url), _) => Cow::Borrowed(url),
            (None, _) => Cow::Owned(v.url(real)),
        };
        let text = escape(&text);
        let url: Uri = text.parse().map_err(|e| format!("`{text}` is no URL: {e}"))?;
        Ok(HttpCheck {
            method: v.http_method,
            server: SocketAddr::new(real.addr, v.port_to_check(real)),
            pinned: absolute_url(&real.request).is_none(),
            proxy,
            virtual_host: v.virtual_host.clone().filter(|_| !proxy),
            tls: v.into(),
            receive,
            url,
        })
    }

    pub fn method(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }

    pub fn url(&self) -> &Uri {
        &self.url
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut url = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (status, body, location) = self.fetch(net, &url).await?;
            if !status.is_redirection() || location.is_none() {
                return self.judge(status, &body);
            }
            url = follow(&url, location.as_deref().unwrap_or_default())?;
        }
        Err(failure(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn judge(&self, status: hyper::StatusCode, body: &[u8]) -> Outcome {
        if !status.is_success() {
            return Err(failure(status.to_string()));
        }
        if !self.receive.is_match(body) {
            let start = &body[..body.len().min(160)];
            return Err(failure(format!("{status}, but the body does not match: {}", String::from_utf8_lossy(start))));
        }
        Ok(status.to_string())
    }

    /// One request.
    async fn fetch(&self, net: &Net, url: &Uri) -> Result<(hyper::StatusCode, Vec<u8>, Option<String>), Failure> {
        let (addr, host) = self.route(net, url).await?;
        let secure = url.scheme_str() == Some("https") && !self.proxy;
        let name = self.virtual_host.clone().filter(|_| self.is_own(url)).or_else(|| name_of(url));
        let tls = secure.then_some(Tls { name, ..self.tls.clone() });
        let stream = net.open(addr, tls.as_ref()).await?;
        let target = if self.proxy { url.clone() } else { origin_form(url) };
        let request = Request::builder()
            .method(if self.method == HttpMethod::Head { Method::HEAD } else { Method::GET })
            .uri(target)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*")
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| failure(format!("request: {e}")))?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(words)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(words)?;
            let status = response.status();
            let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
            let body = if status.is_success() { read_body(response).await? } else { Vec::new() };
            Ok((status, body, location))
        };
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

    /// Where a URL is fetched from, and its `Host` header.
    async fn route(&self, net: &Net, url: &Uri) -> Result<(SocketAddr, String), Failure> {
        let host = url.host().ok_or_else(|| failure(format!("`{url}` names no host")))?;
        let header = url.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        if self.proxy {
            return Ok((self.server, header));
        }
        if self.is_own(url) {
            let own = self.virtual_host.clone().unwrap_or_else(|| bracketed(self.server.ip()));
            return Ok((self.server, own));
        }
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        let own_name = self.virtual_host.as_deref().is_some_and(|v| v.split(':').next() == Some(host));
        if own_name {
            return Ok((SocketAddr::new(self.server.ip(), port), header));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(addr) = bare.parse::<IpAddr>() {
            return Ok((SocketAddr::new(addr, port), header));
        }
        Ok((net.lookup(bare, port).await?, header))
    }

    /// Whether this is the real server itself, which is asked under the virtual host's name, also after a redirect to a path.
    fn is_own(&self, url: &Uri) -> bool {
        self.pinned && url.authority() == self.url.authority() && url.scheme() == self.url.scheme()
    }
}

/// Reads what is searched; a body that breaks off is a failure, a longer one is cut.
async fn read_body(response: Response<Incoming>) -> Result<Vec<u8>, Failure> {
    let mut body = response.into_body();
    let mut out = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(words)?.into_data() {
            let room = MAX_BODY_BYTES - out.len();
            out.extend_from_slice(&data[..data.len().min(room)]);
            if out.len() >= MAX_BODY_BYTES {
                break;
            }
        }
    }
    Ok(out)
}

fn words(e: hyper::Error) -> Failure {
    if e.is_incomplete_message() {
        return failure("closed before the answer was complete".to_owned());
    }
    let mut source: &dyn std::error::Error = &e;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    failure(format!("no HTTP answer: {source}"))
}

fn name_of(url: &Uri) -> Option<String> {
    url.host().filter(|h| h.trim_matches(['[', ']']).parse::<IpAddr>().is_err()).map(str::to_owned)
}

fn origin_form(url: &Uri) -> Uri {
    url.path_and_query().map(|p| Uri::from(p.clone())).unwrap_or_default()
}

/// The target of a redirect, which may be absolute, without scheme, or a path.
fn follow(from: &Uri, location: &str) -> Result<Uri, Failure> {
    let location = escape(location.split('#').next().unwrap_or_default());
    let scheme = from.scheme_str().unwrap_or("http");
    let authority = from.authority().map(|a| a.as_str()).unwrap_or_default();
    let text = if location.contains("://") {
        location
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let dir = from.path().rsplit_once('/').map(|(d, _)| d).unwrap_or_default();
        format!("{scheme}://{authority}{dir}/{location}")
    };
    let uri: Uri = text.parse().map_err(|_| failure(format!("redirect to `{text}`, which is no URL")))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(uri),
        _ => Err(failure(format!("redirect to `{text}`, which is not HTTP"))),
    }
}

/// Escapes what no URL may contain.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b <= b' ' || b >= 0x7f || b"\"<>\\^`{|}".contains(&b) {
            out.push_str(&format!("%{b:02X}"));
        } else {
            out.push(char::from(b));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_against_the_url_before() {
        let from: Uri = "http://10.0.0.1:8080/a/b?x".parse().unwrap();
        let to = |location: &str| follow(&from, location).map(|u| u.to_string()).map_err(|e| e.why);
        assert_eq!(to("/c").unwrap(), "http://10.0.0.1:8080/c");
        assert_eq!(to("c d").unwrap(), "http://10.0.0.1:8080/a/c%20d");
        assert_eq!(to("?y").unwrap(), "http://10.0.0.1:8080/a/b?y");
        assert_eq!(to("//h/x").unwrap(), "http://h/x");
        assert_eq!(to("https://h/x#frag").unwrap(), "https://h/x");
        assert!(to("ftp://h/x").is_err());
    }
}
