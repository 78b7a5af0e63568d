//! `crm configure show`: elements to crmsh's words, all of them or those that are asked for.

use super::sets;
use crate::edit::error;
use crate::edit::rules;
use crate::source::Failure;
use xml::Element;

/// Kinds of objects in the order in which they are shown: crmsh's word, and what they are in the CIB.
const KINDS: [(&str, &str); 20] = [
    ("node", "node"),
    ("rsc_template", "template"),
    ("primitive", "primitive"),
    ("group", "group"),
    ("bundle", "bundle"),
    ("ms", "master"),
    ("clone", "clone"),
    ("tag", "tag"),
    ("colocation", "rsc_colocation"),
    ("location", "rsc_location"),
    ("order", "rsc_order"),
    ("fencing_topology", "fencing-topology"),
    ("rsc_ticket", "rsc_ticket"),
    ("property", "cluster_property_set"),
    ("rsc_defaults", "rsc_defaults"),
    ("op_defaults", "op_defaults"),
    ("role", "acl_role"),
    ("acl_target", "acl_target"),
    ("acl_group", "acl_group"),
    ("alert", "alert"),
];

/// One object of the configuration.
struct Object<'a> {
    word: &'static str,
    id: String,
    element: &'a Element,
}

/// crmsh's word for an element.
pub fn word_of(e: &Element) -> &str {
    KINDS.iter().find(|(_, name)| *name == e.name()).map_or(e.name(), |(word, _)| word)
}

fn objects(configuration: &Element, sorted: bool) -> Vec<Object<'_>> {
    let mut all = Vec::new();
    let mut take = |word: &'static str, element| {
        let e: &Element = element;
        let name = if word == "node" { e.attr("uname").or(e.id()) } else { e.id() };
        all.push(Object { word, id: name.unwrap_or_default().to_owned(), element: e });
    };
    for section in configuration.elements() {
        match section.name() {
            "rsc_defaults" => section.elements().for_each(|e| take("rsc_defaults", e)),
            "op_defaults" => section.elements().for_each(|e| take("op_defaults", e)),
            "fencing-topology" if section.elements().next().is_some() => take("fencing_topology", section),
            "fencing-topology" => {}
            _ => {
                for e in section.descendants() {
                    let kind = KINDS.iter().find(|(_, name)| *name == e.name());
                    kind.into_iter().for_each(|(word, _)| take(word, e));
                }
            }
        }
    }
    let place = |o: &Object<'_>| KINDS.iter().position(|(word, _)| *word == o.word);
    // Without an order of names that of the configuration stays.
    let name = |o: &Object<'_>| if sorted { o.id.clone() } else { String::new() };
    all.sort_by_key(|o| (place(o), name(o)));
    all
}

/// Those that the words ask for: `ID`, `TYPE:…`, `type:KIND`, `tag:ID`, `related:ID`, `changed`, patterns; `and` narrows, `or` adds.
fn chosen<'a>(
    configuration: &'a Element,
    before: &Element,
    words: &[&str],
    sorted: bool,
) -> Result<Vec<Object<'a>>, Failure> {
    let all = objects(configuration, sorted);
    if words.is_empty() {
        return Ok(all);
    }
    let mut wanted = vec![false; all.len()];
    let mut narrow = false;
    for word in words {
        match *word {
            "and" => narrow = true,
            "or" => narrow = false,
            word => {
                let fits: Vec<bool> = all.iter().map(|o| asked(configuration, before, o, word)).collect();
                let plain = !word.contains([':', '*', '?']) && word != "changed";
                if plain && !fits.contains(&true) {
                    return Err(error(format!("object {word} does not exist")));
                }
                wanted.iter_mut().zip(fits).for_each(|(w, fits)| *w = if narrow { *w && fits } else { *w || fits });
                narrow = false;
            }
        }
    }
    Ok(all.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(o, _)| o).collect())
}

fn asked(configuration: &Element, before: &Element, o: &Object<'_>, word: &str) -> bool {
    match word.split_once(':') {
        Some(("type", kind)) => o.word == kind,
        Some(("tag", tag)) => {
            let tag = configuration.child("tags").and_then(|t| t.child_by_id("tag", tag));
            tag.is_some_and(|t| t.elements().any(|r| r.id() == Some(&o.id)))
        }
        Some(("related", id)) => {
            let refers = |e: &Element| e.attrs().any(|(n, v)| n != "id" && v == id);
            let inside = o.element.descendants().any(|d| refers(d) || d.name().ends_with("_ref") && d.id() == Some(id));
            let holds = o.element.elements().any(|c| crate::edit::RESOURCES.contains(&c.name()) && c.id() == Some(id));
            o.id == id || inside && o.element.child("primitive").is_none() || holds
        }
        // What is hidden is hidden anyway.
        Some(("obscure", _)) => true,
        _ if word == "changed" => o
            .element
            .id()
            .is_some_and(|id| before.find_id(id).is_none_or(|old| !old.is_same(o.element) && old != o.element)),
        _ if word.contains(['*', '?']) => matches(word, &o.id),
        _ => o.id == word || o.element.id() == Some(word) && o.word != "node",
    }
}

/// Shell patterns with `*` and `?`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

pub fn configuration(
    configuration: &Element,
    before: &Element,
    words: &[&str],
    sorted: bool,
) -> Result<String, Failure> {
    let shown = chosen(configuration, before, words, sorted)?;
    let text = |o: &Object<'_>| format!("{}\n", one(configuration, o));
    Ok(shown.iter().map(text).collect())
}

/// The document with the chosen objects alone.
pub fn xml(cib: &Element, before: &Element, words: &[&str]) -> Result<String, Failure> {
    let configuration = cib.child("configuration").ok_or_else(|| error("no configuration"))?;
    let keep = chosen(configuration, before, words, true)?;
    let kept = |e: &Element| keep.iter().any(|o| std::ptr::eq(o.element, e));
    fn prune(e: &Element, kept: &dyn Fn(&Element) -> bool) -> Element {
        let mut out = Element::new(e.name());
        e.attrs().for_each(|(n, v)| out.set(n, v));
        for child in e.elements() {
            if kept(child) {
                out.push(child.clone());
            } else if child.descendants().skip(1).any(kept) && !crate::edit::RESOURCES.contains(&child.name()) {
                out.push(prune(child, kept));
            } else if child.descendants().skip(1).any(kept) {
                // A member is shown in all that holds it.
                out.push(child.clone());
            }
        }
        out
    }
    let mut out = Element::new("cib");
    cib.attrs().for_each(|(n, v)| out.set(n, v));
    let mut shown = Element::new("configuration");
    for section in configuration.elements() {
        let pruned = if words.is_empty() || kept(section) { section.clone() } else { prune(section, &kept) };
        let always = ["crm_config", "nodes", "resources", "constraints"].contains(&section.name());
        if always || pruned.elements().next().is_some() {
            shown.push(pruned);
        }
    }
    out.push(shown);
    Ok(format!("<?xml version=\"1.0\" ?>\n{}\n", out.to_pretty()))
}

fn one(configuration: &Element, o: &Object<'_>) -> String {
    let e = o.element;
    match o.word {
        "node" => node(e),
        "fencing_topology" => super::topology::show(configuration).unwrap_or_default(),
        "property" | "rsc_defaults" | "op_defaults" => options(configuration, o.word, e),
        "tag" => format!("tag {} {}", o.id, ids_of(e, "obj_ref")),
        "role" | "acl_target" | "acl_group" => super::acl::show(o.word, e),
        "alert" => super::alert::show(e),
        "colocation" | "location" | "order" | "rsc_ticket" => constraint(configuration, e),
        "bundle" => super::bundle::show(e),
        _ => resource(configuration, o.word, e),
    }
}

fn ids_of(e: &Element, name: &str) -> String {
    e.elements_named(name).filter_map(Element::id).collect::<Vec<_>>().join(" ")
}

/// A pair with the value in quotes unless it is a word.
pub fn quoted_pair(p: &Element) -> String {
    let (name, value) = (p.attr("name").unwrap_or_default(), p.attr("value").unwrap_or_default());
    format!("{name}={}", quoted(value))
}

pub fn quoted(value: &str) -> String {
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
    if plain { value.to_owned() } else { format!("\"{value}\"") }
}

fn node(e: &Element) -> String {
    let (id, name) = (e.id().unwrap_or_default(), e.attr("uname").unwrap_or_default());
    let id = if id == name { String::new() } else { format!("{id}: ") };
    let kind = e.attr("type").filter(|t| *t != "member").map(|t| format!(":{t}")).unwrap_or_default();
    let mut text = format!("node {id}{name}{kind}");
    text += &values(e, "instance_attributes", "attributes");
    text + &values(e, "utilization", "utilization")
}

fn values(e: &Element, kind: &str, word: &str) -> String {
    let pairs: Vec<String> = e.elements_named(kind).flat_map(|s| s.elements_named("nvpair")).map(quoted_pair).collect();
    if pairs.is_empty() { String::new() } else { format!(" \\\n\t{word} {}", pairs.join(" ")) }
}

fn resource(configuration: &Element, word: &str, e: &Element) -> String {
    let id = e.id().unwrap_or_default();
    let members: Vec<&str> =
        e.elements().filter(|c| crate::edit::RESOURCES.contains(&c.name())).filter_map(Element::id).collect();
    let what = if members.is_empty() { agent(e) } else { members.join(" ") };
    let mut text = format!("{word} {id} {what}");
    if let Some(described) = e.attr("description") {
        text += &format!(" \\\n\tdescription={}", quoted(described));
    }
    // Each part where the CIB has it.
    for part in e.elements() {
        text += &match part.name() {
            "instance_attributes" => sets::shown(configuration, part, "params"),
            "meta_attributes" => sets::shown(configuration, part, "meta"),
            "utilization" => sets::shown(configuration, part, "utilization"),
            "operations" => operations(configuration, part),
            _ => String::new(),
        };
    }
    text
}

fn operations(configuration: &Element, e: &Element) -> String {
    let mut text = String::new();
    for name in ["id", "id-ref"] {
        if let Some(value) = e.attr(name) {
            text += &format!(" \\\n\toperations ${name}={}", quoted(value));
        }
    }
    for op in e.elements_named("op") {
        let own = op.attrs().filter(|(n, _)| !["id", "name"].contains(n)).map(|(n, v)| format!(" {n}={}", quoted(v)));
        let mut own: String = own.collect();
        for set in op.elements() {
            let word = if set.name() == "meta_attributes" { "op_meta" } else { "op_params" };
            own += &sets::shown(configuration, set, word);
        }
        text += &format!(" \\\n\top {}{own}", op.attr("name").unwrap_or_default());
    }
    text
}

/// Without the standard and provider that crmsh takes for granted.
fn agent(e: &Element) -> String {
    if let Some(template) = e.attr("template") {
        return format!("@{template}");
    }
    let of = |name: &str| e.attr(name).unwrap_or_default();
    match (of("class"), of("provider")) {
        ("ocf", "heartbeat") => of("type").to_owned(),
        (class, "") => format!("{class}:{}", of("type")),
        (class, provider) => format!("{class}:{provider}:{}", of("type")),
    }
}

fn options(configuration: &Element, word: &str, set: &Element) -> String {
    let rules: String = set.elements_named("rule").map(|r| format!(" \\\n\t{}", rule(configuration, set, r))).collect();
    let pairs: String = set.elements_named("nvpair").map(|p| format!(" \\\n\t{}", quoted_pair(p))).collect();
    format!("{word} {}:{rules}{pairs}", set.id().unwrap_or_default())
}

pub fn score(e: &Element) -> String {
    match (e.attr("score"), e.attr("score-attribute")) {
        (Some("INFINITY"), _) => "inf".to_owned(),
        (Some("-INFINITY"), _) => "-inf".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, attribute) => attribute.unwrap_or_default().to_owned(),
    }
}

fn constraint(configuration: &Element, e: &Element) -> String {
    let of = |name: &str| e.attr(name).unwrap_or_default();
    let suffix = |name: &str| e.attr(name).map(|r| format!(":{r}")).unwrap_or_default();
    let others = |but: &[&str]| -> String {
        e.attrs().filter(|(n, _)| !but.contains(n)).map(|(n, v)| format!(" {n}={}", quoted(v))).collect()
    };
    let (id, score) = (of("id"), score(e));
    let sets: Vec<String> = e.elements_named("resource_set").map(set).collect();
    let sets = sets.join(" ");
    match e.name() {
        "rsc_location" => {
            let what = match (sets.is_empty(), e.attr("rsc-pattern")) {
                (false, _) => format!("{{ {sets} }}"),
                (true, Some(pattern)) => format!("/{pattern}/"),
                _ => of("rsc").to_owned(),
            };
            let options = others(&["id", "rsc", "rsc-pattern", "score", "node"]);
            let place = if e.attr("node").is_some() { format!(" {score}: {}", of("node")) } else { String::new() };
            let rules = e.elements_named("rule").map(|r| format!(" \\\n\t{}", rule(configuration, e, r)));
            format!("location {id} {what}{options}{place}{}", rules.collect::<String>())
        }
        "rsc_colocation" => {
            let pair = format!("{}{} {}{}", of("rsc"), suffix("rsc-role"), of("with-rsc"), suffix("with-rsc-role"));
            let what = if sets.is_empty() { pair } else { sets };
            format!(
                "colocation {id} {score}: {what}{}",
                others(&["id", "score", "rsc", "rsc-role", "with-rsc", "with-rsc-role"])
            )
        }
        "rsc_order" => {
            let kind = e.attr("kind").map(|k| format!("{k}: ")).unwrap_or_default();
            let pair = format!("{}{} {}{}", of("first"), suffix("first-action"), of("then"), suffix("then-action"));
            let what = if sets.is_empty() { pair } else { sets };
            format!(
                "order {id} {kind}{what}{}",
                others(&["id", "kind", "first", "first-action", "then", "then-action"])
            )
        }
        _ => {
            let what = if sets.is_empty() { format!("{}{}", of("rsc"), suffix("rsc-role")) } else { sets };
            format!("rsc_ticket {id} {}: {what}{}", of("ticket"), others(&["id", "ticket", "rsc", "rsc-role"]))
        }
    }
}

fn set(e: &Element) -> String {
    let suffix = e.attr("role").or(e.attr("action")).map(|s| format!(":{s}")).unwrap_or_default();
    let members = e.elements_named("resource_ref").filter_map(Element::id).map(|id| format!("{id}{suffix}"));
    let members = members.collect::<Vec<_>>().join(" ");
    match (e.attr("require-all"), e.attr("sequential")) {
        (Some("false"), _) => format!("[ {members} ]"),
        (_, Some("false")) => format!("( {members} )"),
        _ => members,
    }
}

/// A rule; its id is shown where another refers to it.
pub fn rule(configuration: &Element, holder: &Element, e: &Element) -> String {
    if let Some(other) = e.attr("id-ref") {
        return format!("rule $id-ref={other}");
    }
    let id = e.id().unwrap_or_default();
    let referred = configuration.descendants().any(|d| d.attr("id-ref") == Some(id));
    let usual = format!("{}-rule", holder.id().unwrap_or_default());
    let own = if referred || !id.starts_with(&usual) { format!(" $id={id}") } else { String::new() };
    let role = e.attr("role").map(|r| format!(" $role={r}")).unwrap_or_default();
    // Without a score it counts for all.
    let score = match score(e) {
        score if score.is_empty() || score == "inf" => String::new(),
        score => format!(" {score}:"),
    };
    let join = format!(" {} ", e.attr("boolean-op").unwrap_or("and"));
    let parts: Vec<String> = e.elements().map(expression).collect();
    format!("rule{own}{role}{score} {}", parts.join(&join))
}

fn expression(e: &Element) -> String {
    let of = |name: &str| e.attr(name).unwrap_or_default();
    let pairs =
        |e: &Element| e.attrs().filter(|(n, _)| *n != "id").map(|(n, v)| format!(" {n}={v}")).collect::<String>();
    match (e.name(), of("operation")) {
        ("date_expression", "date_spec") => format!("date spec{}", e.child("date_spec").map(pairs).unwrap_or_default()),
        ("date_expression", "in_range") => {
            let ends = ["start", "end"].into_iter().filter_map(|n| e.attr(n).map(|v| format!(" {n}={v}")));
            format!("date in{}{}", ends.collect::<String>(), e.child("duration").map(pairs).unwrap_or_default())
        }
        ("date_expression", "gt") => format!("date gt {}", quoted(of("start"))),
        ("date_expression", "lt") => format!("date lt {}", quoted(of("end"))),
        ("expression", operation) if e.attr("value").is_some() => {
            let kind = e.attr("type").map(|t| format!("{t}:")).unwrap_or_default();
            format!("{} {kind}{operation} {}", of("attribute"), of("value"))
        }
        _ => rules::words(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_the_shells() {
        for (pattern, text, fits) in
            [("m*", "mail", true), ("*il", "mail", true), ("m?il", "mail", true), ("m", "mail", false), ("*", "", true)]
        {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
