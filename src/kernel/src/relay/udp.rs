//! UDP through the relay: one socket on the virtual address, one connected socket per client session.

use super::table::{Counted, Shared, Ticket, lock};
use base::ipvs::{DestKey, ServiceKey};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Sessions of one service; datagrams of further clients are dropped until one ends.
pub const MAX_SESSIONS: usize = 8_192;
/// Datagrams waiting for one session; more are dropped, as a full socket buffer would.
const MAX_WAITING: usize = 64;
const MAX_DATAGRAM_BYTES: usize = 65_536;

/// Sessions are the client's, or with one-packet scheduling the client's with one destination.
type SessionKey = (SocketAddr, Option<DestKey>);

/// A socket on an address that this node may get only later.
pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = super::socket(addr, socket2::Type::DGRAM)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Forwards datagrams of one service until its task is aborted.
pub async fn serve(socket: UdpSocket, table: Shared, key: ServiceKey) {
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SessionKey, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let (ended, mut endings) = mpsc::channel::<SessionKey>(256);
    let mut buffer = vec![0u8; MAX_DATAGRAM_BYTES];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                Ok((len, client)) => {
                    let datagram = buffer[..len].to_vec();
                    deliver(&mut sessions, &socket, &table, &key, client, datagram, &ended);
                }
                // ICMP errors of earlier answers arrive here too; they concern one client only.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            },
            Some(gone) = endings.recv() => {
                if sessions.get(&gone).is_some_and(mpsc::Sender::is_closed) {
                    sessions.remove(&gone);
                }
            }
        }
    }
}

fn deliver(
    sessions: &mut HashMap<SessionKey, mpsc::Sender<Vec<u8>>>,
    socket: &Arc<UdpSocket>,
    table: &Shared,
    key: &ServiceKey,
    client: SocketAddr,
    datagram: Vec<u8>,
    ended: &mpsc::Sender<SessionKey>,
) {
    let one_packet = lock(table).one_packet(key);
    let mut fresh = None;
    let session = if one_packet {
        let Some(ticket) = Ticket::take(table, key, client, Counted::Inactive) else { return };
        let session = (client, Some(ticket.dest));
        fresh = Some(ticket);
        session
    } else {
        (client, None)
    };
    let mut datagram = datagram;
    if let Some(sender) = sessions.get(&session) {
        match sender.try_send(datagram) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
            Err(mpsc::error::TrySendError::Closed(back)) => datagram = back,
        }
    }
    if sessions.len() >= MAX_SESSIONS {
        tracing::warn!(limit = MAX_SESSIONS, "relay: too many UDP sessions; a datagram is dropped");
        return;
    }
    let Some(ticket) = fresh.or_else(|| Ticket::take(table, key, client, Counted::Inactive)) else { return };
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let _ = sender.try_send(datagram);
    sessions.insert(session, sender);
    let idle = lock(table).udp_timeout();
    let (socket, ended) = (socket.clone(), ended.clone());
    tokio::spawn(async move {
        let _ = run(ticket, receiver, &socket, client, idle).await;
        let _ = ended.send(session).await;
    });
}

async fn run(
    mut ticket: Ticket,
    mut receiver: mpsc::Receiver<Vec<u8>>,
    back: &UdpSocket,
    client: SocketAddr,
    idle: Duration,
) -> io::Result<()> {
    let to = SocketAddr::new(ticket.dest.addr, ticket.dest.port);
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let server = UdpSocket::bind(any).await?;
    server.connect(to).await?;
    let counter = ticket.counter();
    let mut buffer = vec![0u8; MAX_DATAGRAM_BYTES];
    let mut last = Instant::now();
    loop {
        tokio::select! {
            datagram = receiver.recv() => {
                let Some(datagram) = datagram else { return Ok(()) };
                counter.inward(datagram.len());
                // A refusal (ICMP) shows at the next call and is the client's to notice by silence.
                let _ = server.send(&datagram).await;
            }
            received = server.recv(&mut buffer) => {
                if let Ok(len) = received {
                    counter.outward(len);
                    let _ = back.send_to(&buffer[..len], client).await;
                }
            }
            () = ticket.closed() => return Ok(()),
            () = tokio::time::sleep_until((last + idle).into()) => return Ok(()),
        }
        last = Instant::now();
    }
}
