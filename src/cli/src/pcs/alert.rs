//! `pcs alert`.

use super::unable;
use crate::edit::alerts::{self, Said};
use crate::edit::{edit, error, masked, pair};
use crate::grammar::Line;
use crate::source::{Failure, Source};
use std::fmt::Write;
use xml::Element;

pub fn run(source: &Source, line: &Line, words: &[&str]) -> Result<String, Failure> {
    match words {
        [] | ["config" | "show"] => config(source),
        ["create", rest @ ..] => create(source, &Words::of(rest)?),
        ["update", id, rest @ ..] => {
            let mut given = Words::of(rest)?;
            let path = given.take("path");
            let said = given.said()?;
            edit(source, |c| alerts::update(c, id, path.as_deref(), &said).map(|()| String::new()))
        }
        ["delete" | "remove", ids @ ..] => remove(source, "alert", ids),
        ["recipient", "add", alert, rest @ ..] => add(source, line, alert, Words::of(rest)?),
        ["recipient", "update", id, rest @ ..] => update(source, line, id, Words::of(rest)?),
        ["recipient", "delete" | "remove", ids @ ..] => remove(source, "recipient", ids),
        _ => Err(error(format!("unknown alert command '{}' (see: pcs alert help)", words.join(" ")))),
    }
}

/// `name=value…  options name=value… meta name=value…`
struct Words {
    own: Vec<(String, String)>,
    said: Said,
}

impl Words {
    fn of(words: &[&str]) -> Result<Words, Failure> {
        let mut all = Words { own: Vec::new(), said: Said::default() };
        let mut place = "";
        for word in words {
            match *word {
                "options" | "meta" => place = word,
                word => match place {
                    "options" => all.said.options.push(pair(word)?),
                    "meta" => all.said.meta.push(pair(word)?),
                    _ => all.own.push(pair(word)?),
                },
            }
        }
        Ok(all)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.own.iter().rposition(|(n, _)| n == name)?;
        Some(self.own.remove(at).1)
    }

    /// What is left; an option that nobody has taken is an error.
    fn said(mut self) -> Result<Said, Failure> {
        let description = self.take("description");
        match self.own.first() {
            Some((name, _)) => Err(error(format!("invalid option '{name}'"))),
            None => Ok(Said { description, ..self.said }),
        }
    }
}

fn create(source: &Source, given: &Words) -> Result<String, Failure> {
    let mut given = Words { own: given.own.clone(), said: given.said.clone() };
    let (id, path) = (given.take("id"), given.take("path"));
    let said = given.said()?;
    let path = path.filter(|p| !p.is_empty()).ok_or_else(|| error("required option 'path' is missing"))?;
    edit(source, |c| alerts::create(c, id.as_deref(), &path, &said).map(|_| String::new()))
}

fn add(source: &Source, line: &Line, alert: &str, mut given: Words) -> Result<String, Failure> {
    let (id, value) = (given.take("id"), given.take("value"));
    let said = given.said()?;
    let value = value.filter(|v| !v.is_empty()).ok_or_else(|| error("required option 'value' is missing"))?;
    edit(source, |c| {
        alerts::alert_mut(c, alert)?;
        unique(c, line, alert, &value, None)?;
        alerts::add_recipient(c, alert, id.as_deref(), &value, &said).map(|()| String::new())
    })
}

fn update(source: &Source, line: &Line, id: &str, mut given: Words) -> Result<String, Failure> {
    let value = given.take("value");
    let said = given.said()?;
    edit(source, |c| {
        let alert = alerts::alert_of(c, id)?;
        if let Some(value) = &value {
            unique(c, line, &alert, value, Some(id))?;
        }
        alerts::update_recipient(c, id, value.as_deref(), &said).map(|()| String::new())
    })
}

/// An alert tells everybody once, unless it is forced.
fn unique(c: &Element, line: &Line, alert: &str, value: &str, except: Option<&str>) -> Result<(), Failure> {
    if !alerts::holder_of_value(c, alert, value, except) {
        return Ok(());
    }
    let there = format!("Recipient '{value}' in alert '{alert}' already exists");
    if line.has("--force") {
        kernel::errln!("Warning: {there}");
        return Ok(());
    }
    Err(unable(&[format!("{there}, use --force to override")]))
}

fn remove(source: &Source, kind: &str, ids: &[&str]) -> Result<String, Failure> {
    edit(source, |c| alerts::remove(c, kind, ids).map(|()| String::new()).map_err(|missing| unable(&missing)))
}

pub fn config(source: &Source) -> Result<String, Failure> {
    let cib = masked(&source.cib()?);
    let section = cib.child("configuration").and_then(|c| c.child("alerts"));
    let mut out = "Alerts:\n".to_owned();
    let mut any = false;
    for alert in section.into_iter().flat_map(|s| s.elements_named("alert")) {
        any = true;
        let of = |name: &str| alert.attr(name).unwrap_or_default();
        let _ = writeln!(out, " Alert: {} (path={})", of("id"), of("path"));
        settings(alert, 2, &mut out);
        let mut recipients = alert.elements_named("recipient").peekable();
        if recipients.peek().is_some() {
            out.push_str("  Recipients:\n");
        }
        for r in recipients {
            let of = |name: &str| r.attr(name).unwrap_or_default();
            let _ = writeln!(out, "   Recipient: {} (value={})", of("id"), of("value"));
            settings(r, 4, &mut out);
        }
    }
    if !any {
        out.push_str(" No alerts defined\n");
    }
    Ok(out)
}

fn settings(e: &Element, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    if let Some(text) = e.attr("description") {
        let _ = writeln!(out, "{pad}Description: {text}");
    }
    for (kind, title) in [("instance_attributes", "Options"), ("meta_attributes", "Meta options")] {
        let set = e.child(kind);
        let mut pairs: Vec<String> = set.into_iter().flat_map(crate::nvpairs::written).map(shown).collect();
        pairs.sort();
        if !pairs.is_empty() {
            let _ = writeln!(out, "{pad}{title}: {}", pairs.join(" "));
        }
    }
}

fn shown(pair: &Element) -> String {
    let (name, value) = (pair.attr("name").unwrap_or_default(), pair.attr("value").unwrap_or_default());
    if value.contains(' ') { format!("{name}=\"{value}\"") } else { format!("{name}={value}") }
}
