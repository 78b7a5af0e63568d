//! From tree to text: indented for people and files, compact for wires and digests.

use crate::tree::{Element, Node};
use std::fmt::{self, Write};

impl Element {
    /// Two blanks per level, one element per line, `\n` at the end: the form of files and of `cibadmin -Q`.
    pub fn to_pretty(&self) -> String {
        let mut out = String::new();
        write_element(&mut out, self, Some(0));
        out
    }

    /// [`Element::to_pretty`] as part of a larger text, this many levels in.
    pub fn write_pretty(&self, out: &mut String, level: usize) {
        write_element(out, self, Some(level));
    }

    /// No white space between elements and no line end.
    pub fn to_compact(&self) -> String {
        let mut out = String::new();
        write_element(&mut out, self, None);
        out
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_compact())
    }
}

fn write_element(out: &mut String, e: &Element, level: Option<usize>) {
    indent(out, level);
    out.push('<');
    out.push_str(e.name());
    for (name, value) in e.attrs() {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
    }
    if e.nodes().is_empty() {
        out.push_str("/>");
        newline(out, level);
        return;
    }
    out.push('>');
    // Text must not gain white space, so an element with text is written on one line.
    let inner = if e.nodes().iter().any(|n| matches!(n, Node::Text(_))) { None } else { level };
    newline(out, inner);
    for node in e.nodes() {
        write_node(out, node, inner.map(|l| l + 1));
    }
    indent(out, inner);
    out.push_str("</");
    out.push_str(e.name());
    out.push('>');
    newline(out, level);
}

fn write_node(out: &mut String, node: &Node, level: Option<usize>) {
    match node {
        Node::Element(e) => write_element(out, e, level),
        Node::Text(t) => escape(out, t, false),
        Node::Comment(c) => {
            indent(out, level);
            let _ = write!(out, "<!--{c}-->");
            newline(out, level);
        }
    }
}

fn indent(out: &mut String, level: Option<usize>) {
    for _ in 0..level.unwrap_or(0) {
        out.push_str("  ");
    }
}

fn newline(out: &mut String, level: Option<usize>) {
    if level.is_some() {
        out.push('\n');
    }
}

/// XML 1.0 §2.4 and §3.3.3: control characters in attribute values as references, so that they survive normalisation.
fn escape(out: &mut String, text: &str, attribute: bool) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if attribute => out.push_str("&quot;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn round_trips() {
        let text = "<a x=\"1 &lt; &quot;2&quot;&#10;\">\n  <b/>\n  <c>te &amp; xt</c>\n  <!-- note -->\n</a>\n";
        let tree = parse(text).expect("well-formed");
        assert_eq!(tree.to_pretty(), text);
        assert_eq!(parse(&tree.to_compact()).expect("well-formed"), tree);
    }
}
