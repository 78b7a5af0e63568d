//! The JSON form of a table: what `ipvsadm --table FILE.json` and `--json` read and write.

use super::Memory;
use base::ipvs::{
    Dest, DestEntry, DestKey, Family, Forward, Info, Protocol, Service, ServiceEntry, ServiceKey, Stats, SyncDaemon,
    SyncState, Timeouts, Tunnel, TunnelChecksum,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Largest table file read: 40,000 real servers take about 30 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Why a table file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path}: line {line}, column {column}: {what}")]
    Syntax { path: String, line: usize, column: usize, what: String },
    #[error("{path}: {entry}: {what}")]
    Content { path: String, entry: String, what: String },
    #[error("{path}: larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    #[serde(default = "default_size")]
    size: u32,
    #[serde(default = "default_version")]
    version: String,
    #[serde(default)]
    timeouts_s: TimeoutsFile,
    #[serde(default)]
    daemons: Vec<DaemonFile>,
    #[serde(default, alias = "services")]
    services_in_kernel_order: Vec<ServiceFile>,
}

fn default_size() -> u32 {
    4096
}

fn default_version() -> String {
    "1.2.1".to_owned()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeoutsFile {
    tcp: u32,
    tcpfin: u32,
    udp: u32,
}

impl Default for TimeoutsFile {
    fn default() -> TimeoutsFile {
        TimeoutsFile { tcp: 900, tcpfin: 120, udp: 300 }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DaemonFile {
    state: SyncState,
    mcast_ifn: String,
    syncid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sync_maxlen: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mcast_group: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mcast_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mcast_ttl: Option<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    family: Family,
    #[serde(default = "default_protocol")]
    protocol: String,
    #[serde(default)]
    addr: Option<IpAddr>,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    fwmark: u32,
    scheduler: String,
    #[serde(default)]
    flags: u32,
    #[serde(default)]
    timeout_s: u32,
    #[serde(default)]
    netmask: Option<String>,
    #[serde(default)]
    pe: String,
    #[serde(default)]
    stats64: Stats,
    #[serde(default)]
    dests: Vec<DestFile>,
}

fn default_protocol() -> String {
    "TCP".to_owned()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DestFile {
    family: Family,
    addr: IpAddr,
    port: u16,
    forward: Forward,
    weight: u32,
    #[serde(default)]
    tun_type: TunnelType,
    #[serde(default)]
    tun_port: u16,
    #[serde(default)]
    tun_flags: TunnelFlags,
    #[serde(default)]
    u_threshold: u32,
    #[serde(default)]
    l_threshold: u32,
    #[serde(default)]
    active: u32,
    #[serde(default)]
    inactive: u32,
    #[serde(default)]
    persistent: u32,
    #[serde(default)]
    stats64: Stats,
}

#[derive(Serialize, Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum TunnelType {
    #[default]
    Ipip,
    Gue,
    Gre,
}

#[derive(Serialize, Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum TunnelFlags {
    #[default]
    None,
    Csum,
    Remcsum,
}

impl Memory {
    /// Reads a table file.
    pub fn load(path: &Path) -> Result<Memory, FileError> {
        let io = |source| FileError::Io { path: path.display().to_string(), source };
        if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLarge { path: path.display().to_string(), limit: MAX_FILE_BYTES });
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        Memory::from_json(&text, &path.display().to_string())
    }

    /// Reads a table from text; `origin` stands in errors for the file's name.
    pub fn from_json(text: &str, origin: &str) -> Result<Memory, FileError> {
        let file: TableFile = serde_json::from_str(text).map_err(|e| FileError::Syntax {
            path: origin.to_owned(),
            line: e.line(),
            column: e.column(),
            what: e.to_string(),
        })?;
        from_file(file).map_err(|(entry, what)| FileError::Content { path: origin.to_owned(), entry, what })
    }

    /// The table as text in the format that [`Memory::load`] reads.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&to_file(self)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes the table so that a crash leaves the old or the new file.
    pub fn save(&self, path: &Path) -> Result<(), FileError> {
        let io = |source| FileError::Io { path: path.display().to_string(), source };
        crate::files::replace(path, self.to_json().as_bytes(), 0o644).map_err(io)
    }
}

type Problem = (String, String);

fn from_file(file: TableFile) -> Result<Memory, Problem> {
    let mut memory = Memory::new();
    memory.info = Info { version: parse_version(&file.version)?, conn_table_size: file.size };
    memory.timeouts =
        Timeouts { tcp_s: file.timeouts_s.tcp, tcp_fin_s: file.timeouts_s.tcpfin, udp_s: file.timeouts_s.udp };
    memory.daemons = file.daemons.into_iter().map(read_daemon).collect();
    for (i, service) in file.services_in_kernel_order.into_iter().enumerate() {
        let entry = read_service(service).map_err(|what| (format!("service {}", i + 1), what))?;
        memory.services.push(entry);
    }
    Ok(memory)
}

fn parse_version(text: &str) -> Result<(u8, u8, u8), Problem> {
    let parts: Vec<u8> = text.split('.').filter_map(|p| p.parse().ok()).collect();
    match parts[..] {
        [x, y, z] => Ok((x, y, z)),
        _ => Err(("version".to_owned(), format!("expected three numbers like 1.2.1, got '{text}'"))),
    }
}

fn read_daemon(d: DaemonFile) -> SyncDaemon {
    SyncDaemon {
        state: d.state,
        interface: d.mcast_ifn,
        sync_id: d.syncid,
        max_len: d.sync_maxlen,
        group: d.mcast_group,
        port: d.mcast_port,
        ttl: d.mcast_ttl,
    }
}

fn read_service(s: ServiceFile) -> Result<ServiceEntry, String> {
    let key = match (s.fwmark, s.addr) {
        (0, None) => return Err("neither 'addr' nor 'fwmark' is given".to_owned()),
        (0, Some(addr)) if Family::of(addr) != s.family => {
            return Err(format!("address {addr} is not of the given family"));
        }
        (0, Some(addr)) => ServiceKey::Address { protocol: parse_protocol(&s.protocol)?, addr, port: s.port },
        (mark, _) => ServiceKey::Fwmark { mark, family: s.family },
    };
    let netmask = match (&s.netmask, s.family) {
        (None, Family::IPv4) => u32::MAX,
        (None, Family::IPv6) => 128,
        (Some(text), Family::IPv4) => text.parse::<Ipv4Addr>().map(u32::from).map_err(|_| bad_mask(text))?,
        (Some(text), Family::IPv6) => text.parse::<u32>().map_err(|_| bad_mask(text))?,
    };
    let pe = Some(s.pe).filter(|pe| !pe.is_empty());
    let service = Service { key, scheduler: s.scheduler, flags: s.flags, timeout_s: s.timeout_s, netmask, pe };
    let dests = s.dests.into_iter().map(read_dest).collect::<Result<_, _>>()?;
    Ok(ServiceEntry { service, stats: s.stats64, dests })
}

fn bad_mask(text: &str) -> String {
    format!("netmask '{text}': expected a dotted mask (IPv4) or a prefix length (IPv6)")
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_uppercase().as_str() {
        "TCP" => Ok(Protocol::Tcp),
        "UDP" => Ok(Protocol::Udp),
        "SCTP" => Ok(Protocol::Sctp),
        _ => Err(format!("protocol '{text}': expected TCP, UDP or SCTP")),
    }
}

fn read_dest(d: DestFile) -> Result<DestEntry, String> {
    if Family::of(d.addr) != d.family {
        return Err(format!("real server {}: the address is not of the given family", d.addr));
    }
    let flags = match d.tun_flags {
        TunnelFlags::None => TunnelChecksum::None,
        TunnelFlags::Csum => TunnelChecksum::Checksum,
        TunnelFlags::Remcsum => TunnelChecksum::RemoteChecksum,
    };
    let tunnel = match d.tun_type {
        TunnelType::Ipip => Tunnel::Ipip,
        TunnelType::Gue => Tunnel::Gue { port: d.tun_port, flags },
        TunnelType::Gre => Tunnel::Gre { flags },
    };
    Ok(DestEntry {
        dest: Dest {
            key: DestKey { addr: d.addr, port: d.port },
            forward: d.forward,
            weight: d.weight,
            tunnel,
            u_threshold: d.u_threshold,
            l_threshold: d.l_threshold,
        },
        active_conns: d.active,
        inactive_conns: d.inactive,
        persistent_conns: d.persistent,
        stats: d.stats64,
    })
}

fn to_file(memory: &Memory) -> TableFile {
    let (x, y, z) = memory.info.version;
    TableFile {
        size: memory.info.conn_table_size,
        version: format!("{x}.{y}.{z}"),
        timeouts_s: TimeoutsFile {
            tcp: memory.timeouts.tcp_s,
            tcpfin: memory.timeouts.tcp_fin_s,
            udp: memory.timeouts.udp_s,
        },
        daemons: memory.daemons.iter().map(write_daemon).collect(),
        services_in_kernel_order: memory.services.iter().map(write_service).collect(),
    }
}

fn write_daemon(d: &SyncDaemon) -> DaemonFile {
    DaemonFile {
        state: d.state,
        mcast_ifn: d.interface.clone(),
        syncid: d.sync_id,
        sync_maxlen: d.max_len,
        mcast_group: d.group,
        mcast_port: d.port,
        mcast_ttl: d.ttl,
    }
}

fn write_service(entry: &ServiceEntry) -> ServiceFile {
    let s = &entry.service;
    let family = s.key.family();
    let (protocol, addr, port, fwmark) = match s.key {
        ServiceKey::Address { protocol, addr, port } => (protocol, Some(addr), port, 0),
        ServiceKey::Fwmark { mark, .. } => (Protocol::Tcp, None, 0, mark),
    };
    ServiceFile {
        family,
        protocol: format!("{protocol:?}").to_ascii_uppercase(),
        addr,
        port,
        fwmark,
        scheduler: s.scheduler.clone(),
        flags: s.flags,
        timeout_s: s.timeout_s,
        netmask: Some(match family {
            Family::IPv4 => Ipv4Addr::from(s.netmask).to_string(),
            Family::IPv6 => s.netmask.to_string(),
        }),
        pe: s.pe.clone().unwrap_or_default(),
        stats64: entry.stats,
        dests: entry.dests.iter().map(write_dest).collect(),
    }
}

fn write_dest(entry: &DestEntry) -> DestFile {
    let d = &entry.dest;
    let (tun_type, tun_port, flags) = match d.tunnel {
        Tunnel::Ipip => (TunnelType::Ipip, 0, TunnelChecksum::None),
        Tunnel::Gue { port, flags } => (TunnelType::Gue, port, flags),
        Tunnel::Gre { flags } => (TunnelType::Gre, 0, flags),
    };
    DestFile {
        family: Family::of(d.key.addr),
        addr: d.key.addr,
        port: d.key.port,
        forward: d.forward,
        weight: d.weight,
        tun_type,
        tun_port,
        tun_flags: match flags {
            TunnelChecksum::None => TunnelFlags::None,
            TunnelChecksum::Checksum => TunnelFlags::Csum,
            TunnelChecksum::RemoteChecksum => TunnelFlags::Remcsum,
        },
        u_threshold: d.u_threshold,
        l_threshold: d.l_threshold,
        active: entry.active_conns,
        inactive: entry.inactive_conns,
        persistent: entry.persistent_conns,
        stats64: entry.stats,
    }
}
