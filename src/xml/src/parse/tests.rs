use super::*;
use proptest::prelude::*;

#[test]
fn keeps_order_and_lines() {
    let root = parse("<cib b='1' a='2'>\n <x/>\n\n <y>t</y>\n</cib>").expect("well-formed");
    assert_eq!(root.attrs().collect::<Vec<_>>(), [("b", "1"), ("a", "2")]);
    assert_eq!(root.child("y").map(|y| (y.line(), y.text())), Some((4, "t".to_owned())));
    assert_eq!(root.child("y").map(Element::column), Some(2));
}

#[test]
fn says_where_it_broke() {
    let place = |text: &str| parse(text).map_err(|e| (e.line, e.column)).expect_err(text);
    assert_eq!(place("<cib>\n  <x>\n</cib>"), (3, 1));
    assert_eq!(place("<cib>\n  <x a='1'\n  a='2'/></cib>"), (3, 3));
    assert_eq!(place("<cib>\n  <x a='1&amp;&nbsp;'/></cib>"), (2, 15));
    assert_eq!(place("<cib>\n  <p:x/></cib>"), (2, 3));
    assert_eq!(place("<cib>\n <x>"), (2, 5));
    assert_eq!(place(""), (1, 1));
}

#[test]
fn refuses_deep_nesting_and_doctypes() {
    let deep = "<a>".repeat(5000) + &"</a>".repeat(5000);
    assert!(parse(&deep).is_err());
    assert!(parse("<!DOCTYPE a><a/>").is_err());
    assert!(parse("<!DOCTYPE a [<!ENTITY e 'x'>]><a/>").is_err());
}

#[test]
fn text_is_as_meant() {
    let root =
        parse("<a x='1&#10;2\n3\r\n4'>x\r\ny&#65;<![CDATA[<&>]]>&lt;<?p i?><b/>\n<!-- c --></a>").expect("well-formed");
    assert_eq!(root.attr("x"), Some("1\n2 3 4"));
    assert_eq!(root.text(), "x\nyA<&><");
    assert_eq!(root.nodes().len(), 3);
}

#[test]
fn name_spaces_are_dropped_but_have_to_be_declared() {
    let root = parse("<p:a xmlns:p='u' xmlns='v' p:x='1'><p:b xml:lang='en'/></p:a>").expect("well-formed");
    assert_eq!(root.to_compact(), "<a x=\"1\"><b lang=\"en\"/></a>");
    assert!(parse("<a><b xmlns:p='u'/><p:c/></a>").is_err());
}

/// The same tree by another parser, without lines; `None` if that one does not take the text.
fn by_roxmltree(text: &str) -> Option<Element> {
    fn convert(node: roxmltree::Node<'_, '_>) -> Element {
        let mut e = Element::new(node.tag_name().name());
        node.attributes().for_each(|a| e.set(a.name(), a.value()));
        for child in node.children() {
            match child.text() {
                _ if child.is_element() => e.push(convert(child)),
                Some(t) if child.is_comment() => e.nodes_mut().push(Node::Comment(t.to_owned())),
                Some(t) if child.is_text() && !t.trim().is_empty() => e.nodes_mut().push(Node::Text(t.to_owned())),
                _ => {}
            }
        }
        e
    }
    let options = roxmltree::ParsingOptions { allow_dtd: false, ..Default::default() };
    Some(convert(roxmltree::Document::parse_with_options(text, options).ok()?.root_element()))
}

/// Pieces of documents, right and wrong.
const PIECES: [&str; 34] = [
    "<a>",
    "</a>",
    "<b",
    "/>",
    ">",
    " x='1'",
    " y=\"2 &amp; 3\"",
    " x='<'",
    "<a x='1' x='2'/>",
    "<c/>",
    "text",
    "&lt;",
    "&",
    "&#x41;",
    "&#0;",
    "&#65",
    "&nbsp;",
    "]]>",
    "<![CDATA[ <z> ]]>",
    "<!-- c -->",
    "<!-- -- -->",
    "<?pi d?>",
    "<?xml version='1.0'?>",
    "\r\n",
    "\t",
    " ",
    "<é ü='ß'/>",
    "\u{1}",
    "\u{fffe}",
    " p:x='1'",
    "<p:a xmlns:p='u'>",
    "</p:a>",
    "<!DOCTYPE a>",
    "='",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_another_parser(pieces in prop::collection::vec(0..PIECES.len(), 0..9), wrapped in any::<bool>()) {
        let inner: String = pieces.iter().map(|p| PIECES[*p]).collect();
        let text = if wrapped { format!("<r>{inner}</r>") } else { inner };
        prop_assert_eq!(parse(&text).ok(), by_roxmltree(&text), "{:?}", text);
    }

    #[test]
    fn never_panics(text in "[<>/a-c!='\"&;#x \\[\\]?-]{0,40}") {
        let _ = parse(&text);
    }
}

#[test]
fn characters_that_xml_cannot_hold_are_refused_in_every_spelling() {
    let forbidden = (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(|c| !base::outside::is_xml_char(*c));
    for c in forbidden {
        let number = u32::from(c);
        for spelled in [c.to_string(), format!("&#{number};"), format!("&#x{number:X};")] {
            for text in [format!("<a b=\"x{spelled}\"/>"), format!("<a>x{spelled}</a>")] {
                assert!(parse(&text).is_err(), "{text:?}");
            }
        }
    }
    for surrogate in ["&#xD800;", "&#xDFFF;", "&#55296;", "&#x110000;"] {
        assert!(parse(&format!("<a>{surrogate}</a>")).is_err(), "{surrogate}");
    }
}
