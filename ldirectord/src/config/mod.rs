//! `ldirectord.cf`: the whole grammar into a typed configuration.
//!
//! ```text
//! text -> lines (scope of each directive) -> parser (values, real lines) -> finish (defaults) -> Config
//!                                                                          lint (likely mistakes) <- check
//! ```
//!
//! A file that the original accepts means the same here; every exception is a row of [`DEVIATIONS`]. Errors are collected, each
//! with line, column, what was found and expected, and what to do; with one error nothing of the file is used.

mod block;
mod environment;
mod finish;
mod lines;
mod lint;
mod normal;
mod own;
mod own_read;
mod parser;
mod problem;
mod raw;
mod real;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use base::Text;
pub use environment::{Environment, System};
pub use finish::DEFAULT_LOG;
pub use lines::{MAX_BYTES, MAX_LINES};
pub use lint::{NO_ORACLE_CHECK, lint};
pub use own::{Agent, Flap, OWN_DIRECTIVES, OwnDirective, Tuning};
pub use problem::{DEVIATIONS, Deviation, DeviationRow, Problem, Refused, Severity};
pub use real::{MAX_RANGE, MAX_REALS};
pub use types::*;

/// A configuration that was accepted, and what is worth saying about it.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub config: Config,
    pub warnings: Vec<Problem>,
    /// Directives in it that the Perl original would refuse the file for, in order of lines.
    pub own_directives: Vec<OwnDirective>,
}

/// Reads a whole file's text.
pub fn parse(text: &str, env: &mut dyn Environment) -> Result<Accepted, Refused> {
    let mut parser = parser::Parser::new(env);
    let text = normal::normal(text, &mut parser.problems);
    parser.read(&text);
    let config = finish::finish(&mut parser);
    let own_directives = parser.own_directives;
    let mut problems = parser.problems;
    problems.sort_by_key(|p| (p.line, p.column));
    let (errors, warnings): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|p| p.severity == Severity::Error);
    if errors.is_empty() {
        Ok(Accepted { config, warnings, own_directives })
    } else {
        Err(Refused { errors, warnings })
    }
}
