//! `bascule migrate`: what runs today (keepalived, or corosync and Pacemaker) as files of ours, with a report by line of what maps, what
//! differs and what cannot be carried over. Nothing of what runs is touched.
//!
//! ```text
//! keepalived.conf -lines-> text -blocks (nom)-> statements -virtuals, checks-> ldirectord.cf
//!                                                          -vrrp, keepalived-> CIB, corosync.conf
//! corosync.conf, cib.xml, ldirectord.cf, sysconfig -pacemaker-> the same, where they need no change
//! ```
//!
//! No statement is dropped in silence: each ends in a row of the report.

mod blocks;
mod checks;
mod keepalived;
mod lines;
mod pacemaker;
mod report;
mod virtuals;
mod vrrp;

use crate::edit::error;
use crate::report::put;
use crate::setup::{Node, node};
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use report::{Fate, Report};
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const KEEPALIVED: &str = "/etc/keepalived/keepalived.conf";
const COROSYNC: &str = "etc/corosync/corosync.conf";

const EXAMPLES: &str = "\
Examples:
  bascule migrate                                       what would become of this host's keepalived or Pacemaker
  bascule migrate keepalived.conf --node d1=192.0.2.11 --node d2=192.0.2.12 --peer d2.conf --out new
                                                        the same for two files, written to the directory 'new'
  bascule migrate --from pacemaker --root /srv/copy --out new
                                                        corosync.conf, CIB, ldirectord.cf and sysconfig below a directory
  bascule migrate keepalived.conf --json | jq '.rows[] | select(.fate == \"cannot\")'

Nothing is changed but the directory of --out. Read the report, then the files; 'bascule manual coming-from-keepalived' goes on from there.

Exit codes: 0 all of it is carried over, as it is or with a difference; 1 some of it cannot be; 64 wrong arguments; 65 not such a file;
66 no file; 73 not written.";

/// Turn the files of keepalived, or of corosync and Pacemaker, into ours, and say what differs
#[derive(Parser, Debug)]
#[command(name = "migrate", disable_version_flag = true, after_help = EXAMPLES)]
pub struct Migrate {
    /// A keepalived.conf
    file: Option<PathBuf>,
    /// What runs today; else what is found
    #[arg(long, value_enum)]
    from: Option<From>,
    /// The other node's keepalived.conf: its priorities
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
    /// A node and its addresses, one for each link, this one first; may be given several times
    #[arg(long = "node", value_name = "NAME=ADDRESS[,ADDRESS]", value_parser = node)]
    nodes: Vec<Node>,
    /// Name of the new cluster
    #[arg(long, value_name = "NAME", default_value = "directors")]
    cluster: String,
    /// As keepalived's -i: which lines that begin with @ count
    #[arg(long, value_name = "ID")]
    config_id: Option<String>,
    /// Where the files of corosync and Pacemaker are
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The CIB, where it is elsewhere ('cibadmin -Q' of the running cluster writes one)
    #[arg(long, value_name = "FILE")]
    cib: Option<PathBuf>,
    /// Write the new files there; else only report
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long, requires = "out")]
    force: bool,
    /// Report and files as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum From {
    Keepalived,
    Pacemaker,
}

/// What the operator says beside the files.
struct Wanted {
    peer: Option<PathBuf>,
    nodes: Vec<Node>,
    cluster: String,
    config_id: Option<String>,
    cib: Option<PathBuf>,
}

/// Names and texts.
#[derive(Default)]
struct Made {
    files: Vec<(String, String)>,
}

pub fn main(args: Vec<OsString>) -> i32 {
    let migrate = match crate::args::parse::<Migrate>("migrate", args) {
        Ok(migrate) => migrate,
        Err(code) => return code,
    };
    match migrate.run() {
        Ok(code) => code,
        Err(failure) => {
            kernel::errln!("migrate: {}", failure.message);
            failure.details.iter().for_each(|d| kernel::errln!("  {d}"));
            failure.code
        }
    }
}

impl Migrate {
    fn run(self) -> Result<i32, Failure> {
        if !wire::pcsd::is_plain(&self.cluster) {
            return Err(Failure::usage(format!(
                "'{}' is no name for a cluster: expected letters, digits, '-', '_' and '.'",
                self.cluster
            )));
        }
        let from = self.source()?;
        let wanted = Wanted {
            peer: self.peer.clone(),
            nodes: self.nodes.clone(),
            cluster: self.cluster.clone(),
            config_id: self.config_id.clone(),
            cib: self.cib.clone(),
        };
        let mut report = Report::default();
        let made = match from {
            From::Keepalived => {
                let file = self.file.clone().unwrap_or_else(|| KEEPALIVED.into());
                keepalived::migrate(&file, &wanted, &mut report)?
            }
            From::Pacemaker => pacemaker::migrate(&self.root, &wanted, &mut report)?,
        };
        report.sort();
        let written = match &self.out {
            Some(dir) => write(dir, &made, self.force)?,
            None => Vec::new(),
        };
        match self.json {
            true => {
                let files: serde_json::Map<String, serde_json::Value> =
                    made.files.iter().map(|(n, t)| (n.clone(), json!(t))).collect();
                put(&format!("{:#}\n", json!({"rows": report.rows, "files": files, "written": written})));
            }
            false => {
                put(&report.text());
                let names: Vec<&str> = made.files.iter().map(|(n, _)| n.as_str()).collect();
                match written.is_empty() {
                    true => put(&format!("Not written, since --out names no directory: {}\n", names.join(", "))),
                    false => put(&format!("Written: {}\n", written.join(", "))),
                }
            }
        }
        Ok(if report.count(Fate::Cannot) == 0 { crm::OK } else { crm::ERROR })
    }

    /// As said, else by what there is.
    fn source(&self) -> Result<From, Failure> {
        let (keepalived, pacemaker) = (Path::new(KEEPALIVED).exists(), self.root.join(COROSYNC).exists());
        match (self.from, &self.file) {
            (Some(From::Pacemaker), Some(_)) => {
                Err(Failure::usage("with --from pacemaker the files are below --root: expected no FILE"))
            }
            (Some(from), _) => Ok(from),
            (None, Some(_)) => Ok(From::Keepalived),
            (None, None) if keepalived && pacemaker => {
                Err(Failure::usage("there are files of both here: say --from keepalived or --from pacemaker"))
            }
            (None, None) if keepalived => Ok(From::Keepalived),
            (None, None) if pacemaker => Ok(From::Pacemaker),
            (None, None) => Err(Failure::new(
                crm::NOINPUT,
                format!("there is neither {KEEPALIVED} nor {}: name a file", self.root.join(COROSYNC).display()),
            )),
        }
    }
}

/// All files or none.
fn write(dir: &Path, made: &Made, force: bool) -> Result<Vec<String>, Failure> {
    let cannot = |path: &Path, e: std::io::Error| Failure::new(crm::CANTCREAT, format!("{}: {e}", path.display()));
    std::fs::create_dir_all(dir).map_err(|e| cannot(dir, e))?;
    let paths: Vec<PathBuf> = made.files.iter().map(|(name, _)| dir.join(name)).collect();
    if let Some(there) = paths.iter().find(|p| p.exists()).filter(|_| !force) {
        return Err(error(format!(
            "{} is there already: use --force to replace it, or another directory",
            there.display()
        )));
    }
    for (path, (_, text)) in paths.iter().zip(&made.files) {
        // Passwords of checks and fence devices may stand in them.
        kernel::files::replace(path, text.as_bytes(), 0o600).map_err(|e| cannot(path, e))?;
    }
    Ok(paths.iter().map(|p| p.display().to_string()).collect())
}
