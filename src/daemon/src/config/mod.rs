//! corosync.conf and authkey as operators bring them: read, checked by line, and turned into typed settings.
//!
//! `text` → [`grammar`] (sections and keys with positions) → [`settings`] (ranges, typed values, findings, with
//! [`legacy`] for what older guides teach) → [`resolve`] (names to addresses, which node is this one) and [`authkey`].
//! Nothing here opens a socket; [`load`] and [`authkey`] read files.

mod authkey;
mod device;
mod grammar;
mod keys;
mod legacy;
mod resolve;
mod settings;
mod timers;

#[cfg(test)]
mod tests;

pub use authkey::{Key, KeyError, MAX_KEY_BYTES, MIN_KEY_BYTES, read_key};
pub use grammar::{Entry, Item, Position, Section, SyntaxError};
pub use resolve::{Local, Resolved, ResolvedNode, resolve};
pub use timers::Timers;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// corosync.conf larger than this is not read.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Links per node, as in knet.
pub const MAX_LINKS: usize = 8;
/// Nodes that a nodelist may hold, as compiled into corosync.
pub const MAX_NODES: usize = 384;
/// UDP port of link 0; link N uses this plus N.
pub const DEFAULT_PORT: u16 = 5405;

/// How a finding changes what happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Note,
    Warning,
    /// The node does not start on this host as it is at present; an interface that comes up later may cure it.
    Absent,
    /// The node does not start with this file.
    Refused,
}

/// Something to tell the operator about one place of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub severity: Severity,
    pub file: String,
    pub at: Position,
    /// What is there and what was expected.
    pub text: String,
    /// What to do; may hold several lines of commands.
    pub cure: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Absent | Severity::Refused => "refused",
        };
        write!(f, "{}:{}:{}: {word}: {}", self.file, self.at.line, self.at.column, self.text)?;
        if self.cure.contains('\n') {
            write!(f, "; do this:")?;
            self.cure.lines().try_for_each(|line| write!(f, "\n    {line}"))
        } else if self.cure.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.cure)
        }
    }
}

/// The whole file, typed.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub file: String,
    pub totem: Totem,
    /// Indexed by link number; one entry per `ringN_addr` that the nodelist uses.
    pub links: Vec<Link>,
    pub nodes: Vec<Node>,
    pub quorum: Quorum,
    pub logging: Logging,
    pub system: System,
    /// Every key of the file under its flat dotted name, known or not, as cmap shows it.
    pub kept: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Totem {
    pub cluster_name: String,
    pub config_version: u64,
    /// Packets are sealed; false only with `--allow-unauthenticated`.
    pub authenticated: bool,
    pub keyfile: Option<PathBuf>,
    /// `key:` given inline.
    pub key: Option<String>,
    /// Only if the file sets it: an operator's wish for patience.
    pub token_ms: Option<u64>,
    /// Until a dead node is noticed; a key of Bascule's own, for less than is usual.
    pub dead_after_ms: Option<u64>,
    pub token_coefficient_ms: u64,
    pub token_warning_percent: u64,
    pub token_retransmit_ms: Option<u64>,
    pub retransmits_before_loss: u64,
    pub hold_ms: Option<u64>,
    pub join_ms: u64,
    pub send_join_ms: u64,
    pub consensus_ms: Option<u64>,
    pub merge_ms: u64,
    pub downcheck_ms: u64,
    pub fail_recv_const: u64,
    pub seqno_unchanged_const: u64,
    pub window_size: u64,
    pub max_messages: u64,
    pub miss_count_const: u64,
    pub block_unlisted_ips: bool,
    pub link_mode: totem::LinkMode,
    pub ip_version: IpVersion,
    /// Largest packet that is sent; 0 for what each link turns out to carry,
    pub knet_mtu: u64,
    /// which is looked at that often.
    pub pmtud_interval_s: u64,
}

/// Which address of a name with both families is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpVersion {
    V4,
    V6,
    V4First,
    #[default]
    V6First,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub number: u8,
    pub port: u16,
    /// Higher wins in passive mode.
    pub priority: u8,
    pub ping_interval_ms: Option<u64>,
    pub ping_timeout_ms: Option<u64>,
    pub ping_precision: u64,
    pub pong_count: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: base::NodeId,
    pub name: String,
    pub votes: u32,
    /// By link number: address or host name, and where the file says so.
    pub addresses: Vec<(String, Position)>,
    pub at: Position,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quorum {
    /// `provider: corosync_votequorum`.
    pub enabled: bool,
    pub expected_votes: Option<u32>,
    pub two_node: bool,
    /// Only if the file sets it.
    pub wait_for_all: Option<bool>,
    pub last_man_standing: bool,
    pub last_man_standing_window_ms: u64,
    pub auto_tie_breaker: bool,
    pub auto_tie_breaker_node: String,
    pub allow_downscale: bool,
    pub expected_votes_tracking: bool,
    /// Our own: hosts of which one half of a pair must reach at least one to keep its vote.
    pub ping_targets: Vec<IpAddr>,
    pub device: Option<Device>,
}

/// `quorum.device{}` of model net.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    pub votes: u32,
    pub host: String,
    pub port: u16,
    pub algorithm: quorum::qnet::Algorithm,
    pub tls: quorum::qnet::Tls,
    pub tie_breaker: quorum::qnet::TieBreaker,
    /// 0: whatever the name has.
    pub ip_version: u8,
    pub keep_active_partition: bool,
    /// While all nodes are there.
    pub heartbeat_ms: u32,
    /// While some are away.
    pub long_heartbeat_ms: u32,
    pub timeout_ms: u32,
    pub sync_timeout_ms: u32,
    pub connect_timeout_ms: u32,
    pub heuristics: Heuristics,
}

/// Programs that say whether a node's surroundings are sound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heuristics {
    pub mode: quorum::qdevice::HeuristicsMode,
    pub timeout: std::time::Duration,
    /// With a view.
    pub sync_timeout: std::time::Duration,
    pub interval: std::time::Duration,
    /// By name: program and arguments.
    pub programs: Vec<(String, Vec<String>)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Logging {
    pub to_stderr: bool,
    pub to_syslog: bool,
    pub to_logfile: bool,
    pub logfile: Option<PathBuf>,
    pub debug: bool,
    pub trace: bool,
    pub timestamp: bool,
    /// Highest level written to the log file (`logfile_priority`).
    pub priority: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct System {
    pub sched_rr: bool,
    pub state_dir: Option<PathBuf>,
    /// Device of the hardware watchdog and its time in seconds.
    pub watchdog: Option<(PathBuf, u32)>,
}

/// What the operator allows on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allow {
    pub unauthenticated: bool,
}

/// A file read: settings unless something was refused, and all that is to be said about it.
#[derive(Clone, Debug)]
pub struct Reading {
    pub config: Option<Config>,
    pub findings: Vec<Finding>,
}

impl Reading {
    pub fn refused(&self) -> bool {
        self.config.is_none() || self.findings.iter().any(|f| f.severity == Severity::Refused)
    }
}

/// Reads `text` as the content of `file`.
pub fn read(file: &str, text: &[u8], allow: Allow) -> Reading {
    match grammar::parse(text) {
        Ok(root) => settings::build(file, &root, allow),
        Err(error) => {
            let finding = Finding {
                severity: Severity::Refused,
                file: file.to_owned(),
                at: error.at,
                text: format!("expected {}, found {}", error.expected, error.found),
                cure: error.cure,
            };
            Reading { config: None, findings: vec![finding] }
        }
    }
}

/// Reads a file of at most [`MAX_FILE_BYTES`].
pub fn load(path: &Path, allow: Allow) -> Reading {
    let name = path.display().to_string();
    match read_bounded(path, MAX_FILE_BYTES) {
        Ok(text) => read(&name, &text, allow),
        Err(error) => {
            let cure = "write one, or name another with --config FILE (samples: configs/corosync/)".to_owned();
            let finding = Finding {
                severity: Severity::Refused,
                file: name,
                at: Position { line: 1, column: 1 },
                text: format!("expected a readable corosync.conf, found: {error}"),
                cure,
            };
            Reading { config: None, findings: vec![finding] }
        }
    }
}

/// The file's bytes, or an error that also covers a file beyond `limit`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("the file is larger than {limit} bytes")));
    }
    Ok(bytes)
}
