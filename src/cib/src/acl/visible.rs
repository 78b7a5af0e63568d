//! What a reader gets.

use super::marks::{Allowed, Marks};
use xml::{Element, Node};

/// The readable part of a document; `None` if nothing of it is readable. What is readable with all below it is shared.
pub fn filter(root: &Element, marks: &Marks) -> Option<Element> {
    see(root, marks, &Allowed::nothing())
}

fn see(e: &Element, marks: &Marks, above: &Allowed) -> Option<Element> {
    let here = above.at(marks);
    if here.read.is_err() {
        return scaffold(e, marks, &here);
    }
    let mut seen = e.clone();
    let marked: Vec<_> = marks.marked().collect();
    // From the last on, so that earlier places stay true.
    for (at, below) in marked.into_iter().rev() {
        let Some(Node::Element(child)) = e.nodes().get(at) else { continue };
        match see(child, below, &here) {
            Some(part) if part == *child => {}
            Some(part) => {
                if let Some(slot) = seen.nodes_mut().get_mut(at) {
                    *slot = Node::Element(part);
                }
            }
            None => drop(seen.nodes_mut().remove(at)),
        }
    }
    Some(seen)
}

/// An unreadable element that encloses something readable: its tag and id.
fn scaffold(e: &Element, marks: &Marks, here: &Allowed) -> Option<Element> {
    let children = marks.marked().filter_map(|(at, below)| match e.nodes().get(at)? {
        Node::Element(child) => see(child, below, here),
        _ => None,
    });
    let children: Vec<Element> = children.collect();
    if children.is_empty() {
        return None;
    }
    let mut kept = Element::new(e.name());
    if let Some(id) = e.id() {
        kept.set("id", id);
    }
    children.into_iter().for_each(|child| kept.push(child));
    Some(kept)
}
