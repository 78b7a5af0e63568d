//! `crm configure location|colocation|order|rsc_ticket`: words to constraints, with their rules and sets.

use crate::edit::rules::{self, Ids};
use crate::edit::{self, error, pair};
use crate::source::Failure;
use base::Score;
use xml::Element;

fn add(configuration: &mut Element, e: Element) -> Result<String, Failure> {
    edit::needs_free_id(configuration, e.id().unwrap_or_default())?;
    configuration.child_or_insert("constraints").push(e);
    Ok(String::new())
}

/// `inf:`, `-inf:`, `100:`; or the name of the attribute that holds it.
fn scored(e: &mut Element, word: &str) -> Result<(), Failure> {
    let text = word
        .strip_suffix(':')
        .ok_or_else(|| error(format!("'{word}': expected a score with a colon, such as inf: or 100:")))?;
    match text.to_ascii_lowercase().as_str() {
        "inf" | "+inf" | "infinity" => e.set("score", "INFINITY"),
        "-inf" | "-infinity" => e.set("score", "-INFINITY"),
        _ if Score::parse(text).is_some() => e.set("score", text),
        _ if e.name() == "rule" => e.set("score-attribute", text),
        _ => return Err(error(format!("'{text}' is not a score"))),
    }
    Ok(())
}

/// `RSC[:ROLE]`.
fn with_suffix(word: &str) -> (&str, Option<&str>) {
    word.split_once(':').map_or((word, None), |(id, suffix)| (id, Some(suffix)))
}

/// `location ID RSC [OPTION=VALUE…] SCORE: NODE | rule …`, RSC being a resource, a tag, `/pattern/` or `{ A B }`.
pub fn location(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let whole = || {
        error(format!(
            "syntax in location: expected <score>: <node> or <rule> [<rule> ...] parsing 'location {id} {}'",
            words.join(" ")
        ))
    };
    let mut e = Element::new("rsc_location").with("id", id);
    let mut rest = match words {
        ["{", inside @ ..] => {
            let end = inside.iter().position(|w| *w == "}").ok_or_else(whole)?;
            let mut set = Element::new("resource_set").with("id", format!("{id}-0"));
            for member in &inside[..end] {
                edit::needs_resource(configuration, member)?;
                set.push(Element::new("resource_ref").with("id", member));
            }
            e.push(set);
            &inside[end + 1..]
        }
        [name, rest @ ..] => {
            match name.strip_prefix('/').and_then(|n| n.strip_suffix('/')) {
                Some(pattern) => e.set("rsc-pattern", pattern),
                None => {
                    let tagged = configuration.child("tags").is_some_and(|t| t.child_by_id("tag", name).is_some());
                    if !tagged {
                        edit::needs_resource(configuration, name)?;
                    }
                    e.set("rsc", name);
                }
            }
            rest
        }
        [] => return Err(whole()),
    };
    while let Some((name, value)) = rest.first().filter(|w| !w.starts_with('$')).and_then(|w| w.split_once('=')) {
        e.set(name.trim_start_matches('$'), value);
        rest = &rest[1..];
    }
    match rest {
        ["rule", ..] => {
            let mut ids = Ids::from_nought(configuration);
            for part in rest.split(|w| *w == "rule").filter(|p| !p.is_empty()) {
                e.push(rule(configuration, id, part, &mut ids)?);
            }
        }
        [score, node] => {
            scored(&mut e, score)?;
            e.set("node", node);
            if !crate::nodes::has(configuration, node) {
                super::note!("WARNING: {id}: referenced node {node} does not exist");
            }
        }
        _ => return Err(whole()),
    }
    add(configuration, e)
}

/// `[$id=ID|$id-ref=ID] [$role=ROLE] [SCORE:] EXPRESSION`.
pub fn rule(configuration: &Element, holder: &str, words: &[&str], ids: &mut Ids) -> Result<Element, Failure> {
    let (mut own, mut role) = (None, None);
    let mut words = words;
    while let Some((name, value)) = words.first().and_then(|w| w.split_once('=')) {
        match name {
            "$id-ref" => {
                let found = configuration.find_id(value);
                // A constraint stands for its own rule.
                let found = found.map(|e| e.child("rule").filter(|_| e.name() != "rule").unwrap_or(e));
                let id = found.and_then(Element::id).unwrap_or(value);
                return Ok(Element::new("rule").with("id-ref", id));
            }
            "$id" => own = Some(value),
            "$role" | "role" => role = Some(value),
            _ => break,
        }
        words = &words[1..];
    }
    let id = match own {
        Some(own) => own.to_owned(),
        None => ids.free(&format!("{holder}-rule")),
    };
    let (score, expression) = match words {
        [first, rest @ ..] if first.ends_with(':') => (Some(*first), rest),
        words => (None, words),
    };
    let mut e = rules::element(&rules::parse(expression)?, id, ids);
    match score {
        Some(score) => scored(&mut e, score)?,
        None => e.set("score", "INFINITY"),
    }
    role.into_iter().for_each(|r| e.set("role", r));
    Ok(e)
}

/// Takes `name=value` words and gives the resources that are left.
fn split<'a>(e: &mut Element, words: &[&'a str]) -> Result<Vec<&'a str>, Failure> {
    let mut left = Vec::new();
    for word in words {
        match word.contains('=') {
            true => {
                let (name, value) = pair(word)?;
                e.set(name.trim_start_matches('$'), value);
            }
            false => left.push(*word),
        }
    }
    Ok(left)
}

/// A constraint whose sets have shrunk to two resources in a row is one of the two.
pub fn simplify(e: &mut Element) {
    let sets: Vec<&Element> = e.elements_named("resource_set").collect();
    let members: Vec<(&Element, &str)> =
        sets.iter().flat_map(|s| s.elements_named("resource_ref").filter_map(Element::id).map(|id| (*s, id))).collect();
    let [(one, a), (other, b)] = members.as_slice() else { return };
    let in_row = sets.len() == 2 || one.attr("sequential") != Some("false");
    if !in_row || sets.iter().any(|s| s.attr("require-all").is_some() || s.attr("score").is_some()) {
        return;
    }
    // A set's members follow each other; of two sets the first is placed with the second.
    let ((rsc, of), (with, of_with)) = match e.name() {
        "rsc_colocation" if sets.len() == 1 => ((*b, *other), (*a, *one)),
        _ => ((*a, *one), (*b, *other)),
    };
    let (first, then, word) = match e.name() {
        "rsc_colocation" => (["rsc", "rsc-role"], ["with-rsc", "with-rsc-role"], "role"),
        "rsc_order" => (["first", "first-action"], ["then", "then-action"], "action"),
        _ => return,
    };
    let mut said: Vec<(&str, String)> = Vec::new();
    for ([name, suffix], id, set) in [(first, rsc, of), (then, with, of_with)] {
        said.push((name, id.to_owned()));
        said.extend(set.attr(word).map(|value| (suffix, value.to_owned())));
    }
    e.retain_elements(|c| c.name() != "resource_set");
    said.iter().for_each(|(name, value)| e.set(name, value));
}

/// `A B ( C D ) [ E F ]` as sets; what stands behind a colon is `suffix`, a role or an action.
fn sets(configuration: &Element, e: &mut Element, words: &[&str], suffix: &str) -> Result<(), Failure> {
    let base = e.id().unwrap_or_default().to_owned();
    let mut made: Vec<Element> = Vec::new();
    // The set that is open, with the suffix that all of it shares.
    let mut open: Option<(&str, Option<String>)> = None;
    for word in words {
        match *word {
            "(" | "[" => {
                let mut set = Element::new("resource_set");
                if *word == "[" {
                    set.set("require-all", "false");
                }
                made.push(set.with("sequential", "false"));
                open = Some((if *word == "(" { ")" } else { "]" }, None));
            }
            ")" | "]" => open = None,
            word => {
                let (id, given) = with_suffix(word);
                edit::needs_resource(configuration, id)?;
                let given = given.map(str::to_owned);
                match &open {
                    Some((_, shared)) if *shared == given => {}
                    Some((close, _)) if !close.is_empty() => {
                        let empty = made.last().is_some_and(|s| s.child("resource_ref").is_none());
                        if !empty {
                            return Err(error(format!("'{word}': all of a set have the same role or action")));
                        }
                        open = Some((close, given.clone()));
                    }
                    _ => {
                        made.push(Element::new("resource_set"));
                        open = Some(("", given.clone()));
                    }
                }
                let Some(set) = made.last_mut() else { continue };
                if let Some(given) = &given {
                    set.set(suffix, given);
                }
                set.push(Element::new("resource_ref").with("id", id));
            }
        }
    }
    for (n, mut set) in made.into_iter().enumerate() {
        set.set("id", format!("{base}-{n}"));
        e.push(set);
    }
    Ok(())
}

fn bracketed(words: &[&str]) -> bool {
    words.iter().any(|w| ["(", ")", "[", "]"].contains(w))
}

pub fn colocation(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let [value, rest @ ..] = words else { return Err(error("usage: colocation ID SCORE: RESOURCE WITH-RESOURCE")) };
    let mut e = Element::new("rsc_colocation").with("id", id);
    scored(&mut e, value)?;
    match split(&mut e, rest)?.as_slice() {
        [a, b] if !bracketed(&[a, b]) => {
            for (word, name, role) in [(a, "rsc", "rsc-role"), (b, "with-rsc", "with-rsc-role")] {
                let (id, given) = with_suffix(word);
                edit::needs_resource(configuration, id)?;
                e.set(name, id);
                given.into_iter().for_each(|g| e.set(role, g));
            }
        }
        [] => return Err(error("usage: colocation ID SCORE: RESOURCE WITH-RESOURCE")),
        words => sets(configuration, &mut e, words, "role")?,
    }
    add(configuration, e)
}

/// `order ID [KIND:|SCORE:] A[:ACTION] B[:ACTION] [symmetrical=…]`.
pub fn order(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let mut e = Element::new("rsc_order").with("id", id);
    let (kind, rest) = match words {
        [first, rest @ ..] if first.ends_with(':') => (Some(*first), rest),
        rest => (None, rest),
    };
    match kind.map(|k| k.trim_end_matches(':').to_lowercase()).as_deref() {
        None => {}
        Some("mandatory") => e.set("kind", "Mandatory"),
        Some("optional") => e.set("kind", "Optional"),
        Some("serialize") => e.set("kind", "Serialize"),
        // A score stands for the kind: 0 is optional, anything else mandatory.
        Some(_) => {
            let mut scale = Element::new("score");
            scored(&mut scale, kind.unwrap_or_default())?;
            e.set("kind", if scale.attr("score") == Some("0") { "Optional" } else { "Mandatory" });
        }
    }
    match split(&mut e, rest)?.as_slice() {
        [a, b] if !bracketed(&[a, b]) => {
            for (word, name, action) in [(a, "first", "first-action"), (b, "then", "then-action")] {
                let (id, given) = with_suffix(word);
                edit::needs_resource(configuration, id)?;
                e.set(name, id);
                given.into_iter().for_each(|g| e.set(action, g));
            }
        }
        [] | [_] => return Err(error("usage: order ID [Mandatory:|Optional:|Serialize:] FIRST THEN")),
        words => sets(configuration, &mut e, words, "action")?,
    }
    add(configuration, e)
}

/// `rsc_ticket ID TICKET: RSC[:ROLE]… [loss-policy=…]`.
pub fn ticket(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let usage = || error("usage: rsc_ticket ID TICKET: RESOURCE[:ROLE] … [loss-policy=stop|demote|fence|freeze]");
    let [ticket, rest @ ..] = words else { return Err(usage()) };
    let ticket = ticket.strip_suffix(':').ok_or_else(usage)?;
    let mut e = Element::new("rsc_ticket").with("id", id).with("ticket", ticket);
    for word in rest.iter().filter(|w| w.contains('=')) {
        let policy = word.strip_prefix("loss-policy=");
        if !policy.is_some_and(|p| ["stop", "demote", "fence", "freeze"].contains(&p)) {
            return Err(error(format!(
                "syntax in role: Unknown attribute near <{word}> parsing 'rsc_ticket {id} {}'",
                words.join(" ")
            )));
        }
    }
    match split(&mut e, rest)?.as_slice() {
        [] => return Err(usage()),
        [one] => {
            let (resource, role) = with_suffix(one);
            edit::needs_resource(configuration, resource)?;
            e.set("rsc", resource);
            role.into_iter().for_each(|r| e.set("rsc-role", r));
        }
        words => sets(configuration, &mut e, words, "role")?,
    }
    add(configuration, e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_two_in_a_row_become_a_pair() {
        let sets = |kind: &str, sets: &[(&str, &[&str])]| {
            let mut e = Element::new(kind).with("id", "c");
            for (sequential, members) in sets {
                let mut set = Element::new("resource_set").with("sequential", sequential);
                members.iter().for_each(|m| set.push(Element::new("resource_ref").with("id", m)));
                e.push(set);
            }
            simplify(&mut e);
            e.to_compact()
        };
        let row = sets("rsc_colocation", &[("true", &["a", "b"])]);
        assert_eq!(row, "<rsc_colocation id=\"c\" rsc=\"b\" with-rsc=\"a\"/>");
        let two = sets("rsc_colocation", &[("false", &["a"]), ("false", &["b"])]);
        assert_eq!(two, "<rsc_colocation id=\"c\" rsc=\"a\" with-rsc=\"b\"/>");
        assert_eq!(
            sets("rsc_order", &[("true", &["a"]), ("false", &["b"])]),
            "<rsc_order id=\"c\" first=\"a\" then=\"b\"/>"
        );
        for (sequential, members) in [("false", &["a", "b"][..]), ("true", &["a", "b", "d"][..]), ("true", &["a"][..])]
        {
            assert!(sets("rsc_order", &[(sequential, members)]).contains("resource_set"));
        }
    }
}
