//! The text form of `cib-last-written`.

use base::WallTime;

/// As C's `ctime` in UTC, without the line end: `Thu Jan  1 00:00:00 1970`.
pub fn ctime(at: WallTime) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let secs = at.secs();
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month = MONTHS[(month - 1) as usize];
    format!("{weekday} {month} {day:2} {:02}:{:02}:{:02} {year}", second / 3600, second / 60 % 60, second % 60)
}

/// Gregorian date of a day number since 1970-01-01, by counting in 400-year eras from 1 March of year 0.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(ctime(WallTime(0)), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ctime(WallTime::from_secs(1_709_164_799)), "Wed Feb 28 23:59:59 2024");
        assert_eq!(ctime(WallTime::from_secs(1_709_164_800)), "Thu Feb 29 00:00:00 2024");
        assert_eq!(ctime(WallTime::from_secs(-1)), "Wed Dec 31 23:59:59 1969");
    }
}
