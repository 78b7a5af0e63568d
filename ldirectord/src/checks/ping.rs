//! `checktype = ping`: an ICMP echo is answered, IPv4 or IPv6.
//!
//! A datagram ICMP socket needs no privilege where `net.ipv4.ping_group_range` allows it; a raw one is tried next.

use super::io::Net;
use super::{Failure, Outcome, failure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;

/// Bytes of data in an echo request, as the original sends.
const DATA_LEN: usize = 64;
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);

/// Sends up to `tries` requests, each with `timeout` to answer.
pub async fn run(net: &Net, addr: IpAddr, tries: u32, timeout: Duration) -> Outcome {
    let source = net.local(SocketAddr::new(addr, 0))?;
    let (socket, raw) = open(addr, source)
        .map_err(|e| Failure { why: format!("no ICMP socket: {}", super::io::plain(&e)), local: true })?;
    static IDS: AtomicU16 = AtomicU16::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed) ^ (std::process::id() as u16);
    for sequence in 1..=tries.clamp(1, u32::from(u16::MAX)) as u16 {
        let packet = request(addr, id, sequence);
        socket.send(&packet).await?;
        let answer = tokio::time::timeout(timeout, wait(&socket, addr, raw.then_some(id), sequence));
        match answer.await {
            Ok(Ok(())) => return Ok("echo reply".to_owned()),
            Ok(Err(e)) => return Err(e.into()),
            Err(_) => {}
        }
    }
    Err(failure("no echo reply".to_owned()))
}

/// The runtime has no type for ICMP sockets; one for datagrams sends and receives on them as well.
fn open(addr: IpAddr, source: Option<IpAddr>) -> std::io::Result<(UdpSocket, bool)> {
    let (domain, protocol) =
        if addr.is_ipv4() { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, false),
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied) => {
            (Socket::new(domain, Type::RAW, Some(protocol))?, true)
        }
        Err(e) => return Err(e),
    };
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))?;
    }
    socket.connect(&SockAddr::from(SocketAddr::new(addr, 0)))?;
    let socket = UdpSocket::from_std(OwnedFd::from(socket).into())?;
    Ok((socket, raw))
}

fn request(addr: IpAddr, id: u16, sequence: u16) -> Vec<u8> {
    let kind = if addr.is_ipv4() { ECHO_V4.0 } else { ECHO_V6.0 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend((0..DATA_LEN).map(|i| i as u8));
    if addr.is_ipv4() {
        // For IPv6 the kernel does it, over its pseudo header.
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(c.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Waits for the reply of that sequence; everything else is passed over.
async fn wait(socket: &UdpSocket, addr: IpAddr, id: Option<u16>, sequence: u16) -> std::io::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let n = socket.recv(&mut buffer).await?;
        if is_reply(&buffer[..n], addr, id, sequence) {
            return Ok(());
        }
    }
}

/// `id` is compared for raw sockets only: a datagram socket has one of the kernel's choosing, and hears no other.
fn is_reply(packet: &[u8], addr: IpAddr, id: Option<u16>, sequence: u16) -> bool {
    let icmp = match (addr, id) {
        (IpAddr::V4(_), Some(_)) => {
            let header = packet.first().map_or(0, |b| usize::from(b & 0xf) * 4);
            packet.get(header..).unwrap_or_default()
        }
        _ => packet,
    };
    let kind = if addr.is_ipv4() { ECHO_V4.1 } else { ECHO_V6.1 };
    let [k, 0, _, _, i0, i1, s0, s1, ..] = *icmp else { return false };
    k == kind && id.is_none_or(|id| id == u16::from_be_bytes([i0, i1])) && sequence == u16::from_be_bytes([s0, s1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let v4 = IpAddr::from([127, 0, 0, 1]);
        let mut packet = request(v4, 0x1234, 7);
        assert_eq!(packet.len(), 8 + DATA_LEN);
        assert_eq!(checksum(&packet), 0);
        assert!(!is_reply(&packet, v4, None, 7));
        packet[0] = 0;
        assert!(is_reply(&packet, v4, None, 7));
        assert!(!is_reply(&packet, v4, None, 8));
        let mut raw = vec![0x45; 20];
        raw.extend(&packet);
        assert!(is_reply(&raw, v4, Some(0x1234), 7));
        assert!(!is_reply(&raw, v4, Some(0x1235), 7));
        for len in 0..raw.len() {
            is_reply(&raw[..len], v4, Some(1), 1);
            is_reply(&raw[..len], v4, None, 1);
        }
    }
}
