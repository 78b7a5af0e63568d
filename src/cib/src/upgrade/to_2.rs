//! 1.x → 2.10: access rights become permissions of roles, and who has them a target.

use super::{Change, Rule, Work, needed, renamed};
use xml::Element;

pub const RULES: &[Rule] = &[needed(permissions), needed(targets)];

/// `<read>`, `<write>` and `<deny>` are permissions of that kind.
fn permissions(work: &mut Work) {
    work.rewrite(&mut |e, holder, _| match e.name() {
        "read" | "write" | "deny" if matches!(holder.name(), "acl_role" | "acl_user") => Change::to(permission(e)),
        "role_ref" => Change::to(renamed(e, "role")),
        _ => Change::Keep,
    });
}

/// One attribute could be named beside each way to say what is meant; a permission has it with an element's name alone.
fn permission(e: &Element) -> Element {
    let mut new = Element::new("acl_permission");
    if let Some(id) = e.id() {
        new.set("id", id);
    }
    new.set("kind", e.name());
    let attribute = e.attr("attribute");
    if let Some(id) = e.attr("ref") {
        new.set("reference", id);
    } else if let Some(tag) = e.attr("tag") {
        new.set("object-type", tag);
        attribute.into_iter().for_each(|a| new.set("attribute", a));
    } else if let Some(xpath) = e.attr("xpath") {
        match attribute {
            Some(a) => new.set("xpath", format!("{xpath}[@{a}]")),
            None => new.set("xpath", xpath),
        }
    }
    new
}

/// `<acl_user>` is a target; rights of its own move to a role made for it.
fn targets(work: &mut Work) {
    work.rewrite(&mut |e, _, _| {
        if e.name() != "acl_user" {
            return Change::Keep;
        }
        let mut target = renamed(e, "acl_target");
        let own: Vec<Element> = e.elements_named("acl_permission").cloned().collect();
        if own.is_empty() {
            return Change::to(target);
        }
        let id = format!("auto-{}", e.id().unwrap_or_default());
        target.retain_elements(|c| c.name() != "acl_permission");
        target.push(Element::new("role").with("id", &id));
        let role = own.into_iter().fold(Element::new("acl_role").with("id", &id), Element::with_child);
        Change::Into(vec![target, role])
    });
}
