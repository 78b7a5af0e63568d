//! From text to tree, token by token and within limits: beside the text only the tree itself is in memory.
//!
//! The tokens are xmlparser's, which sees to names, characters and syntax; here are nesting, references (there is no document
//! type, so only the predefined ones and characters), repeated attributes and name-space prefixes.

use crate::shared::Words;
use crate::tree::{Element, Name, Node};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use xmlparser::{ElementEnd, StrSpan, Token, Tokenizer};

/// Deepest nesting that is accepted; a CIB needs about a dozen levels.
pub const MAX_DEPTH: usize = 200;
/// Largest document that is accepted, in bytes.
pub const MAX_BYTES: usize = 1 << 30;

/// Up to this number of attributes, repetitions are looked for one by one.
const FEW_ATTRIBUTES: usize = 24;

/// Why a text is not an acceptable document, and where (1-based line and column).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    pub line: u32,
    pub column: u32,
    pub reason: String,
}

/// Reads one document and returns its root element.
pub fn parse(text: &str) -> Result<Element, ParseError> {
    if text.len() > MAX_BYTES {
        return Err(ParseError { line: 1, column: 1, reason: format!("document is larger than {MAX_BYTES} bytes") });
    }
    let mut builder = Builder {
        names: Words::with_room((text.len() / 64).clamp(32, 512)),
        values: Words::for_text(text.len()),
        lines: LineCounter { text: text.as_bytes(), at: 0, line: 1, line_start: 0 },
        open: Vec::new(),
        text: String::new(),
        prefixes: Vec::new(),
        tag: None,
        root: None,
    };
    for token in Tokenizer::from(text) {
        let token = token.map_err(|e| {
            let pos = e.pos();
            ParseError { line: pos.row, column: pos.col, reason: e.to_string() }
        })?;
        builder.take(token)?;
    }
    match builder.root {
        Some(root) if builder.open.is_empty() => Ok(root),
        _ => {
            let reason = match builder.open.last() {
                Some(open) => format!("<{}> is never closed", open.local),
                None => "there is no root element".to_owned(),
            };
            Err(builder.lines.error(text.len(), reason))
        }
    }
}

/// Line numbers for offsets that only grow, in one pass over the text.
struct LineCounter<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl LineCounter<'_> {
    /// Line and column.
    fn place_of(&mut self, offset: usize) -> (u32, u32) {
        let passed = self.text.get(self.at..offset).unwrap_or_default();
        if let Some(last) = passed.iter().rposition(|b| *b == b'\n') {
            self.line += passed.iter().filter(|b| **b == b'\n').count() as u32;
            self.line_start = self.at + last + 1;
        }
        self.at = self.at.max(offset);
        (self.line, (offset.saturating_sub(self.line_start) + 1) as u32)
    }

    fn error(&mut self, offset: usize, reason: impl Into<String>) -> ParseError {
        let (line, column) = self.place_of(offset);
        ParseError { line, column, reason: reason.into() }
    }
}

/// An element whose end has not come yet.
struct Open<'a> {
    prefix: &'a str,
    local: &'a str,
    element: Element,
    /// Number of prefixes that were known before it.
    prefixes: usize,
}

/// A start tag up to here.
struct Tag<'a> {
    prefix: &'a str,
    local: &'a str,
    offset: usize,
    place: (u32, u32),
    attrs: Vec<Attr<'a>>,
}

struct Attr<'a> {
    prefix: &'a str,
    local: &'a str,
    value: Arc<str>,
    offset: usize,
}

struct Builder<'a> {
    names: Words,
    values: Words,
    lines: LineCounter<'a>,
    open: Vec<Open<'a>>,
    /// Text of the innermost open element since its last child.
    text: String,
    /// Prefixes that the open elements declare.
    prefixes: Vec<&'a str>,
    tag: Option<Tag<'a>>,
    root: Option<Element>,
}

impl<'a> Builder<'a> {
    fn take(&mut self, token: Token<'a>) -> Result<(), ParseError> {
        match token {
            Token::ElementStart { prefix, local, span } => self.start(prefix.as_str(), local.as_str(), span.start())?,
            Token::Attribute { prefix, local, value, .. } => self.attribute(prefix, local, value)?,
            Token::ElementEnd { end: ElementEnd::Open, .. } => self.enter()?,
            Token::ElementEnd { end: ElementEnd::Empty, .. } => {
                self.enter()?;
                self.leave();
            }
            Token::ElementEnd { end: ElementEnd::Close(prefix, local), span } => {
                let open = self.open.last();
                if !open.is_some_and(|o| same_name((o.prefix, o.local), (prefix.as_str(), local.as_str()))) {
                    let expected = open.map_or("no end tag".to_owned(), |o| format!("</{}>", o.local));
                    return Err(self.lines.error(span.start(), format!("expected {expected}, found </{local}>")));
                }
                self.leave();
            }
            Token::Text { text } => self.text(text, false)?,
            Token::Cdata { text, .. } => self.text(text, true)?,
            Token::Comment { text, .. } => {
                self.flush_text();
                if let Some(open) = self.open.last_mut() {
                    open.element.nodes_mut().push(Node::Comment(text.as_str().to_owned()));
                }
            }
            Token::ProcessingInstruction { .. } => self.flush_text(),
            Token::Declaration { .. } => {}
            Token::DtdStart { span, .. }
            | Token::EmptyDtd { span, .. }
            | Token::EntityDeclaration { span, .. }
            | Token::DtdEnd { span } => {
                return Err(self.lines.error(span.start(), "document type declarations are not accepted"));
            }
        }
        Ok(())
    }

    fn start(&mut self, prefix: &'a str, local: &'a str, offset: usize) -> Result<(), ParseError> {
        let place = self.lines.place_of(offset);
        if self.open.len() >= MAX_DEPTH {
            return Err(self.lines.error(offset, format!("nested deeper than {MAX_DEPTH} elements")));
        }
        // The list of the tag before is used again.
        let mut attrs = self.tag.take().map(|t| t.attrs).unwrap_or_default();
        attrs.clear();
        self.tag = Some(Tag { prefix, local, offset, place, attrs });
        Ok(())
    }

    fn attribute(&mut self, prefix: StrSpan<'a>, local: StrSpan<'a>, value: StrSpan<'a>) -> Result<(), ParseError> {
        let plain = unescape(value.as_str(), true).map_err(|e| self.lines.error(value.start() + e.0, e.1))?;
        let value = self.values.get(&plain);
        let offset = local.start();
        if let Some(tag) = &mut self.tag {
            tag.attrs.push(Attr { prefix: prefix.as_str(), local: local.as_str(), value, offset });
        }
        Ok(())
    }

    /// The start tag is complete.
    fn enter(&mut self) -> Result<(), ParseError> {
        let Some(mut tag) = self.tag.take() else { return Ok(()) };
        if let Some(twice) = repeated(&tag.attrs) {
            return Err(self.lines.error(twice.offset, format!("attribute '{}' is given twice", twice.local)));
        }
        let before = self.prefixes.len();
        self.prefixes.extend(tag.attrs.iter().filter(|a| a.prefix == "xmlns").map(|a| a.local));
        let used = tag.attrs.iter().filter(|a| a.prefix != "xmlns").map(|a| (a.prefix, a.offset));
        for (prefix, offset) in std::iter::once((tag.prefix, tag.offset)).chain(used) {
            if !prefix.is_empty() && prefix != "xml" && !self.prefixes.contains(&prefix) {
                return Err(self.lines.error(offset, format!("name-space prefix '{prefix}' is not declared")));
            }
        }
        let is_own = |a: &&mut Attr<'_>| a.prefix != "xmlns" && !(a.prefix.is_empty() && a.local == "xmlns");
        let own = tag.attrs.iter_mut().filter(is_own);
        let mut attrs = Vec::with_capacity(own.size_hint().1.unwrap_or(0));
        attrs.extend(own.map(|a| (Name::shared(self.names.get(a.local)), Arc::clone(&a.value))));
        let name = Name::shared(self.names.get(tag.local));
        let element = Element::from_parts(name, attrs, Vec::new(), tag.place);
        self.flush_text();
        self.open.push(Open { prefix: tag.prefix, local: tag.local, element, prefixes: before });
        self.tag = Some(tag);
        Ok(())
    }

    /// The innermost open element is complete.
    fn leave(&mut self) {
        self.flush_text();
        let Some(mut open) = self.open.pop() else { return };
        open.element.nodes_mut().shrink_to_fit();
        self.prefixes.truncate(open.prefixes);
        match self.open.last_mut() {
            Some(parent) => parent.element.push(open.element),
            None => self.root = Some(open.element),
        }
    }

    fn text(&mut self, text: StrSpan<'a>, literal: bool) -> Result<(), ParseError> {
        let plain = match literal {
            true => line_ends(text.as_str()),
            false => unescape(text.as_str(), false).map_err(|e| self.lines.error(text.start() + e.0, e.1))?,
        };
        self.text.push_str(&plain);
        Ok(())
    }

    /// What was between two tags becomes a child, unless it is white space only.
    fn flush_text(&mut self) {
        if let Some(open) = self.open.last_mut().filter(|_| !self.text.trim().is_empty()) {
            open.element.nodes_mut().push(Node::Text(self.text.clone()));
        }
        self.text.clear();
    }
}

/// Prefixes and local names. The usual prefix is empty, and to compare nothing with nothing can cost more than all the rest:
/// it is a masked load from an address that may not be there.
fn same_name(a: (&str, &str), b: (&str, &str)) -> bool {
    a.1 == b.1 && a.0.len() == b.0.len() && (a.0.is_empty() || a.0 == b.0)
}

/// The first attribute whose name came before, in the same tag.
fn repeated<'t, 'a>(attrs: &'t [Attr<'a>]) -> Option<&'t Attr<'a>> {
    let same = |a: &Attr<'a>, b: &Attr<'a>| same_name((a.prefix, a.local), (b.prefix, b.local));
    if attrs.len() <= FEW_ATTRIBUTES {
        return attrs.iter().enumerate().find(|(i, a)| attrs[..*i].iter().any(|b| same(a, b))).map(|(_, a)| a);
    }
    let mut seen = BTreeSet::new();
    attrs.iter().find(|a| !seen.insert((a.local, a.prefix)))
}

/// XML 1.0 §2.11: every line end is a line feed.
fn line_ends(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => text.replace("\r\n", "\n").replace('\r', "\n").into(),
        false => text.into(),
    }
}

/// Text as meant: line ends, references, and in attribute values blanks for white space (§3.3.3). An error has its offset.
fn unescape(text: &str, attribute: bool) -> Result<Cow<'_, str>, (usize, String)> {
    let special = |b: u8| matches!(b, b'&' | b'\r') || (attribute && matches!(b, b'\n' | b'\t'));
    if !text.bytes().any(special) {
        return Ok(text.into());
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        match c {
            '&' => {
                let (meant, length) = reference(rest).map_err(|reason| (at, reason))?;
                out.push(meant);
                at += length;
                continue;
            }
            '\r' if rest.starts_with("\r\n") => {}
            '\r' | '\n' | '\t' if attribute => out.push(' '),
            '\r' => out.push('\n'),
            c => out.push(c),
        }
        at += c.len_utf8();
    }
    Ok(out.into())
}

/// The character that a reference at the start of `text` stands for, and the length of the reference.
fn reference(text: &str) -> Result<(char, usize), String> {
    let Some(name) = text[1..].split_once(';').map(|(name, _)| name).filter(|n| n.len() <= 10) else {
        return Err("'&' is not the start of a reference; write &amp;".to_owned());
    };
    let number = |digits: &str, radix: u32| {
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        let c = char::from_u32(u32::from_str_radix(digits, radix).ok().filter(|_| valid)?)?;
        base::outside::is_xml_char(c).then_some(c)
    };
    let meant = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
            (Some(hex), _) => number(hex, 16),
            (None, Some(decimal)) => number(decimal, 10),
            (None, None) => None,
        },
    };
    meant.map(|c| (c, name.len() + 2)).ok_or_else(|| format!("unknown reference '&{name};'"))
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
