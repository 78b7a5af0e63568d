//! `pcs acl`.

use super::node;
use crate::acl_edit::{self, HOLDERS, Permission};
use crate::edit::{edit, error};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use std::fmt::Write;
use xml::Element;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let autodelete = line.has("--autodelete");
    match words {
        [] | ["config" | "show"] => config(&source.cib()?),
        ["enable"] => node::property(source, &["set", "enable-acl=true"], false),
        ["disable"] => node::property(source, &["set", "enable-acl=false"], false),
        ["role", "create", id, rest @ ..] => {
            let (description, rest) = match rest {
                [first, rest @ ..] if first.starts_with("description=") => {
                    (first.split_once('=').map(|(_, d)| d), rest)
                }
                rest => (None, rest),
            };
            let all = permissions(rest)?;
            change(source, |c| {
                acl_edit::create_role(c, id, description)?;
                acl_edit::add_permissions(c, id, &all, false)
            })
        }
        ["role", "delete" | "remove", id] => change(source, |c| acl_edit::delete_role(c, id, autodelete)),
        ["role", "assign", role, rest @ ..] => {
            let rest = without(rest, "to");
            change(source, |c| {
                let (tag, name) = holder(c, rest)?;
                acl_edit::assign(c, tag, name, role)
            })
        }
        ["role", "unassign", role, rest @ ..] => {
            let rest = without(rest, "from");
            change(source, |c| {
                let (tag, name) = holder(c, rest)?;
                acl_edit::unassign(c, tag, name, role, autodelete)
            })
        }
        [kind @ ("user" | "group"), "create", name, roles @ ..] => {
            change(source, |c| acl_edit::create_holder(c, tag_of(kind), name, roles))
        }
        [kind @ ("user" | "group"), "delete" | "remove", name] => {
            change(source, |c| acl_edit::delete_holder(c, tag_of(kind), name))
        }
        ["permission", "add", role, rest @ ..] => {
            let all = permissions(rest)?;
            change(source, |c| {
                if acl_edit::role_mut(c, role).is_err() {
                    acl_edit::create_role(c, role, None)?;
                }
                acl_edit::add_permissions(c, role, &all, false)
            })
        }
        ["permission", "delete" | "remove", id] => change(source, |c| acl_edit::delete_permission(c, id)),
        _ => Err(error(format!("unknown acl command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn change(source: &Source, how: impl Fn(&mut Element) -> Result<(), Failure>) -> Result<String, Failure> {
    edit(source, |configuration| how(configuration).map(|()| String::new()))
}

fn tag_of(kind: &str) -> &'static str {
    HOLDERS.iter().find(|(word, _)| *word == kind).map_or("acl_target", |(_, tag)| tag)
}

fn without<'w, 'a>(words: &'w [&'a str], filler: &str) -> &'w [&'a str] {
    match words {
        [first, rest @ ..] if *first == filler => rest,
        words => words,
    }
}

/// `[user|group] NAME`.
fn holder<'a>(configuration: &Element, words: &[&'a str]) -> Result<(&'static str, &'a str), Failure> {
    match words {
        [kind @ ("user" | "group"), name] => Ok((tag_of(kind), name)),
        [name] => acl_edit::holder_of(configuration, name),
        _ => Err(error("name one user or group")),
    }
}

/// `(read|write|deny) (xpath QUERY | id ID)` any number of times.
fn permissions<'a>(words: &[&'a str]) -> Result<Vec<Permission<'a>>, Failure> {
    let one = |three: &[&'a str]| match *three {
        [kind @ ("read" | "write" | "deny"), by @ ("xpath" | "id"), what] => {
            let by = if by == "id" { "reference" } else { by };
            if by == "xpath" {
                cib::acl::check_expression(what).map_err(|why| error(format!("'{what}' cannot be enforced: {why}")))?;
            }
            Ok(Permission { kind, by, what, attribute: None })
        }
        _ => Err(error(format!("expected (read|write|deny) (xpath QUERY|id ID), found '{}'", three.join(" ")))),
    };
    words.chunks(3).map(one).collect()
}

fn config(cib: &Element) -> Result<String, Failure> {
    let mut out = match cib::acl::enabled(cib) {
        true => "ACLs are enabled\n\n".to_owned(),
        false => "ACLs are disabled, run 'pcs acl enable' to enable\n\n".to_owned(),
    };
    let acls = cib.child("configuration").and_then(|c| c.child("acls"));
    let all = |tag: &'static str| acls.into_iter().flat_map(move |a| a.elements_named(tag));
    let named = |e: &Element| e.attr("name").or(e.id()).unwrap_or_default().to_owned();
    for (word, tag) in HOLDERS {
        for holder in all(tag) {
            let roles: Vec<&str> = holder.elements_named("role").filter_map(Element::id).collect();
            let word = if word == "user" { "User" } else { "Group" };
            let _ = writeln!(
                out,
                "{word}: {}\n  Roles:{}",
                named(holder),
                roles.iter().map(|r| format!(" {r}")).collect::<String>()
            );
        }
    }
    for role in all("acl_role") {
        let _ = writeln!(out, "Role: {}", role.id().unwrap_or_default());
        if let Some(description) = role.attr("description") {
            let _ = writeln!(out, "  Description: {description}");
        }
        for p in role.elements_named("acl_permission") {
            let of = |name: &str| p.attr(name).unwrap_or_default();
            let by = match ["xpath", "reference", "object-type"].into_iter().find(|by| p.attr(by).is_some()) {
                Some("reference") => format!("id {}", of("reference")),
                Some(by) => format!("{by} {}", of(by)),
                None => String::new(),
            };
            let attribute = p.attr("attribute").map(|a| format!(" attribute {a}")).unwrap_or_default();
            let _ = writeln!(out, "  Permission: {} {by}{attribute} ({})", of("kind"), p.id().unwrap_or_default());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use crate::source::Source;
    use std::path::Path;

    /// A line of `pcs` on a file.
    fn pcs(file: &Path, line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let line = super::super::table::TABLE.parse(&words).map_err(|e| format!("{e:?}"))?;
        let text = super::super::perform(&Source::File(file.to_owned()), &line);
        text.map(|(text, _)| text).map_err(|f| f.message)
    }

    #[test]
    fn roles_users_and_permissions_are_made_given_taken_and_shown() {
        let dir = std::env::temp_dir().join(format!("bascule-pcs-acl-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join("cib.xml");
        std::fs::write(&file, cib::empty_root(cib::SCHEMA).to_pretty()).expect("written");
        for line in [
            "acl role create readers description=all read xpath /cib deny xpath //acls",
            "acl role create writers",
            "acl permission add writers write xpath //resources",
            "acl permission add writers write xpath //constraints",
            "acl user create ann readers",
            "acl group create ops readers writers",
            "acl role assign writers to user ann",
            "acl role unassign readers from ops",
            "acl permission delete writers-write",
            "acl enable",
        ] {
            pcs(&file, line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        let shown = pcs(&file, "acl").expect("shown");
        assert_eq!(
            shown,
            "ACLs are enabled\n\nUser: ann\n  Roles: readers writers\nGroup: ops\n  Roles: writers\nRole: readers\n  Description: all\n  \
             Permission: read xpath /cib (readers-read)\n  Permission: deny xpath //acls (readers-deny)\nRole: writers\n  \
             Permission: write xpath //constraints (writers-write-1)\n"
        );
        for wrong in [
            "acl role create readers",
            "acl user create ann",
            "acl role assign nothing ann",
            "acl role assign writers ann",
            "acl permission add writers write xpath //[",
            "acl permission add writers write id nothing",
            "acl permission delete gone",
            "acl role delete gone",
        ] {
            assert!(pcs(&file, wrong).is_err(), "{wrong}");
        }
        pcs(&file, "acl role delete writers --autodelete").expect("deleted");
        let shown = pcs(&file, "acl config").expect("shown");
        assert!(shown.contains("User: ann\n  Roles: readers\n") && !shown.contains("ops"), "{shown}");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
