//! The tree itself.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// An element or attribute name; cheap to clone, shared within one parsed document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    pub(crate) fn shared(text: Arc<str>) -> Name {
        Name(text)
    }

    /// The text itself, to be kept beyond the document.
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Name {
        Name(Arc::from(text))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A child of an element. White space between elements is not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Node {
    Element(Element),
    Text(String),
    Comment(String),
}

/// An element with its attributes in order and its children.
#[derive(Clone, Debug)]
pub struct Element {
    name: Name,
    attrs: Vec<(Name, Arc<str>)>,
    children: Vec<Node>,
    line: u32,
    column: u32,
}

/// Source lines do not take part in equality.
impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        self.name == other.name && self.attrs == other.attrs && self.children == other.children
    }
}

impl Eq for Element {}

impl Element {
    pub fn new(name: impl Into<Name>) -> Element {
        Element { name: name.into(), attrs: Vec::new(), children: Vec::new(), line: 0, column: 0 }
    }

    /// Builder form of [`Element::set`].
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Element {
        self.set(name, value);
        self
    }

    /// Builder form of [`Element::push`].
    pub fn with_child(mut self, child: Element) -> Element {
        self.push(child);
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn shared_name(&self) -> &Name {
        &self.name
    }

    pub fn rename(&mut self, name: impl Into<Name>) {
        self.name = name.into();
    }

    /// Line of the start tag in the source, 1-based; 0 if the element was made by program.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Column of the start tag in its line, 1-based, in bytes; 0 if the element was made by program.
    pub fn column(&self) -> u32 {
        self.column
    }

    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(n, _)| *n == *name).map(|(_, v)| &**v)
    }

    /// [`Element::attr`], to be kept beyond the document without a copy.
    pub fn shared_attr(&self, name: &str) -> Option<Arc<str>> {
        self.attrs.iter().find(|(n, _)| *n == *name).map(|(_, v)| Arc::clone(v))
    }

    /// [`Element::attrs`], to be kept beyond the document without copies.
    pub fn shared_attrs(&self) -> impl ExactSizeIterator<Item = (Arc<str>, Arc<str>)> {
        self.attrs.iter().map(|(n, v)| (n.to_shared(), Arc::clone(v)))
    }

    /// The `id` attribute.
    pub fn id(&self) -> Option<&str> {
        self.attr("id")
    }

    pub fn attrs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.attrs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// Replaces the value in place, or appends the attribute.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let value = Arc::from(value.as_ref());
        match self.attrs.iter_mut().find(|(n, _)| *n == *name) {
            Some(slot) => slot.1 = value,
            None => self.attrs.push((Name::from(name), value)),
        }
    }

    pub fn remove_attr(&mut self, name: &str) -> Option<Arc<str>> {
        let at = self.attrs.iter().position(|(n, _)| *n == *name)?;
        Some(self.attrs.remove(at).1)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.children
    }

    pub fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.children
    }

    /// Child elements in order.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &Element> {
        self.children.iter().filter_map(|n| match n {
            Node::Element(e) => Some(e),
            _ => None,
        })
    }

    pub fn elements_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Element> {
        self.children.iter_mut().filter_map(|n| match n {
            Node::Element(e) => Some(e),
            _ => None,
        })
    }

    /// Child elements called `name`.
    pub fn elements_named<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a Element> {
        self.elements().filter(move |e| e.name() == name)
    }

    /// First child element called `name`.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.elements().find(|e| e.name() == name)
    }

    pub fn child_mut(&mut self, name: &str) -> Option<&mut Element> {
        self.elements_mut().find(|e| e.name() == name)
    }

    /// First child element called `name`, appended if there is none.
    pub fn child_or_insert(&mut self, name: &str) -> &mut Element {
        let at = self.children.iter().position(|n| matches!(n, Node::Element(e) if e.name() == name));
        let at = at.unwrap_or_else(|| {
            self.push(Element::new(name));
            self.children.len() - 1
        });
        match &mut self.children[at] {
            Node::Element(e) => e,
            _ => unreachable!("the position was that of an element"),
        }
    }

    pub fn push(&mut self, child: Element) {
        self.children.push(Node::Element(child));
    }

    /// Keeps the child elements for which `keep` holds; text and comments stay.
    pub fn retain_elements(&mut self, mut keep: impl FnMut(&Element) -> bool) {
        self.children.retain(|n| match n {
            Node::Element(e) => keep(e),
            _ => true,
        });
    }

    /// All text directly inside this element.
    pub fn text(&self) -> String {
        self.children
            .iter()
            .filter_map(|n| match n {
                Node::Text(t) => Some(t.as_str()),
                _ => None,
            })
            .collect()
    }

    /// This element and all below it, in document order.
    pub fn descendants(&self) -> impl Iterator<Item = &Element> {
        let mut stack = vec![self];
        std::iter::from_fn(move || {
            let next = stack.pop()?;
            stack.extend(next.elements().rev());
            Some(next)
        })
    }

    /// First element in document order (this one included) whose `id` is `id`.
    pub fn find_id(&self, id: &str) -> Option<&Element> {
        self.descendants().find(|e| e.id() == Some(id))
    }

    pub fn find_id_mut(&mut self, id: &str) -> Option<&mut Element> {
        if self.id() == Some(id) {
            return Some(self);
        }
        self.elements_mut().find_map(|e| e.find_id_mut(id))
    }

    pub(crate) fn from_parts(
        name: Name,
        attrs: Vec<(Name, Arc<str>)>,
        children: Vec<Node>,
        (line, column): (u32, u32),
    ) -> Element {
        Element { name, attrs, children, line, column }
    }
}
