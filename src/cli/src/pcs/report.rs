//! What a command finds wrong: several faults at once, each of which may be one that `--force` turns into a warning.

use super::unable;
use crate::edit::error;
use crate::grammar::Line;
use crate::source::Failure;

pub struct Report {
    errors: Vec<String>,
    force: bool,
}

/// Warnings stand where nobody takes them for an answer.
pub fn warn(text: &str) {
    kernel::errln!("Warning: {text}");
}

pub fn deprecated(text: &str) {
    kernel::errln!("Deprecation Warning: {text}");
}

/// Names in quotes, in order.
pub fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")
}

impl Report {
    pub fn of(line: &Line) -> Report {
        Report { errors: Vec::new(), force: line.has("--force") }
    }

    pub fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    /// An error, or a warning where it is forced.
    pub fn forceable(&mut self, text: &str) {
        match self.force {
            true => warn(text),
            false => self.errors.push(format!("{text}, use --force to override")),
        }
    }

    /// One of the values that there are.
    pub fn one_of(&mut self, name: &str, value: Option<&str>, allowed: &[&str]) {
        if let Some(value) = value.filter(|v| !allowed.contains(v)) {
            self.error(format!("'{value}' is not a valid {name} value, use {}", quoted(allowed.iter().copied())));
        }
    }

    /// All faults, and the word that nothing was done.
    pub fn done(self) -> Result<(), Failure> {
        if self.errors.is_empty() { Ok(()) } else { Err(unable(&self.errors)) }
    }

    /// Ends here where there is a fault.
    pub fn stop(&self) -> Result<(), Failure> {
        if self.errors.is_empty() { Ok(()) } else { Err(unable(&self.errors)) }
    }

    /// As the older commands end, which stop at their first fault.
    pub fn done_alone(self) -> Result<(), Failure> {
        self.errors.into_iter().next().map_or(Ok(()), |first| Err(error(first)))
    }
}
