//! Words and blocks of a `keepalived.conf`.

use super::lines::Lines;
use super::report::Place;
use nom::branch::alt;
use nom::bytes::complete::{is_not, take_while, take_while1};
use nom::character::complete::{char, multispace0};
use nom::combinator::{map, recognize};
use nom::multi::{fold_many0, many1};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// Blocks within each other, at most.
const MAX_DEPTH: usize = 16;

/// A line, and what it holds in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stmt {
    pub words: Vec<String>,
    pub body: Option<Vec<Stmt>>,
    pub at: Place,
}

impl Stmt {
    pub fn keyword(&self) -> &str {
        self.words.first().map(String::as_str).unwrap_or_default()
    }

    /// What follows the keyword.
    pub fn rest(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first word behind the keyword.
    pub fn value(&self) -> &str {
        self.words.get(1).map(String::as_str).unwrap_or_default()
    }

    pub fn shown(&self) -> String {
        self.words.join(" ")
    }

    pub fn body(&self) -> &[Stmt] {
        self.body.as_deref().unwrap_or_default()
    }

    /// A line of a block.
    pub fn child(&self, keyword: &str) -> Option<&Stmt> {
        self.body().iter().find(|s| s.keyword() == keyword)
    }

    pub fn children<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a Stmt> {
        self.body().iter().filter(move |s| s.keyword() == keyword)
    }
}

enum Item {
    Word(String),
    Open,
    Close,
    End,
}

/// All of it; an error names the line.
pub fn parse(lines: &Lines) -> Result<Vec<Stmt>, String> {
    let mut reader = Reader { rest: &lines.text, lines };
    let all = reader.block(0)?;
    Ok(all)
}

struct Reader<'a> {
    rest: &'a str,
    lines: &'a Lines,
}

impl Reader<'_> {
    /// Of what is read next.
    fn place(&self) -> Place {
        let read = &self.lines.text[..self.lines.text.len() - self.rest.len()];
        let line = read.bytes().filter(|b| *b == b'\n').count();
        let last = self.lines.places.last().cloned();
        self.lines.places.get(line).cloned().or(last).unwrap_or_else(|| Place::new("", 0))
    }

    fn wrong(&self, why: &str) -> String {
        let at = self.place();
        format!("{}:{}: {why}", at.file, at.line)
    }

    fn item(&mut self) -> Result<Option<Item>, String> {
        if self.rest.trim().is_empty() {
            return Ok(None);
        }
        match item(self.rest) {
            Ok((rest, item)) => {
                self.rest = rest;
                Ok(Some(item))
            }
            Err(_) => Err(self.wrong("expected words, or { and }; a quote is not closed?")),
        }
    }

    fn block(&mut self, depth: usize) -> Result<Vec<Stmt>, String> {
        if depth > MAX_DEPTH {
            return Err(self.wrong(&format!("blocks deeper than {MAX_DEPTH}")));
        }
        let (mut all, mut words, mut at): (Vec<Stmt>, Vec<String>, Place) = (Vec::new(), Vec::new(), self.place());
        loop {
            let here = self.place();
            let Some(item) = self.item()? else {
                if depth > 0 {
                    return Err(self.wrong("expected } before the end of the file"));
                }
                all.extend((!words.is_empty()).then(|| Stmt { words: std::mem::take(&mut words), body: None, at }));
                return Ok(all);
            };
            match item {
                Item::Word(word) => {
                    if words.is_empty() {
                        at = here;
                    }
                    words.push(word);
                }
                Item::End if self.opens() || words.is_empty() => {}
                Item::End => all.push(Stmt { words: std::mem::take(&mut words), body: None, at: at.clone() }),
                Item::Open if words.is_empty() => return Err(self.wrong("{ without a name before it")),
                Item::Open => {
                    let body = self.block(depth + 1)?;
                    all.push(Stmt { words: std::mem::take(&mut words), body: Some(body), at: at.clone() });
                }
                Item::Close if depth == 0 => return Err(self.wrong("} without {")),
                Item::Close => {
                    all.extend((!words.is_empty()).then(|| Stmt { words: std::mem::take(&mut words), body: None, at }));
                    return Ok(all);
                }
            }
        }
    }

    /// Whether a block begins on the next line.
    fn opens(&self) -> bool {
        self.rest.trim_start().starts_with('{')
    }
}

fn item(input: &str) -> IResult<&str, Item> {
    let blank = take_while(|c: char| c == ' ' || c == '\t' || c == '\r');
    let word = alt((quoted, plain));
    preceded(
        blank,
        alt((
            map((char('\n'), multispace0), |_| Item::End),
            map(char('{'), |_| Item::Open),
            map(char('}'), |_| Item::Close),
            map(word, Item::Word),
        )),
    )
    .parse(input)
}

/// In double quotes; a backslash takes the next character as it is.
fn quoted(input: &str) -> IResult<&str, String> {
    let escaped = map(preceded(char('\\'), nom::character::complete::anychar), String::from);
    let piece = alt((escaped, map(is_not("\"\\"), str::to_owned)));
    let all = fold_many0(piece, String::new, |mut text, piece: String| {
        text += &piece;
        text
    });
    delimited(char('"'), all, char('"')).parse(input)
}

/// Up to a blank or a brace; `${NAME}` is one word.
fn plain(input: &str) -> IResult<&str, String> {
    let variable = recognize((char('$'), char('{'), is_not("}\n"), char('}')));
    let lone = recognize(char('$'));
    let text = take_while1(|c: char| !c.is_whitespace() && !"{}\"$".contains(c));
    map(recognize(many1(alt((variable, lone, text)))), str::to_owned).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::report::Report;

    fn read(text: &str) -> Result<Vec<Stmt>, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("k.conf");
        std::fs::write(&path, text).expect("written");
        parse(&Lines::read(&path, None, &mut Report::default())?)
    }

    #[test]
    fn blocks_in_every_way_of_writing_them() {
        let all = read("a 1 2{\n b \"x y\\\"z\"\n c\n {\n d } e }\n\nf {g h}\ni").expect("read");
        let names: Vec<&str> = all.iter().map(Stmt::keyword).collect();
        assert_eq!(names, ["a", "f", "i"]);
        assert_eq!(all[0].words, ["a", "1", "2"]);
        assert_eq!(all[0].body()[0].value(), "x y\"z");
        assert_eq!(all[0].child("c").map(|c| c.body().len()), Some(1));
        assert_eq!(all[0].child("c").map(|c| c.at.line), Some(3));
        assert_eq!(all[1].body()[0].words, ["g", "h"]);
    }

    #[test]
    fn what_does_not_close_is_refused_by_line() {
        for (text, why) in
            [("a {\nb\n", "expected }"), ("}\n", "} without {"), ("a\n\"b\n", "quote"), ("{\n", "without a name")]
        {
            assert!(read(text).is_err_and(|e| e.contains(why)), "{text}: {:?}", read(text));
        }
        assert!(read(&"a {\n".repeat(100)).is_err_and(|e| e.contains("deeper")));
    }
}
