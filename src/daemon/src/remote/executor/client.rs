//! One connection of a cluster node: nothing is read of it before TLS has shown that it has the key.

use super::super::link::{send, watch_over};
use super::serve::{Event, Unproved};
use openssl::ssl::{Ssl, SslContext};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_openssl::SslStream;
use wire::executor::{Reader, encode};
use xml::Element;

/// For the handshake, as with the original.
const PROVES_WITHIN: Duration = Duration::from_secs(10);
/// A peer that takes nothing for so long is gone.
const TAKES_WITHIN: Duration = Duration::from_secs(20);
/// Messages that wait for a peer.
pub const WAITING: usize = 1024;
const PIECE_BYTES: usize = 16 * 1024;

/// From the first byte to the end; `events` has both told of one that was admitted.
pub async fn serve(
    id: u64,
    tcp: TcpStream,
    (context, proving): (SslContext, Unproved),
    events: mpsc::Sender<Event>,
) -> Result<(), String> {
    watch_over(&tcp);
    let ssl = Ssl::new(&context).map_err(|e| e.to_string())?;
    let mut stream = SslStream::new(ssl, tcp).map_err(|e| e.to_string())?;
    let proved = tokio::time::timeout(PROVES_WITHIN, Pin::new(&mut stream).accept()).await;
    proved.map_err(|_| "no TLS handshake in time".to_owned())?.map_err(|e| format!("TLS: {e}"))?;
    drop(proving);
    let (to, inbox) = mpsc::channel(WAITING);
    let gone = |_| "this executor ends".to_owned();
    events.send(Event::Connected { client: id, to }).await.map_err(gone)?;
    let ended = talk(id, &mut stream, inbox, &events).await;
    let _ = events.send(Event::Disconnected { client: id }).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
    ended
}

async fn talk(
    id: u64,
    stream: &mut SslStream<TcpStream>,
    mut inbox: mpsc::Receiver<Element>,
    events: &mpsc::Sender<Event>,
) -> Result<(), String> {
    let (mut reader, mut sent) = (Reader::default(), 0u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        tokio::select! {
            read = stream.read(&mut piece) => {
                let read = read.map_err(|e| e.to_string())?;
                if read == 0 {
                    return Ok(());
                }
                reader.push(&piece[..read]);
                while let Some(text) = reader.next_text().map_err(|e| e.to_string())? {
                    let message = xml::parse(&text).map_err(|e| format!("an unreadable message: {e}"))?;
                    let gone = |_| "this executor ends".to_owned();
                    events.send(Event::Message { client: id, message }).await.map_err(gone)?;
                }
            }
            message = inbox.recv() => {
                // Put out: it did not keep up.
                let Some(message) = message else { return Err("it does not take what it is told".to_owned()) };
                sent += 1;
                let frame = encode(sent, &message.to_compact());
                let written = tokio::time::timeout(TAKES_WITHIN, send(stream, &frame)).await;
                written.map_err(|_| "it does not take what it is told".to_owned())?.map_err(|e| e.to_string())?;
            }
        }
    }
}
