//! Which nodes a configuration has: members, remote nodes, guests.

use xml::Element;

/// Kinds of nodes, as they are asked for and shown.
pub const KINDS: [&str; 3] = ["cluster", "guest", "remote"];

/// One node of the configuration.
pub struct Known {
    pub kind: &'static str,
    pub name: String,
    pub id: String,
}

/// The nodes that a configuration has, by kind.
pub fn known(configuration: Option<&Element>) -> Vec<Known> {
    let mut all = Vec::new();
    let mut add = |kind, name: &str, id: &str| {
        if !all.iter().any(|k: &Known| k.name == name) {
            all.push(Known { kind, name: name.to_owned(), id: id.to_owned() });
        }
    };
    let nodes = configuration.and_then(|c| c.child("nodes"));
    for node in nodes.into_iter().flat_map(|n| n.elements_named("node")) {
        if matches!(node.attr("type"), None | Some("member" | "normal")) {
            add(KINDS[0], node.attr("uname").unwrap_or_default(), node.id().unwrap_or_default());
        }
    }
    let resources = configuration.and_then(|c| c.child("resources"));
    let primitives: Vec<&Element> =
        resources.into_iter().flat_map(Element::descendants).filter(|e| e.name() == "primitive").collect();
    for primitive in &primitives {
        let guest = crate::nvpairs::find(primitive, "meta_attributes", "remote-node", None, None);
        if let Some(name) = guest.first().and_then(|p| p.pair.attr("value")) {
            add(KINDS[1], name, name);
        }
    }
    for primitive in &primitives {
        let agent = |name| primitive.attr(name);
        if agent("class") == Some("ocf") && agent("provider") == Some("pacemaker") && agent("type") == Some("remote") {
            let name = primitive.id().unwrap_or_default();
            add(KINDS[2], name, name);
        }
    }
    all
}

/// Whether resources can be placed on a node of that name.
pub fn has(configuration: &Element, name: &str) -> bool {
    known(Some(configuration)).iter().any(|k| base::ids::same_node(&k.name, name))
}
