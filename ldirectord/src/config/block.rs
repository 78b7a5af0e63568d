//! `virtual` blocks: the service that the first line names, and the directives that only a virtual may have.

use super::lines::{self, Entry, Place, Scope};
use super::parser::{Parser, clip};
use super::problem::Deviation;
use super::raw::{RawVirtual, Target};
use super::types::{CheckType, HttpMethod, Netmask, Redirects, Resolve, ServiceProtocol, sched_flag_bit};
use super::value::{self, Host, Quoted};
use base::ipvs::{Family, Protocol};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

impl Parser<'_> {
    pub(super) fn start(&mut self, entry: &Entry<'_>) {
        let family = if entry.name == "virtual6" { Family::IPv6 } else { Family::IPv4 };
        let target = if entry.assigned { self.target(entry, family) } else { None };
        if !entry.assigned {
            self.wrong(entry, format!("`{} = ADDRESS:PORT` or a firewall mark", entry.name), "");
        }
        self.skipping = target.is_none();
        if let Some(target) = target {
            let mut v = RawVirtual::new(entry.line, entry.value_column(), family, target);
            v.resolve = self.resolves.get(&entry.line).copied().unwrap_or_default();
            self.virtuals.push(v);
        }
    }

    fn target(&mut self, entry: &Entry<'_>, family: Family) -> Option<Target> {
        let text = match value::quoted(entry.value) {
            Quoted::Closed(inner) => {
                self.note(
                    entry,
                    Deviation::QuotedValue,
                    "a virtual address in quotes",
                    "the original wants none; accepted here",
                );
                inner
            }
            Quoted::Bare(text) | Quoted::Open(text) => text,
        };
        if text.starts_with('[') && family == Family::IPv4 {
            self.wrong(entry, "an IPv4 address", "an IPv6 service is written virtual6 = [ADDRESS]:PORT");
            return None;
        }
        let is_ipv6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
        if let Some((addr, port)) = text.rsplit_once(':').filter(|(addr, _)| is_ipv6(addr) || is_ipv6(text)) {
            // With or without a port: where the address ends nobody can tell.
            let (addr, port) = if is_ipv6(addr) { (addr, port) } else { (text, "80") };
            let cure = format!("an IPv6 address stands in brackets: virtual6 = [{}]:{}", clip(addr), clip(port));
            self.wrong(entry, "ADDRESS:PORT", cure);
            return None;
        }
        let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        if !digits.is_empty()
            && !text[digits.len()..].starts_with(['.', ':', '-'])
            && !text[digits.len()..].starts_with(|c: char| c.is_alphanumeric())
        {
            return self.mark(entry, digits, &text[digits.len()..]);
        }
        let Ok((rest, (host, port))) = value::host_port(text) else {
            self.wrong(entry, "ADDRESS:PORT or a firewall mark", "");
            return None;
        };
        let Some(port) = port else {
            let unbracketed = family == Family::IPv6 && matches!(host, Host::Plain(_));
            let cure = if unbracketed {
                "put the IPv6 address in brackets: [ADDRESS]:PORT"
            } else {
                "write ADDRESS:PORT, or a bare number for a firewall mark"
            };
            self.refuse(
                entry.line,
                entry.value_column(),
                Deviation::MarkFromAddress,
                format!("{} = {}", entry.name, clip(text)),
                "a port behind the address",
                cure,
            );
            return None;
        };
        if family == Family::IPv6
            && matches!(host, Host::Plain(h) if !h.contains(|c: char| c.is_alphabetic() && !c.is_ascii_hexdigit()) && rest.contains(':'))
        {
            self.wrong(entry, "[ADDRESS]:PORT", "put the IPv6 address in brackets");
            return None;
        }
        if !rest.trim().is_empty() {
            self.warn(
                entry.line,
                entry.column_of(rest),
                None,
                format!("`{}` behind the port", clip(rest.trim())),
                "ignored",
            );
        }
        let addr = self.address(entry, host, family)?;
        Some(Target::Address { addr, port: port.to_owned() })
    }

    fn mark(&mut self, entry: &Entry<'_>, digits: &str, rest: &str) -> Option<Target> {
        match digits.parse::<u32>() {
            Ok(0) => {
                self.refuse(
                    entry.line,
                    entry.value_column(),
                    Deviation::MarkZero,
                    "firewall mark 0",
                    "a mark from 1 to 4294967295",
                    "",
                );
                None
            }
            Ok(mark) => {
                if !rest.trim().is_empty() {
                    self.warn(
                        entry.line,
                        entry.column_of(rest),
                        None,
                        format!("`{}` behind the firewall mark", clip(rest.trim())),
                        "ignored",
                    );
                }
                Some(Target::Mark(mark))
            }
            Err(_) => {
                self.wrong(entry, "a firewall mark from 1 to 4294967295", "");
                None
            }
        }
    }

    pub(super) fn body(&mut self, entry: &Entry<'_>) {
        if self.skipping {
            return;
        }
        match lines::place(&entry.name) {
            Some(Place::Global) => {
                let cure = "write it in column 1 before the first virtual";
                self.error(
                    entry.line,
                    entry.column(),
                    format!("`{}` in a virtual", entry.name),
                    "a directive of a virtual; this one is global",
                    cure,
                );
                return;
            }
            None => return self.unknown(entry),
            Some(_) if !entry.assigned => return self.wrong(entry, format!("`{} = value`", entry.name), ""),
            Some(_) => {}
        }
        // Taken out, so that the readers may borrow the parser.
        let Some(mut target) = self.virtuals.pop() else { return };
        if let Some(number) = lines::number(&entry.name).filter(|_| !entry.name.starts_with("real")) {
            target.lines.push((number, entry.line));
        }
        self.directive(entry, &mut target);
        self.virtuals.push(target);
    }

    fn directive(&mut self, entry: &Entry<'_>, v: &mut RawVirtual) {
        match entry.name.as_str() {
            "real" | "real6" => self.real(entry, v),
            "checktype" => v.check_type = self.check_type(entry).or(v.check_type),
            "service" => v.service = self.service(entry).or(v.service),
            "protocol" => v.protocol = self.protocol(entry, v).or(v.protocol),
            "scheduler" => v.scheduler = self.scheduler(entry),
            "schedflags" => v.sched_flags = self.sched_flags(entry),
            "persistent" => v.persistent_s = self.integer(entry, 1).or(v.persistent_s),
            "netmask" => v.netmask = self.netmask(entry, v.family).map(|m| (m, entry.line)),
            "ops" => v.ops = self.yes_no(entry).or(v.ops),
            "redirects" | "resolve" | "tlsverify" | "tlscafile" | "sqltls" | "sourceaddress" => {
                self.own_of_virtual(entry, v)
            }
            "checkport" => match self.integer(entry, 1) {
                Some(port) if port <= 65535 => v.check_port = Some(port as u16),
                Some(_) => self.wrong(entry, "a port from 1 to 65535", ""),
                None => {}
            },
            "checkcommand" => v.check_command = self.text(entry),
            "request" => v.request = self.quoted(entry).filter(|t| !t.is_empty()),
            "receive" => v.receive = self.quoted(entry).map(|t| (t, entry.line, entry.value_column())),
            "httpmethod" => match entry.value.to_ascii_uppercase().trim_matches('"') {
                "GET" => v.http_method = Some(HttpMethod::Get),
                "HEAD" => v.http_method = Some(HttpMethod::Head),
                _ => self.wrong(entry, "GET or HEAD", ""),
            },
            "virtualhost" => v.virtual_host = self.text(entry),
            "login" => v.login = self.quoted(entry),
            "passwd" => v.passwd = self.quoted(entry),
            "database" => v.database = self.quoted(entry),
            "secret" => v.secret = self.quoted(entry),
            "load" => v.load = self.quoted(entry),
            "monitorfile" => self.monitor_file(entry, v),
            "servicename" => v.service_name = Some(entry.value.to_owned()),
            "comment" => v.comment = Some(entry.value.to_owned()),
            "fallback" | "fallback6" => self.own_fallback(entry, v),
            _ => self.common(entry, &mut v.common),
        }
    }

    /// Directives of ours that only a virtual may have, or that mean more there.
    fn own_of_virtual(&mut self, entry: &Entry<'_>, v: &mut RawVirtual) {
        match entry.name.as_str() {
            "tlsverify" => v.tls_verify = self.yes_no(entry).or(v.tls_verify),
            "redirects" => v.redirects = self.redirects(entry).or(v.redirects),
            // It counts for the whole block, and has been read before it.
            "resolve" if resolve(entry.value).is_some() => {}
            "resolve" => self.wrong(entry, "once, all or srv", ""),
            "sqltls" => v.sql_tls = self.yes_no(entry).or(v.sql_tls),
            "tlscafile" => v.tls_ca_file = self.text(entry).map(PathBuf::from),
            _ => v.source_addr = self.source_addr(entry).or(v.source_addr),
        }
        self.note_own(entry);
    }

    fn redirects(&mut self, entry: &Entry<'_>) -> Option<Redirects> {
        match entry.value.trim_matches('"').to_ascii_lowercase().as_str() {
            "own" => Some(Redirects::Own),
            "follow" => Some(Redirects::Follow),
            "accept" => Some(Redirects::Accept),
            _ => {
                self.wrong(entry, "own, follow or accept", "");
                None
            }
        }
    }

    fn own_fallback(&mut self, entry: &Entry<'_>, v: &mut RawVirtual) {
        let wanted = if v.family == Family::IPv4 { "fallback" } else { "fallback6" };
        if entry.name != wanted {
            self.error(
                entry.line,
                entry.column(),
                format!("`{}` in this block", entry.name),
                format!("`{wanted}`: the fallback must be of the virtual's family"),
                "",
            );
            return;
        }
        self.common(entry, &mut v.common);
    }

    pub(super) fn source_addr(&mut self, entry: &Entry<'_>) -> Option<IpAddr> {
        let bare = entry.value.trim_matches('"').trim_start_matches('[').trim_end_matches(']');
        let found = bare.parse().ok();
        if found.is_none() {
            self.wrong(entry, "an address of this machine, for example 10.0.0.5 or 2001:db8::5", "");
        }
        found
    }

    fn monitor_file(&mut self, entry: &Entry<'_>, v: &mut RawVirtual) {
        let Some(path) = self.text(entry).map(PathBuf::from) else { return };
        if let Err(why) = self.env.can_append(&path) {
            self.wrong(entry, format!("a file that can be written ({why})"), "");
        }
        v.monitor_file = Some(path);
    }

    fn check_type(&mut self, entry: &Entry<'_>) -> Option<CheckType> {
        let lower = entry.value.to_ascii_lowercase();
        let named = [
            CheckType::Negotiate,
            CheckType::Connect,
            CheckType::Ping,
            CheckType::Off,
            CheckType::On,
            CheckType::External,
            CheckType::ExternalPerl,
        ];
        let bare = lower.trim_matches('"');
        if let Some(found) = named.into_iter().find(|t| t.to_string() == bare) {
            if bare != entry.value {
                self.note(
                    entry,
                    Deviation::UpperCase,
                    format!("`{}`", entry.value),
                    "the original wants it in lower case and without quotes; accepted here",
                );
            }
            return Some(found);
        }
        match value::integer(entry.value) {
            Some(number) => {
                if number.junk {
                    let expected =
                        format!("read as {}: one negotiate check, then {} connects", number.value, number.value);
                    self.warn(
                        entry.line,
                        entry.value_column(),
                        None,
                        format!("checktype = {}", clip(entry.value)),
                        expected,
                    );
                }
                Some(CheckType::Combined(number.value))
            }
            None => {
                self.wrong(entry, "negotiate, connect, ping, on, off, external, external-perl or a number", "");
                None
            }
        }
    }

    fn service(&mut self, entry: &Entry<'_>) -> Option<ServiceProtocol> {
        let word = entry.value.trim_matches('"').split([' ', '\t']).next().unwrap_or("");
        let found = ServiceProtocol::by_name(&word.to_ascii_lowercase());
        if found.is_some_and(ServiceProtocol::is_own) {
            self.note_own(entry);
        }
        match found {
            None => {
                let names: Vec<&str> = ServiceProtocol::ALL.iter().map(|s| s.name()).collect();
                self.wrong(
                    entry,
                    format!("one of {}", names.join(" ")),
                    "other protocols: checktype = external with a command",
                );
            }
            Some(service) if service.name() != word => self.note(
                entry,
                Deviation::UpperCase,
                format!("`{word}`"),
                "the original wants lower case; accepted here",
            ),
            Some(_) => {}
        }
        found
    }

    fn protocol(&mut self, entry: &Entry<'_>, v: &RawVirtual) -> Option<Protocol> {
        let word = entry.value.trim_matches('"').split([' ', '\t']).next().unwrap_or("").to_ascii_lowercase();
        match (&v.target, word.as_str()) {
            (Target::Mark(_), "fwm") => None,
            (Target::Mark(_), "tcp" | "udp") => {
                self.wrong(entry, "fwm, since the virtual is a firewall mark", "remove the line");
                None
            }
            (Target::Address { .. }, "tcp") => Some(Protocol::Tcp),
            (Target::Address { .. }, "udp") => Some(Protocol::Udp),
            (Target::Address { .. }, "fwm") => {
                self.wrong(entry, "tcp or udp, since the virtual is an address and port", "");
                None
            }
            _ => {
                self.wrong(entry, "tcp, udp or fwm", "");
                None
            }
        }
    }

    fn scheduler(&mut self, entry: &Entry<'_>) -> Option<String> {
        let lower = entry.value.to_ascii_lowercase();
        let name: String = lower
            .trim_start_matches(|c: char| !c.is_ascii_lowercase())
            .chars()
            .take_while(char::is_ascii_lowercase)
            .collect();
        if name.is_empty() || name.len() > 15 {
            self.wrong(entry, "a scheduler: rr, wrr, lc, wlc, lblc, lblcr, dh, sh, mh, sed, nq, fo, ovf, twos", "");
            return None;
        }
        if lower != entry.value {
            self.note(
                entry,
                Deviation::UpperCase,
                format!("`{}`", entry.value),
                "the original wants lower case; accepted here",
            );
        } else if name != lower {
            self.warn(
                entry.line,
                entry.value_column(),
                None,
                format!("scheduler = {}", clip(entry.value)),
                format!("read as `{name}`"),
            );
        }
        Some(name)
    }

    fn sched_flags(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = entry.value.trim_matches('"').split([' ', '\t']).next().unwrap_or("");
        if text.is_empty() || text.split(',').any(|flag| sched_flag_bit(flag).is_none()) {
            let expected = "flag-1, flag-2, flag-3, sh-fallback, sh-port, mh-fallback or mh-port";
            self.refuse(
                entry.line,
                entry.value_column(),
                Deviation::BadSchedFlag,
                format!("schedflags = {}", clip(entry.value)),
                expected,
                "",
            );
            return None;
        }
        Some(text.to_owned())
    }

    fn netmask(&mut self, entry: &Entry<'_>, family: Family) -> Option<Netmask> {
        let word = entry.value.trim_matches('"').split([' ', '\t']).next().unwrap_or("");
        let mask = match family {
            Family::IPv4 => word.parse().ok().map(Netmask::V4),
            Family::IPv6 => word.parse().ok().filter(|p| (1..=128).contains(p)).map(Netmask::V6),
        };
        if mask.is_none() {
            self.wrong(
                entry,
                if family == Family::IPv4 {
                    "a dotted netmask such as 255.255.255.0"
                } else {
                    "a prefix length from 1 to 128"
                },
                "",
            );
        }
        mask
    }
}

/// What the blocks' `resolve` lines say, by the line on which the block begins: it counts for `real` lines above it as well.
pub(super) fn resolves(entries: &[Entry<'_>]) -> BTreeMap<u32, Resolve> {
    let mut found = BTreeMap::new();
    let mut block = None;
    for entry in entries {
        match entry.scope {
            Scope::Start => block = Some(entry.line),
            Scope::Body if entry.name == "resolve" => {
                found.extend(block.zip(resolve(entry.value)));
            }
            Scope::Body | Scope::Global => {}
        }
    }
    found
}

fn resolve(value: &str) -> Option<Resolve> {
    match value.trim_matches('"').to_ascii_lowercase().as_str() {
        "once" => Some(Resolve::Once),
        "all" => Some(Resolve::All),
        "srv" => Some(Resolve::Srv),
        _ => None,
    }
}
