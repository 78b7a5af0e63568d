//! Constraints in pcs's words.

use crate::edit::{error, rules};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use base::Score;
use std::collections::BTreeMap;
use std::fmt::Write;
use xml::Element;

pub const KINDS: [&str; 4] = ["location", "order", "colocation", "ticket"];

/// How much is shown.
#[derive(Clone, Copy)]
struct How<'a> {
    full: bool,
    /// What has expired, too.
    all: bool,
    cib: &'a Element,
}

pub fn list(source: &Source, line: &Line, kinds: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    let how = How { full: line.has("--full"), all: line.has("--all"), cib: &cib };
    let mut out = String::new();
    for kind in kinds {
        out += &of_kind(how, kind);
    }
    Ok(out)
}

fn constraints(cib: &Element) -> impl Iterator<Item = &Element> {
    cib.child("configuration").and_then(|c| c.child("constraints")).into_iter().flat_map(Element::elements)
}

fn of_kind(how: How<'_>, kind: &str) -> String {
    let (title, name) = match kind {
        "location" => ("Location Constraints:", "rsc_location"),
        "order" => ("Ordering Constraints:", "rsc_order"),
        "colocation" => ("Colocation Constraints:", "rsc_colocation"),
        _ => ("Ticket Constraints:", "rsc_ticket"),
    };
    let mut out = format!("{title}\n");
    let own: Vec<&Element> = constraints(how.cib).filter(|e| e.name() == name).collect();
    if name == "rsc_location" {
        locations(how, &own, &[], &mut out);
        return out;
    }
    let (sets, plain): (Vec<_>, Vec<_>) = own.into_iter().partition(|e| e.child("resource_set").is_some());
    plain.into_iter().for_each(|e| {
        let _ = writeln!(out, "  {}", self::plain(e, how.full));
    });
    if !sets.is_empty() {
        out.push_str("  Resource Sets:\n");
        sets.into_iter().for_each(|e| {
            let _ = writeln!(out, "    {}", of_sets(e, how.full));
        });
    }
    out
}

fn id_of(e: &Element, full: bool) -> String {
    if full { format!(" (id:{})", e.id().unwrap_or_default()) } else { String::new() }
}

/// Attributes in order, but for those named, each in a form.
fn others(e: &Element, but: &[&str], form: impl Fn(&str, &str) -> String) -> String {
    let mut all: Vec<(&str, &str)> = e.attrs().filter(|(n, _)| !but.contains(n)).collect();
    all.sort_unstable();
    all.into_iter().map(|(n, v)| form(n, v)).collect()
}

/// One constraint of two resources, or of a ticket.
pub fn plain(e: &Element, full: bool) -> String {
    let of = |name: &str| e.attr(name).unwrap_or_default();
    let id = id_of(e, full);
    match e.name() {
        "rsc_order" => {
            let action = |name: &str, usual: &str| e.attr(name).unwrap_or(usual).to_owned();
            let first = action("first-action", "start");
            let then = action("then-action", &first);
            let kind = e.attr("kind").unwrap_or("Mandatory");
            let symmetrical = if e.attr("symmetrical") == Some("false") { " (non-symmetrical)" } else { "" };
            let known = ["first", "then", "first-action", "then-action", "kind", "symmetrical", "id"];
            let rest = others(e, &known, |n, v| format!(" {n}={v}"));
            let rest = if rest.is_empty() { rest } else { format!(" (Options:{rest})") };
            format!("{first} {} then {then} {} (kind:{kind}){symmetrical}{rest}{id}", of("first"), of("then"))
        }
        "rsc_colocation" => {
            let score = e.attr("score").unwrap_or("0");
            let rest = others(e, &["rsc", "with-rsc", "score", "id"], |n, v| format!(" ({n}:{v})"));
            format!("{} with {} (score:{score}){rest}{id}", of("rsc"), of("with-rsc"))
        }
        _ => {
            let role = e.attr("rsc-role").map(|r| format!("{r} ")).unwrap_or_default();
            let rest = others(e, &["rsc", "rsc-role", "id"], |n, v| format!(" {n}={v}"));
            format!("{role}{}{rest}{id}", of("rsc"))
        }
    }
}

/// One constraint over sets.
pub fn of_sets(e: &Element, full: bool) -> String {
    let set = |s: &Element| {
        let ids: String = s.elements_named("resource_ref").filter_map(Element::id).map(|i| format!(" {i}")).collect();
        let options = others(s, &["id"], |n, v| format!(" {n}={v}"));
        format!("set{ids}{options}{}", id_of(s, full))
    };
    let sets: Vec<String> = e.elements_named("resource_set").map(set).collect();
    let options = others(e, &["id"], |n, v| format!(" {n}={v}"));
    let options = if options.is_empty() { options } else { format!(" setoptions{options}") };
    format!("{}{options}{}", sets.join(" "), id_of(e, full))
}

fn expired(how: How<'_>, rule: &Element) -> bool {
    let id = rule.id().unwrap_or_default();
    let now = crate::source::now();
    matches!(scheduler::check_rule(how.cib, id, now), Ok(scheduler::RuleState::Expired))
}

/// Names that a location is about: a resource, or a pattern.
fn subject(e: &Element) -> String {
    match e.attr("rsc-pattern") {
        Some(pattern) => format!("Resource pattern: {pattern}"),
        None => format!("Resource: {}", e.attr("rsc").unwrap_or_default()),
    }
}

fn locations(how: How<'_>, all: &[&Element], only: &[&str], out: &mut String) {
    let mut by: BTreeMap<(bool, String), Vec<&Element>> = BTreeMap::new();
    for e in all {
        let name = e.attr("rsc").or(e.attr("rsc-pattern")).unwrap_or_default();
        if only.is_empty() || only.contains(&name) {
            by.entry((e.attr("rsc").is_some(), subject(e))).or_default().push(e);
        }
    }
    for ((_, subject), own) in by {
        let mut text = String::new();
        for (title, wanted) in [("Enabled on:", true), ("Disabled on:", false)] {
            let score = |e: &Element| e.attr("score").and_then(Score::parse).unwrap_or_default();
            let fits = |e: &&&Element| e.attr("node").is_some() && (score(e) >= Score::ZERO) == wanted;
            let lines: Vec<&&Element> = own.iter().filter(fits).collect();
            if !lines.is_empty() {
                let _ = writeln!(text, "    {title}");
            }
            for e in lines {
                let rest = others(e, &["id", "rsc", "rsc-pattern", "node", "score"], |n, v| format!(" ({n}:{v})"));
                let rest = rest.replace("(resource-discovery:", "(resource-discovery=");
                let (node, score) = (e.attr("node").unwrap_or_default(), e.attr("score").unwrap_or("0"));
                let _ = writeln!(text, "      Node: {node} (score:{score}){rest}{}", id_of(e, how.full));
            }
        }
        own.iter().for_each(|e| with_rules(how, e, &mut text));
        if !text.is_empty() {
            let _ = write!(out, "  {subject}\n{text}");
        }
    }
}

fn with_rules(how: How<'_>, e: &Element, out: &mut String) {
    let rules: Vec<(&Element, bool)> = e.elements_named("rule").map(|r| (r, expired(how, r))).collect();
    if rules.is_empty() {
        return;
    }
    let gone = rules.iter().all(|(_, expired)| *expired);
    if gone && !how.all {
        return;
    }
    let mark = |gone: bool| if gone { " (expired)" } else { "" };
    let _ = writeln!(out, "    Constraint{}: {}", mark(gone), e.id().unwrap_or_default());
    for (r, gone) in rules.into_iter().filter(|(_, gone)| how.all || !gone) {
        rule(r, mark(gone), how.full, 3, out);
    }
}

/// A rule with what is in it; also of option sets.
pub fn rule(e: &Element, mark: &str, full: bool, level: usize, out: &mut String) {
    let pad = "  ".repeat(level);
    let attributes = ["boolean-op", "role", "score", "score-attribute"].into_iter();
    let attributes: String = attributes.filter_map(|n| e.attr(n).map(|v| format!(" {n}={v}"))).collect();
    let _ = writeln!(out, "{pad}Rule{mark}:{attributes}{}", id_of(e, full));
    for part in e.elements() {
        if part.name() == "rule" {
            rule(part, "", full, level + 1, out);
            continue;
        }
        let words = rules::words(part);
        let space = if words.is_empty() { "" } else { " " };
        let _ = writeln!(out, "{pad}  Expression:{space}{words}{}", id_of(part, full));
        for inner in part.elements() {
            let title = if inner.name() == "duration" { "Duration" } else { "Date Spec" };
            let values = others(inner, &["id"], |n, v| format!(" {n}={v}"));
            let _ = writeln!(out, "{pad}    {title}:{values}{}", id_of(inner, full));
        }
    }
}

/// `location config resources|nodes [NAME...]`.
pub fn locations_by(source: &Source, line: &Line, by: &str, names: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    let how = How { full: line.has("--full"), all: line.has("--all"), cib: &cib };
    let own: Vec<&Element> = constraints(&cib).filter(|e| e.name() == "rsc_location").collect();
    let mut out = "Location Constraints:\n".to_owned();
    if by == "resources" {
        locations(how, &own, names, &mut out);
        return Ok(out);
    }
    let mut nodes: BTreeMap<&str, Vec<&Element>> = BTreeMap::new();
    own.iter().for_each(|e| nodes.entry(e.attr("node").unwrap_or_default()).or_default().push(e));
    for (node, own) in nodes.into_iter().filter(|(n, _)| names.is_empty() || names.contains(n)) {
        let _ = writeln!(out, "  Node: {node}");
        for (title, wanted) in [("Allowed to run:", true), ("Not allowed to run:", false)] {
            let score = |e: &Element| e.attr("score").and_then(Score::parse).unwrap_or_default();
            let lines: Vec<&&Element> = own.iter().filter(|e| (score(e) >= Score::ZERO) == wanted).collect();
            if !lines.is_empty() {
                let _ = writeln!(out, "    {title}");
            }
            for e in lines {
                let discovery = e.attr("resource-discovery").map(|d| format!(" (resource-discovery={d})"));
                let (discovery, score) = (discovery.unwrap_or_default(), e.attr("score").unwrap_or("0"));
                let _ = writeln!(out, "      {} (score:{score}){discovery}{}", subject(e), id_of(e, how.full));
            }
        }
    }
    let ruled: Vec<&Element> = own.into_iter().filter(|e| e.child("rule").is_some()).collect();
    locations(how, &ruled, &[], &mut out);
    Ok(out)
}

/// `ref ID...`: ids of the constraints that name a resource.
pub fn referring(source: &Source, ids: &[&str]) -> Result<String, Failure> {
    let cib = source.cib()?;
    cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let mut out = String::new();
    for id in ids {
        let _ = writeln!(out, "Resource: {id}");
        let names = |e: &Element| {
            let plain = ["rsc", "with-rsc", "first", "then"].iter().any(|n| e.attr(n) == Some(id));
            plain || e.descendants().any(|d| d.name() == "resource_ref" && d.id() == Some(id))
        };
        let mut found: Vec<&str> = constraints(&cib).filter(|e| names(e)).filter_map(Element::id).collect();
        found.sort_unstable();
        if found.is_empty() {
            found.push("No Matches.");
        }
        found.iter().for_each(|id| {
            let _ = writeln!(out, "  {id}");
        });
    }
    Ok(out)
}
