//! Name-value pairs of a CIB object: finding, setting, deleting; shared by the attribute and resource commands.

use xml::Element;

/// One pair where it stands.
pub struct Pair<'a> {
    pub set: &'a Element,
    pub pair: &'a Element,
}

/// Every pair called `name` in the sets of `kind` directly in `holder`, by set id and pair id if asked.
pub fn find<'a>(
    holder: &'a Element,
    kind: &'a str,
    name: &'a str,
    set_id: Option<&'a str>,
    id: Option<&'a str>,
) -> Vec<Pair<'a>> {
    let sets = holder.elements_named(kind).filter(move |s| set_id.is_none() || s.id() == set_id);
    sets.flat_map(|set| set.elements_named("nvpair").map(move |pair| Pair { set, pair }))
        .filter(|p| (name.is_empty() || p.pair.attr("name") == Some(name)) && (id.is_none() || p.pair.id() == id))
        .collect()
}

/// A copy of the holder's frame with one pair in it, to merge into the CIB: the pair that is there, or a new one.
pub fn update(
    holder: &Element,
    kind: &str,
    (name, value): (&str, &str),
    set_id: Option<&str>,
    id: Option<&str>,
    default_set: &str,
) -> (Element, String, String) {
    let there = find(holder, kind, name, set_id, id);
    let (set, pair) = match there.first() {
        Some(found) => (found.set.id().unwrap_or_default().to_owned(), found.pair.id().unwrap_or_default().to_owned()),
        None => {
            // The set that is there is better than another one beside it.
            let first = holder.elements_named(kind).find_map(Element::id);
            let set = set_id.or(first).unwrap_or(default_set).to_owned();
            let pair = id.map_or_else(|| format!("{set}-{}", as_id(name)), str::to_owned);
            (set, pair)
        }
    };
    let nvpair = Element::new("nvpair").with("id", &pair).with("name", name).with("value", value);
    let mut frame = Element::new(holder.name());
    if let Some(id) = holder.id() {
        frame.set("id", id);
    }
    frame.push(Element::new(kind).with("id", &set).with_child(nvpair));
    (frame, set, pair)
}

/// What may not stand in an id becomes a dot.
pub fn as_id(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '.' }).collect()
}

/// The pairs of a set as they are written, to be shown.
pub fn written(set: &Element) -> impl Iterator<Item = &Element> {
    set.elements_named("nvpair")
}

/// A holder's frame with the attributes of its pairs in the order that programs know.
pub fn name_last(frame: &Element) -> Element {
    let mut out = frame.clone();
    for pair in out.elements_mut().flat_map(Element::elements_mut).filter(|e| e.name() == "nvpair") {
        if let Some(name) = pair.remove_attr("name") {
            pair.set("name", name);
        }
    }
    out
}

/// Whether this is a pair of that name, as it is written.
pub fn names(e: &Element, name: &str) -> bool {
    e.name() == "nvpair" && e.attr("name") == Some(name)
}
