//! The tree itself. A copy of an element shares everything with it; a change copies the way from the root to what changes,
//! and nothing else.

use crate::children::Children;
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

/// An element with its attributes in order and its children. Copying one costs nothing, however much is below it.
#[derive(Clone)]
pub struct Element(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    name: Name,
    attrs: Vec<(Name, Arc<str>)>,
    children: Children,
    line: u32,
    column: u32,
}

/// Source lines do not take part in equality. What is shared is not compared.
impl PartialEq for Element {
    fn eq(&self, other: &Element) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0) || (a.name == b.name && a.attrs == b.attrs && a.children == b.children)
    }
}

impl Eq for Element {}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Element");
        text.field("name", &self.0.name).field("attrs", &self.0.attrs).field("children", &self.0.children);
        text.field("line", &self.0.line).field("column", &self.0.column).finish()
    }
}

impl Element {
    pub fn new(name: impl Into<Name>) -> Element {
        Element::from_parts(name.into(), Vec::new(), Vec::new(), (0, 0))
    }

    /// One with these attributes, no two of one name.
    pub fn of(name: Name, attrs: Vec<(Name, Arc<str>)>) -> Element {
        Element::from_parts(name, attrs, Vec::new(), (0, 0))
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

    /// Whether the two are one in memory: a copy of which neither has been changed since.
    pub fn is_same(&self, other: &Element) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub fn shared_name(&self) -> &Name {
        &self.0.name
    }

    pub fn rename(&mut self, name: impl Into<Name>) {
        self.own().name = name.into();
    }

    /// Line of the start tag in the source, 1-based; 0 if the element was made by program.
    pub fn line(&self) -> u32 {
        self.0.line
    }

    /// Column of the start tag in its line, 1-based, in bytes; 0 if the element was made by program.
    pub fn column(&self) -> u32 {
        self.0.column
    }

    pub fn attr(&self, name: &str) -> Option<&str> {
        self.0.attrs.iter().find(|(n, _)| *n == *name).map(|(_, v)| &**v)
    }

    /// [`Element::attr`], to be kept beyond the document without a copy.
    pub fn shared_attr(&self, name: &str) -> Option<Arc<str>> {
        self.0.attrs.iter().find(|(n, _)| *n == *name).map(|(_, v)| Arc::clone(v))
    }

    /// [`Element::attrs`], to be kept beyond the document without copies.
    pub fn shared_attrs(&self) -> impl ExactSizeIterator<Item = (Arc<str>, Arc<str>)> {
        self.0.attrs.iter().map(|(n, v)| (n.to_shared(), Arc::clone(v)))
    }

    /// The `id` attribute.
    pub fn id(&self) -> Option<&str> {
        self.attr("id")
    }

    pub fn attrs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.attrs.iter().map(|(n, v)| (&**n, &**v))
    }

    /// Replaces the value in place, or appends the attribute. One that is set to what it is stays shared.
    pub fn set(&mut self, name: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        let at = self.0.attrs.iter().position(|(n, _)| *n == *name);
        match at {
            Some(at) if *self.0.attrs[at].1 == *value => {}
            Some(at) => self.own().attrs[at].1 = Arc::from(value),
            None => self.own().attrs.push((Name::from(name), Arc::from(value))),
        }
    }

    pub fn remove_attr(&mut self, name: &str) -> Option<Arc<str>> {
        let at = self.0.attrs.iter().position(|(n, _)| *n == *name)?;
        Some(self.own().attrs.remove(at).1)
    }

    pub fn nodes(&self) -> &Children {
        &self.0.children
    }

    pub fn nodes_mut(&mut self) -> &mut Children {
        &mut self.own().children
    }

    /// Child elements in order.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &Element> {
        self.nodes().iter().filter_map(|n| match n {
            Node::Element(e) => Some(e),
            _ => None,
        })
    }

    /// All child elements, to be changed. For one of them there are [`Element::find_mut`] and the like, which do not touch
    /// the others.
    pub fn elements_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Element> {
        self.nodes_mut().iter_mut().filter_map(|n| match n {
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
        self.find_mut(|e| e.name() == name)
    }

    /// The first child element that fits, to be changed.
    pub fn find_mut(&mut self, fits: impl Fn(&Element) -> bool) -> Option<&mut Element> {
        let at = self.nodes().iter().position(|n| matches!(n, Node::Element(e) if fits(e)))?;
        self.element_at_mut(at)
    }

    /// First child element with this name and `id`; quick also where there are ten thousand.
    pub fn child_by_id(&self, name: &str, id: &str) -> Option<&Element> {
        match self.nodes().get(self.position_by_id(name, id)?)? {
            Node::Element(e) => Some(e),
            _ => None,
        }
    }

    /// [`Element::child_by_id`], to be changed.
    pub fn child_by_id_mut(&mut self, name: &str, id: &str) -> Option<&mut Element> {
        let at = self.position_by_id(name, id)?;
        self.element_at_mut(at)
    }

    /// Takes out the first child element with this name and `id`.
    pub fn remove_by_id(&mut self, name: &str, id: &str) -> Option<Element> {
        let at = self.position_by_id(name, id)?;
        match self.nodes_mut().remove(at)? {
            Node::Element(e) => Some(e),
            _ => None,
        }
    }

    /// First child element called `name`, appended if there is none.
    pub fn child_or_insert(&mut self, name: &str) -> &mut Element {
        let at = self.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.name() == name));
        let at = at.unwrap_or_else(|| {
            self.push(Element::new(name));
            self.nodes().len() - 1
        });
        match self.element_at_mut(at) {
            Some(e) => e,
            None => unreachable!("the position was that of an element"),
        }
    }

    /// First child element with this name and `id`, appended with nothing but its id if there is none.
    pub fn child_by_id_or_insert(&mut self, name: &str, id: &str) -> &mut Element {
        let at = self.position_by_id(name, id).unwrap_or_else(|| {
            self.push(Element::new(name).with("id", id));
            self.nodes().len() - 1
        });
        match self.element_at_mut(at) {
            Some(e) => e,
            None => unreachable!("the position was that of an element"),
        }
    }

    pub fn push(&mut self, child: Element) {
        self.nodes_mut().push(Node::Element(child));
    }

    /// Keeps the child elements for which `keep` holds; text and comments stay.
    pub fn retain_elements(&mut self, mut keep: impl FnMut(&Element) -> bool) {
        self.nodes_mut().retain(|n| match n {
            Node::Element(e) => keep(e),
            _ => true,
        });
    }

    /// All text directly inside this element.
    pub fn text(&self) -> String {
        self.nodes()
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
        let at = self.nodes().iter().position(|n| matches!(n, Node::Element(e) if e.find_id(id).is_some()))?;
        self.element_at_mut(at)?.find_id_mut(id)
    }

    pub(crate) fn from_parts(
        name: Name,
        attrs: Vec<(Name, Arc<str>)>,
        children: Vec<Node>,
        (line, column): (u32, u32),
    ) -> Element {
        Element(Arc::new(Inner { name, attrs, children: Children::from(children), line, column }))
    }

    /// This element for itself alone, to be changed.
    fn own(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    fn position_by_id(&self, name: &str, id: &str) -> Option<usize> {
        self.nodes().position_by_id(id, |n| matches!(n, Node::Element(e) if e.name() == name))
    }

    fn element_at_mut(&mut self, at: usize) -> Option<&mut Element> {
        match self.nodes_mut().get_mut(at) {
            Some(Node::Element(e)) => Some(e),
            _ => None,
        }
    }
}
