//! A user's permissions: from targets and groups by way of roles.

use super::{MAX_GROUPS, Subject};
use crate::CibError;
use std::fmt;
use xml::{Element, Path};

/// What a permission gives or takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Read,
    Write,
    Deny,
}

/// Which elements a permission stands for.
#[derive(Clone, Debug)]
pub enum Selector {
    /// The outermost element.
    Root,
    Path(Path),
    /// By tag, `id`, and an attribute that must be there.
    Like {
        tag: Option<String>,
        id: Option<String>,
        attribute: Option<String>,
    },
}

#[derive(Clone, Debug)]
pub struct Permission {
    pub kind: Kind,
    pub selector: Selector,
    name: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All permissions that apply, in the order of the document.
pub fn of(root: &Element, subject: &Subject) -> Result<Vec<Permission>, CibError> {
    let mut found = Vec::new();
    let Some(acls) = root.child("configuration").and_then(|c| c.child("acls")) else { return Ok(found) };
    for holder in acls.elements() {
        let Some(name) = holder.attr("name").or(holder.id()) else { continue };
        let applies = match holder.name() {
            "acl_target" => name == subject.user,
            "acl_group" => subject.groups.iter().take(MAX_GROUPS).any(|g| g == name),
            _ => false,
        };
        if !applies {
            continue;
        }
        let by = format!("{} {name}", if holder.name() == "acl_target" { "user" } else { "group" });
        for part in holder.elements() {
            match part.name() {
                "role" => {
                    let role = acls.elements_named("acl_role").find(|r| part.id().is_some() && r.id() == part.id());
                    for permission in role.into_iter().flat_map(|r| r.elements_named("acl_permission")) {
                        let role = part.id().unwrap_or_default();
                        found.extend(read(permission, &format!("of role {role} ({by})"))?);
                    }
                }
                // The schema does not have these; the original takes them.
                "acl_permission" => found.extend(read(part, &format!("of {by}"))?),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Whether an expression stands for the document, which is its outermost element.
pub fn is_document(expression: &str) -> bool {
    expression.trim() == "/"
}

/// One that cannot be understood is an error: what it would have denied must not be open.
fn read(e: &Element, whose: &str) -> Result<Option<Permission>, CibError> {
    let name = format!("permission {} {whose}", e.id().unwrap_or("without id"));
    let kind = match e.attr("kind") {
        Some("read") => Kind::Read,
        Some("write") => Kind::Write,
        Some("deny") => Kind::Deny,
        _ => return Ok(None),
    };
    let of = |attribute: &str| e.attr(attribute).map(str::to_owned);
    let selector = match e.attr("xpath") {
        Some(expression) if is_document(expression) => Selector::Root,
        Some(expression) => match Path::parse(expression) {
            Ok(path) => Selector::Path(path),
            Err(error) => return Err(CibError::BadPermission { name, error }),
        },
        None => {
            let (tag, id, attribute) = (of("object-type"), of("reference"), of("attribute"));
            if tag.is_none() && id.is_none() {
                return Ok(None);
            }
            Selector::Like { tag: tag.filter(|t| t != "*"), id, attribute }
        }
    };
    Ok(Some(Permission { kind, selector, name }))
}
