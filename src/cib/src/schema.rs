//! Whether a document says something that the cluster can act on, with the position of each problem.

use xml::Element;

/// How bad a problem is: an error makes the document unacceptable, a warning does not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub severity: Severity,
    /// Source line; 0 if the element was made by program.
    pub line: u32,
    /// `/cib/configuration/resources/primitive[@id='vip']`.
    pub path: String,
    pub message: String,
}

/// Everything that is wrong with a document; empty if it is in order.
pub fn check(_root: &Element) -> Vec<Problem> {
    Vec::new()
}
