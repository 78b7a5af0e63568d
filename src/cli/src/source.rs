//! Where a command's CIB comes from and goes to: the running cluster, or the file that `CIB_file` names.

use crate::client::{CallError, Client};
use base::exit::crm;
use base::{WallTime, Word, XmlText};
use cib::acl::Subject;
use cib::{Cib, CibError, Op, Request, Target};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use wire::api::{CibCall, CibOp, CibOptions, CibReply, CibTarget, ExpectedVersion, NodeStatus};
use xml::Element;

/// Why a command ends early: what it says and the code it ends with.
#[derive(Debug)]
pub struct Failure {
    pub code: i32,
    pub message: String,
    /// Lines below the message, e.g. what exactly breaks the schema.
    pub details: Vec<String>,
}

impl Failure {
    pub fn new(code: i32, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), details: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(crm::USAGE, message)
    }
}

/// Text as the user gave it for `what`, or why the cluster cannot take it.
pub fn checked<const MAX: usize>(what: &str, text: &str) -> Result<XmlText<MAX>, Failure> {
    XmlText::checked(text).map_err(|e| Failure::new(crm::DATAERR, format!("{what}: {e}")))
}

/// [`checked`], of what may be left out.
pub fn checked_if<const MAX: usize>(what: &str, text: Option<&str>) -> Result<Option<XmlText<MAX>>, Failure> {
    text.map(|t| checked(what, t)).transpose()
}

impl From<CallError> for Failure {
    fn from(e: CallError) -> Failure {
        Failure::new(e.exit_code(), e.to_string())
    }
}

impl From<CibError> for Failure {
    fn from(e: CibError) -> Failure {
        let details = match &e {
            CibError::Invalid { problems } => {
                // Lines would be those of another text than the caller's.
                problems.iter().map(|p| format!("{}: {}: {}", p.severity.word(), p.path, p.message)).collect()
            }
            _ => Vec::new(),
        };
        Failure { code: e.exit_code(), message: e.to_string(), details }.in_their_words()
    }
}

/// What the originals say and no more; ours goes on with what exactly is wrong.
const THEIR_WORDS: [&str; 2] = ["Permission denied", "Update was older than existing configuration"];

impl Failure {
    /// The originals' words as the message, and what we say beyond them as a detail.
    fn in_their_words(mut self) -> Failure {
        let Some(words) = THEIR_WORDS.iter().find(|w| self.message.starts_with(**w)) else { return self };
        let rest = self.message.split_off(words.len());
        let rest = rest.trim_start_matches([':', ' ']).to_owned();
        if !rest.is_empty() {
            self.details.insert(0, rest);
        }
        self
    }
}

/// Asks and changes the CIB.
pub enum Source {
    Live(Client),
    File(PathBuf),
}

/// What a change has come to.
pub struct Changed {
    pub answer: Option<Element>,
}

impl Source {
    /// The copy that `CIB_shadow` names, else the file of `CIB_file`, else the daemon.
    pub fn open() -> Source {
        let shadow = std::env::var("CIB_shadow").ok().filter(|name| !name.is_empty());
        match shadow.and_then(|name| shadow_file(&name).ok()) {
            Some(file) => Source::File(file),
            None => Source::beneath_shadow(),
        }
    }

    /// Where a copy comes from and goes to: `CIB_file`, else the daemon.
    pub fn beneath_shadow() -> Source {
        match std::env::var_os("CIB_file").filter(|f| !f.is_empty()) {
            Some(file) => Source::File(file.into()),
            None => Source::Live(Client::from_env()),
        }
    }

    pub fn client(&self) -> Option<&Client> {
        match self {
            Source::Live(client) => Some(client),
            Source::File(_) => None,
        }
    }

    /// The whole document.
    pub fn cib(&self) -> Result<Element, Failure> {
        let found = self.perform(&Request::query(Target::Whole), false)?;
        found.answer.ok_or_else(|| Failure::new(crm::PROTOCOL, "no CIB in the answer"))
    }

    /// Performs a request; a change is held by the cluster (or in the file) when this returns.
    pub fn call(&self, request: Request) -> Result<Changed, Failure> {
        self.perform(&request, false)
    }

    /// [`Source::call`]; with `dry_run` nothing is kept.
    pub fn perform(&self, request: &Request, dry_run: bool) -> Result<Changed, Failure> {
        writable(request)?;
        match self {
            Source::Live(client) => call_daemon(client, request, dry_run),
            Source::File(path) => call_file(path, request, dry_run),
        }
    }

    /// Puts another document in the place of a file's; the running cluster's cannot be replaced like that.
    pub fn overwrite(&self, root: &Element) -> Result<(), Failure> {
        match self {
            Source::Live(_) => {
                let message = "a simulated state is not written into the running cluster: use CIB_file or crm_shadow";
                Err(Failure::usage(message))
            }
            Source::File(path) => write_file(path, root),
        }
    }

    /// What the daemon says of itself; `None` with a file.
    pub fn status(&self) -> Result<Option<NodeStatus>, Failure> {
        match self {
            Source::Live(client) => Ok(Some(client.get("/v1/status")?)),
            Source::File(_) => Ok(None),
        }
    }

    /// The node that the command runs on: as the daemon calls it; with a file the host's name.
    pub fn local_node(&self) -> Result<String, Failure> {
        Ok(match self.status()? {
            Some(status) => status.name,
            None => host_name(),
        })
    }
}

/// Where root's copies of the configuration are kept, for crmsh looks there too.
const SHADOWS: &str = "/var/lib/pacemaker/cib";

/// The file of a copy of the configuration.
pub fn shadow_file(name: &str) -> Result<PathBuf, Failure> {
    if name.is_empty() || name.contains('/') {
        return Err(Failure::usage(format!("'{name}' is no name for a shadow instance")));
    }
    let home = || match std::env::var_os("HOME").filter(|_| !nix::unistd::geteuid().is_root()) {
        Some(home) => PathBuf::from(home).join(".cib"),
        None => PathBuf::from(SHADOWS),
    };
    let dir = std::env::var_os("CIB_shadow_dir").filter(|d| !d.is_empty()).map_or_else(home, PathBuf::from);
    Ok(dir.join(format!("shadow.{name}")))
}

/// `CIB_file=-`: read once, however often it is asked for.
const STANDARD_INPUT: &str = "-";

fn text_of(path: &Path) -> std::io::Result<String> {
    static READ: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    if path.as_os_str() != STANDARD_INPUT {
        return std::fs::read_to_string(path);
    }
    if let Some(text) = READ.get() {
        return Ok(text.clone());
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(std::io::stdin(), xml::MAX_BYTES as u64), &mut text)?;
    Ok(READ.get_or_init(|| text).clone())
}

pub fn host_name() -> String {
    nix::unistd::gethostname().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What cannot be kept as it was given is refused here, whatever command it came through: a tree's text would hold something
/// else instead.
fn writable(request: &Request) -> Result<(), Failure> {
    match request.payload.as_ref().and_then(Element::unwritable) {
        Some(what) => Err(Failure::new(crm::DATAERR, what)),
        None => request.steps.iter().try_for_each(writable),
    }
}

/// A request as the daemon's API has it.
fn call_of(request: &Request, dry_run: bool) -> Result<CibCall, Failure> {
    let op = match request.op {
        Op::Query => CibOp::Query,
        Op::Create => CibOp::Create,
        Op::Modify => CibOp::Modify,
        Op::Replace => CibOp::Replace,
        Op::Delete if request.options.multiple => CibOp::DeleteAll,
        Op::Delete => CibOp::Delete,
        Op::Patch => CibOp::Patch,
        Op::Bump => CibOp::Bump,
        Op::Erase => CibOp::Erase,
        Op::Upgrade => CibOp::Upgrade,
        Op::Transaction => CibOp::Transaction,
    };
    let target = match &request.target {
        Target::Whole => CibTarget::Whole,
        Target::Section(name) => CibTarget::Section(checked("section", name)?),
        Target::XPath(expression) => CibTarget::XPath(checked("XPath", expression)?),
    };
    let options = CibOptions {
        allow_create: request.options.allow_create,
        no_children: request.options.no_children,
        force: request.options.force,
        score: request.options.score_update,
        dry_run,
        client: Word::cleaned(&request.client),
        ..CibOptions::default()
    };
    let expected = request.expected.map(|e| ExpectedVersion {
        admin_epoch: e.admin_epoch,
        epoch: e.epoch,
        num_updates: e.num_updates,
    });
    let steps = request.steps.iter().map(|step| call_of(step, dry_run)).collect::<Result<_, _>>()?;
    Ok(CibCall { op, target, xml: request.payload.as_ref().map(Element::to_compact), options, steps, expected })
}

fn call_daemon(client: &Client, request: &Request, dry_run: bool) -> Result<Changed, Failure> {
    let call = call_of(request, dry_run)?;
    let reply: CibReply = client.post("/v1/cib", &call)?;
    if reply.code != 0 {
        let text = reply.message.unwrap_or_else(|| "Operation failed".to_owned());
        let mut lines = text.lines().map(str::to_owned);
        let message = lines.next().unwrap_or_default();
        return Err(Failure { code: reply.code, message, details: lines.collect() }.in_their_words());
    }
    let answer = match reply.xml {
        Some(text) => {
            Some(xml::parse(&text).map_err(|e| Failure::new(crm::PROTOCOL, format!("answer is not XML: {e}")))?)
        }
        None => None,
    };
    Ok(Changed { answer })
}

fn call_file(path: &Path, request: &Request, dry_run: bool) -> Result<Changed, Failure> {
    let mut cib = read_file(path)?;
    let mut request = request.clone();
    request.at = now();
    unsigned(&mut request);
    // As the original does in files, whether asked or not.
    request.options.score_update = true;
    let written = cib.root().attr(LAST_WRITTEN).map(str::to_owned);
    let subject = crate::client::acting_as().and_then(|user| Subject::new(&user, groups_of(&user)));
    let outcome = match subject {
        Some(subject) => cib.apply_as(&request, &subject)?,
        None => cib.apply(&request)?,
    };
    if outcome.changed && !dry_run {
        let mut root = cib.root().clone();
        match written {
            Some(at) => root.set(LAST_WRITTEN, at),
            None => drop(root.remove_attr(LAST_WRITTEN)),
        }
        write_file(path, &root)?;
    }
    Ok(Changed { answer: outcome.answer })
}

/// When the cluster wrote its CIB.
const LAST_WRITTEN: &str = "cib-last-written";

/// Only the cluster notes who has changed its CIB, and when; a file is nobody's.
fn unsigned(request: &mut Request) {
    (request.origin, request.client, request.user) = Default::default();
    request.steps.iter_mut().for_each(unsigned);
}

/// Groups that the system has a user in.
pub fn groups_of(user: &str) -> Vec<String> {
    let found = nix::unistd::User::from_name(user).ok().flatten();
    let found = found.and_then(|u| Some((std::ffi::CString::new(u.name).ok()?, u.gid)));
    let gids = found.and_then(|(name, gid)| nix::unistd::getgrouplist(&name, gid).ok()).unwrap_or_default();
    let called = |gid| nix::unistd::Group::from_gid(gid).ok().flatten().map(|g| g.name);
    gids.into_iter().take(cib::acl::MAX_GROUPS).filter_map(called).collect()
}

fn read_file(path: &Path) -> Result<Cib, Failure> {
    let shown = path.display();
    let text = text_of(path).map_err(|e| {
        let code = if e.kind() == std::io::ErrorKind::NotFound { crm::NOSUCH } else { crm::NOINPUT };
        Failure::new(code, format!("cannot read {shown}: {e}"))
    })?;
    Cib::parse(&text).map_err(|e| Failure::new(e.exit_code(), format!("{shown}: {e}")))
}

fn write_file(path: &Path, root: &Element) -> Result<(), Failure> {
    if path.as_os_str() == STANDARD_INPUT {
        return Err(Failure::new(crm::CANTCREAT, "what was read from standard input cannot be changed"));
    }
    let mode = std::fs::metadata(path).map_or(0o644, |m| m.permissions().mode() & 0o7777);
    let text = root.to_pretty();
    let written =
        if path.is_file() { overwrite(path, &text) } else { kernel::files::replace(path, text.as_bytes(), mode) };
    written.map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", path.display())))
}

/// In place: who made the file has it open, and reads there what became of it (pcs does). While it is being written a whole copy
/// stands beside it.
fn overwrite(path: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new{}", std::process::id()));
    kernel::files::replace(Path::new(&beside), text.as_bytes(), 0o600)?;
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::remove_file(&beside)
}

pub fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_file_open_reads_what_became_of_it() {
        use std::io::{Read, Seek};
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("cib.xml");
        std::fs::write(&path, Cib::new_empty(WallTime(0)).root().to_pretty()).expect("written");
        let mut held = std::fs::File::open(&path).expect("readable");
        let set = Element::new("cluster_property_set").with("id", "o");
        Source::File(path)
            .call(Request::upsert("crm_config", Element::new("crm_config").with_child(set)))
            .expect("done");
        let mut text = String::new();
        held.rewind().and_then(|()| held.read_to_string(&mut text)).expect("readable");
        assert!(text.contains("id=\"o\"") && xml::parse(&text).is_ok(), "{text}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_door_keeps_another_text_than_it_was_given() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("cib.xml");
        let empty = Cib::new_empty(WallTime(0)).root().to_pretty();
        std::fs::write(&file, &empty).expect("written");
        let set = Element::new("cluster_property_set").with("id", "o");
        let option = |name: &str, value: &str| {
            let pair = Element::new("nvpair").with("id", "o-x").with("name", name).with("value", value);
            Request::upsert("crm_config", Element::new("crm_config").with_child(set.clone().with_child(pair)))
        };
        for bad in [option("x", "a\u{1b}"), option("x\u{1}", "a")] {
            let mut nested = Request::new(Op::Transaction, Target::Whole, None);
            nested.steps = vec![bad.clone()];
            for request in [bad, nested] {
                let refused = Source::File(file.clone()).call(request).map(drop).expect_err("refused");
                assert!(
                    refused.code == crm::DATAERR && refused.message.contains("which XML cannot hold"),
                    "{refused:?}"
                );
            }
            assert_eq!(std::fs::read_to_string(&file).expect("there"), empty);
        }
        Source::File(file.clone()).call(option("x", "a\u{e9}")).map(drop).expect("kept");
        assert!(std::fs::read_to_string(&file).expect("there").contains("a\u{e9}"));
    }
}
