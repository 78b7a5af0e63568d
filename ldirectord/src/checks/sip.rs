//! `service = sip`: an OPTIONS request is answered by `SIP/2.0 200 OK`, over TCP or UDP (RFC 3261).

use super::io::{self, Net};
use super::{Failure, Outcome, failure};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::AsyncWriteExt;

const MAX_ANSWER_BYTES: usize = 65_536;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sip {
    pub addr: SocketAddr,
    pub udp: bool,
    /// The user that is asked, `user@host`.
    pub login: String,
}

impl Sip {
    pub async fn run(&self, net: &Net) -> Outcome {
        let answer = if self.udp { self.datagram(net).await? } else { self.stream(net).await? };
        let line = answer.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        if line.starts_with("SIP/2.0 200 OK") { Ok(line) } else { Err(failure(format!("unexpected answer: {line}"))) }
    }

    async fn stream(&self, net: &Net) -> Result<Vec<u8>, Failure> {
        let (mut stream, local) = net.tcp(self.addr).await?;
        let request = self.request(local);
        stream.write_all(request.as_bytes()).await?;
        Ok(io::read_until(&mut stream, MAX_ANSWER_BYTES, |t| t.contains(&b'\n')).await?)
    }

    async fn datagram(&self, net: &Net) -> Result<Vec<u8>, Failure> {
        let mut socket = net.udp(self.addr).await?;
        let request = self.request(socket.local_addr()?);
        socket.send(request.as_bytes()).await?;
        let mut buffer = vec![0; MAX_ANSWER_BYTES];
        let n = socket.recv(&mut buffer).await?;
        buffer.truncate(n);
        Ok(buffer)
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
