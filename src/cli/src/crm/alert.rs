//! `crm configure alert`: an agent, what it is told of, and whom it tells.

use crate::edit::alerts::{self, Said};
use crate::edit::{error, pair};
use crate::source::Failure;
use xml::Element;

/// What can be selected, in the schema's words.
const KINDS: [&str; 4] = ["attributes", "fencing", "nodes", "resources"];

pub fn add(configuration: &mut Element, id: &str, words: &[&str]) -> Result<String, Failure> {
    let [path, rest @ ..] = words else {
        return Err(error(format!("syntax in alert: Expected at least 2 arguments near <alert> parsing 'alert {id}'")));
    };
    let taken = configuration.descendants().any(|e| e.name() == "alert" && e.id() == Some(id));
    if taken {
        return Err(error(format!("Cannot create alert with ID '{id}': Found existing alert with same ID.")));
    }
    let mut words = Words { all: rest, at: 0 };
    let said = words.said()?;
    alerts::create(configuration, Some(id), path, &said)?;
    let mut number = 0;
    while let Some(word) = words.next() {
        match word {
            "select" => select(alerts::alert_mut(configuration, id)?, id, &mut words)?,
            "to" => {
                let (values, inside) = words.recipient()?;
                let mut inner = Words { all: &inside, at: 0 };
                let said = inner.said()?;
                inner.done()?;
                for value in values {
                    number += 1;
                    let own = format!("{id}-recipient-{number}");
                    alerts::add_recipient(configuration, id, Some(&own), &value, &said)?;
                }
            }
            other => return Err(error(format!("syntax in alert: Unknown arguments: {other} near <{other}>"))),
        }
    }
    Ok(String::new())
}

fn select(alert: &mut Element, id: &str, words: &mut Words<'_>) -> Result<(), Failure> {
    let mut select = Element::new("select");
    let mut number = 0;
    while let Some(kind) = words.peek().filter(|w| KINDS.contains(w)) {
        words.next();
        let mut e = Element::new(format!("select_{kind}").as_str());
        if kind == "attributes" && words.peek() == Some("{") {
            for name in words.braces()? {
                let attribute = Element::new("attribute").with("name", name).with("id", format!("{id}-{number}"));
                e.push(attribute);
                number += 1;
            }
        }
        select.push(e);
    }
    if select.elements().count() == 0 {
        return Err(error(format!("syntax in alert: select needs some of {}", KINDS.join(", "))));
    }
    alert.push(select);
    Ok(())
}

/// The alert in crmsh's words.
pub fn show(alert: &Element) -> String {
    let of = |name: &str| alert.attr(name).unwrap_or_default();
    let mut text = format!("alert {} \"{}\"", of("id"), of("path"));
    text += &settings(alert, " \\\n\t");
    if let Some(select) = alert.child("select") {
        let kinds: Vec<String> = select.elements().map(kind).collect();
        text += &format!(" \\\n\tselect {}", kinds.join(" "));
    }
    for recipient in alert.elements_named("recipient") {
        let value = recipient.attr("value").unwrap_or_default();
        let plain = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        let value = if plain { value.to_owned() } else { format!("\"{value}\"") };
        text += &format!(" \\\n\tto {value}{}", settings(recipient, " "));
    }
    text
}

fn kind(e: &Element) -> String {
    let name = e.name().trim_start_matches("select_");
    let attributes: Vec<&str> = e.elements_named("attribute").filter_map(|a| a.attr("name")).collect();
    if attributes.is_empty() { name.to_owned() } else { format!("{name} {{ {} }}", attributes.join(" ")) }
}

fn settings(e: &Element, before: &str) -> String {
    let mut text = String::new();
    for (kind, word) in [("instance_attributes", "attributes"), ("meta_attributes", "meta")] {
        let pairs: Vec<String> =
            e.elements_named(kind).flat_map(crate::nvpairs::written).map(super::show::quoted_pair).collect();
        if !pairs.is_empty() {
            text += &format!("{before}{word} {}", pairs.join(" "));
        }
    }
    text
}

struct Words<'a> {
    all: &'a [&'a str],
    at: usize,
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.all.get(self.at).copied()
    }

    fn next(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    fn done(&self) -> Result<(), Failure> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(error(format!("syntax in alert: Unknown arguments: {word} near <{word}>"))),
        }
    }

    /// `[attributes n=v…] [meta n=v…]`.
    fn said(&mut self) -> Result<Said, Failure> {
        let mut said = Said { options_first: true, ..Said::default() };
        while let Some(place) = self.peek().filter(|w| ["attributes", "meta"].contains(w)) {
            self.next();
            while let Some(word) = self.peek().filter(|w| w.contains('=')) {
                self.next();
                if place == "meta" { &mut said.meta } else { &mut said.options }.push(pair(word)?);
            }
        }
        Ok(said)
    }

    /// What stands between braces.
    fn braces(&mut self) -> Result<Vec<&'a str>, Failure> {
        self.next();
        let rest = &self.all[self.at..];
        let end =
            rest.iter().position(|w| *w == "}").ok_or_else(|| error("syntax in alert: Expected closing brace '}'"))?;
        self.at += end + 1;
        Ok(rest[..end].to_vec())
    }

    /// `VALUE [settings]`, in braces or up to the next `to`; values and the settings' words.
    fn recipient(&mut self) -> Result<(Vec<String>, Vec<&'a str>), Failure> {
        let words = match self.peek() {
            Some("{") => self.braces()?,
            _ => {
                let rest = &self.all[self.at..];
                let end = rest.iter().position(|w| ["to", "select"].contains(w)).unwrap_or(rest.len());
                self.at += end;
                rest[..end].to_vec()
            }
        };
        let settings = words.iter().position(|w| ["attributes", "meta"].contains(w)).unwrap_or(words.len());
        let values: Vec<String> = words[..settings].iter().map(|w| (*w).to_owned()).collect();
        match values.is_empty() {
            true => Err(error("syntax in alert: Expected recipient near <to>")),
            false => Ok((values, words[settings..].to_vec())),
        }
    }
}
