//! `crm configure show`: elements to crmsh's words.

use crate::edit::error;
use crate::source::Failure;
use xml::Element;

pub fn configuration(configuration: &Element, ids: &[&str]) -> Result<String, Failure> {
    let mut out = Vec::new();
    for e in configuration.child("nodes").into_iter().flat_map(Element::elements) {
        let id = e.id().unwrap_or_default();
        out.push((id.to_owned(), node(e)));
    }
    for e in configuration.child("resources").into_iter().flat_map(Element::elements) {
        resources(e, &mut out);
    }
    for e in configuration.child("constraints").into_iter().flat_map(Element::elements) {
        out.push((e.id().unwrap_or_default().to_owned(), constraint(e)));
    }
    if let Some(text) = super::topology::show(configuration) {
        out.push((String::new(), text));
    }
    for (section, kind, word) in [
        ("crm_config", "cluster_property_set", "property"),
        ("rsc_defaults", "meta_attributes", "rsc_defaults"),
        ("op_defaults", "meta_attributes", "op_defaults"),
    ] {
        for set in configuration.child(section).into_iter().flat_map(|s| s.elements_named(kind)) {
            let id = set.id().unwrap_or_default();
            let pairs: String = set.elements_named("nvpair").map(|p| format!(" \\\n\t{}", pair(p))).collect();
            out.push((id.to_owned(), format!("{word} {id}:{pairs}")));
        }
    }
    for e in configuration.child("alerts").into_iter().flat_map(|a| a.elements_named("alert")) {
        out.push((e.id().unwrap_or_default().to_owned(), super::alert::show(e)));
    }
    if let Some(missing) = ids.iter().find(|id| !out.iter().any(|(own, _)| own == *id)) {
        return Err(error(format!("object {missing} does not exist")));
    }
    let shown = out.iter().filter(|(id, _)| ids.is_empty() || ids.contains(&id.as_str()));
    Ok(shown.map(|(_, text)| format!("{text}\n")).collect())
}

/// A pair with the value in quotes unless it is a word.
pub fn quoted_pair(p: &Element) -> String {
    let (name, value) = (p.attr("name").unwrap_or_default(), p.attr("value").unwrap_or_default());
    let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
    if plain { format!("{name}={value}") } else { format!("{name}=\"{value}\"") }
}

fn pair(p: &Element) -> String {
    let value = p.attr("value").unwrap_or_default();
    let plain = !value.is_empty() && !value.contains(char::is_whitespace);
    let value = if plain { value.to_owned() } else { format!("\"{value}\"") };
    format!("{}={value}", p.attr("name").unwrap_or_default())
}

fn node(e: &Element) -> String {
    let mut text = format!("node {}: {}", e.id().unwrap_or_default(), e.attr("uname").unwrap_or_default());
    text += &sets(e, "instance_attributes", "attributes");
    text + &sets(e, "utilization", "utilization")
}

fn sets(e: &Element, kind: &str, word: &str) -> String {
    let pairs: Vec<String> = e.elements_named(kind).flat_map(|s| s.elements_named("nvpair")).map(pair).collect();
    if pairs.is_empty() { String::new() } else { format!(" \\\n\t{word} {}", pairs.join(" ")) }
}

fn resources(e: &Element, out: &mut Vec<(String, String)>) {
    let id = e.id().unwrap_or_default();
    let members: Vec<&str> =
        e.elements().filter(|c| crate::edit::RESOURCES.contains(&c.name())).filter_map(Element::id).collect();
    let own = match e.name() {
        "primitive" | "template" => {
            let mut text =
                format!("{} {id} {}", if e.name() == "template" { "rsc_template" } else { "primitive" }, agent(e));
            text += &sets(e, "instance_attributes", "params");
            for op in e.child("operations").into_iter().flat_map(|o| o.elements_named("op")) {
                let pairs = op.attrs().filter(|(n, _)| !["id", "name"].contains(n)).map(|(n, v)| format!(" {n}={v}"));
                text += &format!(" \\\n\top {}{}", op.attr("name").unwrap_or_default(), pairs.collect::<String>());
            }
            text += &sets(e, "utilization", "utilization");
            text
        }
        name => format!("{name} {id} {}", members.join(" ")),
    };
    out.push((id.to_owned(), own + &sets(e, "meta_attributes", "meta")));
    for child in e.elements().filter(|c| crate::edit::RESOURCES.contains(&c.name())) {
        resources(child, out);
    }
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

fn constraint(e: &Element) -> String {
    let of = |name: &str| e.attr(name).unwrap_or_default();
    let score = match of("score") {
        "INFINITY" => "inf".to_owned(),
        "-INFINITY" => "-inf".to_owned(),
        other => other.to_owned(),
    };
    let role = |name: &str| e.attr(name).map(|r| format!(":{r}")).unwrap_or_default();
    let set: Vec<&str> = e
        .elements_named("resource_set")
        .flat_map(|s| s.elements_named("resource_ref"))
        .filter_map(Element::id)
        .collect();
    let id = of("id");
    match e.name() {
        "rsc_location" if e.attr("node").is_some() => {
            let role = if e.attr("role").is_some() { format!(" role={}", of("role")) } else { String::new() };
            format!("location {id} {}{role} {score}: {}", of("rsc"), of("node"))
        }
        "rsc_colocation" if !set.is_empty() => format!("colocation {id} {score}: {}", set.join(" ")),
        "rsc_colocation" => {
            format!(
                "colocation {id} {score}: {}{} {}{}",
                of("rsc"),
                role("rsc-role"),
                of("with-rsc"),
                role("with-rsc-role")
            )
        }
        "rsc_order" => {
            let kind = e.attr("kind").unwrap_or("Mandatory");
            let pair = format!("{}{} {}{}", of("first"), role("first-action"), of("then"), role("then-action"));
            let what = if set.is_empty() { pair } else { set.join(" ") };
            let symmetrical = e.attr("symmetrical").map(|s| format!(" symmetrical={s}")).unwrap_or_default();
            format!("order {id} {kind}: {what}{symmetrical}")
        }
        _ => format!("xml {}", e.to_compact()),
    }
}
