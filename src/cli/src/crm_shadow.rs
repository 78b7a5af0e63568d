//! `crm_shadow`: a copy of the configuration to work on, which the cluster knows nothing of until it is committed.
//!
//! With `CIB_shadow` set to its name, every command works on the copy ([`Source::open`]).

use crate::args::{self, Command};
use crate::patchset;
use crate::report::{Common, Format, quoted};
use crate::source::{Failure, Source, shadow_file};
use base::exit::crm;
use cib::{Op, Request, Target};
use clap::Parser;
use std::ffi::OsString;
use std::path::Path;
use xml::{Element, Node};

/// Work on a copy of the configuration
#[derive(Parser, Debug)]
#[command(name = "crm_shadow", disable_version_flag = true, after_help = EXAMPLES)]
pub struct CrmShadow {
    /// Show the active copy's name
    #[arg(short = 'w', long, group = "command", help_heading = "Queries")]
    which: bool,
    /// Show what the active copy holds
    #[arg(short = 'p', long, group = "command", help_heading = "Queries")]
    display: bool,
    /// Show how the active copy differs from the cluster's configuration
    #[arg(short = 'd', long, group = "command", help_heading = "Queries")]
    diff: bool,
    /// Show the active copy's file
    #[arg(short = 'F', long, group = "command", help_heading = "Queries")]
    file: bool,
    /// Make a copy of the cluster's configuration
    #[arg(short = 'c', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    create: Option<String>,
    /// Make an empty configuration
    #[arg(short = 'e', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    create_empty: Option<String>,
    /// Give the cluster the copy's configuration
    #[arg(short = 'C', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    commit: Option<String>,
    /// Delete a copy
    #[arg(short = 'D', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    delete: Option<String>,
    /// Edit the active copy with $EDITOR
    #[arg(short = 'E', long, group = "command", help_heading = "Commands")]
    edit: bool,
    /// Make the copy anew from the cluster's configuration
    #[arg(short = 'r', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    reset: Option<String>,
    /// Go on with this copy
    #[arg(short = 's', long, value_name = "NAME", group = "command", help_heading = "Commands")]
    switch: Option<String>,
    /// Do it even if something is lost
    #[arg(short = 'f', long)]
    force: bool,
    /// Start no shell
    #[arg(short = 'b', long)]
    batch: bool,
    /// With --commit: the status section too
    #[arg(short = 'a', long)]
    all: bool,
    /// With --create-empty: the schema
    #[arg(short = 'v', long, value_name = "SCHEMA")]
    validate_with: Option<String>,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  crm_shadow -b -c test; export CIB_shadow=test      make a copy, and use it
  crm_shadow --diff                                  what has changed in it
  crm_simulate -S -L                                 what the cluster would do with it
  crm_shadow --commit test --force                   give it to the cluster

Exit codes: 0 done; 1 the copy differs (--diff); 64 usage, or it needs --force; 73 the copy exists; 105 no such copy or CIB";

/// The file that an active copy is loaded from.
const VARIABLE: &str = "CIB_shadow";
/// What a forced command would destroy.
const NEEDS_FORCE: &str = "the --force flag is required in order to proceed.";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<CrmShadow>(args)
}

impl Command for CrmShadow {
    const NAME: &'static str = "crm_shadow";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if let Some(name) = &self.create {
            return self.make(name, Content::Cluster);
        }
        if let Some(name) = &self.create_empty {
            return self.make(name, Content::Empty);
        }
        if let Some(name) = &self.reset {
            return self.reset(name);
        }
        if let Some(name) = &self.commit {
            return self.commit(name);
        }
        if let Some(name) = &self.delete {
            return self.delete(name);
        }
        if let Some(name) = &self.switch {
            accessible(name)?;
            return self.enter(name, "To switch to the named shadow instance");
        }
        if self.which || self.display || self.diff || self.file || self.edit {
            return self.on_active();
        }
        Err(Failure::usage("Must specify a query or command option"))
    }
}

enum Content {
    Cluster,
    Empty,
}

impl CrmShadow {
    fn on_active(&self) -> Result<i32, Failure> {
        let name = active().ok_or_else(|| Failure::new(crm::NOSUCH, "No active shadow configuration defined"))?;
        let path = shadow_file(&name)?;
        let instance = || Element::new("shadow").with("instance", &name);
        if self.which {
            self.common.print(|| format!("{name}\n"), || vec![instance()])?;
        } else if self.file {
            let path = path.display().to_string();
            self.common.print(|| format!("{path}\n"), || vec![instance().with("file", &path)])?;
        } else if self.edit {
            accessible(&name)?;
            run_program(&editor(), &[path.as_os_str()])?;
        } else if self.display {
            accessible(&name)?;
            let text = Source::File(path).cib()?.to_pretty();
            self.common.print(|| text.clone(), || vec![instance().with_child(quoted("content", &text))])?;
        } else {
            return self.difference(&name, &path);
        }
        Ok(crm::OK)
    }

    fn difference(&self, name: &str, path: &Path) -> Result<i32, Failure> {
        accessible(name)?;
        let old = Source::beneath_shadow().cib().map_err(unreachable)?;
        let new = Source::File(path.to_owned()).cib()?;
        let instance = Element::new("shadow").with("instance", name);
        let Some(difference) = patchset::between(&old, &new) else {
            self.common.print(String::new, || vec![instance])?;
            return Ok(crm::OK);
        };
        let elements = || vec![instance.with_child(quoted("xml-patchset", &difference.to_pretty()))];
        self.common.print_result(crm::ERROR, &[], || patchset::text(&difference), elements)?;
        Ok(crm::ERROR)
    }

    /// `--create` and `--create-empty`.
    fn make(&self, name: &str, content: Content) -> Result<i32, Failure> {
        if !self.force && shadow_file(name)?.exists() {
            let message = format!(
                "A shadow instance '{name}' already exists.\nTo prevent accidental destruction of the shadow file, {NEEDS_FORCE}"
            );
            return Err(Failure::new(crm::CANTCREAT, message));
        }
        self.fill(name, &content)?;
        self.enter(name, "A new shadow instance was created. To begin using it")
    }

    fn reset(&self, name: &str) -> Result<i32, Failure> {
        self.allowed(name, "The reset command overwrites the active shadow configuration.", "the shadow file")?;
        self.fill(name, &Content::Cluster)?;
        self.enter(name, "A new shadow instance was created. To begin using it")
    }

    fn fill(&self, name: &str, content: &Content) -> Result<(), Failure> {
        let path = shadow_file(name)?;
        let root = match content {
            Content::Cluster => Source::beneath_shadow().cib().map_err(unreachable)?,
            Content::Empty => {
                let schema = self.validate_with.as_deref().unwrap_or(cib::SCHEMA);
                let root = cib::empty_root(schema);
                self.note(&format!("Created new {schema} configuration"));
                root
            }
        };
        if let Some(dir) = path.parent() {
            let made = std::fs::create_dir_all(dir);
            made.map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot make {}: {e}", dir.display())))?;
        }
        // The copy is the user's own: it may hold secrets.
        kernel::files::replace(&path, root.to_pretty().as_bytes(), 0o600)
            .map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", path.display())))
    }

    /// With its status (`--all`), or its configuration alone.
    fn commit(&self, name: &str) -> Result<i32, Failure> {
        self.allowed(name, "The commit command overwrites the active cluster configuration.", "the cluster")?;
        accessible(name)?;
        let cluster = Source::beneath_shadow();
        cluster.cib().map_err(unreachable)?;
        let copy = Source::File(shadow_file(name)?).cib()?;
        let (target, payload) = match self.all {
            true => (Target::Whole, Some(copy)),
            false => (Target::Section("configuration".to_owned()), copy.child("configuration").cloned()),
        };
        let request = crate::attributes::sign(Request::new(Op::Replace, target, payload));
        cluster.call(request).map_err(|f| {
            let message = format!("Could not commit shadow instance '{name}' to the CIB: {}", f.message);
            Failure { message, ..f }
        })?;
        Ok(crm::OK)
    }

    fn delete(&self, name: &str) -> Result<i32, Failure> {
        self.allowed(name, "The delete command removes the specified shadow file.", "the shadow file")?;
        let path = shadow_file(name)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::new(crm::ERROR, format!("Could not remove shadow instance '{name}': {e}")));
            }
            _ => {}
        }
        if active().as_deref() == Some(name) {
            let text = format!(
                "Remember to unset the {VARIABLE} variable by entering the following into your shell:\n\tunset {VARIABLE}"
            );
            self.instruct(&text)?;
        } else {
            self.common.print(String::new, Vec::new)?;
        }
        Ok(crm::OK)
    }

    /// Whether what destroys something was meant.
    fn allowed(&self, name: &str, what: &str, destroyed: &str) -> Result<(), Failure> {
        if self.force {
            return Ok(());
        }
        let other = active().filter(|a| a != name).map(|a| {
            format!("Additionally, the supplied shadow instance ({name}) is not the same as the active one ({a}).\n")
        });
        let other = other.unwrap_or_default();
        Err(Failure::usage(format!("{what}\n{other}To prevent accidental destruction of {destroyed}, {NEEDS_FORCE}")))
    }

    /// In a shell of its own; or says how to go on in this one.
    fn enter(&self, name: &str, why: &str) -> Result<i32, Failure> {
        if self.batch || active().as_deref() == Some(name) || !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
            let text = format!("{why}, enter the following into your shell:\n\texport {VARIABLE}={name}");
            self.instruct(&text)?;
            return Ok(crm::OK);
        }
        kernel::errln!("The commands of this shell work on '{name}'; Ctrl-D ends it");
        let shell = std::env::var_os("SHELL").filter(|s| !s.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        let ended = std::process::Command::new(&shell).env(VARIABLE, name).status();
        ended.map_err(|e| Failure::new(crm::OSERR, format!("cannot start {}: {e}", shell.display())))?;
        Ok(crm::OK)
    }

    fn instruct(&self, text: &str) -> Result<(), Failure> {
        let element = || {
            let mut e = Element::new("instruction");
            e.nodes_mut().push(Node::Text(text.to_owned()));
            vec![e]
        };
        self.common.print(|| format!("{text}\n"), element)
    }

    /// For people only.
    fn note(&self, text: &str) {
        if matches!(self.common.output_as, Format::Text | Format::Console) {
            crate::report::put(&format!("{text}\n"));
        }
    }
}

/// The active copy's name.
fn active() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())
}

fn unreachable(failure: Failure) -> Failure {
    match failure.code {
        crm::NOSUCH => Failure::new(crm::NOSUCH, "Could not connect to CIB: No such device or address"),
        _ => failure,
    }
}

fn accessible(name: &str) -> Result<(), Failure> {
    match std::fs::metadata(shadow_file(name)?) {
        Ok(_) => Ok(()),
        Err(e) => {
            let why = match e.kind() {
                std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
                _ => e.to_string(),
            };
            Err(Failure::new(crm::NOSUCH, format!("Could not access shadow instance '{name}': {why}")))
        }
    }
}

fn editor() -> OsString {
    let named = std::env::var_os("EDITOR").or_else(|| std::env::var_os("VISUAL"));
    named.filter(|e| !e.is_empty()).unwrap_or_else(|| "vi".into())
}

fn run_program(program: &OsString, args: &[&std::ffi::OsStr]) -> Result<(), Failure> {
    let ended = std::process::Command::new(program).args(args).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(crm::ERROR, format!("{}: {status}", program.display()))),
        Err(e) => Err(Failure::new(crm::OSERR, format!("cannot start {}: {e}", program.display()))),
    }
}
