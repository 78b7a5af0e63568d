//! `cibsecret`: parameters whose value stands in a file of each node, and not in the CIB.
//!
//! The CIB says `lrm://`, [`base::secret`] where the files are. They are made on this node; with Bascule there is no way
//! to run commands on others, so each node is told what to do by words.

use crate::args::{self, Command};
use crate::edit::{self, error};
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use base::secret::{ELSEWHERE, MAX_BYTES};
use clap::{Parser, Subcommand};
use kernel::secrets::{self, SecretError};
use std::ffi::OsString;
use std::io::Read;
use xml::Element;

/// Keep sensitive resource parameters outside the CIB
#[derive(Parser, Debug)]
#[command(name = "cibsecret", disable_version_flag = true, after_help = EXAMPLES)]
pub struct Cibsecret {
    /// Accepted: the CIB is always changed through this node
    #[arg(short = 'C')]
    here: bool,
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    common: Common,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Put a value into this node's file, and lrm:// into the CIB
    Set {
        resource: String,
        parameter: String,
        /// Others see it in the list of processes; without it, or with -, it is read from standard input
        value: Option<String>,
    },
    /// Print the value that stands in this node's file
    Get { resource: String, parameter: String },
    /// Check this node's file against its .sign
    Check { resource: String, parameter: String },
    /// Delete the parameter from the CIB, and this node's file
    Delete { resource: String, parameter: String },
    /// Move a value from the CIB into this node's file
    Stash { resource: String, parameter: String },
    /// Move the value from this node's file into the CIB
    Unstash { resource: String, parameter: String },
    /// Say how the files get to the other nodes
    Sync,
}

const EXAMPLES: &str = "Examples:
  cibsecret set fence-d1 passwd < file          on every node: each has a file of its own
  cibsecret stash fence-d1 passwd               a value that stands in the CIB
  cibsecret check fence-d1 passwd";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Cibsecret>(args)
}

impl Command for Cibsecret {
    const NAME: &'static str = "cibsecret";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let dir = secrets::directory();
        let source = Source::open();
        match &self.what {
            What::Set { resource, parameter, value } => {
                secrets::named(&dir, resource, parameter)?;
                let value = match value.as_deref().filter(|v| *v != "-") {
                    Some(value) => value.to_owned(),
                    None => typed()?,
                };
                // First that it is a resource at all: a file for nothing would be a secret that lies about.
                write_parameter(&source, resource, parameter, Some(ELSEWHERE))?;
                secrets::keep(&dir, resource, parameter, &value)?;
            }
            What::Get { resource, parameter } => {
                self.common.write(&format!("{}\n", secrets::read(&dir, resource, parameter)?))?;
            }
            What::Check { resource, parameter } => drop(secrets::read(&dir, resource, parameter)?),
            What::Delete { resource, parameter } => {
                secrets::named(&dir, resource, parameter)?;
                write_parameter(&source, resource, parameter, None)?;
                secrets::forget(&dir, resource, parameter)?;
            }
            What::Stash { resource, parameter } => {
                let value = parameter_of(&source, resource, parameter)?;
                if value == ELSEWHERE {
                    return Err(error(format!("{parameter} of {resource} is kept in a file already")));
                }
                secrets::keep(&dir, resource, parameter, &value)?;
                write_parameter(&source, resource, parameter, Some(ELSEWHERE))?;
            }
            What::Unstash { resource, parameter } => {
                let value = secrets::read(&dir, resource, parameter)?;
                write_parameter(&source, resource, parameter, Some(&value))?;
                secrets::forget(&dir, resource, parameter)?;
            }
            What::Sync => {
                let dir = dir.display();
                return Err(error(format!(
                    "no commands are run on other nodes; copy {dir} to each, for root alone: \
                     rsync -a --chmod=D700,F600 {dir}/ NODE:{dir}/"
                )));
            }
        }
        Ok(crm::OK)
    }
}

/// A value from standard input, without the line's end.
fn typed() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_BYTES + 2).read_to_string(&mut text);
    read.map_err(|e| Failure::new(crm::NOINPUT, format!("cannot read standard input: {e}")))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(Failure::usage("no value is given, and none on standard input")),
        value => Ok(value.to_owned()),
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Failure {
        let code = match &error {
            SecretError::Name { .. } => crm::USAGE,
            SecretError::Read { .. } => crm::NOSUCH,
            SecretError::Altered { .. } => crm::DIGEST,
            SecretError::TooLong { .. } => crm::DATAERR,
            SecretError::Write { .. } => crm::CANTCREAT,
        };
        Failure::new(code, error.to_string())
    }
}

fn parameter_of(source: &Source, resource: &str, parameter: &str) -> Result<String, Failure> {
    let cib = source.cib()?;
    let e = cib.child("configuration").and_then(|c| edit::find_resource(c, resource));
    let e = e.ok_or_else(|| Failure::new(crm::NOSUCH, format!("resource {resource} does not exist")))?;
    let index = cib::config::Index::new(&cib);
    let value = cib::config::values(e, "instance_attributes", &index).get(parameter).map(|v| (*v).to_owned());
    value.ok_or_else(|| Failure::new(crm::NOSUCH, format!("{resource} has no parameter {parameter}")))
}

fn write_parameter(source: &Source, resource: &str, parameter: &str, value: Option<&str>) -> Result<(), Failure> {
    edit::edit(source, |configuration: &mut Element| {
        let e = edit::resource_mut(configuration, resource)?;
        let pair = (parameter.to_owned(), value.unwrap_or_default().to_owned());
        edit::set_pairs(e, "instance_attributes", &format!("{resource}-instance_attributes"), &[pair]);
        Ok(())
    })
}
