//! `service = sip`: an OPTIONS request is answered by `SIP/2.0 200`, over TCP or UDP (RFC 3261).

use super::io::{Net, Stream};
use super::{Failure, Outcome, failure};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MAX_ANSWER_BYTES: usize = 65_536;
const MAX_PROVISIONAL: u32 = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sip {
    pub addr: SocketAddr,
    pub udp: bool,
    /// The user that is asked, `user@host`.
    pub login: String,
}

impl Sip {
    pub async fn run(&self, net: &Net) -> Outcome {
        let line = if self.udp { self.datagram(net).await? } else { self.stream(net).await? };
        // The words behind the code are for people (§7.2).
        if code(line.as_bytes()) == Some(200) { Ok(line) } else { Err(failure(format!("unexpected answer: {line}"))) }
    }

    /// The status line of the final answer; provisional ones (1xx) come before it (§13.2.2.1).
    async fn stream(&self, net: &Net) -> Result<String, Failure> {
        let (mut stream, local) = net.tcp(self.addr).await?;
        stream.write_all(self.request(local).as_bytes()).await?;
        let mut answer = Vec::new();
        for _ in 0..=MAX_PROVISIONAL {
            while !answer.contains(&b'\n') {
                more(&mut stream, &mut answer).await?;
            }
            if !code(&answer).is_some_and(is_provisional) {
                return Ok(first_line(&answer));
            }
            let end = loop {
                match answer.windows(4).position(|w| w == b"\r\n\r\n") {
                    Some(end) => break end + 4,
                    None => more(&mut stream, &mut answer).await?,
                }
            };
            answer.drain(..end);
        }
        Err(failure(format!("more than {MAX_PROVISIONAL} provisional answers")))
    }

    async fn datagram(&self, net: &Net) -> Result<String, Failure> {
        let mut socket = net.udp(self.addr).await?;
        let request = self.request(socket.local_addr()?);
        let answer = socket.ask(request.as_bytes(), |a| !code(a).is_some_and(is_provisional)).await?;
        Ok(first_line(&answer))
    }

    fn request(&self, local: SocketAddr) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let call = format!("{:x}{:08x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let transport = if self.udp { "UDP" } else { "TCP" };
        let login = &self.login;
        format!(
            "OPTIONS sip:{login} SIP/2.0\r\nVia: SIP/2.0/{transport} {local};branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
             To: <sip:{login}>\r\nFrom: <sip:{login}>;tag={call}\r\nCall-ID: {call}@{}\r\nCSeq: 1 OPTIONS\r\n\
             Contact: <sip:{login}>\r\nAccept: application/sdp\r\nContent-Length: 0\r\n\r\n",
            local.ip()
        )
    }
}

async fn more(stream: &mut Box<dyn Stream>, answer: &mut Vec<u8>) -> Result<(), Failure> {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk).await? {
        0 => Err(failure("closed without a final answer")),
        _ if answer.len() > MAX_ANSWER_BYTES => {
            Err(failure(format!("an answer of more than {MAX_ANSWER_BYTES} bytes")))
        }
        n => {
            answer.extend_from_slice(&chunk[..n]);
            Ok(())
        }
    }
}

fn first_line(answer: &[u8]) -> String {
    let line = answer.split(|b| *b == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim_end().to_owned()
}

fn is_provisional(code: u16) -> bool {
    (100..200).contains(&code)
}

fn code(answer: &[u8]) -> Option<u16> {
    let digits = answer.strip_prefix(b"SIP/2.0 ")?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
