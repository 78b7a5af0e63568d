//! Access control lists: what a user may see and change, as Pacemaker 3.0 documents them.
//!
//! ```text
//! acls of the document + Subject --Access::of--> Access --marks--> the rules at each element
//!   reads:  Access::visible   what is left of a document
//!   writes: Guard::masked --any operation--> Guard::settle   checked as a whole, or refused with the rule's name
//! ```
//!
//! A permission stands for the element that it selects and all below; the nearest one counts, and of several at one element
//! `deny` before `write` before `read`. Whatever no permission covers is denied. A denied write changes nothing.
//!
//! The check looks at what differs afterwards, not at what was asked: so it is one for all operations, and none goes around it.
//! While a guarded operation runs, the values that its user may not read are replaced by [marks of no meaning](mask), so that
//! neither its success nor its failure tells them. Stricter than the original in four things, each a way around it there: who
//! changes an element needs the permission before and after; who deletes an element, for all that goes with it; who moves one,
//! for that one; and an element made without attributes must enclose something that may be made.

mod check;
mod marks;
mod mask;
mod permissions;
mod show;
#[cfg(test)]
mod tests;
mod visible;

pub use show::{Shade, shades};

use crate::{CibError, Version};
use marks::Marks;
use permissions::Permission;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use xml::{Element, Path};

/// Users to whom no ACL applies.
pub const EXEMPT_USERS: [&str; 2] = ["root", "hacluster"];
/// Groups of one user that are looked at.
pub const MAX_GROUPS: usize = 256;

/// Whoever asks: a user to whom ACLs apply where they are enabled.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    pub user: String,
    /// Names of the groups that the system has the user in.
    #[serde(default)]
    pub groups: Vec<String>,
}

impl Subject {
    /// `None` for a user to whom no ACL applies.
    pub fn new(user: &str, groups: Vec<String>) -> Option<Subject> {
        (!EXEMPT_USERS.contains(&user)).then(|| Subject { user: user.to_owned(), groups })
    }
}

/// Whether a document says `enable-acl`. A set whose rule may hold at times counts as well: nobody can rely on the other times.
pub fn enabled(root: &Element) -> bool {
    let yes = |value: &str| base::text::parse_bool(value) == Some(true);
    if crate::config::property(root, "enable-acl").is_some_and(yes) {
        return true;
    }
    let sets = root.child("configuration").and_then(|c| c.child("crm_config"));
    let ruled = sets.into_iter().flat_map(Element::elements).filter(|set| set.child("rule").is_some());
    let mut pairs = ruled.flat_map(Element::descendants).filter(|e| e.name() == "nvpair");
    pairs.any(|p| p.attr("name") == Some("enable-acl") && p.attr("value").is_some_and(yes))
}

/// Whether a permission's expression can be held to; if not, why.
pub fn check_expression(expression: &str) -> Result<(), String> {
    match permissions::is_document(expression) {
        true => Ok(()),
        false => Path::parse(expression).map(drop).map_err(|e| e.to_string()),
    }
}

/// A user's permissions by one document's ACLs.
#[derive(Clone, Debug)]
pub struct Access {
    user: Arc<str>,
    permissions: Vec<Permission>,
}

impl Access {
    /// `None` where ACLs are not enabled: everything is allowed.
    pub fn of(root: &Element, subject: &Subject) -> Result<Option<Access>, CibError> {
        match enabled(root) {
            true => Access::evaluated(root, subject).map(Some),
            false => Ok(None),
        }
    }

    /// As if ACLs were enabled.
    pub fn evaluated(root: &Element, subject: &Subject) -> Result<Access, CibError> {
        let user = Arc::from(subject.user.as_str());
        Ok(Access { permissions: permissions::of(root, subject)?, user })
    }

    /// What of a document the user may read; parents of what is readable are kept with nothing but their ids.
    pub fn visible(&self, root: &Element) -> Result<Element, CibError> {
        let marks = Marks::of(root, &self.permissions)?;
        visible::filter(root, &marks)
            .ok_or_else(|| self.denied("read the configuration".to_owned(), "nothing is allowed"))
    }

    fn denied(&self, what: String, rule: &str) -> CibError {
        CibError::Denied { user: self.user.to_string(), what, rule: rule.to_owned() }
    }
}

/// One guarded change of a document: the operation works on [`Guard::masked`], [`Guard::settle`] checks what it did.
pub struct Guard {
    access: Access,
    old: Arc<Element>,
    marks: Marks,
    masked: Arc<Element>,
    hidden: mask::Hidden,
}

impl Guard {
    /// `None` where ACLs are not enabled.
    pub fn new(root: &Arc<Element>, subject: &Subject) -> Result<Option<Guard>, CibError> {
        let Some(access) = Access::of(root, subject)? else { return Ok(None) };
        let marks = Marks::of(root, &access.permissions)?;
        let (masked, hidden) = mask::mask(root, &marks);
        Ok(Some(Guard { access, old: Arc::clone(root), marks, masked: Arc::new(masked), hidden }))
    }

    /// The document as the operation may know it.
    pub fn masked(&self) -> Arc<Element> {
        Arc::clone(&self.masked)
    }

    /// What the operation has made of [`Guard::masked`], with all values, if every difference is allowed.
    pub fn settle(&self, changed: &Element) -> Result<Element, CibError> {
        let new = self.hidden.restore(changed);
        if *self.masked == *changed {
            return Ok(new);
        }
        let marks = Marks::of(&new, &self.access.permissions)?;
        let check = check::Check { old: &self.masked, old_marks: &self.marks, new: changed, new_marks: &marks };
        check.run().map_err(|d| self.access.denied(d.what, &d.rule))?;
        Ok(new)
    }

    /// [`Guard::settle`] for changes that count the version up themselves.
    pub fn settle_beside_version(&self, changed: &Element) -> Result<Element, CibError> {
        let version = Version::of(changed)?;
        let mut as_before = changed.clone();
        Version::of(&self.masked)?.write_to(&mut as_before);
        let mut new = self.settle(&as_before)?;
        version.write_to(&mut new);
        Ok(new)
    }

    /// For operations on the document as a whole, whatever they change.
    pub fn may_write_root(&self, operation: &str) -> Result<(), CibError> {
        match check::root_writable(&self.old, &self.marks) {
            Ok(()) => Ok(()),
            Err(rule) => Err(self.access.denied(format!("{operation} the configuration"), &rule)),
        }
    }
}
