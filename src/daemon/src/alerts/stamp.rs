//! `timestamp-format`: what `date` reads, and `%xN` for the first `x` digits of the second's fraction.

use jiff::fmt::strtime::{BrokenDownTime, Config};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Longest text that is handed on.
const MAX_BYTES: usize = 1024;
/// Time is known to the µs.
const DIGITS: usize = 6;

/// The moment in that form; `None` if it cannot be written.
pub(super) fn write(format: &str, at_us: i64, zone: &TimeZone) -> Option<String> {
    let zoned = Timestamp::from_microsecond(at_us).ok()?.to_zoned(zone.clone());
    let fraction = format!("{:06}", at_us.rem_euclid(1_000_000));
    let (mut out, mut rest, mut plain) = (String::new(), format, String::new());
    while let Some(at) = rest.find('%') {
        let after = &rest[at + 1..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        plain.push_str(&rest[..at]);
        match after[digits..].chars().next() {
            Some('N') => {
                out.push_str(&expand(&plain, &zoned)?);
                plain.clear();
                let wanted = after[..digits].parse::<usize>().unwrap_or(0).min(DIGITS);
                out.push_str(&fraction[..wanted]);
                rest = &after[digits + 1..];
            }
            Some(c) => {
                let end = digits + c.len_utf8();
                plain.push('%');
                plain.push_str(&after[..end]);
                rest = &after[end..];
            }
            None => {
                // A lone `%` at the end stands for itself.
                plain.push_str("%%");
                plain.push_str(after);
                rest = "";
            }
        }
    }
    plain.push_str(rest);
    out.push_str(&expand(&plain, &zoned)?);
    (out.len() <= MAX_BYTES).then_some(out)
}

fn expand(format: &str, at: &Zoned) -> Option<String> {
    let mut out = String::new();
    let config = Config::new().lenient(true);
    BrokenDownTime::from(at).format_with_config(&config, format, &mut out).ok()?;
    Some(out)
}
