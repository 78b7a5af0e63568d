//! What the doctor says: findings, and their form for people and programs.

use serde::Serialize;
use std::fmt::Write;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, or could not be looked at.
    Note,
    /// Breaks under some circumstances.
    Warning,
    /// Breaks now, or at the next fail-over.
    Error,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "ERROR",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Stable name of the rule, for programs: `arp-ignore`.
    pub id: &'static str,
    pub severity: Severity,
    /// What was seen, and where.
    pub seen: String,
    pub breaks: String,
    /// Commands or edits, one per line.
    pub cure: Vec<String>,
}

/// What all rules add to.
#[derive(Default, Debug)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn add<C: Into<String>>(
        &mut self,
        (severity, id): (Severity, &'static str),
        seen: impl Into<String>,
        breaks: impl Into<String>,
        cure: impl IntoIterator<Item = C>,
    ) {
        let cure = cure.into_iter().map(Into::into).collect();
        self.findings.push(Finding { id, severity, seen: seen.into(), breaks: breaks.into(), cure });
    }

    /// Worst first; within one severity in the order of the rules.
    pub fn finish(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        self.findings.dedup();
        self.findings
    }
}

pub fn error(id: &'static str) -> (Severity, &'static str) {
    (Severity::Error, id)
}

pub fn warning(id: &'static str) -> (Severity, &'static str) {
    (Severity::Warning, id)
}

pub fn note(id: &'static str) -> (Severity, &'static str) {
    (Severity::Note, id)
}

/// The report for people; the script for real servers prints the same form.
pub fn text(host: &str, findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let _ = writeln!(out, "{:<8} {}: {}", finding.severity.word(), finding.id, finding.seen);
        let _ = writeln!(out, "         breaks: {}", finding.breaks);
        for (n, line) in finding.cure.iter().enumerate() {
            let label = if n == 0 { "cure:  " } else { "       " };
            let _ = writeln!(out, "         {label} {line}");
        }
    }
    let count = |s: Severity| findings.iter().filter(|f| f.severity == s).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let _ = writeln!(out, "{host}: {errors} errors, {warnings} warnings, {notes} notes");
    out
}
