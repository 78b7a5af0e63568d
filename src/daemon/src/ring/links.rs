//! UDP sockets, one per link, bound to this node's ringN_addr; and what the network reports about peers (ICMP).
//!
//! Packets from addresses that the nodelist does not have for that link are dropped here and counted, before any
//! cryptography. Sending never blocks: what does not fit into the socket is lost, as on any network.

use super::batch::Batch;
use crate::config::ResolvedNode;
use base::{NodeId, Time};
use kernel::echo::Echo;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;
use wire::frame::Header;

/// Asked of the kernel for each direction of a socket; it may give less. All nodes together have less than this under way.
const BUFFER_BYTES: usize = 4 << 20;
const ANSWER_EVERY: Duration = Duration::from_secs(1);
/// Unlisted addresses kept between two looks at them.
const MAX_STRANGERS: usize = 16;
/// Error queue entries read at once.
const MAX_ERRORS: usize = 64;

/// What happened to packets below the sealing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub sent: u64,
    /// From an address that is not in the nodelist.
    pub unlisted: u64,
    /// Not taken by the kernel: full buffers, no route, interface down.
    pub unsent: u64,
    pub icmp_errors: u64,
}

/// Why a link has no socket. Names the cure where it is known.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("link {link}: {address} is in use: does corosync run? (systemctl disable --now corosync pacemaker)")]
    InUse { link: u8, address: SocketAddr },
    #[error("link {link}: {address} cannot be bound: {error}")]
    Bind { link: u8, address: SocketAddr, error: io::Error },
    #[error("node {0} is not in the nodelist")]
    NotListed(NodeId),
}

/// What went over one link to one peer, sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub sent: u64,
    pub sent_bytes: u64,
    /// Not taken by the kernel.
    pub send_errors: u64,
    pub received: u64,
    pub received_bytes: u64,
}

/// Something has come: packets, errors, answers of hosts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Packets(u8),
    Answers(u8),
}

struct Link {
    socket: UdpSocket,
    /// The kernel takes many packets in one call.
    together: bool,
    /// Asks the peers' hosts; none where this process may not.
    echo: Option<Echo>,
    local: SocketAddr,
    peers: BTreeMap<NodeId, SocketAddr>,
    by_address: BTreeMap<IpAddr, NodeId>,
    traffic: BTreeMap<NodeId, Traffic>,
}

impl Link {
    /// Who is where on this link; what is known of those who stay is kept.
    fn set_peers(&mut self, number: usize, me: NodeId, nodes: &[ResolvedNode]) {
        let at = |n: &ResolvedNode| n.addresses.get(number).map(|a| (n.id, *a));
        self.peers = nodes.iter().filter(|n| n.id != me).filter_map(at).collect();
        self.by_address = self.peers.iter().map(|(id, a)| (a.ip(), *id)).collect();
        self.traffic.retain(|id, _| self.peers.contains_key(id));
    }
}

/// A packet in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Of all packets that came together.
    pub length: usize,
    /// Of each of them but the last.
    pub each: usize,
    pub from: SocketAddr,
    /// Whose address that is.
    pub peer: Option<NodeId>,
    /// Its address is not in the nodelist: not to be let in.
    pub blocked: bool,
}

/// All links of this node.
pub struct Links {
    links: Vec<Link>,
    block_unlisted: bool,
    me: NodeId,
    strangers: BTreeSet<(NodeId, IpAddr)>,
    answered: Option<Time>,
    /// Packets that were larger than this host sends over their link.
    refused: Vec<(NodeId, u8, usize)>,
    pub counters: Counters,
}

impl Links {
    pub fn open(me: NodeId, nodes: &[ResolvedNode], block_unlisted: bool) -> Result<Links, LinkError> {
        let mut all = Links {
            links: Vec::new(),
            block_unlisted,
            me,
            strangers: BTreeSet::new(),
            answered: None,
            refused: Vec::new(),
            counters: Counters::default(),
        };
        all.reconfigure(nodes, block_unlisted)?;
        Ok(all)
    }

    /// The nodelist has changed. Sockets of addresses that stay are kept, with what waits in them; on an error nothing has changed.
    pub fn reconfigure(&mut self, nodes: &[ResolvedNode], block_unlisted: bool) -> Result<(), LinkError> {
        let mine = nodes.iter().find(|n| n.id == self.me).ok_or(LinkError::NotListed(self.me))?;
        let mut fresh = BTreeMap::new();
        for (number, local) in mine.addresses.iter().enumerate() {
            if self.links.get(number).is_none_or(|l| l.local != *local) {
                fresh.insert(number, (bind(number as u8, *local)?, ask_from(number as u8, *local)));
            }
        }
        self.links.truncate(mine.addresses.len());
        for (number, local) in mine.addresses.iter().enumerate() {
            match (fresh.remove(&number), self.links.get_mut(number)) {
                (Some((socket, echo)), Some(link)) => {
                    (link.socket, link.echo, link.local, link.together) = (socket, echo, *local, true);
                }
                (Some((socket, echo)), None) => {
                    let (peers, by_address, traffic) = Default::default();
                    let together = true;
                    self.links.push(Link { socket, together, echo, local: *local, peers, by_address, traffic });
                }
                (None, _) => {}
            }
        }
        for (number, link) in self.links.iter_mut().enumerate() {
            link.set_peers(number, self.me, nodes);
        }
        self.block_unlisted = block_unlisted;
        Ok(())
    }

    /// Whether these addresses of this host could be bound besides those that are.
    pub fn try_bind(number: u8, address: SocketAddr) -> Result<(), LinkError> {
        bind(number, address).map(drop)
    }

    /// By peer and link.
    pub fn traffic(&self) -> BTreeMap<(NodeId, u8), Traffic> {
        let of = |(number, link): (usize, &Link)| {
            link.traffic.iter().map(move |(id, t)| ((*id, number as u8), *t)).collect::<Vec<_>>()
        };
        self.links.iter().enumerate().flat_map(of).collect()
    }

    pub fn count(&self) -> u8 {
        self.links.len() as u8
    }

    pub fn sources(&self) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
        (0u8..).zip(&self.links).flat_map(|(n, l)| {
            let answers = l.echo.as_ref().map(|e| (Source::Answers(n), e.as_fd()));
            std::iter::once((Source::Packets(n), l.socket.as_fd())).chain(answers)
        })
    }

    /// Asks a peer's host whether it lives. What cannot be sent is not answered, as on any network.
    pub fn ask(&mut self, to: NodeId, link: u8) {
        let Some(link) = self.links.get_mut(usize::from(link)) else { return };
        if let (Some(echo), Some(address)) = (&mut link.echo, link.peers.get(&to)) {
            let _ = echo.ask(*address);
        }
    }

    /// Peers whose hosts have answered over this link since the last call.
    pub fn answers(&self, link: u8) -> Vec<NodeId> {
        let Some(link) = self.links.get(usize::from(link)) else { return Vec::new() };
        let answers = link.echo.as_ref().map(Echo::answers).unwrap_or_default();
        answers.iter().filter_map(|host| link.by_address.get(host).copied()).collect()
    }

    /// Sends one packet. An error that the kernel reports for an *earlier* packet of the socket is fetched from the
    /// error queue by the caller, so this one is sent again once.
    pub fn send(&mut self, to: NodeId, number: u8, packet: &[u8]) {
        let Some(link) = self.links.get_mut(usize::from(number)) else {
            self.counters.unsent += 1;
            return;
        };
        let Some(address) = link.peers.get(&to) else {
            self.counters.unsent += 1;
            return;
        };
        let sent = link.socket.send_to(packet, address).or_else(|_| link.socket.send_to(packet, address));
        let traffic = link.traffic.entry(to).or_default();
        match sent {
            Ok(_) => {
                self.counters.sent += 1;
                traffic.sent += 1;
                traffic.sent_bytes += packet.len() as u64;
            }
            Err(error) => {
                self.counters.unsent += 1;
                traffic.send_errors += 1;
                if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) && self.refused.len() < MAX_ERRORS {
                    self.refused.push((to, number, packet.len()));
                }
            }
        }
    }

    /// All packets of a batch; in one call where the kernel takes that.
    pub(super) fn send_batch(&mut self, batch: &Batch) {
        let way = self.links.get_mut(usize::from(batch.link)).filter(|l| l.together && !batch.is_single());
        if let Some(link) = way
            && let Some(address) = link.peers.get(&batch.to)
            && let Ok(each) = u16::try_from(batch.each)
        {
            let parts = [IoSlice::new(&batch.bytes)];
            let control = [ControlMessage::UdpGsoSegments(&each)];
            let (socket, to) = (link.socket.as_raw_fd(), SockaddrStorage::from(*address));
            let send = || sendmsg(socket, &parts, &control, MsgFlags::empty(), Some(&to));
            match send().or_else(|_| send()) {
                Ok(_) => {
                    let count = batch.packets().count() as u64;
                    self.counters.sent += count;
                    let traffic = link.traffic.entry(batch.to).or_default();
                    traffic.sent += count;
                    traffic.sent_bytes += batch.bytes.len() as u64;
                    return;
                }
                // An interface that cannot, or an old kernel.
                Err(Errno::EIO | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => link.together = false,
                Err(_) => {}
            }
        }
        batch.packets().for_each(|packet| self.send(batch.to, batch.link, packet));
    }

    /// To whom and over which link packets of which length were too large for this host, since the last call.
    pub fn refused(&mut self) -> Vec<(NodeId, u8, usize)> {
        std::mem::take(&mut self.refused)
    }

    /// To a host that is nobody's; at most one answer a second on the whole, so that nobody can be made to flood another.
    pub fn answer(&mut self, now: Time, link: u8, to: SocketAddr, packet: &[u8]) {
        if self.answered.is_some_and(|t| now.since(t) < ANSWER_EVERY) {
            return;
        }
        self.answered = Some(now);
        if let Some(link) = self.links.get(usize::from(link)) {
            let _ = link.socket.send_to(packet, to);
        }
    }

    pub fn send_on_all(&mut self, to: NodeId, packet: &[u8]) {
        for link in 0..self.count() {
            self.send(to, link, packet);
        }
    }

    /// The next packets of a link, that came together from one address, or none for now.
    pub fn receive(&mut self, link: u8, buffer: &mut [u8]) -> Option<Received> {
        let link_number = usize::from(link);
        loop {
            let link = self.links.get(link_number)?;
            match receive(&link.socket, buffer) {
                Ok((length, each, from)) => {
                    let peer = link.by_address.get(&from.ip()).copied();
                    if peer.is_none() {
                        self.note_stranger(from, buffer.get(..each).unwrap_or_default());
                    }
                    if self.block_unlisted && peer.is_none() {
                        self.counters.unlisted += 1;
                        return Some(Received { length, each, from, peer, blocked: true });
                    }
                    let count = length.div_ceil(each.max(1)) as u64;
                    self.counters.received += count;
                    if let Some((peer, link)) = peer.zip(self.links.get_mut(link_number)) {
                        let traffic = link.traffic.entry(peer).or_default();
                        traffic.received += count;
                        traffic.received_bytes += length as u64;
                    }
                    return Some(Received { length, each, from, peer, blocked: false });
                }
                // A pending ICMP error is reported once in place of a packet; it is read from the error queue.
                Err(Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::EINTR | Errno::EMSGSIZE) => {}
                Err(_) => return None,
            }
        }
    }

    /// Somebody with an address that the nodelist does not have calls itself by a number that it has.
    fn note_stranger(&mut self, from: SocketAddr, packet: &[u8]) {
        let Ok((header, _)) = Header::decode(packet) else { return };
        let id = match header {
            Header::Data { from, .. } | Header::Hello { from, .. } | Header::Refused { from, .. } => from,
        };
        let taken = id == self.me || self.links.iter().any(|l| l.peers.contains_key(&id));
        if taken && self.strangers.len() < MAX_STRANGERS {
            self.strangers.insert((id, from.ip()));
        }
    }

    /// Who has called itself by a taken number since the last call.
    pub fn strangers(&mut self) -> BTreeSet<(NodeId, IpAddr)> {
        std::mem::take(&mut self.strangers)
    }

    /// Peers for which the network reported an error on this link since the last call, and what.
    pub fn errors(&mut self, link: u8) -> Vec<(NodeId, Report)> {
        let Some(link) = self.links.get(usize::from(link)) else { return Vec::new() };
        let mut peers = Vec::new();
        for _ in 0..MAX_ERRORS {
            match next_error(&link.socket) {
                Ok(Some((address, report))) => {
                    self.counters.icmp_errors += 1;
                    let peer = link.by_address.get(&address).map(|p| (*p, report));
                    peers.extend(peer.filter(|p| !peers.contains(p)));
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        peers
    }
}

/// Length of all packets that came together, of each but the last, and from where.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<(usize, usize, SocketAddr), Errno> {
    let mut control = nix::cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let from = message.address.as_ref().and_then(|a| {
        let v4 = || a.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4().or_else(|| a.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())))
    });
    let each = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::UdpGroSegments(each) => usize::try_from(each).ok(),
        _ => None,
    });
    let length = message.bytes;
    Ok((length, each.filter(|e| *e > 0).unwrap_or(length), from.ok_or(Errno::EAFNOSUPPORT)?))
}

/// Without it, a dead host is told from a busy process by time alone.
fn ask_from(link: u8, local: SocketAddr) -> Option<Echo> {
    let id = (std::process::id() as u16).rotate_left(u32::from(link));
    let opened = Echo::open(local.ip(), id);
    opened.inspect_err(|e| tracing::warn!("link {link}: other hosts cannot be asked whether they live: {e}")).ok()
}

/// Binds even if the address is not there yet (an interface that comes up late, or went down and comes back).
fn bind(link: u8, address: SocketAddr) -> Result<UdpSocket, LinkError> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if address.is_ipv4() {
            socket.set_freebind_v4(true)?;
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        kernel::datagrams::never_in_fragments(&socket, address.is_ipv6())?;
        kernel::datagrams::large_buffers(&socket, BUFFER_BYTES);
        kernel::datagrams::receive_together(&socket);
        socket.bind(&address.into())?;
        Ok(socket)
    };
    match open() {
        Ok(socket) => Ok(socket.into()),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(LinkError::InUse { link, address }),
        Err(error) => Err(LinkError::Bind { link, address, error }),
    }
}

/// What the network says of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// Nobody is there.
    Unreachable,
    /// It was too large somewhere on the way.
    TooLarge,
}

/// One entry of the error queue: the address to which the packet went that caused it, if the network (not this host)
/// reported it.
fn next_error(socket: &UdpSocket) -> Result<Option<(IpAddr, Report)>, Errno> {
    let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
    let mut payload = [0u8; 256];
    let mut vectors = [IoSliceMut::new(&mut payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut vectors, Some(&mut control), flags)?;
    let destination = message.address.as_ref().and_then(|a| {
        a.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip())).or_else(|| a.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let said = message.cmsgs()?.find_map(|c| match c {
        ControlMessageOwned::Ipv4RecvErr(e, _) | ControlMessageOwned::Ipv6RecvErr(e, _) => {
            report(e.ee_origin, e.ee_errno)
        }
        _ => None,
    });
    Ok(destination.zip(said))
}

/// `SO_EE_ORIGIN_ICMP` (2) or `SO_EE_ORIGIN_ICMP6` (3), with an errno that says something of the way.
fn report(origin: u8, errno: u32) -> Option<Report> {
    match Errno::from_raw(errno as i32) {
        _ if !matches!(origin, 2 | 3) => None,
        Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH => Some(Report::Unreachable),
        Errno::EMSGSIZE => Some(Report::TooLarge),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, address: &str) -> ResolvedNode {
        ResolvedNode { id: NodeId(id), name: id.to_string(), votes: 1, addresses: vec![address.parse().unwrap()] }
    }

    fn pair(a: &str, b: &str) -> (Links, Links) {
        let nodes = [node(1, a), node(2, b)];
        (Links::open(NodeId(1), &nodes, true).unwrap(), Links::open(NodeId(2), &nodes, true).unwrap())
    }

    fn receive(links: &mut Links) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        for _ in 0..200 {
            if let Some(packet) = links.receive(0, &mut buffer) {
                return Some(if packet.blocked { Vec::new() } else { buffer[..packet.length].to_vec() });
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        None
    }

    #[test]
    fn packets_pass_between_listed_addresses_only() {
        let (mut a, mut b) = pair("127.0.3.1:25405", "127.0.3.2:25405");
        a.send(NodeId(2), 0, b"hello");
        assert_eq!(receive(&mut b).as_deref(), Some(&b"hello"[..]));
        let stranger = UdpSocket::bind("127.0.3.9:0").unwrap();
        stranger.send_to(b"intruder", "127.0.3.2:25405").unwrap();
        assert_eq!(receive(&mut b).as_deref(), Some(&b""[..]));
        assert_eq!((b.counters.received, b.counters.unlisted), (1, 1));
        a.send(NodeId(7), 0, b"nobody");
        a.send(NodeId(2), 3, b"no such link");
        assert_eq!((a.counters.sent, a.counters.unsent), (1, 2));
    }

    #[test]
    fn a_refused_packet_is_blamed_on_its_receiver_and_stops_nothing() {
        let nodes = [node(1, "127.0.3.11:25405"), node(2, "127.0.3.12:25405"), node(3, "127.0.3.13:25405")];
        let mut a = Links::open(NodeId(1), &nodes, true).unwrap();
        let mut c = Links::open(NodeId(3), &nodes, true).unwrap();
        a.send(NodeId(2), 0, b"nobody listens");
        std::thread::sleep(std::time::Duration::from_millis(20));
        a.send(NodeId(3), 0, b"still sent");
        assert_eq!(receive(&mut c).as_deref(), Some(&b"still sent"[..]));
        assert_eq!(a.errors(0), [(NodeId(2), Report::Unreachable)]);
        assert_eq!(a.errors(0), []);
    }

    fn on(id: u32, addresses: &[&str]) -> ResolvedNode {
        ResolvedNode { addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(), ..node(id, addresses[0]) }
    }

    #[test]
    fn links_come_and_go_and_those_that_stay_lose_nothing() {
        let one = [on(1, &["127.0.3.31:25405"]), on(2, &["127.0.3.32:25405"])];
        let two = [on(1, &["127.0.3.31:25405", "[::1]:25431"]), on(2, &["127.0.3.32:25405", "[::1]:25432"])];
        let mut a = Links::open(NodeId(1), &one, true).unwrap();
        let mut b = Links::open(NodeId(2), &one, true).unwrap();
        a.send(NodeId(2), 0, b"before");
        a.reconfigure(&two, true).unwrap();
        b.reconfigure(&two, true).unwrap();
        assert_eq!(receive(&mut b).as_deref(), Some(&b"before"[..]), "what waits in a socket that stays");
        assert_eq!((a.count(), a.traffic()[&(NodeId(2), 0)].sent), (2, 1));
        a.send(NodeId(2), 1, b"over the new one");
        let mut buffer = [0; 64];
        let came = (0..200).find_map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            b.receive(1, &mut buffer)
        });
        assert_eq!(came.map(|p| p.length), Some(16));
        // Another address that cannot be had: nothing has changed.
        let taken = UdpSocket::bind("127.0.3.39:25405").unwrap();
        let bad = [on(1, &["127.0.3.39:25405"]), on(2, &["127.0.3.32:25405"])];
        assert!(matches!(a.reconfigure(&bad, true), Err(LinkError::InUse { .. })));
        assert_eq!(a.count(), 2);
        drop(taken);
        a.reconfigure(&bad, true).unwrap();
        b.reconfigure(&bad, true).unwrap();
        a.send(NodeId(2), 0, b"from elsewhere");
        assert_eq!(receive(&mut b).as_deref(), Some(&b"from elsewhere"[..]));
        assert_eq!((a.count(), b.count()), (1, 1));
        a.send(NodeId(2), 1, b"gone");
        assert_eq!(a.counters.unsent, 1);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let (_a, _b) = pair("127.0.3.21:25405", "127.0.3.22:25405");
        let nodes = [node(1, "127.0.3.21:25405"), node(2, "127.0.3.22:25405")];
        assert!(matches!(Links::open(NodeId(1), &nodes, true), Err(LinkError::InUse { link: 0, .. })));
    }
}
