//! The time that a report is about, as people write it.

use crate::source::{Failure, now};
use base::WallTime;
use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, Zoned, tz::TimeZone};

#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub from: WallTime,
    pub to: WallTime,
}

impl Window {
    pub fn of(from: &str, to: Option<&str>) -> Result<Window, Failure> {
        let now = now();
        let (from, to) = (moment(from, now)?, to.map_or(Ok(now), |to| moment(to, now))?);
        match from <= to {
            true => Ok(Window { from, to }),
            false => Err(Failure::usage(format!(
                "the time ends ({}) before it begins ({})",
                crate::clock::stamp(to),
                crate::clock::stamp(from)
            ))),
        }
    }

    pub fn holds(&self, at: WallTime) -> bool {
        // What is told in whole seconds.
        self.from.secs() <= at.secs() && at.secs() <= self.to.secs()
    }
}

/// `Sat-28-Nov-2026`.
pub fn day(at: WallTime) -> String {
    zoned(at).strftime("%a-%d-%b-%Y").to_string()
}

fn zoned(at: WallTime) -> Zoned {
    Timestamp::from_second(at.secs()).unwrap_or_default().to_zoned(TimeZone::system())
}

fn moment(text: &str, now: WallTime) -> Result<WallTime, Failure> {
    let text = text.trim();
    let today = zoned(now).date();
    let ago = || {
        text.ends_with(|c: char| c.is_ascii_alphabetic())
            .then(|| cib::interval_ms(text).or_else(|| days(text)))
            .flatten()
            .and_then(|ms| i64::try_from(ms / 1000).ok())
            .map(|s| now.secs().saturating_sub(s))
    };
    let epoch = || text.parse::<i64>().ok().filter(|s| *s > 99_999);
    // The reader of ISO 8601 stops where a time ends, and takes what follows for nothing.
    let clocks = text.split([' ', 'T', '+', '-', 'Z']).all(|part| part.matches(':').count() <= 2);
    let iso = || clocks.then(|| base::dates::parse(text, now).ok()).flatten();
    let found = epoch().or_else(|| civil(text, today)).or_else(ago).or_else(iso);
    found.map(WallTime::from_secs).ok_or_else(|| {
        Failure::usage(format!(
            "'{text}' is no time: give \"2026-12-31 23:59:00\", a date, a time of today (13:05), or how long ago (90m, 2h, 3d)"
        ))
    })
}

fn days(text: &str) -> Option<u64> {
    text.strip_suffix('d')?.parse::<u64>().ok()?.checked_mul(86_400_000)
}

/// `YYYY-M-D [H:M[:S]]` or `H:M[:S]`, in the host's time zone.
fn civil(text: &str, today: Date) -> Option<i64> {
    let clock = |text: &str| {
        let mut parts = text.split(':').map(|p| p.parse::<i8>().ok());
        let (hour, minute) = (parts.next()??, parts.next()??);
        let second = parts.next().map_or(Some(0), |s| s)?;
        parts.next().is_none().then(|| Time::new(hour, minute, second, 0).ok()).flatten()
    };
    let date = |text: &str| {
        let mut parts = text.split(['-', '/']);
        let (year, month, day) =
            (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then(|| Date::new(year, month, day).ok()).flatten()
    };
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (date(day)?, clock(time.trim())?),
        None => match clock(text) {
            Some(time) => (today, time),
            None => (date(text)?, Time::midnight()),
        },
    };
    let at = DateTime::from_parts(date, time).to_zoned(TimeZone::system()).ok()?;
    Some(at.timestamp().as_second())
}

/// When a line of a log was written, if it says so at its beginning: ISO 8601, or as syslog has it (of this year, or the last).
pub fn of_line(line: &str, now: WallTime) -> Option<WallTime> {
    let iso = line.get(..19).and_then(|t| {
        let at: DateTime = t.replacen(' ', "T", 1).parse().ok()?;
        let rest = &line[19..];
        let rest = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let utc = rest.starts_with('Z');
        let zone = if utc { TimeZone::UTC } else { offset(rest).unwrap_or_else(TimeZone::system) };
        at.to_zoned(zone).ok().map(|z| z.timestamp().as_second())
    });
    let syslog = || {
        let mut words = line.split_whitespace();
        let (month, day, clock) = (words.next()?, words.next()?, words.next()?);
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .iter()
            .position(|m| *m == month)?;
        let at = |year: i16| civil(&format!("{year}-{}-{day} {clock}", month + 1), Date::default());
        let year = zoned(now).date().year();
        at(year).filter(|s| *s <= now.secs() + 86_400).or_else(|| at(year - 1))
    };
    iso.or_else(syslog).map(WallTime::from_secs)
}

/// `+01:00`, `-0500`.
fn offset(text: &str) -> Option<TimeZone> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().take(5).filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (digits.get(..2)?.parse::<i32>().ok()?, digits.get(2..4)?.parse::<i32>().ok()?);
    jiff::tz::Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok().map(TimeZone::fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = WallTime::from_secs(1_800_000_000);
        let read = |text: &str| moment(text, now).map(|t| t.secs());
        assert_eq!(read("90m").ok(), Some(1_800_000_000 - 5400));
        assert_eq!(read("2d").ok(), Some(1_800_000_000 - 172_800));
        assert_eq!(read("1799990000").ok(), Some(1_799_990_000));
        let civil = |text: &str| read(text).expect(text);
        assert_eq!(civil("2026-1-2 3:04:05") - civil("2026-01-02"), 3 * 3600 + 4 * 60 + 5);
        assert_eq!(civil("13:05") - civil("13:00:00"), 300);
        for wrong in ["", "yesterday", "2026-13-01", "25:00", "2026-1-2 3:04:05:06"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(Window::of("1h", Some("2h")).is_err());
    }

    #[test]
    fn lines_tell_when_they_were_written() {
        let now = WallTime::from_secs(1_800_000_000);
        let at = |line: &str| of_line(line, now).map(|t| t.secs());
        assert_eq!(at("2027-01-15T08:00:00.123Z  INFO a"), Some(1_800_000_000));
        assert_eq!(at("2027-01-15T09:00:00+01:00 host b"), Some(1_800_000_000));
        assert_eq!(at("2027-01-15T09:00:00.5+0100 host b"), Some(1_800_000_000));
        let jan = at("Jan 15 08:00:00 host c").expect("a time");
        assert!((jan - 1_800_000_000).abs() < 86_400);
        assert!(at("Dec 31 08:00:00 host c").is_some_and(|t| t < 1_800_000_000), "of last year");
        assert_eq!(at("   at line 7"), None);
    }
}
