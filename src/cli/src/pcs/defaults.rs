//! `pcs resource|stonith [op] defaults`: option sets of `rsc_defaults` and `op_defaults`, with the rules that say where they hold.

use super::unable;
use crate::edit::{self, edit, error, pair};
use crate::grammar::Line;
use crate::nvpairs::{self, as_id};
use crate::source::{Failure, Source};
use std::fmt::Write;
use xml::Element;

/// Which defaults.
#[derive(Clone, Copy)]
pub enum Of {
    Resources,
    Operations,
}

const OVERRIDDEN: &str =
    "Warning: Defaults do not apply to resources which override them with their own defined values";

impl Of {
    fn section(self) -> &'static str {
        match self {
            Of::Resources => "rsc_defaults",
            Of::Operations => "op_defaults",
        }
    }
}

pub fn run(source: &Source, line: &Line, of: Of, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["config"] => list(source, of, line.has("--full")),
        ["set", "create", rest @ ..] => changed(create(source, of, rest)),
        ["set", "update", id, rest @ ..] => {
            let pairs = pairs(rest.strip_prefix(&["meta"]).unwrap_or(rest))?;
            changed(edit(source, |configuration| {
                let section = configuration.child_or_insert(of.section());
                let set = section.elements_mut().find(|e| e.id() == Some(id));
                set_values(set.ok_or_else(|| unable(&[absent(id)]))?, &pairs);
                Ok(())
            }))
        }
        ["set", "delete" | "remove", ids @ ..] => remove(source, of, ids),
        ["update", rest @ ..] | rest => changed(update(source, of, &pairs(rest)?)),
    }
}

/// Said beside the answer, where nobody takes it for one.
fn changed(done: Result<(), Failure>) -> Result<String, Failure> {
    done.map(|()| {
        kernel::errln!("{OVERRIDDEN}");
        String::new()
    })
}

fn pairs(words: &[&str]) -> Result<Vec<(String, String)>, Failure> {
    words.iter().map(|w| pair(w)).collect()
}

fn absent(id: &str) -> String {
    format!("options set '{id}' does not exist")
}

fn sets(section: &Element) -> impl Iterator<Item = &Element> {
    section.elements_named("meta_attributes")
}

fn set_values(set: &mut Element, pairs: &[(String, String)]) {
    let id = set.id().unwrap_or_default().to_owned();
    for (name, value) in pairs {
        let there = set.elements_mut().find(|p| nvpairs::names(p, name));
        match there {
            Some(_) if value.is_empty() => set.retain_elements(|p| !nvpairs::names(p, name)),
            Some(p) => p.set("value", value),
            None if value.is_empty() => {}
            None => {
                let nvpair = Element::new("nvpair").with("id", as_id(&format!("{id}-{name}")));
                set.push(nvpair.with("name", name).with("value", value));
            }
        }
    }
}

/// The one set that there is, or a first one.
fn update(source: &Source, of: Of, pairs: &[(String, String)]) -> Result<(), Failure> {
    edit(source, |configuration| {
        let id = free_id(configuration, of);
        let section = configuration.child_or_insert(of.section());
        let count = sets(section).count();
        if count > 1 {
            let command = if matches!(of, Of::Resources) { "resource" } else { "resource op" };
            return Err(unable(&[format!(
                "Several options sets exist, please use the 'pcs {command} defaults set update' command and specify an \
                 option set ID"
            )]));
        }
        if count == 0 {
            section.push(Element::new("meta_attributes").with("id", id));
        }
        if let Some(set) = section.elements_mut().find(|e| e.name() == "meta_attributes") {
            set_values(set, pairs);
        }
        Ok(())
    })
}

fn free_id(configuration: &Element, of: Of) -> String {
    let base = format!("{}-meta_attributes", of.section());
    let taken = |id: &str| configuration.find_id(id).is_some();
    let numbered = (1..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.clone()).chain(numbered).find(|id| !taken(id)).unwrap_or(base)
}

fn remove(source: &Source, of: Of, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |configuration| {
        let section = configuration.child_or_insert(of.section());
        let there = |id: &&&str| sets(section).any(|s| s.id() == Some(id));
        let missing: Vec<String> = ids.iter().filter(|id| !there(id)).map(|id| absent(id)).collect();
        if !missing.is_empty() {
            return Err(unable(&missing));
        }
        section.retain_elements(|e| !e.id().is_some_and(|id| ids.contains(&id)));
        Ok(String::new())
    })
}

/// `[id=ID] [score=SCORE] meta NAME=VALUE... [rule EXPRESSION]`, the last two in any order.
fn create(source: &Source, of: Of, words: &[&str]) -> Result<(), Failure> {
    let (mut options, mut meta, mut rule) = (Vec::new(), Vec::new(), Vec::new());
    let mut part = &mut options;
    for word in words {
        match *word {
            "meta" => part = &mut meta,
            "rule" => part = &mut rule,
            word => part.push(word),
        }
    }
    let (options, meta) = (pairs(&options)?, pairs(&meta)?);
    if let Some((name, _)) = options.iter().find(|(n, _)| !["id", "score"].contains(&n.as_str())) {
        return Err(error(format!("invalid option '{name}', allowed options are: 'id', 'score'")));
    }
    let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    edit(source, |configuration| {
        let id = match option("id") {
            Some(id) => {
                edit::needs_free_id(configuration, &id)?;
                id
            }
            None => free_id(configuration, of),
        };
        let mut set = Element::new("meta_attributes").with("id", &id);
        if let Some(score) = option("score") {
            set.set("score", score);
        }
        if !rule.is_empty() {
            set.push(rule_of(&format!("{id}-rule"), of, &rule)?);
        }
        set_values(&mut set, &meta);
        configuration.child_or_insert(of.section()).push(set);
        Ok(())
    })
}

/// Expressions between `and`, or between `or`; what needs parentheses is a rule for `cibadmin`.
fn rule_of(id: &str, of: Of, words: &[&str]) -> Result<Element, Failure> {
    let joins: Vec<&str> = words.iter().copied().filter(|w| ["and", "or"].contains(w)).collect();
    let join = joins.first().copied().unwrap_or("and");
    if joins.iter().any(|j| *j != join) || words.iter().any(|w| w.contains(['(', ')'])) {
        let message = "a rule that mixes 'and' with 'or' is not taken here: write it with cibadmin, or make two sets";
        return Err(error(message));
    }
    let mut rule = Element::new("rule").with("id", id).with("boolean-op", join).with("score", "INFINITY");
    for part in words.split(|w| *w == join) {
        rule.push(expression(id, of, part)?);
    }
    Ok(rule)
}

fn expression(rule: &str, of: Of, words: &[&str]) -> Result<Element, Failure> {
    let named = |what: &str, parts: &[&str]| {
        let parts: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
        as_id(&format!("{rule}-{what}-{}", parts.join("-")))
    };
    match words {
        ["resource", agent] => {
            let parts: Vec<&str> = agent.split(':').collect();
            let (class, provider, kind) = match parts.as_slice() {
                [class, provider, kind] => (*class, *provider, *kind),
                _ => return Err(bad_rule(words, "expected 'resource [<standard>]:[<provider>]:[<type>]'")),
            };
            let mut e = Element::new("rsc_expression").with("id", named("rsc", &parts));
            for (name, value) in [("class", class), ("provider", provider), ("type", kind)] {
                if !value.is_empty() {
                    e.set(name, value);
                }
            }
            Ok(e)
        }
        ["op", name, rest @ ..] if matches!(of, Of::Operations) => {
            let e = Element::new("op_expression").with("id", named("op", &[name])).with("name", name);
            match rest {
                [] => Ok(e),
                [interval] if interval.starts_with("interval=") => {
                    Ok(e.with("interval", interval.trim_start_matches("interval=")))
                }
                _ => Err(bad_rule(words, "expected 'op <name> [interval=<interval>]'")),
            }
        }
        ["op", ..] => Err(bad_rule(words, "'op' stands in defaults of operations only")),
        ["date", "gt", date] => Ok(date_expression(rule, "gt").with("start", date)),
        ["date", "lt", date] => Ok(date_expression(rule, "lt").with("end", date)),
        ["date", "in_range", "to", end] => Ok(date_expression(rule, "in_range").with("end", end)),
        ["date", "in_range", start, "to", end] => {
            Ok(date_expression(rule, "in_range").with("start", start).with("end", end))
        }
        _ => Err(bad_rule(words, "expected 'resource', 'op' or 'date'")),
    }
}

fn date_expression(rule: &str, operation: &str) -> Element {
    Element::new("date_expression").with("id", format!("{rule}-expr")).with("operation", operation)
}

fn bad_rule(words: &[&str], why: &str) -> Failure {
    unable(&[format!("'{}' is not a valid rule expression: {why}", words.join(" "))])
}

fn list(source: &Source, of: Of, full: bool) -> Result<String, Failure> {
    let cib = source.cib()?;
    let section = cib.child("configuration").and_then(|c| c.child(of.section()));
    let mut out = String::new();
    for set in section.into_iter().flat_map(sets) {
        let score = set.attr("score").map(|s| format!(" score={s}")).unwrap_or_default();
        let _ = writeln!(out, "Meta Attrs: {}{score}", set.id().unwrap_or_default());
        let text = |p: &Element, name: &str| p.attr(name).unwrap_or_default().to_owned();
        let mut pairs: Vec<_> = nvpairs::written(set).map(|p| (text(p, "name"), text(p, "value"))).collect();
        pairs.sort();
        for (name, value) in pairs {
            let _ = writeln!(out, "  {name}={}", quoted(&value));
        }
        set.elements_named("rule").for_each(|rule| show_rule(rule, full, 1, &mut out));
    }
    Ok(if out.is_empty() { "No defaults set\n".to_owned() } else { out })
}

fn quoted(value: &str) -> String {
    if value.contains(char::is_whitespace) { format!("\"{value}\"") } else { value.to_owned() }
}

fn show_rule(rule: &Element, full: bool, level: usize, out: &mut String) {
    let pad = "  ".repeat(level);
    let id = |e: &Element| if full { format!(" (id:{})", e.id().unwrap_or_default()) } else { String::new() };
    let attributes = ["boolean-op", "score", "score-attribute"].into_iter();
    let attributes: String = attributes.filter_map(|n| rule.attr(n).map(|v| format!(" {n}={v}"))).collect();
    let _ = writeln!(out, "{pad}Rule:{attributes}{}", id(rule));
    for e in rule.elements() {
        if e.name() == "rule" {
            show_rule(e, full, level + 1, out);
            continue;
        }
        let of = |name: &str| e.attr(name).unwrap_or_default();
        let words = match (e.name(), of("operation")) {
            ("rsc_expression", _) => format!("resource {}:{}:{}", of("class"), of("provider"), of("type")),
            ("op_expression", _) => {
                let interval = e.attr("interval").map(|i| format!(" interval={i}")).unwrap_or_default();
                format!("op {}{interval}", of("name"))
            }
            ("date_expression", "gt") => format!("date gt {}", of("start")),
            ("date_expression", "lt") => format!("date lt {}", of("end")),
            ("date_expression", "in_range") => {
                format!("date in_range {} to {}", of("start"), of("end")).replace("  ", " ")
            }
            (_, "defined" | "not_defined") => format!("{} {}", of("operation"), of("attribute")),
            (_, operation) => format!("{} {operation} {}", of("attribute"), of("value")),
        };
        let _ = writeln!(out, "{pad}  Expression: {words}{}", id(e));
    }
}
