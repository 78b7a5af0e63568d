//! `service = simpletcp`: sends the request, closes its half, and some line of the answer must match.

use super::io::{self, Net};
use super::{Exchange, Failure, Outcome, failure};
use tokio::io::AsyncWriteExt;

/// More of an answer is not read.
const MAX_ANSWER_BYTES: usize = 256 << 10;

pub async fn run(net: &Net, exchange: &Exchange) -> Outcome {
    let answer = if exchange.udp { datagram(net, exchange).await? } else { stream(net, exchange).await? };
    if answer.is_empty() {
        return Err(failure("closed without an answer".to_owned()));
    }
    match answer.split(|b| *b == b'\n').find(|line| exchange.receive.is_match(line)) {
        Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
        None => {
            let cut = if answer.len() < MAX_ANSWER_BYTES { "" } else { " in its first 256 KiB, more is not read" };
            Err(failure(format!("no line matches{cut}: {}", String::from_utf8_lossy(&answer))))
        }
    }
}

async fn stream(net: &Net, exchange: &Exchange) -> Result<Vec<u8>, Failure> {
    let (mut stream, _) = net.tcp(exchange.addr).await?;
    stream.write_all(exchange.request.as_bytes()).await?;
    stream.shutdown().await?;
    // A server that keeps the connection open has answered when a whole line matches.
    let done = |text: &[u8]| match text.iter().rposition(|b| *b == b'\n') {
        Some(end) => text[..end].split(|b| *b == b'\n').any(|line| exchange.receive.is_match(line)),
        None => false,
    };
    Ok(io::read_until(&mut stream, MAX_ANSWER_BYTES, done).await?)
}

async fn datagram(net: &Net, exchange: &Exchange) -> Result<Vec<u8>, Failure> {
    let mut socket = net.udp(exchange.addr).await?;
    socket.send(exchange.request.as_bytes()).await?;
    let mut buffer = vec![0; 65_536];
    let n = socket.recv(&mut buffer).await?;
    buffer.truncate(n);
    Ok(buffer)
}
