//! The packets of an inquiry, built and read. Pure.
//!
//! An ARP probe (RFC 5227 §2.1.1) has no sender address, a neighbour solicitation of duplicate address detection (RFC 4862
//! §5.4.2) comes from `::`: neither changes a neighbour cache, and both are answered by whoever holds the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ARP_REQUEST: u16 = 1;
const ARP_BYTES: usize = 28;
/// Begins every ARP packet for IPv4 over Ethernet.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const IPV6_HEADER: usize = 40;
pub(super) const ICMPV6: u8 = 58;
/// Neighbour discovery never passes a router (RFC 4861 §7.1).
pub(super) const HOP_LIMIT: u8 = 255;
pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
const NDP_BYTES: usize = 24;
const OPTION_TARGET_LINK_ADDRESS: u8 = 2;

pub type Mac = [u8; 6];

/// How somebody uses an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// An answer or an announcement: it is held there.
    Held,
    /// Somebody else asks as well, and will take it if nobody answers.
    Wanted,
}

/// What was heard about the address that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    pub mac: Mac,
    pub what: Use,
}

/// An ARP probe, without Ethernet header.
pub fn arp_probe(mac: Mac, addr: Ipv4Addr) -> [u8; ARP_BYTES] {
    let mut packet = [0u8; ARP_BYTES];
    packet[..6].copy_from_slice(&ARP_HEAD);
    packet[6..8].copy_from_slice(&ARP_REQUEST.to_be_bytes());
    packet[8..14].copy_from_slice(&mac);
    packet[24..28].copy_from_slice(&addr.octets());
    packet
}

/// A solicitation from the unspecified address, with its IPv6 header.
pub fn solicitation(addr: Ipv6Addr) -> [u8; IPV6_HEADER + NDP_BYTES] {
    let mut packet = [0u8; IPV6_HEADER + NDP_BYTES];
    packet[0] = 6 << 4;
    packet[4..6].copy_from_slice(&(NDP_BYTES as u16).to_be_bytes());
    packet[6] = ICMPV6;
    packet[7] = HOP_LIMIT;
    packet[24..40].copy_from_slice(&solicited_node(addr).octets());
    packet[IPV6_HEADER] = SOLICITATION;
    packet[IPV6_HEADER + 8..].copy_from_slice(&addr.octets());
    let sum = checksum(&packet);
    packet[IPV6_HEADER + 2..IPV6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The group to which whoever holds the address belongs (RFC 4291 §2.7.1).
pub fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let o = addr.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(o[13]), u16::from(o[14]) << 8 | u16::from(o[15]))
}

/// The Ethernet address of an IPv6 group (RFC 2464 §7).
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let o = group.octets();
    [0x33, 0x33, o[12], o[13], o[14], o[15]]
}

/// What a packet (without Ethernet header) from `source` says about `addr`; nothing, for most packets.
pub fn read(packet: &[u8], source: Mac, addr: IpAddr) -> Option<Heard> {
    match addr {
        IpAddr::V4(addr) => read_arp(packet, addr),
        IpAddr::V6(addr) => read_ndp(packet, source, addr),
    }
}

/// Who says that it holds which address, whatever the address; nothing, for most packets.
pub(super) fn holder(packet: &[u8], source: Mac) -> Option<(IpAddr, Mac)> {
    match parse_arp(packet) {
        Some(arp) => (!arp.sender.is_unspecified()).then_some((arp.sender.into(), arp.mac)),
        None => parse_ndp(packet, source).filter(|ndp| ndp.what == Use::Held).map(|ndp| (ndp.target.into(), ndp.mac)),
    }
}

struct Arp {
    mac: Mac,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    request: bool,
}

fn parse_arp(packet: &[u8]) -> Option<Arp> {
    let packet = packet.get(..ARP_BYTES)?;
    if packet[..6] != ARP_HEAD {
        return None;
    }
    let addr = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).ok()?));
    Some(Arp {
        mac: packet[8..14].try_into().ok()?,
        sender: addr(14)?,
        target: addr(24)?,
        request: packet[6..8] == ARP_REQUEST.to_be_bytes(),
    })
}

fn read_arp(packet: &[u8], addr: Ipv4Addr) -> Option<Heard> {
    let arp = parse_arp(packet)?;
    if arp.sender == addr {
        Some(Heard { mac: arp.mac, what: Use::Held })
    } else if arp.request && arp.sender.is_unspecified() && arp.target == addr {
        Some(Heard { mac: arp.mac, what: Use::Wanted })
    } else {
        None
    }
}

struct Ndp {
    target: Ipv6Addr,
    mac: Mac,
    what: Use,
}

fn parse_ndp(packet: &[u8], source: Mac) -> Option<Ndp> {
    let (header, body) = packet.split_at_checked(IPV6_HEADER)?;
    if body.len() < NDP_BYTES || header[6] != ICMPV6 || header[7] != HOP_LIMIT {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).ok()?);
    match body[0] {
        ADVERTISEMENT => {
            let mac = target_link_address(&body[NDP_BYTES..]).unwrap_or(source);
            Some(Ndp { target, mac, what: Use::Held })
        }
        SOLICITATION if header[8..24] == [0; 16] => Some(Ndp { target, mac: source, what: Use::Wanted }),
        _ => None,
    }
}

fn read_ndp(packet: &[u8], source: Mac, addr: Ipv6Addr) -> Option<Heard> {
    let ndp = parse_ndp(packet, source).filter(|ndp| ndp.target == addr)?;
    Some(Heard { mac: ndp.mac, what: ndp.what })
}

/// Options are type, length in units of eight bytes, data.
fn target_link_address(mut options: &[u8]) -> Option<Mac> {
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if option.is_empty() {
            return None;
        }
        if kind == OPTION_TARGET_LINK_ADDRESS {
            return option.get(2..8)?.try_into().ok();
        }
        options = rest;
    }
    None
}

/// Of the ICMPv6 message of a packet whose checksum field is zero (RFC 8200 §8.1).
fn checksum(packet: &[u8; IPV6_HEADER + NDP_BYTES]) -> u16 {
    let (header, body) = packet.split_at(IPV6_HEADER);
    let words = header[8..].chunks(2).chain(body.chunks(2)).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let mut sum: u32 = words.sum::<u32>() + body.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
