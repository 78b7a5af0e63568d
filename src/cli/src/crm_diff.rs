//! `crm_diff`: make and apply differences of CIBs.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::report::Common;
use crate::source::Failure;
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use std::path::PathBuf;
use xml::Element;

/// Compare two CIBs, or apply a difference to one
#[derive(Parser, Debug)]
#[command(name = "crm_diff", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmDiff {
    /// The original, from this file
    #[arg(short = 'o', long, value_name = "FILE")]
    original: Option<PathBuf>,
    /// The original, from this argument
    #[arg(short = 'O', long, value_name = "XML")]
    original_string: Option<String>,
    /// Compare with this file
    #[arg(short = 'n', long, value_name = "FILE")]
    new: Option<PathBuf>,
    /// Compare with this argument
    #[arg(short = 'N', long, value_name = "XML")]
    new_string: Option<String>,
    /// Apply the difference in this file
    #[arg(short = 'p', long, value_name = "FILE")]
    patch: Option<PathBuf>,
    /// The inputs are CIBs: with their versions
    #[arg(short = 'c', long)]
    cib: bool,
    /// Without versions
    #[arg(short = 'u', long)]
    no_version: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_diff -o old.xml -n new.xml > change.xml     compare (exit code 1: they differ)
  crm_diff -o old.xml -p change.xml               apply
  cibadmin -P -x change.xml                       apply to the cluster";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmDiff>(args)
}

impl Command for CrmDiff {
    const NAME: &'static str = "crm_diff";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let one = |file: &Option<PathBuf>, text: &Option<String>, what: &str| -> Result<Element, Failure> {
            let found = read_xml(file.as_deref(), text.as_deref(), false)?;
            found.map(|(e, _)| e).ok_or_else(|| Failure::usage(format!("needs {what}")))
        };
        let original = one(&self.original, &self.original_string, "the original: -o or -O")?;
        if self.patch.is_some() {
            let patchset = one(&self.patch, &None, "a patch")?;
            let mut patched = original;
            let applied = xml::patch(&mut patched, &patchset);
            applied.map_err(|e| Failure::new(crm::ERROR, format!("could not apply patch: {e}")))?;
            if let Some(target) = patchset.child("version").and_then(|v| v.child("target")).filter(|_| self.cib) {
                cib::Version::of(target)?.write_to(&mut patched);
            }
            self.common.write(&patched.to_pretty())?;
            return Ok(crm::OK);
        }
        let new = one(&self.new, &self.new_string, "something to compare with: -n, -N, or -p to patch")?;
        if original.name() != new.name() {
            let message = format!("the outermost elements differ: '{}' and '{}'", original.name(), new.name());
            return Err(Failure::new(crm::DATAERR, message));
        }
        let versioned = self.cib && !self.no_version;
        let patchset = if versioned { cib::patchset(&original, &new) } else { xml::diff(&original, &new) };
        let Some(patchset) = patchset else { return Ok(crm::OK) };
        self.common.write(&patchset.to_pretty())?;
        Ok(crm::ERROR)
    }
}
