//! The applet `bascule remote`: this host as a remote node of a cluster, in the place of `pacemaker-remoted`.
//!
//! One task owns the core ([`Service`]); each connection of a cluster node is a task of its own ([`client`]), and so is each of a
//! program of this host that asks the cluster ([`programs`]): what it sends goes through the connection of a cluster node as it is.

mod client;
mod programs;
mod serve;

use clap::{CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

/// Exit codes of the original: CRM_EX_USAGE and CRM_EX_FATAL.
const USAGE: i32 = 64;
const FATAL: i32 = 100;

/// Be a remote node of a cluster: run what its nodes ask for, without being one of them.
///
/// Takes the place of pacemaker-remoted: the same port, key and protocol. In the cluster the node is a resource
/// `ocf:pacemaker:remote`, or a guest that a resource's meta attribute `remote-node` names. The commands that agents and operators type
/// here (crm_attribute, attrd_updater, crm_mon, …) ask the cluster through the node that has the connection.
#[derive(clap::Parser, Debug, Clone)]
#[command(
    name = "remote",
    disable_version_flag = true,
    after_help = "Examples:
  bascule remote                              on all addresses, port 3121, key /etc/pacemaker/authkey
  bascule remote --address 10.0.0.9           on one address
  on a cluster node: bascule pcs resource create web9 ocf:pacemaker:remote server=10.0.0.9
  the key, the same on all nodes: dd if=/dev/urandom of=/etc/pacemaker/authkey bs=256 count=1

A stop (SIGTERM) asks the cluster to move everything away first; a second one ends at once.

Environment: PCMK_authkey_location, PCMK_remote_address, PCMK_remote_port as with the original.

Exit codes: 0 stopped, 64 usage, 100 could not start."
)]
pub struct Args {
    /// Address to listen on; else all
    #[arg(long, short = 'a', value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// TCP port [default: 3121]
    #[arg(long, short = 'p', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Socket of the commands, agents' state
    ///
    /// [default: $BASCULE_RUN_DIR or /run/bascule]
    #[arg(long, value_name = "DIR", default_value_os_t = run_dir(), hide_default_value = true)]
    run_dir: PathBuf,
    /// Log more
    #[arg(long, short = 'V', action = clap::ArgAction::Count)]
    verbose: u8,
}

fn run_dir() -> PathBuf {
    std::env::var_os("BASCULE_RUN_DIR").map_or_else(|| wire::api::DEFAULT_RUN_DIR.into(), PathBuf::from)
}

impl Args {
    /// Addresses and port: of the command line, else of the environment, as the original's.
    fn listen(&self) -> Result<(Vec<IpAddr>, u16), String> {
        let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let address = match (self.address, set("PCMK_remote_address")) {
            (Some(address), _) => Some(address),
            (None, None) => None,
            (None, Some(text)) => {
                let parsed = text.parse();
                Some(parsed.map_err(|_| format!("PCMK_remote_address: expected an IP address, found `{text}`"))?)
            }
        };
        let port = match (self.port, set("PCMK_remote_port")) {
            (Some(port), _) => port,
            (None, None) => wire::executor::PORT,
            (None, Some(text)) => {
                let parsed = text.parse().ok().filter(|p| *p > 0);
                parsed.ok_or_else(|| format!("PCMK_remote_port: expected 1 to 65535, found `{text}`"))?
            }
        };
        let any = || vec![IpAddr::from([0; 16]), IpAddr::from([0; 4])];
        Ok((address.map_or_else(any, |a| vec![a]), port))
    }
}

/// Entry point of the applet.
pub fn run(args: Vec<OsString>) -> i32 {
    let line = std::iter::once(OsString::from("remote")).chain(args);
    let matches = Args::command().args_override_self(true).try_get_matches_from(line);
    let args = match matches.and_then(|m| Args::from_arg_matches(&m)) {
        Ok(args) => args,
        Err(error) => {
            kernel::output::say(error.render().ansi(), error.render(), error.use_stderr());
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    crate::logging::start_service("remote", args.verbose > 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(serve::serve(args));
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            ended
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &ended {
        tracing::error!("bascule remote: {error}");
    }
    crate::logging::finish();
    if ended.is_ok() { 0 } else { FATAL }
}
