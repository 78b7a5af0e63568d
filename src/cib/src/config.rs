//! The typed view of a configuration: how sets of name-value pairs are read, by everybody who reads them.
//!
//! `id-ref` stands for the element of the same kind with that id, in place of a set as of a pair, and a pair that refers may take
//! a name of its own. Of several sets the one asked for goes first, then a higher score; of equal scores the later one. The
//! scheduler alone evaluates rules; [`values`] and [`property`] leave out sets with a rule, which hold only at times.
//! Times, booleans and scores have one parser each, in `base::text` and `base::Score`.

use base::Score;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xml::Element;

/// The set whose values win among the cluster's properties.
pub const FIRST_PROPERTIES: &str = "cib-bootstrap-options";

type ById<'a> = BTreeMap<(&'a str, &'a str), &'a Element>;

/// Elements by tag and id, for `id-ref`; empty where nothing refers, as in most configurations.
pub struct Index<'a> {
    by_id: ById<'a>,
}

impl<'a> Index<'a> {
    pub fn new(root: &'a Element) -> Index<'a> {
        Index::for_part(root, root)
    }

    /// What is needed to read `part` of the document or section `root`.
    pub fn for_part(part: &Element, root: &'a Element) -> Index<'a> {
        Index { by_id: if refers(part) { by_id(root) } else { BTreeMap::new() } }
    }

    /// The element itself, or the one of the same kind that its `id-ref` names.
    pub fn resolve<'b>(&self, e: &'b Element) -> Option<&'b Element>
    where
        'a: 'b,
    {
        match e.attr("id-ref") {
            None => Some(e),
            Some(id) => self.by_id.get(&(e.name(), id)).copied(),
        }
    }
}

/// Whether the element or anything below it stands for another.
fn refers(e: &Element) -> bool {
    e.attr("id-ref").is_some() || e.elements().any(refers)
}

fn by_id(root: &Element) -> ById<'_> {
    let mut by_id = BTreeMap::new();
    for section in root.elements().filter(|e| e.name() != "status") {
        for e in section.descendants() {
            if let Some(id) = e.id() {
                by_id.entry((e.name(), id)).or_insert(e);
            }
        }
    }
    by_id
}

/// A pair as it counts.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    written: &'a Element,
    meant: &'a Element,
}

impl<'a> Pair<'a> {
    fn of<'i: 'a>(written: &'a Element, index: &Index<'i>) -> Option<Pair<'a>> {
        let meant = index.resolve(written)?;
        let pair = Pair { written, meant };
        (pair.namer().attr("name").is_some() && meant.attr("value").is_some()).then_some(pair)
    }

    /// Its own name, or else that of the pair that it refers to.
    fn namer(&self) -> &'a Element {
        if self.written.attr("name").is_some() { self.written } else { self.meant }
    }

    pub fn name(&self) -> &'a str {
        self.namer().attr("name").unwrap_or_default()
    }

    pub fn value(&self) -> &'a str {
        self.meant.attr("value").unwrap_or_default()
    }

    /// Name and value, to be kept beyond the document without copies.
    pub fn shared(&self) -> Option<(Arc<str>, Arc<str>)> {
        Some((self.namer().shared_attr("name")?, self.meant.shared_attr("value")?))
    }
}

/// The sets of `kind` below `holder` in the order in which they win.
pub fn sets<'a, 'i: 'a>(holder: &'a Element, kind: &str, first: Option<&str>, index: &Index<'i>) -> Vec<&'a Element> {
    let of_kind = holder.elements().filter(|e| e.name() == kind);
    let mut found: Vec<&Element> = of_kind.filter_map(|e| index.resolve(e)).collect();
    if found.len() > 1 {
        let score = |e: &Element| e.attr("score").and_then(Score::parse).unwrap_or_default();
        let is_first = |e: &Element| first.is_some() && e.id() == first;
        found.reverse();
        found.sort_by(|a, b| is_first(b).cmp(&is_first(a)).then(score(b).cmp(&score(a))));
    }
    found
}

/// The pairs of a set.
pub fn pairs<'a, 'i: 'a>(set: &'a Element, index: &Index<'i>) -> impl Iterator<Item = Pair<'a>> {
    // Very old schemas have an <attributes> element between the set and its pairs.
    let holder = set.elements().next().filter(|c| c.name() == "attributes").unwrap_or(set);
    holder.elements_named("nvpair").filter_map(|p| Pair::of(p, index))
}

/// What the sets of `kind` come to, those with a rule left out.
pub fn values<'a, 'i: 'a>(holder: &'a Element, kind: &str, index: &Index<'i>) -> BTreeMap<&'a str, &'a str> {
    let mut out = BTreeMap::new();
    for set in sets(holder, kind, None, index).into_iter().filter(|s| s.child("rule").is_none()) {
        for pair in pairs(set, index) {
            out.entry(pair.name()).or_insert(pair.value());
        }
    }
    out
}

/// A cluster property as configured, without rules.
pub fn property<'a>(cib: &'a Element, name: &str) -> Option<&'a str> {
    property_of(cib.child("configuration")?, name)
}

/// [`property`], given the section `configuration`.
pub fn property_of<'a>(configuration: &'a Element, name: &str) -> Option<&'a str> {
    let section = configuration.child("crm_config")?;
    let index = Index::for_part(section, configuration);
    let sets = sets(section, "cluster_property_set", Some(FIRST_PROPERTIES), &index);
    let mut all = sets.into_iter().filter(|s| s.child("rule").is_none()).flat_map(|s| pairs(s, &index));
    all.find(|p| p.name() == name).map(|p| p.value())
}

/// Names of the remote nodes, which are primitives `ocf:pacemaker:remote`, and of the guest nodes, which meta-attributes name.
pub fn remote_nodes(cib: &Element) -> BTreeSet<&str> {
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let primitives = resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == "primitive");
    let mut names = BTreeSet::new();
    for primitive in primitives {
        let attr = |name| primitive.attr(name);
        if base::operation::is_connection(attr("class").unwrap_or(""), attr("provider"), attr("type").unwrap_or("")) {
            names.extend(primitive.id());
        }
        let pairs = primitive.elements_named("meta_attributes").flat_map(|set| set.elements_named("nvpair"));
        names.extend(pairs.filter(|p| p.attr("name") == Some("remote-node")).filter_map(|p| p.attr("value")));
    }
    names
}

/// The resources that an operator means by `name`: the primitive of that id, or those in the group, clone or bundle of that id;
/// the name itself always, since a history may outlive its resource.
pub fn meant_by<'a>(cib: &'a Element, name: &'a str) -> BTreeSet<&'a str> {
    let resources = cib.child("configuration").and_then(|c| c.child("resources"));
    let holder = resources.and_then(|r| r.descendants().find(|e| e.id() == Some(name)));
    let inner = holder.into_iter().flat_map(|h| h.descendants()).filter(|e| e.name() == "primitive");
    inner.filter_map(Element::id).chain([name]).collect()
}

/// Whether `id`, with an instance's number or without, is one of `resources`.
pub fn is_among(resources: &BTreeSet<&str>, id: &str) -> bool {
    resources.contains(id) || id.split_once(':').is_some_and(|(plain, _)| resources.contains(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cib(inner: &str) -> Element {
        xml::parse(&format!("<cib><configuration>{inner}</configuration><status/></cib>")).expect("good")
    }

    #[test]
    fn references_take_their_own_name() {
        let cib = cib(
            "<resources><p id='a'><instance_attributes id='s'><nvpair id='x' name='fake' value='V'/></instance_attributes></p>\
             <p id='b'><instance_attributes id='t'><nvpair id-ref='x' name='state'/><nvpair id-ref='x'/>\
             <nvpair id-ref='nowhere' name='lost'/></instance_attributes></p>\
             <p id='c'><instance_attributes id-ref='s'/></p></resources>",
        );
        let index = Index::new(&cib);
        let of = |id: &str| values(cib.find_id(id).expect("there"), "instance_attributes", &index);
        assert_eq!(of("b"), BTreeMap::from([("state", "V"), ("fake", "V")]));
        assert_eq!(of("c"), BTreeMap::from([("fake", "V")]));
    }

    #[test]
    fn scores_and_the_first_set_decide() {
        let property_of = |sets: &str| {
            let cib = cib(&format!("<crm_config>{sets}</crm_config>"));
            property(&cib, "a").map(str::to_owned)
        };
        let set = |id: &str, more: &str, value: &str| {
            format!(
                "<cluster_property_set id='{id}' {more}><nvpair id='{id}-a' name='a' value='{value}'/></cluster_property_set>"
            )
        };
        let two = |x: &str, y: &str| set("x", x, "1") + &set("y", y, "2");
        assert_eq!(property_of(&two("", "")).as_deref(), Some("2"), "of equal scores the later one");
        assert_eq!(property_of(&two("score='5'", "")).as_deref(), Some("1"));
        let first = set("cib-bootstrap-options", "", "0");
        assert_eq!(property_of(&(two("score='5'", "score='INFINITY'") + &first)).as_deref(), Some("0"));
        let ruled = "<cluster_property_set id='z' score='9'><rule id='r'/><nvpair id='z-a' name='a' value='9'/></cluster_property_set>";
        assert_eq!(property_of(&(set("x", "", "1") + ruled)).as_deref(), Some("1"));
    }
    #[test]
    fn a_name_means_all_that_is_in_it() {
        let cib = cib("<resources><clone id='c'><group id='g'><primitive id='a'/><primitive id='b'/></group></clone>\
             <primitive id='x'><operations><op id='b'/></operations></primitive></resources>");
        let all = |name| meant_by(&cib, name).into_iter().collect::<Vec<_>>();
        assert_eq!(all("c"), ["a", "b", "c"]);
        assert_eq!(all("a"), ["a"]);
        assert_eq!(all("gone"), ["gone"]);
        assert!(is_among(&meant_by(&cib, "g"), "b:2") && !is_among(&meant_by(&cib, "g"), "bb:2"));
    }
}
