//! `crm_verify`: check a configuration, and say where it is wrong.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::report::{Common, Format};
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
        if root.name() == "cib" && !problems.iter().any(|p| p.severity == Severity::Error) {
            problems.extend(scheduled(&root, &problems));
        }
        if let Err(unknown) = cib::schema::Claim::of(&root) {
            let (line, column) = (root.line(), root.column());
            let message = unknown.to_string();
            problems.push(Problem { severity: Severity::Error, line, column, path: "/cib".to_owned(), message });
        }
        if root.name() != "cib" {
            let message = format!("the outermost element is '{}', expected 'cib'", root.name());
            let path = format!("/{}", root.name());
            problems =
                vec![Problem { severity: Severity::Error, line: root.line(), column: root.column(), path, message }];
        }
        if let Some(path) = &self.save_xml {
            let saved = std::fs::write(path, root.to_pretty());
            saved.map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", path.display())))?;
        }
        // An error says more, the one of a cluster without any device among them.
        if problems.iter().all(|p| p.severity != Severity::Error) {
            self.advise(&root);
        }
        self.report(&problems, &name)
    }
}

/// What the scheduler has to say of a sound document beyond what was found already.
fn scheduled(root: &Element, known: &[Problem]) -> Vec<Problem> {
    let run = scheduler::schedule(root, crate::source::now(), &scheduler::Options::default());
    let messages = run.map(|s| s.messages).unwrap_or_default();
    let problem = |m: scheduler::Message| {
        // Its warnings are about the state of the cluster as well, which is no fault of the configuration.
        let severity = if m.severity == scheduler::Severity::Error { Severity::Error } else { Severity::Info };
        Problem { severity, line: 0, column: 0, path: "/cib".to_owned(), message: m.text }
    };
    messages.into_iter().map(problem).filter(|p| !known.iter().any(|k| k.message == p.message)).collect()
}

impl CrmVerify {
    /// What is valid and will not do when it is needed. No fault of the document, so the exit code is the same.
    fn advise(&self, root: &Element) {
        if self.quiet || !matches!(self.common.output_as, Format::Text | Format::Console) {
            return;
        }
        for advice in root.child("configuration").map(crate::fence_check::check).unwrap_or_default() {
            kernel::errln!("warning: {}: {}", advice.what, advice.consequence);
        }
    }

    fn report(&self, problems: &[Problem], name: &str) -> Result<i32, Failure> {
        let worst = problems.iter().map(|p| p.severity).min().unwrap_or(Severity::Info);
        let code = if worst == Severity::Info { crm::OK } else { crm::CONFIG };
        match self.common.output_as {
            // The original's XML has nothing but the result's errors.
            Format::Xml => {
                let shown = problems.iter().filter(|p| p.severity < Severity::Info);
                // The places are in our own form of output.
                let mut errors: Vec<String> = shown.map(|p| format!("{}: {}", p.severity.word(), p.message)).collect();
                if worst == Severity::Error {
                    errors.push("error: CIB did not pass schema validation".to_owned());
                }
                errors.extend(verdict(worst).filter(|_| !self.quiet).map(|_| "Configuration invalid".to_owned()));
                self.common.print_result(code, &errors, String::new, Vec::new)?;
            }
            Format::Json => self.common.print_result(code, &[], String::new, || vec![list(problems)])?,
            Format::None => {}
            // Text goes to standard error, as the original's does.
            Format::Text | Format::Console if !self.quiet => self.say(problems, name, worst),
            Format::Text | Format::Console => {}
        }
        Ok(code)
    }

    /// The worst kind always; the rest with --verbose.
    fn say(&self, problems: &[Problem], name: &str, worst: Severity) {
        // 2.1's has no word of praise, and what programs find there they take for a fault.
        let plain = self.common.verbose > 0 && !crate::args::compat_21();
        let all = |p: &&Problem| plain || self.common.verbose > 0 && p.severity < Severity::Info;
        let shown = |p: &&Problem| all(p) || (p.severity == worst && worst < Severity::Info);
        for p in problems.iter().filter(shown) {
            match name {
                "" => kernel::errln!("{p}"),
                name => kernel::errln!("{name}: {p}"),
            }
        }
        let hint = if self.common.verbose == 0 { " (-V may provide more detail)" } else { "" };
        match verdict(worst) {
            Some(verdict) => kernel::errln!("{verdict}{hint}"),
            None if plain => kernel::errln!("Configuration valid"),
            None => {}
        }
    }
}

fn verdict(worst: Severity) -> Option<&'static str> {
    match worst {
        Severity::Error => Some("Configuration invalid (with errors)"),
        Severity::Warning => Some("Configuration invalid (with warnings)"),
        Severity::Info => None,
    }
}

/// All problems with their places, for programs.
fn list(problems: &[Problem]) -> Element {
    let mut list = Element::new("problems");
    for p in problems {
        let e = Element::new("problem")
            .with("severity", p.severity.word())
            .with("line", p.line.to_string())
            .with("column", p.column.to_string());
        list.push(e.with("path", &p.path).with("message", &p.message));
    }
    list
}
