//! ISO 8601 dates, durations and calendar fields, as rules and `iso8601` need them. UTC throughout: a date without an
//! offset means UTC, so that a result never depends on the machine's time zone. Calendar arithmetic is jiff's.

use crate::text::leading_int;
use crate::time::WallTime;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Why a text is not a date or duration: the text from where it went wrong, and what is wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DateError {
    #[error("No ISO 8601 {what} given")]
    Nothing { what: &'static str },
    #[error("'{text}' is not a valid ISO 8601 date/time specification because {why}")]
    Date { text: String, why: String },
    #[error("{text} is not a valid ISO 8601 time specification because {why}")]
    Time { text: String, why: String },
    #[error("'{text}' is not a valid ISO 8601 time duration because nothing follows 'P'")]
    Empty { text: String },
    #[error("'{text}' is not a valid ISO 8601 duration because {why}")]
    Duration { text: String, why: String },
}

fn bad_date(text: &str, why: impl Into<String>) -> DateError {
    DateError::Date { text: text.to_owned(), why: why.into() }
}

fn bad_time(text: &str, why: impl Into<String>) -> DateError {
    DateError::Time { text: text.to_owned(), why: why.into() }
}

fn bad_duration(text: &str, why: impl Into<String>) -> DateError {
    DateError::Duration { text: text.to_owned(), why: why.into() }
}

/// A length of calendar time, its parts kept apart because months differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Duration {
    pub years: i32,
    pub months: i32,
    pub days: i32,
    pub seconds: i64,
}

impl Duration {
    /// `P1Y2M3DT4H5M6S`, `P2W`; what follows `/` or a blank is ignored.
    pub fn parse(text: &str) -> Result<Duration, DateError> {
        if text.is_empty() {
            return Err(DateError::Nothing { what: "time duration" });
        }
        let mut rest = text.strip_prefix('P').ok_or_else(|| bad_duration(text, "it does not start with a 'P'"))?;
        let all = rest;
        let end = rest.find(|c: char| c == '/' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        rest = &rest[..end];
        let (mut duration, mut time, mut any) = (Duration::default(), false, false);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('T') {
                (time, rest) = (true, after);
                continue;
            }
            let at = || &all[end - rest.len()..];
            let number = || bad_duration(text, format!("no valid integer at '{}'", at()));
            let (value, after) = leading_int(rest).ok_or_else(number)?;
            let value = i32::try_from(value).map_err(|_| bad_duration(text, format!("{value} is too large")))?;
            let wide = i64::from(value);
            let unit = after.chars().next().ok_or_else(|| bad_duration(text, format!("no units after '{rest}'")))?;
            let seconds = match (unit, time) {
                ('Y', _) => {
                    duration.years = value;
                    0
                }
                ('M', false) => {
                    duration.months = value;
                    0
                }
                ('W', _) => {
                    duration.days = duration.days.saturating_add(value.saturating_mul(7));
                    0
                }
                ('D', _) => {
                    duration.days = duration.days.saturating_add(value);
                    0
                }
                ('M', true) => wide * 60,
                ('H', _) => wide * 3600,
                ('S', _) => wide,
                _ => return Err(bad_duration(text, format!("'{unit}' is not a valid time unit"))),
            };
            duration.seconds = duration.seconds.saturating_add(seconds);
            any = true;
            rest = &after[1..];
        }
        if any { Ok(duration) } else { Err(DateError::Empty { text: text.to_owned() }) }
    }

    /// Length in seconds with years of 365 and months of 30 days.
    pub fn seconds(&self) -> i64 {
        (i64::from(self.years) * 365 + i64::from(self.months) * 30 + i64::from(self.days)) * 86_400 + self.seconds
    }

    /// The moment this long after `start` (seconds since the epoch); `None` outside the calendar.
    pub fn after(&self, start: i64) -> Option<i64> {
        let years = same_day_of_year(civil_time(start)?, self.years)?;
        let span = Span::new().try_months(self.months).ok()?.try_days(self.days).ok()?;
        let moved = years.checked_add(span).ok()?;
        epoch(moved)?.checked_add(self.seconds)
    }
}

/// Calendar fields of a moment, as `date_spec` compares them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub yearday: i64,
    pub week_year: i64,
    pub week: i64,
    /// 1 is Monday.
    pub weekday: i64,
}

/// Calendar fields of a moment in seconds since the epoch.
pub fn fields(secs: i64) -> Option<Fields> {
    let dt = civil_time(secs)?;
    let week = dt.date().iso_week_date();
    Some(Fields {
        year: dt.year().into(),
        month: dt.month().into(),
        day: dt.day().into(),
        hour: dt.hour().into(),
        minute: dt.minute().into(),
        second: dt.second().into(),
        yearday: dt.day_of_year().into(),
        week_year: week.year().into(),
        week: week.week().into(),
        weekday: week.weekday().to_monday_one_offset().into(),
    })
}

/// `2023-06-21 00:59:59Z`.
pub fn to_text(secs: i64) -> String {
    match civil_time(secs) {
        Some(dt) => dt.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => secs.to_string(),
    }
}

/// Time of day and year as `ctime` writes them behind the weekday: `Jun 21 00:59:59 2023`.
pub fn to_change_text(secs: i64) -> String {
    match civil_time(secs) {
        Some(dt) => dt.strftime("%b %e %H:%M:%S %Y").to_string(),
        None => "unknown_time".to_owned(),
    }
}

/// `Wed Jun 21 00:59:59 2023`.
pub fn to_ctime(secs: i64) -> String {
    match civil_time(secs) {
        Some(dt) => dt.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        None => "unknown_time".to_owned(),
    }
}

/// Reads a date, date and time, or time of the day of `now`: `2005-01-20`, `20050120`, `2005-020`, `2005-W03-4`, each with
/// ` ` or `T` and `12:30[:00]` or `1230[00]` and `Z`, `+02:00`, …; `epoch`. Gives seconds since the epoch.
pub fn parse(text: &str, now: WallTime) -> Result<i64, DateError> {
    if text.is_empty() {
        return Err(DateError::Nothing { what: "date/time specification" });
    }
    if text.get(..5).is_some_and(|t| t.eq_ignore_ascii_case("epoch")) {
        return Ok(0);
    }
    let outside = || bad_date(text, "it is outside the calendar");
    let bare_time = text.strip_prefix('T').or_else(|| (text.as_bytes().get(2) == Some(&b':')).then_some(text));
    let (date, time) = match bare_time {
        Some(time) => (civil_time(now.secs()).ok_or_else(outside)?.date(), Some(time)),
        None => {
            let end = text.find(|c: char| !(c.is_ascii_digit() || c == '-' || c == 'W')).unwrap_or(text.len());
            let rest = &text[end..];
            (parse_date(&text[..end]).map_err(|why| bad_date(text, why))?, rest.strip_prefix([' ', 'T']))
        }
    };
    let midnight = epoch(DateTime::from_parts(date, Time::midnight())).ok_or_else(outside)?;
    match time {
        None => Ok(midnight),
        Some(time) => Ok(midnight + parse_time(time)?),
    }
}

fn parse_date(text: &str) -> Result<Date, String> {
    let form = || "it is not in a known form".to_owned();
    // A year before the first has a sign of its own.
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let parts: Vec<&str> = rest.trim_end_matches('-').split('-').collect();
    let whole = parts.first().filter(|p| p.len() == 8 && p.is_ascii() && parts.len() == 1);
    let year = whole.map_or_else(|| parts.first().copied().unwrap_or_default(), |all| &all[..4]);
    let year = sign * year.parse::<i64>().map_err(|_| form())?;
    let year = i16::try_from(year).ok().filter(|y| (1..=9999).contains(y));
    let year = year.ok_or_else(|| format!("'{}' is not a valid year", sign * number(parts[0])))?;
    match parts[..] {
        [_, week, day] if week.starts_with('W') => {
            let wrong = |n: i64, what: &str| format!("'{n}' is not a valid {what}");
            let weekday = day.parse().ok().and_then(|d| Weekday::from_monday_one_offset(d).ok());
            let weekday = weekday.ok_or_else(|| wrong(number(day), "day of the week"))?;
            let week = &week[1..];
            let date = week.parse().ok().and_then(|w| ISOWeekDate::new(year, w, weekday).ok());
            Ok(date.ok_or_else(|| wrong(number(week), "week"))?.date())
        }
        [_, month, day] => calendar_day(year, month, day),
        [_, day] => {
            let first = Date::new(year, 1, 1).map_err(|_| form())?;
            let found = day.parse().ok().and_then(|d| first.with().day_of_year(d).build().ok());
            found.ok_or_else(|| format!("'{}' is not a valid day of the year", number(day)))
        }
        [all] if whole.is_some() => calendar_day(year, &all[4..6], &all[6..]),
        _ => Err(form()),
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or(0)
}

fn calendar_day(year: i16, month: &str, day: &str) -> Result<Date, String> {
    let wrong = |text: &str, what: &str| format!("'{}' is not a valid {what}", number(text));
    let first = month.parse().ok().and_then(|m| Date::new(year, m, 1).ok()).ok_or_else(|| wrong(month, "month"))?;
    let found = day.parse().ok().and_then(|d| Date::new(year, first.month(), d).ok());
    found.ok_or_else(|| wrong(day, "day of the month"))
}

/// Seconds since midnight UTC of a time with an optional offset.
fn parse_time(text: &str) -> Result<i64, DateError> {
    let seconds = parse_hms(text)?;
    let at = text.find(['Z', ' ', '+', '-']).unwrap_or(text.len());
    let offset = text[at..].trim_start();
    let offset_s = match offset.as_bytes().first() {
        None | Some(b'Z') => 0,
        Some(b'+') => parse_hms(&offset[1..])?,
        Some(b'-') => -parse_hms(&offset[1..])?,
        Some(d) if d.is_ascii_digit() => parse_hms(offset)?,
        Some(_) => 0,
    };
    Ok(seconds - offset_s)
}

/// Up to the first character that is none of a time's; the whole text is for the message.
fn parse_hms(whole: &str) -> Result<i64, DateError> {
    let end = whole.find(|c: char| !(c.is_ascii_digit() || c == ':')).unwrap_or(whole.len());
    let text = &whole[..end];
    let bad = |why: String| bad_time(whole, why);
    let part = |t: &str| if t.is_empty() { Some(0) } else { t.parse::<i64>().ok() };
    let mut fields = [0i64; 3];
    let mut set = |n: usize, t: &str| match (fields.get_mut(n), part(t)) {
        (Some(field), Some(value)) => {
            *field = value;
            Ok(())
        }
        (None, _) => Ok(()),
        (_, None) => Err(bad(format!("'{t}' is no number"))),
    };
    if text.is_empty() {
        return Err(bad("it has no hour".to_owned()));
    } else if text.contains(':') {
        text.split(':').enumerate().try_for_each(|(n, t)| set(n, t))?;
    } else {
        (0..3).try_for_each(|n| set(n, &text[(2 * n).min(text.len())..(2 * n + 2).min(text.len())]))?;
    }
    let [h, m, s] = fields;
    let whole_day = h == 24 && m == 0 && s == 0;
    for (value, limit, what) in [(h, if whole_day { 25 } else { 24 }, "hour"), (m, 60, "minute"), (s, 60, "second")] {
        if value >= limit {
            return Err(bad(format!("{value} is not a valid {what}")));
        }
    }
    Ok(h * 3600 + m * 60 + s)
}

fn civil_time(secs: i64) -> Option<DateTime> {
    Some(Timestamp::from_second(secs).ok()?.to_zoned(TimeZone::UTC).datetime())
}

/// The same day of the year, by number, some years on: after a 29 February that is another date, as Pacemaker counts.
fn same_day_of_year(start: DateTime, years: i32) -> Option<DateTime> {
    let year = i16::try_from(i32::from(start.year()).checked_add(years)?).ok()?;
    let days = start.date().day_of_year() - 1;
    let date = Date::new(year, 1, 1).ok()?.checked_add(Span::new().try_days(days).ok()?).ok()?;
    Some(date.to_datetime(start.time()))
}

fn epoch(dt: DateTime) -> Option<i64> {
    Some(dt.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_000_000_000_000);

    #[test]
    fn reads_all_forms_of_one_day() {
        for text in [
            "2005-01-20",
            "20050120",
            "2005-020",
            "2005-W03-4",
            "2005-01-20 00:00:00",
            "2005-020T00:00Z",
            "2005-01-20T02:00+02:00",
        ] {
            assert_eq!(parse(text, NOW), Ok(1_106_179_200), "{text}");
        }
        assert_eq!(parse("2005-020T12:30", NOW), Ok(1_106_179_200 + 45_000));
        assert!(parse("2005-13-01", NOW).is_err());
        assert!(parse("yesterday", NOW).is_err());
        assert!(parse("", NOW).is_err());
    }

    #[test]
    fn durations_follow_the_calendar() {
        let month = Duration::parse("P1M").expect("valid");
        let start = parse("2024-01-31", NOW).expect("valid");
        assert_eq!(month.after(start), parse("2024-02-29", NOW).ok());
        assert_eq!(Duration::parse("P1DT2H").map(|d| d.seconds()), Ok(93_600));
        for bad in ["P", "1D", "PX", "P5", "PT"] {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_of_a_moment() {
        let f = fields(1_106_179_200).expect("within the calendar");
        assert_eq!((f.year, f.month, f.day, f.yearday, f.week, f.weekday), (2005, 1, 20, 20, 3, 4));
        assert_eq!(to_text(1_106_179_200), "2005-01-20 00:00:00Z");
    }
}
