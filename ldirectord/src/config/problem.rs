//! What is wrong with a file, where, and what to do; and the one table of deviations from the original.

use serde::Serialize;
use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

/// One finding with its place. Lines and columns count from 1; columns count characters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    pub severity: Severity,
    pub line: u32,
    pub column: u32,
    /// What is there.
    pub found: String,
    /// What should be there, or what follows from it.
    pub expected: String,
    /// What to do about it; empty if that is plain.
    pub cure: String,
    /// Set where this program decides otherwise than the original.
    pub deviation: Option<Deviation>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = if self.severity == Severity::Error { "expected " } else { "" };
        write!(f, "line {}, column {}: {}: {expected}{}", self.line, self.column, self.found, self.expected)?;
        if !self.cure.is_empty() {
            write!(f, "; {}", self.cure)?;
        }
        Ok(())
    }
}

/// A file that is refused: at least one error, in order of lines, and the warnings met on the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.first() {
            Some(first) if self.errors.len() == 1 => write!(f, "{first}"),
            Some(first) => write!(f, "{first} (and {} more)", self.errors.len() - 1),
            None => f.write_str("refused"),
        }
    }
}

impl std::error::Error for Refused {}

macro_rules! deviations {
    ($($variant:ident $id:literal, $original:literal, $ours:literal, $reason:literal;)+) => {
        /// Every place where a file means something else here than to the Perl original.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Deviation { $($variant),+ }

        /// A row of the table.
        #[derive(Clone, Copy, Debug, Serialize)]
        pub struct DeviationRow {
            pub deviation: Deviation,
            pub id: &'static str,
            pub original: &'static str,
            pub ours: &'static str,
            pub reason: &'static str,
        }

        pub const DEVIATIONS: &[DeviationRow] = &[$(DeviationRow {
            deviation: Deviation::$variant, id: $id, original: $original, ours: $ours, reason: $reason,
        }),+];
    };
}

deviations! {
    Crlf "crlf", "a carriage return makes yes/no values an error", "accepted with a warning",
        "files edited on Windows are plainly meant";
    ByteOrderMark "byte-order-mark", "the first line is unknown", "left out with a warning",
        "nobody sees it";
    PastedQuotes "pasted-quotes", "typographic quotation marks are an error, or part of the value", "taken for plain ones, with a warning",
        "web pages and word processors put them in";
    HardBlank "hard-blank", "a hard blank in front of a directive or value makes it unknown", "taken for a plain one, with a warning",
        "web pages put it in";
    Milliseconds "milliseconds", "`checkinterval=250ms` is 250 seconds", "250 milliseconds, with a warning",
        "nobody means seconds by it";
    TrailingBlank "trailing-blank", "`quiescent=yes ` is an error", "accepted with a warning",
        "a blank that nobody can see must not keep a director from starting";
    TrailingComment "trailing-comment", "`quiescent=yes # why` is an error", "accepted with a warning",
        "the comment is plainly one";
    HashInQuotes "hash-in-quotes", "`#` cuts the line even inside quotes, which then is an error", "kept inside quotes, with a warning",
        "passwords and requests contain it";
    IndentedGlobal "indented-global", "a global directive or `virtual` behind blanks is unknown", "accepted with a warning before the first block",
        "only a directive that can stand in a block depends on its indent";
    ShortIndent "short-indent", "a block's lines need four blanks or a tab", "one to three blanks do, with a warning",
        "the block is plainly meant";
    Unindented "unindented", "`real=` and its like in column 0 are unknown", "belong to the virtual above, with a warning",
        "tutorials print their samples without indentation";
    BlankInBlock "blank-in-block", "a blank line ends the block, what follows indented is unknown", "the block goes on, with a warning",
        "an indented line can belong nowhere else";
    UpperCase "upper-case", "names of directives, methods, check types, schedulers must be lower case", "any case, with a warning",
        "there is no other meaning";
    QuotedValue "quoted-value", "`virtual=\"10.0.0.1:80\"` is an error", "accepted with a warning",
        "there is no other meaning";
    UnquotedValue "unquoted-value", "`login=foo` is an error", "accepted with a warning",
        "there is no other meaning";
    EmptyValue "empty-value", "`request=\"\"` is an error", "the default, with a warning",
        "an empty value plainly asks for none";
    ThresholdOrder "threshold-order", "`u:` before `l:` is silently dropped", "both orders work, with a warning",
        "losing a limit in silence overloads a server";
    RequestWithoutWeight "request-without-weight", "a real's own request and receive are silently lost unless a weight stands before them",
        "they count, with a warning", "the manual calls the weight optional; a check that is not made hides a dead server";
    RangeDigits "range-digits", "a range that crosses a change of digit count of the address as a number silently yields no servers", "yields its servers",
        "the end test compares numbers as text";
    MarkFromAddress "mark-from-address", "`virtual=10.0.0.1` silently is firewall mark 10", "refused",
        "the port is missing; a mark is never meant";
    MarkZero "mark-zero", "firewall mark 0 is accepted, then refused by ipvsadm at each start", "refused",
        "the kernel has no mark 0";
    FallbackMark "fallback-mark", "a global fallback breaks a firewall mark's service (a destination `:0` without method)", "works",
        "defect of the original";
    IntervalInBlock "interval-in-block", "`checkinterval` in a virtual is ignored unless fork=yes", "acts always, with a warning",
        "each check has a schedule of its own; the operator has asked for it";
    DuplicateReal "duplicate-real", "two lines for one destination fight over it", "the last line counts, with a warning",
        "the kernel's table has one entry";
    EmptyMask "empty-mask", "a netmask without persistence is silently ignored", "ignored with a warning",
        "it acts with persistent= only";
    BadPattern "bad-pattern", "an invalid pattern in `receive` kills the daemon at the first check", "refused",
        "defect of the original";
    BadSchedFlag "bad-sched-flag", "unknown scheduler flags reach ipvsadm, which refuses the service at each start", "refused",
        "the virtual would silently be missing";
    CheckNeedsPort "check-needs-port", "a check without a port fails for ever in silence", "accepted with a warning",
        "the operator should know before the servers are down";
}

impl Deviation {
    pub fn row(self) -> &'static DeviationRow {
        DEVIATIONS.iter().find(|r| r.deviation == self).unwrap_or(&DEVIATIONS[0])
    }
}
