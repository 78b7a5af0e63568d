//! `crm_verify`: check a configuration, and say where it is wrong.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Problem, Severity};
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use xml::Element;

/// Check a Pacemaker configuration for errors and likely mistakes
#[derive(Parser, Debug)]
#[command(name = "crm_verify", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmVerify {
    /// Check the running cluster's configuration
    #[arg(short = 'L', long, group = "data")]
    live_check: bool,
    /// Check the configuration in this file
    #[arg(short = 'x', long, value_name = "FILE", group = "data")]
    xml_file: Option<PathBuf>,
    /// Check the configuration in this argument
    #[arg(short = 'X', long, value_name = "XML", group = "data")]
    xml_text: Option<String>,
    /// Check the configuration on standard input
    #[arg(short = 'p', long, group = "data")]
    xml_pipe: bool,
    /// Save the verified XML to this file
    #[arg(short = 'S', long, value_name = "FILE")]
    save_xml: Option<PathBuf>,
    /// Only the exit code
    #[arg(short = 'q', long)]
    quiet: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_verify -L -V             check the running cluster, with warnings
  crm_verify -x cib.xml        check a file

Exit codes: 0 in order; 78 errors or warnings; 65 not XML; 66 no such file; 102 no daemon";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmVerify>(args)
}

impl Command for CrmVerify {
    const NAME: &'static str = "crm_verify";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let input = read_xml(self.xml_file.as_deref(), self.xml_text.as_deref(), self.xml_pipe)?;
        let (root, name) = match input {
            Some(found) => found,
            None if self.live_check || std::env::var_os("CIB_file").is_some() => (Source::open().cib()?, String::new()),
            None => return Err(Failure::usage("No configuration source specified. Use one of -L, -x, -X, -p")),
        };
        let mut problems = cib::schema::verify(&root);
        if root.name() != "cib" {
            let message = format!("the outermost element is '{}', expected 'cib'", root.name());
            let path = format!("/{}", root.name());
            problems = vec![Problem { severity: Severity::Error, line: root.line(), path, message }];
        }
        if let Some(path) = &self.save_xml {
            let saved = std::fs::write(path, root.to_pretty());
            saved.map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", path.display())))?;
        }
        self.report(&problems, &name)
    }
}

impl CrmVerify {
    fn report(&self, problems: &[Problem], name: &str) -> Result<i32, Failure> {
        let elements = || {
            let mut list = Element::new("problems");
            for p in problems {
                let severity = if p.severity == Severity::Error { "error" } else { "warning" };
                let e = Element::new("problem").with("severity", severity).with("line", p.line.to_string());
                list.push(e.with("path", &p.path).with("message", &p.message));
            }
            vec![list]
        };
        // Text goes to standard error, as the original's does.
        self.common.print(String::new, elements)?;
        let errors = problems.iter().any(|p| p.severity == Severity::Error);
        let silent =
            self.quiet || matches!(self.common.output_as, crate::report::Format::Xml | crate::report::Format::Json);
        if !silent {
            let shown = problems.iter().filter(|p| p.severity == Severity::Error || self.common.verbose > 0 || !errors);
            for p in shown {
                match name {
                    "" => eprintln!("{p}"),
                    name => eprintln!("{name}: {p}"),
                }
            }
            let hidden = errors && self.common.verbose == 0 && problems.iter().any(|p| p.severity == Severity::Warning);
            let more = if hidden { "\n-V may provide more detail" } else { "" };
            match (problems.is_empty(), errors) {
                (true, _) if self.common.verbose > 0 => eprintln!("crm_verify: Configuration valid"),
                (true, _) => {}
                (false, true) => eprintln!("crm_verify: Errors found during check: config not valid{more}"),
                (false, false) => eprintln!("crm_verify: Warnings found during check: config may not be valid"),
            }
        }
        Ok(if problems.is_empty() { crm::OK } else { crm::CONFIG })
    }
}
