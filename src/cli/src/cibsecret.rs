//! `cibsecret`: parameters whose value stands in a file of each node, and not in the CIB.
//!
//! `DIR/RESOURCE/PARAMETER` holds the value, `.sign` beside it its MD5; the CIB says `lrm://`. The files are made on this node;
//! with Bascule there is no way to run commands on others, so each node is told what to do by words.

use crate::args::{self, Command};
use crate::edit::{self, error};
use crate::report::Common;
use crate::source::{Failure, Source};
use base::exit::crm;
use base::secret::ELSEWHERE;
use clap::{Parser, Subcommand};
use md5::{Digest, Md5};
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use xml::Element;

const DIR: &str = "/var/lib/pacemaker/lrm/secrets";

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
    Set { resource: String, parameter: String, value: String },
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
  cibsecret set fence-d1 passwd SUPERSECRET     on every node: each has a file of its own
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
        let dir = std::env::var_os("BASCULE_SECRETS_DIR").map_or_else(|| DIR.into(), PathBuf::from);
        let source = Source::open();
        match &self.what {
            What::Set { resource, parameter, value } => {
                let file = file(&dir, resource, parameter)?;
                // First that it is a resource at all: a file for nothing would be a secret that lies about.
                write_parameter(&source, resource, parameter, Some(ELSEWHERE))?;
                keep(&file, value)?;
            }
            What::Get { resource, parameter } => {
                self.common.write(&format!("{}\n", checked(&file(&dir, resource, parameter)?)?))?;
            }
            What::Check { resource, parameter } => drop(checked(&file(&dir, resource, parameter)?)?),
            What::Delete { resource, parameter } => {
                let file = file(&dir, resource, parameter)?;
                write_parameter(&source, resource, parameter, None)?;
                forget(&file)?;
            }
            What::Stash { resource, parameter } => {
                let file = file(&dir, resource, parameter)?;
                let value = parameter_of(&source, resource, parameter)?;
                if value == ELSEWHERE {
                    return Err(error(format!("{parameter} of {resource} is kept in a file already")));
                }
                keep(&file, &value)?;
                write_parameter(&source, resource, parameter, Some(ELSEWHERE))?;
            }
            What::Unstash { resource, parameter } => {
                let file = file(&dir, resource, parameter)?;
                write_parameter(&source, resource, parameter, Some(&checked(&file)?))?;
                forget(&file)?;
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

fn file(dir: &Path, resource: &str, parameter: &str) -> Result<PathBuf, Failure> {
    let plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    match plain(resource) && plain(parameter) {
        true => Ok(dir.join(resource).join(parameter)),
        false => Err(Failure::usage("a resource and a parameter are named")),
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".sign");
    name.into()
}

fn sum(value: &str) -> String {
    Md5::digest(value.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

fn keep(file: &Path, value: &str) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", file.display()));
    let dir = file.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
    kernel::files::replace(file, value.as_bytes(), 0o600).map_err(cannot)?;
    kernel::files::replace(&beside(file), format!("{}\n", sum(value)).as_bytes(), 0o600).map_err(cannot)
}

fn forget(file: &Path) -> Result<(), Failure> {
    for file in [file, &beside(file)] {
        match std::fs::remove_file(file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(crm::CANTCREAT, format!("cannot remove {}: {e}", file.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

fn checked(file: &Path) -> Result<String, Failure> {
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file);
        text.map_err(|e| Failure::new(crm::NOSUCH, format!("cannot read {}: {e}", file.display())))
    };
    let (value, signed) = (read(file)?, read(&beside(file))?);
    let value = value.trim_end_matches(['\n', '\r']);
    match signed.split_whitespace().next() == Some(sum(value).as_str()) {
        true => Ok(value.to_owned()),
        false => Err(Failure::new(crm::DIGEST, format!("{} does not fit its .sign", file.display()))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_is_kept_signed_for_root_alone_checked_and_forgotten() {
        let dir = std::env::temp_dir().join(format!("bascule-secrets-{}", std::process::id()));
        let kept = file(&dir, "db", "passwd").expect("plain names");
        keep(&kept, "s3cret").expect("kept");
        assert_eq!(checked(&kept).expect("sound"), "s3cret");
        let mode = |p: &Path| std::fs::metadata(p).map(|m| m.permissions().mode() & 0o777).ok();
        assert_eq!((mode(&kept), mode(&beside(&kept)), mode(&dir)), (Some(0o600), Some(0o600), Some(0o700)));
        std::fs::write(&kept, "another").expect("written");
        assert_eq!(checked(&kept).map_err(|f| f.code), Err(crm::DIGEST));
        forget(&kept).expect("gone");
        assert_eq!(checked(&kept).map_err(|f| f.code), Err(crm::NOSUCH));
        assert!(file(&dir, "../x", "y").is_err() && file(&dir, "x", ".y").is_err());
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
