//! `crm_error`: what a return or exit code means.

use crate::args::{self, Command};
use crate::report::Common;
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use xml::Element;

/// Exit codes: number, name, words.
pub const EXIT_CODES: &[(i32, &str, &str)] = &[
    (0, "CRM_EX_OK", "OK"),
    (1, "CRM_EX_ERROR", "Error occurred"),
    (2, "CRM_EX_INVALID_PARAM", "Invalid parameter"),
    (3, "CRM_EX_UNIMPLEMENT_FEATURE", "Unimplemented"),
    (4, "CRM_EX_INSUFFICIENT_PRIV", "Insufficient privileges"),
    (5, "CRM_EX_NOT_INSTALLED", "Not installed"),
    (6, "CRM_EX_NOT_CONFIGURED", "Not configured"),
    (7, "CRM_EX_NOT_RUNNING", "Not running"),
    (8, "CRM_EX_PROMOTED", "Promoted"),
    (9, "CRM_EX_FAILED_PROMOTED", "Failed in promoted role"),
    (64, "CRM_EX_USAGE", "Incorrect usage"),
    (65, "CRM_EX_DATAERR", "Invalid data given"),
    (66, "CRM_EX_NOINPUT", "Input file not available"),
    (67, "CRM_EX_NOUSER", "User does not exist"),
    (68, "CRM_EX_NOHOST", "Host does not exist"),
    (69, "CRM_EX_UNAVAILABLE", "Necessary service unavailable"),
    (70, "CRM_EX_SOFTWARE", "Internal software bug"),
    (71, "CRM_EX_OSERR", "Operating system error occurred"),
    (72, "CRM_EX_OSFILE", "System file not available"),
    (73, "CRM_EX_CANTCREAT", "Cannot create output file"),
    (74, "CRM_EX_IOERR", "I/O error occurred"),
    (75, "CRM_EX_TEMPFAIL", "Temporary failure, try again"),
    (76, "CRM_EX_PROTOCOL", "Protocol violated"),
    (77, "CRM_EX_NOPERM", "Insufficient privileges"),
    (78, "CRM_EX_CONFIG", "Invalid configuration"),
    (100, "CRM_EX_FATAL", "Fatal error occurred, will not respawn"),
    (101, "CRM_EX_PANIC", "System panic required"),
    (102, "CRM_EX_DISCONNECT", "Not connected"),
    (103, "CRM_EX_OLD", "Update was older than existing configuration"),
    (104, "CRM_EX_DIGEST", "Digest mismatch"),
    (105, "CRM_EX_NOSUCH", "No such object"),
    (106, "CRM_EX_QUORUM", "Quorum required"),
    (107, "CRM_EX_UNSAFE", "Operation not safe"),
    (108, "CRM_EX_EXISTS", "Requested item already exists"),
    (109, "CRM_EX_MULTIPLE", "Multiple items match request"),
    (110, "CRM_EX_EXPIRED", "Requested item has expired"),
    (111, "CRM_EX_NOT_YET_IN_EFFECT", "Requested item is not yet in effect"),
    (112, "CRM_EX_INDETERMINATE", "Could not determine status"),
    (113, "CRM_EX_UNSATISFIED", "Not applicable under current conditions"),
    (124, "CRM_EX_TIMEOUT", "Timeout occurred"),
    (190, "CRM_EX_DEGRADED", "Service is active but might fail soon"),
    (191, "CRM_EX_DEGRADED_PROMOTED", "Service is promoted but might fail soon"),
    (193, "CRM_EX_NONE", "No exit status available"),
];

/// Explain return and exit codes
#[derive(Parser, Debug)]
#[command(
    name = "crm_error",
    after_help = "Examples:\n  crm_error -X 78     what exit code 78 means\n  crm_error -X -l     all exit codes\n  crm_error 6         what the return code 6 (or -6) means"
)]
pub struct CrmError {
    /// Show the code's name with its description
    #[arg(short = 'n', long)]
    name: bool,
    /// List all known codes
    #[arg(short = 'l', long)]
    list: bool,
    /// Take the numbers as exit codes
    #[arg(short = 'X', long)]
    exit: bool,
    /// Take the numbers as return codes
    #[arg(short = 'r', long)]
    rc: bool,
    /// The codes to explain
    #[arg(value_name = "CODE", allow_negative_numbers = true)]
    codes: Vec<i32>,
    #[command(flatten)]
    common: Common,
}

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmError>(args)
}

impl Command for CrmError {
    const NAME: &'static str = "crm_error";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let codes: Vec<i32> = match (self.exit, self.list || self.codes.is_empty()) {
            (true, true) => EXIT_CODES.iter().map(|(code, _, _)| *code).collect(),
            (false, true) => (0..=133).filter(|n| describe(*n, false).0 != "Unknown").collect(),
            (_, false) => self.codes.clone(),
        };
        let named = self.name || self.list;
        let lines = || {
            codes.iter().map(|code| match (describe(*code, self.exit), named, self.list) {
                ((name, words), true, true) => format!("{code:>5}: {name:<26} {words}\n"),
                ((name, words), true, false) => format!("{name} - {words}\n"),
                ((_, words), false, _) => format!("{words}\n"),
            })
        };
        let elements = || {
            let element = |code: &i32| {
                let (name, words) = describe(*code, self.exit);
                Element::new("result-code").with("code", code.to_string()).with("name", name).with("description", words)
            };
            codes.iter().map(element).collect()
        };
        self.common.print(|| lines().collect(), elements)?;
        Ok(crm::OK)
    }
}

/// Name and words; return codes are negative or positive errno numbers.
fn describe(code: i32, exit: bool) -> (String, String) {
    if exit {
        let found = EXIT_CODES.iter().find(|(c, _, _)| *c == code);
        return found.map_or(("Unknown".into(), "Unknown exit status".into()), |(_, n, w)| ((*n).into(), (*w).into()));
    }
    if code == 0 {
        return ("pcmk_rc_ok".into(), "Success".into());
    }
    match nix::errno::Errno::from_raw(code.unsigned_abs() as i32) {
        nix::errno::Errno::UnknownErrno => ("Unknown".into(), "Unknown return code".into()),
        errno => (format!("{errno:?}"), errno.desc().to_owned()),
    }
}
