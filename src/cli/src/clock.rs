//! Calendar time as the commands print it: the host's time zone.

use base::WallTime;
use jiff::{Timestamp, Zoned};

/// `Fri Nov 20 18:00:00 2026`.
pub fn ctime(at: WallTime) -> String {
    zoned(at).map(|z| z.strftime("%a %b %e %H:%M:%S %Y").to_string()).unwrap_or_default()
}

/// What the CIB's `cib-last-written` says, which is in UTC.
pub fn from_stamp(text: &str) -> Option<WallTime> {
    let parsed = jiff::fmt::strtime::parse("%a %b %e %H:%M:%S %Y", text).ok()?.to_datetime().ok()?;
    let zoned = parsed.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(WallTime(zoned.timestamp().as_millisecond()))
}

/// `2026-11-20T18:00:00`, as the arbitrator's tools write it.
pub fn local(at: WallTime) -> String {
    zoned(at).map(|z| z.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default()
}

/// `2026-11-20 18:00:00Z`, or with the offset.
pub fn stamp(at: WallTime) -> String {
    zoned(at).map(|z| z.strftime("%Y-%m-%d %H:%M:%S %:z").to_string()).unwrap_or_default()
}

/// `2026-11-20 18:00:00.123456Z`, or with the offset, as fencing writes it.
pub fn stamp_us(at_us: i64) -> String {
    let zone = jiff::tz::TimeZone::system();
    let Ok(zoned) = Timestamp::from_microsecond(at_us).map(|t| t.to_zoned(zone)) else { return String::new() };
    let offset = if zoned.offset().is_zero() { "Z" } else { " %:z" };
    zoned.strftime(&format!("%Y-%m-%d %H:%M:%S.{:06}{offset}", at_us.rem_euclid(1_000_000))).to_string()
}

fn zoned(at: WallTime) -> Option<Zoned> {
    Timestamp::from_millisecond(at.0).ok().map(|t| t.to_zoned(jiff::tz::TimeZone::system()))
}

/// The host's offset from UTC at that moment, in seconds.
pub fn offset_s(at: WallTime) -> i64 {
    zoned(at).map_or(0, |z| z.offset().seconds().into())
}

/// The end of an ISO 8601 duration that starts now, e.g. `2026-11-20 18:05:00 +00:00`.
pub fn after(duration: &str) -> Result<String, String> {
    let span: jiff::Span =
        duration.parse().map_err(|e| format!("'{duration}' is not an ISO 8601 duration such as PT5M: {e}"))?;
    if span.is_negative() || span.is_zero() {
        return Err(format!("'{duration}' is not a duration that lies ahead, such as PT5M"));
    }
    let end = Zoned::now().checked_add(span).map_err(|e| e.to_string())?;
    Ok(end.strftime("%Y-%m-%d %H:%M:%S %:z").to_string())
}

/// Whether a moment as [`after`] writes it lies behind; text in other forms does not.
pub fn is_past(text: &str) -> bool {
    let parsed = jiff::fmt::strtime::parse("%Y-%m-%d %H:%M:%S %:z", text).and_then(|t| t.to_timestamp());
    parsed.is_ok_and(|t| t < Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_end_ahead() {
        let end = after("PT5M").expect("a duration");
        assert!(!is_past(&end), "{end}");
        assert!(is_past("2001-01-01 00:00:00 +00:00"));
        for wrong in ["5 minutes please", "-PT5M", "PT0S", "P-1D"] {
            assert!(after(wrong).is_err(), "{wrong}");
        }
    }
}
