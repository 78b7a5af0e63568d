//! `bascule doctor`: what is wrong with this host as a director, what that breaks, and the command that cures it.
//!
//! ```text
//! host, files --gather--> Facts --rules (pure)--> findings --> text, JSON, exit code
//! ldirectord.cf --script--> a shell script that does the same on a real server
//! ```
//!
//! [`gather`] alone reads; a rule is a function of [`facts::Facts`]. A new rule belongs into the module of its topic, with a
//! planted case in the rules' tests, and in the namespace test if it can be planted there.

mod cluster;
mod corosync;
mod facts;
mod finding;
mod firewall;
mod gather;
mod rules;
mod sbd;
mod script;

use crate::report::put;
use base::applet::Applet;
use clap::Parser;
use finding::{Finding, Severity};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;

pub const DOCTOR: Applet = Applet {
    name: "doctor",
    about: "find what is wrong with this director, or with a real server, and how to cure it",
    run: main,
    hidden: false,
};

const EXAMPLES: &str = "\
Examples:
  bascule doctor                                this host: kernel, network, firewall, cluster, key
  bascule doctor --config www.cf --json         with this ldirectord.cf, for programs
  bascule doctor --real-server web1             print a script that looks at real server web1; read it, then
  bascule doctor --real-server web1 | ssh root@web1 sh

Files are those of the cluster's director resources, else /etc/ha.d/ldirectord.cf; /etc/corosync/corosync.conf and authkey.

Exit codes: 0 nothing wrong (notes are no faults); 1 warnings; 2 errors; 64 wrong arguments; 66 an input is missing.";

/// Exit codes of the doctor and of its script.
mod exit {
    pub const CLEAN: i32 = 0;
    pub const WARNINGS: i32 = 1;
    pub const ERRORS: i32 = 2;
}

/// Find what is wrong with this director, or with a real server, and how to cure it.
#[derive(Parser, Debug)]
#[command(name = "doctor", after_help = EXAMPLES, disable_version_flag = true)]
pub struct Doctor {
    /// Services and real servers; may be given several times
    #[arg(long, value_name = "LDIRECTORD.CF")]
    config: Vec<PathBuf>,
    /// The cluster's nodes
    #[arg(long, value_name = "FILE")]
    corosync_conf: Option<PathBuf>,
    /// The cluster's key
    #[arg(long, value_name = "FILE")]
    authkey: Option<PathBuf>,
    /// Read resources from this file instead of asking the node daemon
    #[arg(long, value_name = "FILE")]
    cib: Option<PathBuf>,
    /// Print a shell script that looks at this real server; run it there
    #[arg(long, value_name = "NAME|ADDR")]
    real_server: Option<String>,
    /// Print findings as JSON
    #[arg(long)]
    json: bool,
}

fn main(args: Vec<OsString>) -> i32 {
    let args = match crate::args::parse::<Doctor>("doctor", args) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let facts = gather::gather(&args);
    if let Some(real) = &args.real_server {
        return match script::script(&facts, real) {
            Ok(text) => {
                put(&text);
                exit::CLEAN
            }
            Err(why) => {
                kernel::errln!("doctor: {why}");
                base::exit::crm::NOINPUT
            }
        };
    }
    let findings = rules::check(&facts);
    if args.json {
        let shown = serde_json::to_string_pretty(&json!({"host": facts.hostname, "findings": findings}));
        put(&(shown.unwrap_or_default() + "\n"));
    } else {
        put(&finding::text(&facts.hostname, &findings));
    }
    exit_code(&findings)
}

fn exit_code(findings: &[Finding]) -> i32 {
    match findings.iter().map(|f| f.severity).max() {
        Some(Severity::Error) => exit::ERRORS,
        Some(Severity::Warning) => exit::WARNINGS,
        Some(Severity::Note) | None => exit::CLEAN,
    }
}
