//! Answers from bytes. Nothing here panics or reads past the end, whatever the bytes are.

use super::{FORWARD_MASK, af, dmn, dst, svc, top};
use crate::ipvs::Error;
use base::ipvs::{
    Dest, DestEntry, DestKey, Family, Forward, Info, Protocol, Service, ServiceEntry, ServiceKey, Stats, SyncDaemon,
    SyncState, Timeouts, Tunnel, TunnelChecksum,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NETLINK_HEADER_LEN: usize = 16;
const GENERIC_HEADER_LEN: usize = 4;
const ATTR_HEADER_LEN: usize = 4;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` ride in the type's upper bits.
const ATTR_TYPE_MASK: u16 = 0x3fff;

/// One netlink message in a received buffer.
#[derive(Debug, PartialEq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Attributes behind the generic netlink header.
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs(self.payload.get(GENERIC_HEADER_LEN..).unwrap_or_default())
    }

    /// The (negative) error number that opens the payload of ERROR and DONE messages; 0 acknowledges.
    pub fn status(&self) -> i32 {
        self.payload.first_chunk().map(|b| i32::from_ne_bytes(*b)).unwrap_or(0)
    }
}

/// The messages of one received buffer; ends at the first that is not whole.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let bytes = self.0;
        let len = u32_of(bytes)? as usize;
        if len < NETLINK_HEADER_LEN || len > bytes.len() {
            self.0 = &[];
            return None;
        }
        self.0 = bytes.get(align(len)..).unwrap_or_default();
        Some(Message {
            kind: u16_of(&bytes[4..])?,
            flags: u16_of(&bytes[6..])?,
            seq: u32_of(&bytes[8..])?,
            payload: &bytes[NETLINK_HEADER_LEN..len],
        })
    }
}

/// Attributes as (type without flag bits, payload); ends at the first that is not whole.
#[derive(Clone, Copy)]
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let bytes = self.0;
        let len = usize::from(u16_of(bytes)?);
        let kind = u16_of(bytes.get(2..)?)?;
        if len < ATTR_HEADER_LEN || len > bytes.len() {
            self.0 = &[];
            return None;
        }
        self.0 = bytes.get(align(len)..).unwrap_or_default();
        Some((kind & ATTR_TYPE_MASK, &bytes[ATTR_HEADER_LEN..len]))
    }
}

impl<'a> Attrs<'a> {
    fn find(mut self, wanted: u16) -> Option<&'a [u8]> {
        self.find_map(|(kind, payload)| (kind == wanted).then_some(payload))
    }

    fn need(self, wanted: u16, what: &str) -> Result<&'a [u8], Error> {
        self.find(wanted).ok_or_else(|| malformed(format!("{what} is missing")))
    }
}

fn align(len: usize) -> usize {
    len.div_ceil(4) * 4
}

fn malformed(what: impl Into<String>) -> Error {
    Error::Malformed { what: what.into() }
}

fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

/// A host-order integer at the start of a payload.
pub fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn family(number: Option<u16>) -> Result<Family, Error> {
    match number {
        Some(af::INET) => Ok(Family::IPv4),
        Some(af::INET6) => Ok(Family::IPv6),
        other => Err(malformed(format!("address family: expected 2 or 10, got {other:?}"))),
    }
}

fn address(family: Family, bytes: &[u8]) -> Result<IpAddr, Error> {
    match family {
        Family::IPv4 => bytes.first_chunk::<4>().map(|b| IpAddr::V4(Ipv4Addr::from(*b))),
        Family::IPv6 => bytes.first_chunk::<16>().map(|b| IpAddr::V6(Ipv6Addr::from(*b))),
    }
    .ok_or_else(|| malformed(format!("address of {} bytes", bytes.len())))
}

/// The family's number from the controller's answer.
pub fn family_id(message: &Message<'_>) -> Result<u16, Error> {
    let id = message.attrs().need(libc::CTRL_ATTR_FAMILY_ID as u16, "family id")?;
    u16_of(id).ok_or_else(|| malformed("family id is too short"))
}

pub fn info(message: &Message<'_>) -> Result<Info, Error> {
    let version = message.attrs().find(1).and_then(u32_of).ok_or_else(|| malformed("version is missing"))?;
    let size = message.attrs().find(2).and_then(u32_of).ok_or_else(|| malformed("table size is missing"))?;
    let [_, x, y, z] = version.to_be_bytes();
    Ok(Info { version: (x, y, z), conn_table_size: size })
}

pub fn timeouts(message: &Message<'_>) -> Result<Timeouts, Error> {
    let one = |kind| {
        message.attrs().find(kind).and_then(u32_of).ok_or_else(|| malformed(format!("timeout {kind} is missing")))
    };
    Ok(Timeouts { tcp_s: one(top::TIMEOUT_TCP)?, tcp_fin_s: one(top::TIMEOUT_TCP_FIN)?, udp_s: one(top::TIMEOUT_UDP)? })
}

/// What names the service in a service nest.
pub fn service_key(attrs: Attrs<'_>) -> Result<ServiceKey, Error> {
    let family = family(attrs.find(svc::AF).and_then(u16_of))?;
    if let Some(mark) = attrs.find(svc::FWMARK).and_then(u32_of).filter(|&m| m != 0) {
        return Ok(ServiceKey::Fwmark { mark, family });
    }
    let protocol = match attrs.find(svc::PROTOCOL).and_then(u16_of) {
        Some(6) => Protocol::Tcp,
        Some(17) => Protocol::Udp,
        Some(132) => Protocol::Sctp,
        other => return Err(malformed(format!("protocol: expected 6, 17 or 132, got {other:?}"))),
    };
    let addr = address(family, attrs.need(svc::ADDR, "service address")?)?;
    let port = attrs.find(svc::PORT).and_then(be16).ok_or_else(|| malformed("service port is missing"))?;
    Ok(ServiceKey::Address { protocol, addr, port })
}

/// A service message; its destinations come from another dump.
pub fn service(message: &Message<'_>) -> Result<ServiceEntry, Error> {
    let attrs = Attrs(message.attrs().need(top::SERVICE, "service")?);
    let mut service = Service::new(service_key(attrs)?, "");
    let mut stats = None;
    let mut stats32 = Stats::default();
    for (kind, payload) in attrs {
        match kind {
            svc::SCHED_NAME => service.scheduler = text(payload),
            svc::PE_NAME => service.pe = Some(text(payload)).filter(|name| !name.is_empty()),
            svc::FLAGS => service.flags = u32_of(payload).unwrap_or(0) & !base::ipvs::service_flags::HASHED,
            svc::TIMEOUT => service.timeout_s = u32_of(payload).unwrap_or(0),
            svc::NETMASK => service.netmask = u32_of(payload).unwrap_or(0),
            svc::STATS64 => stats = Some(read_stats(Attrs(payload))),
            svc::STATS => stats32 = read_stats(Attrs(payload)),
            _ => {}
        }
    }
    if service.key.family() == Family::IPv4 {
        service.netmask = u32::from_be(service.netmask);
    }
    Ok(ServiceEntry { service, stats: stats.unwrap_or(stats32), dests: Vec::new() })
}

/// `IPVS_STATS_ATTR_*`, 64-bit or the old mix of 32 and 64 bits: told apart by length.
fn read_stats(attrs: Attrs<'_>) -> Stats {
    let mut s = Stats::default();
    for (kind, payload) in attrs {
        let value = u64_of(payload).or_else(|| u32_of(payload).map(u64::from)).unwrap_or(0);
        let field = match kind {
            1 => &mut s.conns,
            2 => &mut s.inpkts,
            3 => &mut s.outpkts,
            4 => &mut s.inbytes,
            5 => &mut s.outbytes,
            6 => &mut s.cps,
            7 => &mut s.inpps,
            8 => &mut s.outpps,
            9 => &mut s.inbps,
            10 => &mut s.outbps,
            _ => continue,
        };
        *field = value;
    }
    s
}

/// A destination message of a service of the given family (old kernels do not send the destination's own).
pub fn dest(message: &Message<'_>, service_family: Family) -> Result<DestEntry, Error> {
    let attrs = Attrs(message.attrs().need(top::DEST, "destination")?);
    let family = match attrs.find(dst::ADDR_FAMILY).and_then(u16_of) {
        Some(number) if number != 0 => family(Some(number))?,
        _ => service_family,
    };
    let addr = address(family, attrs.need(dst::ADDR, "destination address")?)?;
    let port = attrs.find(dst::PORT).and_then(be16).ok_or_else(|| malformed("destination port is missing"))?;
    let number = |kind| attrs.find(kind).and_then(u32_of).unwrap_or(0);
    let dest = Dest {
        key: DestKey { addr, port },
        forward: forward(number(dst::FWD_METHOD))?,
        weight: number(dst::WEIGHT),
        tunnel: tunnel(attrs),
        u_threshold: number(dst::U_THRESH),
        l_threshold: number(dst::L_THRESH),
    };
    let stats = attrs.find(dst::STATS64).or_else(|| attrs.find(dst::STATS));
    Ok(DestEntry {
        dest,
        active_conns: number(dst::ACTIVE_CONNS),
        inactive_conns: number(dst::INACT_CONNS),
        persistent_conns: number(dst::PERSIST_CONNS),
        stats: stats.map(|s| read_stats(Attrs(s))).unwrap_or_default(),
    })
}

fn forward(flags: u32) -> Result<Forward, Error> {
    match flags & FORWARD_MASK {
        0 => Ok(Forward::Masq),
        1 => Ok(Forward::Local),
        2 => Ok(Forward::Tunnel),
        3 => Ok(Forward::Route),
        4 => Ok(Forward::Bypass),
        other => Err(malformed(format!("forwarding method {other}"))),
    }
}

fn tunnel(attrs: Attrs<'_>) -> Tunnel {
    let flags = match attrs.find(dst::TUN_FLAGS).and_then(u16_of) {
        Some(1) => TunnelChecksum::Checksum,
        Some(2) => TunnelChecksum::RemoteChecksum,
        _ => TunnelChecksum::None,
    };
    match attrs.find(dst::TUN_TYPE).and_then(|b| b.first().copied()) {
        Some(1) => Tunnel::Gue { port: attrs.find(dst::TUN_PORT).and_then(be16).unwrap_or(0), flags },
        Some(2) => Tunnel::Gre { flags },
        _ => Tunnel::Ipip,
    }
}

pub fn daemon(message: &Message<'_>) -> Result<SyncDaemon, Error> {
    let attrs = Attrs(message.attrs().need(top::DAEMON, "daemon")?);
    let state = match attrs.find(dmn::STATE).and_then(u32_of) {
        Some(1) => SyncState::Master,
        Some(2) => SyncState::Backup,
        other => return Err(malformed(format!("daemon state: expected 1 or 2, got {other:?}"))),
    };
    let group4 = attrs.find(dmn::MCAST_GROUP).map(|b| address(Family::IPv4, b)).transpose()?;
    let group6 = attrs.find(dmn::MCAST_GROUP6).map(|b| address(Family::IPv6, b)).transpose()?;
    Ok(SyncDaemon {
        state,
        interface: attrs.find(dmn::MCAST_IFN).map(text).unwrap_or_default(),
        sync_id: attrs.find(dmn::SYNC_ID).and_then(u32_of).unwrap_or(0),
        max_len: attrs.find(dmn::SYNC_MAXLEN).and_then(u16_of).filter(|&v| v > 0),
        group: group6.or(group4),
        port: attrs.find(dmn::MCAST_PORT).and_then(u16_of).filter(|&v| v > 0),
        ttl: attrs.find(dmn::MCAST_TTL).and_then(|b| b.first().copied()).filter(|&v| v > 0),
    })
}
