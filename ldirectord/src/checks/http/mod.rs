//! `service = http`, `https`, `http_proxy`: the final status is 2xx and `receive` matches the body.
//!
//! The verdict is the real server's alone. A URL in `request` gives scheme, path, `Host` and SNI; the connection goes to the real's
//! address and port whatever it names. A redirect is followed on the real server if it leads to the virtual host, the URL's host or
//! the server itself; one to another host is told, and followed only with `redirects = follow`.
//! A body that breaks off is judged by what came of it, as LWP does, unless nothing came.

mod answer;
mod url;

use self::answer::Answer;
pub use self::url::escape;
use self::url::{bare, follow, host_of, is_secure, name_of, origin_form, port_of};
use super::io::{Net, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{HttpMethod, Real, Redirects, ServiceProtocol, Virtual, absolute_url, bracketed};
use crate::pattern::Pattern;
use hyper::Uri;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use tokio::io::AsyncWriteExt;

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
        Ok(HttpCheck {
            method: v.http_method,
            server: SocketAddr::new(real.addr, v.port_to_check(real)),
            proxy,
            virtual_host: v.virtual_host.clone().filter(|_| !proxy),
            tls: v.into(),
            redirects: v.redirects,
            receive,
            url,
        })
    }

    fn method(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
        }
    }

    pub fn label(&self) -> String {
        let at_home = host_of(&self.url) == self.server.ip().to_string() && port_of(&self.url) == self.server.port();
        match at_home {
            true => format!("{} {}", self.method(), self.url),
            false => format!("{} {} at {}", self.method(), self.url, self.server),
        }
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut hop = self.first();
        let mut away = None;
        for redirects in 0..=MAX_REDIRECTS {
            let answer = self.fetch(net, &hop).await.map_err(|e| match redirects {
                0 => e,
                _ => Failure { why: format!("at {}, to which it redirects ({}): {}", hop.addr, hop.url, e.why), ..e },
            })?;
            let Some(location) = answer.location.as_ref().filter(|_| answer.is_redirect()) else {
                return self.judge(&answer, away.as_ref());
            };
            let (url, status) = (follow(&hop.url, location)?, answer.status());
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

    fn judge(&self, answer: &Answer, away: Option<&Uri>) -> Outcome {
        let by = away.map(|url| format!(", said by {url}, to which it redirects")).unwrap_or_default();
        let status = format!("{}{by}", answer.status());
        let start = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(160)]).into_owned();
        if !answer.is_success() {
            let said = start();
            return Err(failure(if said.trim().is_empty() { status } else { format!("{status}: {said}") }));
        }
        if let Some(how) = answer.short.as_ref().filter(|_| answer.body.is_empty()) {
            return Err(failure(format!("{status}, but nothing of the body: {how}")));
        }
        let short = answer.short.as_ref().map(|how| format!(" ({how})")).unwrap_or_default();
        if !self.receive.is_match(&answer.body) {
            return Err(failure(format!("{status}, but the body{short} does not match: {}", start())));
        }
        Ok(format!("{status}{short}"))
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
        let own_addr = host.parse::<IpAddr>().is_ok_and(|a| a == self.server.ip());
        if !own_name && !own_addr && host != host_of(&self.url) {
            return None;
        }
        let addr = SocketAddr::new(self.server.ip(), self.port_at_home(url));
        Some(Hop { url: url.clone(), addr, host: header, name: name_of(url).or_else(|| self.virtual_host.clone()) })
    }

    /// Clients see the virtual's port, so that only another scheme stands for another port of the server.
    fn port_at_home(&self, url: &Uri) -> u16 {
        if is_secure(url) == is_secure(&self.url) { self.server.port() } else { port_of(url) }
    }

    /// One request.
    async fn fetch(&self, net: &Net, hop: &Hop) -> Result<Answer, Failure> {
        let secure = is_secure(&hop.url) && !self.proxy;
        let tls = secure.then(|| Tls { name: hop.name.clone(), ..self.tls.clone() });
        let mut stream = net.open(hop.addr, tls.as_ref()).await?;
        let target = if self.proxy { hop.url.clone() } else { origin_form(&hop.url) };
        // Spelled as browsers do: some servers know no other spelling.
        let request = format!(
            "{} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            self.method(),
            hop.host
        );
        // A server may answer and close before it has read all; only if there is no answer does that matter.
        let sent = async { stream.write_all(request.as_bytes()).await.and(stream.flush().await) }.await;
        match (
            Answer::read(&mut stream, self.method == HttpMethod::Head, |body| self.receive.is_match(body)).await,
            sent,
        ) {
            (Err(_), Err(e)) => Err(e.into()),
            (answer, _) => answer,
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
