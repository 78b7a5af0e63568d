//! What a user may do with each element, for `cibadmin --show-access`.

use super::marks::{Allowed, Marks};
use super::{Access, Subject};
use crate::CibError;
use xml::Element;

/// What may be done with an element and its attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shade {
    Writable,
    Readable,
    Denied,
}

/// Of every element of the document, in document order. As the original shows it, whether or not ACLs are enabled.
pub fn shades(root: &Element, subject: &Subject) -> Result<Vec<Shade>, CibError> {
    let access = Access::evaluated(root, subject)?;
    let marks = Marks::of(root, &access.permissions)?;
    let mut shades = Vec::new();
    shade(root, &marks, &Allowed::nothing(), &mut shades);
    Ok(shades)
}

fn shade(e: &Element, marks: &Marks, above: &Allowed, shades: &mut Vec<Shade>) {
    let here = above.at(marks);
    shades.push(match (here.read.is_ok(), here.write.is_ok()) {
        (true, true) => Shade::Writable,
        (true, false) => Shade::Readable,
        (false, _) => Shade::Denied,
    });
    for (at, node) in e.nodes().iter().enumerate() {
        if let xml::Node::Element(child) = node {
            shade(child, marks.child(at), &here, shades);
        }
    }
}
