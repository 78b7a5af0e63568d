//! A table as the command lines that make it: `ipvsadm -S`, and with extensions all that the original forgets.

use super::{Names, Options, address_and_port, dest_name, ordered, unusual_mask};
use base::ipvs::{
    Dest, Family, Forward, Protocol, Service, ServiceEntry, ServiceKey, SyncDaemon, SyncState, Tunnel, TunnelChecksum,
    service_flags,
};
use std::fmt::Write;

/// What goes into the rules.
#[derive(Clone, Copy, Default, Debug)]
pub struct RuleOptions {
    /// Connection thresholds (`-x`, `-y`) where set; the original leaves them out.
    pub thresholds: bool,
}

/// All services, sorted as in a listing.
pub fn rules(entries: &[ServiceEntry], options: RuleOptions, names: &dyn Names) -> String {
    names.learn(super::addresses(entries));
    ordered(entries, &Options::default()).iter().map(|e| service_rules(e, options, names)).collect()
}

/// The lines that make one service and its destinations.
pub fn service_rules(entry: &ServiceEntry, options: RuleOptions, names: &dyn Names) -> String {
    let name = service_option(&entry.service.key, names);
    let mut text = format!("-A {name} -s {}{}\n", entry.service.scheduler, service_settings(&entry.service));
    for dest in &entry.dests {
        let d = &dest.dest;
        let real = dest_name(&entry.service.key, &d.key, names);
        let _ = write!(text, "-a {name} -r {real} {} -w {}", forward_option(d.forward), d.weight);
        text.push_str(&tunnel_settings(d));
        if options.thresholds && (d.u_threshold != 0 || d.l_threshold != 0) {
            let _ = write!(text, " -x {} -y {}", d.u_threshold, d.l_threshold);
        }
        text.push('\n');
    }
    text
}

/// The line that starts a synchronisation daemon.
pub fn daemon_rule(d: &SyncDaemon) -> String {
    let state = match d.state {
        SyncState::Master => "master",
        SyncState::Backup => "backup",
    };
    let mut text = format!("--start-daemon {state} --mcast-interface {} --syncid {}", d.interface, d.sync_id);
    for (option, value) in [
        ("--sync-maxlen", d.max_len.map(|v| v.to_string())),
        ("--mcast-group", d.group.map(|v| v.to_string())),
        ("--mcast-port", d.port.map(|v| v.to_string())),
        ("--mcast-ttl", d.ttl.map(|v| v.to_string())),
    ] {
        if let Some(value) = value {
            let _ = write!(text, " {option} {value}");
        }
    }
    text + "\n"
}

fn service_option(key: &ServiceKey, names: &dyn Names) -> String {
    match *key {
        ServiceKey::Fwmark { mark, family: Family::IPv4 } => format!("-f {mark}"),
        ServiceKey::Fwmark { mark, family: Family::IPv6 } => format!("-f {mark} -6"),
        ServiceKey::Address { protocol, addr, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", address_and_port(addr, port, protocol, names))
        }
    }
}

fn service_settings(s: &Service) -> String {
    let mut text = String::new();
    if s.flags & service_flags::PERSISTENT != 0 {
        let _ = write!(text, " -p {}", s.timeout_s);
        if let Some(mask) = unusual_mask(s) {
            let _ = write!(text, " -M {mask}");
        }
    }
    if let Some(pe) = &s.pe {
        let _ = write!(text, " --pe {pe}");
    }
    if s.flags & service_flags::ONE_PACKET != 0 {
        text.push_str(" -o");
    }
    let flags = flag_names(s);
    if !flags.is_empty() {
        let _ = write!(text, " -b {flags}");
    }
    text
}

/// The scheduler's flags by the names that `-b` takes, separated by commas.
pub fn flag_names(s: &Service) -> String {
    use service_flags::{SCHED1, SCHED2, SCHED3};
    let names = match s.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = [SCHED1, SCHED2, SCHED3].into_iter().zip(names).filter(|(bit, _)| s.flags & bit != 0);
    set.map(|(_, name)| name).collect::<Vec<_>>().join(",")
}

fn forward_option(forward: Forward) -> &'static str {
    match forward {
        Forward::Masq => "-m",
        Forward::Tunnel => "-i",
        // The kernel decides by the address whether a direct-routed destination is local.
        Forward::Local | Forward::Route | Forward::Bypass => "-g",
    }
}

fn tunnel_settings(d: &Dest) -> String {
    if d.forward != Forward::Tunnel {
        return String::new();
    }
    match d.tunnel {
        Tunnel::Ipip => " --tun-type ipip".to_owned(),
        Tunnel::Gue { port, flags } => format!(" --tun-type gue --tun-port {port} {}", checksum_option(flags)),
        Tunnel::Gre { flags } => format!(" --tun-type gre {}", checksum_option(flags)),
    }
}

fn checksum_option(flags: TunnelChecksum) -> &'static str {
    match flags {
        TunnelChecksum::None => "--tun-nocsum",
        TunnelChecksum::Checksum => "--tun-csum",
        TunnelChecksum::RemoteChecksum => "--tun-remcsum",
    }
}
