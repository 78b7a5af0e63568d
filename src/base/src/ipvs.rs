//! An IPVS table as plain data: what policy wants, what the kernel has, and what `ipvsadm` prints.
//!
//! Field meanings follow `linux/ip_vs.h`. Counters are 64-bit (`IPVS_*_ATTR_STATS64`).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Transport protocol of a virtual service, by IP protocol number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Family {
    IPv4,
    IPv6,
}

impl Family {
    pub fn of(addr: IpAddr) -> Family {
        if addr.is_ipv4() { Family::IPv4 } else { Family::IPv6 }
    }
}

/// What names a virtual service: protocol, address and port, or a firewall mark in a family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKey {
    Address { protocol: Protocol, addr: IpAddr, port: u16 },
    Fwmark { mark: u32, family: Family },
}

impl ServiceKey {
    pub fn family(&self) -> Family {
        match *self {
            ServiceKey::Address { addr, .. } => Family::of(addr),
            ServiceKey::Fwmark { family, .. } => family,
        }
    }
}

/// Bits of `IP_VS_SVC_F_*` that user space may set; `HASHED` is the kernel's own.
pub mod service_flags {
    pub const PERSISTENT: u32 = 0x1;
    pub const HASHED: u32 = 0x2;
    pub const ONE_PACKET: u32 = 0x4;
    pub const SCHED1: u32 = 0x8;
    pub const SCHED2: u32 = 0x10;
    pub const SCHED3: u32 = 0x20;
}

/// A virtual service's settings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Service {
    pub key: ServiceKey,
    /// Scheduler name, at most 15 bytes: `rr`, `wrr`, `lc`, `wlc`, `sh`, `mh`, …
    pub scheduler: String,
    /// [`service_flags`].
    pub flags: u32,
    /// Persistence timeout in seconds; meaningful with [`service_flags::PERSISTENT`].
    pub timeout_s: u32,
    /// IPv4: the mask as a number (`0xffff_ffff` = /32). IPv6: the prefix length (128).
    pub netmask: u32,
    /// Persistence engine, e.g. `sip`.
    pub pe: Option<String>,
}

impl Service {
    /// A service with the kernel's defaults: no persistence, whole-address mask.
    pub fn new(key: ServiceKey, scheduler: &str) -> Service {
        let netmask = if key.family() == Family::IPv4 { u32::MAX } else { 128 };
        Service { key, scheduler: scheduler.to_owned(), flags: 0, timeout_s: 0, netmask, pe: None }
    }
}

/// `IP_VS_CONN_F_*` forwarding methods.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forward {
    Masq = 0,
    /// Reported by the kernel for a destination that is one of its own addresses.
    Local = 1,
    Tunnel = 2,
    Route = 3,
    Bypass = 4,
}

/// Encapsulation of [`Forward::Tunnel`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Tunnel {
    #[default]
    Ipip,
    Gue {
        port: u16,
        flags: TunnelChecksum,
    },
    Gre {
        flags: TunnelChecksum,
    },
}

/// `IP_VS_TUNNEL_ENCAP_FLAG_*`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub enum TunnelChecksum {
    #[default]
    None = 0,
    Checksum = 1,
    RemoteChecksum = 2,
}

/// What names a real server within its virtual service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct DestKey {
    pub addr: IpAddr,
    pub port: u16,
}

/// A real server's settings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dest {
    pub key: DestKey,
    pub forward: Forward,
    /// 0 = quiescent: takes no new connections.
    pub weight: u32,
    pub tunnel: Tunnel,
    /// Upper and lower connection thresholds; 0 = none.
    pub u_threshold: u32,
    pub l_threshold: u32,
}

/// Counters of a service or destination; rates are per second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    pub conns: u64,
    pub inpkts: u64,
    pub outpkts: u64,
    pub inbytes: u64,
    pub outbytes: u64,
    pub cps: u64,
    pub inpps: u64,
    pub outpps: u64,
    pub inbps: u64,
    pub outbps: u64,
}

/// A destination as read back, with its counters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestEntry {
    pub dest: Dest,
    pub active_conns: u32,
    pub inactive_conns: u32,
    pub persistent_conns: u32,
    pub stats: Stats,
}

/// A service as read back, with its counters and destinations in kernel order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ServiceEntry {
    pub service: Service,
    pub stats: Stats,
    pub dests: Vec<DestEntry>,
}

/// Session timeouts in seconds; 0 in a request leaves a value as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Timeouts {
    pub tcp_s: u32,
    pub tcp_fin_s: u32,
    pub udp_s: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    Master = 1,
    Backup = 2,
}

/// A connection synchronisation daemon; `None` leaves the kernel's default and is not sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SyncDaemon {
    pub state: SyncState,
    pub interface: String,
    pub sync_id: u32,
    pub max_len: Option<u16>,
    pub group: Option<IpAddr>,
    pub port: Option<u16>,
    pub ttl: Option<u8>,
}

/// `IPVS_CMD_GET_INFO`: version `(x, y, z)` and connection table size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Info {
    pub version: (u8, u8, u8),
    pub conn_table_size: u32,
}
