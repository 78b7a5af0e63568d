//! Rules as people write them: conditions between `and` and `or`, read into elements and shown again.

use crate::edit::error;
use crate::source::Failure;
use std::collections::BTreeSet;
use xml::Element;

/// Rules within rules, at most.
const MAX_DEPTH: usize = 16;

/// A condition; its elements have no ids yet.
#[derive(Debug)]
pub enum Condition {
    One(Element),
    All { join: &'static str, of: Vec<Condition> },
}

/// Ids that are taken: those of a document, and those that were given since; and how a front end numbers and calls what it makes.
pub struct Ids {
    taken: BTreeSet<String>,
    first: usize,
    /// How the front end spells what it makes.
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Pcs,
    /// `expression` in ids, names of parts as they are, and `and` is not written.
    Crmsh,
}

impl Ids {
    /// As pcs has them.
    pub fn of(root: &Element) -> Ids {
        let taken = root.descendants().filter_map(Element::id).map(str::to_owned).collect();
        Ids { taken, first: 1, style: Style::Pcs }
    }

    /// As crmsh has them.
    pub fn from_nought(root: &Element) -> Ids {
        Ids { first: 0, style: Style::Crmsh, ..Ids::of(root) }
    }

    /// What had this id is gone.
    pub fn release(&mut self, id: &str) {
        self.taken.remove(id);
    }

    /// The wanted id, with a number where it is taken.
    pub fn free(&mut self, wanted: &str) -> String {
        let wanted = crate::nvpairs::as_id(wanted);
        let mut id = wanted.clone();
        let mut number = self.first;
        while !self.taken.insert(id.clone()) {
            id = format!("{wanted}-{number}");
            number += 1;
        }
        id
    }
}

/// Reads an expression: `pingd lt 1 or not_defined pingd`, `(date gt 2030-01-01 and #uname eq a) or defined b`.
pub fn parse(words: &[&str]) -> Result<Condition, Failure> {
    let whole = words.join(" ");
    let spaced = whole.replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    if tokens.is_empty() {
        return Err(error("no rule expression was specified"));
    }
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let read = reader.either(0).and_then(|c| match reader.tokens.get(reader.at) {
        None => Ok(c),
        Some(odd) => Err(format!("unexpected '{odd}'")),
    });
    read.map_err(|why| error(format!("'{whole}' is not a valid rule expression: {why}")))
}

/// A rule's element with the ids of all that is in it.
pub fn element(condition: &Condition, id: String, ids: &mut Ids) -> Element {
    let mut rule = Element::new("rule").with("id", &id);
    match condition {
        Condition::One(_) => rule.push(inner(condition, &id, ids)),
        Condition::All { join, of } => {
            if !(ids.style == Style::Crmsh && *join == "and") {
                rule.set("boolean-op", join);
            }
            of.iter().for_each(|c| rule.push(inner(c, &id, ids)));
        }
    }
    rule
}

fn inner(condition: &Condition, rule: &str, ids: &mut Ids) -> Element {
    match condition {
        Condition::All { .. } => {
            let id = ids.free(&format!("{rule}-rule"));
            element(condition, id, ids).with("score", "0")
        }
        Condition::One(e) => {
            let crmsh = ids.style == Style::Crmsh;
            let id = ids.free(&format!("{rule}-{}", if crmsh { "expression" } else { "expr" }));
            let mut e = e.clone();
            e.set("id", &id);
            for part in e.elements_mut() {
                let suffix = if crmsh { part.name().to_owned() } else { part.name().replace('_', "") };
                part.set("id", ids.free(&format!("{id}-{suffix}")));
            }
            e
        }
    }
}

struct Reader<'a> {
    tokens: &'a [&'a str],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let token = self.peek().ok_or("unexpected end of rule")?;
        self.at += 1;
        Ok(token)
    }

    fn either(&mut self, depth: usize) -> Result<Condition, String> {
        self.joined("or", depth, |r, depth| r.joined("and", depth, Self::one))
    }

    fn joined(
        &mut self,
        join: &'static str,
        depth: usize,
        part: impl Fn(&mut Self, usize) -> Result<Condition, String>,
    ) -> Result<Condition, String> {
        let first = part(self, depth)?;
        let mut of = vec![first];
        while self.peek() == Some(join) {
            self.at += 1;
            of.push(part(self, depth)?);
        }
        match of.len() {
            1 => of.pop().ok_or_else(|| "nothing".to_owned()),
            _ => Ok(Condition::All { join, of }),
        }
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} parentheses within each other"));
        }
        let first = self.next()?;
        let leaf = |e: Element| Ok(Condition::One(e));
        match first {
            "(" => {
                let inside = self.either(depth + 1)?;
                match self.next()? {
                    ")" => Ok(inside),
                    odd => Err(format!("unexpected '{odd}'")),
                }
            }
            "defined" | "not_defined" => {
                leaf(Element::new("expression").with("operation", first).with("attribute", self.next()?))
            }
            "date" => leaf(self.date()?),
            "date-spec" => {
                let mut spec = Element::new("date_spec");
                self.pairs(&mut spec)?;
                leaf(Element::new("date_expression").with("operation", "date_spec").with_child(spec))
            }
            ")" | "and" | "or" => Err(format!("unexpected '{first}'")),
            attribute => {
                // crmsh has the type before the operation.
                let word = self.next()?;
                let (kind, operation) = word.split_once(':').map_or((None, word), |(kind, op)| (Some(kind), op));
                if !["lt", "gt", "lte", "gte", "eq", "ne"].contains(&operation) {
                    return Err(format!("unexpected '{word}'"));
                }
                let mut e = Element::new("expression").with("operation", operation).with("attribute", attribute);
                if let Some(kind) = kind {
                    e.set("type", kind);
                }
                let mut value = self.next()?;
                let followed = self.peek().is_some_and(|next| !["and", "or", ")"].contains(&next));
                if followed && ["string", "integer", "number", "version"].contains(&value) {
                    e.set("type", value);
                    value = self.next()?;
                }
                leaf(e.with("value", value))
            }
        }
    }

    fn date(&mut self) -> Result<Element, String> {
        let e = Element::new("date_expression");
        match self.next()? {
            "gt" => Ok(e.with("operation", "gt").with("start", self.next()?)),
            "lt" => Ok(e.with("operation", "lt").with("end", self.next()?)),
            "spec" => {
                let mut spec = Element::new("date_spec");
                self.pairs(&mut spec)?;
                Ok(e.with("operation", "date_spec").with_child(spec))
            }
            "in" => {
                let mut e = e.with("operation", "in_range");
                let mut all = Element::new("duration");
                self.pairs(&mut all)?;
                for name in ["start", "end"] {
                    if let Some(value) = all.remove_attr(name) {
                        e.set(name, &value);
                    }
                }
                if all.attrs().next().is_some() {
                    e.push(all);
                }
                Ok(e)
            }
            "in_range" => {
                let mut e = e.with("operation", "in_range");
                let start = self.next()?;
                if start != "to" {
                    e.set("start", start);
                    match self.next()? {
                        "to" => {}
                        odd => return Err(format!("unexpected '{odd}'")),
                    }
                }
                match self.next()? {
                    "duration" => {
                        let mut duration = Element::new("duration");
                        self.pairs(&mut duration)?;
                        e.push(duration);
                    }
                    end => e.set("end", end),
                }
                Ok(e)
            }
            odd => Err(format!("unexpected '{odd}'")),
        }
    }

    /// `name=value` any number of times, at least once.
    fn pairs(&mut self, e: &mut Element) -> Result<(), String> {
        let from = self.at;
        while let Some((name, value)) = self.peek().and_then(|t| t.split_once('=')) {
            if xml_name(name) {
                e.set(name, value);
            }
            self.at += 1;
        }
        if self.at == from { Err("a date needs NAME=VALUE".to_owned()) } else { Ok(()) }
    }
}

fn xml_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One condition in pcs's words, without what stands in elements of its own.
pub fn words(e: &Element) -> String {
    let of = |name: &str| e.attr(name).unwrap_or_default();
    match (e.name(), of("operation")) {
        ("date_expression", "date_spec") => String::new(),
        ("date_expression", "gt") => format!("date gt {}", of("start")),
        ("date_expression", "lt") => format!("date lt {}", of("end")),
        ("date_expression", "in_range") => {
            let end = if e.child("duration").is_some() { "duration" } else { of("end") };
            ["date", "in_range", of("start"), "to", end]
                .into_iter()
                .filter(|w| !w.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
        ("rsc_expression", _) => format!("resource {}:{}:{}", of("class"), of("provider"), of("type")),
        ("op_expression", _) => {
            let interval = e.attr("interval").map(|i| format!(" interval={i}")).unwrap_or_default();
            format!("op {}{interval}", of("name"))
        }
        (_, "defined" | "not_defined") => format!("{} {}", of("operation"), of("attribute")),
        (_, operation) => {
            let words = [of("attribute"), operation, of("type"), of("value")];
            words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let mut ids = Ids::of(&Element::new("x").with("id", "r-expr"));
        parse(&words).map(|c| element(&c, "r".to_owned(), &mut ids).to_compact()).map_err(|f| f.message)
    }

    #[test]
    fn conditions_join_nest_and_are_numbered() {
        assert_eq!(
            read("(defined p and p gt integer 10) or site eq a").expect("good"),
            "<rule id=\"r\" boolean-op=\"or\"><rule id=\"r-rule\" boolean-op=\"and\" score=\"0\"><expression operation=\"defined\" \
             attribute=\"p\" id=\"r-rule-expr\"/><expression operation=\"gt\" attribute=\"p\" type=\"integer\" value=\"10\" \
             id=\"r-rule-expr-1\"/></rule><expression operation=\"eq\" attribute=\"site\" value=\"a\" id=\"r-expr-1\"/></rule>"
        );
        assert!(
            read("date in_range 2010-01-01 to duration years=1")
                .expect("good")
                .contains("<duration years=\"1\" id=\"r-expr-1-duration\"/>")
        );
        assert!(read("a eq string").expect("a value of that name").contains("value=\"string\""));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_place() {
        for (text, why) in [
            ("#uname is n", "unexpected 'is'"),
            ("a eq", "unexpected end of rule"),
            ("a eq b )", "unexpected ')'"),
            ("date at x", "unexpected 'at'"),
        ] {
            assert!(read(text).expect_err(text).contains(why), "{text}");
        }
        assert!(read(&format!("{}a eq b", "( ".repeat(60_000))).expect_err("deep").contains("parentheses"));
    }
}
