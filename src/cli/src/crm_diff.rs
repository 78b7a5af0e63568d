//! `crm_diff`: make and apply differences of CIBs.

use crate::args::{self, Command};
use crate::cibadmin::read_xml;
use crate::report::{Common, quoted};
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
    /// Guides name the files without options
    #[arg(hide = true, num_args = 2, value_names = ["OLD", "NEW"])]
    files: Vec<PathBuf>,
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
        if self.cib && self.no_version {
            return Err(Failure::usage("-u/--no-version incompatible with -c/--cib"));
        }
        if let [old, new] = self.files.as_slice() {
            if self.original.is_some()
                || self.new.is_some()
                || self.original_string.is_some()
                || self.new_string.is_some()
            {
                return Err(Failure::usage(format!(
                    "{} and {} stand beside -o or -n: name each file once",
                    old.display(),
                    new.display()
                )));
            }
            kernel::errln!("crm_diff: warning: taken as -o {} -n {}", old.display(), new.display());
        }
        let original = self.original.clone().or_else(|| self.files.first().cloned());
        let original = one(&original, &self.original_string, "the original: -o or -O")?;
        if self.patch.is_some() {
            return self.apply(original);
        }
        let new = self.new.clone().or_else(|| self.files.get(1).cloned());
        let mut new = one(&new, &self.new_string, "something to compare with: -n, -N, or -p to patch")?;
        if original.name() != new.name() {
            let message = format!("the outermost elements differ: '{}' and '{}'", original.name(), new.name());
            return Err(Failure::new(crm::DATAERR, message));
        }
        if self.no_version {
            cib::Version::of(&original)?.write_to(&mut new);
        }
        // A CIB's attributes have no order.
        let difference = if self.cib { xml::diff(&original, &new) } else { xml::diff_as_written(&original, &new) };
        let Some(mut patchset) = difference else { return Ok(crm::OK) };
        if !self.no_version {
            cib::add_versions(&mut patchset, &original, &new);
        }
        if self.cib {
            patchset.set("digest", cib::digest_versioned(&new));
        }
        self.show("patchset", &patchset, crm::ERROR, &[])?;
        Ok(crm::ERROR)
    }
}

fn one(file: &Option<PathBuf>, text: &Option<String>, what: &str) -> Result<Element, Failure> {
    let found = read_xml(file.as_deref(), text.as_deref(), false)?;
    found.map(|(e, _)| e).ok_or_else(|| Failure::usage(format!("needs {what}")))
}

impl CrmDiff {
    /// A digest that the patch has must be that of what comes out.
    fn apply(&self, mut cib: Element) -> Result<i32, Failure> {
        let patchset = one(&self.patch, &None, "a patch")?;
        let ignored = self.no_version.then(|| "Warning: -u/--no-version ignored with -p/--patch".to_owned());
        if let Some(warning) = ignored.as_ref().filter(|_| self.common.is_text()) {
            kernel::errln!("{warning}");
        }
        let refused = |why: &str| Failure {
            details: ignored.clone().into_iter().filter(|_| !self.common.is_text()).collect(),
            ..Failure::new(crm::ERROR, format!("Could not apply patch: {why}"))
        };
        xml::patch(&mut cib, &patchset).map_err(|e| refused(&e.to_string()))?;
        if patchset.attr("digest").is_some_and(|digest| digest != cib::digest_versioned(&cib)) {
            return Err(refused("Application of update diff failed"));
        }
        let notes: Vec<String> = ignored.into_iter().collect();
        self.show("updated", &cib, crm::OK, &notes)?;
        Ok(crm::OK)
    }

    fn show(&self, name: &str, document: &Element, code: i32, notes: &[String]) -> Result<(), Failure> {
        let text = document.to_pretty();
        self.common.print_result(code, notes, || text.clone(), || vec![quoted(name, &text)])
    }
}
