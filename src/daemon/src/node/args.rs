//! The command line of `bascule node`.

use std::path::PathBuf;

/// Run this host's node of the cluster.
///
/// Reads corosync.conf and the authkey as they are, joins the other nodes, holds this node's resources and answers the
/// commands (crm_mon, cibadmin, …) on RUN_DIR/api.sock.
#[derive(clap::Parser, Debug, Clone)]
#[command(
    name = "node",
    after_help = "Examples:
  bascule node                                   with /etc/corosync/corosync.conf and authkey
  bascule node --check                           what the file means here, and what is wrong with it; starts nothing
  bascule node --config c.conf --authkey key --state-dir state --run-dir run
  BASCULE_RUN_DIR=run bascule crm_mon -1         ask that node

Exit codes: 0 left in good order, 1 the ring was lost or could not start, 78 the configuration is refused."
)]
pub struct Args {
    /// corosync.conf
    ///
    /// [default: $COROSYNC_MAIN_CONFIG_FILE or /etc/corosync/corosync.conf]
    #[arg(long, short = 'c', value_name = "FILE", default_value_os_t = from_env("COROSYNC_MAIN_CONFIG_FILE", "/etc/corosync/corosync.conf"), hide_default_value = true)]
    pub config: PathBuf,
    /// Key shared by all nodes; else keyfile of corosync.conf, else /etc/corosync/authkey
    #[arg(long, value_name = "FILE")]
    pub authkey: Option<PathBuf>,
    /// CIB and ring number live here
    ///
    /// [default: $BASCULE_STATE_DIR or /var/lib/bascule]
    #[arg(long, value_name = "DIR", default_value_os_t = from_env("BASCULE_STATE_DIR", wire::api::DEFAULT_STATE_DIR), hide_default_value = true)]
    pub state_dir: PathBuf,
    /// Socket of the commands, agents' state
    ///
    /// [default: $BASCULE_RUN_DIR or /run/bascule]
    #[arg(long, value_name = "DIR", default_value_os_t = from_env("BASCULE_RUN_DIR", wire::api::DEFAULT_RUN_DIR), hide_default_value = true)]
    pub run_dir: PathBuf,
    /// Log to this file, whatever logging{} says
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Which node of the nodelist this is; else found by host name and addresses
    #[arg(long, value_name = "NAME|ID")]
    pub node: Option<String>,
    /// Run even if the file says that packets are not authenticated; status keeps warning
    #[arg(long)]
    pub allow_unauthenticated: bool,
    /// Only check: print findings and effective timers
    #[arg(long)]
    pub check: bool,
    /// With --check: as JSON
    #[arg(long, requires = "check")]
    pub json: bool,
    /// What forwards packets: kernel IPVS, or the embedded user-space relay (for trying out)
    #[arg(long, value_enum, default_value_t = DataPlane::Kernel)]
    pub data_plane: DataPlane,
    /// Start no guard process; leases alone protect the addresses
    #[arg(long, hide = true)]
    pub no_guard: bool,
}

fn from_env(name: &str, default: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| default.into(), PathBuf::from)
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataPlane {
    Kernel,
    Relay,
}

impl DataPlane {
    pub fn name(self) -> &'static str {
        match self {
            DataPlane::Kernel => "kernel",
            DataPlane::Relay => "relay",
        }
    }
}
