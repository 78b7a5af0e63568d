//! `cibadmin`: query and edit the cluster information base.

mod access;
mod older;

use crate::args::{self, Command};
use crate::report::{Common, quoted};
use crate::source::{Failure, Source};
use base::exit::crm;
use cib::{Op, Options, Request, Target};
use clap::Parser;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use xml::Element;

/// Query and edit the cluster information base (CIB)
#[derive(Parser, Debug)]
#[command(name = "cibadmin", disable_version_flag = true, after_help = EXAMPLES)]
pub struct Cibadmin {
    /// Query the contents of the CIB
    #[arg(short = 'Q', long, group = "command", help_heading = "Commands")]
    query: bool,
    /// Add an object (fails if it exists)
    #[arg(short = 'C', long, group = "command", help_heading = "Commands")]
    create: bool,
    /// Update an object (fails if it does not exist, unless -c)
    #[arg(short = 'M', long, group = "command", help_heading = "Commands")]
    modify: bool,
    /// Replace an object with all it contains
    #[arg(short = 'R', long, group = "command", help_heading = "Commands")]
    replace: bool,
    /// Delete the first object that fits
    #[arg(short = 'D', long, group = "command", help_heading = "Commands")]
    delete: bool,
    /// With --xpath: delete all objects that fit
    #[arg(short = 'd', long, group = "command", requires = "xpath", help_heading = "Commands")]
    delete_all: bool,
    /// Apply a difference as crm_diff writes it
    #[arg(short = 'P', long, group = "command", help_heading = "Commands")]
    patch: bool,
    /// Set the configuration to the newest schema
    #[arg(short = 'u', long, group = "command", help_heading = "Commands")]
    upgrade: bool,
    /// Raise the CIB's epoch by 1
    #[arg(short = 'B', long, group = "command", help_heading = "Commands")]
    bump: bool,
    /// Erase the whole CIB (needs --force)
    #[arg(short = 'E', long, group = "command", help_heading = "Commands")]
    erase: bool,
    /// Print an empty CIB, with SCHEMA as its validate-with
    #[arg(short = 'a', long, group = "command", value_name = "SCHEMA", num_args = 0..=1, default_missing_value = cib::SCHEMA, help_heading = "Commands")]
    empty: Option<String>,
    /// Digest of the on-disk form
    #[arg(short = '5', long, group = "command", help_heading = "Commands")]
    md5_sum: bool,
    /// Digest without who wrote last and when
    #[arg(short = '6', long, group = "command", help_heading = "Commands")]
    md5_sum_versioned: bool,
    /// Take XML from this file
    #[arg(short = 'x', long, value_name = "FILE", help_heading = "Data")]
    xml_file: Option<PathBuf>,
    /// Take XML from this argument
    #[arg(short = 'X', long, value_name = "XML", help_heading = "Data")]
    xml_text: Option<String>,
    /// Take XML from standard input
    #[arg(short = 'p', long, help_heading = "Data")]
    xml_pipe: bool,
    /// Work on this section only (configuration, nodes, resources, constraints, crm_config, status, …)
    #[arg(short = 'o', long, value_name = "SECTION", help_heading = "Scope")]
    scope: Option<String>,
    /// Work on what this XPath selects
    #[arg(short = 'A', long, value_name = "XPATH", help_heading = "Scope")]
    xpath: Option<String>,
    /// With --modify: create what does not exist
    #[arg(short = 'c', long)]
    allow_create: bool,
    /// With --query: only the element, not what it contains
    #[arg(short = 'n', long)]
    no_children: bool,
    /// With --modify: 'value++' and 'value+=N' count up what is there
    #[arg(long)]
    score: bool,
    /// Do it even if it is dangerous
    #[arg(short = 'f', long)]
    force: bool,
    /// Wait at most this many seconds
    #[arg(short = 't', long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Run with the permissions of this user (counts for root and hacluster only)
    #[arg(short = 'U', long, value_name = "NAME")]
    user: Option<String>,
    /// With --query and --user: show what that user may do with each element
    #[arg(short = 'S', long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "auto")]
    show_access: Option<access::Form>,
    /// Accepted: this node's copy is always the one that is asked
    #[arg(short = 'l', long)]
    local: bool,
    /// Accepted: every change is acknowledged before the command ends
    #[arg(short = 's', long)]
    sync_call: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  cibadmin -Q                                         the whole CIB
  cibadmin -Q -o resources                            one section
  cibadmin -Q --xpath \"//primitive[@id='vip']\"        what an XPath selects
  cibadmin -C -o constraints -X '<rsc_location id=\"l\" rsc=\"vip\" node=\"d1\" score=\"100\"/>'
  cibadmin -M -o nodes -X '<node id=\"1\"><instance_attributes id=\"nodes-1\"/></node>'
  cibadmin -R -x cib.xml                              replace the whole CIB
  cibadmin -D --xpath \"//rsc_location[@id='l']\"
  CIB_file=cib.xml cibadmin -Q                        work on a file instead of the cluster

Exit codes: 0 done; 64 usage; 78 breaks the schema; 102 no daemon; 103 older than the CIB; 105 no such object; 108 exists already";

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Cibadmin>(args)
}

impl Command for Cibadmin {
    const NAME: &'static str = "cibadmin";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        if let Some(schema) = &self.empty {
            self.common.write(&cib::empty_root(schema).to_pretty())?;
            return Ok(crm::OK);
        }
        let shown_for = match (&self.show_access, &self.user) {
            (Some(_), None) if self.query => return Err(Failure::usage("-U/--user is required with -S/--show-access")),
            // Whoever looks sees all; only what is said of it is another's.
            (Some(form), Some(user)) if self.query => Some((*form, user)),
            _ => None,
        };
        if let Some(user) = &self.user {
            crate::client::act_as(if shown_for.is_some() { "" } else { user });
        }
        let mut source = Source::open();
        if let (Source::Live(client), Some(seconds)) = (&mut source, self.timeout) {
            client.timeout = Duration::from_secs(seconds.max(1));
        }
        if self.md5_sum || self.md5_sum_versioned {
            return self.digest(&source);
        }
        let mut request = self.request()?;
        if args::compat_21() {
            older::keep(&source, &mut request);
        }
        let changed = source.perform(&request, false).map_err(|mut f| {
            f.message = format!("CIB API call failed: {}", f.message);
            f
        })?;
        if let (Some((form, user)), Some(answer)) = (shown_for, &changed.answer) {
            self.common.write(&show_access(answer, user, form)?)?;
        } else if let Some(answer) = changed.answer.map(older::shown) {
            let wrapped = || vec![Element::new("cib-query").with("xml", answer.to_compact())];
            match self.common.output_as {
                crate::report::Format::Json => self.common.print(String::new, wrapped)?,
                crate::report::Format::Xml => {
                    self.common.print(String::new, || vec![quoted("output", &answer.to_pretty())])?;
                }
                _ => self.common.write(&answer.to_pretty())?,
            }
        }
        Ok(crm::OK)
    }
}

impl Cibadmin {
    fn op(&self) -> Result<Op, Failure> {
        let table = [
            (self.query, Op::Query),
            (self.create, Op::Create),
            (self.modify, Op::Modify),
            (self.replace, Op::Replace),
            (self.delete || self.delete_all, Op::Delete),
            (self.patch, Op::Patch),
            (self.upgrade, Op::Upgrade),
            (self.bump, Op::Bump),
            (self.erase, Op::Erase),
        ];
        let chosen = table.iter().find(|(chosen, _)| *chosen).map(|(_, op)| *op);
        chosen.ok_or_else(|| Failure::usage("Must specify a command option (such as --query; see --help)"))
    }

    fn request(&self) -> Result<Request, Failure> {
        let op = self.op()?;
        if matches!(op, Op::Erase) && !self.force {
            let message = "The supplied command is considered dangerous. To prevent accidental destruction of the cluster, \
                           the --force flag is required in order to proceed.";
            return Err(Failure::new(crm::UNSAFE, message));
        }
        let target = match (&self.xpath, &self.scope) {
            (Some(expression), _) => Target::XPath(expression.clone()),
            (None, Some(section)) => Target::Section(section.clone()),
            (None, None) => Target::Whole,
        };
        let takes_input = matches!(op, Op::Create | Op::Modify | Op::Replace | Op::Patch)
            || (op == Op::Delete && self.xpath.is_none());
        let payload = if takes_input { self.input()? } else { None };
        if takes_input && payload.is_none() {
            let message = format!("--{} needs XML: give --xml-file, --xml-text or --xml-pipe", op.name());
            return Err(Failure::usage(message));
        }
        let mut request = Request::new(op, target, payload);
        request.options = Options {
            allow_create: self.allow_create,
            multiple: self.delete_all,
            no_children: self.no_children,
            score_update: self.score,
            force: self.force,
        };
        request.client = Self::NAME.to_owned();
        request.user = user_name();
        request.origin = crate::source::host_name();
        Ok(request)
    }

    fn input(&self) -> Result<Option<Element>, Failure> {
        read_xml(self.xml_file.as_deref(), self.xml_text.as_deref(), self.xml_pipe).map(|found| found.map(|(e, _)| e))
    }

    fn digest(&self, source: &Source) -> Result<i32, Failure> {
        let root = match self.input()? {
            Some(root) => root,
            None => source.cib()?,
        };
        let digest = match self.md5_sum {
            true => cib::digest_on_disk(&root),
            false => cib::digest_versioned(&root),
        };
        let element = || vec![Element::new("md5-sum").with("digest", &digest)];
        self.common.print(|| format!("{digest}\n"), element)?;
        Ok(crm::OK)
    }
}

fn show_access(answer: &Element, user: &str, form: access::Form) -> Result<String, Failure> {
    if user.contains(['<', '>', '&']) {
        return Err(Failure::usage(format!("'{user}' is not a user's name")));
    }
    let subject = cib::acl::Subject::new(user, crate::source::groups_of(user));
    let subject =
        subject.ok_or_else(|| Failure::usage(format!("no ACL applies to {user}, who may read and write all")))?;
    let shades = cib::acl::shades(answer, &subject)?;
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    Ok(access::render(answer, &shades, user, form, terminal))
}

pub fn user_name() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    user.map(|u| u.name).unwrap_or_default()
}

/// A file's text; of one that ends in `.bz2`, as the history of inputs has them, what is in it.
pub fn text_of(path: &std::path::Path) -> std::io::Result<String> {
    if path.extension().is_none_or(|end| end != "bz2") {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    let limit = xml::MAX_BYTES as u64;
    bzip2::read::MultiBzDecoder::new(kernel::files::open_regular(path)?).take(limit + 1).read_to_string(&mut text)?;
    match text.len() as u64 > limit {
        true => Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"))),
        false => Ok(text),
    }
}

/// XML from a file, an argument or standard input, with the name to use in messages; a file wins over text over pipe.
pub fn read_xml(
    file: Option<&std::path::Path>,
    text: Option<&str>,
    pipe: bool,
) -> Result<Option<(Element, String)>, Failure> {
    // A file called `-` is standard input.
    let pipe = pipe || file.is_some_and(|f| f.as_os_str() == "-");
    let (text, name) = match (file.filter(|f| f.as_os_str() != "-"), text, pipe) {
        (Some(path), _, _) => {
            let name = path.display().to_string();
            let text = text_of(path).map_err(|e| Failure::new(crm::NOINPUT, format!("cannot read {name}: {e}")))?;
            (text, name)
        }
        (None, Some(text), _) => (text.to_owned(), "XML argument".to_owned()),
        (None, None, true) => {
            let mut text = String::new();
            let limit = xml::MAX_BYTES as u64;
            let read = std::io::stdin().take(limit).read_to_string(&mut text);
            read.map_err(|e| Failure::new(crm::NOINPUT, format!("cannot read standard input: {e}")))?;
            (text, "standard input".to_owned())
        }
        (None, None, false) => return Ok(None),
    };
    let root = xml::parse(&text).map_err(|e| Failure::new(crm::DATAERR, format!("{name}: {e}")))?;
    Ok(Some((root, name)))
}
