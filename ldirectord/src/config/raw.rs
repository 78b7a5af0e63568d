//! What the lines set, before defaults: one [`Common`] for the file and one for each virtual.

use super::own::RawOwn;
use super::types::{
    AlertStatus, CheckType, HttpMethod, LogTarget, Method, Netmask, Real, Redirects, Resolve, ServiceProtocol,
};
use base::ipvs::{Family, Protocol};
use std::net::IpAddr;
use std::path::PathBuf;

/// Directives that may stand in both scopes.
#[derive(Default)]
pub struct Common {
    pub check_timeout_ms: Option<u32>,
    pub negotiate_timeout_ms: Option<u32>,
    pub check_interval_ms: Option<u32>,
    pub check_count: Option<u32>,
    pub failure_count: Option<u32>,
    pub fallback: Option<FallbackLine>,
    pub fallback6: Option<FallbackLine>,
    pub fallback_command: Option<String>,
    pub alert_to: Option<String>,
    pub alert_frequency_s: Option<u32>,
    pub alert_status: Option<AlertStatus>,
    pub smtp: Option<String>,
    pub quiescent: Option<bool>,
    pub clean_stop: Option<bool>,
    pub own: RawOwn,
}

#[derive(Clone, Copy)]
pub struct FallbackLine {
    pub addr: IpAddr,
    pub port: Option<u16>,
    pub method: Method,
}

#[derive(Default)]
pub struct RawGlobal {
    pub common: Common,
    pub autoreload: Option<bool>,
    pub callback: Option<String>,
    pub log: Option<LogTarget>,
    pub alert_from: Option<String>,
    pub execute: Vec<String>,
    pub supervised: Option<bool>,
    pub fork: Option<bool>,
    pub readd_quiescent: Option<bool>,
    pub maintenance_dir: Option<PathBuf>,
}

/// What the `virtual` line itself names; the port is kept as written until the protocol is known.
pub enum Target {
    Mark(u32),
    Address { addr: IpAddr, port: String },
}

pub struct RawVirtual {
    pub line: u32,
    pub lines: Vec<(u8, u32)>,
    pub column: u32,
    pub family: Family,
    pub target: Target,
    pub common: Common,
    pub reals: Vec<Real>,
    pub check_type: Option<CheckType>,
    pub service: Option<ServiceProtocol>,
    pub protocol: Option<Protocol>,
    pub scheduler: Option<String>,
    pub sched_flags: Option<String>,
    pub persistent_s: Option<u32>,
    pub netmask: Option<(Netmask, u32)>,
    pub ops: Option<bool>,
    pub check_port: Option<u16>,
    pub check_command: Option<String>,
    pub request: Option<String>,
    pub receive: Option<(String, u32, u32)>,
    pub http_method: Option<HttpMethod>,
    pub virtual_host: Option<String>,
    pub redirects: Option<Redirects>,
    pub resolve: Resolve,
    pub tls_verify: Option<bool>,
    pub sql_tls: Option<bool>,
    pub tls_ca_file: Option<PathBuf>,
    pub source_addr: Option<IpAddr>,
    pub login: Option<String>,
    pub passwd: Option<String>,
    pub database: Option<String>,
    pub secret: Option<String>,
    pub load: Option<String>,
    pub monitor_file: Option<PathBuf>,
    pub service_name: Option<String>,
    pub comment: Option<String>,
    /// Reals whose request or receive the line itself gives.
    pub own_request: Vec<bool>,
}

impl RawVirtual {
    pub fn new(line: u32, column: u32, family: Family, target: Target) -> RawVirtual {
        RawVirtual {
            line,
            lines: Vec::new(),
            column,
            family,
            target,
            common: Common::default(),
            reals: Vec::new(),
            check_type: None,
            service: None,
            protocol: None,
            scheduler: None,
            sched_flags: None,
            persistent_s: None,
            netmask: None,
            ops: None,
            check_port: None,
            check_command: None,
            request: None,
            receive: None,
            http_method: None,
            virtual_host: None,
            redirects: None,
            resolve: Resolve::Once,
            tls_verify: None,
            sql_tls: None,
            tls_ca_file: None,
            source_addr: None,
            login: None,
            passwd: None,
            database: None,
            secret: None,
            load: None,
            monitor_file: None,
            service_name: None,
            comment: None,
            own_request: Vec::new(),
        }
    }
}
