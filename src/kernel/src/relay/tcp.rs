//! TCP through the relay: accept on the virtual address, connect to the real server, copy both ways.

use super::table::{Counted, Shared, Ticket, TrafficCounter};
use base::ipvs::ServiceKey;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections of one service at once; more wait in the accept queue.
pub const MAX_CONNECTIONS: usize = 16_384;
/// A real server that does not accept within this is given up, as the client would.
const CONNECT_TIMEOUT_MS: u64 = 3_000;
const COPY_BUFFER_BYTES: usize = 16 * 1024;

/// A listening socket on an address that this node may get only later.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = super::socket(addr, socket2::Type::STREAM)?;
    socket.bind(&addr.into())?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// Accepts for one service until its task is aborted.
pub async fn serve(listener: TcpListener, table: Shared, key: ServiceKey) {
    let limit = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = limit.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                let table = table.clone();
                tokio::spawn(async move {
                    relay(stream, client, table, key).await;
                    drop(permit);
                });
            }
            Err(e) => {
                // Out of descriptors or memory: do not spin.
                tracing::warn!(service = ?key, error = %e, "relay: accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn relay(client: TcpStream, from: SocketAddr, table: Shared, key: ServiceKey) {
    let Some(mut ticket) = Ticket::take(&table, &key, from, Counted::Active) else {
        reset(client);
        return;
    };
    let to = SocketAddr::new(ticket.dest.addr, ticket.dest.port);
    let counter = ticket.counter();
    let connected = tokio::select! {
        connected = tokio::time::timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), TcpStream::connect(to)) => connected,
        () = ticket.closed() => { reset(client); return; }
    };
    let Ok(Ok(server)) = connected else {
        reset(client);
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let mut client = Counting { stream: client, counter: counter.clone(), inward: true };
    let mut server = Counting { stream: server, counter, inward: false };
    let ended = tokio::select! {
        done = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, COPY_BUFFER_BYTES, COPY_BUFFER_BYTES) => done.is_ok(),
        () = ticket.closed() => false,
    };
    if !ended {
        // The other end of a broken or cut connection learns it at once, not by its own timeout.
        reset(client.stream);
        reset(server.stream);
    }
}

/// Closes with RST instead of FIN.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// A stream whose reads are counted.
struct Counting {
    stream: TcpStream,
    counter: TrafficCounter,
    inward: bool,
}

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let got = buf.filled().len() - before;
        if got > 0 {
            if self.inward { self.counter.inward(got) } else { self.counter.outward(got) }
        }
        polled
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
