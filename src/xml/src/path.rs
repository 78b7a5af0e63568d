//! The subset of XPath 1.0 that cluster tools use: location paths with child, descendant, parent and self steps,
//! predicates on attributes, positions and sub-paths, `and`/`or`/`not()`, a few functions, and unions.
//!
//! A parsed [`Path`] is evaluated from the document's root and yields [`Location`]s, so that the tree may be changed
//! afterwards. Evaluation is bounded by [`MAX_VISITS`].

mod eval;
mod grammar;
#[cfg(test)]
mod tests;

use crate::tree::{Element, Node};

/// Longest expression that is accepted, in bytes.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;
/// Deepest nesting of predicates and parentheses that is accepted.
pub const MAX_NESTING: usize = 32;
/// Most element visits of one evaluation, about a second's worth; an expression that needs more is refused while it runs.
pub const MAX_VISITS: usize = 4_000_000;

/// Where an element stands: indexes into [`Element::nodes`], from the root down; empty for the root itself.
pub type Location = Vec<usize>;

/// A parsed expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    branches: Vec<Vec<Step>>,
}

/// Why an expression was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    #[error("XPath: column {column}: expected {expected}, found {found}")]
    Syntax { column: usize, expected: &'static str, found: String },
    #[error("XPath: longer than {MAX_EXPRESSION_BYTES} bytes")]
    TooLong,
    #[error("XPath: nested deeper than {MAX_NESTING}")]
    TooDeep,
    #[error("XPath: needs more than {MAX_VISITS} visits of elements")]
    TooCostly,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Axis {
    Child,
    Descendant,
    DescendantOrSelf,
    Parent,
    Ancestor,
    SelfNode,
    Attribute,
}

#[derive(Clone, PartialEq, Debug)]
struct Step {
    axis: Axis,
    /// `None` is `*` or `node()`.
    name: Option<String>,
    predicates: Vec<Expr>,
}

#[derive(Clone, PartialEq, Debug)]
enum Expr {
    Or(Box<Expr>, Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Comparison, Box<Expr>),
    Text(String),
    Number(f64),
    /// A path relative to the current element (`absolute`: from the root).
    Steps {
        absolute: bool,
        steps: Vec<Step>,
    },
    Call(Function, Vec<Expr>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Function {
    Not,
    Contains,
    StartsWith,
    Position,
    Last,
    Count,
    Name,
    True,
    False,
    StringLength,
}

impl Path {
    pub fn parse(text: &str) -> Result<Path, PathError> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(PathError::TooLong);
        }
        grammar::parse(text)
    }

    /// Every element that the expression selects, once each, in document order.
    pub fn find(&self, root: &Element) -> Result<Vec<Location>, PathError> {
        self.find_within(root, &mut 0)
    }

    /// [`Path::find`] as one of several evaluations that may need [`MAX_VISITS`] together; `visits` counts them.
    pub fn find_within(&self, root: &Element, visits: &mut usize) -> Result<Vec<Location>, PathError> {
        eval::find(self, root, visits)
    }
}

impl Element {
    /// The element at `location`, if there is one.
    pub fn at(&self, location: &[usize]) -> Option<&Element> {
        location.iter().try_fold(self, |e, i| match e.nodes().get(*i) {
            Some(Node::Element(child)) => Some(child),
            _ => None,
        })
    }

    /// [`Element::at`], to change it.
    pub fn at_mut(&mut self, location: &[usize]) -> Option<&mut Element> {
        location.iter().try_fold(self, |e, i| match e.nodes_mut().get_mut(*i) {
            Some(Node::Element(child)) => Some(child),
            _ => None,
        })
    }

    /// Takes the element at `location` out of the tree; the root cannot be taken.
    pub fn remove_at(&mut self, location: &[usize]) -> Option<Element> {
        let (last, parents) = location.split_last()?;
        let parent = self.at_mut(parents)?;
        if !matches!(parent.nodes().get(*last), Some(Node::Element(_))) {
            return None;
        }
        match parent.nodes_mut().remove(*last)? {
            Node::Element(e) => Some(e),
            _ => None,
        }
    }

    /// An absolute expression for the element at `location`, with ids where there are any:
    /// `/cib/configuration/resources/primitive[@id='vip']`.
    pub fn path_of(&self, location: &[usize]) -> String {
        let mut out = format!("/{}", self.name());
        let mut here = self;
        for i in location {
            let Some(Node::Element(child)) = here.nodes().get(*i) else { break };
            here = child;
            out.push('/');
            out.push_str(child.name());
            if let Some(id) = child.id() {
                out.push_str(&format!("[@id='{id}']"));
            }
        }
        out
    }
}
