//! The agent check: a port of the server that tells its weight and state in a line (`agentport`). What the line means is
//! `policy::AgentReport`'s matter; here "up" only means that a line came.

use super::io::{self, Net};
use super::{Outcome, failure};
use policy::MAX_AGENT_LINE;
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

/// Whom to ask, and what to send first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agent {
    pub addr: SocketAddr,
    pub send: String,
}

pub async fn run(net: &Net, agent: &Agent) -> Outcome {
    let (mut stream, _) = net.tcp(agent.addr).await?;
    if !agent.send.is_empty() {
        stream.write_all(agent.send.as_bytes()).await?;
    }
    let end = |read: &[u8]| read.iter().any(|b| *b == b'\n' || *b == b'\r');
    let read = io::read_until(&mut stream, MAX_AGENT_LINE, end).await?;
    let line = read.split(|b| *b == b'\n' || *b == b'\r').next().unwrap_or_default();
    if line.is_empty() {
        return Err(failure("the agent said nothing"));
    }
    Ok(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn ask(answer: &'static [u8], send: &str) -> (Outcome, Vec<u8>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 64];
            let wait = tokio::time::timeout(std::time::Duration::from_millis(100), stream.read(&mut heard)).await;
            heard.truncate(wait.map(|n| n.unwrap_or(0)).unwrap_or(0));
            let _ = stream.write_all(answer).await;
            heard
        });
        let outcome = run(&Net::default(), &Agent { addr, send: send.to_owned() }).await;
        (outcome, server.await.unwrap())
    }

    #[tokio::test]
    async fn one_line_is_read() {
        assert_eq!(ask(b"75% up\r\nmore\n", "").await.0.unwrap(), "75% up");
        let (outcome, heard) = ask(b"drain", "weight?\n").await;
        assert_eq!((outcome.unwrap().as_str(), heard.as_slice()), ("drain", b"weight?\n".as_slice()));
        assert!(ask(b"", "").await.0.is_err() && ask(b"\n", "").await.0.is_err());
        static LONG: [u8; 100_000] = [b'x'; 100_000];
        assert_eq!(ask(&LONG, "").await.0.unwrap().len(), MAX_AGENT_LINE);
    }
}
