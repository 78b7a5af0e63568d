//! `crm ra`: the agents that there are, and what they say of themselves.

use crate::agents;
use crate::crm_resource::listing;
use crate::edit::{self, error};
use crate::source::Failure;
use std::fmt::Write;
use xml::Element;

/// Actions that nobody configures.
const OWN: [&str; 3] = ["meta-data", "validate-all", "methods"];

pub fn run(words: &[&str]) -> Result<String, Failure> {
    match words {
        ["classes"] => Ok(classes()),
        ["list", "ocf", provider] => listing::agents(&format!("ocf:{provider}")).map(|all| columns(&all)),
        ["list", class] => match listing::standards().lines().any(|known| known == *class) {
            true => listing::agents(class).map(|all| columns(&all)),
            false => Err(error(format!("ra.list: class {class} does not exist"))),
        },
        ["providers", agent] => {
            let full = agents::called(agent);
            let providers: Vec<&str> = full.iter().filter_map(|f| f.split(':').nth(1)).collect();
            Ok(format!("{}\n", providers.join(" ")))
        }
        ["providers"] => Ok(listing::ocf_providers()),
        ["info", agent] => info(agent),
        ["meta", agent] => {
            super::note!("WARNING: This command 'meta' is deprecated, please use 'info'");
            super::note!("INFO: \"meta\" is accepted as \"info\"");
            info(agent)
        }
        ["validate", agent, pairs @ ..] => validate(agent, pairs),
        _ => Err(error(format!("ra: unknown command '{}' (see: crm help)", words.join(" ")))),
    }
}

/// `ocf` with its providers.
fn classes() -> String {
    let providers: Vec<String> = listing::ocf_providers().lines().map(str::to_owned).collect();
    let line = |class: &str| match class {
        "ocf" => format!("ocf / {}\n", providers.join(" ")),
        class => format!("{class}\n"),
    };
    listing::standards().lines().map(line).collect()
}

/// As many in a row as fit.
fn columns(all: &str) -> String {
    const WIDTH: usize = 120;
    let widest = all.lines().map(str::len).max().unwrap_or(0) + 2;
    let names: Vec<&str> = all.lines().collect();
    let rows = names.chunks((WIDTH / widest.max(1)).max(1));
    let row =
        |row: &[&str]| row.iter().map(|n| format!("{n:widest$}")).collect::<String>().trim_end().to_owned() + "\n";
    rows.map(row).collect()
}

fn document(agent: &str) -> Result<(String, Element), Failure> {
    let full = super::primitive::full_name(agent)?;
    let none = || error(format!("{full}: got no meta-data, does this RA exist?"));
    let text = match agents::native_document(&full) {
        Some(text) => text,
        None => listing::metadata(&full).map_err(|_| none())?,
    };
    let root = text.get(text.find("<resource-agent").ok_or_else(none)?..).and_then(|t| xml::parse(t).ok());
    Ok((full.clone(), root.ok_or_else(none)?))
}

/// What the agent's document says, for people.
fn info(agent: &str) -> Result<String, Failure> {
    let (full, root) = document(agent)?;
    let short = said(&root, "shortdesc");
    let mut out = match short.is_empty() {
        true => format!("{full}\n"),
        false => format!("{short} ({full})\n"),
    };
    let long = said(&root, "longdesc");
    if !long.is_empty() {
        let _ = write!(out, "\n{long}\n");
    }
    let parameters: Vec<&Element> =
        root.child("parameters").into_iter().flat_map(|l| l.elements_named("parameter")).collect();
    if !parameters.is_empty() {
        out += "\nParameters (*: required, []: default):\n\n";
        parameters.iter().for_each(|p| out += &parameter(p));
    }
    let all = root.child("actions").into_iter().flat_map(|l| l.elements_named("action"));
    let actions: Vec<&Element> = all.filter(|a| !OWN.contains(&a.attr("name").unwrap_or_default())).collect();
    if !actions.is_empty() {
        out += "\nOperations' defaults (advisory minimum):\n\n";
        let widest = actions.iter().map(|a| a.attr("name").unwrap_or_default().len()).max().unwrap_or(0);
        for a in actions {
            let rest: Vec<String> = ["timeout", "interval", "depth", "role", "start-delay"]
                .iter()
                .filter_map(|n| a.attr(n).map(|v| format!("{n}={v}")))
                .collect();
            let _ = writeln!(out, "    {:widest$}  {}", a.attr("name").unwrap_or_default(), rest.join(" "));
        }
    }
    Ok(out)
}

/// A text of the document, in English where it has several; fence agents have it as an attribute.
fn said(e: &Element, name: &str) -> String {
    let of = |lang: &str| e.elements_named(name).find(|t| t.attr("lang").is_none_or(|l| l == lang));
    let text = of("en").map(Element::text).or_else(|| e.attr(name).map(str::to_owned)).unwrap_or_default();
    text.trim().to_owned()
}

fn parameter(p: &Element) -> String {
    let content = p.child("content");
    let kind = content.and_then(|c| c.attr("type")).unwrap_or("string");
    let default = content.and_then(|c| c.attr("default")).filter(|d| !d.is_empty());
    let default = default.map(|d| format!(", [{d}]")).unwrap_or_default();
    let required = if matches!(p.attr("required"), Some("1" | "true")) { "*" } else { "" };
    let (short, long) = (said(p, "shortdesc"), said(p, "longdesc"));
    let mut out = format!("{}{required} ({kind}{default}): {short}\n", p.attr("name").unwrap_or_default());
    if !long.is_empty() && long != short {
        long.lines().for_each(|line| out += &format!("    {}\n", line.trim_end()));
        out.push('\n');
    }
    out
}

/// Parameters against the agent's document.
fn validate(agent: &str, words: &[&str]) -> Result<String, Failure> {
    let (full, _) = document(agent)?;
    let pairs = words.iter().map(|w| edit::pair(w)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = pairs.iter().map(|(n, _)| n.clone()).collect();
    let problems = edit::problems_of(&full, &pairs, &names);
    if problems.is_empty() { Ok(String::new()) } else { Err(error(problems.join("\nERROR: "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_told_with_its_kind_and_default() {
        let p = xml::parse(
            "<parameter name='ip' required='1'><longdesc lang='en'>\nThe address.\nOne.\n</longdesc>\
             <shortdesc lang='en'>Address</shortdesc><content type='string' default='::1'/></parameter>",
        );
        let text = parameter(&p.expect("good"));
        assert_eq!(text, "ip* (string, [::1]): Address\n    The address.\n    One.\n\n");
        assert_eq!(columns("a\nbb\n"), "a   bb\n");
    }
}
