//! The grammar of corosync.conf: `section {`, `key: value`, `}`, blank lines and `#` lines, one statement per line.
//!
//! A line is tested for `{` first, then for `:`, then for `}`, as the original does; there are no trailing comments.

use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, rest};
use nom::sequence::{delimited, terminated};
use nom::{IResult, Parser};
use std::borrow::Cow;

/// Longest line, newline included.
pub const MAX_LINE_BYTES: usize = 511;
/// Sections within sections.
const MAX_DEPTH: usize = 16;
/// Longest flat key (`ICMAP_KEYNAME_MAXLEN`).
const MAX_KEY_BYTES: usize = 255;

/// A place in the file, both counted from 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    pub value: String,
    pub at: Position,
    pub value_at: Position,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Section {
    pub name: String,
    pub at: Position,
    pub items: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Entry(Entry),
    Section(Section),
}

impl Section {
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(|i| if let Item::Entry(e) = i { Some(e) } else { None })
    }

    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.items.iter().filter_map(|i| if let Item::Section(s) = i { Some(s) } else { None })
    }

    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Section> {
        self.sections().filter(move |s| s.name == name)
    }
}

/// Fault of the file's author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    pub at: Position,
    pub expected: String,
    pub found: String,
    pub cure: String,
}

/// One line's meaning.
enum Line<'a> {
    Blank,
    Open(&'a str),
    Entry(&'a str, &'a str),
    Close,
}

/// The root section, which has no name.
pub fn parse(bytes: &[u8]) -> Result<Section, SyntaxError> {
    let mut open: Vec<Section> = vec![Section::default()];
    let mut last = 0;
    for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
        last = index as u32 + 1;
        check_length(last, raw.len())?;
        let raw = &*decode(last, raw)?;
        let line = raw.strip_suffix('\r').unwrap_or(raw);
        let indent = line.chars().take_while(|c| is_space(*c)).count() as u32;
        let at = Position { line: last, column: indent + 1 };
        match read_line(at, line)? {
            Line::Blank => {}
            Line::Open(name) => {
                if open.len() > MAX_DEPTH {
                    return Err(error(
                        at,
                        format!("at most {MAX_DEPTH} sections within each other"),
                        "one more",
                        "close some with `}`",
                    ));
                }
                open.push(Section { name: name.to_owned(), at, items: Vec::new() });
            }
            Line::Entry(key, value) => {
                let entry = entry(at, line, key, value)?;
                if let Some(section) = open.last_mut() {
                    section.items.push(Item::Entry(entry));
                }
            }
            Line::Close => close(&mut open, at)?,
        }
    }
    finish(open, last)
}

fn close(open: &mut Vec<Section>, at: Position) -> Result<(), SyntaxError> {
    if open.len() < 2 {
        return Err(error(
            at,
            "a section, a key or the end of the file",
            "`}` without a section that it closes",
            "remove it, or add the missing `name {` above",
        ));
    }
    if let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) {
        parent.items.push(Item::Section(done));
    }
    Ok(())
}

fn finish(mut open: Vec<Section>, last: u32) -> Result<Section, SyntaxError> {
    if open.len() > 1 {
        let name = open.last().map(|s| (s.name.clone(), s.at)).unwrap_or_default();
        let found = format!("the end of the file within section `{}` opened in line {}", name.0, name.1.line);
        return Err(error(Position { line: last, column: 1 }, "`}`", &found, "add the missing `}`"));
    }
    Ok(open.remove(0))
}

fn entry(at: Position, line: &str, key: &str, value: &str) -> Result<Entry, SyntaxError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(error(
            at,
            format!("a key of at most {MAX_KEY_BYTES} bytes"),
            &format!("{} bytes", key.len()),
            "shorten it",
        ));
    }
    if let Some(bad) = key.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-/:".contains(*c))) {
        return Err(error(
            at,
            "a key of letters, digits and `._-/`",
            &format!("`{bad}` in `{key}`"),
            "write `key: value`",
        ));
    }
    let offset = if value.is_empty() { line.len() } else { value.as_ptr() as usize - line.as_ptr() as usize };
    let column = line.get(..offset).map_or(1, |before| before.chars().count() as u32 + 1);
    Ok(Entry { key: key.to_owned(), value: value.to_owned(), at, value_at: Position { line: at.line, column } })
}

fn check_length(line: u32, bytes: usize) -> Result<(), SyntaxError> {
    if bytes < MAX_LINE_BYTES {
        return Ok(());
    }
    let at = Position { line, column: MAX_LINE_BYTES as u32 };
    Err(error(at, format!("a line of at most {} bytes", MAX_LINE_BYTES - 1), &format!("{bytes} bytes"), "shorten it"))
}

fn read_line(at: Position, line: &str) -> Result<Line<'_>, SyntaxError> {
    let inner = line.trim_matches(is_space);
    if inner.is_empty() || inner.starts_with('#') {
        return Ok(Line::Blank);
    }
    let parsed = if inner.contains('{') {
        map(open, Line::Open).parse(inner)
    } else if inner.contains(':') {
        map(key_value, |(k, v)| Line::Entry(k, v)).parse(inner)
    } else {
        map(all_consuming(tag("}")), |_| Line::Close).parse(inner)
    };
    parsed.map(|(_, line)| line).map_err(|_: nom::Err<nom::error::Error<&str>>| explain(at, inner))
}

fn open(input: &str) -> IResult<&str, &str> {
    let name = take_while1(|c: char| c != '{' && !is_space(c));
    terminated(name, (spaces, all_consuming(char('{')))).parse(input)
}

fn key_value(input: &str) -> IResult<&str, (&str, &str)> {
    let (input, key) = terminated(take_while1(|c: char| c != ':'), char(':')).parse(input)?;
    let (input, value) = delimited(spaces, rest, spaces).parse(input)?;
    Ok((input, (key.trim_end_matches(is_space), value)))
}

fn spaces(input: &str) -> IResult<&str, &str> {
    take_while(is_space).parse(input)
}

/// Why a line is none of the three statements.
fn explain(at: Position, inner: &str) -> SyntaxError {
    if let Some(brace) = inner.find('{') {
        let after = inner[brace + 1..].trim_matches(is_space);
        let column = at.column + inner[..brace].chars().count() as u32;
        if brace == 0 {
            return error(at, "a section name before `{`", "none", "write `name {`");
        }
        if !after.is_empty() {
            let at = Position { line: at.line, column: column + 1 };
            return error(at, "the end of the line after `{`", &format!("`{after}`"), "put it on a line of its own");
        }
        return error(at, "one word before `{`", &format!("`{}`", inner[..brace].trim_end()), "write `name {`");
    }
    if inner.starts_with(':') {
        return error(at, "a key before `:`", "none", "write `key: value`");
    }
    if inner.contains('}') {
        return error(at, "`}` alone on its line", &format!("`{inner}`"), "put `}` on a line of its own");
    }
    error(at, "`section {`, `key: value` or `}`", &format!("`{inner}`"), "is a colon missing?")
}

fn error(at: Position, expected: impl Into<String>, found: &str, cure: &str) -> SyntaxError {
    SyntaxError { at, expected: expected.into(), found: found.to_owned(), cure: cure.to_owned() }
}

/// Space, tab and no-break space, as the original's `isspace` under Latin-1.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\u{a0}')
}

/// A line's text: UTF-8 without control characters, since names and addresses go on into logs, the CIB and terminals. A
/// comment goes nowhere, and may be anything.
fn decode(line: u32, bytes: &[u8]) -> Result<Cow<'_, str>, SyntaxError> {
    let comment = bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b == b'#');
    if comment {
        return Ok(Cow::Borrowed("#"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = String::from_utf8_lossy(&bytes[..e.valid_up_to()]).chars().count();
        let found = format!("byte 0x{:02x}", bytes.get(e.valid_up_to()).copied().unwrap_or_default());
        error(Position { line, column: before as u32 + 1 }, "UTF-8", &found, "write the file as UTF-8")
    })?;
    match text.chars().enumerate().find(|(_, c)| c.is_control() && !matches!(c, '\t' | '\r')) {
        Some((i, c)) => {
            let found = format!("the control character U+{:04X}", u32::from(c));
            Err(error(Position { line, column: i as u32 + 1 }, "printable text", &found, "remove it"))
        }
        None => Ok(Cow::Borrowed(text)),
    }
}
