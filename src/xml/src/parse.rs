//! From text to tree, by roxmltree, within limits.

use crate::tree::{Element, Name, Node};
use std::collections::BTreeMap;

/// Deepest nesting that is accepted; a CIB needs about a dozen levels.
pub const MAX_DEPTH: usize = 200;
/// Largest document that is accepted, in bytes.
pub const MAX_BYTES: usize = 1 << 30;

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
    let options = roxmltree::ParsingOptions { allow_dtd: false, ..Default::default() };
    let doc = roxmltree::Document::parse_with_options(text, options).map_err(|e| {
        let pos = e.pos();
        ParseError { line: pos.row, column: pos.col, reason: e.to_string() }
    })?;
    let mut builder =
        Builder { names: BTreeMap::new(), lines: LineCounter { text: text.as_bytes(), at: 0, line: 1, line_start: 0 } };
    builder.element(doc.root_element(), 1)
}

struct Builder<'a> {
    names: BTreeMap<String, Name>,
    lines: LineCounter<'a>,
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
        let passed = &self.text[self.at..offset];
        if let Some(last) = passed.iter().rposition(|b| *b == b'\n') {
            self.line += passed.iter().filter(|b| **b == b'\n').count() as u32;
            self.line_start = self.at + last + 1;
        }
        self.at = offset;
        (self.line, (offset - self.line_start + 1) as u32)
    }
}

impl Builder<'_> {
    fn name(&mut self, text: &str) -> Name {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name = Name::from(text);
        self.names.insert(text.to_owned(), name.clone());
        name
    }

    fn element(&mut self, node: roxmltree::Node<'_, '_>, depth: usize) -> Result<Element, ParseError> {
        let (line, column) = self.lines.place_of(node.range().start);
        if depth > MAX_DEPTH {
            return Err(ParseError { line, column, reason: format!("nested deeper than {MAX_DEPTH} elements") });
        }
        let name = self.name(node.tag_name().name());
        let attrs = node.attributes().map(|a| (self.name(a.name()), Box::from(a.value()))).collect();
        let mut children = Vec::new();
        for child in node.children() {
            if child.is_element() {
                children.push(Node::Element(self.element(child, depth + 1)?));
            } else if let Some(text) = child.text() {
                if child.is_comment() {
                    children.push(Node::Comment(text.to_owned()));
                } else if !text.trim().is_empty() {
                    children.push(Node::Text(text.to_owned()));
                }
            }
        }
        Ok(Element::from_parts(name, attrs, children, (line, column)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_lines() {
        let root = parse("<cib b='1' a='2'>\n <x/>\n\n <y>t</y>\n</cib>").expect("well-formed");
        assert_eq!(root.attrs().collect::<Vec<_>>(), [("b", "1"), ("a", "2")]);
        assert_eq!(root.child("y").map(|y| (y.line(), y.text())), Some((4, "t".to_owned())));
        assert_eq!(root.child("y").map(Element::column), Some(2));
    }

    #[test]
    fn says_where_it_broke() {
        let err = parse("<cib>\n  <x>\n</cib>").expect_err("not well-formed");
        assert_eq!(err.line, 3);
    }

    #[test]
    fn refuses_deep_nesting_and_doctypes() {
        let deep = "<a>".repeat(5000) + &"</a>".repeat(5000);
        assert!(parse(&deep).is_err());
        assert!(parse("<!DOCTYPE a><a/>").is_err());
    }
}
