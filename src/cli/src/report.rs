//! Output in the three forms: text for people, XML as the original has it, JSON for programs.

use crate::source::Failure;
use base::exit::crm;
use clap::ValueEnum;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use xml::{Element, Node};

/// Whether this command has put out anything.
static WRITTEN: AtomicBool = AtomicBool::new(false);

/// `--output-as`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    #[value(alias = "html")]
    Console,
    Xml,
    Json,
    None,
}

/// Options that every command of this family has.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Common {
    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = "Output")]
    pub output_as: Format,
    /// Write to this file instead of standard output ('-' is standard output)
    #[arg(long, value_name = "DEST", help_heading = "Output")]
    pub output_to: Option<PathBuf>,
    /// Say more; may be given several times
    #[arg(short = 'V', long, action = clap::ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
    /// Show the version and end
    #[arg(short = '$', long, help_heading = "Output")]
    pub version: bool,
}

impl Common {
    /// Prints text, or elements within the result envelope; `text` is not made when it is not wanted.
    pub fn print(&self, text: impl FnOnce() -> String, elements: impl FnOnce() -> Vec<Element>) -> Result<(), Failure> {
        self.print_result(crm::OK, &[], text, elements)
    }

    /// [`Common::print`] with the exit code that the command is going to end with, and what it has to complain of.
    pub fn print_result(
        &self,
        code: i32,
        errors: &[String],
        text: impl FnOnce() -> String,
        elements: impl FnOnce() -> Vec<Element>,
    ) -> Result<(), Failure> {
        let out = match self.output_as {
            Format::None => return Ok(()),
            Format::Text | Format::Console => text(),
            Format::Xml => envelope(elements(), code, errors).to_document(),
            Format::Json => format!("{:#}\n", json(&envelope(elements(), code, errors))),
        };
        self.write(&out)
    }

    /// Whether people read it.
    pub fn is_text(&self) -> bool {
        matches!(self.output_as, Format::Text | Format::Console)
    }

    /// Ends the output: a program always finds a result, also where there was nothing to show.
    pub fn finish(&self, code: i32) -> Result<(), Failure> {
        match self.output_as {
            Format::Xml | Format::Json if !WRITTEN.load(Ordering::Relaxed) => {
                self.print_result(code, &[], String::new, Vec::new)
            }
            _ => Ok(()),
        }
    }

    pub fn write(&self, out: &str) -> Result<(), Failure> {
        WRITTEN.store(true, Ordering::Relaxed);
        match self.output_to.as_ref().filter(|p| p.as_os_str() != "-") {
            None => {
                put(out);
                Ok(())
            }
            Some(path) => std::fs::write(path, out)
                .map_err(|e| Failure::new(crm::CANTCREAT, format!("cannot write {}: {e}", path.display()))),
        }
    }

    /// Reports how the command failed and gives its exit code.
    pub fn fail(&self, program: &str, failure: &Failure) -> i32 {
        let first = format!("{program}: {}", failure.message);
        let details = failure.details.iter().filter(|_| !crate::log::is_for_programs());
        let errors: Vec<String> = std::iter::once(first).chain(details.cloned()).collect();
        match self.output_as {
            Format::Xml => {
                let _ = self.write(&envelope(Vec::new(), failure.code, &errors).to_document());
            }
            Format::Json => {
                let _ = self.write(&format!("{:#}\n", json(&envelope(Vec::new(), failure.code, &errors))));
            }
            _ => {
                kernel::errln!("{program}: {}", failure.message);
                if !crate::log::is_for_programs() {
                    failure.details.iter().for_each(|line| kernel::errln!("  {line}"));
                }
            }
        }
        failure.code
    }
}

/// Text on standard output.
pub fn put(text: &str) {
    kernel::output::put(text);
}

/// A status that a file tells: what runs the cluster is not known from it.
pub fn of_a_file(status: &str) -> String {
    let line =
        |l: &str| if l.starts_with("  * Stack: ") { "  * Stack: unknown\n".to_owned() } else { format!("{l}\n") };
    status.lines().map(line).collect()
}

/// The document as it is printed.
pub trait ToDocument {
    fn to_document(&self) -> String;
}

impl ToDocument for Element {
    fn to_document(&self) -> String {
        let mut out = String::new();
        // The declaration went with 3.0.
        if crate::args::compat_21() {
            out += "<?xml version=\"1.0\"?>\n";
        }
        write(self, 0, &mut out);
        out
    }
}

/// Elements whose text is a document of its own: written as it stands, in a CDATA section.
const QUOTED: [&str; 6] = ["content", "output", "patchset", "updated", "xml", "xml-patchset"];

/// An element that quotes a document, or what a program wrote.
pub fn quoted(name: &str, text: &str) -> Element {
    let mut e = Element::new(name);
    e.nodes_mut().push(Node::Text(text.to_owned()));
    e
}

fn quotes(e: &Element) -> bool {
    // What a program put out has its source with it, and is plain text.
    QUOTED.contains(&e.name()) && e.attr("source").is_none() && matches!(e.nodes().get(0), Some(Node::Text(_)))
}

fn write(e: &Element, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    if quotes(e) {
        let bare = e.attrs().fold(Element::new(e.name()), |copy, (n, v)| copy.with(n, v)).to_compact();
        // A section cannot hold its own end.
        let text = e.text().replace("]]>", "]]]]><![CDATA[>");
        *out += &format!("{indent}{}><![CDATA[{text}]]></{}>\n", bare.trim_end_matches("/>"), e.name());
    } else if e.descendants().any(quotes) {
        let bare = e.attrs().fold(Element::new(e.name()), |copy, (n, v)| copy.with(n, v)).to_compact();
        *out += &format!("{indent}{}>\n", bare.trim_end_matches("/>"));
        e.elements().for_each(|child| write(child, level + 1, out));
        *out += &format!("{indent}</{}>\n", e.name());
    } else {
        e.write_pretty(out, level);
    }
}

/// The envelope of Pacemaker's `--output-as=xml`.
pub fn envelope(body: Vec<Element>, code: i32, errors: &[String]) -> Element {
    let request: Vec<String> = std::env::args().map(|word| as_typed(&word)).collect();
    let older = crate::args::compat_21();
    let api = if older { "2.25" } else { "2.38" };
    let mut result = Element::new("pacemaker-result").with("api-version", api).with("request", request.join(" "));
    body.into_iter().for_each(|e| result.push(if older { as_of_21(e) } else { e }));
    let mut status = Element::new("status").with("code", code.to_string()).with("message", exit_words(code));
    if !errors.is_empty() {
        let mut list = Element::new("errors");
        for error in errors {
            let mut e = Element::new("error");
            e.nodes_mut().push(Node::Text(error.clone()));
            list.push(e);
        }
        status.push(list);
    }
    result.push(status);
    result
}

/// Attributes of an element that 2.1's schemas do not have: what checks an answer against them would take none of it.
const SINCE_3: [(&str, &[&str]); 8] = [
    ("stack", &["pacemakerd-state"]),
    ("last_update", &["origin"]),
    ("cluster_options", &["fencing-enabled", "fencing-timeout-ms"]),
    ("resource", &["maintenance", "removed"]),
    ("group", &["maintenance"]),
    ("clone", &["maintenance"]),
    ("bundle", &["maintenance"]),
    ("resource_history", &["removed"]),
];

/// The element as 2.1 has it.
fn as_of_21(mut e: Element) -> Element {
    for (name, attributes) in SINCE_3 {
        if e.name() == name {
            attributes.iter().for_each(|a| drop(e.remove_attr(a)));
        }
    }
    let inner: Vec<Element> = e.elements().cloned().collect();
    if !inner.is_empty() && !quotes(&e) {
        e.nodes_mut().clear();
        inner.into_iter().for_each(|child| e.push(as_of_21(child)));
    }
    e
}

/// A word of a command line so that a shell reads it as one.
fn as_typed(word: &str) -> String {
    if reads_as_one_word(word) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Whether a shell takes it, and as a single word: quotes and backslashes of its own may be in it.
fn reads_as_one_word(word: &str) -> bool {
    let (mut quote, mut seen, mut ended) = (None, false, false);
    let mut letters = word.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (Some('"') | None, '\\') if letters.next().is_none() => return false,
            (Some(_), _) => {}
            (None, ' ' | '\t' | '\n') => ended = seen,
            // What follows a '#' at a word's start is a comment.
            (None, '#') if !seen || ended => return seen,
            (None, _) if ended => return false,
            (None, '\'' | '"') => (quote, seen) = (Some(c), true),
            (None, _) => seen = true,
        }
    }
    seen && quote.is_none()
}

/// Words of an exit code.
pub fn exit_words(code: i32) -> &'static str {
    crate::crm_error::EXIT_CODES
        .iter()
        .find(|(c, _, _)| *c == code)
        .map_or("Unknown exit status", |(_, _, words)| words)
}

/// Elements that are lists of what stands in them.
const LISTS: [&str; 15] = [
    "nodes",
    "resources",
    "node_attributes",
    "node_history",
    "failures",
    "bans",
    "tickets",
    "errors",
    "resource_history_list",
    "constraints",
    "links",
    "members",
    "problems",
    "fence_history",
    "warnings",
];

/// JSON of an element: attributes become members (`true`, `false` and counts typed), a list element becomes an array
/// whose objects carry their element name as `kind`, what an element with attributes contains stands in `children`.
pub fn json(e: &Element) -> Value {
    if LISTS.contains(&e.name()) {
        return Value::Array(e.elements().map(with_kind).collect());
    }
    if e.attrs().len() == 0 && e.elements().next().is_none() {
        return Value::String(e.text());
    }
    let mut object = Map::new();
    for (name, value) in e.attrs() {
        object.insert(name.replace('-', "_"), typed(name, value));
    }
    let mut rest = Vec::new();
    for child in e.elements() {
        let singular = e.elements_named(child.name()).count() == 1;
        let plain = e.name() == "summary" || e.name() == "pacemaker-result" || LISTS.contains(&child.name());
        if singular && plain && !object.contains_key(child.name()) {
            object.insert(child.name().replace('-', "_"), json(child));
        } else {
            rest.push(with_kind(child));
        }
    }
    if !rest.is_empty() {
        object.insert("children".to_owned(), Value::Array(rest));
    }
    let text = e.text();
    if !text.trim().is_empty() {
        object.insert("text".to_owned(), Value::String(text));
    }
    Value::Object(object)
}

fn with_kind(e: &Element) -> Value {
    match json(e) {
        Value::Object(mut object) => {
            object.entry("kind").or_insert_with(|| Value::String(e.name().to_owned()));
            Value::Object(object)
        }
        other => other,
    }
}

/// Ids and names stay text even if they are digits.
fn typed(name: &str, value: &str) -> Value {
    let text = ["id", "name", "uname", "value", "version", "api-version", "node", "node-id"].contains(&name);
    match value {
        _ if text => Value::String(value.to_owned()),
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => value.parse::<i64>().map_or_else(|_| Value::String(value.to_owned()), Value::from),
    }
}
