//! rtnetlink's messages to plain data and back.

use super::{AddrError, Address, Lifetime, Link, MAX_LABEL_LEN, Wanted};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use std::net::IpAddr;

/// Lifetime "for ever" in `struct ifa_cacheinfo`.
const FOREVER: u32 = u32::MAX;

pub fn error(error: rtnetlink::Error) -> AddrError {
    match error {
        rtnetlink::Error::NetlinkError(message) => match message.code.map_or(0, |c| c.get().saturating_neg()) {
            libc::EEXIST => AddrError::Exists,
            libc::EADDRNOTAVAIL => AddrError::NoSuchAddress,
            libc::EPERM => AddrError::PermissionDenied,
            libc::ENODEV => AddrError::NoSuchLink { name: "(by index)".to_owned() },
            errno => AddrError::Refused { errno },
        },
        // The others carry whole messages in their text; their kind says enough.
        rtnetlink::Error::RequestFailed => AddrError::Connection { what: "closed".to_owned() },
        _ => AddrError::Connection { what: "unexpected answer".to_owned() },
    }
}

pub fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        mtu: 0,
        mac: None,
        master: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok(),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            _ => {}
        }
    }
    link
}

/// `None` for messages without a usable address (anycast, multicast).
pub fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut peer, mut label, mut lifetime) = (None, None, None, Lifetime::Permanent);
    let mut created = 0;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => peer = Some(*addr),
            AddressAttribute::Label(text) => label = Some(text.clone()),
            AddressAttribute::CacheInfo(info) => {
                created = info.cstamp;
                if info.ifa_valid != FOREVER {
                    lifetime = Lifetime::Seconds(info.ifa_valid);
                }
            }
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        addr: local.or(peer)?,
        prefix_len: message.header.prefix_len,
        label,
        lifetime,
        tentative: flags.contains(AddressFlags::Tentative),
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        created,
    })
}

/// What names an address in a request.
pub fn key_message(link: u32, addr: IpAddr, prefix_len: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = link;
    message.header.prefix_len = prefix_len;
    message.header.family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![AddressAttribute::Local(addr), AddressAttribute::Address(addr)];
    message
}

pub fn message(wanted: &Wanted) -> Result<AddressMessage, AddrError> {
    let most = if wanted.addr.is_ipv4() { 32 } else { 128 };
    if wanted.prefix_len == 0 || wanted.prefix_len > most {
        return Err(AddrError::BadPrefix { addr: wanted.addr, prefix_len: wanted.prefix_len });
    }
    let mut message = key_message(wanted.link, wanted.addr, wanted.prefix_len);
    let label = wanted.label.as_ref().filter(|_| wanted.addr.is_ipv4());
    if let Some(label) = label {
        if label.len() > MAX_LABEL_LEN {
            return Err(AddrError::LabelTooLong { label: label.clone() });
        }
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(broadcast) = wanted.broadcast.filter(|_| wanted.addr.is_ipv4()) {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if wanted.addr.is_ipv6() {
        // The cluster vouches that the other node has let go; waiting for detection would cost a second of outage.
        message.header.flags |= AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    let mut info = CacheInfo::default();
    let seconds = match wanted.lifetime {
        Lifetime::Permanent => FOREVER,
        Lifetime::Seconds(s) => s.clamp(1, FOREVER - 1),
    };
    info.ifa_valid = seconds;
    // A virtual IPv6 address must not become the source of the director's own connections (RFC 6724 rule 8 prefers it
    // for its length): the health checks of servers that hold it on lo would never be answered. IPv4 does not choose so.
    let host_v6 = wanted.addr.is_ipv6() && wanted.prefix_len == 128;
    info.ifa_preferred = if host_v6 { 0 } else { seconds };
    message.attributes.push(AddressAttribute::CacheInfo(info));
    Ok(message)
}
