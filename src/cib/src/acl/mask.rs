//! Values that may not be read, out of the way while an operation runs.
//!
//! Each is replaced by a mark that nobody can write (it begins with a character that XML does not have), that has one length,
//! and that equals no other. So an expression, a comparison or a guess of the operation meets nothing of the value, and an
//! operation that writes there differs from what was there, and is refused.

use super::marks::{Allowed, Marks};
use std::sync::Arc;
use xml::{Element, Node};

const SIGN: char = '\u{1}';
/// Of the outermost element: every answer tells them, and operations need them.
const COUNTERS: [&str; 3] = ["admin_epoch", "epoch", "num_updates"];

/// The values by their marks.
#[derive(Default)]
pub struct Hidden {
    values: Vec<Arc<str>>,
}

/// A document of the same shape without the values that may not be read; tags and ids stay.
pub fn mask(root: &Element, marks: &Marks) -> (Element, Hidden) {
    let mut hidden = Hidden::default();
    let masked = hidden.mask(root, marks, &Allowed::nothing());
    (masked, hidden)
}

impl Hidden {
    fn mask(&mut self, e: &Element, marks: &Marks, above: &Allowed) -> Element {
        let here = above.at(marks);
        let readable = here.read.is_ok();
        if readable && !marks.has_any_below() {
            return e.clone();
        }
        let mut masked = e.clone();
        if !readable {
            let open = |name: &str| name == "id" || (e.name() == "cib" && COUNTERS.contains(&name));
            for (name, value) in e.shared_attrs().filter(|(name, _)| !open(name)) {
                masked.set(&name, self.hide(value));
            }
        }
        let places: Vec<usize> = match readable {
            true => marks.marked().map(|(at, _)| at).collect(),
            false => (0..e.nodes().len()).collect(),
        };
        for at in places {
            let instead = match e.nodes().get(at) {
                Some(Node::Element(child)) => Node::Element(self.mask(child, marks.child(at), &here)),
                Some(Node::Text(text)) => Node::Text(self.hide(Arc::from(text.as_str()))),
                Some(Node::Comment(text)) => Node::Comment(self.hide(Arc::from(text.as_str()))),
                None => continue,
            };
            if let Some(slot) = masked.nodes_mut().get_mut(at) {
                *slot = instead;
            }
        }
        masked
    }

    fn hide(&mut self, value: Arc<str>) -> String {
        self.values.push(value);
        format!("{SIGN}{:08}", self.values.len() - 1)
    }

    fn value(&self, text: &str) -> Option<&Arc<str>> {
        self.values.get(text.strip_prefix(SIGN)?.parse::<usize>().ok()?)
    }

    /// The document with its values again.
    pub fn restore(&self, e: &Element) -> Element {
        match self.values.is_empty() {
            true => e.clone(),
            false => self.restored(e).unwrap_or_else(|| e.clone()),
        }
    }

    /// `None` where nothing was hidden.
    fn restored(&self, e: &Element) -> Option<Element> {
        let mut new: Option<Element> = None;
        for (name, value) in e.shared_attrs() {
            if let Some(value) = self.value(&value) {
                new.get_or_insert_with(|| e.clone()).set(&name, value);
            }
        }
        for (at, node) in e.nodes().iter().enumerate() {
            let instead = match node {
                Node::Element(child) => self.restored(child).map(Node::Element),
                Node::Text(text) => self.value(text).map(|value| Node::Text(value.to_string())),
                Node::Comment(text) => self.value(text).map(|value| Node::Comment(value.to_string())),
            };
            if let Some(instead) = instead
                && let Some(slot) = new.get_or_insert_with(|| e.clone()).nodes_mut().get_mut(at)
            {
                *slot = instead;
            }
        }
        new
    }
}
