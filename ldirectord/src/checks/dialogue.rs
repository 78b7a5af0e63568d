//! Line protocols on one engine: smtp, submission, pop, pops, imap, imaps, nntp, ftp, redis, memcached.
//!
//! A dialogue is a greeting, some commands with the answers that they must get, and a farewell that nobody waits for. Answers are
//! bounded in length and number; a server that only drips is cut off by the check's deadline.

use super::io::{self, Net, Stream, Tls};
use super::{Failure, Outcome, failure};
use crate::config::{ServiceProtocol, Virtual, bracketed};
use crate::pattern::Pattern;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAX_LINE_BYTES: usize = 8_192;
/// Lines of one answer.
const MAX_LINES: usize = 256;
/// Bytes of a file fetched by FTP that are searched.
const MAX_FILE_BYTES: usize = 1 << 20;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialogue {
    service: ServiceProtocol,
    addr: SocketAddr,
    tls: Option<Tls>,
    login: String,
    passwd: String,
    request: String,
    receive: Pattern,
}

impl Dialogue {
    pub fn of(v: &Virtual, addr: SocketAddr, request: String, receive: Pattern) -> Dialogue {
        let secure = matches!(v.service, ServiceProtocol::Pops | ServiceProtocol::Imaps);
        let ftp = v.service == ServiceProtocol::Ftp;
        let or = |text: &str, default: String| if text.is_empty() && ftp { default } else { text.to_owned() };
        Dialogue {
            service: v.service,
            addr,
            tls: secure.then(|| v.into()),
            login: or(&v.login, "anonymous".to_owned()),
            passwd: or(&v.passwd, format!("ldirectord@{}", bracketed(addr.ip()))),
            request,
            receive,
        }
    }

    pub fn label(&self) -> String {
        format!("{} {}", self.service.name(), self.addr)
    }

    pub async fn run(&self, net: &Net) -> Outcome {
        let mut lines = Lines::new(net.open(self.addr, self.tls.as_ref()).await?);
        match self.service {
            ServiceProtocol::Smtp | ServiceProtocol::Submission => smtp(&mut lines).await,
            ServiceProtocol::Pop | ServiceProtocol::Pops => self.pop(&mut lines).await,
            ServiceProtocol::Imap | ServiceProtocol::Imaps => self.imap(&mut lines).await,
            ServiceProtocol::Nntp => nntp(&mut lines).await,
            ServiceProtocol::Redis => self.redis(&mut lines).await,
            ServiceProtocol::Memcached => self.memcached(&mut lines).await,
            _ => self.ftp(net, &mut lines).await,
        }
    }

    async fn pop(&self, lines: &mut Lines) -> Outcome {
        let greeting = lines.expect("+OK").await?;
        if !self.login.is_empty() {
            lines.send(&format!("USER {}", self.login)).await?;
            lines.expect("+OK").await?;
            lines.send(&format!("PASS {}", self.passwd)).await?;
            lines.expect("+OK").await?;
        }
        lines.farewell("QUIT").await;
        Ok(greeting)
    }

    async fn imap(&self, lines: &mut Lines) -> Outcome {
        let greeting = lines.line().await?;
        if !greeting.starts_with("* OK") && !greeting.starts_with("* PREAUTH") {
            return Err(unexpected(&greeting));
        }
        if !self.login.is_empty() && greeting.starts_with("* OK") {
            let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            lines.send(&format!("a1 LOGIN \"{}\" \"{}\"", quote(&self.login), quote(&self.passwd))).await?;
            let answer = lines.tagged("a1 ").await?;
            if !answer.starts_with("a1 OK") {
                return Err(unexpected(&answer));
            }
        }
        lines.farewell("a2 LOGOUT").await;
        Ok(greeting)
    }

    /// `PING`, or the command in `request`, whose answer must match `receive`: `INFO replication` and `role:master` find a master.
    async fn redis(&self, lines: &mut Lines) -> Outcome {
        if !self.passwd.is_empty() {
            let words: Vec<&str> = ["AUTH", &self.login, &self.passwd].into_iter().filter(|w| !w.is_empty()).collect();
            lines.send_bulk(&words).await?;
            lines.expect("+OK").await?;
        }
        if self.request.is_empty() {
            lines.send("PING").await?;
            let answer = lines.line().await?;
            // One that wants a password lives; one that still loads its data does not serve yet.
            let lives = answer.starts_with("+PONG") || answer.starts_with("-NOAUTH");
            return if lives && self.receive.is_match(answer.as_bytes()) {
                Ok(answer)
            } else {
                Err(unexpected(&answer))
            };
        }
        lines.send(&self.request).await?;
        let first = lines.line().await?;
        match first.as_bytes().first() {
            Some(b'$') => {
                let length: usize = first[1..].parse().map_err(|_| unexpected(&first))?;
                let text = lines.exactly(length.min(MAX_FILE_BYTES)).await?;
                self.matching(&text)
            }
            Some(b'+' | b':') => self.matching(first.as_bytes()),
            _ => Err(unexpected(&first)),
        }
    }

    /// `version`, or the command in `request`, some line of whose answer must match.
    async fn memcached(&self, lines: &mut Lines) -> Outcome {
        let version = self.request.is_empty();
        lines.send(if version { "version" } else { &self.request }).await?;
        for _ in 0..MAX_LINES {
            let line = lines.line().await?;
            let error = ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|e| line.starts_with(e));
            if error || version && !line.starts_with("VERSION ") {
                return Err(unexpected(&line));
            }
            if self.receive.is_match(line.as_bytes()) {
                lines.farewell("quit").await;
                return Ok(line);
            }
            if version || line == "END" {
                return Err(failure(format!("no line matches, the last is: {line}")));
            }
        }
        Err(failure(format!("more than {MAX_LINES} lines")))
    }

    fn matching(&self, text: &[u8]) -> Outcome {
        let start = String::from_utf8_lossy(&text[..text.len().min(160)]).into_owned();
        if self.receive.is_match(text) {
            Ok(start)
        } else {
            Err(failure(format!("the answer does not match: {start}")))
        }
    }

    /// Login and, if the request names a file, its content, which must match.
    async fn ftp(&self, net: &Net, lines: &mut Lines) -> Outcome {
        lines.code("", &["220"]).await?;
        let user = lines.code(&format!("USER {}", self.login), &["331", "230"]).await?;
        if user.starts_with("331") {
            lines.code(&format!("PASS {}", self.passwd), &["230", "202"]).await?;
        }
        let welcome = lines.code("CWD /", &["250"]).await?;
        if self.request.is_empty() {
            lines.farewell("QUIT").await;
            return Ok(welcome);
        }
        lines.code("TYPE I", &["200"]).await?;
        let port = self.passive_port(lines).await?;
        let (mut data, _) = net.tcp(SocketAddr::new(self.addr.ip(), port)).await?;
        lines.code(&format!("RETR {}", self.request), &["150", "125"]).await?;
        let content = io::read_until(&mut data, MAX_FILE_BYTES, |_| false).await?;
        if content.len() < MAX_FILE_BYTES {
            lines.code("", &["226", "250"]).await?;
        }
        lines.farewell("QUIT").await;
        if self.receive.is_match(&content) {
            Ok(format!("{} bytes", content.len()))
        } else {
            let cut = if content.len() < MAX_FILE_BYTES { "" } else { ", of which only the first MiB was read" };
            Err(failure(format!("the file does not match{cut}")))
        }
    }

    /// The port for data; the address in an answer is not used, only the server itself is asked.
    async fn passive_port(&self, lines: &mut Lines) -> Result<u16, Failure> {
        let port = if self.addr.is_ipv4() {
            let answer = lines.code("PASV", &["227"]).await?;
            pasv_port(&answer).ok_or_else(|| unexpected(&answer))?
        } else {
            let answer = lines.code("EPSV", &["229"]).await?;
            let inner = answer.split("|||").nth(1).and_then(|t| t.split('|').next()?.parse().ok());
            inner.ok_or_else(|| unexpected(&answer))?
        };
        Ok(port)
    }
}

/// `227 … (h1,h2,h3,h4,p1,p2)`.
fn pasv_port(answer: &str) -> Option<u16> {
    let inner =
        answer.get(3..)?.split(|c: char| !c.is_ascii_digit() && c != ',').find(|t| t.matches(',').count() == 5)?;
    let mut parts = inner.split(',').skip(4);
    let (high, low) = (parts.next()?.parse::<u8>().ok()?, parts.next()?.parse::<u8>().ok()?);
    Some(u16::from_be_bytes([high, low]))
}

async fn smtp(lines: &mut Lines) -> Outcome {
    let greeting = lines.code("", &["2"]).await?;
    let name = nix::unistd::gethostname().ok().and_then(|h| h.into_string().ok()).unwrap_or_default();
    let name = if name.is_empty() { "localhost".to_owned() } else { name };
    if lines.code(&format!("EHLO {name}"), &["2"]).await.is_err() {
        lines.code(&format!("HELO {name}"), &["2"]).await?;
    }
    lines.farewell("QUIT").await;
    Ok(greeting)
}

async fn nntp(lines: &mut Lines) -> Outcome {
    let greeting = lines.code("", &["2"]).await?;
    lines.farewell("QUIT").await;
    Ok(greeting)
}

fn unexpected(answer: &str) -> Failure {
    failure(format!("unexpected answer: {answer}"))
}

/// A stream read by lines.
struct Lines {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(stream: Box<dyn Stream>) -> Lines {
        Lines { stream, buffer: Vec::new() }
    }

    async fn send(&mut self, command: &str) -> Result<(), Failure> {
        self.stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Words as Redis takes them whatever is in them.
    async fn send_bulk(&mut self, words: &[&str]) -> Result<(), Failure> {
        let words_sent: String = words.iter().map(|w| format!("${}\r\n{w}\r\n", w.len())).collect();
        self.stream.write_all(format!("*{}\r\n{words_sent}", words.len()).as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut chunk = [0; 4096];
        while self.buffer.len() < length {
            match self.stream.read(&mut chunk).await? {
                0 => return Err(failure("closed in the middle of an answer".to_owned())),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Says goodbye; the server has proved itself, so nothing can fail any more.
    async fn farewell(&mut self, command: &str) {
        if self.send(command).await.is_ok() {
            let _ = self.stream.shutdown().await;
        }
    }

    async fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() >= MAX_LINE_BYTES {
                return Err(failure(format!("a line of more than {MAX_LINE_BYTES} bytes")));
            }
            let mut chunk = [0; 1024];
            match self.stream.read(&mut chunk).await? {
                0 if self.buffer.is_empty() => return Err(failure("closed without an answer".to_owned())),
                0 => return Err(failure("closed in the middle of an answer".to_owned())),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    async fn expect(&mut self, start: &str) -> Outcome {
        let line = self.line().await?;
        if line.starts_with(start) { Ok(line) } else { Err(unexpected(&line)) }
    }

    async fn tagged(&mut self, tag: &str) -> Outcome {
        for _ in 0..MAX_LINES {
            let line = self.line().await?;
            if line.starts_with(tag) {
                return Ok(line);
            }
        }
        Err(failure(format!("more than {MAX_LINES} lines")))
    }

    /// Sends a command (none if empty) and wants an answer with one of the codes; lines `250-…` are continued.
    async fn code(&mut self, command: &str, wanted: &[&str]) -> Outcome {
        if !command.is_empty() {
            self.send(command).await?;
        }
        let first = self.line().await?;
        let code =
            first.get(..3).filter(|c| c.bytes().all(|b| b.is_ascii_digit())).ok_or_else(|| unexpected(&first))?;
        let mut last = first.clone();
        let mut count = 1;
        // FTP lets lines within a long answer begin with anything.
        while last.as_bytes().get(3) == Some(&b'-') || !last.starts_with(code) {
            last = self.line().await?;
            count += 1;
            if count > MAX_LINES {
                return Err(failure(format!("more than {MAX_LINES} lines")));
            }
        }
        if wanted.iter().any(|w| code.starts_with(w)) { Ok(first) } else { Err(unexpected(&first)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_answers() {
        assert_eq!(pasv_port("227 Entering Passive Mode (10,0,0,1,195,80)."), Some(50_000));
        assert_eq!(pasv_port("227 10,0,0,1,0,21"), Some(21));
        for bad in ["227", "227 (1,2,3)", "227 (1,2,3,4,999,1)", "", "22"] {
            assert_eq!(pasv_port(bad), None, "{bad}");
        }
    }
}
