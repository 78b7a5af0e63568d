use super::*;
use crate::parse;
use proptest::prelude::*;

fn tree(text: &str) -> Element {
    parse(text).expect("well-formed")
}

fn leads(old: &Element, new: &Element) -> Element {
    let mut patched = old.clone();
    if let Some(patchset) = diff(old, new) {
        patch(&mut patched, &patchset).expect("own patchsets apply");
    }
    patched
}

#[test]
fn says_create_modify_delete_and_move() {
    let old = tree("<cib epoch='1'><r><p id='a'/><p id='b' x='1'/><p id='c'/></r></cib>");
    let new = tree("<cib epoch='2'><r><p id='c'/><p id='b' y='2'/><p id='d'/></r></cib>");
    let patchset = diff(&old, &new).expect("they differ");
    let said: Vec<(&str, &str)> =
        patchset.elements().filter_map(|c| Some((c.attr("operation")?, c.attr("path")?))).collect();
    assert_eq!(
        said,
        [
            ("delete", "/cib/r/p[@id='a']"),
            ("modify", "/cib"),
            ("move", "/cib/r/p[@id='c']"),
            ("modify", "/cib/r/p[@id='b']"),
            ("move", "/cib/r/p[@id='b']"),
            ("create", "/cib/r"),
        ]
    );
    assert_eq!(leads(&old, &new), new);
    assert_eq!(diff(&new, &new), None);
}

#[test]
fn comments_come_go_and_count() {
    let old = tree("<a><!--one--><x id='1'/><!--two--><y/><!--three--></a>");
    let new = tree("<a><x id='1'/><!--two, again--><z/><y/><!--three--></a>");
    let patchset = diff(&old, &new).expect("they differ");
    let said: Vec<(&str, &str, Option<&str>)> =
        patchset.elements().filter_map(|c| Some((c.attr("operation")?, c.attr("path")?, c.attr("position")))).collect();
    assert_eq!(
        said,
        [
            ("delete", "/a/comment", Some("0")),
            ("delete", "/a/comment", Some("1")),
            ("create", "/a", Some("1")),
            ("create", "/a", Some("2")),
        ]
    );
    assert_eq!(leads(&old, &new).to_compact(), new.to_compact());
    let mut other = tree("<a><y/><x id='1'/></a>");
    patch(&mut other, &patchset).expect("comments that are not there need not be deleted");
    assert_eq!(other.to_compact(), "<a><y/><!--two, again--><z/><x id=\"1\"/></a>");
}

#[test]
fn the_order_of_attributes_is_told_where_it_is_asked_for() {
    let (old, new) = (tree("<a id='1' x='1' y='2'/>"), tree("<a id='1' y='2' x='1'/>"));
    assert_eq!(diff(&old, &new), None);
    let patchset = diff_as_written(&old, &new).expect("they differ");
    let mut patched = old.clone();
    patch(&mut patched, &patchset).expect("applies");
    assert_eq!(patched.to_compact(), new.to_compact());
}

#[test]
fn text_and_twins_are_given_whole() {
    let old = tree("<a><n>one</n><t id='1'><x/><x/></t></a>");
    let new = tree("<a><n>two</n><t id='1'><x/><x y='1'/></t></a>");
    assert_eq!(leads(&old, &new), new);
}

#[test]
fn broken_patchsets_are_refused() {
    let mut root = tree("<cib/>");
    assert_eq!(patch(&mut root, &tree("<diff format='1'/>")), Err(PatchError::NotAPatchset));
    let missing = tree("<diff format='2'><change operation='modify' path='/cib/x'/></diff>");
    assert!(matches!(patch(&mut root, &missing), Err(PatchError::NoSuchPath { .. })));
    let unknown = tree("<diff format='2'><change operation='burn' path='/cib'/></diff>");
    assert!(matches!(patch(&mut root, &unknown), Err(PatchError::UnknownOperation { .. })));
}

fn comment() -> impl Strategy<Value = Vec<(usize, String)>> {
    proptest::collection::vec((0..6usize, "[pq]".prop_map(|s| s.to_owned())), 0..3)
}

/// Comments are put among the children.
fn commented(mut e: Element, comments: Vec<(usize, String)>) -> Element {
    for (at, text) in comments {
        let at = at.min(e.nodes().len());
        e.nodes_mut().insert(at, Node::Comment(text));
    }
    e
}

fn element() -> impl Strategy<Value = Element> {
    let leaf = ("[ab]", proptest::option::of("[1-5]"), proptest::option::of("[x-z]")).prop_map(|(name, id, value)| {
        let mut e = Element::new(name.as_str());
        if let Some(id) = id {
            e.set("id", id);
        }
        if let Some(value) = value {
            e.set("v", value);
        }
        e
    });
    leaf.prop_recursive(4, 40, 6, |inner| {
        ("[ab]", proptest::option::of("[1-5]"), proptest::collection::vec(inner, 0..6)).prop_map(
            |(name, id, children)| {
                let mut e = Element::new(name.as_str());
                if let Some(id) = id {
                    e.set("id", id);
                }
                children.into_iter().for_each(|c| e.push(c));
                e
            },
        )
    })
}

/// Attribute order is not part of a patchset.
fn sorted(e: &Element) -> Element {
    let mut attrs: Vec<_> = e.attrs().collect();
    attrs.sort_unstable();
    let mut copy = attrs.into_iter().fold(Element::new(e.name()), |c, (n, v)| c.with(n, v));
    for node in e.nodes().iter() {
        copy.nodes_mut().push(match node {
            Node::Element(child) => Node::Element(sorted(child)),
            other => other.clone(),
        });
    }
    copy
}

proptest! {
    #[test]
    fn a_difference_leads_from_old_to_new(old in element(), new in element(), said in comment(), says in comment()) {
        let old = Element::new("cib").with_child(Element::new("top").with_child(commented(old, said)));
        let new = Element::new("cib").with_child(Element::new("top").with_child(commented(new, says)));
        prop_assert_eq!(sorted(&leads(&old, &new)), sorted(&new));
    }
}
