//! From entries to raw settings: one method per kind of value, one `match` per scope.

use super::environment::Environment;
use super::lines::{self, Entry, Place, Scope};
use super::own::OwnDirective;
use super::problem::{Deviation, Problem, Severity};
use super::raw::{Common, FallbackLine, RawGlobal, RawVirtual};
use super::types::{AlertStatus, LogTarget, Resolve};
use super::value::{self, Host, Quoted};
use base::ipvs::{Family, Protocol};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// More errors than this are not collected.
const MAX_ERRORS: usize = 50;

/// Shorter would check a server without a pause.
const MIN_PERIOD_MS: u32 = 10;

pub struct Parser<'e> {
    pub(super) env: &'e mut dyn Environment,
    pub(super) problems: Vec<Problem>,
    pub(super) errors: usize,
    pub(super) own_directives: Vec<OwnDirective>,
    pub(super) global: RawGlobal,
    pub(super) virtuals: Vec<RawVirtual>,
    /// A `virtual` line that could not be read: its body is skipped.
    pub(super) skipping: bool,
    /// What names stand for, by the line on which a block begins.
    pub(super) resolves: BTreeMap<u32, Resolve>,
}

impl<'e> Parser<'e> {
    pub fn new(env: &'e mut dyn Environment) -> Parser<'e> {
        Parser {
            env,
            problems: Vec::new(),
            errors: 0,
            own_directives: Vec::new(),
            global: RawGlobal::default(),
            virtuals: Vec::new(),
            skipping: false,
            resolves: BTreeMap::new(),
        }
    }

    pub fn read(&mut self, text: &str) {
        let entries = lines::entries(text, &mut self.problems);
        self.errors = self.problems.iter().filter(|p| p.severity == Severity::Error).count();
        self.resolves = super::block::resolves(&entries);
        self.env.prepare(entries.iter().filter_map(host_name).collect());
        for entry in &entries {
            if self.errors >= MAX_ERRORS {
                break;
            }
            match entry.scope {
                Scope::Start => self.start(entry),
                Scope::Global => self.global(entry),
                Scope::Body => self.body(entry),
            }
        }
    }

    // --- reporting

    pub(super) fn error(
        &mut self,
        line: u32,
        column: u32,
        found: impl Into<String>,
        expected: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.errors += 1;
        self.push(Severity::Error, line, column, found.into(), expected.into(), cure.into(), None);
    }

    pub(super) fn refuse(
        &mut self,
        line: u32,
        column: u32,
        deviation: Deviation,
        found: impl Into<String>,
        expected: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.errors += 1;
        self.push(Severity::Error, line, column, found.into(), expected.into(), cure.into(), Some(deviation));
    }

    pub(super) fn warn(
        &mut self,
        line: u32,
        column: u32,
        deviation: Option<Deviation>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.push(Severity::Warning, line, column, found.into(), expected.into(), String::new(), deviation);
    }

    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        severity: Severity,
        line: u32,
        column: u32,
        found: String,
        expected: String,
        cure: String,
        deviation: Option<Deviation>,
    ) {
        self.problems.push(Problem { severity, line, column, found, expected, cure, deviation });
    }

    pub(super) fn wrong(&mut self, entry: &Entry<'_>, expected: impl Into<String>, cure: impl Into<String>) {
        let found = if entry.assigned {
            format!("{} = {}", entry.name, clip(entry.value))
        } else {
            clip(&format!("{} {}", entry.name, entry.value))
        };
        self.error(entry.line, entry.value_column(), found, expected, cure);
    }

    pub(super) fn note(
        &mut self,
        entry: &Entry<'_>,
        deviation: Deviation,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.warn(entry.line, entry.value_column(), Some(deviation), found, expected);
    }

    // --- kinds of values

    pub(super) fn yes_no(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let answer = match entry.value.to_ascii_lowercase().as_str() {
            "yes" => true,
            "no" => false,
            _ => {
                self.wrong(entry, "`yes` or `no`", "");
                return None;
            }
        };
        if entry.comment {
            self.note(
                entry,
                Deviation::TrailingComment,
                "a comment after a yes/no value",
                "the original refuses it; accepted here",
            );
        } else if entry.trailing_blank {
            self.note(
                entry,
                Deviation::TrailingBlank,
                "a blank after a yes/no value",
                "the original refuses it; accepted here",
            );
        } else if entry.value.chars().any(|c| c.is_ascii_uppercase()) {
            self.note(
                entry,
                Deviation::UpperCase,
                format!("`{}`", entry.value),
                "the original wants lower case; accepted here",
            );
        }
        Some(answer)
    }

    pub(super) fn integer(&mut self, entry: &Entry<'_>, least: u32) -> Option<u32> {
        let Some(found) = value::integer(entry.value) else {
            self.wrong(entry, "a whole number", "");
            return None;
        };
        if found.value < least {
            self.wrong(entry, format!("a number of at least {least}"), "");
            return None;
        }
        if found.junk {
            let line = (entry.line, entry.value_column());
            self.warn(
                line.0,
                line.1,
                None,
                format!("{} = {}", entry.name, clip(entry.value)),
                format!("read as {}, the first digits in it", found.value),
            );
        }
        Some(found.value)
    }

    /// A time in seconds, or with `ms` behind it in milliseconds; the result is in these.
    fn period(&mut self, entry: &Entry<'_>) -> Option<u32> {
        let bare = entry.value.trim_end();
        let Some(digits) = bare.strip_suffix("ms").map(str::trim_end).filter(|d| is_number(d)) else {
            return self.integer(entry, 1).map(|seconds| seconds.saturating_mul(1_000));
        };
        match digits.parse::<u32>() {
            Ok(ms) if ms >= MIN_PERIOD_MS => {
                let original = format!("the original reads {digits} seconds");
                self.note(entry, Deviation::Milliseconds, format!("{} = {bare}", entry.name), original);
                Some(ms)
            }
            _ => {
                self.wrong(entry, format!("at least {MIN_PERIOD_MS}ms"), "");
                None
            }
        }
    }

    /// A value that must stand in quotes; bare or empty ones are accepted with a warning.
    pub(super) fn quoted(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = match value::quoted(entry.value) {
            Quoted::Closed(text) => text,
            Quoted::Open(_) | Quoted::Bare("") => {
                self.wrong(entry, "a value in quotes", format!("write {} = \"…\"", entry.name));
                return None;
            }
            Quoted::Bare(text) => {
                self.note(
                    entry,
                    Deviation::UnquotedValue,
                    format!("{} = {}", entry.name, clip(text)),
                    "the original wants quotes; accepted here",
                );
                text
            }
        };
        if text.is_empty() {
            self.note(entry, Deviation::EmptyValue, format!("{} = \"\"", entry.name), "the default is used");
        }
        if text.contains('#') && entry.scope == Scope::Body {
            self.note(
                entry,
                Deviation::HashInQuotes,
                "`#` within quotes",
                "the original cuts the line there; kept here",
            );
        }
        Some(self.untab(entry, text))
    }

    /// A value with or without quotes.
    pub(super) fn text(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = match value::quoted(entry.value) {
            Quoted::Closed(text) => text,
            Quoted::Bare(text) | Quoted::Open(text) => text,
        };
        if text.is_empty() {
            self.wrong(entry, "a value", "");
            return None;
        }
        self.note_global_comment(entry);
        Some(self.untab(entry, text))
    }

    /// In a block a tab becomes four blanks, also within quotes.
    fn untab(&self, entry: &Entry<'_>, text: &str) -> String {
        if entry.scope == Scope::Body { text.replace('\t', "    ") } else { text.to_owned() }
    }

    fn note_global_comment(&mut self, entry: &Entry<'_>) {
        if entry.comment && entry.scope == Scope::Global {
            self.note(
                entry,
                Deviation::TrailingComment,
                "a comment after the value",
                "the original takes it for a part of the value; cut here",
            );
        }
    }

    // --- scopes

    fn global(&mut self, entry: &Entry<'_>) {
        match entry.name.as_str() {
            "supervised" if !entry.assigned && entry.value.is_empty() => {
                self.warn(entry.line, entry.column(), None, "a bare `supervised`", "write `supervised = yes`");
                self.global.supervised = Some(true);
            }
            _ if !self.known(entry) => {}
            "autoreload" => self.global.autoreload = self.yes_no(entry).or(self.global.autoreload),
            "fork" => {
                self.global.fork = self.yes_no(entry).or(self.global.fork);
                let said = self.problems.iter().any(|p| p.found == "fork = yes");
                if self.global.fork == Some(true) && !said {
                    self.warn(
                        entry.line,
                        entry.column(),
                        None,
                        "fork = yes",
                        "accepted without meaning: no check waits for another here",
                    );
                }
            }
            "supervised" => self.global.supervised = self.yes_no(entry).or(self.global.supervised),
            "readdquiescent" => self.global.readd_quiescent = self.yes_no(entry).or(self.global.readd_quiescent),
            "callback" => self.global.callback = self.quoted(entry).filter(|t| !t.is_empty()),
            "emailalertfrom" => self.global.alert_from = self.text(entry),
            "execute" => {
                let name = self.text(entry);
                self.global.execute.extend(name);
            }
            "logfile" => self.logfile(entry),
            "maintenancedir" => {
                self.global.maintenance_dir = self.text(entry).map(PathBuf::from);
                if let Some(dir) = self.global.maintenance_dir.clone()
                    && !self.env.is_directory(&dir)
                {
                    self.warn(
                        entry.line,
                        entry.value_column(),
                        None,
                        format!("maintenance directory {}", dir.display()),
                        "does not exist",
                    );
                }
            }
            _ => {
                let mut common = std::mem::take(&mut self.global.common);
                self.common(entry, &mut common);
                self.global.common = common;
            }
        }
    }

    /// Reports a directive that cannot stand in column 0 or does not exist.
    fn known(&mut self, entry: &Entry<'_>) -> bool {
        match lines::place(&entry.name) {
            Some(Place::Virtual) => {
                self.error(
                    entry.line,
                    entry.column(),
                    format!("`{}` before any virtual", entry.name),
                    "a global directive",
                    "put it under a `virtual` line",
                );
                false
            }
            Some(_) if entry.assigned => true,
            Some(_) => {
                self.wrong(entry, format!("`{} = value`", entry.name), "");
                false
            }
            None => {
                self.unknown(entry);
                false
            }
        }
    }

    pub(super) fn unknown(&mut self, entry: &Entry<'_>) {
        let cure = match entry.name.as_str() {
            "timeout" => "`timeout` is gone: use checktimeout and negotiatetimeout".to_owned(),
            "connecttimeout" => "`connecttimeout` is gone: use negotiatetimeout".to_owned(),
            name => match nearest(name) {
                Some(near) => format!("did you mean `{near}`?"),
                None => String::new(),
            },
        };
        let name = if entry.name.is_empty() { clip(entry.value) } else { entry.name.clone() };
        self.error(
            entry.line,
            entry.column(),
            format!("unknown directive `{name}`"),
            "a directive of ldirectord.cf",
            cure,
        );
    }

    fn logfile(&mut self, entry: &Entry<'_>) {
        let Some(text) = self.quoted(entry).filter(|t| !t.is_empty()) else { return };
        if !text.starts_with('/') {
            self.global.log = Some(LogTarget::Syslog(text));
            return;
        }
        if let Err(why) = self.env.can_append(Path::new(&text)) {
            self.wrong(entry, format!("a file that can be written ({why})"), "");
        }
        self.global.log = Some(LogTarget::File(PathBuf::from(text)));
    }

    pub(super) fn common(&mut self, entry: &Entry<'_>, to: &mut Common) {
        match entry.name.as_str() {
            "checktimeout" => to.check_timeout_ms = self.period(entry).or(to.check_timeout_ms),
            "negotiatetimeout" => to.negotiate_timeout_ms = self.period(entry).or(to.negotiate_timeout_ms),
            "checkinterval" => to.check_interval_ms = self.period(entry).or(to.check_interval_ms),
            "checkcount" => {
                self.warn(
                    entry.line,
                    entry.column(),
                    None,
                    "checkcount",
                    "deprecated: only ping uses it; failurecount is meant for failures in a row",
                );
                to.check_count = self.integer(entry, 1).or(to.check_count);
            }
            "failurecount" => to.failure_count = self.integer(entry, 1).or(to.failure_count),
            "quiescent" => to.quiescent = self.yes_no(entry).or(to.quiescent),
            "cleanstop" => to.clean_stop = self.yes_no(entry).or(to.clean_stop),
            "fallback" => to.fallback = self.fallback(entry, Family::IPv4).or(to.fallback),
            "fallback6" => to.fallback6 = self.fallback(entry, Family::IPv6).or(to.fallback6),
            "fallbackcommand" => {
                to.fallback_command = if entry.scope == Scope::Global {
                    Some(entry.value.to_owned()).filter(|v| !v.is_empty())
                } else {
                    self.text(entry)
                };
            }
            "emailalert" => to.alert_to = self.text(entry),
            "emailalertfreq" => to.alert_frequency_s = self.integer(entry, 0).or(to.alert_frequency_s),
            "emailalertstatus" => to.alert_status = self.alert_status(entry).or(to.alert_status),
            "smtp" => to.smtp = self.text(entry),
            _ if self.own(entry, &mut to.own) => {}
            _ => self.unknown(entry),
        }
    }

    fn alert_status(&mut self, entry: &Entry<'_>) -> Option<AlertStatus> {
        let mut status = AlertStatus::NONE;
        let mut none = false;
        let words: Vec<&str> = entry.value.split(',').map(str::trim).collect();
        for word in &words {
            match *word {
                "all" => status = AlertStatus::ALL,
                "none" => none = true,
                "starting" => status.starting = true,
                "running" => status.running = true,
                "stopping" => status.stopping = true,
                "reloading" => status.reloading = true,
                _ => {
                    self.wrong(entry, "a list of all, none, starting, running, stopping, reloading", "");
                    return None;
                }
            }
        }
        if none && words.len() > 1 {
            self.wrong(entry, "`none` alone, or others without it", "");
            return None;
        }
        self.note_global_comment(entry);
        Some(status)
    }

    pub(super) fn fallback(&mut self, entry: &Entry<'_>, family: Family) -> Option<FallbackLine> {
        let Ok((_, text)) = value::fallback(entry.value) else {
            self.wrong(entry, "HOST[:PORT] [gate|masq|ipip]", "");
            return None;
        };
        if !text.rest.is_empty() {
            self.wrong(entry, "nothing behind the forwarding method", "");
            return None;
        }
        let addr = self.address(entry, text.host, family)?;
        let port = match text.port {
            Some(name) => Some(self.port(entry, name, None)?),
            None => None,
        };
        let method = match text.method {
            Some(word) => self.method(entry, word)?,
            None => super::types::Method::Gate,
        };
        self.note_global_comment(entry);
        Some(FallbackLine { addr, port, method })
    }

    pub(super) fn method(&mut self, entry: &Entry<'_>, word: &str) -> Option<super::types::Method> {
        let found = value::method(word);
        match found {
            None => {
                let cure = match word.to_ascii_lowercase().as_str() {
                    "nat" => "NAT is called masq",
                    "dr" | "route" => "direct routing is called gate",
                    "tun" | "tunnel" => "tunnelling is called ipip",
                    _ => "",
                };
                self.error(
                    entry.line,
                    entry.column_of(word),
                    format!("forwarding method `{}`", clip(word)),
                    "gate, masq or ipip",
                    cure,
                );
            }
            Some(method) if method.name() != word => {
                self.warn(
                    entry.line,
                    entry.column_of(word),
                    Some(Deviation::UpperCase),
                    format!("`{word}`"),
                    "the original wants lower case; accepted here",
                );
            }
            Some(_) => {}
        }
        found
    }

    pub(super) fn port(&mut self, entry: &Entry<'_>, text: &str, protocol: Option<Protocol>) -> Option<u16> {
        let numeric = text.bytes().all(|b| b.is_ascii_digit());
        let port = if numeric { text.parse().ok() } else { self.env.service_port(text, protocol) };
        if port.is_none() {
            self.error(
                entry.line,
                entry.column_of(text),
                format!("port `{}`", clip(text)),
                "a number from 0 to 65535 or a service name of /etc/services",
                "",
            );
        }
        port
    }

    pub(super) fn address(&mut self, entry: &Entry<'_>, host: Host<'_>, family: Family) -> Option<IpAddr> {
        let text = host.text();
        let column = entry.column_of(text);
        if let Ok(addr) = text.parse::<IpAddr>() {
            let dotted = matches!(addr, IpAddr::V6(_)) && text.contains('.');
            if Family::of(addr) == family && !dotted && (family == Family::IPv4) == matches!(host, Host::Plain(_)) {
                return Some(addr);
            }
        } else if let Host::Plain(name) = host
            && name.contains(|c: char| c.is_alphabetic())
        {
            let found = self.env.resolve(name, family);
            if found.is_none() {
                self.error(
                    entry.line,
                    column,
                    format!("host name `{}`", clip(name)),
                    format!("a name that resolves to an {family:?} address"),
                    "",
                );
            }
            return found;
        }
        let expected = if family == Family::IPv4 {
            "an IPv4 address or a host name"
        } else {
            "an IPv6 address in brackets, or a host name"
        };
        self.error(entry.line, column, format!("address `{}`", clip(text)), expected, "");
        None
    }
}

/// The name that an entry's value begins with, where one may stand that has to be resolved.
fn host_name(entry: &Entry<'_>) -> Option<String> {
    let may = matches!(entry.name.as_str(), "virtual" | "virtual6" | "real" | "real6" | "fallback" | "fallback6");
    match value::host(entry.value).ok().filter(|_| may)?.1 {
        // Names of services are no hosts.
        Host::Plain(name) if value::is_name(name) && !name.starts_with('_') => Some(name.to_owned()),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Text from the file as it is quoted in messages.
pub(super) fn clip(text: &str) -> String {
    if text.chars().count() <= 60 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(59).collect::<String>())
    }
}

/// The directive that differs by the fewest letters, if by at most two.
fn nearest(name: &str) -> Option<&'static str> {
    let all = lines::DIRECTIVES.iter().map(|(n, _)| *n).chain(["virtual", "virtual6"]);
    all.map(|known| (distance(name, known), known))
        .filter(|(d, known)| *d <= 2 && *d < known.len())
        .min()
        .map(|(_, known)| known)
}

/// Edit distance; names longer than any directive are not compared.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.bytes().enumerate() {
            let change = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
