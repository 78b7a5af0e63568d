//! Values as operators write them into a CIB: integers with trailing text, booleans, times with units; and the order in
//! which people expect names (`node2` before `node10`).

use crate::dates;
use std::cmp::Ordering;

/// Two lower-case digits for each byte, as digests are written.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digits = |b: &u8| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]].map(char::from);
    bytes.iter().flat_map(digits).collect()
}

/// Leading integer of `text` (blanks and a sign allowed before it) and what follows; saturates. `None` without digits.
pub fn leading_int(text: &str) -> Option<(i64, &str)> {
    let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 {
        return None;
    }
    let mut value: i64 = 0;
    for b in digits[..end].bytes() {
        let digit = i64::from(b - b'0');
        let next = value.checked_mul(10);
        value = if negative {
            next.and_then(|v| v.checked_sub(digit)).unwrap_or(i64::MIN)
        } else {
            next.and_then(|v| v.checked_add(digit)).unwrap_or(i64::MAX)
        };
    }
    Some((value, &digits[end..]))
}

/// Like [`leading_int`], without the rest.
pub fn parse_int(text: &str) -> Option<i64> {
    leading_int(text).map(|(value, _)| value)
}

/// `true on yes y 1` and `false off no n 0`, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
    if is(&["true", "on", "yes", "y", "1"]) {
        Some(true)
    } else if is(&["false", "off", "no", "n", "0"]) {
        Some(false)
    } else {
        None
    }
}

/// True only for the words that mean true.
pub fn is_true(text: &str) -> bool {
    parse_bool(text) == Some(true)
}

/// A time with a unit (`10`, `10s`, `2min`, `100ms`, `1h`) in milliseconds; seconds unless a unit is given. The unit is
/// known by its first letters, and digits behind a point are ignored, as Pacemaker does.
pub fn parse_ms(text: &str) -> Option<i64> {
    let (value, rest) = leading_int(text)?;
    let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start().to_ascii_lowercase();
    let (multiplier, divisor) = if unit.is_empty() || unit.starts_with('s') {
        (1000, 1)
    } else if unit.starts_with("ms") {
        (1, 1)
    } else if unit.starts_with("us") {
        (1, 1000)
    } else if unit.starts_with('m') {
        (60_000, 1)
    } else if unit.starts_with('h') {
        (3_600_000, 1)
    } else {
        return None;
    };
    Some(value.saturating_mul(multiplier) / divisor)
}

/// An interval or timeout: ISO 8601 duration (`PT10S`) or [`parse_ms`]; in ms within `0..=u32::MAX`.
pub fn parse_interval_ms(text: &str) -> Option<u64> {
    let ms = if text.starts_with('P') {
        dates::Duration::parse(text).ok()?.seconds().saturating_mul(1000)
    } else {
        parse_ms(text)?
    };
    (ms >= 0).then(|| (ms as u64).min(u64::from(u32::MAX)))
}

/// What a program outside has said, as one line that can be stored and shown: no control characters (a terminal's sequences go
/// whole), nothing that XML cannot carry, at most `most_bytes`.
pub fn one_line(said: &str, most_bytes: usize) -> String {
    let mut line = String::new();
    let mut chars = said.chars().peekable();
    let mut blank = false;
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // CSI: parameters up to a letter (ECMA-48, 5.4).
            while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            let _ = chars.next_if(|c| matches!(c, '@'..='~'));
        } else if c.is_whitespace() || c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') {
            blank = true;
        } else {
            if std::mem::take(&mut blank) && !line.is_empty() {
                line.push(' ');
            }
            line.push(c);
            if line.len() > most_bytes {
                break;
            }
        }
    }
    if line.len() > most_bytes {
        line.truncate(line.floor_char_boundary(most_bytes.saturating_sub(CUT.len())));
        line.push_str(if most_bytes < CUT.len() { "" } else { CUT });
    }
    line
}

/// Stands for what was cut off.
const CUT: &str = "…";

/// Orders names so that embedded numbers count as numbers, and letters without regard to case.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(&x), Some(&y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (xs, ys) = (digits(a), digits(b));
            let order = number(xs).cmp(&number(ys)).then(xs.len().cmp(&ys.len()));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[xs.len()..], &b[ys.len()..]);
        } else {
            let order = x.to_ascii_lowercase().cmp(&y.to_ascii_lowercase());
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
    a.len().min(1).cmp(&b.len().min(1))
}

fn digits(text: &[u8]) -> &[u8] {
    &text[..text.iter().take_while(|b| b.is_ascii_digit()).count()]
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_digits() {
        assert_eq!(hex(&[0, 9, 10, 0x7f, 0xa0, 0xff]), "00090a7fa0ff");
        assert_eq!(hex(&[]), "");
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [
            ("10", 10_000),
            ("10s", 10_000),
            ("2min", 120_000),
            ("2m", 120_000),
            ("100ms", 100),
            ("1h", 3_600_000),
            ("PT1M", 60_000),
        ] {
            assert_eq!(parse_interval_ms(text), Some(ms), "{text}");
        }
        assert_eq!(parse_interval_ms("soon"), None);
        assert_eq!(parse_interval_ms("-5s"), None);
    }

    #[test]
    fn what_programs_say_becomes_one_line_that_fits() {
        assert_eq!(one_line("  no\tsuch\r\naddress\0 ", 100), "no such address");
        assert_eq!(one_line("\u{1b}[1;31mred\u{1b}[0m \u{1b}x \u{7f}\u{9b}z\u{ffff}", 100), "red x z");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abc…");
        for most in 0..40 {
            for said in ["é".repeat(30), "a b ".repeat(20), "🦀".repeat(10), "\u{1b}[".repeat(9), "x".repeat(30_000)]
            {
                let line = one_line(&said, most);
                assert!(line.len() <= most && line.chars().all(|c| !c.is_control()), "{most}: {line:?}");
            }
        }
    }

    #[test]
    fn numbers_in_names_count() {
        assert_eq!(natural_cmp("node2", "node10"), Ordering::Less);
        assert_eq!(natural_cmp("Node2", "node2"), Ordering::Equal);
        assert_eq!(natural_cmp("a", "ab"), Ordering::Less);
    }

    #[test]
    fn integers_saturate() {
        assert_eq!(leading_int(" -12abc"), Some((-12, "abc")));
        assert_eq!(parse_int("99999999999999999999"), Some(i64::MAX));
        assert_eq!(parse_int("x"), None);
    }
}
