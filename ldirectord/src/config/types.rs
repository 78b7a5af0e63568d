//! The typed configuration: every directive with its default filled in.

use base::Text;
use base::ipvs::{DestKey, Family, Forward, Protocol, Service, ServiceKey, service_flags};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// A whole `ldirectord.cf`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    pub global: Global,
    pub virtuals: Vec<Virtual>,
}

/// Directives in column 0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Global {
    pub check_timeout_ms: Option<u32>,
    pub negotiate_timeout_ms: Option<u32>,
    pub check_interval_ms: u32,
    pub check_count: u32,
    pub failure_count: u32,
    pub autoreload: bool,
    pub callback: Option<String>,
    pub fallback_command: Option<String>,
    pub log: LogTarget,
    pub alert: Alert,
    /// `From:` of e-mail alerts; only global.
    pub alert_from: Option<String>,
    /// Other configurations whose instance this one starts and stops.
    pub execute: Vec<String>,
    pub supervised: bool,
    /// Accepted for old files; every check is concurrent anyway.
    pub fork: bool,
    pub quiescent: bool,
    pub readd_quiescent: bool,
    pub clean_stop: bool,
    pub maintenance_dir: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTarget {
    File(PathBuf),
    Syslog(String),
}

/// E-mail alerts of a virtual service.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Alert {
    /// Recipients, comma separated; empty = none.
    pub to: String,
    /// Seconds between reminders; 0 = no reminders.
    pub frequency_s: u32,
    pub when: AlertStatus,
    pub smtp_host: Option<String>,
}

/// In which states of the daemon alerts are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AlertStatus {
    pub starting: bool,
    pub running: bool,
    pub stopping: bool,
    pub reloading: bool,
}

impl AlertStatus {
    pub const NONE: AlertStatus = AlertStatus { starting: false, running: false, stopping: false, reloading: false };
    pub const ALL: AlertStatus = AlertStatus { starting: true, running: true, stopping: true, reloading: true };
}

impl Default for AlertStatus {
    fn default() -> AlertStatus {
        AlertStatus::ALL
    }
}

/// What `checktype` chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckType {
    Negotiate,
    Connect,
    Ping,
    /// Nothing is ever activated.
    Off,
    /// Everything is up without a check.
    On,
    External,
    ExternalPerl,
    /// One negotiate, then this many connects, and so on.
    Combined(u32),
}

impl fmt::Display for CheckType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CheckType::Negotiate => "negotiate",
            CheckType::Connect => "connect",
            CheckType::Ping => "ping",
            CheckType::Off => "off",
            CheckType::On => "on",
            CheckType::External => "external",
            CheckType::ExternalPerl => "external-perl",
            CheckType::Combined(n) => return write!(f, "{n}"),
        })
    }
}

macro_rules! protocols {
    ($($variant:ident $name:literal $port:literal),+ $(,)?) => {
        /// The application protocol that a negotiate check speaks (`service =`).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ServiceProtocol { $($variant),+ }

        impl ServiceProtocol {
            pub const ALL: &[ServiceProtocol] = &[$(ServiceProtocol::$variant),+];

            pub fn name(self) -> &'static str {
                match self { $(ServiceProtocol::$variant => $name),+ }
            }

            /// Its well-known port; 0 where there is none.
            pub fn standard_port(self) -> u16 {
                match self { $(ServiceProtocol::$variant => $port),+ }
            }
        }
    };
}

protocols! {
    Dns "dns" 53, Ftp "ftp" 21, Http "http" 80, Https "https" 443, HttpProxy "http_proxy" 3128, Imap "imap" 143, Imaps "imaps" 993,
    Ldap "ldap" 389, Ldaps "ldaps" 636, Mysql "mysql" 3306, Nntp "nntp" 119, None "none" 0, Oracle "oracle" 1521, Pgsql "pgsql" 5432,
    Pop "pop" 110, Pops "pops" 995, Radius "radius" 1812, Simpletcp "simpletcp" 0, Sip "sip" 5060, Smtp "smtp" 25, Submission "submission" 587,
    Grpc "grpc" 0, Http2 "http2" 443, Memcached "memcached" 11211, Redis "redis" 6379,
}

impl ServiceProtocol {
    pub fn by_name(name: &str) -> Option<ServiceProtocol> {
        Self::ALL.iter().copied().find(|s| s.name() == name)
    }

    /// Those that the original does not know: never guessed by port, since a file without `service` means what it meant.
    pub fn is_own(self) -> bool {
        use ServiceProtocol::*;
        matches!(self, Grpc | Http2 | Memcached | Redis)
    }

    /// The protocol that a port stands for; `none` for any other port.
    pub fn by_port(port: u16) -> ServiceProtocol {
        Self::ALL
            .iter()
            .copied()
            .find(|s| s.standard_port() == port && port != 0 && !s.is_own())
            .unwrap_or(ServiceProtocol::None)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    Get,
    Head,
}

/// What an HTTP check does with a redirect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redirects {
    /// Follows it on the real server itself; one to another host is a failure.
    #[default]
    Own,
    /// Follows it to other hosts as well.
    Follow,
    /// Takes it for a good answer.
    Accept,
}

/// What a name in a `real` line stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolve {
    /// Its first address, as the file is read.
    #[default]
    Once,
    /// All its addresses, asked again when their time is over.
    All,
    /// The servers of its SRV records, with their ports and weights; asked again as well.
    Srv,
}

/// The forwarding methods that the file can name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Gate,
    Masq,
    Ipip,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Gate => "gate",
            Method::Masq => "masq",
            Method::Ipip => "ipip",
        }
    }

    /// `None`: the file cannot say it.
    pub fn of(forward: Forward) -> Option<Method> {
        [Method::Gate, Method::Masq, Method::Ipip].into_iter().find(|m| m.forward() == forward)
    }

    pub fn by_name(name: &str) -> Option<Method> {
        [Method::Gate, Method::Masq, Method::Ipip].into_iter().find(|m| m.name() == name)
    }

    pub fn forward(self) -> Forward {
        match self {
            Method::Gate => Forward::Route,
            Method::Masq => Forward::Masq,
            Method::Ipip => Forward::Tunnel,
        }
    }
}

/// A `virtual` or `virtual6` block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Virtual {
    /// Line of the file on which the block begins.
    pub line: u32,
    /// Lines of its directives, by their place in the list of all.
    pub lines: Box<[(u8, u32)]>,
    pub key: ServiceKey,
    pub reals: Vec<Real>,
    pub check_type: CheckType,
    pub service: ServiceProtocol,
    pub scheduler: String,
    /// As written, for example `sh-port,sh-fallback`.
    pub sched_flags: Option<String>,
    pub persistent_s: Option<u32>,
    pub netmask: Option<Netmask>,
    /// One-packet scheduling as written; acts with UDP only.
    pub ops: bool,
    pub check_port: Option<u16>,
    pub check_timeout_ms: u32,
    pub negotiate_timeout_ms: u32,
    pub check_interval_ms: u32,
    /// Whether the block itself set `checkinterval`.
    pub own_interval: bool,
    pub check_count: u32,
    /// Failures in a row that take a server down.
    pub failure_count: u32,
    /// What the original does not know.
    pub tuning: super::own::Tuning,
    pub check_command: String,
    pub request: String,
    pub receive: String,
    pub http_method: HttpMethod,
    pub virtual_host: Option<String>,
    pub redirects: Redirects,
    #[serde(default)]
    pub resolve: Resolve,
    /// Whether a TLS check verifies the certificate, against `tls_ca_file` or the system's roots.
    pub tls_verify: bool,
    pub tls_ca_file: Option<PathBuf>,
    /// Whether mysql and pgsql checks speak TLS.
    pub sql_tls: bool,
    /// Local address that checks come from; the kernel chooses if absent.
    pub source_addr: Option<IpAddr>,
    pub login: String,
    pub passwd: String,
    pub database: String,
    pub secret: String,
    pub load: Option<String>,
    pub fallback: Option<Fallback>,
    pub fallback_command: Option<String>,
    pub quiescent: bool,
    pub clean_stop: bool,
    pub alert: Alert,
    pub monitor_file: Option<PathBuf>,
    pub service_name: Option<String>,
    pub comment: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Netmask {
    V4(std::net::Ipv4Addr),
    /// Prefix length.
    V6(u8),
}

/// One real server (a range is expanded).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Real {
    pub line: u32,
    /// The host as written, when it is a name.
    pub name: Option<Text>,
    pub addr: IpAddr,
    /// As written; 0 = none given.
    pub port: u16,
    pub forward: Method,
    pub weight: u32,
    pub request: Text,
    pub receive: Text,
    pub lower_threshold: Option<u32>,
    pub upper_threshold: Option<u32>,
}

/// The server that takes over when no real is up, after global defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fallback {
    pub addr: IpAddr,
    pub port: u16,
    pub forward: Method,
}

impl Virtual {
    /// Whether a packet to the destination is one to the service.
    pub fn is_itself(&self, dest: &base::ipvs::DestKey) -> bool {
        matches!(self.key, ServiceKey::Address { addr, port, .. } if (addr, port) == (dest.addr, dest.port))
    }

    /// The line on which it sets a directive (the last one), or on which it begins.
    pub fn line_of(&self, directive: &str) -> u32 {
        let at = super::lines::number(directive);
        self.lines.iter().rev().find(|(number, _)| Some(*number) == at).map_or(self.line, |(_, line)| *line)
    }

    pub fn family(&self) -> Family {
        self.key.family()
    }

    /// `None` for a firewall mark.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.key {
            ServiceKey::Address { protocol, .. } => Some(protocol),
            ServiceKey::Fwmark { .. } => None,
        }
    }

    /// The port of the virtual service; 0 for a firewall mark.
    pub fn port(&self) -> u16 {
        match self.key {
            ServiceKey::Address { port, .. } => port,
            ServiceKey::Fwmark { .. } => 0,
        }
    }

    /// The service as it goes into the kernel's table.
    pub fn ipvs_service(&self) -> Service {
        let mut service = Service::new(self.key, &self.scheduler);
        if let Some(seconds) = self.persistent_s {
            service.flags |= service_flags::PERSISTENT;
            service.timeout_s = seconds;
            match self.netmask {
                Some(Netmask::V4(mask)) => service.netmask = u32::from(mask),
                Some(Netmask::V6(prefix)) => service.netmask = u32::from(prefix),
                None => {}
            }
        }
        if self.ops && self.protocol() == Some(Protocol::Udp) {
            service.flags |= service_flags::ONE_PACKET;
        }
        service.flags |= self.sched_flags.as_deref().map(sched_flag_bits).unwrap_or(0);
        service
    }

    /// Where the kernel sends packets for `addr:port`: only masquerading (or a mark) can change the port.
    pub fn dest_key(&self, addr: IpAddr, port: u16, method: Method) -> DestKey {
        let forced = self.protocol().is_some() && method != Method::Masq;
        DestKey { addr, port: if forced { self.port() } else { port } }
    }

    /// The port that a check connects to: `checkport`, else the real's, else the service's well-known one.
    pub fn port_to_check(&self, real: &Real) -> u16 {
        match (self.check_port, real.port) {
            (Some(port), _) => port,
            (None, 0) => self.service.standard_port(),
            (None, port) => port,
        }
    }

    /// The URL that an HTTP check fetches; an absolute `request` replaces it whole.
    pub fn url(&self, real: &Real) -> String {
        if let Some(absolute) = absolute_url(&real.request) {
            return absolute.to_owned();
        }
        let port = match self.port_to_check(real) {
            0 => String::new(),
            port => port.to_string(),
        };
        format!("{}://{}:{port}{}", self.service.name(), bracketed(real.addr), real.request)
    }
}

/// `request` as an absolute URL if it is one (a `/` may have been put in front).
pub fn absolute_url(request: &str) -> Option<&str> {
    let bare = request.strip_prefix('/').unwrap_or(request);
    (bare.starts_with("http://") || bare.starts_with("https://")).then_some(bare)
}

/// An address as the file writes it: IPv6 in brackets.
pub fn bracketed(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    }
}

/// `sh-port`, `flag-2` and the like to `IP_VS_SVC_F_SCHED*`; what is unknown gives no bit (the parser has refused it).
pub fn sched_flag_bits(text: &str) -> u32 {
    text.split(',').fold(0, |bits, flag| bits | sched_flag_bit(flag).unwrap_or(0))
}

pub(super) fn sched_flag_bit(flag: &str) -> Option<u32> {
    match flag {
        "flag-1" | "sh-fallback" | "mh-fallback" => Some(service_flags::SCHED1),
        "flag-2" | "sh-port" | "mh-port" => Some(service_flags::SCHED2),
        "flag-3" => Some(service_flags::SCHED3),
        _ => None,
    }
}

/// How people and logs name a virtual service: `10.0.0.1:80`, `[2001:db8::1]:80`, or the mark.
pub fn service_label(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { addr, port, .. } => format!("{}:{port}", bracketed(*addr)),
        ServiceKey::Fwmark { mark, .. } => mark.to_string(),
    }
}

/// How logs name a virtual service with its protocol: `tcp:10.0.0.1:80`, `fwm:5`.
pub fn service_id(key: &ServiceKey) -> String {
    let protocol = match key {
        ServiceKey::Address { protocol: Protocol::Tcp, .. } => "tcp",
        ServiceKey::Address { protocol: Protocol::Udp, .. } => "udp",
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => "sctp",
        ServiceKey::Fwmark { family: Family::IPv4, .. } => "fwm",
        ServiceKey::Fwmark { family: Family::IPv6, .. } => "fwm6",
    };
    format!("{protocol}:{}", service_label(key))
}
