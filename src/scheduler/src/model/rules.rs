//! Rules, read once and evaluated as often as needed.

use super::basics::Str;
use super::map::Map;
use base::WallTime;
use base::dates::{self, Duration};
use base::text::{leading_int, parse_int, parse_interval_ms};
use cib::config::Index;
use std::cmp::Ordering;
use xml::Element;

/// Deepest nesting of rules that is evaluated; what is deeper does not pass.
const MAX_DEPTH: usize = 32;

/// Byte range of a group of a regular expression's match.
pub type Submatch = Option<(usize, usize)>;

/// What a rule can look at.
#[derive(Clone, Copy, Default)]
pub struct RuleInput<'a> {
    /// Seconds since the epoch.
    pub now: i64,
    pub node_attrs: Option<&'a Map>,
    pub params: Option<&'a Map>,
    pub meta: Option<&'a Map>,
    /// A resource id that matched a pattern, with the byte ranges of its sub-matches.
    pub matched: Option<(&'a str, &'a [Submatch])>,
    pub standard: Option<&'a str>,
    pub provider: Option<&'a str>,
    pub agent: Option<&'a str>,
    pub op_name: Option<&'a str>,
    pub op_interval_ms: u64,
}

/// Outcome of a condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Satisfied,
    Unsatisfied,
    /// The moment, or value, lies before the range; it may come.
    Before,
    /// The moment lies after the range.
    After,
    /// The condition itself is malformed.
    Invalid,
}

#[derive(Clone, Debug)]
pub struct Rule {
    any: bool,
    conditions: Vec<Condition>,
    valid: bool,
}

#[derive(Clone, Debug)]
enum Condition {
    Rule(Rule),
    Attribute { name: Str, comparison: Comparison, kind: Option<Type>, value: Option<Str>, source: Source },
    Range { start: Option<i64>, end: Option<i64>, duration: Option<Duration> },
    After(i64),
    Earlier(i64),
    Spec(Vec<(Field, i64, i64)>),
    Resource { class: Option<Str>, provider: Option<Str>, agent: Option<Str> },
    Operation { name: Str, interval_ms: Option<u64> },
    Invalid,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Comparison {
    Defined,
    NotDefined,
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Type {
    String,
    Integer,
    Number,
    Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Literal,
    Parameter,
    Meta,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Year,
    Month,
    Monthday,
    Hour,
    Minute,
    Second,
    Yearday,
    WeekYear,
    Week,
    Weekday,
}

impl Rule {
    /// Reads a `<rule>`; one that makes no sense never passes.
    pub fn read(e: &Element, index: &Index<'_>, now: WallTime) -> Rule {
        Rule::read_at(e, index, now, 0)
    }

    fn read_at(e: &Element, index: &Index<'_>, now: WallTime, depth: usize) -> Rule {
        let invalid = Rule { any: false, conditions: Vec::new(), valid: false };
        let Some(e) = index.resolve(e) else { return invalid };
        if e.id().is_none_or(str::is_empty) {
            return invalid;
        }
        let any = match e.attr("boolean-op") {
            None => false,
            Some(op) if op.eq_ignore_ascii_case("and") => false,
            Some(op) if op.eq_ignore_ascii_case("or") => true,
            Some(_) => return invalid,
        };
        if depth >= MAX_DEPTH {
            return invalid;
        }
        let conditions = e.elements().map(|c| Condition::read(c, index, now, depth)).collect();
        Rule { any, conditions, valid: true }
    }

    pub fn evaluate(&self, input: &RuleInput<'_>, next_change: &mut Option<i64>) -> Verdict {
        if !self.valid {
            return Verdict::Invalid;
        }
        if self.conditions.is_empty() {
            return Verdict::Satisfied;
        }
        for condition in &self.conditions {
            let passes = condition.evaluate(input, next_change) == Verdict::Satisfied;
            if passes == self.any {
                return if passes { Verdict::Satisfied } else { Verdict::Unsatisfied };
            }
        }
        if self.any { Verdict::Unsatisfied } else { Verdict::Satisfied }
    }

    /// Of a rule with one condition (or one rule with one), how that stands; else how the rule does.
    pub fn only_verdict(&self, input: &RuleInput<'_>) -> Verdict {
        match &self.conditions[..] {
            [Condition::Rule(inner)] if self.valid => inner.only_verdict(input),
            [one] if self.valid => one.evaluate(input, &mut None),
            _ => self.evaluate(input, &mut None),
        }
    }

    pub fn passes(&self, input: &RuleInput<'_>, next_change: &mut Option<i64>) -> bool {
        self.evaluate(input, next_change) == Verdict::Satisfied
    }
}

impl Condition {
    fn read(e: &Element, index: &Index<'_>, now: WallTime, depth: usize) -> Condition {
        if e.name() == "rule" {
            return Condition::Rule(Rule::read_at(e, index, now, depth + 1));
        }
        if e.id().is_none_or(str::is_empty) {
            return Condition::Invalid;
        }
        let text = |name: &str| e.attr(name).map(Str::from);
        match e.name() {
            "expression" => Condition::read_attribute(e).unwrap_or(Condition::Invalid),
            "date_expression" => Condition::read_date(e, now).unwrap_or(Condition::Invalid),
            "rsc_expression" => {
                Condition::Resource { class: text("class"), provider: text("provider"), agent: text("type") }
            }
            "op_expression" => match (text("name"), e.attr("interval").map(parse_interval_ms)) {
                (Some(name), None) => Condition::Operation { name, interval_ms: None },
                (Some(name), Some(Some(ms))) => Condition::Operation { name, interval_ms: Some(ms) },
                _ => Condition::Invalid,
            },
            _ => Condition::Invalid,
        }
    }

    fn read_attribute(e: &Element) -> Option<Condition> {
        let lower = |name: &str| e.attr(name).map(str::to_ascii_lowercase);
        let comparison = match lower("operation")?.as_str() {
            "defined" => Comparison::Defined,
            "not_defined" => Comparison::NotDefined,
            "eq" => Comparison::Eq,
            "ne" => Comparison::Ne,
            "lt" => Comparison::Lt,
            "lte" => Comparison::Lte,
            "gt" => Comparison::Gt,
            "gte" => Comparison::Gte,
            _ => return None,
        };
        let source = match lower("value-source").as_deref() {
            None | Some("literal") => Source::Literal,
            Some("param") => Source::Parameter,
            Some("meta") => Source::Meta,
            Some(_) => return None,
        };
        let kind = match lower("type").as_deref() {
            None => None,
            Some("string") => Some(Type::String),
            Some("integer") => Some(Type::Integer),
            Some("number") => Some(Type::Number),
            Some("version") => Some(Type::Version),
            Some(_) => return None,
        };
        let value = e.attr("value").map(Str::from);
        let needs_value = !matches!(comparison, Comparison::Defined | Comparison::NotDefined);
        if needs_value != value.is_some() {
            return None;
        }
        Some(Condition::Attribute { name: e.attr("attribute")?.into(), comparison, kind, value, source })
    }

    fn read_date(e: &Element, now: WallTime) -> Option<Condition> {
        let date = |name: &str| e.attr(name).map(|t| dates::parse(t, now)).transpose().ok();
        let operation = e.attr("operation").map(str::to_ascii_lowercase);
        match operation.as_deref() {
            None | Some("in_range") => {
                let (start, end) = (date("start")?, date("end")?);
                let duration = match e.child("duration") {
                    Some(d) if end.is_none() => Some(read_duration(d)?),
                    _ => None,
                };
                if (start.is_none() && end.is_none()) || (duration.is_some() && start.is_none()) {
                    return None;
                }
                Some(Condition::Range { start, end, duration })
            }
            Some("gt") => Some(Condition::After(date("start")??)),
            Some("lt") => Some(Condition::Earlier(date("end")??)),
            Some("date_spec") => read_spec(e.child("date_spec")?).map(Condition::Spec),
            Some(_) => None,
        }
    }

    fn evaluate(&self, input: &RuleInput<'_>, next_change: &mut Option<i64>) -> Verdict {
        let now = input.now;
        let same = |wanted: &Option<Str>, actual: Option<&str>| wanted.is_none() || wanted.as_deref() == actual;
        match self {
            Condition::Rule(rule) => rule.evaluate(input, next_change),
            Condition::Attribute { name, comparison, kind, value, source } => {
                evaluate_attribute(input, name, *comparison, *kind, value.as_deref(), *source)
            }
            Condition::Range { start, end, duration } => evaluate_range(now, *start, *end, *duration, next_change),
            Condition::After(start) if now > *start => Verdict::Satisfied,
            Condition::After(start) => {
                sooner(next_change, start + 1);
                Verdict::Before
            }
            Condition::Earlier(end) if now < *end => {
                sooner(next_change, *end);
                Verdict::Satisfied
            }
            Condition::Earlier(_) => Verdict::After,
            Condition::Spec(ranges) => evaluate_spec(now, ranges),
            Condition::Resource { class, provider, agent } => {
                verdict(same(class, input.standard) && same(provider, input.provider) && same(agent, input.agent))
            }
            Condition::Operation { name, interval_ms } => {
                verdict(input.op_name == Some(&**name) && interval_ms.is_none_or(|ms| ms == input.op_interval_ms))
            }
            Condition::Invalid => Verdict::Invalid,
        }
    }
}

fn verdict(passes: bool) -> Verdict {
    if passes { Verdict::Satisfied } else { Verdict::Unsatisfied }
}

fn sooner(next_change: &mut Option<i64>, at: i64) {
    *next_change = Some(next_change.map_or(at, |n| n.min(at)));
}

fn evaluate_range(
    now: i64,
    start: Option<i64>,
    end: Option<i64>,
    duration: Option<Duration>,
    next_change: &mut Option<i64>,
) -> Verdict {
    let end = end.or_else(|| duration?.after(start?));
    if let Some(start) = start.filter(|s| now < *s) {
        sooner(next_change, start);
        return Verdict::Before;
    }
    if let Some(end) = end {
        if now > end {
            return Verdict::After;
        }
        sooner(next_change, end + 1);
    }
    Verdict::Satisfied
}

fn evaluate_spec(now: i64, ranges: &[(Field, i64, i64)]) -> Verdict {
    let Some(f) = dates::fields(now) else { return Verdict::Invalid };
    for (field, low, high) in ranges {
        let value = match field {
            Field::Year => f.year,
            Field::Month => f.month,
            Field::Monthday => f.day,
            Field::Hour => f.hour,
            Field::Minute => f.minute,
            Field::Second => f.second,
            Field::Yearday => f.yearday,
            Field::WeekYear => f.week_year,
            Field::Week => f.week,
            Field::Weekday => f.weekday,
        };
        if value < *low {
            return Verdict::Before;
        }
        if value > *high {
            return Verdict::After;
        }
    }
    Verdict::Satisfied
}

const SPEC_FIELDS: [(&str, Field); 10] = [
    ("years", Field::Year),
    ("months", Field::Month),
    ("monthdays", Field::Monthday),
    ("hours", Field::Hour),
    ("minutes", Field::Minute),
    ("seconds", Field::Second),
    ("yeardays", Field::Yearday),
    ("weekyears", Field::WeekYear),
    ("weeks", Field::Week),
    ("weekdays", Field::Weekday),
];

fn read_spec(e: &Element) -> Option<Vec<(Field, i64, i64)>> {
    e.id().filter(|id| !id.is_empty())?;
    let given = SPEC_FIELDS.iter().filter_map(|(name, field)| Some((*field, e.attr(name)?)));
    given.map(|(field, text)| read_span(text).map(|(low, high)| (field, low, high))).collect()
}

/// `5`, `5-7`, `5-` or `-7`.
fn read_span(text: &str) -> Option<(i64, i64)> {
    let exact = |t: &str| leading_int(t).filter(|(_, rest)| rest.is_empty()).map(|(v, _)| v);
    match text.split_once('-') {
        None => exact(text).map(|v| (v, v)),
        Some(("", "")) => None,
        Some((low, "")) => Some((exact(low)?, i64::MAX)),
        Some(("", high)) => Some((i64::MIN, exact(high)?)),
        Some((low, high)) => Some((exact(low)?, exact(high)?)),
    }
}

fn read_duration(e: &Element) -> Option<Duration> {
    e.id().filter(|id| !id.is_empty())?;
    let part = |name: &str| match e.attr(name) {
        None => Some(0i64),
        Some(text) => parse_int(text),
    };
    let small = |name: &str| part(name).and_then(|v| i32::try_from(v).ok());
    let days = small("days")?.checked_add(small("weeks")?.checked_mul(7)?)?;
    let seconds = i64::from(small("hours")?) * 3600 + i64::from(small("minutes")?) * 60 + i64::from(small("seconds")?);
    Some(Duration { years: small("years")?, months: small("months")?, days, seconds })
}

fn evaluate_attribute(
    input: &RuleInput<'_>,
    name: &str,
    comparison: Comparison,
    kind: Option<Type>,
    value: Option<&str>,
    source: Source,
) -> Verdict {
    let expanded = input.matched.and_then(|(id, groups)| expand(name, id, groups));
    let name = expanded.as_deref().unwrap_or(name);
    let actual = input.node_attrs.and_then(|attrs| attrs.get(name)).map(|v| &**v);
    let wanted = value.and_then(|v| match source {
        Source::Literal => Some(v),
        Source::Parameter => input.params?.get(v).map(|v| &**v),
        Source::Meta => input.meta?.get(v).map(|v| &**v),
    });
    let kind = kind.unwrap_or_else(|| default_type(comparison, actual, wanted));
    let order = compare(actual, wanted, kind);
    let both = actual.is_some() && wanted.is_some();
    match comparison {
        Comparison::Defined => verdict(actual.is_some()),
        Comparison::NotDefined => verdict(actual.is_none()),
        Comparison::Eq => verdict(order == Ordering::Equal),
        Comparison::Ne => verdict(order != Ordering::Equal),
        Comparison::Lt => verdict(both && order == Ordering::Less),
        Comparison::Lte => verdict(both && order != Ordering::Greater),
        Comparison::Gt => verdict(both && order == Ordering::Greater),
        Comparison::Gte => verdict(both && order != Ordering::Less),
    }
}

fn default_type(comparison: Comparison, a: Option<&str>, b: Option<&str>) -> Type {
    match comparison {
        Comparison::Lt | Comparison::Lte | Comparison::Gt | Comparison::Gte => {
            let point = a.is_some_and(|t| t.contains('.')) || b.is_some_and(|t| t.contains('.'));
            if point { Type::Number } else { Type::Integer }
        }
        _ => Type::String,
    }
}

fn compare(a: Option<&str>, b: Option<&str>, kind: Type) -> Ordering {
    let (a, b) = match (a, b) {
        (None, None) => return Ordering::Equal,
        (None, Some(_)) => return Ordering::Less,
        (Some(_), None) => return Ordering::Greater,
        (Some(a), Some(b)) => (a, b),
    };
    let as_text = || a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase());
    match kind {
        Type::String => as_text(),
        Type::Integer => match (parse_int(a), parse_int(b)) {
            (Some(x), Some(y)) => x.cmp(&y),
            _ => as_text(),
        },
        Type::Number => match (a.trim().parse::<f64>(), b.trim().parse::<f64>()) {
            (Ok(x), Ok(y)) => x.partial_cmp(&y).unwrap_or(Ordering::Equal),
            _ => as_text(),
        },
        Type::Version => compare_versions(a, b),
    }
}

/// Compares dotted versions number by number; a missing part counts as 0, trailing text does not count.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<i64> {
        let text = text.trim_start();
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        text[..end].split('.').map_while(|p| p.parse::<i64>().ok()).collect()
    };
    let (a, b) = (parts(a), parts(b));
    (0..a.len().max(b.len()))
        .map(|i| a.get(i).unwrap_or(&0).cmp(b.get(i).unwrap_or(&0)))
        .find(|o| *o != Ordering::Equal)
        .unwrap_or(Ordering::Equal)
}

/// Replaces `%0`…`%9` by what a resource pattern matched; `None` where there is nothing to replace.
pub fn expand(text: &str, id: &str, groups: &[Option<(usize, usize)>]) -> Option<String> {
    if text.is_empty() || id.is_empty() {
        return None;
    }
    let (mut out, mut replaced, mut rest) = (String::new(), false, text);
    while let Some(at) = rest.find('%') {
        let digit = rest[at + 1..].chars().next().and_then(|c| c.to_digit(10));
        out.push_str(&rest[..at]);
        match digit {
            Some(d) => {
                replaced = true;
                if let Some((from, to)) = groups.get(d as usize).copied().flatten() {
                    out.push_str(id.get(from..to).unwrap_or_default());
                }
                rest = &rest[at + 2..];
            }
            None => {
                out.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    replaced.then_some(out)
}
