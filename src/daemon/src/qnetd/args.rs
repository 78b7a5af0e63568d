//! The command line, which is the original's.

use crate::qnet::certs::Store;
use quorum::qnet::Tls;
use std::net::IpAddr;
use std::path::PathBuf;

/// Be the arbitrator (quorum device) of other clusters.
///
/// Each cluster of two or four nodes that comes apart evenly is told which half goes on. Takes the place of corosync-qnetd:
/// the same port, protocol and tools. It keeps nothing but its certificates, and serves any number of clusters.
#[derive(clap::Parser, Debug, Clone)]
#[command(
    name = "qnetd",
    disable_version_flag = true,
    after_help = "Examples:
  bascule qnetd -s off                    on a network of its own: no TLS
  bascule corosync-qnetd-certutil -i      make this arbitrator's authority and certificate, then
  bascule qnetd                           TLS for all that have a certificate of it
  bascule corosync-qnetd-tool -l          who is connected, and who has the vote

Exit codes: 0 stopped in good order, 1 could not start."
)]
pub struct Args {
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "v6")]
    v4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    v6: bool,
    /// Log more
    #[arg(short = 'd', action = clap::ArgAction::Count)]
    pub debug: u8,
    /// Accepted: it always stays in the foreground
    #[arg(short = 'f')]
    foreground: bool,
    /// Version and protocol
    #[arg(short = 'v')]
    pub show_version: bool,
    /// Address to listen on; else all
    #[arg(short = 'l', value_name = "ADDRESS")]
    listen: Option<IpAddr>,
    /// TCP port
    #[arg(short = 'p', value_name = "PORT", default_value_t = quorum::qnet::PORT)]
    port: u16,
    /// TLS: off, on (for who wants it) or required
    #[arg(short = 's', value_name = "TLS", default_value = "on", value_parser = ["on", "off", "required", "req"])]
    tls: String,
    /// Whether clients have to show a certificate of their cluster
    #[arg(short = 'c', value_name = "ON|OFF", default_value = "on", value_parser = ["on", "off"])]
    client_cert_required: String,
    /// Clients at most; 0 for as many as fit
    #[arg(short = 'm', value_name = "NUMBER", default_value_t = 0)]
    max_clients: usize,
    /// OPTION=VALUE[,OPTION=VALUE]: heartbeat_interval_min, heartbeat_interval_max, dpd_interval_coefficient,
    /// keep_active_partition_tie_breaker, local_socket_file, lock_file, tls_dir
    #[arg(short = 'S', value_name = "SETTINGS")]
    settings: Vec<String>,
}

/// Ready to be served.
pub struct Settings {
    pub core: quorum::qnetd::Config,
    /// As the status shows it.
    pub shown_address: String,
    pub port: u16,
    pub listen: Vec<IpAddr>,
    pub socket: PathBuf,
    pub lock: Option<PathBuf>,
    pub tls_dir: PathBuf,
    /// Read at the start; each new connection reads it again.
    pub max_clients: usize,
}

const DEFAULT_SOCKET: &str = "/var/run/corosync-qnetd/corosync-qnetd.sock";
const DEFAULT_TLS_DIR: &str = "/etc/corosync/qnetd/tls";

impl Args {
    pub fn settings(&self) -> Result<Settings, String> {
        let mut core = quorum::qnetd::Config {
            tls: match self.tls.as_str() {
                "off" => Tls::Unsupported,
                "required" | "req" => Tls::Required,
                _ => Tls::Supported,
            },
            client_cert_required: self.client_cert_required == "on",
            ..Default::default()
        };
        if self.max_clients > 0 {
            core.max_clients = self.max_clients.min(quorum::qnetd::MAX_CLIENTS);
        }
        let any: Vec<IpAddr> = match (self.v4, self.v6) {
            (true, _) => vec![IpAddr::from([0; 4])],
            (_, true) => vec![IpAddr::from([0; 16])],
            _ => vec![IpAddr::from([0; 16]), IpAddr::from([0; 4])],
        };
        let mut settings = Settings {
            core,
            shown_address: self.listen.map_or("*".to_owned(), |a| a.to_string()),
            port: self.port,
            listen: self.listen.map_or(any, |a| vec![a]),
            socket: PathBuf::from(DEFAULT_SOCKET),
            lock: None,
            tls_dir: PathBuf::from(DEFAULT_TLS_DIR),
            max_clients: self.max_clients,
        };
        for setting in self.settings.iter().flat_map(|s| s.split(',')).filter(|s| !s.is_empty()) {
            let (name, value) =
                setting.split_once('=').ok_or_else(|| format!("-S {setting}: expected OPTION=VALUE"))?;
            set(&mut settings, name.trim(), value.trim())
                .map_err(|expected| format!("-S {name}: expected {expected}, found `{value}`"))?;
        }
        if settings.core.heartbeat_ms.is_empty() {
            return Err("-S heartbeat_interval_min is above heartbeat_interval_max".to_owned());
        }
        if settings.core.tls != Tls::Unsupported {
            Store::read(&settings.tls_dir).map_err(|error| {
                format!(
                    "TLS: {error}\n    make the certificates: bascule corosync-qnetd-certutil -i\n    \
                     or, on a network of its own, go on without: -s off"
                )
            })?;
        }
        Ok(settings)
    }
}

/// One advanced setting; what was expected, where it is something else.
fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), &'static str> {
    let ms = || value.parse::<u32>().ok().filter(|ms| (1..=3_600_000).contains(ms)).ok_or("milliseconds, at least 1");
    let core = &mut settings.core;
    match name {
        "heartbeat_interval_min" => core.heartbeat_ms = ms()?..=*core.heartbeat_ms.end(),
        "heartbeat_interval_max" => core.heartbeat_ms = *core.heartbeat_ms.start()..=ms()?,
        "dpd_interval_coefficient" => {
            let times = value.parse::<f64>().ok().filter(|t| (1.0..=1000.0).contains(t)).ok_or("1 to 1000")?;
            core.silence_permille = (times * 1000.0) as u64;
        }
        "keep_active_partition_tie_breaker" => match value {
            "on" | "yes" | "1" => core.keep_active_partition = true,
            "off" | "no" | "0" => core.keep_active_partition = false,
            _ => return Err("on or off"),
        },
        "local_socket_file" => settings.socket = PathBuf::from(value),
        "lock_file" => settings.lock = Some(PathBuf::from(value)),
        "tls_dir" => settings.tls_dir = PathBuf::from(value),
        // Of the original: buffers and its own store.
        "listen_backlog"
        | "max_client_send_buffers"
        | "max_client_send_size"
        | "max_client_receive_size"
        | "nss_db_dir"
        | "cert_nickname"
        | "dpd_enabled"
        | "local_socket_backlog"
        | "ipc_max_clients"
        | "ipc_max_send_size"
        | "ipc_max_receive_size"
        | "nss_ipc_logging" => {}
        _ => return Err("a setting that this version knows"),
    }
    Ok(())
}
