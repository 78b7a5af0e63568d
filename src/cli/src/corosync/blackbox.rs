//! `corosync-blackbox`: what all parts of the node did of late, from the running node or from the file of one that has ended.

use super::error;
use crate::args::{self, Command};
use crate::client::{CallError, Client};
use crate::clock::stamp_us;
use crate::report::{Common, Format};
use crate::source::Failure;
use clap::Parser;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use wire::api::{Blackbox, BlackboxCall, BlackboxReply, DEFAULT_STATE_DIR};

/// No node writes a larger one.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Show what the node did of late, and write it to its state directory
#[derive(Parser, Debug)]
#[command(
    name = "corosync-blackbox",
    disable_version_flag = true,
    after_help = "Examples:\n  corosync-blackbox                                   of the node that runs here\n  corosync-blackbox | grep -v ' peer '\n  corosync-blackbox /var/lib/bascule/fdata            the last that was written, also by a node that crashed\n  corosync-blackbox --json > report.json\n\nA node writes it by itself when it panics or ends against its will. The newest five files stay."
)]
pub struct Blackboxed {
    /// Show this file and ask no node
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub fn blackbox(args: Vec<OsString>) -> i32 {
    args::run::<Blackboxed>(args)
}

impl Command for Blackboxed {
    const NAME: &'static str = "corosync-blackbox";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let blackbox = match &self.file {
            Some(file) => read(file)?,
            None => match Client::from_env().post("/v1/blackbox", &BlackboxCall {}) {
                Ok(reply) => told(reply),
                // What a node that has ended left.
                Err(gone @ CallError::NotRunning { .. }) => {
                    read(&newest()).map_err(|failure| Failure { details: vec![gone.to_string()], ..failure })?
                }
                Err(other) => return Err(error(other)),
            },
        };
        let text = match self.json || self.common.output_as == Format::Json {
            true => serde_json::to_string_pretty(&blackbox).map_err(|e| Failure::new(1, e.to_string()))? + "\n",
            false => text(&blackbox),
        };
        self.common.write(&text)?;
        Ok(0)
    }
}

fn told(reply: BlackboxReply) -> Blackbox {
    match (&reply.file, &reply.problem) {
        (Some(file), _) => kernel::errln!("Written to {file}"),
        (None, problem) => kernel::errln!("warning: not written: {}", problem.as_deref().unwrap_or("no reason given")),
    }
    reply.blackbox
}

fn newest() -> PathBuf {
    let dir = std::env::var_os("BASCULE_STATE_DIR").unwrap_or_else(|| DEFAULT_STATE_DIR.into());
    Path::new(&dir).join("fdata")
}

fn read(file: &Path) -> Result<Blackbox, Failure> {
    use std::io::Read;
    let wrong = |why: String| Failure::new(1, format!("{}: {why}", file.display()));
    let opened = std::fs::File::open(file).map_err(|e| wrong(e.to_string()))?;
    if !opened.metadata().is_ok_and(|m| m.is_file()) {
        return Err(wrong("not a file".to_owned()));
    }
    let mut text = Vec::new();
    opened.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| wrong(format!("no blackbox of this version: {e}")))
}

fn text(blackbox: &Blackbox) -> String {
    let Blackbox { version, node, pid, reason, wall_us, forgotten, records, .. } = blackbox;
    let mut out = format!("Blackbox of node {node}, process {pid}, version {version}\n");
    // A String takes everything.
    let _ = writeln!(out, "Written at {}: {reason}", stamp_us(*wall_us));
    if *forgotten > 0 {
        let _ = writeln!(out, "{forgotten} older records are not kept any more");
    }
    out.push('\n');
    for r in records {
        let gap = if r.subject.is_empty() { "" } else { " " };
        // A record of several lines stays one record to the eye.
        let text = r.text.replace('\n', "\n                                  ");
        let _ = writeln!(out, "{} {}{gap}{}: {text}", stamp_us(r.wall_us), r.kind, r.subject);
    }
    if let Some(status) = &blackbox.status {
        let _ = writeln!(out, "\nCounters");
        for counter in status.counters.iter().filter(|c| c.value > 0) {
            let _ = writeln!(out, "{} = {}", counter.name, counter.value);
        }
        for warning in &status.warnings {
            let _ = writeln!(out, "Warning: {warning}");
        }
    }
    let _ = writeln!(out, "\nRecords found: {}", records.len());
    out
}
