//! From tree to text: indented for people and files, compact for wires and digests.
//!
//! Whatever a program has put into a tree, the text is one that [`crate::parse`] reads: a character that XML cannot hold is
//! written as U+FFFD, a name that is none gets `_` where it must. Text from outside is checked long before
//! (`base::outside`); this is the last line, since one unreadable document would be so for every node.

use crate::tree::{Element, Node};
use base::outside::{REPLACEMENT, XmlText, is_xml_char};
use std::borrow::Cow;
use std::fmt;
use xmlparser::XmlCharExt;

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
        let mut out = String::with_capacity(if self.nodes().is_empty() { 256 } else { 4096 });
        write_element(&mut out, self, None);
        out
    }

    /// The first thing in the tree that would be written otherwise than it stands there, and why: for the doors, which refuse
    /// what they cannot keep.
    pub fn unwritable(&self) -> Option<String> {
        let text = |what: &dyn Fn() -> String, text: &str| {
            let problem = XmlText::<{ usize::MAX }>::checked(text).err()?;
            Some(format!("{}: {problem}", what()))
        };
        let name = |name: &str| {
            let changed = written_name(name) != name;
            changed.then(|| format!("{name:?} is no name that XML can hold"))
        };
        for e in self.descendants() {
            let place = || e.id().map_or_else(|| e.name().to_owned(), |id| format!("{} {id:?}", e.name()));
            let of_attributes =
                || e.attrs().find_map(|(n, value)| name(n).or_else(|| text(&|| format!("{n} of {}", place()), value)));
            let of_nodes = || {
                e.nodes().iter().find_map(|n| match n {
                    Node::Text(t) => text(&|| format!("text of {}", place()), t),
                    _ => None,
                })
            };
            if let Some(found) = name(e.name()).or_else(of_attributes).or_else(of_nodes) {
                return Some(found);
            }
        }
        None
    }
}

/// The text that operation digests are made of: one element with these attributes, their names as they are. Names of agents'
/// parameters need not be names of XML, and the originals digest them all the same; nobody reads this text back.
pub fn digest_form<'a>(name: &str, attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = format!(" <{name}");
    for (name, value) in attributes {
        out.push(' ');
        out.push_str(name);
        out.push_str("=\"");
        escape(&mut out, value, true);
        out.push('"');
    }
    out.push_str("/>\n");
    out
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_compact())
    }
}

fn write_element(out: &mut String, e: &Element, level: Option<usize>) {
    indent(out, level);
    let name = written_name(e.name());
    out.push('<');
    out.push_str(&name);
    write_attributes(out, e);
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
    out.push_str(&name);
    out.push('>');
    newline(out, level);
}

fn write_node(out: &mut String, node: &Node, level: Option<usize>) {
    match node {
        Node::Element(e) => write_element(out, e, level),
        Node::Text(t) => escape(out, t, false),
        Node::Comment(c) => {
            indent(out, level);
            write_comment(out, c);
            newline(out, level);
        }
    }
}

fn write_attributes(out: &mut String, e: &Element) {
    for (at, (name, value)) in e.attrs().enumerate() {
        let mut name = written_name(name);
        if let Cow::Owned(changed) = &mut name {
            // Two that were different stay so.
            let other = |changed: &str| e.attrs().enumerate().any(|(i, (n, _))| i != at && written_name(n) == changed);
            while other(changed) {
                changed.push_str(&format!("_{at}"));
            }
        }
        out.push(' ');
        out.push_str(&name);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
    }
}

/// XML 1.0 §2.5: no two hyphens in a row, and none at the end.
fn write_comment(out: &mut String, text: &str) {
    out.push_str("<!--");
    let mut hyphen = false;
    for c in text.chars() {
        if hyphen && c == '-' {
            out.push(' ');
        }
        hyphen = c == '-';
        out.push(if is_xml_char(c) { c } else { REPLACEMENT });
    }
    out.push_str(if hyphen { " -->" } else { "-->" });
}

/// The name itself if it is one (XML 1.0 §2.3, without a colon: trees have no prefixes).
fn written_name(name: &str) -> Cow<'_, str> {
    let first = |b: &u8| b.is_ascii_alphabetic() || *b == b'_';
    if name.as_bytes().first().is_some_and(first) && name.bytes().all(|b| PLAIN[usize::from(b)]) {
        return name.into();
    }
    let good: String = name.chars().map(|c| if c != ':' && c.is_xml_name() { c } else { '_' }).collect();
    match good.chars().next().is_some_and(|c| c.is_xml_name_start()) {
        true if good == name => name.into(),
        true => good.into(),
        false => format!("_{good}").into(),
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

/// Bytes of which a name may consist after its first.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut b = 0;
    while b < 256 {
        plain[b] = (b as u8).is_ascii_alphanumeric() || matches!(b as u8, b'_' | b'-' | b'.');
        b += 1;
    }
    plain
};

/// Whether a text has any byte of [`SPECIAL`]. Without a table and without an early end, so that many bytes are looked at at once.
fn has_special(text: &str) -> bool {
    let special = |b: u8| (b < 0x20) | (b == b'&') | (b == b'<') | (b == b'>') | (b == b'"') | (b == 0xef);
    text.bytes().fold(false, |found, b| found | special(b))
}

/// Bytes that may have to be written otherwise; documents hardly hold any.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut b = 0;
    while b < 256 {
        special[b] = b < 0x20 || matches!(b as u8, b'&' | b'<' | b'>' | b'"' | 0xef);
        b += 1;
    }
    special
};

/// XML 1.0 §2.4 and §3.3.3: control characters in attribute values as references, so that they survive normalisation.
fn escape(out: &mut String, text: &str, attribute: bool) {
    if !has_special(text) {
        return out.push_str(text);
    }
    let mut plain = 0;
    for (at, b) in text.bytes().enumerate().filter(|(_, b)| SPECIAL[usize::from(*b)]) {
        let written = match b {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'"' if attribute => "&quot;",
            b'\n' if attribute => "&#10;",
            b'\t' if attribute => "&#9;",
            b'\r' => "&#13;",
            b'\n' | b'\t' => continue,
            0..=0x1f => "\u{fffd}",
            0xef if text[at..].starts_with(['\u{fffe}', '\u{ffff}']) => "\u{fffd}",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        out.push_str(written);
        plain = at + if b == 0xef { 3 } else { 1 };
    }
    out.push_str(&text[plain..]);
}

#[cfg(test)]
mod tests {
    use crate::{Element, Node, parse};
    use proptest::prelude::*;

    #[test]
    fn what_would_be_written_otherwise_is_named() {
        let good = Element::new("a").with("x", "\u{e9} \n\t<&>\"'").with_child(Element::new("b.c-d_e").with("id", "1"));
        assert_eq!(good.unwritable(), None);
        assert_eq!(parse(&good.to_compact()).as_ref(), Ok(&good));
        let cases = [
            (
                Element::new("nvpair").with("id", "p").with("value", "a\u{1b}"),
                "value of nvpair \"p\": character 2 is U+001B",
            ),
            (Element::new("nvpair").with("id", "p\u{1}"), "id of nvpair \"p\\u{1}\": character 2 is U+0001"),
            (Element::new("nvpair").with("value", "\u{ffff}"), "value of nvpair: character 1 is U+FFFF"),
            (Element::new("op").with("a b", "1"), "\"a b\" is no name that XML can hold"),
            (Element::new("1"), "\"1\" is no name that XML can hold"),
        ];
        for (bad, said) in cases {
            let tree = Element::new("cib").with_child(Element::new("x").with_child(bad));
            let found = tree.unwritable().expect("found");
            assert!(found.starts_with(said), "{found}");
        }
    }

    fn every_char() -> impl Iterator<Item = char> {
        (0..=u32::from(char::MAX)).filter_map(char::from_u32)
    }

    #[test]
    fn every_character_anywhere_gives_text_that_is_read_back() {
        let all: String = every_char().collect();
        let mut tree = Element::new("a").with("x", &all);
        tree.nodes_mut().push(Node::Text(all.clone()));
        tree.nodes_mut().push(Node::Comment(all.clone()));
        let back = parse(&tree.to_compact()).expect("text and values");
        let held: String = all.chars().map(|c| if base::outside::is_xml_char(c) { c } else { '\u{fffd}' }).collect();
        assert_eq!(back.attr("x"), Some(held.as_str()));
        assert_eq!(back.text(), held);
        for c in every_char() {
            let name = format!("{c}");
            let tree = Element::new(name.as_str()).with(&name, "1").with(&format!("a{c}"), "2").with("a_", "3");
            let back = parse(&tree.to_compact()).unwrap_or_else(|e| panic!("{c:?}: {e}: {}", tree.to_compact()));
            assert_eq!(back.attr("a_"), Some("3"), "{c:?}");
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..24);
        prop_oneof![
            bytes.prop_map(|b| String::from_utf8_lossy(&b).into_owned()),
            proptest::collection::vec(any::<char>(), 0..8).prop_map(|c| c.into_iter().collect()),
            proptest::string::string_regex("[-<>&:\"'\\]\\[! xa\u{1}\u{1b}\r\n\t]{0,10}").expect("an expression"),
        ]
    }

    fn any_tree() -> impl Strategy<Value = Element> {
        let flat = (any_text(), proptest::collection::vec((any_text(), any_text()), 0..4))
            .prop_map(|(name, attrs)| attrs.iter().fold(Element::new(name.as_str()), |e, (n, v)| e.with(n, v)));
        flat.prop_recursive(4, 24, 4, |inner| {
            let node = prop_oneof![
                inner.clone().prop_map(Node::Element),
                any_text().prop_map(Node::Text),
                any_text().prop_map(Node::Comment)
            ];
            (inner, proptest::collection::vec(node, 0..4)).prop_map(|(mut e, nodes)| {
                nodes.into_iter().for_each(|node| e.nodes_mut().push(node));
                e
            })
        })
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_tree_its_text_is_read_back_and_settles(tree in any_tree()) {
            for text in [tree.to_compact(), tree.to_pretty()] {
                let back = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}: {text:?}")))?;
                prop_assert_eq!(parse(&back.to_compact()).expect("once more"), back);
            }
        }
    }

    #[test]
    fn round_trips() {
        let text = "<a x=\"1 &lt; &quot;2&quot;&#10;\">\n  <b/>\n  <c>te &amp; xt</c>\n  <!-- note -->\n</a>\n";
        let tree = parse(text).expect("well-formed");
        assert_eq!(tree.to_pretty(), text);
        assert_eq!(parse(&tree.to_compact()).expect("well-formed"), tree);
    }
}
