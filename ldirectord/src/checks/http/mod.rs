//! `service = http`, `https`, `http_proxy`: the final status is 2xx and `receive` matches the body.
//!
//! The verdict is the real server's alone. A URL in `request` gives scheme, path, `Host` and SNI; the connection goes to the real's
//! address and port whatever it names. A redirect is followed on the real server if it leads to the virtual host, the virtual's
//! address, the URL's host or the server itself; one to another host is told, and followed only with `redirects = follow`.

mod url;

use self::url::{bare, escape, follow, host_of, is_secure, name_of, origin_form, port_of};
use super::io::{Net, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{HttpMethod, Real, Redirects, ServiceProtocol, Virtual, absolute_url, bracketed};
use crate::pattern::Pattern;
use base::ipvs::ServiceKey;
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
    /// Address and port of the virtual service, which a redirect may name.
    public: Option<(IpAddr, u16)>,
    proxy: bool,
    /// The name under which the server is asked instead of its own or the URL's.
    virtual_host: Option<String>,
    tls: Tls,
    redirects: Redirects,
    receive: Pattern,
}

/// One request's way.
struct Hop {
    url: Uri,
    addr: SocketAddr,
    /// The `Host` header.
    host: String,
    /// The name for TLS.
    name: Option<String>,
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
        if url.host().is_none() || v.virtual_host.as_ref().is_some_and(|h| h.contains(char::is_control)) {
            return Err(format!("`{url}` names no host that can be asked for"));
        }
        let public = match v.key {
            ServiceKey::Address { addr, port, .. } => Some((addr, port)),
            ServiceKey::Fwmark { .. } => None,
        };
        Ok(HttpCheck {
            method: v.http_method,
            server: SocketAddr::new(real.addr, v.port_to_check(real)),
            public,
            proxy,
            virtual_host: v.virtual_host.clone().filter(|_| !proxy),
            tls: v.into(),
            redirects: v.redirects,
            receive,
            url,
        })
    }

    pub fn label(&self) -> String {
        let method = match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        };
        let at_home = host_of(&self.url) == self.server.ip().to_string() && port_of(&self.url) == self.server.port();
        match at_home {
            true => format!("{method} {}", self.url),
            false => format!("{method} {} at {}", self.url, self.server),
        }
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut hop = self.first();
        let mut away = None;
        for _ in 0..=MAX_REDIRECTS {
            let (status, body, location) = self.fetch(net, &hop).await?;
            let Some(location) = location.filter(|_| status.is_redirection()) else {
                return self.judge(status, &body, away.as_ref());
            };
            let url = follow(&hop.url, &location)?;
            if self.redirects == Redirects::Accept {
                return Ok(format!("{status}, a redirect to {url}"));
            }
            hop = match self.at_home(&hop, &url) {
                Some(hop) => hop,
                None if self.redirects == Redirects::Follow => {
                    away = Some(url.clone());
                    elsewhere(net, url).await?
                }
                None => {
                    let cure = "`redirects = follow` asks there, `redirects = accept` takes this for an answer";
                    return Err(failure(format!("{status}, a redirect to another host: {url}; {cure}")));
                }
            };
        }
        Err(failure(format!("more than {MAX_REDIRECTS} redirects")))
    }

    fn judge(&self, status: hyper::StatusCode, body: &[u8], away: Option<&Uri>) -> Outcome {
        let by = away.map(|url| format!(", said by {url}, to which it redirects")).unwrap_or_default();
        if !status.is_success() {
            return Err(failure(format!("{status}{by}")));
        }
        if !self.receive.is_match(body) {
            let start = &body[..body.len().min(160)];
            let start = String::from_utf8_lossy(start);
            return Err(failure(format!("{status}{by}, but the body does not match: {start}")));
        }
        Ok(format!("{status}{by}"))
    }

    fn first(&self) -> Hop {
        let url = self.url.clone();
        let named = url.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        let own = host_of(&url) == self.server.ip().to_string();
        let host = match &self.virtual_host {
            Some(host) => host.clone(),
            // The server is asked by its bare address, as the original does.
            None if own && !self.proxy => bracketed(self.server.ip()),
            None => named,
        };
        let name = self.virtual_host.clone().or_else(|| name_of(&url));
        Hop { url, addr: self.server, host, name }
    }

    /// The next request, if it is the real server's (or the proxy's) to answer.
    fn at_home(&self, before: &Hop, url: &Uri) -> Option<Hop> {
        let header = url.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        if self.proxy {
            return Some(Hop { url: url.clone(), addr: self.server, host: header, name: None });
        }
        let host = host_of(url);
        let stays = before.url.authority() == url.authority() && is_secure(&before.url) == is_secure(url);
        if stays {
            return Some(Hop {
                url: url.clone(),
                addr: before.addr,
                host: before.host.clone(),
                name: before.name.clone(),
            });
        }
        let own_name = self.virtual_host.as_deref().is_some_and(|v| host_of_header(v) == host);
        let own_addr =
            host.parse::<IpAddr>().is_ok_and(|a| a == self.server.ip() || self.public.map(|p| p.0) == Some(a));
        if !own_name && !own_addr && host != host_of(&self.url) {
            return None;
        }
        let addr = SocketAddr::new(self.server.ip(), self.port_at_home(url));
        Some(Hop { url: url.clone(), addr, host: header, name: name_of(url).or_else(|| self.virtual_host.clone()) })
    }

    /// The port of the real server that a URL of its own stands for: clients see the virtual's port, or none.
    fn port_at_home(&self, url: &Uri) -> u16 {
        let (port, same_scheme) = (port_of(url), is_secure(url) == is_secure(&self.url));
        let public = self.public.is_some_and(|(_, p)| p == port);
        if public || same_scheme && url.port().is_none() { self.server.port() } else { port }
    }

    /// One request.
    async fn fetch(&self, net: &Net, hop: &Hop) -> Result<(hyper::StatusCode, Vec<u8>, Option<String>), Failure> {
        let secure = is_secure(&hop.url) && !self.proxy;
        let tls = secure.then(|| Tls { name: hop.name.clone(), ..self.tls.clone() });
        let stream = net.open(hop.addr, tls.as_ref()).await?;
        let target = if self.proxy { hop.url.clone() } else { origin_form(&hop.url) };
        let request = Request::builder()
            .method(if self.method == HttpMethod::Head { Method::HEAD } else { Method::GET })
            .uri(target)
            .header(HOST, &hop.host)
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
}

/// The host that a `Host` header names.
fn host_of_header(text: &str) -> String {
    text.parse::<hyper::http::uri::Authority>().map(|a| bare(a.host())).unwrap_or_default()
}

/// A request to the other host that a redirect names.
async fn elsewhere(net: &Net, url: Uri) -> Result<Hop, Failure> {
    let (host, port) = (host_of(&url), port_of(&url));
    let addr = match host.parse::<IpAddr>() {
        Ok(addr) => SocketAddr::new(addr, port),
        Err(_) => net.lookup(&host, port).await?,
    };
    let header = url.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
    Ok(Hop { addr, host: header, name: name_of(&url), url })
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
