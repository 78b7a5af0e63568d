//! `pcs constraint`.

mod location;
mod rule;
mod sets;
mod show;

use super::report::Report;
use crate::edit::{edit, error, find_resource, needs_resource, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use base::Score;
use std::fmt::Write;
use xml::Element;

pub use show::list;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let kinds: &[&str] = match words {
        [] | ["config" | "show" | "list", ..] => &show::KINDS,
        [kind, ..] => &[kind],
    };
    if matches!(words, [.., "show" | "list"]) {
        let path = if words.len() > 1 { format!("{} ", words[0]) } else { String::new() };
        super::report::deprecated(&format!(
            "This command is deprecated and will be removed. Please use 'pcs constraint {path}config' instead."
        ));
    }
    match words {
        [] | ["config" | "show" | "list"] | [_, "config" | "show" | "list"] => show::list(source, line, kinds),
        ["location" | "order" | "colocation" | "ticket"] => show::list(source, line, kinds),
        ["location", "config" | "show" | "list", by @ ("resources" | "nodes"), ids @ ..] => {
            show::locations_by(source, line, by, ids)
        }
        ["location", "add", id, resource, node, score, options @ ..] => {
            location::add(source, line, id, resource, node, score, options)
        }
        ["location" | "colocation" | "order", "delete" | "remove", id] if words[0] == "location" => {
            let missing = |_: &str| error(format!("resource location id: {id} not found."));
            delete(source, &[id], missing)
        }
        ["location", id, how @ ("prefers" | "avoids"), nodes @ ..] => location::run(source, line, id, how, nodes),
        ["location", id, "rule", rest @ ..] => rule::location(source, id, rest),
        ["rule", "add", id, rest @ ..] => rule::add(source, id, rest),
        ["rule", "delete" | "remove", id] => rule::delete(source, id),
        ["colocation", "add", rest @ ..] => colocation(source, line, rest),
        ["order", "add", rest @ ..] if rest.contains(&"then") => order(source, line, rest),
        [kind @ ("colocation" | "order" | "ticket"), "set", rest @ ..] => sets::create(source, line, kind, rest),
        ["order", rest @ ..] if rest.contains(&"then") => order(source, line, rest),
        ["order", "delete" | "remove", ids @ ..] => sets::forget_orders(source, ids),
        ["colocation", "delete" | "remove", a, b] => sets::forget_pair(source, a, b),
        ["ticket", "add", ticket, rest @ ..] => sets::ticket(source, line, ticket, rest),
        ["ticket", "delete" | "remove", ticket, resource] => sets::forget_ticket(source, ticket, resource),
        ["ref", ids @ ..] => show::referring(source, ids),
        ["delete" | "remove", ids @ ..] => {
            delete(source, ids, |id| error(format!("Unable to find constraint - '{id}'")))
        }
        _ => Err(error(format!("unknown constraint command '{}' (see: pcs help)", words.join(" ")))),
    }
}

fn score(text: &str) -> Result<&str, Failure> {
    match Score::parse(text) {
        Some(_) => Ok(text),
        None => Err(error(format!("invalid score '{text}', use integer or INFINITY or -INFINITY"))),
    }
}

/// The original will take such words for options one day, and says so.
fn warn_of_minus(words: &[&str]) {
    for word in words.iter().filter(|w| w.starts_with('-')) {
        super::report::deprecated(&format!(
            "Using '{word}' without '--' is deprecated, those parameters will be considered position independent options in \
             future pcs versions"
        ));
    }
}

/// Roles as they are written today; the old ones with a warning.
fn role_of(word: &str) -> Option<&'static str> {
    let (role, old) = match word.to_ascii_lowercase().as_str() {
        "started" => ("Started", false),
        "stopped" => ("Stopped", false),
        "promoted" => ("Promoted", false),
        "unpromoted" => ("Unpromoted", false),
        "master" => ("Promoted", true),
        "slave" => ("Unpromoted", true),
        _ => return None,
    };
    if old {
        super::report::deprecated(&format!(
            "Role value '{word}' is deprecated and should not be used, use '{role}' instead"
        ));
    }
    Some(role)
}

/// What is in a clone cannot be constrained by itself, unless it is forced.
fn whole(configuration: &Element, line: &Line, id: &str) -> Result<(), Failure> {
    let resources = configuration.child("resources");
    let holds = |e: &&Element| ["clone", "master", "bundle"].contains(&e.name()) && e.find_id(id).is_some();
    let holder = resources.into_iter().flat_map(Element::elements).find(|e| holds(e) && e.id() != Some(id));
    match holder {
        Some(holder) if !line.has("--force") => {
            let (kind, holder_id) = (holder.name().replace("master", "clone"), holder.id().unwrap_or_default());
            Err(error(format!(
                "{id} is a {kind} resource, you should use the {kind} id: {holder_id} when adding constraints. Use --force to \
                 override."
            )))
        }
        _ => Ok(()),
    }
}

fn push(configuration: &mut Element, e: Element) {
    configuration.child_or_insert("constraints").push(e);
}

/// A twin of a constraint that is there needs force.
fn no_twin(configuration: &Element, line: &Line, new: &Element, same: &[&str]) -> Result<(), Failure> {
    let constraints = configuration.child("constraints");
    let default = |e: &Element, name: &str| {
        let usual = match name {
            "rsc-role" | "with-rsc-role" => "Started",
            "first-action" => "start",
            "then-action" => e.attr("first-action").unwrap_or("start"),
            _ => "",
        };
        e.attr(name).unwrap_or(usual).to_owned()
    };
    let twin = |e: &&Element| {
        e.name() == new.name()
            && e.child("resource_set").is_none()
            && same.iter().all(|n| default(e, n) == default(new, n))
    };
    let twins: Vec<String> =
        constraints.into_iter().flat_map(Element::elements).filter(twin).map(|e| show::plain(e, true)).collect();
    if twins.is_empty() || line.has("--force") {
        return Ok(());
    }
    let mut failure = error("duplicate constraint already exists, use --force to override");
    failure.details = twins;
    Err(failure)
}

/// `[ROLE] A with [ROLE] B [SCORE] [OPTION=VALUE...]`.
fn colocation(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let usage = || error("usage: pcs constraint colocation add [ROLE] ID with [ROLE] ID [SCORE] [OPTION=VALUE...]");
    let with = words.iter().position(|w| *w == "with").ok_or_else(usage)?;
    warn_of_minus(words);
    let (left, right) = (&words[..with], &words[with + 1..]);
    let side = |words: &[&str]| match words {
        [role, id, ..] if !id.contains('=') && Score::parse(id).is_none() => {
            role_of(role).map(|r| (Some(r), (*id).to_owned(), 2)).or_else(|| Some((None, (*role).to_owned(), 1)))
        }
        [id, ..] => Some((None, (*id).to_owned(), 1)),
        [] => None,
    };
    let (role, id, _) = side(left).ok_or_else(usage)?;
    let (with_role, with_id, used) = side(right).ok_or_else(usage)?;
    let mut value = "INFINITY".to_owned();
    let mut pairs = Vec::new();
    for word in &right[used..] {
        match word.contains('=') {
            true => pairs.push(pair(word)?),
            false => value = score(word)?.to_owned(),
        }
    }
    if let Some((_, given)) = pairs.iter().find(|(n, _)| n == "score") {
        value = score(given)?.to_owned();
    }
    edit(source, |configuration| {
        needs_resource(configuration, &id)?;
        needs_resource(configuration, &with_id)?;
        whole(configuration, line, &id)?;
        whole(configuration, line, &with_id)?;
        let mut e = Element::new("rsc_colocation").with("rsc", &id).with("with-rsc", &with_id).with("score", &value);
        // One role that is said needs the other one said too.
        if role.is_some() || with_role.is_some() {
            e.set("rsc-role", role.unwrap_or("Started"));
            e.set("with-rsc-role", with_role.unwrap_or("Started"));
        }
        pairs.iter().filter(|(n, _)| n != "score").for_each(|(n, v)| e.set(n, v));
        no_twin(configuration, line, &e, &["rsc", "with-rsc", "rsc-role", "with-rsc-role"])?;
        identify(configuration, &mut e, &format!("colocation-{id}-{with_id}-{value}"))?;
        push(configuration, e);
        Ok(String::new())
    })
}

/// The id that was given, if it is free; else one made of what the constraint says.
fn identify(configuration: &Element, e: &mut Element, wanted: &str) -> Result<(), Failure> {
    match e.id() {
        Some(id) if configuration.find_id(id).is_some() => {
            Err(error(format!("id '{id}' is already in use, please specify another one")))
        }
        Some(_) => Ok(()),
        None => {
            let id = crate::edit::rules::Ids::of(configuration).free(wanted);
            e.set("id", id);
            Ok(())
        }
    }
}

/// `[ACTION] A then [ACTION] B [OPTION=VALUE...]`.
fn order(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    let usage = || error("usage: pcs constraint order [ACTION] ID then [ACTION] ID [OPTION=VALUE...]");
    let then = words.iter().position(|w| *w == "then").ok_or_else(usage)?;
    let is_action = |w: &str| ["start", "stop", "promote", "demote"].contains(&w);
    let side = |words: &[&str]| match words {
        [action, id, ..] if is_action(action) => Some(((*action).to_owned(), (*id).to_owned(), 2)),
        [id, ..] => Some(("start".to_owned(), (*id).to_owned(), 1)),
        [] => None,
    };
    let (action, id, _) = side(&words[..then]).ok_or_else(usage)?;
    let (then_action, then_id, used) = side(&words[then + 1..]).ok_or_else(usage)?;
    let mut pairs = Vec::new();
    for word in &words[then + 1 + used..] {
        match *word {
            "symmetrical" | "nonsymmetrical" => {
                pairs.push(("symmetrical".to_owned(), (*word == "symmetrical").to_string()));
            }
            word => pairs.push(pair(word)?),
        }
    }
    let kind = pairs.iter().find(|(n, _)| n == "kind").map(|(_, v)| v.clone());
    edit(source, |configuration| {
        needs_resource(configuration, &id)?;
        needs_resource(configuration, &then_id)?;
        whole(configuration, line, &id)?;
        whole(configuration, line, &then_id)?;
        let mut report = Report::of(line);
        report.one_of("kind", kind.as_deref(), &["Mandatory", "Optional", "Serialize"]);
        report.done_alone()?;
        let mut e = Element::new("rsc_order").with("first", &id).with("then", &then_id);
        e = e.with("first-action", &action).with("then-action", &then_action);
        pairs.iter().for_each(|(n, v)| e.set(n, v));
        no_twin(configuration, line, &e, &["first", "then", "first-action", "then-action"])?;
        let suffix = kind.clone().unwrap_or_else(|| "mandatory".to_owned());
        identify(configuration, &mut e, &format!("order-{id}-{then_id}-{suffix}"))?;
        push(configuration, e);
        let mut said = format!("Adding {id} {then_id}");
        let shown = kind.as_deref().unwrap_or("Mandatory");
        let _ = write!(said, " (kind: {shown}) (Options: first-action={action} then-action={then_action}");
        pairs.iter().filter(|(n, _)| n != "kind").for_each(|(n, v)| {
            let _ = write!(said, " {n}={v}");
        });
        kernel::errln!("{said})");
        Ok(String::new())
    })
}

/// Constraints, or rules in them, by their ids.
fn delete(source: &Source, ids: &[&str], missing: impl Fn(&str) -> Failure) -> Result<String, Failure> {
    edit(source, |configuration| {
        for id in ids {
            let constraints = configuration.child_or_insert("constraints");
            if constraints.elements().any(|e| e.id() == Some(id)) {
                constraints.retain_elements(|e| e.id() != Some(id));
            } else if rule::take(constraints, id).is_none() {
                return Err(missing(id));
            }
        }
        Ok(String::new())
    })
}

/// Word for a resource that is not there, as the parts of the original say it that know all kinds.
fn needs_any(configuration: &Element, id: &str) -> Result<(), Failure> {
    match find_resource(configuration, id) {
        Some(_) => Ok(()),
        None => Err(error(format!("bundle/clone/group/resource '{id}' does not exist"))),
    }
}
