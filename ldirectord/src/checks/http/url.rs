//! URLs of checks: what a request names, and where a redirect leads.

use super::super::{Failure, failure};
use hyper::Uri;
use std::net::IpAddr;

/// The port that a URL names or its scheme stands for.
pub fn port_of(url: &Uri) -> u16 {
    url.port_u16().unwrap_or(if is_secure(url) { 443 } else { 80 })
}

pub fn is_secure(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

/// The host without brackets, in lower case.
pub fn host_of(url: &Uri) -> String {
    bare(url.host().unwrap_or_default())
}

pub fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// The name that TLS asks for; none for an address.
pub fn name_of(url: &Uri) -> Option<String> {
    url.host().filter(|h| bare(h).parse::<IpAddr>().is_err()).map(str::to_owned)
}

pub fn origin_form(url: &Uri) -> Uri {
    url.path_and_query().map(|p| Uri::from(p.clone())).unwrap_or_default()
}

/// The target of a redirect, which may be absolute, without scheme, or a path.
pub fn follow(from: &Uri, location: &str) -> Result<Uri, Failure> {
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
        Some("http" | "https") if uri.host().is_some() => Ok(uri),
        _ => Err(failure(format!("redirect to `{text}`, which is not HTTP"))),
    }
}

/// Escapes what no URL may contain.
pub fn escape(text: &str) -> String {
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
