//! The cluster information base: one versioned XML document, changed only by [`Request`]s, which every node applies
//! in the same order with the same result.
//!
//! ```text
//! Request --encode--> ordered message --decode--> Cib::apply --> Outcome (or CibError, nothing changed)
//! ```
//!
//! [`Cib::apply`] alone may change the document; it is all or nothing. A request carries everything that the result
//! depends on (also its time and origin), so that replicas never differ. At a merge, [`lineage::choose_winner`] says
//! whose document stays.

pub mod acl;
mod apply;
pub mod config;
mod error;
pub mod limits;
pub mod lineage;
mod request;
pub mod runnable;
pub mod schema;
mod stamp;
pub mod upgrade;
mod version;

pub use error::CibError;
pub use lineage::{Lineage, StateOffer, choose_winner};
pub use request::{Expected, Op, Options, Request, Target};
pub use schema::{Problem, Severity};
pub use version::Version;

use base::WallTime;
use base::text::hex;
use md5::{Digest, Md5};
use std::sync::Arc;
use xml::Element;

/// Largest document that is accepted, in bytes of its compact form.
pub const MAX_CIB_BYTES: usize = 64 << 20;
/// Largest encoded request that is accepted, in bytes: one of the largest that [`limits`] allow, with every character escaped.
pub const MAX_ENCODED_BYTES: usize = 6 * limits::MAX_REQUEST_BYTES + (1 << 20);
/// What `validate-with` says in a new CIB.
pub const SCHEMA: &str = "pacemaker-4.0";
/// What `crm_feature_set` says in a new CIB.
pub const FEATURE_SET: &str = "3.20.1";

/// Sections directly under `configuration`, in the order of a new document; the rest is made when first used.
const NEW_SECTIONS: [&str; 4] = ["crm_config", "nodes", "resources", "constraints"];
/// All sections that may stand under `configuration`.
pub const CONFIGURATION_SECTIONS: [&str; 10] = [
    "crm_config",
    "nodes",
    "resources",
    "constraints",
    "fencing-topology",
    "acls",
    "tags",
    "alerts",
    "rsc_defaults",
    "op_defaults",
];

/// The document. Cloning is cheap; a clone keeps the state it was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cib {
    root: Arc<Element>,
}

/// What an accepted request did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Anything changed, the versions included.
    pub changed: bool,
    /// Something outside `status` changed.
    pub config_changed: bool,
    /// A query's result.
    pub answer: Option<Element>,
    /// Version after the request.
    pub version: Version,
}

impl Cib {
    /// A new, empty document at version 0.0.0; `at` becomes `cib-last-written`.
    pub fn new_empty(at: WallTime) -> Cib {
        Cib { root: Arc::new(empty_root(SCHEMA).with("cib-last-written", stamp::ctime(at))) }
    }

    /// Takes a document as it is; only its frame (`cib` with `configuration` and `status`) is demanded and completed.
    pub fn from_element(mut root: Element) -> Result<Cib, CibError> {
        if root.name() != "cib" {
            return Err(CibError::NotACib { found: root.name().to_owned() });
        }
        Version::of(&root)?;
        for name in ["admin_epoch", "epoch", "num_updates"] {
            if root.attr(name).is_none() {
                root.set(name, "0");
            }
        }
        root.child_or_insert("configuration");
        root.child_or_insert("status");
        Ok(Cib { root: Arc::new(root) })
    }

    /// Reads a document from text (a file or a snapshot).
    pub fn parse(text: &str) -> Result<Cib, CibError> {
        if text.len() > MAX_CIB_BYTES {
            return Err(CibError::TooLarge { bytes: text.len(), limit: MAX_CIB_BYTES });
        }
        Cib::from_element(xml::parse(text)?)
    }

    pub fn root(&self) -> &Element {
        &self.root
    }

    /// The document to share, e.g. with a scheduler that runs elsewhere.
    pub fn shared_root(&self) -> Arc<Element> {
        Arc::clone(&self.root)
    }

    pub fn version(&self) -> Version {
        Version::of(&self.root).unwrap_or_default()
    }

    /// The compact form, for a joining node; [`Cib::parse`] reads it.
    pub fn snapshot(&self) -> String {
        self.root.to_compact()
    }

    /// A section by name (`cib`, `configuration`, `status`, or one under `configuration`).
    pub fn section(&self, name: &str) -> Option<&Element> {
        let path = apply::section_path(name)?;
        path.iter().try_fold(self.root(), |e, part| e.child(part))
    }

    /// Digest of the whole document as it is, for comparing replicas.
    pub fn digest(&self) -> String {
        digest(&self.root)
    }

    /// Answers a query without changing anything.
    pub fn query(&self, request: &Request) -> Result<Element, CibError> {
        apply::query(&self.root, request)
    }

    /// Performs a request; on an error nothing has changed.
    pub fn apply(&mut self, request: &Request) -> Result<Outcome, CibError> {
        apply::apply(&mut self.root, request, None)
    }

    /// A change that the cluster itself makes beside somebody's: who wrote last and when stays as it is, since this would hide
    /// the change that an operator made a moment before.
    pub fn keep_books(&mut self, request: &Request) -> Result<Outcome, CibError> {
        let before = self.root.clone();
        let outcome = self.apply(request)?;
        if outcome.changed {
            let root = Arc::make_mut(&mut self.root);
            for name in SIGNATURE {
                match before.attr(name) {
                    Some(value) => root.set(name, value),
                    None => drop(root.remove_attr(name)),
                }
            }
        }
        Ok(outcome)
    }

    /// [`Cib::apply`], as far as the ACLs that are in force at this moment allow it to `subject`.
    pub fn apply_as(&mut self, request: &Request, subject: &acl::Subject) -> Result<Outcome, CibError> {
        apply::apply(&mut self.root, request, Some(subject))
    }

    /// What of it `subject` may read.
    pub fn seen_by(&self, subject: &acl::Subject) -> Result<Cib, CibError> {
        match acl::Access::of(&self.root, subject)? {
            Some(access) => Ok(Cib { root: Arc::new(access.visible(&self.root)?) }),
            None => Ok(self.clone()),
        }
    }

    /// Any other change on behalf of `subject`: between [`Cib::enter`] and [`Cib::leave`]. `None` where ACLs are not enabled.
    pub fn guard(&self, subject: &acl::Subject) -> Result<Option<acl::Guard>, CibError> {
        acl::Guard::new(&self.root, subject)
    }

    /// Takes the values that may not be read out of the way.
    pub fn enter(&mut self, guard: &acl::Guard) {
        self.root = guard.masked();
    }

    /// Puts them back, if everything done since [`Cib::enter`] was allowed; else the caller has to undo it.
    pub fn leave(&mut self, guard: &acl::Guard) -> Result<(), CibError> {
        self.root = Arc::new(guard.settle_beside_version(&self.root)?);
        Ok(())
    }

    /// Edits the status section in place: for the cluster's own bookkeeping. `edit` says whether it changed anything;
    /// then `num_updates` rises.
    pub fn edit_status(&mut self, edit: impl FnOnce(&mut Element) -> bool) -> bool {
        let version = self.version();
        let root = Arc::make_mut(&mut self.root);
        let changed = edit(root.child_or_insert("status"));
        if changed {
            Version { num_updates: version.num_updates + 1, ..version }.write_to(root);
        }
        changed
    }

    /// Sets attributes of the root that describe the running cluster (`have-quorum`, `dc-uuid`); no version moves.
    pub fn set_runtime(&mut self, have_quorum: bool, dc_uuid: Option<&str>) {
        let quorum = if have_quorum { "1" } else { "0" };
        if self.root.attr("have-quorum") == Some(quorum) && self.root.attr("dc-uuid") == dc_uuid {
            return;
        }
        let root = Arc::make_mut(&mut self.root);
        root.set("have-quorum", quorum);
        match dc_uuid {
            Some(uuid) => root.set("dc-uuid", uuid),
            None => drop(root.remove_attr("dc-uuid")),
        }
    }
}

/// The empty document that `cibadmin --empty` prints.
pub fn empty_root(schema: &str) -> Element {
    let mut configuration = Element::new("configuration");
    for name in NEW_SECTIONS {
        configuration.push(Element::new(name));
    }
    Element::new("cib")
        .with("crm_feature_set", FEATURE_SET)
        .with("validate-with", schema)
        .with("admin_epoch", "0")
        .with("epoch", "0")
        .with("num_updates", "0")
        .with_child(configuration)
        .with_child(Element::new("status"))
}

/// What leads from one document to another, with both versions; `None` if they are the same.
pub fn patchset(old: &Element, new: &Element) -> Option<Element> {
    let mut patchset = xml::diff(old, new)?;
    add_versions(&mut patchset, old, new);
    Some(patchset)
}

/// Puts both versions into a difference.
pub fn add_versions(patchset: &mut Element, old: &Element, new: &Element) {
    let mut version = Element::new("version");
    for (name, of) in [("source", old), ("target", new)] {
        let mut e = Element::new(name);
        Version::of(of).unwrap_or_default().write_to(&mut e);
        version.push(e);
    }
    patchset.nodes_mut().insert(0, xml::Node::Element(version));
}

/// A time as options and operations have it, in ms.
pub use base::text::parse_interval_ms as interval_ms;

/// MD5 of the compact form: Pacemaker's versioned digest without its filter.
pub fn digest(root: &Element) -> String {
    hex(&Md5::digest(root.to_compact().as_bytes()))
}

/// `cibadmin --md5-sum`: of the on-disk form, framed as the oldest digest version is.
pub fn digest_on_disk(root: &Element) -> String {
    hex(&Md5::digest(format!(" {}\n", root.to_compact()).as_bytes()))
}

/// Who wrote last, and when.
const SIGNATURE: [&str; 4] = ["cib-last-written", "update-origin", "update-client", "update-user"];

/// `cibadmin --md5-sum-versioned`: without the attributes that say who wrote last and when.
pub fn digest_versioned(root: &Element) -> String {
    let mut filtered = root.clone();
    for name in SIGNATURE.into_iter().chain(["crm-debug-origin"]) {
        strip(&mut filtered, name);
    }
    digest(&filtered)
}

fn strip(e: &mut Element, name: &str) {
    e.remove_attr(name);
    for child in e.elements_mut() {
        strip(child, name);
    }
}
