//! Programs of this host that ask the cluster: what they send on the socket of the commands goes to a cluster node as it is, which
//! answers as if this host were itself.

use super::serve::Event;
use controller::remote::ProxyOp;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Longest life of a connection.
const AT_MOST: Duration = Duration::from_secs(660);
/// Pieces of an answer that wait for their program.
const WAITING: usize = 64;
const PIECE_BYTES: usize = 16 * 1024;

pub async fn listen(listener: UnixListener, events: mpsc::Sender<Event>) {
    for number in 1u64.. {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(program(number, stream, events.clone()))),
            Err(error) => {
                tracing::warn!("socket of the commands: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn program(number: u64, mut stream: UnixStream, events: mpsc::Sender<Event>) {
    let Ok(user) = crate::api::user_of(&stream).await else { return };
    let session = format!("{}-{number}", std::process::id());
    let (to, inbox) = mpsc::channel(WAITING);
    if events.send(Event::Program { session: session.clone(), to }).await.is_err() {
        return;
    }
    let talk = talk(&session, &user, &mut stream, inbox, &events);
    let _ = tokio::time::timeout(AT_MOST, talk).await;
    let _ = events.send(Event::Asked { session, op: ProxyOp::Destroy }).await;
}

async fn talk(
    session: &str,
    user: &str,
    stream: &mut UnixStream,
    mut inbox: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<Event>,
) -> Option<()> {
    let mut piece = vec![0; PIECE_BYTES];
    for id in 1.. {
        tokio::select! {
            read = stream.read(&mut piece) => {
                let read = read.ok().filter(|n| *n > 0)?;
                let op = ProxyOp::Request { id, user: user.to_owned(), body: super::super::bytes::pack(&piece[..read]) };
                events.send(Event::Asked { session: session.to_owned(), op }).await.ok()?;
            }
            answer = inbox.recv() => stream.write_all(&answer?).await.ok()?,
        }
    }
    None
}
