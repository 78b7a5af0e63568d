//! Requests to bytes.

use super::{FAMILY_VERSION, af, cmd, dmn, dst, svc, top};
use crate::ipvs::{Change, Error};
use base::ipvs::{
    Dest, DestKey, Family, Forward, Protocol, Service, ServiceKey, SyncDaemon, Tunnel, TunnelChecksum, service_flags,
};
use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::types::{Buffer, GenlBuffer};
use neli::{Size, ToBytes};
use std::io::Cursor;
use std::net::IpAddr;

type Attr = Nlattr<u16, Buffer>;

/// A request before it is numbered.
pub struct Request {
    pub command: u8,
    pub dump: bool,
    pub attrs: Vec<Attr>,
}

impl Request {
    pub fn plain(command: u8) -> Request {
        Request { command, dump: false, attrs: Vec::new() }
    }

    pub fn dump(command: u8) -> Request {
        Request { command, dump: true, attrs: Vec::new() }
    }

    /// One service, or [`Error::NoSuchService`] as the answer.
    pub fn get_service(key: &ServiceKey) -> Result<Request, Error> {
        Ok(Request { command: cmd::GET_SERVICE, dump: false, attrs: vec![service_nest(key, None)?] })
    }

    /// All destinations of a service.
    pub fn dump_dests(key: &ServiceKey) -> Result<Request, Error> {
        Ok(Request { command: cmd::GET_DEST, dump: true, attrs: vec![service_nest(key, None)?] })
    }

    /// `CTRL_CMD_GETFAMILY` for IPVS; goes to the generic netlink controller instead of the family.
    pub fn get_family() -> Result<Request, Error> {
        let name = attr(libc::CTRL_ATTR_FAMILY_NAME as u16, nul_terminated(super::FAMILY_NAME))?;
        Ok(Request { command: libc::CTRL_CMD_GETFAMILY as u8, dump: false, attrs: vec![name] })
    }
}

/// The request that makes `change`.
pub fn change(change: &Change) -> Result<Request, Error> {
    let (command, attrs) = match change {
        Change::AddService(s) => (cmd::NEW_SERVICE, vec![service_nest(&s.key, Some(s))?]),
        Change::EditService(s) => (cmd::SET_SERVICE, vec![service_nest(&s.key, Some(s))?]),
        Change::DeleteService(key) => (cmd::DEL_SERVICE, vec![service_nest(key, None)?]),
        Change::AddDest(key, d) => (cmd::NEW_DEST, vec![service_nest(key, None)?, dest_nest(&d.key, Some(d))?]),
        Change::EditDest(key, d) => (cmd::SET_DEST, vec![service_nest(key, None)?, dest_nest(&d.key, Some(d))?]),
        Change::DeleteDest(key, d) => (cmd::DEL_DEST, vec![service_nest(key, None)?, dest_nest(d, None)?]),
        Change::Zero(None) => (cmd::ZERO, Vec::new()),
        Change::Zero(Some(key)) => (cmd::ZERO, vec![service_nest(key, None)?]),
        Change::Flush => (cmd::FLUSH, Vec::new()),
        Change::SetTimeouts(t) => {
            let all = [(top::TIMEOUT_TCP, t.tcp_s), (top::TIMEOUT_TCP_FIN, t.tcp_fin_s), (top::TIMEOUT_UDP, t.udp_s)];
            (cmd::SET_CONFIG, all.into_iter().map(|(kind, value)| attr(kind, value)).collect::<Result<_, _>>()?)
        }
        Change::StartDaemon(d) => (cmd::NEW_DAEMON, vec![daemon_nest(d)?]),
        Change::StopDaemon { state, sync_id } => {
            let inner = [attr(dmn::STATE, *state as u32)?, attr(dmn::SYNC_ID, *sync_id)?];
            (cmd::DEL_DAEMON, vec![nest(top::DAEMON, &inner)?])
        }
    };
    Ok(Request { command, dump: false, attrs })
}

/// The whole message: netlink header, generic header, attributes. Dumps end with DONE, all else with an ACK.
pub fn encode(request: Request, family: u16, seq: u32) -> Result<Vec<u8>, Error> {
    let end = if request.dump { NlmF::DUMP } else { NlmF::ACK };
    encode_with(request, family, seq, NlmF::REQUEST | end)
}

/// A message that is answered only if it is refused, for all but the last of a train.
pub fn encode_silent(request: Request, family: u16, seq: u32) -> Result<Vec<u8>, Error> {
    encode_with(request, family, seq, NlmF::REQUEST)
}

fn encode_with(request: Request, family: u16, seq: u32, flags: NlmF) -> Result<Vec<u8>, Error> {
    let attrs: GenlBuffer<u16, Buffer> = request.attrs.into_iter().collect();
    let body: Genlmsghdr<u8, u16> = GenlmsghdrBuilder::default()
        .cmd(request.command)
        .version(FAMILY_VERSION)
        .attrs(attrs)
        .build()
        .map_err(|e| unencodable(&e))?;
    let message: Nlmsghdr<u16, _> = NlmsghdrBuilder::default()
        .nl_type(family)
        .nl_flags(flags)
        .nl_seq(seq)
        .nl_payload(NlPayload::Payload(body))
        .build()
        .map_err(|e| unencodable(&e))?;
    let mut bytes = Cursor::new(Vec::with_capacity(256));
    message.to_bytes(&mut bytes).map_err(|e| unencodable(&e))?;
    Ok(bytes.into_inner())
}

fn unencodable(error: &dyn std::fmt::Display) -> Error {
    Error::Malformed { what: format!("request cannot be encoded: {error}") }
}

fn attr<P: Size + ToBytes>(kind: u16, payload: P) -> Result<Attr, Error> {
    let kind = AttrTypeBuilder::default().nla_type(kind).build().map_err(|e| unencodable(&e))?;
    NlattrBuilder::default().nla_type(kind).nla_payload(payload).build().map_err(|e| unencodable(&e))
}

fn nest(kind: u16, inner: &[Attr]) -> Result<Attr, Error> {
    let mut outer = attr(kind, Buffer::new())?;
    for one in inner {
        outer = outer.nest(one).map_err(|e| unencodable(&e))?;
    }
    Ok(outer)
}

fn nul_terminated(text: &str) -> Buffer {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    Buffer::from(bytes)
}

fn address(addr: IpAddr) -> Buffer {
    let mut bytes = [0u8; 16];
    match addr {
        IpAddr::V4(a) => bytes[..4].copy_from_slice(&a.octets()),
        IpAddr::V6(a) => bytes = a.octets(),
    }
    Buffer::from(bytes.to_vec())
}

fn family_number(family: Family) -> u16 {
    match family {
        Family::IPv4 => af::INET,
        Family::IPv6 => af::INET6,
    }
}

/// The service nest: its key, and its settings when a service is made or edited.
fn service_nest(key: &ServiceKey, settings: Option<&Service>) -> Result<Attr, Error> {
    let mut inner = vec![attr(svc::AF, family_number(key.family()))?];
    match *key {
        ServiceKey::Fwmark { mark, .. } => inner.push(attr(svc::FWMARK, mark)?),
        ServiceKey::Address { protocol, addr, port } => {
            inner.push(attr(svc::PROTOCOL, protocol_number(protocol))?);
            inner.push(attr(svc::ADDR, address(addr))?);
            inner.push(attr(svc::PORT, port.to_be())?);
        }
    }
    if let Some(s) = settings {
        let mut flags = (s.flags & !service_flags::HASHED).to_ne_bytes().to_vec();
        flags.extend_from_slice(&u32::MAX.to_ne_bytes());
        inner.push(attr(svc::SCHED_NAME, nul_terminated(&s.scheduler))?);
        if let Some(pe) = &s.pe {
            inner.push(attr(svc::PE_NAME, nul_terminated(pe))?);
        }
        inner.push(attr(svc::FLAGS, Buffer::from(flags))?);
        inner.push(attr(svc::TIMEOUT, s.timeout_s)?);
        let netmask = if key.family() == Family::IPv4 { s.netmask.to_be() } else { s.netmask };
        inner.push(attr(svc::NETMASK, netmask)?);
    }
    nest(top::SERVICE, &inner)
}

fn protocol_number(protocol: Protocol) -> u16 {
    protocol as u16
}

/// The destination nest: its key, and its settings when one is made or edited.
fn dest_nest(key: &DestKey, settings: Option<&Dest>) -> Result<Attr, Error> {
    let mut inner = vec![
        attr(dst::ADDR_FAMILY, family_number(Family::of(key.addr)))?,
        attr(dst::ADDR, address(key.addr))?,
        attr(dst::PORT, key.port.to_be())?,
    ];
    if let Some(d) = settings {
        inner.push(attr(dst::FWD_METHOD, d.forward as u32)?);
        inner.push(attr(dst::WEIGHT, d.weight)?);
        inner.push(attr(dst::U_THRESH, d.u_threshold)?);
        inner.push(attr(dst::L_THRESH, d.l_threshold)?);
        if d.forward == Forward::Tunnel {
            let (kind, port, flags) = match d.tunnel {
                Tunnel::Ipip => (0u8, 0, TunnelChecksum::None),
                Tunnel::Gue { port, flags } => (1, port, flags),
                Tunnel::Gre { flags } => (2, 0, flags),
            };
            inner.push(attr(dst::TUN_TYPE, kind)?);
            inner.push(attr(dst::TUN_PORT, port.to_be())?);
            inner.push(attr(dst::TUN_FLAGS, flags as u16)?);
        }
    }
    nest(top::DEST, &inner)
}

/// A daemon to start: what is not set is not sent, so that the kernel's defaults hold.
fn daemon_nest(d: &SyncDaemon) -> Result<Attr, Error> {
    let mut inner = vec![
        attr(dmn::STATE, d.state as u32)?,
        attr(dmn::MCAST_IFN, nul_terminated(&d.interface))?,
        attr(dmn::SYNC_ID, d.sync_id)?,
    ];
    if let Some(len) = d.max_len {
        inner.push(attr(dmn::SYNC_MAXLEN, len)?);
    }
    match d.group {
        Some(IpAddr::V4(group)) => inner.push(attr(dmn::MCAST_GROUP, Buffer::from(group.octets().to_vec()))?),
        Some(IpAddr::V6(group)) => inner.push(attr(dmn::MCAST_GROUP6, Buffer::from(group.octets().to_vec()))?),
        None => {}
    }
    if let Some(port) = d.port {
        inner.push(attr(dmn::MCAST_PORT, port)?);
    }
    if let Some(ttl) = d.ttl {
        inner.push(attr(dmn::MCAST_TTL, ttl)?);
    }
    nest(top::DAEMON, &inner)
}
