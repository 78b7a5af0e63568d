//! The grammar, with nom. XPath 1.0 §2 and §3.

use super::{Axis, Comparison, Expr, Function, MAX_NESTING, Path, PathError, Step};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::character::complete::{char, multispace0};
use nom::combinator::{opt, recognize};
use nom::error::{Error, ErrorKind};
use nom::sequence::{delimited, pair, preceded, terminated};
use nom::{Err, IResult, Parser};

type Res<'a, T> = IResult<&'a str, T>;

pub fn parse(text: &str) -> Result<Path, PathError> {
    if nesting(text) > MAX_NESTING {
        return Err(PathError::TooDeep);
    }
    let mut branches = Vec::new();
    let mut rest = text;
    loop {
        let (after, branch) =
            blank(branch).parse(rest).map_err(|e| syntax(text, e, "a path such as //primitive[@id='x']"))?;
        branches.push(branch);
        rest = after;
        match rest.strip_prefix('|') {
            Some(more) => rest = more,
            None => break,
        }
    }
    if !rest.is_empty() {
        return Err(at(text, rest, "the end, '/', '|' or '['"));
    }
    Ok(Path { branches })
}

/// How deep brackets and parentheses are nested outside quotes; bounds the recursion below.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut quote) = (0usize, 0usize, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn syntax(text: &str, error: Err<Error<&str>>, expected: &'static str) -> PathError {
    match error {
        Err::Error(e) | Err::Failure(e) => at(text, e.input, expected),
        Err::Incomplete(_) => at(text, "", expected),
    }
}

fn at(text: &str, rest: &str, expected: &'static str) -> PathError {
    let column = text.len().saturating_sub(rest.len()) + 1;
    let found =
        if rest.is_empty() { "the end".to_owned() } else { format!("'{}'", rest.chars().take(20).collect::<String>()) };
    PathError::Syntax { column, expected, found }
}

fn blank<'a, T>(
    inner: impl Parser<&'a str, Output = T, Error = Error<&'a str>>,
) -> impl Parser<&'a str, Output = T, Error = Error<&'a str>> {
    delimited(multispace0, inner, multispace0)
}

/// One branch of a union; a relative path starts at the root, as libxml2 does for a document.
fn branch(input: &str) -> Res<'_, Vec<Step>> {
    let (input, (_, steps)) = location_path(input)?;
    Ok((input, steps))
}

fn location_path(input: &str) -> Res<'_, (bool, Vec<Step>)> {
    let mut steps = Vec::new();
    let (mut input, lead) = opt(alt((tag("//"), tag("/")))).parse(input)?;
    if lead == Some("//") {
        steps.push(descend());
    }
    loop {
        let (after, step) = blank(step).parse(input)?;
        steps.push(step);
        let (after, separator) = opt(alt((tag("//"), tag("/")))).parse(after)?;
        input = after;
        match separator {
            Some("//") => steps.push(descend()),
            Some(_) => {}
            None => return Ok((input, (lead.is_some(), steps))),
        }
    }
}

fn descend() -> Step {
    Step { axis: Axis::DescendantOrSelf, name: None, predicates: Vec::new() }
}

fn step(input: &str) -> Res<'_, Step> {
    let (mut input, (axis, name)) = alt((
        tag("..").map(|_| (Axis::Parent, None)),
        tag(".").map(|_| (Axis::SelfNode, None)),
        preceded(char('@'), node_test).map(|n| (Axis::Attribute, n)),
        pair(terminated(axis, tag("::")), node_test),
        node_test.map(|n| (Axis::Child, n)),
    ))
    .parse(input)?;
    let mut predicates = Vec::new();
    loop {
        let (after, predicate) =
            opt(delimited(preceded(multispace0, char('[')), blank(or_expr), char(']'))).parse(input)?;
        match predicate {
            Some(p) => predicates.push(p),
            None if after.trim_start().starts_with('[') => return fail(after),
            None => return Ok((input, Step { axis, name, predicates })),
        }
        input = after;
    }
}

fn axis(input: &str) -> Res<'_, Axis> {
    alt((
        tag("child").map(|_| Axis::Child),
        tag("descendant-or-self").map(|_| Axis::DescendantOrSelf),
        tag("descendant").map(|_| Axis::Descendant),
        tag("parent").map(|_| Axis::Parent),
        tag("ancestor").map(|_| Axis::Ancestor),
        tag("self").map(|_| Axis::SelfNode),
        tag("attribute").map(|_| Axis::Attribute),
    ))
    .parse(input)
}

fn node_test(input: &str) -> Res<'_, Option<String>> {
    alt((tag("*").map(|_| None), tag("node()").map(|_| None), name.map(|n: &str| Some(n.to_owned())))).parse(input)
}

fn name(input: &str) -> Res<'_, &str> {
    recognize(pair(
        take_while1(|c: char| c.is_alphabetic() || c == '_'),
        take_while(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')),
    ))
    .parse(input)
}

fn fail<T>(input: &str) -> Res<'_, T> {
    Err(Err::Failure(Error::new(input, ErrorKind::Verify)))
}

fn or_expr(input: &str) -> Res<'_, Expr> {
    let (mut input, mut left) = and_expr(input)?;
    while let Ok((after, right)) = preceded(blank(tag("or")), and_expr).parse(input) {
        left = Expr::Or(Box::new(left), Box::new(right));
        input = after;
    }
    Ok((input, left))
}

fn and_expr(input: &str) -> Res<'_, Expr> {
    let (mut input, mut left) = comparison(input)?;
    while let Ok((after, right)) = preceded(blank(tag("and")), comparison).parse(input) {
        left = Expr::And(Box::new(left), Box::new(right));
        input = after;
    }
    Ok((input, left))
}

fn comparison(input: &str) -> Res<'_, Expr> {
    let (input, left) = primary(input)?;
    let operator = alt((
        tag("!=").map(|_| Comparison::Ne),
        tag("<=").map(|_| Comparison::Le),
        tag(">=").map(|_| Comparison::Ge),
        tag("=").map(|_| Comparison::Eq),
        tag("<").map(|_| Comparison::Lt),
        tag(">").map(|_| Comparison::Gt),
    ));
    let (input, tail) = opt(pair(blank(operator), primary)).parse(input)?;
    Ok((
        input,
        match tail {
            Some((op, right)) => Expr::Compare(Box::new(left), op, Box::new(right)),
            None => left,
        },
    ))
}

fn primary(input: &str) -> Res<'_, Expr> {
    alt((
        delimited(char('('), blank(or_expr), char(')')),
        quoted.map(|t: &str| Expr::Text(t.to_owned())),
        number,
        call,
        location_path.map(|(absolute, steps)| Expr::Steps { absolute, steps }),
    ))
    .parse(input)
}

fn quoted(input: &str) -> Res<'_, &str> {
    alt((
        delimited(char('\''), take_till(|c| c == '\''), char('\'')),
        delimited(char('"'), take_till(|c| c == '"'), char('"')),
    ))
    .parse(input)
}

fn number(input: &str) -> Res<'_, Expr> {
    let (rest, text) =
        recognize(pair(opt(char('-')), take_while1(|c: char| c.is_ascii_digit() || c == '.'))).parse(input)?;
    match text.parse::<f64>() {
        Ok(n) => Ok((rest, Expr::Number(n))),
        Err(_) => Err(Err::Error(Error::new(input, ErrorKind::Float))),
    }
}

fn call(input: &str) -> Res<'_, Expr> {
    let (after_name, word) = name(input)?;
    let function = match word {
        "not" => Function::Not,
        "contains" => Function::Contains,
        "starts-with" => Function::StartsWith,
        "position" => Function::Position,
        "last" => Function::Last,
        "count" => Function::Count,
        "name" | "local-name" => Function::Name,
        "true" => Function::True,
        "false" => Function::False,
        "string-length" => Function::StringLength,
        _ => return Err(Err::Error(Error::new(input, ErrorKind::Tag))),
    };
    let (mut input, _) = blank(char('(')).parse(after_name)?;
    let mut args = Vec::new();
    while !input.starts_with(')') {
        let (after, arg) = blank(or_expr).parse(input)?;
        args.push(arg);
        input = after.strip_prefix(',').unwrap_or(after);
        if after == input && !input.starts_with(')') {
            return fail(input);
        }
    }
    let arity = match function {
        Function::Not | Function::Count | Function::StringLength => 1..=1,
        Function::Contains | Function::StartsWith => 2..=2,
        Function::Name => 0..=1,
        _ => 0..=0,
    };
    if !arity.contains(&args.len()) {
        return fail(input);
    }
    Ok((&input[1..], Expr::Call(function, args)))
}
