//! Telling the neighbours where an address now lives: gratuitous ARP for IPv4 (RFC 5227 §2.3 announcements, sent as request and
//! as reply, since some devices learn from one kind only) and unsolicited neighbour advertisements for IPv6 (RFC 4861
//! §7.2.6).
//!
//! [`announce`] sends once, [`burst`] several times, since such packets are not acknowledged and switches may be relearning.
//! Packets are built by pure functions ([`arp_packet`], [`advertisement`]).

#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::addr::Link;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV6};
use std::time::Duration;

pub(crate) const ETH_P_ARP: u16 = 0x0806;
pub(crate) const ETHERNET_BROADCAST: [u8; 6] = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: i32 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const FLAG_ROUTER: u8 = 0x80;
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;
/// Packets of one burst at most.
pub const MAX_BURST: u32 = 100;

/// How often a new owner announces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    pub count: u32,
    pub interval_ms: u64,
}

impl Default for Burst {
    /// Five within 0.8 s: enough for a switch that is relearning its ports.
    fn default() -> Burst {
        Burst { count: 5, interval_ms: 200 }
    }
}

/// Why an announcement was not sent.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    #[error("{link} has no Ethernet address to announce")]
    NoHardwareAddress { link: String },
    #[error("announcing {addr} on {link}: {what}: {source}")]
    Io { addr: IpAddr, link: String, what: &'static str, source: std::io::Error },
}

/// ARP operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpKind {
    Request = 1,
    Reply = 2,
}

/// A gratuitous ARP packet (without Ethernet header): sender and target are the same address.
pub fn arp_packet(kind: ArpKind, mac: [u8; 6], addr: Ipv4Addr) -> [u8; 28] {
    let mut packet = [0u8; 28];
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, kind as u8]);
    packet[8..14].copy_from_slice(&mac);
    packet[14..18].copy_from_slice(&addr.octets());
    packet[18..24].copy_from_slice(&ETHERNET_BROADCAST);
    packet[24..28].copy_from_slice(&addr.octets());
    packet
}

/// An unsolicited neighbour advertisement (ICMPv6, checksum left to the kernel). `router` must be set on a director
/// that forwards IPv6, or its neighbours drop it as their gateway.
pub fn advertisement(mac: [u8; 6], addr: Ipv6Addr, router: bool) -> [u8; 32] {
    let mut packet = [0u8; 32];
    packet[0] = NEIGHBOUR_ADVERTISEMENT;
    packet[4] = FLAG_OVERRIDE | if router { FLAG_ROUTER } else { 0 };
    packet[8..24].copy_from_slice(&addr.octets());
    packet[24..26].copy_from_slice(&[OPTION_TARGET_LINK_ADDRESS, 1]);
    packet[26..32].copy_from_slice(&mac);
    packet
}

/// Announces `addr` on `link` once. Nothing is sent on the loopback link, which has no neighbours.
pub fn announce(link: &Link, addr: IpAddr) -> Result<(), AnnounceError> {
    Sender::default().announce(link, addr)
}

/// The same for whoever announces much: closing a packet socket waits for the whole kernel (some 10 ms, RCU), so this one
/// is kept. It belongs to the network namespace of the thread that announces first.
#[derive(Default)]
pub struct Sender {
    arp: Option<Socket>,
}

impl Sender {
    pub fn announce(&mut self, link: &Link, addr: IpAddr) -> Result<(), AnnounceError> {
        if link.loopback {
            return Ok(());
        }
        let mac = link.mac.ok_or_else(|| AnnounceError::NoHardwareAddress { link: link.name.clone() })?;
        let sent = match addr {
            IpAddr::V4(v4) => self.send_arp(link.index, mac, v4),
            IpAddr::V6(v6) => send_advertisement(link, mac, v6),
        };
        sent.map_err(|(what, source)| AnnounceError::Io { addr, link: link.name.clone(), what, source })
    }

    fn send_arp(&mut self, index: u32, mac: [u8; 6], addr: Ipv4Addr) -> Result<(), Failure> {
        if self.arp.is_none() {
            // Without a protocol it hears nothing, and nothing piles up in it.
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(|e| ("packet socket", e))?;
            socket.set_nonblocking(true).map_err(|e| ("non-blocking", e))?;
            self.arp = Some(socket);
        }
        let Some(socket) = &self.arp else { return Ok(()) };
        let to = hardware(index, ETH_P_ARP, ETHERNET_BROADCAST);
        for kind in [ArpKind::Request, ArpKind::Reply] {
            socket.send_to(&arp_packet(kind, mac, addr), &to).map_err(|e| ("send", e))?;
        }
        Ok(())
    }
}

/// Announces all addresses `burst.count` times; the first failure of the first round is returned, later ones end the burst.
pub async fn burst(link: &Link, addrs: &[IpAddr], burst: Burst) -> Result<(), AnnounceError> {
    for round in 0..burst.count.min(MAX_BURST) {
        if round > 0 {
            tokio::time::sleep(Duration::from_millis(burst.interval_ms)).await;
        }
        for addr in addrs {
            announce(link, *addr)?;
        }
    }
    Ok(())
}

type Failure = (&'static str, std::io::Error);

/// A hardware address on a link, as a packet socket wants it.
pub(crate) fn hardware(index: u32, protocol: u16, mac: [u8; 6]) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the shapes that sockaddr_storage is made for, and all-zero bytes are valid for it.
    let ll: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    ll.sll_family = libc::AF_PACKET as u16;
    ll.sll_protocol = protocol.to_be();
    ll.sll_ifindex = index as i32;
    ll.sll_halen = 6;
    ll.sll_addr[..6].copy_from_slice(&mac);
    // SAFETY: the storage holds an initialised sockaddr_ll, and the length is its size.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

fn send_advertisement(link: &Link, mac: [u8; 6], addr: Ipv6Addr) -> Result<(), Failure> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(ICMPV6))).map_err(|e| ("raw socket", e))?;
    socket.set_nonblocking(true).map_err(|e| ("non-blocking", e))?;
    // Receivers drop neighbour discovery whose hop limit is not 255 (RFC 4861 §7.1.2).
    socket.set_multicast_hops_v6(255).map_err(|e| ("hop limit", e))?;
    socket.set_multicast_if_v6(link.index).map_err(|e| ("interface", e))?;
    socket.set_multicast_loop_v6(false).map_err(|e| ("loop", e))?;
    let from = SocketAddrV6::new(addr, 0, 0, if is_link_local(addr) { link.index } else { 0 });
    socket.bind(&from.into()).map_err(|e| ("bind to the address", e))?;
    let router = forwards_ipv6(&link.name);
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, link.index);
    socket.send_to(&advertisement(mac, addr, router), &to.into()).map_err(|e| ("send", e))?;
    Ok(())
}

fn is_link_local(addr: Ipv6Addr) -> bool {
    (addr.segments()[0] & 0xffc0) == 0xfe80
}

fn forwards_ipv6(link: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/forwarding")).is_ok_and(|v| v.trim() == "1")
}
