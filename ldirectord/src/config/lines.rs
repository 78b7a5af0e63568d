//! From text to entries: which line is a directive of what scope.
//!
//! The original's rules (a block's lines are indented by four blanks or a tab, a blank line ends the block, `#` cuts a line of a
//! block anywhere) decide what every file means that it accepts. What it refuses for layout alone is placed where it can only belong,
//! with a warning. Only the classification lives here; values are read in `value`.

use super::problem::{Deviation, Problem, Severity};
use nom::bytes::complete::take_while1;
use nom::character::complete::{char, space0};
use nom::combinator::opt;
use nom::{IResult, Parser as _};

/// Longest file and most lines that are read.
pub const MAX_BYTES: usize = 8 << 20;
pub const MAX_LINES: usize = 200_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    Global,
    /// `virtual` or `virtual6` itself.
    Start,
    /// A directive of the virtual above.
    Body,
}

/// One directive with its place.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    raw: &'a str,
    pub line: u32,
    pub scope: Scope,
    /// Lower case.
    pub name: String,
    pub value: &'a str,
    /// Blanks after the value, which the original did not cut.
    pub trailing_blank: bool,
    /// A comment after the value.
    pub comment: bool,
    /// A `=` was there.
    pub assigned: bool,
}

impl Entry<'_> {
    /// Column of `part`, which must be a slice of this line; the value's column otherwise.
    pub fn column_of(&self, part: &str) -> u32 {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.raw.as_ptr() as usize);
        match self.raw.get(..offset) {
            Some(before) => before.chars().count() as u32 + 1,
            None => 1,
        }
    }

    pub fn column(&self) -> u32 {
        self.column_of(self.raw.trim_start())
    }

    pub fn value_column(&self) -> u32 {
        self.column_of(self.value)
    }
}

/// Where a directive may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Global,
    Virtual,
    Both,
}

pub const DIRECTIVES: &[(&str, Place)] = &[
    ("autoreload", Place::Global),
    ("callback", Place::Global),
    ("emailalertfrom", Place::Global),
    ("execute", Place::Global),
    ("fork", Place::Global),
    ("logfile", Place::Global),
    ("maintenancedir", Place::Global),
    ("readdquiescent", Place::Global),
    ("supervised", Place::Global),
    ("agentinterval", Place::Both),
    ("agentport", Place::Both),
    ("agentsend", Place::Both),
    ("checkcount", Place::Both),
    ("checkinterval", Place::Both),
    ("checkjitter", Place::Both),
    ("checktimeout", Place::Both),
    ("cleanstop", Place::Both),
    ("emailalert", Place::Both),
    ("emailalertfreq", Place::Both),
    ("emailalertstatus", Place::Both),
    ("failurecount", Place::Both),
    ("fall", Place::Both),
    ("fallback", Place::Both),
    ("fallback6", Place::Both),
    ("fallbackcommand", Place::Both),
    ("flapchanges", Place::Both),
    ("flaphold", Place::Both),
    ("flapwindow", Place::Both),
    ("negotiatetimeout", Place::Both),
    ("quiescent", Place::Both),
    ("rise", Place::Both),
    ("slowstart", Place::Both),
    ("sourceaddress", Place::Both),
    ("smtp", Place::Both),
    ("checkcommand", Place::Virtual),
    ("checkport", Place::Virtual),
    ("checktype", Place::Virtual),
    ("comment", Place::Virtual),
    ("database", Place::Virtual),
    ("httpmethod", Place::Virtual),
    ("load", Place::Virtual),
    ("login", Place::Virtual),
    ("monitorfile", Place::Virtual),
    ("netmask", Place::Virtual),
    ("ops", Place::Virtual),
    ("passwd", Place::Virtual),
    ("persistent", Place::Virtual),
    ("protocol", Place::Virtual),
    ("real", Place::Virtual),
    ("real6", Place::Virtual),
    ("receive", Place::Virtual),
    ("redirects", Place::Virtual),
    ("resolve", Place::Virtual),
    ("request", Place::Virtual),
    ("schedflags", Place::Virtual),
    ("scheduler", Place::Virtual),
    ("secret", Place::Virtual),
    ("service", Place::Virtual),
    ("servicename", Place::Virtual),
    ("sqltls", Place::Virtual),
    ("tlscafile", Place::Virtual),
    ("tlsverify", Place::Virtual),
    ("virtualhost", Place::Virtual),
];

/// A directive's place in the list.
pub fn number(name: &str) -> Option<u8> {
    DIRECTIVES.iter().position(|(n, _)| *n == name).and_then(|at| u8::try_from(at).ok())
}

pub fn place(name: &str) -> Option<Place> {
    DIRECTIVES.iter().find(|(n, _)| *n == name).map(|(_, p)| *p)
}

/// All directives of `text` in order; layout problems go to `problems`.
pub fn entries<'a>(text: &'a str, problems: &mut Vec<Problem>) -> Vec<Entry<'a>> {
    if text.len() > MAX_BYTES || text.lines().count() > MAX_LINES {
        problems.push(Problem {
            severity: Severity::Error,
            line: 1,
            column: 1,
            found: format!("a file of {} bytes", text.len()),
            expected: format!("at most {MAX_BYTES} bytes and {MAX_LINES} lines"),
            cure: String::new(),
            deviation: None,
        });
        return Vec::new();
    }
    let mut blank = false;
    let mut raw: Vec<RawLine<'a>> = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        blank |= line.trim().is_empty();
        if let Some(read) = RawLine::read(index as u32 + 1, line, blank) {
            blank = false;
            raw.push(read);
        }
    }
    let mut out = Vec::new();
    let mut layout = Layout { block: Block::None, problems, said: Vec::new() };
    if text.contains('\r') {
        let first = text.split('\n').position(|l| l.contains('\r')).unwrap_or(0) as u32 + 1;
        layout.warn(first, 1, Deviation::Crlf, "carriage returns at line ends", "line ends of a newline alone");
    }
    for (index, line) in raw.iter().enumerate() {
        if let Some(entry) = layout.place(line, &raw[index..]) {
            out.push(entry);
        }
    }
    out
}

/// A line that is neither blank nor a comment.
struct RawLine<'a> {
    no: u32,
    raw: &'a str,
    /// A blank line stands between this and the directive before it.
    after_blank: bool,
    indent: usize,
    name: &'a str,
    lower: String,
    assigned: bool,
    rest: &'a str,
}

impl<'a> RawLine<'a> {
    fn read(no: u32, line: &'a str, after_blank: bool) -> Option<RawLine<'a>> {
        let raw = line.strip_suffix('\r').unwrap_or(line);
        let content = raw.trim_start_matches([' ', '\t']);
        if content.trim().is_empty() || content.starts_with('#') {
            return None;
        }
        let indent = raw[..raw.len() - content.len()].chars().map(|c| if c == '\t' { 4 } else { 1 }).sum();
        let (rest, (name, assigned)) = directive(content).unwrap_or((content, ("", false)));
        Some(RawLine { no, raw, after_blank, indent, name, lower: name.to_ascii_lowercase(), assigned, rest })
    }

    fn starts_block(&self) -> bool {
        self.lower == "virtual" || self.lower == "virtual6"
    }
}

fn directive(input: &str) -> IResult<&str, (&str, bool)> {
    let (input, name) = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-').parse(input)?;
    let (input, _) = space0.parse(input)?;
    let (input, equals) = opt(char('=')).parse(input)?;
    let (input, _) = space0.parse(input)?;
    Ok((input, (name, equals.is_some())))
}

enum Block {
    None,
    /// Within a virtual; `pasted` if its directives stand in column 0.
    Open {
        pasted: bool,
    },
    /// A global directive has followed the last virtual.
    Closed,
}

struct Layout<'p> {
    block: Block,
    problems: &'p mut Vec<Problem>,
    said: Vec<Deviation>,
}

impl Layout<'_> {
    fn place<'a>(&mut self, line: &RawLine<'a>, following: &[RawLine<'a>]) -> Option<Entry<'a>> {
        if line.name != line.lower && place(&line.lower).is_some() | line.starts_block() {
            self.warn(
                line.no,
                1,
                Deviation::UpperCase,
                &format!("`{}`", line.name),
                &format!("`{}` in lower case", line.lower),
            );
        }
        let scope = self.scope(line, following)?;
        Some(entry(line, scope))
    }

    fn scope(&mut self, line: &RawLine<'_>, following: &[RawLine<'_>]) -> Option<Scope> {
        if line.starts_block() {
            if line.indent > 0 {
                self.warn(line.no, 1, Deviation::IndentedGlobal, "an indented `virtual`", "`virtual` in column 1");
            }
            self.block = Block::Open { pasted: is_pasted(following) };
            return Some(Scope::Start);
        }
        match (&self.block, line.indent) {
            (Block::Open { pasted: true }, 0) if place(&line.lower).is_some_and(|p| p != Place::Global) => {
                self.warn(
                    line.no,
                    1,
                    Deviation::Unindented,
                    &format!("`{}` without indent", line.lower),
                    "a virtual's directives indented by four blanks",
                );
                Some(Scope::Body)
            }
            (Block::None, indent) => {
                if indent > 0 {
                    self.warn(
                        line.no,
                        1,
                        Deviation::IndentedGlobal,
                        "an indented global directive",
                        "global directives in column 1",
                    );
                }
                Some(Scope::Global)
            }
            (Block::Open { pasted }, 0) => {
                if !pasted {
                    self.block = Block::Closed;
                }
                Some(Scope::Global)
            }
            (Block::Closed, 0) => Some(Scope::Global),
            (Block::Open { .. }, indent) => {
                if indent < 4 {
                    self.warn(
                        line.no,
                        1,
                        Deviation::ShortIndent,
                        "an indent of less than four blanks",
                        "four blanks or a tab",
                    );
                }
                if line.after_blank {
                    self.warn(
                        line.no,
                        1,
                        Deviation::BlankInBlock,
                        "a blank line within a virtual",
                        "no blank line before the block's end",
                    );
                }
                Some(Scope::Body)
            }
            (Block::Closed, _) => {
                self.problems.push(Problem {
                    severity: Severity::Error,
                    line: line.no,
                    column: 1,
                    found: format!("indented `{}` after a global directive", line.name),
                    expected: "a virtual's directives directly under it".to_owned(),
                    cure: "move it under its virtual, or remove the indent if it is meant globally".to_owned(),
                    deviation: None,
                });
                None
            }
        }
    }

    /// Layout warnings are said once per file and kind: a pasted file would repeat one on every line.
    fn warn(&mut self, line: u32, column: u32, deviation: Deviation, found: &str, expected: &str) {
        if self.said.contains(&deviation) {
            return;
        }
        self.said.push(deviation);
        self.problems.push(Problem {
            severity: Severity::Warning,
            line,
            column,
            found: found.to_owned(),
            expected: format!("the original wants {expected}"),
            cure: "accepted here".to_owned(),
            deviation: Some(deviation),
        });
    }
}

/// Whether the block that begins at `lines[0]` has directives in column 0 that can only be a virtual's.
fn is_pasted(lines: &[RawLine<'_>]) -> bool {
    let body = lines.iter().skip(1).take_while(|l| !l.starts_block());
    body.into_iter().any(|l| l.indent == 0 && place(&l.lower) == Some(Place::Virtual))
}

fn entry<'a>(line: &RawLine<'a>, scope: Scope) -> Entry<'a> {
    let (kept, comment) = match scope {
        Scope::Global if line.lower == "fallbackcommand" => (line.rest, false),
        Scope::Global => cut_comment(line.rest, true),
        Scope::Start | Scope::Body => cut_comment(line.rest, false),
    };
    let value = kept.trim_end_matches([' ', '\t']);
    Entry {
        raw: line.raw,
        line: line.no,
        scope,
        name: line.lower.clone(),
        value,
        trailing_blank: value.len() < kept.len(),
        comment,
        assigned: line.assigned,
    }
}

/// Cuts a trailing comment, at the first `#` that does not stand within quotes.
fn cut_comment(text: &str, needs_blank: bool) -> (&str, bool) {
    for (at, _) in text.match_indices('#') {
        let before = &text[..at];
        if needs_blank && !before.ends_with([' ', '\t']) && !before.is_empty() {
            continue;
        }
        let quotes = before.matches('"').count();
        if quotes.is_multiple_of(2) || quotes >= 2 && before.trim_end().ends_with('"') {
            return (before, true);
        }
    }
    (text, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> (Vec<(String, Scope)>, Vec<Deviation>) {
        let mut problems = Vec::new();
        let found = entries(text, &mut problems).into_iter().map(|e| (e.name, e.scope)).collect();
        (found, problems.into_iter().filter_map(|p| p.deviation).collect())
    }

    #[test]
    fn a_column_0_directive_after_an_indented_block_is_global() {
        let (found, deviations) = scopes("virtual=1\n    real=a gate\nquiescent=yes\n");
        assert_eq!(found[2], ("quiescent".to_owned(), Scope::Global));
        assert!(deviations.is_empty());
    }

    #[test]
    fn in_a_pasted_block_it_belongs_to_the_virtual() {
        let (found, deviations) =
            scopes("quiescent=no\nvirtual=1\nreal=a gate\nquiescent=yes\nautoreload=yes\nservice=http\n");
        assert_eq!(found[0].1, Scope::Global);
        assert_eq!(found[3], ("quiescent".to_owned(), Scope::Body));
        assert_eq!(found[4].1, Scope::Global);
        assert_eq!(found[5].1, Scope::Body);
        assert_eq!(deviations, [Deviation::Unindented]);
    }

    #[test]
    fn comments_end_outside_quotes() {
        assert_eq!(cut_comment("\"a#b\" # c", false), ("\"a#b\" ", true));
        assert_eq!(cut_comment("\"a\" # \"c\"", false), ("\"a\" ", true));
        assert_eq!(cut_comment("\"a#b\"", false), ("\"a#b\"", false));
        assert_eq!(cut_comment("/x#y", true), ("/x#y", false));
    }
}
