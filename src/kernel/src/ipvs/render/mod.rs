//! An IPVS table as `ipvsadm` 1.31 prints it: the same bytes, trailing blanks included.
//!
//! Pure: entries in, text out. Names of hosts and ports come from a [`Names`] ([`Numeric`] gives none). Everybody who shows a
//! table uses this (`ipvsadm`, `ldirectord check --assume`), so that it looks the same everywhere.

mod number;
mod rules;
#[cfg(test)]
mod tests;

pub use number::{exact, short};
pub use rules::{RuleOptions, daemon_rule, flag_names, rules, service_rules};

use base::ipvs::{
    DestEntry, DestKey, Family, Forward, Info, Protocol, Service, ServiceEntry, ServiceKey, Stats, SyncDaemon,
    SyncState, Timeouts, Tunnel, TunnelChecksum, service_flags,
};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// Longest real server name with an IPv4 address; the original cuts there.
const MAX_DEST_NAME_LEN: usize = 28;

/// Names of hosts and ports; `None` shows the number.
pub trait Names {
    /// These will be asked for: whoever asks a resolver does so once and side by side.
    fn learn(&self, _: Vec<IpAddr>) {}
    fn host(&self, addr: IpAddr) -> Option<String>;
    fn port(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// No names: what `-n` shows.
pub struct Numeric;

impl Names for Numeric {
    fn host(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn port(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// What a listing shows; of several, the original shows the first of this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum View {
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunnelInfo,
    #[default]
    Plain,
}

/// How to show a table.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    pub view: View,
    /// Numbers in full instead of K, M, G, T.
    pub exact: bool,
    /// Kernel order instead of sorted.
    pub no_sort: bool,
}

/// The whole table as `ipvsadm -Ln` shows it, for callers without any wish of their own.
pub fn listing(info: &Info, entries: &[ServiceEntry]) -> String {
    table(info, entries, &Options::default(), &Numeric)
}

/// The whole table: header, titles, rows.
pub fn table(info: &Info, entries: &[ServiceEntry], options: &Options, names: &dyn Names) -> String {
    names.learn(addresses(entries));
    let (x, y, z) = info.version;
    let mut text = format!("IP Virtual Server version {x}.{y}.{z} (size={})\n", info.conn_table_size);
    text.push_str(&titles(options));
    for entry in ordered(entries, options) {
        text.push_str(&service(&entry, options, names));
    }
    text
}

/// One service under the titles, without the header.
pub fn one_service(entry: &ServiceEntry, options: &Options, names: &dyn Names) -> String {
    names.learn(addresses(std::slice::from_ref(entry)));
    let entry = ordered(std::slice::from_ref(entry), options).pop();
    let rows = entry.map(|e| service(&e, options, names)).unwrap_or_default();
    titles(options) + &rows
}

/// Services and their destinations in the order to be shown.
pub fn ordered(entries: &[ServiceEntry], options: &Options) -> Vec<ServiceEntry> {
    let mut entries = entries.to_vec();
    if !options.no_sort {
        entries.sort_by_key(|e| sort_key(&e.service.key));
        for entry in &mut entries {
            entry.dests.sort_by_key(|d| dest_sort_key(&d.dest.key));
        }
    }
    entries
}

/// Marks last, IPv4 first, then protocol number, address, port.
fn sort_key(key: &ServiceKey) -> (u32, Family, u16, IpAddr, u16) {
    match *key {
        ServiceKey::Address { protocol, addr, port } => (0, Family::of(addr), protocol as u16, addr, port),
        ServiceKey::Fwmark { mark, family } => {
            (mark, family, Protocol::Tcp as u16, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
        }
    }
}

/// IPv4 first, as with services. (The original compares addresses of a mixed service as if both were of the first one's family,
/// so that its order depends on the kernel's.)
fn dest_sort_key(key: &DestKey) -> (Family, IpAddr, u16) {
    (Family::of(key.addr), key.addr, key.port)
}

fn titles(options: &Options) -> String {
    let head = "Prot LocalAddress:Port";
    let tail = "  -> RemoteAddress:Port";
    match options.view {
        View::Stats => format!(
            "{head:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{tail}\n",
            "Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"
        ),
        View::Rate => {
            format!("{head:<33} {:>8} {:>8} {:>8} {:>8} {:>8}\n{tail}\n", "CPS", "InPPS", "OutPPS", "InBPS", "OutBPS")
        }
        View::Thresholds => {
            format!(
                "{head:<33} {:<10} {:<10} {:<10} {:<10}\n{tail}\n",
                "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
            )
        }
        View::PersistentConn => {
            format!(
                "{head:<33} {:<9} {:<11} {:<10} {:<10}\n{tail}\n",
                "Weight", "PersistConn", "ActiveConn", "InActConn"
            )
        }
        View::TunnelInfo => {
            format!("{head} Scheduler Flags\n{tail:<33} Forward TunnelInfo    Weight ActiveConn InActConn\n")
        }
        View::Plain => format!("{head} Scheduler Flags\n{tail:<33} Forward Weight ActiveConn InActConn\n"),
    }
}

/// A service's row and its destinations' rows.
fn service(entry: &ServiceEntry, options: &Options, names: &dyn Names) -> String {
    let s = &entry.service;
    let name = service_name(&s.key, names);
    let mut text = match options.view {
        View::Stats => format!("{name:<33}{}", counters(&entry.stats, options.exact)),
        View::Rate => format!("{name:<33}{}", rates(&entry.stats, options.exact)),
        _ => format!("{name} {}{}", s.scheduler, settings(s)),
    };
    text.push('\n');
    for dest in &entry.dests {
        text.push_str(&dest_row(dest, &s.key, options, names));
    }
    text
}

/// All addresses of a table.
fn addresses(entries: &[ServiceEntry]) -> Vec<IpAddr> {
    let of_service = |entry: &ServiceEntry| match entry.service.key {
        ServiceKey::Address { addr, .. } => Some(addr),
        ServiceKey::Fwmark { .. } => None,
    };
    let dests = entries.iter().flat_map(|e| e.dests.iter().map(|d| d.dest.key.addr));
    entries.iter().filter_map(of_service).chain(dests).collect()
}

/// A destination's address and port. A service by mark has no protocol, so its ports have no names.
fn dest_name(service: &ServiceKey, dest: &DestKey, names: &dyn Names) -> String {
    let (addr, port) = (dest.addr, dest.port);
    match *service {
        ServiceKey::Address { protocol, .. } => address_and_port(addr, port, protocol, names),
        ServiceKey::Fwmark { .. } => joined(addr, &port.to_string(), names),
    }
}

fn service_name(key: &ServiceKey, names: &dyn Names) -> String {
    match *key {
        ServiceKey::Fwmark { mark, family: Family::IPv4 } => format!("FWM  {mark}"),
        ServiceKey::Fwmark { mark, family: Family::IPv6 } => format!("FWM  {mark} IPv6"),
        ServiceKey::Address { protocol, addr, port } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            format!("{word:<4} {}", address_and_port(addr, port, protocol, names))
        }
    }
}

/// `ADDRESS:PORT`, brackets around IPv6, names where there are any.
pub fn address_and_port(addr: IpAddr, port: u16, protocol: Protocol, names: &dyn Names) -> String {
    joined(addr, &names.port(port, protocol).unwrap_or_else(|| port.to_string()), names)
}

fn joined(addr: IpAddr, port: &str, names: &dyn Names) -> String {
    let host = names.host(addr).unwrap_or_else(|| addr.to_string());
    if addr.is_ipv6() { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Scheduler flags, persistence, one-packet, as a service's row shows them.
fn settings(s: &Service) -> String {
    let mut text = String::new();
    let flags = flag_names(s);
    if !flags.is_empty() {
        let _ = write!(text, " ({flags})");
    }
    if s.flags & service_flags::PERSISTENT != 0 {
        let _ = write!(text, " persistent {}", s.timeout_s);
        if let Some(mask) = unusual_mask(s) {
            let _ = write!(text, " mask {mask}");
        }
        // Without persistence the original shows no engine, though it saves one.
        if let Some(pe) = &s.pe {
            let _ = write!(text, " pe {pe}");
        }
    }
    if s.flags & service_flags::ONE_PACKET != 0 {
        text.push_str(" ops");
    }
    text
}

/// The persistence mask, unless it is the whole address.
fn unusual_mask(s: &Service) -> Option<String> {
    match s.key.family() {
        Family::IPv4 => (s.netmask != u32::MAX).then(|| Ipv4Addr::from(s.netmask).to_string()),
        Family::IPv6 => (s.netmask != 128).then(|| s.netmask.to_string()),
    }
}

fn dest_row(entry: &DestEntry, service: &ServiceKey, options: &Options, names: &dyn Names) -> String {
    let d = &entry.dest;
    let mut name = dest_name(service, &d.key, names);
    if d.key.addr.is_ipv4() {
        name = name.chars().take(MAX_DEST_NAME_LEN).collect();
    }
    let (active, inactive) = (entry.active_conns, entry.inactive_conns);
    let columns = match options.view {
        View::Stats => counters(&entry.stats, options.exact),
        View::Rate => dest_rates(&entry.stats, options.exact),
        View::Thresholds => format!(" {:<10} {:<10} {active:<10} {inactive:<10}", d.u_threshold, d.l_threshold),
        View::PersistentConn => format!(" {:<9} {:<11} {active:<10} {inactive:<10}", d.weight, entry.persistent_conns),
        View::TunnelInfo => {
            let tunnel = tunnel_info(d.forward, &d.tunnel);
            format!(" {:<7} {tunnel:<13} {:<6} {active:<10} {inactive:<10}", forward_name(d.forward), d.weight)
        }
        View::Plain => format!(" {:<7} {:<6} {active:<10} {inactive:<10}", forward_name(d.forward), d.weight),
    };
    format!("  -> {name:<28}{columns}\n")
}

fn counters(s: &Stats, exact_numbers: bool) -> String {
    [s.conns, s.inpkts, s.outpkts, s.inbytes, s.outbytes].map(|n| number(n, exact_numbers)).concat()
}

fn rates(s: &Stats, exact_numbers: bool) -> String {
    [s.cps, s.inpps, s.outpps, s.inbps, s.outbps].map(|n| number(n, exact_numbers)).concat()
}

/// The original shortens only the byte rates of destinations.
fn dest_rates(s: &Stats, exact_numbers: bool) -> String {
    let packets = format!(" {:>8} {:>8} {:>8}", s.cps, s.inpps, s.outpps);
    packets + &number(s.inbps, exact_numbers) + &number(s.outbps, exact_numbers)
}

fn number(n: u64, exact_numbers: bool) -> String {
    if exact_numbers { exact(n) } else { short(n) }
}

fn forward_name(forward: Forward) -> &'static str {
    match forward {
        Forward::Masq => "Masq",
        Forward::Local => "Local",
        Forward::Tunnel => "Tunnel",
        Forward::Route => "Route",
        Forward::Bypass => "Bypass",
    }
}

fn tunnel_info(forward: Forward, tunnel: &Tunnel) -> String {
    match tunnel {
        _ if forward != Forward::Tunnel => "n/a".to_owned(),
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gue { port, flags } => format!("gue:{port}:{}", checksum_sign(*flags)),
        Tunnel::Gre { flags } => format!("gre:{}", checksum_sign(*flags)),
    }
}

fn checksum_sign(flags: TunnelChecksum) -> &'static str {
    match flags {
        TunnelChecksum::None => "-c",
        TunnelChecksum::Checksum => "+c",
        TunnelChecksum::RemoteChecksum => "r+c",
    }
}

/// `ipvsadm -L --timeout`.
pub fn timeouts(t: &Timeouts) -> String {
    format!("Timeout (tcp tcpfin udp): {} {} {}\n", t.tcp_s, t.tcp_fin_s, t.udp_s)
}

/// `ipvsadm -L --daemon`.
pub fn daemons(daemons: &[SyncDaemon]) -> String {
    daemons.iter().map(daemon).collect()
}

fn daemon(d: &SyncDaemon) -> String {
    let state = match d.state {
        SyncState::Master => "master",
        SyncState::Backup => "backup",
    };
    let mut text = format!("{state} sync daemon (mcast={}, syncid={}", d.interface, d.sync_id);
    for (name, value) in [
        ("maxlen", d.max_len.map(|v| v.to_string())),
        ("group", d.group.map(|v| v.to_string())),
        ("port", d.port.map(|v| v.to_string())),
        ("ttl", d.ttl.map(|v| v.to_string())),
    ] {
        if let Some(value) = value {
            let _ = write!(text, ", {name}={value}");
        }
    }
    text + ")\n"
}
