//! An HTTP answer, read as the servers' own clients read it.
//!
//! Real servers are odd: hundreds of header lines, folded ones, blanks and foreign letters in names, `Content-Length: +9`, a status
//! line of HTTP/2.0, bodies that end early. Browsers, curl and LWP take all that, so a director must: only what is needed is read of
//! the head, and a body is what has come when the server ends it. Everything is bounded.

use super::super::io::Stream;
use super::super::{Failure, failure};
use super::MAX_BODY_BYTES;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Bytes of a status line and all headers.
pub const MAX_HEAD_BYTES: usize = 256 << 10;
/// Answers of status 1xx before the real one.
const MAX_INTERIM: u32 = 16;
/// Empty lines before a status line.
const MAX_EMPTY_LINES: usize = 8;
/// Silence within a body after which it is looked at what has come.
const QUIET: Duration = Duration::from_millis(500);
const MAX_REASON_CHARS: usize = 60;
/// A chunk's length with its extensions.
const MAX_CHUNK_LINE: usize = 4_096;
/// Bytes that are read in all, headers and what chunks cost beside their content among them.
const MAX_READ_BYTES: usize = 2 * MAX_BODY_BYTES;

#[derive(PartialEq, Eq, Debug)]
pub struct Answer {
    pub code: u16,
    pub reason: String,
    pub location: Option<String>,
    pub body: Vec<u8>,
    /// Why `body` is less than the server has announced.
    pub short: Option<String>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub fn is_redirect(&self) -> bool {
        (300..400).contains(&self.code)
    }

    /// `200 OK`.
    pub fn status(&self) -> String {
        format!("{} {}", self.code, self.reason).trim_end().to_owned()
    }

    /// Reads an answer to a request that was sent. Of one that is no success only what came with its head; of a body that does not
    /// end what is `enough`.
    pub async fn read(
        stream: &mut Box<dyn Stream>,
        head_only: bool,
        enough: impl Fn(&[u8]) -> bool + Send + Sync,
    ) -> Result<Answer, Failure> {
        let mut input = Input { stream, enough: &enough, buffer: Vec::new(), at: 0, read: 0, end: None };
        for _ in 0..=MAX_INTERIM {
            let head = input.head().await?;
            if (100..200).contains(&head.code) && head.code != 101 {
                continue;
            }
            let (body, short) = match head.has_body(head_only) {
                false => (Vec::new(), None),
                true if !(200..300).contains(&head.code) => (input.rest().to_vec(), None),
                true => input.body(&head).await?,
            };
            return Ok(Answer { code: head.code, reason: head.reason, location: head.location, body, short });
        }
        Err(failure(format!("more than {MAX_INTERIM} answers of status 1xx")))
    }
}

/// What matters of a head.
#[derive(Default, PartialEq, Eq, Debug)]
struct Head {
    code: u16,
    reason: String,
    location: Option<String>,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let mut lines = Vec::<Vec<u8>>::new();
        for line in bytes.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match lines.last_mut() {
                // A folded header goes on (RFC 7230 §3.2.4); a status line does not.
                Some(last) if line.starts_with(b" ") || line.starts_with(b"\t") => last.extend_from_slice(line),
                _ => lines.push(line.to_vec()),
            }
        }
        let mut lines = lines.iter();
        let mut head = Head::status(lines.next()?)?;
        for line in lines {
            let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
            let name = String::from_utf8_lossy(&line[..colon]).trim().to_ascii_lowercase();
            let value = String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned();
            match name.as_str() {
                "location" if head.location.is_none() && !value.is_empty() => head.location = Some(value),
                "content-length" if head.length.is_none() => head.length = length(&value),
                "transfer-encoding" => head.chunked |= value.to_ascii_lowercase().contains("chunked"),
                _ => {}
            }
        }
        Some(head)
    }

    /// `HTTP/1.1 200 OK`; the version may be any, the reason may be missing.
    fn status(line: &[u8]) -> Option<Head> {
        let line = String::from_utf8_lossy(line);
        let (version, rest) = line.split_once([' ', '\t'])?;
        let (name, number) = version.split_at_checked(5)?;
        if !name.eq_ignore_ascii_case("HTTP/") {
            return None;
        }
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let rest = rest.trim();
        let (code, reason) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let code = code.parse().ok().filter(|c| (100..1000).contains(c) && code.len() == 3)?;
        let reason: String = reason.trim().chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        let known = hyper::StatusCode::from_u16(code).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
        Some(Head { code, reason: if known.is_empty() { reason } else { known.to_owned() }, ..Head::default() })
    }

    fn has_body(&self, head_only: bool) -> bool {
        !head_only && self.code != 204 && self.code != 304
    }
}

/// `9`, `+9`, `9, 9`; anything else says nothing.
fn length(value: &str) -> Option<u64> {
    let first = value.split(',').next()?.trim();
    let digits = first.strip_prefix('+').unwrap_or(first);
    digits.parse().ok()
}

type Body = (Vec<u8>, Option<String>);

/// What has come, and what of it was read.
struct Input<'s> {
    stream: &'s mut Box<dyn Stream>,
    enough: &'s (dyn Fn(&[u8]) -> bool + Send + Sync),
    buffer: Vec<u8>,
    at: usize,
    read: usize,
    /// The stream has ended, and how.
    end: Option<String>,
}

impl Input<'_> {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    /// Waits for more; `false` at the end. An error is an end like any other, since what came may be enough.
    async fn more(&mut self) -> Result<bool, Failure> {
        if self.end.is_some() {
            return Ok(false);
        }
        let mut chunk = [0; 8192];
        match self.stream.read(&mut chunk).await {
            Ok(0) => self.end = Some("closed".to_owned()),
            Ok(_) if self.read > MAX_READ_BYTES => self.end = Some(format!("cut after {MAX_READ_BYTES} bytes")),
            Ok(n) => {
                self.read += n;
                self.buffer.extend_from_slice(&chunk[..n]);
            }
            Err(e) if self.buffer.is_empty() => return Err(e.into()),
            Err(e) => self.end = Some(Failure::from(e).why),
        }
        Ok(self.end.is_none())
    }

    /// The same within a body of which these chunks, or what is here, has come: a server that then says nothing for [`QUIET`], and
    /// does not end it, is not waited for if that is enough.
    async fn more_of_body(&mut self, chunks: Option<&[u8]>) -> Result<bool, Failure> {
        if let Ok(more) = tokio::time::timeout(QUIET, self.more()).await {
            return more;
        }
        let came = chunks.unwrap_or_else(|| self.rest());
        if came.is_empty() || !(self.enough)(came) {
            return self.more().await;
        }
        self.end = Some("not ended".to_owned());
        Ok(false)
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        let mut searched = 0;
        loop {
            self.skip_empty_lines();
            if let Some(end) = head_end(&self.rest()[searched.min(self.rest().len())..]) {
                let end = searched + end;
                let head = Head::parse(&self.rest()[..end]).ok_or_else(|| self.strange());
                self.at += end;
                return head;
            }
            // The end of a head may begin in the last three bytes.
            searched = self.rest().len().saturating_sub(3);
            let doubtful = self.rest().get(..5).is_some_and(|start| !start.eq_ignore_ascii_case(b"HTTP/"));
            if doubtful || self.rest().len() > MAX_HEAD_BYTES {
                let long = self.rest().len() > MAX_HEAD_BYTES && !doubtful;
                return Err(if long {
                    failure(format!("headers of more than {MAX_HEAD_BYTES} bytes"))
                } else {
                    self.strange()
                });
            }
            if !self.more().await? {
                let head = Head::parse(self.rest());
                let why = self.end.clone().unwrap_or_default();
                let head = head.ok_or_else(|| match self.rest() {
                    [] => failure(format!("{why} before the answer was complete")),
                    _ => self.strange(),
                });
                self.at = self.buffer.len();
                return head;
            }
        }
    }

    fn skip_empty_lines(&mut self) {
        for _ in 0..MAX_EMPTY_LINES {
            match self.rest() {
                [b'\r', b'\n', ..] => self.at += 2,
                [b'\n', ..] => self.at += 1,
                _ => return,
            }
        }
    }

    fn strange(&self) -> Failure {
        let start = &self.rest()[..self.rest().len().min(60)];
        failure(format!("no HTTP answer: {}", String::from_utf8_lossy(start)))
    }

    async fn body(&mut self, head: &Head) -> Result<Body, Failure> {
        if head.chunked {
            return self.chunks().await;
        }
        let wanted = head.length.unwrap_or(u64::MAX);
        let most = wanted.min(MAX_BODY_BYTES as u64) as usize;
        while self.rest().len() < most && self.more_of_body(None).await? {}
        let body = self.rest()[..self.rest().len().min(most)].to_vec();
        let short = match head.length {
            Some(length) if (body.len() as u64) < length && body.len() < MAX_BODY_BYTES => {
                let how = self.end.as_deref().unwrap_or_default();
                Some(format!("{how} after {} of {length} bytes", body.len()))
            }
            _ if body.len() >= MAX_BODY_BYTES => Some(limit()),
            // Without a length only an orderly end tells that it was all.
            None => {
                self.end.as_ref().filter(|how| *how != "closed").map(|how| format!("{how} after {} bytes", body.len()))
            }
            _ => None,
        };
        Ok((body, short))
    }

    /// RFC 9112 §7.1; trailers are not looked at.
    async fn chunks(&mut self) -> Result<Body, Failure> {
        let mut body = Vec::new();
        loop {
            let Some(line) = self.chunk_line(&body).await? else {
                let how = self.end.clone().unwrap_or_else(|| "a broken chunk".to_owned());
                let len = body.len();
                return Ok((body, Some(format!("{how} after {len} bytes, without the last chunk"))));
            };
            let digits: String = line.trim().chars().take_while(char::is_ascii_hexdigit).collect();
            let Ok(size) = u64::from_str_radix(&digits, 16) else {
                let len = body.len();
                return Ok((body, Some(format!("no chunk's length after {len} bytes"))));
            };
            if size == 0 {
                return Ok((body, None));
            }
            let room = (MAX_BODY_BYTES - body.len()) as u64;
            let most = size.min(room) as usize;
            while self.rest().len() < most && self.more_of_body(Some(&body)).await? {}
            let got = self.rest().len().min(most);
            body.extend_from_slice(&self.rest()[..got]);
            self.take(got);
            if body.len() >= MAX_BODY_BYTES {
                return Ok((body, Some(limit())));
            }
        }
    }

    /// The line before a chunk's content; what ends the chunk before it is passed over.
    async fn chunk_line(&mut self, body: &[u8]) -> Result<Option<String>, Failure> {
        loop {
            self.skip_empty_lines();
            if let Some(end) = self.rest().iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&self.rest()[..end]).into_owned();
                self.take(end + 1);
                return Ok(Some(line));
            }
            if self.rest().len() > MAX_CHUNK_LINE || !self.more_of_body(Some(body)).await? {
                return Ok(None);
            }
        }
    }

    /// Passes over what was read; the buffer does not grow with the body.
    fn take(&mut self, n: usize) {
        self.at += n;
        if self.at > MAX_HEAD_BYTES {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
    }
}

fn limit() -> String {
    format!("only its first {MAX_BODY_BYTES} bytes were read")
}

/// Where a head ends: behind its first empty line.
fn head_end(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == b'\n') {
        let next = from + at + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => from = next,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::script::{Script, Scripted};
    use super::*;
    use std::sync::Arc;

    async fn read(answer: &[u8]) -> Result<Answer, Failure> {
        let script = Script::new(answer, 0..0, answer.len());
        let mut stream: Box<dyn Stream> = Box::new(Scripted::new(Arc::new(script)));
        Answer::read(&mut stream, false, |_| false).await
    }

    #[tokio::test]
    async fn heads() {
        let many: String = (0..5_000).map(|n| format!("X-{n}: {n}\r\n")).collect();
        for (text, code) in [
            ("HTTP/1.1 200 OK\r\n\r\nbody".to_owned(), 200),
            ("HTTP/1.0 200\n\nbody".to_owned(), 200),
            ("http/1.1 200 ok\r\n\r\nbody".to_owned(), 200),
            ("HTTP/2.0 200 OK\r\n\r\nbody".to_owned(), 200),
            ("HTTP/2 200 \r\n\r\nbody".to_owned(), 200),
            (format!("HTTP/1.1 200 OK\r\n{many}\r\nbody"), 200),
            ("\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody".to_owned(), 200),
            ("HTTP/1.1 200 OK\r\nnothing\r\n : x\r\nA B: c\r\nÄ: ö\r\n\r\nbody".to_owned(), 200),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody".to_owned(), 200),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nbo\r\n2 \r\ndy\r\n0\r\n\r\n".to_owned(),
                200,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: +4\r\n\r\nbodyless".to_owned(), 200),
            ("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbody".to_owned(), 503),
        ] {
            let answer = read(text.as_bytes()).await.unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((answer.code, answer.body.as_slice(), answer.short), (code, b"body".as_slice(), None), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer() {
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(MAX_HEAD_BYTES));
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(40);
        for text in [
            "",
            "hello",
            "HTTP",
            "HTTP/x 200 OK\r\n\r\n",
            "HTTP/1.1 abc\r\n\r\n",
            "HTTP/1.1 20 O\r\n\r\n",
            &endless,
            &interim,
        ] {
            assert!(read(text.as_bytes()).await.is_err(), "{text:.60}");
        }
    }

    #[tokio::test]
    async fn short_bodies_are_told() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nalive", "alive"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nalive", "alive"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nalive\r\nzz\r\n", "alive"),
        ] {
            let answer = read(text.as_bytes()).await.unwrap();
            assert_eq!(String::from_utf8(answer.body).unwrap(), body);
            assert!(answer.short.is_some(), "{text}");
        }
        let folded = read(b"HTTP/1.1 302 Found\r\nLocation:\r\n  http://a.test/\r\n\tb\r\n\r\n").await.unwrap();
        assert_eq!(folded.location.unwrap(), "http://a.test/\tb");
        // What the connection's end leaves of a head counts.
        assert_eq!(read(b"HTTP/1.1 200 OK\r\nServer: x").await.unwrap().code, 200);
    }
}
