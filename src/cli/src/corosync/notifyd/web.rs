//! A web address: each event is posted to it as JSON.

use super::event::Event;
use super::places::Place;
use http_body_util::Full;
use hyper::Uri;
use hyper::body::Bytes;
use openssl::ssl::{SslConnector, SslMethod};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// From the name's look-up to the answer.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) struct Hook {
    url: Uri,
    host: String,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Hook {
    pub fn new(text: &str) -> Result<Hook, String> {
        let wrong = || format!("{text}: expected an address that begins with http:// or https://");
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let host = url.host().ok_or_else(wrong)?.to_owned();
        match url.scheme_str() {
            Some("http" | "https") => Ok(Hook { url, host }),
            _ => Err(wrong()),
        }
    }

    fn is_tls(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    async fn post(&self, body: String) -> Result<(), String> {
        let stream = self.connect().await?;
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let host = self.url.authority().map_or(self.host.as_str(), |a| a.as_str());
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let request = hyper::Request::post(self.url.path_and_query().map_or("/", |p| p.as_str()))
            .header("host", host)
            .header("content-type", "application/json")
            .header("user-agent", concat!("bascule/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        driver.abort();
        if answer.status().is_success() { Ok(()) } else { Err(format!("HTTP status {}", answer.status())) }
    }

    async fn connect(&self) -> Result<Pin<Box<dyn Stream>>, String> {
        let port = self.url.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 });
        let name = self.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((name, port)).await.map_err(|e| format!("{name}:{port}: {e}"))?;
        if !self.is_tls() {
            return Ok(Box::pin(stream));
        }
        let ssl = SslConnector::builder(SslMethod::tls_client())
            .and_then(|b| b.build().configure()?.into_ssl(name))
            .map_err(|e| e.to_string())?;
        let mut stream = Box::pin(tokio_openssl::SslStream::new(ssl, stream).map_err(|e| e.to_string())?);
        stream.as_mut().connect().await.map_err(|e| format!("{name}:{port}: {e}"))?;
        Ok(Box::pin(stream))
    }
}

impl Place for Hook {
    fn name(&self) -> String {
        // The path may hold a secret.
        format!("webhook at {}", self.host)
    }

    fn tell(&mut self, event: &Event) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let post = async { tokio::time::timeout(WITHIN, self.post(event.json().to_string())).await };
        runtime.block_on(post).unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::sample;
    use super::*;
    use std::io::{Read, Write};
    use wire::api::Change;

    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let url = format!("http://{}/hook?key=1", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let (mut got, mut part) = (Vec::new(), [0; 4096]);
            while !String::from_utf8_lossy(&got).ends_with('}') {
                let n = stream.read(&mut part).expect("read");
                got.extend_from_slice(&part[..n]);
            }
            stream.write_all(answer.as_bytes()).expect("written");
            String::from_utf8(got).expect("text")
        });
        (url, thread)
    }

    #[test]
    fn an_event_is_posted_and_a_refusal_is_a_failure() {
        let event = sample(Change::Quorum { quorate: true });
        let (url, thread) = server("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(Hook::new(&url).expect("a URL").tell(&event), Ok(()));
        let got = thread.join().expect("served");
        assert!(got.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{got}");
        let body: serde_json::Value =
            serde_json::from_str(got.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
        assert_eq!((&body["event"], &body["quorate"], &body["from"]), (&"quorum".into(), &true.into(), &"n1".into()));
        let (url, thread) = server("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
        assert!(Hook::new(&url).expect("a URL").tell(&event).expect_err("refused").contains("500"));
        thread.join().expect("served");
    }
}
