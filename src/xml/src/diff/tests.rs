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
            ("modify", "/cib"),
            ("delete", "/cib/r/p[@id='a']"),
            ("modify", "/cib/r/p[@id='b']"),
            ("move", "/cib/r/p[@id='c']"),
            ("create", "/cib/r"),
        ]
    );
    assert_eq!(leads(&old, &new), new);
    assert_eq!(diff(&new, &new), None);
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
    e.elements().for_each(|c| copy.push(sorted(c)));
    copy
}

proptest! {
    #[test]
    fn a_difference_leads_from_old_to_new(old in element(), new in element()) {
        let old = Element::new("cib").with_child(Element::new("top").with_child(old));
        let new = Element::new("cib").with_child(Element::new("top").with_child(new));
        prop_assert_eq!(sorted(&leads(&old, &new)), sorted(&new));
    }
}
