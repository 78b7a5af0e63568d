//! What a request and the document that it makes may weigh. One rule for all: the node that is asked looks before it orders
//! a request, and every member looks again when it applies it, with the same result.
//!
//! Measured on three nodes (a slightly optimised build): 2 MB in 30,000 elements is taken within half a second, and no node
//! misses a tick; what is over the limits is refused at the asking node.

use crate::{CibError, Op, Request, Target};
use xml::{Element, Node};

/// Largest payload of a request, in bytes of its compact form without escapes.
pub const MAX_REQUEST_BYTES: usize = 8 << 20;
/// Most elements of a request's payload; where an XPath selects several places, counted for each.
pub const MAX_REQUEST_ELEMENTS: usize = 120_000;
/// Deepest nesting of a payload and of a document; a CIB needs about a dozen levels.
pub const MAX_DEPTH: usize = 40;
/// Most steps of one transaction.
pub const MAX_STEPS: usize = 1000;
/// Largest configuration, and largest status that a client may leave behind; what is larger already may only shrink.
pub const MAX_SECTION_BYTES: usize = 16 << 20;
/// Most elements of either.
pub const MAX_SECTION_ELEMENTS: usize = 240_000;

/// How much there is of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Weight {
    pub bytes: usize,
    pub elements: usize,
    pub depth: usize,
}

impl Weight {
    pub fn of(e: &Element) -> Weight {
        let mut weight = Weight::default();
        let mut open = vec![(e, 1)];
        while let Some((e, depth)) = open.pop() {
            weight.elements += 1;
            weight.depth = weight.depth.max(depth);
            // `<name></name>`, and ` name="value"` for each attribute.
            weight.bytes += 2 * e.name().len() + 5;
            weight.bytes += e.attrs().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
            for node in e.nodes() {
                match node {
                    Node::Element(child) => open.push((child, depth + 1)),
                    Node::Text(text) => weight.bytes += text.len(),
                    Node::Comment(text) => weight.bytes += text.len() + 7,
                }
            }
        }
        weight
    }

    fn times(self, places: usize) -> Weight {
        let of = |n: usize| n.saturating_mul(places);
        Weight { bytes: of(self.bytes), elements: of(self.elements), depth: self.depth }
    }

    fn check(self, what: &'static str, bytes: usize, elements: usize) -> Result<(), CibError> {
        let rules =
            [("bytes", self.bytes, bytes), ("elements", self.elements, elements), ("levels", self.depth, MAX_DEPTH)];
        match rules.into_iter().find(|(_, found, limit)| found > limit) {
            Some((unit, found, limit)) => Err(CibError::TooCostly { what, unit, found, limit }),
            None => Ok(()),
        }
    }
}

/// The rules that a request meets by itself, whatever it is applied to.
pub fn check_request(request: &Request) -> Result<(), CibError> {
    if request.steps.len() > MAX_STEPS {
        let (found, limit) = (request.steps.len(), MAX_STEPS);
        return Err(CibError::TooCostly { what: "transaction", unit: "steps", found, limit });
    }
    let mut all = Weight::default();
    for part in std::iter::once(request).chain(&request.steps) {
        let one = part.payload.as_ref().map(Weight::of).unwrap_or_default();
        all.bytes += one.bytes;
        all.elements += one.elements;
        all.depth = all.depth.max(one.depth);
        if let Target::XPath(expression) = &part.target {
            all.bytes += expression.len();
        }
    }
    all.check("request", MAX_REQUEST_BYTES, MAX_REQUEST_ELEMENTS)
}

/// A payload that is put into so many places at once.
pub(crate) fn check_places(payload: &Element, places: usize) -> Result<(), CibError> {
    if places <= 1 {
        return Ok(());
    }
    Weight::of(payload).times(places).check("request", MAX_REQUEST_BYTES, MAX_REQUEST_ELEMENTS)
}

/// What a request made of a section: within the limits, or at least no further beyond them.
pub(crate) fn check_section(what: &'static str, old: Option<&Element>, new: Option<&Element>) -> Result<(), CibError> {
    let Some(new) = new.filter(|new| !old.is_some_and(|old| old.is_same(new))) else { return Ok(()) };
    let weight = Weight::of(new);
    let Err(refused) = weight.check(what, MAX_SECTION_BYTES, MAX_SECTION_ELEMENTS) else { return Ok(()) };
    let was = old.map(Weight::of).unwrap_or_default();
    let shrinks = weight.bytes <= was.bytes && weight.elements <= was.elements && weight.depth <= was.depth;
    if shrinks { Ok(()) } else { Err(refused) }
}

/// Whether a refusal is for what a request costs: the same whatever has been ordered meanwhile.
pub fn is_cost(error: &CibError) -> bool {
    matches!(error, CibError::TooCostly { .. } | CibError::TooLarge { .. })
}

/// Whether a request can make a section grow at all.
pub(crate) fn may_grow(op: Op) -> bool {
    !matches!(op, Op::Query | Op::Delete | Op::Bump | Op::Erase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cib;
    use base::WallTime;

    fn pairs(count: usize, value: &str) -> Element {
        let pair = |n: usize| Element::new("nvpair").with("id", format!("p{n}")).with("name", "n").with("value", value);
        (0..count)
            .map(pair)
            .fold(Element::new("cluster_property_set").with("id", "s"), |set, pair| set.with_child(pair))
    }

    fn refusal(request: &Request) -> String {
        let mut cib = Cib::new_empty(WallTime(0));
        let before = cib.clone();
        let error = cib.apply(request).expect_err("too much");
        assert!(is_cost(&error), "{error}");
        assert_eq!(cib, before, "nothing has changed");
        error.to_string()
    }

    #[test]
    fn a_weight_is_that_of_the_text() {
        let e = xml::parse("<a b=\"1\"><c d=\"22\"></c>text<e></e></a>").expect("XML");
        let text = "<a b=\"1\"><c d=\"22\"></c>text<e></e></a>";
        assert_eq!(Weight::of(&e), Weight { bytes: text.len(), elements: 3, depth: 2 });
    }

    #[test]
    fn too_much_is_refused_by_the_rule_that_it_breaks() {
        let section = "crm_config";
        let long = "x".repeat(1 << 20);
        assert!(refusal(&Request::upsert(section, pairs(9, &long))).contains("bytes, at most 8388608"));
        let many = refusal(&Request::upsert(section, pairs(MAX_REQUEST_ELEMENTS, "")));
        assert!(many.contains("the request has 120001 elements, at most 120000"), "{many}");
        let deep = (0..MAX_DEPTH).fold(Element::new("a"), |inner, _| Element::new("a").with_child(inner));
        assert!(refusal(&Request::upsert("status", deep)).contains("41 levels, at most 40"));
        let mut steps = Request::new(Op::Transaction, Target::Whole, None);
        steps.steps = (0..=MAX_STEPS).map(|_| Request::delete_xpath("//x", true)).collect();
        assert!(refusal(&steps).contains("1001 steps"));
    }

    #[test]
    fn a_section_that_is_full_takes_no_more_but_may_shrink() {
        let mut cib = Cib::new_empty(WallTime(0));
        let value = "x".repeat(7 << 20);
        for n in 0..2 {
            let set = Element::new("cluster_property_set").with("id", format!("s{n}"));
            let pair = Element::new("nvpair").with("id", format!("p{n}")).with("name", "n").with("value", &value);
            cib.apply(&Request::upsert("crm_config", Element::new("crm_config").with_child(set.with_child(pair))))
                .expect("it fits");
        }
        let third = Element::new("cluster_property_set")
            .with("id", "s2")
            .with_child(Element::new("nvpair").with("id", "p2").with("name", "n").with("value", &value));
        let error = cib.apply(&Request::upsert("crm_config", Element::new("crm_config").with_child(third)));
        let error = error.expect_err("too much");
        assert!(error.to_string().contains("the configuration would have"), "{error}");
        cib.apply(&Request::delete_xpath("//nvpair[@id='p0']", true)).expect("less is always possible");
    }

    #[test]
    fn places_count() {
        let mut cib = Cib::new_empty(WallTime(0));
        let nodes = (0..2000).fold(Element::new("nodes"), |nodes, n| {
            nodes.with_child(Element::new("node").with("id", n.to_string()).with("uname", format!("n{n}")))
        });
        cib.apply(&Request::upsert("nodes", nodes)).expect("nodes");
        let mut everywhere = Request::new(Op::Create, Target::XPath("//node".into()), Some(pairs(60, "")));
        everywhere.options.multiple = true;
        let error = cib.apply(&everywhere).expect_err("122,000 elements");
        assert!(error.to_string().contains("122000 elements"), "{error}");
    }
}
