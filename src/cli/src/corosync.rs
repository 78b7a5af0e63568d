//! Corosync's commands: `corosync-quorumtool`, `corosync-cfgtool`, `corosync-cmapctl`, `corosync-keygen` and their like.

mod blackbox;
mod cfgtool;
mod cmapctl;
mod cpgtool;
mod keys;
mod notifyd;
mod objctl;
mod qdevicetool;
mod qnetdtool;
mod quorumtool;
mod track;

pub use blackbox::{Blackboxed, blackbox};
pub use cfgtool::{Cfgtool, cfgtool};
pub use cmapctl::{Cmapctl, cmapctl};
pub use cpgtool::{Cpgtool, cpgtool};
pub use notifyd::{Notifyd, notifyd};
pub use objctl::{Objctl, objctl};
pub use qdevicetool::{Qdevicetool, device_text, qdevicetool};
pub use qnetdtool::{Qnetdtool, ask_qnetd, qnetd_pid, qnetdtool, quoted_word};
pub use quorumtool::{Quorumtool, quorum_text, quorumtool};

use crate::args::{self, Command};
use crate::report::{Common, put};
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use wire::api::Done;

/// Corosync's tools know one code for all that fails.
fn error(failure: impl Into<Failure>) -> Failure {
    Failure { code: 1, ..failure.into() }
}

/// What was asked for was refused, in the words of the original and in ours.
fn refused(original: String, done: &Done) -> Failure {
    let why = done.message.as_deref().unwrap_or("no reason was given");
    Failure::new(1, format!("{original}\n{why}"))
}

/// Make the cluster's secret key
#[derive(Parser, Debug)]
#[command(
    name = "corosync-keygen",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-keygen                     /etc/corosync/authkey\n  corosync-keygen -k ./authkey        another file\n\nCopy the file to every node, mode 0400."
)]
pub struct Keygen {
    /// Where to write the key
    #[arg(short = 'k', long, value_name = "FILE", default_value = "/etc/corosync/authkey")]
    key_file: PathBuf,
    /// Where to read randomness
    #[arg(short = 'r', long, value_name = "FILE", default_value = "/dev/urandom")]
    random_file: PathBuf,
    /// Size in bytes, 128 to 4096
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = 256)]
    size: usize,
    /// Accepted: never waits for entropy
    #[arg(short = 'l', long)]
    less_secure: bool,
    /// Replace a key that is there while a node runs on this host
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    common: Common,
}

pub fn keygen(args: Vec<OsString>) -> i32 {
    args::run::<Keygen>(args)
}

impl Command for Keygen {
    const NAME: &'static str = "corosync-keygen";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if !(128..=4096).contains(&self.size) {
            return Err(Failure::new(1, format!("{} bytes: a key has 128 to 4096 bytes", self.size)));
        }
        let old = std::fs::metadata(&self.key_file).is_ok_and(|m| m.is_file() && m.len() > 0);
        if old && !self.force && node_runs() {
            return Err(Failure::new(
                1,
                format!(
                    "{} holds a key, and a node runs on this host: with another key it would not be understood by the others after \
                     its next start. Write the new key elsewhere (-k FILE), or use --force",
                    self.key_file.display()
                ),
            ));
        }
        let (bits, random) = (self.size * 8, self.random_file.display());
        put(&format!(
            "Corosync Cluster Engine Authentication key generator.\nGathering {bits} bits for key from {random}.\n"
        ));
        let mut key = vec![0u8; self.size];
        let random = std::fs::File::open(&self.random_file).and_then(|mut f| f.read_exact(&mut key));
        random.map_err(|e| Failure::new(1, format!("cannot read {}: {e}", self.random_file.display())))?;
        put(&format!("Writing corosync key to {}.\n", self.key_file.display()));
        self.store(&key).map_err(|e| Failure::new(1, format!("cannot write {}: {e}", self.key_file.display())))?;
        if old {
            kernel::errln!(
                "The key that was there is replaced: copy the new one to every node before any is started again."
            );
        }
        Ok(crm::OK)
    }
}

/// Whether a node daemon answers here.
fn node_runs() -> bool {
    crate::client::Client::from_env().get::<wire::api::NodeStatus>("/v1/status").is_ok()
}

/// The one directory that is made, as by the original, where it is missing.
const KEY_DIR: &str = "/etc/corosync";

impl Keygen {
    /// Never readable by others.
    fn store(&self, key: &[u8]) -> std::io::Result<()> {
        let dir = self.key_file.parent().filter(|d| !d.as_os_str().is_empty());
        if let Some(dir) = dir.filter(|d| *d == std::path::Path::new(KEY_DIR) && !d.exists()) {
            std::fs::create_dir_all(dir)?;
            kernel::errln!("Made the directory {}.", dir.display());
        }
        kernel::files::replace(&self.key_file, key, 0o400)
    }
}
