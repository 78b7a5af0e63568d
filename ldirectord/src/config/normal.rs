//! What editors and web pages do to a file before it gets here: byte order marks, typographic quotation marks, hard blanks, and files
//! that are another program's. All is seen for what it is.

use super::problem::{Deviation, Problem, Severity};
use std::borrow::Cow;

const QUOTES: [char; 6] = ['\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{ab}', '\u{bb}'];

/// Words that begin a block or line of keepalived.conf.
const KEEPALIVED: &[&str] = &[
    "virtual_server",
    "virtual_server_group",
    "real_server",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "global_defs",
    "static_ipaddress",
    "lb_algo",
    "lvs_sched",
    "delay_loop",
];

/// The text as it is read: lines keep their numbers, and characters their columns.
pub fn normal<'t>(text: &'t str, problems: &mut Vec<Problem>) -> Cow<'t, str> {
    if let Some((line, found)) = foreign(text) {
        problems.push(Problem {
            severity: Severity::Error,
            line,
            column: 1,
            found: found.to_owned(),
            expected: "ldirectord.cf".to_owned(),
            cure: match found.starts_with("UTF-16") {
                true => "save it as UTF-8".to_owned(),
                false => {
                    "here it is `virtual = ADDRESS:PORT`, and under it, indented, `real = ADDRESS:PORT masq WEIGHT`, \
                          `scheduler =`, `checktype =`"
                        .to_owned()
                }
            },
            deviation: None,
        });
        return Cow::Borrowed("");
    }
    let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
    if bare.len() < text.len() {
        say(problems, 1, Deviation::ByteOrderMark, "a byte order mark");
    }
    if !bare.contains(QUOTES) && !bare.contains('\u{a0}') {
        return Cow::Borrowed(bare);
    }
    let mut out = String::with_capacity(bare.len());
    for (index, line) in bare.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let (fixed, deviation) = mend(line);
        if let Some(deviation) = deviation.filter(|d| !problems.iter().any(|p| p.deviation == Some(*d))) {
            let found =
                if deviation == Deviation::PastedQuotes { "typographic quotation marks" } else { "hard blanks" };
            say(problems, index as u32 + 1, deviation, found);
        }
        out.push_str(&fixed);
    }
    Cow::Owned(out)
}

fn say(problems: &mut Vec<Problem>, line: u32, deviation: Deviation, found: &str) {
    problems.push(Problem {
        severity: Severity::Warning,
        line,
        column: 1,
        found: found.to_owned(),
        expected: "plain text; taken for what is meant".to_owned(),
        cure: String::new(),
        deviation: Some(deviation),
    });
}

/// Hard blanks before the value, and quotation marks around it.
fn mend(line: &str) -> (Cow<'_, str>, Option<Deviation>) {
    let content = line.trim_start();
    if content.starts_with('#') || !line.contains(QUOTES) && !line.contains('\u{a0}') {
        return (Cow::Borrowed(line), None);
    }
    let (name, value) = line.split_once('=').map_or((line, ""), |(name, value)| (name, value));
    let blanks = value.len() - value.trim_start().len();
    let (lead, value) = value.split_at(blanks);
    let hard = name.contains('\u{a0}') || lead.contains('\u{a0}');
    let (head, lead) = (name.replace('\u{a0}', " "), lead.replace('\u{a0}', " "));
    let quoted = value.starts_with(QUOTES);
    let value = match (quoted, value.rfind(QUOTES)) {
        (true, Some(last)) if last > 0 => {
            let (inner, end) = (&value[..last], &value[last..]);
            let behind = end.chars().next().map_or(0, char::len_utf8);
            let start = inner.chars().next().map_or(0, char::len_utf8);
            format!("\"{}\"{}", &inner[start..], &end[behind..])
        }
        _ => value.to_owned(),
    };
    let assigned = if line.contains('=') { "=" } else { "" };
    let deviation = match (quoted, hard) {
        (true, _) => Some(Deviation::PastedQuotes),
        (false, true) => Some(Deviation::HardBlank),
        (false, false) => None,
    };
    (Cow::Owned(format!("{head}{assigned}{lead}{value}")), deviation)
}

/// Another program's file.
fn foreign(text: &str) -> Option<(u32, &'static str)> {
    // As lossy reading leaves UTF-16.
    if text.starts_with("\u{fffd}\u{fffd}") || text.chars().take(64).filter(|c| *c == '\0').count() > 8 {
        return Some((1, "UTF-16 text"));
    }
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    text.lines()
        .enumerate()
        .find(|(_, line)| !line.contains('=') && first(line).is_some_and(|word| KEEPALIVED.contains(&word.as_str())))
        .map(|(index, _)| (index as u32 + 1, "keepalived's syntax"))
}
