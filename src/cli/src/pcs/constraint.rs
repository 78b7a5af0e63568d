//! `pcs constraint`.

use crate::edit::{edit, error, needs_free_id, needs_resource, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use base::Score;
use base::ids::same_node;
use std::fmt::Write;
use xml::Element;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["config" | "show" | "list"] => {
            list(source, line.has("--full"), ["location", "order", "colocation", "ticket"].as_slice())
        }
        ["location" | "order" | "colocation" | "ticket"] | [_, "config" | "show" | "list"] => {
            list(source, line.has("--full"), &words[..1])
        }
        ["location", id, how @ ("prefers" | "avoids"), nodes @ ..] => location(source, line, id, how, nodes),
        ["location", "add", id, resource, node, score] => add_location(source, line, id, resource, node, score),
        ["colocation", "add", rest @ ..] => colocation(source, rest),
        ["order", rest @ ..] if rest.contains(&"then") => order(source, rest),
        ["delete" | "remove", ids @ ..] | ["location" | "colocation" | "order", "delete" | "remove", ids @ ..] => {
            delete(source, ids)
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

fn negated(text: &str) -> String {
    text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned)
}

fn location(source: &Source, line: &Line, id: &str, how: &str, nodes: &[&str]) -> Result<String, Failure> {
    if nodes.is_empty() {
        return Err(error("name at least one node"));
    }
    let mut said = String::new();
    for word in nodes {
        let (node, value) = word.split_once('=').unwrap_or((word, "INFINITY"));
        let value = if how == "avoids" { negated(score(value)?) } else { score(value)?.to_owned() };
        let constraint = crate::nvpairs::as_id(&format!("location-{id}-{node}-{value}"));
        said += &add_location(source, line, &constraint, id, node, &value)?;
    }
    Ok(said)
}

fn add_location(
    source: &Source,
    line: &Line,
    id: &str,
    resource: &str,
    node: &str,
    value: &str,
) -> Result<String, Failure> {
    let value = score(value)?;
    edit(source, |configuration| {
        needs_resource(configuration, resource)?;
        let known = configuration
            .child("nodes")
            .is_some_and(|n| n.elements().any(|e| e.attr("uname").is_some_and(|n| same_node(n, node))));
        if !known && !line.has("--force") {
            return Err(error(format!("Node '{node}' does not seem to be in the cluster, use --force to override")));
        }
        let constraints = configuration.child_or_insert("constraints");
        constraints.retain_elements(|e| {
            e.id() != Some(id) && !(e.attr("rsc") == Some(resource) && e.attr("node") == Some(node))
        });
        let new =
            Element::new("rsc_location").with("id", id).with("rsc", resource).with("node", node).with("score", value);
        constraints.push(new);
        Ok(String::new())
    })
}

/// `[ROLE] A with [ROLE] B [SCORE] [OPTION=VALUE...]`.
fn colocation(source: &Source, words: &[&str]) -> Result<String, Failure> {
    let with = words
        .iter()
        .position(|w| *w == "with")
        .ok_or_else(|| error("usage: pcs constraint colocation add [ROLE] ID with [ROLE] ID [SCORE]"))?;
    let (left, right) = (&words[..with], &words[with + 1..]);
    let is_role =
        |w: &str| ["Started", "Stopped", "Promoted", "Unpromoted", "master", "slave", "Master", "Slave"].contains(&w);
    let side = |words: &[&str]| match words {
        [role, id, ..] if is_role(role) => Some((Some((*role).to_owned()), (*id).to_owned(), 2)),
        [id, ..] => Some((None, (*id).to_owned(), 1)),
        [] => None,
    };
    let missing = || error("name two resources");
    let (role, id, _) = side(left).ok_or_else(missing)?;
    let (with_role, with_id, used) = side(right).ok_or_else(missing)?;
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
        let constraint = crate::nvpairs::as_id(&format!("colocation-{id}-{with_id}-{value}"));
        needs_free_id(configuration, &constraint)?;
        let mut e = Element::new("rsc_colocation")
            .with("id", constraint)
            .with("rsc", &id)
            .with("with-rsc", &with_id)
            .with("score", &value);
        for (name, role) in [("rsc-role", &role), ("with-rsc-role", &with_role)] {
            if let Some(role) = role {
                e.set(name, role_name(role));
            }
        }
        pairs.iter().filter(|(n, _)| n != "score" && n != "id").for_each(|(n, v)| e.set(n, v));
        configuration.child_or_insert("constraints").push(e);
        Ok(String::new())
    })
}

fn role_name(role: &str) -> &str {
    match role {
        "master" | "Master" => "Promoted",
        "slave" | "Slave" => "Unpromoted",
        other => other,
    }
}

/// `[ACTION] A then [ACTION] B [OPTION=VALUE...]`.
fn order(source: &Source, words: &[&str]) -> Result<String, Failure> {
    let then = words
        .iter()
        .position(|w| *w == "then")
        .ok_or_else(|| error("usage: pcs constraint order [ACTION] ID then [ACTION] ID"))?;
    let is_action = |w: &str| ["start", "stop", "promote", "demote"].contains(&w);
    let side = |words: &[&str]| match words {
        [action, id, ..] if is_action(action) => Some(((*action).to_owned(), (*id).to_owned(), 2)),
        [id, ..] => Some(("start".to_owned(), (*id).to_owned(), 1)),
        [] => None,
    };
    let missing = || error("name two resources");
    let (action, id, _) = side(&words[..then]).ok_or_else(missing)?;
    let (then_action, then_id, used) = side(&words[then + 1..]).ok_or_else(missing)?;
    let pairs = words[then + 1 + used..].iter().map(|w| pair(w)).collect::<Result<Vec<_>, _>>()?;
    let kind = pairs.iter().find(|(n, _)| n == "kind").map_or("Mandatory", |(_, v)| v.as_str()).to_owned();
    edit(source, |configuration| {
        needs_resource(configuration, &id)?;
        needs_resource(configuration, &then_id)?;
        let constraint = crate::nvpairs::as_id(&format!("order-{id}-{then_id}-{}", kind.to_lowercase()));
        needs_free_id(configuration, &constraint)?;
        let mut e = Element::new("rsc_order").with("id", constraint).with("first", &id).with("then", &then_id);
        e = e.with("first-action", &action).with("then-action", &then_action);
        pairs.iter().filter(|(n, _)| n != "id").for_each(|(n, v)| e.set(n, v));
        configuration.child_or_insert("constraints").push(e);
        Ok(format!("Adding {id} {then_id} (kind: {kind}) (Options: first-action={action} then-action={then_action})\n"))
    })
}

fn delete(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let constraints = configuration.child_or_insert("constraints");
        for id in ids {
            if !constraints.elements().any(|e| e.id() == Some(id)) {
                return Err(error(format!("Unable to find constraint - '{id}'")));
            }
            constraints.retain_elements(|e| e.id() != Some(id));
        }
        Ok(String::new())
    })
}

pub fn list(source: &Source, full: bool, kinds: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    let constraints = cib.child("configuration").and_then(|c| c.child("constraints"));
    let all: Vec<&Element> = constraints.into_iter().flat_map(Element::elements).collect();
    let mut out = String::new();
    for kind in kinds {
        let (title, name) = match *kind {
            "location" => ("Location Constraints:", "rsc_location"),
            "order" => ("Ordering Constraints:", "rsc_order"),
            "colocation" => ("Colocation Constraints:", "rsc_colocation"),
            _ => ("Ticket Constraints:", "rsc_ticket"),
        };
        let _ = writeln!(out, "{title}");
        let of_kind: Vec<&&Element> = all.iter().filter(|e| e.name() == name).collect();
        match name {
            "rsc_location" => locations(&of_kind, full, &mut out),
            _ => {
                for e in of_kind {
                    let _ = writeln_in(&mut out, e, full);
                }
            }
        }
    }
    Ok(out)
}

fn locations(all: &[&&Element], full: bool, out: &mut String) {
    let mut resources: Vec<&str> = all.iter().filter_map(|e| e.attr("rsc").or(e.attr("rsc-pattern"))).collect();
    resources.dedup();
    for resource in resources {
        let _ = writeln!(out, "  Resource: {resource}");
        for (title, wanted) in [("Enabled on:", true), ("Disabled on:", false)] {
            let own = all.iter().filter(|e| e.attr("rsc").or(e.attr("rsc-pattern")) == Some(resource));
            let fits = own.filter(|e| {
                (e.attr("score").and_then(Score::parse).unwrap_or_default() >= Score::ZERO) == wanted
                    && e.attr("node").is_some()
            });
            let lines: Vec<String> = fits
                .map(|e| {
                    let id = if full { format!(" (id:{})", e.id().unwrap_or_default()) } else { String::new() };
                    format!(
                        "      Node: {} (score:{}){id}",
                        e.attr("node").unwrap_or_default(),
                        e.attr("score").unwrap_or("0")
                    )
                })
                .collect();
            if !lines.is_empty() {
                let _ = writeln!(out, "    {title}\n{}", lines.join("\n"));
            }
        }
        let rules = all.iter().filter(|e| e.attr("rsc") == Some(resource) && e.child("rule").is_some());
        for e in rules {
            let _ = writeln!(out, "    Constraint: {} (with a rule)", e.id().unwrap_or_default());
        }
    }
}

fn writeln_in(out: &mut String, e: &Element, full: bool) -> std::fmt::Result {
    let attr = |name: &str| e.attr(name).unwrap_or_default();
    let id = if full { format!(" (id:{})", attr("id")) } else { String::new() };
    match e.name() {
        _ if e.child("resource_set").is_some() => {
            let sets = e.elements_named("resource_set").map(|s| {
                let ids: Vec<&str> = s.elements_named("resource_ref").filter_map(Element::id).collect();
                format!("set {}", ids.join(" "))
            });
            writeln!(out, "  {}{id}", sets.collect::<Vec<_>>().join(" "))
        }
        "rsc_order" => {
            let action = |name: &str| e.attr(name).unwrap_or("start").to_owned();
            let kind = e.attr("kind").unwrap_or("Mandatory");
            let (first, then) = (action("first-action"), action("then-action"));
            writeln!(out, "  {first} {} then {then} {} (kind:{kind}){id}", attr("first"), attr("then"))
        }
        "rsc_colocation" => {
            writeln!(out, "  {} with {} (score:{}){id}", attr("rsc"), attr("with-rsc"), e.attr("score").unwrap_or("0"))
        }
        _ => writeln!(out, "  {} ticket={}{id}", attr("rsc"), attr("ticket")),
    }
}
