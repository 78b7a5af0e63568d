//! Readers of values, with nom where there is a grammar. Nothing here knows a directive's name or touches the machine.

use super::types::Method;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, digit1, space0, space1};
use nom::combinator::{opt, rest, verify};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser as _};

/// The first run of digits of a value, as the original reads integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Integer {
    pub value: u32,
    /// There is more than digits: `abc12x`, `-5`.
    pub junk: bool,
}

pub fn integer(text: &str) -> Option<Integer> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits: &str = text[start..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    let value = digits.parse().ok()?;
    Some(Integer { value, junk: digits.len() != text.len() })
}

/// A value in quotes, from the first to the last quote of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quoted<'a> {
    Closed(&'a str),
    Bare(&'a str),
    /// An opening quote without its end.
    Open(&'a str),
}

pub fn quoted(text: &str) -> Quoted<'_> {
    let Some(inner) = text.strip_prefix('"') else { return Quoted::Bare(text) };
    match inner.rfind('"') {
        Some(end) => Quoted::Closed(&inner[..end]),
        None => Quoted::Open(inner),
    }
}

/// A host as written: an IPv6 address in brackets, or an IPv4 address or name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host<'a> {
    Bracketed(&'a str),
    Plain(&'a str),
}

impl<'a> Host<'a> {
    pub fn text(self) -> &'a str {
        match self {
            Host::Bracketed(t) | Host::Plain(t) => t,
        }
    }
}

pub fn host(input: &str) -> IResult<&str, Host<'_>> {
    alt((
        delimited(
            char('['),
            take_while1(|c: char| c.is_ascii_hexdigit() || c == ':' || c == '.' || c == '%'),
            char(']'),
        )
        .map(Host::Bracketed),
        plain_host,
    ))
    .parse(input)
}

/// Letters, digits, `.`, `_` and `-`, but not the `-` of a range's `->`.
fn plain_host(input: &str) -> IResult<&str, Host<'_>> {
    let (after, name) = take_while1(|c: char| c.is_alphanumeric() || c == '.' || c == '_' || c == '-').parse(input)?;
    match name.strip_suffix('-') {
        Some(shorter) if after.starts_with('>') && !shorter.is_empty() => {
            Ok((&input[shorter.len()..], Host::Plain(shorter)))
        }
        _ => Ok((after, Host::Plain(name))),
    }
}

fn port(input: &str) -> IResult<&str, &str> {
    preceded(char(':'), take_while1(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-')).parse(input)
}

/// `HOST:PORT` and whatever follows.
pub fn host_port(input: &str) -> IResult<&str, (Host<'_>, Option<&str>)> {
    (host, opt(port)).parse(input)
}

/// `host[:port] [method]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FallbackText<'a> {
    pub host: Host<'a>,
    pub port: Option<&'a str>,
    pub method: Option<&'a str>,
    pub rest: &'a str,
}

pub fn fallback(input: &str) -> IResult<&str, FallbackText<'_>> {
    let (input, (host, port)) = host_port(input)?;
    let (input, method) = opt(preceded(space1, word)).parse(input)?;
    let (input, tail) = preceded(space0, rest).parse(input)?;
    Ok((input, FallbackText { host, port, method, rest: tail }))
}

fn word(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| !c.is_whitespace()).parse(input)
}

pub fn method(text: &str) -> Option<Method> {
    match text.to_ascii_lowercase().as_str() {
        "gate" => Some(Method::Gate),
        "masq" => Some(Method::Masq),
        "ipip" => Some(Method::Ipip),
        _ => None,
    }
}

/// `HOST[->HOST][:PORT] METHOD`, before the rest of a real line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RealHead<'a> {
    pub first: Host<'a>,
    pub last: Option<Host<'a>>,
    pub port: Option<&'a str>,
    pub method: &'a str,
}

/// A name rather than an address.
pub fn is_name(text: &str) -> bool {
    text.contains(|c: char| c.is_alphabetic()) && text.parse::<std::net::IpAddr>().is_err()
}

pub fn real_head(input: &str) -> IResult<&str, RealHead<'_>> {
    let (input, first) = host(input)?;
    let (input, last) = opt(preceded((space0, tag("->"), space0), host)).parse(input)?;
    let (input, port) = opt(port).parse(input)?;
    let (input, method) = preceded(space1, verify(word, |w: &str| !w.starts_with('"'))).parse(input)?;
    Ok((input, RealHead { first, last, port, method }))
}

/// What follows the method of a real line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RealTail<'a> {
    pub weight: Option<u32>,
    /// `-w 7`: the weight stood behind other text.
    pub weight_junk: bool,
    pub request_receive: Option<(&'a str, &'a str)>,
    pub lower: Option<u32>,
    pub upper: Option<u32>,
    /// `u:` stood before `l:`.
    pub reversed: bool,
}

/// Why a real line's tail cannot be read: the rest from there on, and what was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TailError<'a> {
    pub at: &'a str,
    pub expected: &'static str,
}

pub fn real_tail(text: &str) -> Result<RealTail<'_>, TailError<'_>> {
    let mut tail = RealTail::default();
    let (before, quotes, after) = match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) if first < last => (&text[..first], Some(&text[first..=last]), &text[last + 1..]),
        (Some(first), _) => return Err(TailError { at: &text[first..], expected: "a closing quote" }),
        _ => (text, None, ""),
    };
    words(before, &mut tail, true)?;
    if let Some(quotes) = quotes {
        tail.request_receive = Some(request_receive(quotes)?);
    }
    words(after, &mut tail, false)?;
    Ok(tail)
}

/// Weight and thresholds among blanks.
fn words<'a>(text: &'a str, tail: &mut RealTail<'a>, weight_allowed: bool) -> Result<(), TailError<'a>> {
    for word in text.split([' ', '\t']).filter(|w| !w.is_empty()) {
        if let Some(limit) = word.strip_prefix("l:") {
            tail.lower = Some(number(limit, "a number of connections after `l:`")?);
            tail.reversed |= tail.upper.is_some();
        } else if let Some(limit) = word.strip_prefix("u:") {
            tail.upper = Some(number(limit, "a number of connections after `u:`")?);
        } else if word == "," && !weight_allowed {
            continue;
        } else if word == "-w" && weight_allowed && tail.weight.is_none() {
            tail.weight_junk = true;
        } else if weight_allowed && tail.weight.is_none() && word.starts_with(|c: char| c.is_ascii_digit()) {
            tail.weight = Some(number(word, "a whole number as weight")?);
        } else {
            return Err(TailError { at: word, expected: "a weight, \"request\",\"receive\", l:N or u:N" });
        }
    }
    Ok(())
}

fn number<'a>(text: &'a str, expected: &'static str) -> Result<u32, TailError<'a>> {
    let whole: IResult<&str, &str> = digit1.parse(text);
    match whole {
        Ok(("", digits)) => digits.parse().map_err(|_| TailError { at: text, expected }),
        _ => Err(TailError { at: text, expected }),
    }
}

/// `"request"[, ]"receive"`; quotes are greedy, so the last `" "` or `","` parts the two.
fn request_receive(quotes: &str) -> Result<(&str, &str), TailError<'_>> {
    let inner = &quotes[1..quotes.len() - 1];
    let mut parted = inner.match_indices('"').filter_map(|(at, _)| {
        let gap = inner[at + 1..].find('"')?;
        let between = &inner[at + 1..at + 1 + gap];
        let separates = !between.is_empty() && between.chars().all(|c| c == ',' || c == ' ' || c == '\t');
        separates.then(|| (&inner[..at], &inner[at + gap + 2..]))
    });
    parted.next_back().ok_or(TailError { at: quotes, expected: "\"request\", \"receive\": both or none" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_the_original_finds_them() {
        assert_eq!(integer("12"), Some(Integer { value: 12, junk: false }));
        assert_eq!(integer("abc12x"), Some(Integer { value: 12, junk: true }));
        assert_eq!(integer("-5"), Some(Integer { value: 5, junk: true }));
        assert_eq!(integer("x"), None);
        assert_eq!(integer("99999999999"), None);
    }

    #[test]
    fn heads_of_real_lines() {
        let (rest, head) = real_head("10.0.1.1->10.0.1.3:80 masq 2").unwrap();
        assert_eq!(
            (head.first, head.last, head.port, head.method),
            (Host::Plain("10.0.1.1"), Some(Host::Plain("10.0.1.3")), Some("80"), "masq")
        );
        assert_eq!(rest, " 2");
        let (_, head) = real_head("[2001:db8::2]:http gate").unwrap();
        assert_eq!((head.first, head.port), (Host::Bracketed("2001:db8::2"), Some("http")));
        assert!(real_head("10.0.1.1:80").is_err());
        assert!(real_head("10.0.1.1:80, masq").is_err());
    }

    #[test]
    fn tails_of_real_lines() {
        let tail = real_tail(" 5 \"a\", \"b\"c\" l:10 u:100").unwrap();
        assert_eq!((tail.weight, tail.lower, tail.upper), (Some(5), Some(10), Some(100)));
        assert_eq!(tail.request_receive, Some(("a", "b\"c")));
        assert_eq!(real_tail(" \"a\",\"b\"").unwrap().request_receive, Some(("a", "b")));
        assert_eq!(real_tail(" -w 7").unwrap(), RealTail { weight: Some(7), weight_junk: true, ..RealTail::default() });
        assert!(real_tail(" u:1 l:2").unwrap().reversed);
        for bad in [" 1.5", " -1", " \"/a\"", " \"a", " l:x", " 99999999999"] {
            assert!(real_tail(bad).is_err(), "{bad}");
        }
    }
}
