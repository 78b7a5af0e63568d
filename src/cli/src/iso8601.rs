//! `iso8601`: reads dates, durations and periods as the cluster's rules do, and prints them.

use crate::args::{self, Command};
use crate::log;
use crate::report::Common;
use crate::source::Failure;
use base::dates::{self, Duration};
use base::exit::crm;
use clap::Parser;
use std::ffi::OsString;
use xml::Element;

/// Read and print ISO 8601 dates, durations and periods
#[derive(Parser, Debug)]
#[command(name = "iso8601", disable_version_flag = true, after_help = EXAMPLES)]
pub struct Iso8601 {
    /// The present moment
    #[arg(short = 'n', long, help_heading = "Commands")]
    now: bool,
    /// A date, date and time, or time of today
    #[arg(short = 'd', long, value_name = "DATE", help_heading = "Commands")]
    date: Option<String>,
    /// A period: START/END, START/DURATION or DURATION/END
    #[arg(short = 'p', long, value_name = "PERIOD", allow_hyphen_values = true, help_heading = "Commands")]
    period: Option<String>,
    /// A duration; with --date also where it ends
    #[arg(short = 'D', long, value_name = "DURATION", allow_hyphen_values = true, help_heading = "Commands")]
    duration: Option<String>,
    /// Fail unless the result reads like this
    #[arg(short = 'E', long, value_name = "TEXT", help_heading = "Commands")]
    expected: Option<String>,
    /// As seconds since 0000-001 00:00:00Z
    #[arg(short = 's', long, help_heading = "Form")]
    seconds: bool,
    /// As seconds since the epoch
    #[arg(short = 'S', long, help_heading = "Form")]
    epoch: bool,
    /// In the offset that was given, or the system's time zone with --now
    #[arg(short = 'L', long, help_heading = "Form")]
    local: bool,
    /// With the day of the year: 2026-324
    #[arg(short = 'O', long, help_heading = "Form")]
    ordinal: bool,
    /// With week and day of the week: 2026-W47-5
    #[arg(short = 'W', long, help_heading = "Form")]
    week: bool,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  iso8601 -d '2005-040 12:00Z'              Date: 2005-02-09 12:00:00Z
  iso8601 -d 2009-W53-7 -O                  the day of the year
  iso8601 -d '2014-01-31' -D P1M            where a duration ends
  iso8601 -p 2005-040/2005-043              start and end of a period
  iso8601 -d '2006-12-31' -W -E '2006-W52-7 00:00:00Z'

A date without an offset means UTC.

Exit codes: 0 done; 1 not as expected; 2 not a date, duration or period; 64 usage";

/// Seconds from 0000-001 to the epoch, as the calendar is counted backwards.
const EPOCH_FROM_ZERO_S: i64 = 62_167_219_200;

/// Exit code for what cannot be read.
const INVALID: i32 = 2;

pub fn main(args: Vec<OsString>) -> i32 {
    args::run::<Iso8601>(args)
}

/// One line of output: element, words before, text, and the end of a period.
struct Line {
    element: &'static str,
    words: &'static str,
    text: String,
    until: Option<String>,
    /// What `--expected` is compared with, where that is not what is shown.
    plain: Option<String>,
}

impl Line {
    fn shown(&self) -> String {
        match &self.until {
            None => self.text.clone(),
            Some(end) => format!("{} to {end}", self.text),
        }
    }

    fn compared(&self) -> String {
        self.plain.clone().unwrap_or_else(|| self.shown())
    }
}

fn with_text(name: &str, text: &str) -> Element {
    let mut e = Element::new(name);
    e.nodes_mut().push(xml::Node::Text(text.to_owned()));
    e
}

impl Command for Iso8601 {
    const NAME: &'static str = "iso8601";

    fn common(&self) -> &Common {
        &self.common
    }

    fn execute(&self) -> Result<i32, Failure> {
        let lines = self.lines()?;
        if lines.is_empty() {
            return Err(Failure::usage("Nothing to do: use one of --now, --date, --period, --duration"));
        }
        let text = || lines.iter().map(|l| format!("{}: {}\n", l.words, l.shown())).collect();
        let element = |l: &Line| match &l.until {
            None => with_text(l.element, &l.text),
            Some(end) => {
                Element::new(l.element).with_child(with_text("start", &l.text)).with_child(with_text("end", end))
            }
        };
        let code = match (&self.expected, lines.last().map(Line::compared)) {
            (Some(wanted), Some(got)) if !wanted.eq_ignore_ascii_case(&got) => crm::ERROR,
            _ => crm::OK,
        };
        self.common.print_result(code, &[], text, || lines.iter().map(element).collect())?;
        Ok(code)
    }
}

impl Iso8601 {
    fn lines(&self) -> Result<Vec<Line>, Failure> {
        let now = crate::source::now();
        let mut lines = Vec::new();
        let mut line = |element, words, text| lines.push(Line { element, words, text, until: None, plain: None });
        if self.now {
            let offset_s = if self.local { crate::clock::offset_s(now) } else { 0 };
            line("date", "Current date/time", self.form(now.secs(), offset_s)?);
        }
        let mut start = None;
        if let Some(text) = &self.date {
            let at = read(text)?;
            line("date", "Date", self.form(at, self.offset_of(text))?);
            start = Some((at, offset_of(text)));
        }
        if let Some(text) = &self.duration {
            let duration = Duration::parse(text).map_err(|e| {
                log::error(&e.to_string());
                invalid("duration", text)
            })?;
            line("duration", "Duration", words(&duration));
            if let Some((at, offset_s)) = start {
                let end = duration.after(at).ok_or_else(|| invalid("duration", text))?;
                // Shown in the offset of the date, whatever form was asked for.
                let (shown, plain) = (self.form(end, offset_s)?, Some(self.form(end, 0)?));
                let (element, words) = ("duration_ends", "Duration ends at");
                lines.push(Line { element, words, text: shown, until: None, plain });
            }
        }
        if let Some(text) = &self.period {
            let (from, to) = period(text)?;
            let offset_s = self.offset_of(text.split('/').next().unwrap_or_default());
            let (text, until) = (self.form(from, offset_s)?, Some(self.form(to, offset_s)?));
            lines.push(Line { element: "period", words: "Period", text, until, plain: None });
        }
        Ok(lines)
    }

    /// The offset that a date is written in, if it is to be kept.
    fn offset_of(&self, text: &str) -> i64 {
        if self.local { offset_of(text) } else { 0 }
    }

    fn form(&self, at: i64, offset_s: i64) -> Result<String, Failure> {
        if self.epoch {
            return Ok(at.to_string());
        }
        if self.seconds {
            return Ok((at + EPOCH_FROM_ZERO_S).to_string());
        }
        let f = dates::fields(at + offset_s).ok_or_else(|| Failure::new(INVALID, "date is outside the calendar"))?;
        let day = if self.ordinal {
            format!("{:04}-{:03}", f.year, f.yearday)
        } else if self.week {
            format!("{:04}-W{:02}-{}", f.week_year, f.week, f.weekday)
        } else {
            format!("{:04}-{:02}-{:02}", f.year, f.month, f.day)
        };
        let zone = match offset_s {
            0 => "Z".to_owned(),
            s => format!(" {}{:02}:{:02}", if s < 0 { '-' } else { '+' }, s.abs() / 3600, s.abs() / 60 % 60),
        };
        Ok(format!("{day} {:02}:{:02}:{:02}{zone}", f.hour, f.minute, f.second))
    }
}

/// The offset that a date is written in.
fn offset_of(text: &str) -> i64 {
    let Some(at) = text.rfind(['+', '-']).filter(|at| text[..*at].contains(':')) else { return 0 };
    let digits: String = text[at + 1..].chars().filter(char::is_ascii_digit).collect();
    let number = |from: usize| digits.get(from..from + 2).and_then(|d| d.parse::<i64>().ok()).unwrap_or(0);
    let seconds = number(0) * 3600 + number(2) * 60;
    if text[at..].starts_with('-') { -seconds } else { seconds }
}

fn invalid(what: &str, text: &str) -> Failure {
    Failure::new(INVALID, format!("Internal error: invalid {what} specified: {text}"))
}

fn read(text: &str) -> Result<i64, Failure> {
    dates::parse(text, crate::source::now()).map_err(|e| {
        log::error(&e.to_string());
        Failure::new(INVALID, format!("Invalid date/time specified: {text}"))
    })
}

/// Start and end of a period.
fn period(text: &str) -> Result<(i64, i64), Failure> {
    bounds(text).map_err(|why| {
        log::error(&why);
        Failure::new(INVALID, format!("Invalid interval specified: {text}"))
    })
}

fn bounds(text: &str) -> Result<(i64, i64), String> {
    if text.is_empty() {
        return Err("No ISO 8601 time period given".to_owned());
    }
    let bad = |why: &str| format!("'{text}' is not a valid ISO 8601 time period because {why}");
    let first = text;
    let second = text.split_once('/').map(|(_, second)| second);
    let duration = |t: &str| Duration::parse(t).map_err(|e| e.to_string());
    let date = |t: &str| dates::parse(t, crate::source::now()).map_err(|e| e.to_string());
    let outside = || bad("it leads outside the calendar");
    // Each half is read with what follows it, as the message is to show it.
    if first.starts_with('P') {
        let d = duration(first)?;
        let second = second.ok_or_else(|| bad("it has no start or ending time"))?;
        if second.starts_with('P') {
            return Err(bad("it has two durations"));
        }
        let to = date(second)?;
        let back = Duration { years: -d.years, months: -d.months, days: -d.days, seconds: -d.seconds };
        return Ok((back.after(to).ok_or_else(outside)?, to));
    }
    let from = date(first)?;
    let second = second.ok_or_else(|| bad("it has no duration or ending time"))?;
    let to = match second.starts_with('P') {
        true => duration(second)?.after(from).ok_or_else(outside)?,
        false => date(second)?,
    };
    if to < from { Err(bad("it ends before it starts")) } else { Ok((from, to)) }
}

/// `   1 year  2 months  3 days 3661 seconds (1 hour 1 minute 1 second)`, with the original's blanks.
fn words(duration: &Duration) -> String {
    let plural = |n: i64| if n == 1 { "" } else { "s" };
    let mut out = String::new();
    for (n, unit, width) in [(duration.years, "year", 4), (duration.months, "month", 2), (duration.days, "day", 2)] {
        if n != 0 {
            out += &format!("{n:width$} {unit}{} ", plural(n.into()));
        }
    }
    let s = duration.seconds;
    if s != 0 || out.is_empty() {
        out += &format!("{s} second{}", plural(s));
    }
    let s = s.abs();
    if s >= 60 {
        let split = [(s / 3600, "hour"), (s / 60 % 60, "minute"), (s % 60, "second")];
        let part = |(n, unit): &(i64, &str)| format!("{n} {unit}{}", plural(*n));
        let listed: Vec<String> = split.iter().filter(|(n, _)| *n != 0).map(part).collect();
        out += &format!(" ({})", listed.join(" "));
    }
    out
}
