//! The command line of `bascule pcsd`.

use std::net::IpAddr;

/// Let other hosts build, start and stop a cluster on this one.
///
/// Answers `pcs host auth`, `pcs cluster setup` and the like, typed on another host (or on this one). Takes the place of pcsd, on
/// its port, with a protocol of its own over mutual TLS: hosts know each other by their keys. A host becomes known by the password of
/// the user hacluster (PAM), or by a token.
#[derive(clap::Parser, Debug, Clone)]
#[command(
    name = "pcsd",
    after_help = "Examples:
  bascule pcsd                     serve (configs/systemd/bascule-pcsd.service)
  bascule pcsd token               print a token that counts once, for one other host
  on the other host then:
  pcs host auth THIS_HOST --token -

Environment: PCSD_PORT; BASCULE_STATE_DIR, BASCULE_RUN_DIR, COROSYNC_MAIN_CONFIG_FILE, COROSYNC_TOTEM_AUTHKEY_FILE as for the node;
BASCULE_PCSD_DIR (key, known hosts, audit log; else pcsd in the state directory); BASCULE_HA_DIR (files of
directors; else /etc/ha.d); BASCULE_SERVICES=direct for no use of systemd, and then BASCULE_NODE_OPTIONS: options of the node daemon.

Exit codes: 0 stopped in good order, 1 could not start."
)]
pub struct Args {
    /// Address to listen on, more than once if need be; else all
    #[arg(long, short = 'l', value_name = "ADDRESS")]
    pub listen: Vec<IpAddr>,
    /// TCP port
    ///
    /// [default: $PCSD_PORT or 2224]
    #[arg(long, short = 'p', value_name = "PORT", default_value_t = port(), hide_default_value = true)]
    pub port: u16,
    /// PAM's service for passwords; else bascule or pcsd, whichever is in /etc/pam.d
    #[arg(long, value_name = "NAME")]
    pub pam_service: Option<String>,
    /// Log more
    #[arg(long, short = 'd')]
    pub debug: bool,
    #[command(subcommand)]
    pub doing: Option<Doing>,
}

fn port() -> u16 {
    std::env::var("PCSD_PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(wire::pcsd::PORT)
}

#[derive(clap::Subcommand, Debug, Clone)]
pub enum Doing {
    /// Print a token that lets one other host log in, once
    Token {
        /// How long it counts
        #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1440))]
        minutes: u16,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
