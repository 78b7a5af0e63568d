//! Changes of the `acls` section that `pcs` and `crm` share.

use crate::edit::{error, needs_free_id};
use crate::nvpairs::as_id;
use crate::source::Failure;
use xml::Element;

/// Kinds of those to whom roles are given, as `pcs` calls them.
pub const HOLDERS: [(&str, &str); 2] = [("user", "acl_target"), ("group", "acl_group")];

/// One permission as it was typed: kind, by what the element is chosen, and that.
pub struct Permission<'a> {
    pub kind: &'a str,
    pub by: &'a str,
    pub what: &'a str,
    pub attribute: Option<&'a str>,
}

pub fn section(configuration: &mut Element) -> &mut Element {
    configuration.child_or_insert("acls")
}

pub fn role_mut<'a>(configuration: &'a mut Element, id: &str) -> Result<&'a mut Element, Failure> {
    let found = section(configuration).child_by_id_mut("acl_role", id);
    found.ok_or_else(|| error(format!("ACL role '{id}' does not exist")))
}

pub fn create_role(configuration: &mut Element, id: &str, description: Option<&str>) -> Result<(), Failure> {
    needs_free_id(configuration, id)?;
    let mut role = Element::new("acl_role").with("id", id);
    if let Some(description) = description {
        role.set("description", description);
    }
    section(configuration).push(role);
    Ok(())
}

/// Appends permissions to a role; their ids are the role's with the kind, and a number where that is taken.
/// Called after their kinds, as pcs has it; `numbered` as crmsh has it.
pub fn add_permissions(
    configuration: &mut Element,
    role: &str,
    all: &[Permission<'_>],
    numbered: bool,
) -> Result<(), Failure> {
    for (number, p) in all.iter().enumerate() {
        let wanted = match numbered {
            true => as_id(&format!("{role}-{number}")),
            false => as_id(&format!("{role}-{}", p.kind)),
        };
        let taken = |id: &str| configuration.descendants().any(|e| e.id() == Some(id));
        let numbered = (1..).map(|n| format!("{wanted}-{n}"));
        let id = std::iter::once(wanted.clone()).chain(numbered).find(|id| !taken(id)).unwrap_or(wanted);
        if p.by == "reference" && !taken(p.what) {
            return Err(error(format!("id '{}' does not exist", p.what)));
        }
        let mut e = Element::new("acl_permission").with("id", id).with("kind", p.kind).with(p.by, p.what);
        if let Some(attribute) = p.attribute {
            e.set("attribute", attribute);
        }
        role_mut(configuration, role)?.push(e);
    }
    Ok(())
}

/// A user or group with roles.
pub fn create_holder(configuration: &mut Element, tag: &str, name: &str, roles: &[&str]) -> Result<(), Failure> {
    needs_free_id(configuration, name)?;
    section(configuration).push(Element::new(tag).with("id", name));
    roles.iter().try_for_each(|role| assign(configuration, tag, name, role))
}

pub fn delete_holder(configuration: &mut Element, tag: &str, name: &str) -> Result<(), Failure> {
    let found = section(configuration).remove_by_id(tag, name);
    found.map(drop).ok_or_else(|| error(format!("ACL {} '{name}' does not exist", word_of(tag))))
}

pub fn assign(configuration: &mut Element, tag: &str, name: &str, role: &str) -> Result<(), Failure> {
    role_mut(configuration, role)?;
    let holder = section(configuration).child_by_id_mut(tag, name);
    let holder = holder.ok_or_else(|| error(format!("ACL {} '{name}' does not exist", word_of(tag))))?;
    if holder.child_by_id("role", role).is_some() {
        return Err(error(format!("Role '{role}' is already assigned to '{name}'")));
    }
    holder.push(Element::new("role").with("id", role));
    Ok(())
}

/// Takes a role from one; with `autodelete` who is left without a role goes.
pub fn unassign(
    configuration: &mut Element,
    tag: &str,
    name: &str,
    role: &str,
    autodelete: bool,
) -> Result<(), Failure> {
    let holder = section(configuration).child_by_id_mut(tag, name);
    let holder = holder.ok_or_else(|| error(format!("ACL {} '{name}' does not exist", word_of(tag))))?;
    holder.remove_by_id("role", role).ok_or_else(|| error(format!("Role '{role}' is not assigned to '{name}'")))?;
    if autodelete && holder.child("role").is_none() {
        delete_holder(configuration, tag, name)?;
    }
    Ok(())
}

/// Deletes a role, and takes it from all who have it.
pub fn delete_role(configuration: &mut Element, role: &str, autodelete: bool) -> Result<(), Failure> {
    role_mut(configuration, role)?;
    let section = section(configuration);
    section.remove_by_id("acl_role", role);
    for holder in section.elements_mut().filter(|e| e.name() != "acl_role") {
        holder.retain_elements(|r| r.id() != Some(role));
    }
    if autodelete {
        section.retain_elements(|e| e.name() == "acl_role" || e.child("role").is_some());
    }
    Ok(())
}

pub fn delete_permission(configuration: &mut Element, id: &str) -> Result<(), Failure> {
    let mut roles = section(configuration).elements_mut();
    match roles.any(|role| role.remove_by_id("acl_permission", id).is_some()) {
        true => Ok(()),
        false => Err(error(format!("ACL permission '{id}' does not exist"))),
    }
}

/// Where a name is a user or a group and nobody has said which.
pub fn holder_of<'a>(configuration: &Element, name: &'a str) -> Result<(&'static str, &'a str), Failure> {
    let acls = configuration.child("acls");
    let there = |tag: &str| acls.is_some_and(|a| a.child_by_id(tag, name).is_some());
    match HOLDERS.iter().find(|(_, tag)| there(tag)) {
        Some((_, tag)) => Ok((tag, name)),
        None => Err(error(format!("ACL user or group '{name}' does not exist"))),
    }
}

pub fn word_of(tag: &str) -> &'static str {
    HOLDERS.iter().find(|(_, t)| *t == tag).map_or("role", |(word, _)| word)
}
