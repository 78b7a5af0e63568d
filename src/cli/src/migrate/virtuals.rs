//! `virtual_server` and `virtual_server_group`, as `virtual` blocks.

use super::blocks::Stmt;
use super::checks::{self, Check, Defaults};
use super::report::{Place, Report};
use crate::appliance::cf::{self, Block};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Without a number after `persistence_timeout`.
const PERSISTENCE_S: u32 = 360;
/// Unless `delay_loop` says otherwise.
const DELAY_S: &str = "60";
/// Addresses that one line may stand for.
const MAX_RANGE: u128 = 1024;
const SCHEDULERS: [&str; 14] =
    ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq", "twos"];
const FLAGS: [&str; 7] = ["flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback"];

/// A block, and by which address it belongs to a group; a mark has none.
#[derive(Clone, Debug)]
pub struct Service {
    pub block: Block,
    pub addr: Option<IpAddr>,
    pub at: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Place(IpAddr, u16),
    Mark(u32, bool),
}

type Groups = BTreeMap<String, Vec<Target>>;

/// Mail of the whole file, which virtuals ask for.
pub fn services(all: &[Stmt], mail: &str, report: &mut Report) -> Vec<Service> {
    let mut groups = Groups::new();
    for group in all.iter().filter(|s| s.keyword() == "virtual_server_group") {
        let targets: Vec<Target> = group.body().iter().flat_map(|s| target_line(s, report)).collect();
        report.maps(
            &group.at,
            &group.shown(),
            format!("{} virtual services for each virtual_server of it", targets.len()),
        );
        groups.insert(group.value().to_owned(), targets);
    }
    let of = all.iter().filter(|s| s.keyword() == "virtual_server");
    of.flat_map(|s| virtual_server(s, &groups, mail, report)).collect()
}

/// An address or range with a port, or a mark.
fn target_line(stmt: &Stmt, report: &mut Report) -> Vec<Target> {
    let words: Vec<&str> = stmt.words.iter().map(String::as_str).collect();
    let found = match words.as_slice() {
        ["fwmark", mark, family @ ..] => mark.parse().ok().map(|m| vec![Target::Mark(m, family == ["inet6"])]),
        [range] => addresses(range).map(|a| a.into_iter().map(|a| Target::Place(a, 0)).collect()),
        [range, port] => addresses(range)
            .zip(port.parse().ok())
            .map(|(a, port)| a.into_iter().map(|a| Target::Place(a, port)).collect()),
        _ => None,
    };
    found.unwrap_or_else(|| {
        report.cannot(&stmt.at, &stmt.shown(), "expected an address or range with a port, or fwmark NUMBER");
        Vec::new()
    })
}

/// `10.0.0.1`, `10.0.0.1-9`, `10.0.0.1-10.0.0.9`, `10.0.0.0/29`.
fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    let number = |a: IpAddr| match a {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    };
    let back = |n: u128, v4: bool| match v4 {
        true => u32::try_from(n).ok().map(|n| IpAddr::V4(Ipv4Addr::from_bits(n))),
        false => Some(IpAddr::V6(Ipv6Addr::from_bits(n))),
    };
    let (first, last, v4) = if let Some((base, bits)) = text.split_once('/') {
        let base: IpAddr = base.parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let size = 1u128.checked_shl(u32::from(width - bits.parse::<u8>().ok().filter(|b| *b <= width)?))?;
        (number(base), number(base).checked_add(size - 1)?, base.is_ipv4())
    } else if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.parse().ok()?;
        let last = match last.parse::<IpAddr>() {
            Ok(last) => number(last),
            Err(_) if first.is_ipv4() => number(first) & !0xff | u128::from(last.parse::<u8>().ok()?),
            Err(_) => number(first) & !0xffff | u128::from(u16::from_str_radix(last, 16).ok()?),
        };
        (number(first), last, first.is_ipv4())
    } else {
        let one: IpAddr = text.parse().ok()?;
        (number(one), number(one), one.is_ipv4())
    };
    let count = last.checked_sub(first)?;
    if count >= MAX_RANGE {
        return None;
    }
    (first..=last).map(|n| back(n, v4)).collect()
}

/// What a virtual server's lines say, before they are written for each of its targets.
struct Reading<'a> {
    block: Block,
    defaults: Defaults,
    method: &'static str,
    protocol: &'static str,
    delay: Option<String>,
    weight: u32,
    inhibit: bool,
    flags: Vec<&'a str>,
    persistent: Option<u32>,
    granularity: Option<String>,
    sorry: Option<(&'a Stmt, IpAddr, Option<u16>)>,
    sorry_method: Option<&'static str>,
}

fn virtual_server(stmt: &Stmt, groups: &Groups, mail: &str, report: &mut Report) -> Vec<Service> {
    let words: Vec<&str> = stmt.rest().iter().map(String::as_str).collect();
    let targets = match words.as_slice() {
        ["group", name] => match groups.get(*name) {
            Some(targets) => targets.clone(),
            None => {
                report.cannot(&stmt.at, &stmt.shown(), "there is no such virtual_server_group");
                return Vec::new();
            }
        },
        ["fwmark", mark] => {
            let six = stmt.child("ip_family").is_some_and(|s| s.value() == "inet6")
                || stmt.children("real_server").any(|r| r.value().contains(':'));
            match mark.parse() {
                Ok(mark) => vec![Target::Mark(mark, six)],
                Err(_) => Vec::new(),
            }
        }
        [addr] => addr.parse().ok().map(|a| Target::Place(a, 0)).into_iter().collect(),
        [addr, port] => {
            addr.parse().ok().zip(port.parse().ok()).map(|(a, p)| Target::Place(a, p)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    if targets.is_empty() {
        report.cannot(&stmt.at, &stmt.shown(), "expected ADDRESS PORT, fwmark NUMBER or group NAME with entries");
        return Vec::new();
    }
    let reading = read(stmt, mail, report);
    if reading.protocol.is_empty() {
        return Vec::new();
    }
    let written: Vec<Service> = targets.iter().filter_map(|t| written(stmt, t, &reading, report)).collect();
    let keys: Vec<&str> = written.iter().map(|s| s.block.key.as_str()).collect();
    report.maps(&stmt.at, &stmt.shown(), format!("virtual = {}", keys.join(", ")));
    written
}

fn method(words: &[String]) -> Option<&'static str> {
    match words.first().map(|w| w.to_uppercase()).as_deref() {
        Some("NAT") => Some("masq"),
        Some("DR") => Some("gate"),
        Some("TUN") if words.len() == 1 || words.get(2).is_some_and(|t| t == "ipip") => Some("ipip"),
        _ => None,
    }
}

fn read<'a>(stmt: &'a Stmt, mail: &str, report: &mut Report) -> Reading<'a> {
    let mut r = Reading {
        block: Block::default(),
        defaults: Defaults::default(),
        method: "masq",
        protocol: "tcp",
        delay: None,
        weight: 1,
        inhibit: false,
        flags: Vec::new(),
        persistent: None,
        granularity: None,
        sorry: None,
        sorry_method: None,
    };
    for s in stmt.body() {
        line(s, mail, &mut r, report);
    }
    if stmt.child("protocol").is_none() && stmt.value() != "fwmark" {
        let why = "no protocol: written as tcp, as it was meant for long; keepalived 2.2 warns and takes UDP";
        report.differs(&stmt.at, &stmt.shown(), why);
    }
    r
}

fn line<'a>(s: &'a Stmt, mail: &str, r: &mut Reading<'a>, report: &mut Report) {
    let (shown, value) = (s.shown(), s.value());
    let mut said = |to: String| report.maps(&s.at, &shown, to);
    match s.keyword() {
        "lb_algo" | "lvs_sched" if SCHEDULERS.contains(&value) => {
            said(format!("scheduler = {value}"));
            r.block.set("scheduler", value);
        }
        "lb_algo" | "lvs_sched" => report.cannot(&s.at, &shown, "no scheduler of the kernel; wrr is the default"),
        "lb_kind" | "lvs_method" => match method(s.rest()) {
            Some(method) => {
                said(method.to_owned());
                r.method = method;
            }
            None => report.cannot(&s.at, &shown, "gate, masq and ipip there are; taken as masq"),
        },
        "protocol" => match value.to_uppercase().as_str() {
            "TCP" => said("protocol = tcp".to_owned()),
            "UDP" => {
                said("protocol = udp".to_owned());
                r.protocol = "udp";
            }
            _ => {
                report.cannot(&s.at, &shown, "tcp and udp there are: the service is left out");
                r.protocol = "";
            }
        },
        "delay_loop" => match checks::seconds(value) {
            Some(time) => {
                said(format!("checkinterval = {time}"));
                r.delay = Some(time);
            }
            None => report.cannot(&s.at, &shown, "expected seconds"),
        },
        "persistence_timeout" => persistence(s, r, report),
        "persistence_granularity" => {
            said(format!("netmask = {value}"));
            r.granularity = Some(value.to_owned());
        }
        "ops" => {
            said("ops = yes".to_owned());
            r.block.set("ops", "yes");
        }
        flag if FLAGS.contains(&flag) => {
            said(format!("schedflags = {flag}"));
            r.flags.push(flag);
        }
        "virtualhost" => {
            said(format!("virtualhost = {value}, where the check has none"));
            r.defaults.virtual_host = Some(value.to_owned());
        }
        "alpha" => said("a server gets no weight before a passed check".to_owned()),
        "retry" => r.defaults.retry = value.parse().ok().inspect(|n| said(format!("failurecount = {}", n + 1))),
        "connect_timeout" => {
            r.defaults.timeout = checks::seconds(value).inspect(|t| said(format!("checktimeout = {t}")))
        }
        "weight" => r.weight = value.parse().unwrap_or(1),
        "inhibit_on_failure" => {
            said("quiescent = yes".to_owned());
            r.inhibit = true;
        }
        "sorry_server" => sorry(s, r, report),
        "sorry_server_lvs_method" => r.sorry_method = method(s.rest()).inspect(|m| said((*m).to_owned())),
        "smtp_alert" if !mail.is_empty() && !["off", "no", "false"].contains(&value) => {
            said(format!("emailalert = {mail}"));
            r.block.set("emailalert", format!("\"{mail}\""));
        }
        "real_server" => {}
        _ => odd(s, report),
    }
}

fn persistence(s: &Stmt, r: &mut Reading<'_>, report: &mut Report) {
    match s.value().parse() {
        Ok(0) => {
            report.differs(&s.at, &s.shown(), "no persistence (keepalived complains of the 0, and has none either)");
        }
        time => {
            let time = time.unwrap_or(PERSISTENCE_S);
            report.maps(&s.at, &s.shown(), format!("persistent = {time}"));
            r.persistent = Some(time);
        }
    }
}

fn sorry<'a>(s: &'a Stmt, r: &mut Reading<'a>, report: &mut Report) {
    match s.value().parse() {
        Ok(addr) => {
            report.maps(&s.at, &s.shown(), "fallback");
            r.sorry = Some((s, addr, s.rest().get(1).and_then(|p| p.parse().ok())));
        }
        Err(_) => report.cannot(&s.at, &s.shown(), "expected an address and a port"),
    }
}

/// Lines that become nothing, and why.
fn odd(s: &Stmt, report: &mut Report) {
    let shown = s.shown();
    match s.keyword() {
        "net_mask" => report.differs(&s.at, &shown, "left out: keepalived does not know it either"),
        "nat_mask" => report.differs(&s.at, &shown, "left out: it has had no meaning for long"),
        "ha_suspend" => report.differs(
            &s.at,
            &shown,
            "left out: the table is in the group of its addresses; the standby checks as well",
        ),
        "delay_before_retry" => report.differs(&s.at, &shown, "left out: the next check comes after checkinterval"),
        "warmup" => report.differs(&s.at, &shown, "left out: checks are spread anyway"),
        "snmp_name" => report.differs(&s.at, &shown, "left out: metrics name the service by its address"),
        "smtp_alert" | "no_smtp_alert" => report.differs(&s.at, &shown, "no mail from this service"),
        "quorum" if s.value() == "1" => report.maps(&s.at, &shown, "the fallback comes when no server is up"),
        "quorum" => report.cannot(&s.at, &shown, "the fallback comes when no server is up, not before"),
        "hysteresis" => {
            report.differs(&s.at, &shown, "left out: see quorum; flaps of a server: flapchanges, flapwindow, flaphold")
        }
        "quorum_up" | "quorum_down" => {
            report.cannot(
                &s.at,
                &shown,
                "fallbackcommand runs with 'start' and 'stop' when the fallback comes and goes",
            );
        }
        "omega" => report.differs(&s.at, &shown, "left out: cleanstop says what a director that stops leaves"),
        "persistence_engine" => report.cannot(&s.at, &shown, "persistence is by the client's address"),
        "ip_family" => report.maps(&s.at, &shown, "virtual or virtual6"),
        "sorry_server_inhibit" => {
            report.differs(&s.at, &shown, "left out: the fallback is taken out when a server is back")
        }
        _ => report.cannot(&s.at, &shown, "not known within virtual_server"),
    }
}

/// The block of one target.
fn written(stmt: &Stmt, target: &Target, r: &Reading<'_>, report: &mut Report) -> Option<Service> {
    let mut block = r.block.clone();
    let (addr, port) = match target {
        Target::Place(addr, port) => {
            block.key = cf::place(*addr, *port);
            block.is_v6 = addr.is_ipv6();
            (Some(*addr), *port)
        }
        Target::Mark(mark, six) => {
            block.key = mark.to_string();
            block.is_v6 = *six;
            (None, 0)
        }
    };
    if port == 0 && addr.is_some() {
        report.cannot(
            &stmt.at,
            &stmt.shown(),
            "a service of all ports is one by a mark: fwmark here, and ocf:bascule:fwmark in the group",
        );
        return None;
    }
    let (mut check, mut inhibited) = (None::<(Check, Place)>, 0);
    let mut reals = 0;
    for s in stmt.children("real_server") {
        let Some((line, own, quiet)) = real(s, port, &block, r, report) else { continue };
        block.reals.push(line);
        reals += 1;
        inhibited += usize::from(quiet);
        match (&check, own) {
            (None, Some(own)) => check = Some((own, s.at.clone())),
            (Some((first, at)), Some(own)) if *first != own => report.cannot(
                &s.at,
                &s.shown(),
                format!("checked as the server of line {}: one check for each virtual service", at.line),
            ),
            (Some((_, at)), None) => {
                report.differs(&s.at, &s.shown(), format!("checked as the server of line {}", at.line));
            }
            _ => {}
        }
    }
    match check {
        Some((check, _)) => block.lines.extend(check.lines),
        None => {
            block.set("checktype", "on");
            report.differs(&stmt.at, &stmt.shown(), "checktype = on: no server has a checker, all count as up");
        }
    }
    finish(stmt, &mut block, r, addr.is_some(), (reals, inhibited), report);
    Some(Service { block, addr, at: stmt.at.clone() })
}

fn finish(
    stmt: &Stmt,
    block: &mut Block,
    r: &Reading<'_>,
    with_protocol: bool,
    (reals, inhibited): (usize, usize),
    report: &mut Report,
) {
    block.set("checkinterval", r.delay.clone().unwrap_or_else(|| DELAY_S.to_owned()));
    let quiet = reals > 0 && inhibited == reals;
    if inhibited > 0 && !quiet {
        report.cannot(
            &stmt.at,
            &stmt.shown(),
            "inhibit_on_failure of some servers: quiescent is of the whole service; taken as no",
        );
    }
    block.set("quiescent", if quiet { "yes" } else { "no" });
    if let Some(time) = r.persistent {
        block.set("persistent", time.to_string());
        block.lines.extend(r.granularity.clone().map(|mask| ("netmask", mask)));
    }
    if !r.flags.is_empty() {
        block.set("schedflags", r.flags.join(","));
    }
    if with_protocol {
        block.set("protocol", r.protocol);
    }
    if let Some((s, addr, port)) = r.sorry {
        match addr.is_ipv4() != block.is_v6 {
            true => {
                let place = port.map_or_else(|| addr.to_string(), |port| cf::place(addr, port));
                let name = if block.is_v6 { "fallback6" } else { "fallback" };
                // On the director itself nothing is forwarded.
                let method = if addr.is_loopback() { "gate" } else { r.sorry_method.unwrap_or(r.method) };
                block
                    .lines
                    .push((if name == "fallback" { "fallback" } else { "fallback6" }, format!("{place} {method}")));
            }
            false => report.cannot(&s.at, &s.shown(), "a fallback of the other family"),
        }
    }
}

/// The line of a server, its check, and whether it stays in the table when it is down.
fn real(
    s: &Stmt,
    port: u16,
    block: &Block,
    r: &Reading<'_>,
    report: &mut Report,
) -> Option<(String, Option<Check>, bool)> {
    let addr: Option<IpAddr> = s.value().parse().ok();
    let Some(addr) = addr.filter(|a| a.is_ipv6() == block.is_v6) else {
        report.cannot(&s.at, &s.shown(), "expected an address of the service's family");
        return None;
    };
    let own = s.rest().get(1).and_then(|p| p.parse::<u16>().ok()).filter(|p| *p > 0).unwrap_or(port);
    let (mut how, mut weight, mut limits, mut quiet) = (r.method, r.weight, String::new(), r.inhibit);
    let mut defaults = r.defaults.clone();
    let mut checks: Vec<&Stmt> = Vec::new();
    for line in s.body() {
        let (shown, value) = (line.shown(), line.value());
        match line.keyword() {
            "weight" => match value.parse::<u32>() {
                Ok(n) => weight = n,
                Err(_) => report.cannot(&line.at, &shown, "expected a number"),
            },
            "lvs_method" | "lb_kind" => match method(line.rest()) {
                Some(method) => how = method,
                None => report.cannot(&line.at, &shown, "gate, masq and ipip there are"),
            },
            "uthreshold" => limits += &format!(" u:{value}"),
            "lthreshold" => limits = format!(" l:{value}{limits}"),
            "inhibit_on_failure" => quiet = !["off", "no", "false"].contains(&value),
            "virtualhost" => defaults.virtual_host = Some(value.to_owned()),
            "retry" => defaults.retry = value.parse().ok(),
            "connect_timeout" => defaults.timeout = checks::seconds(value),
            "notify_up" | "notify_down" => report.cannot(
                &line.at,
                &shown,
                "no script for each server: monitorfile keeps a log of them, emailalert tells people, bascule events programs",
            ),
            "smtp_alert" => report.differs(&line.at, &shown, "mail is of the whole service: emailalert"),
            "alpha" | "warmup" | "delay_before_retry" | "delay_loop" | "snmp_name" => {
                report.differs(&line.at, &shown, "left out: the service's own holds");
            }
            keyword if checks::is(keyword) => checks.push(line),
            _ => report.cannot(&line.at, &shown, "not known within real_server"),
        }
    }
    for more in checks.iter().skip(1) {
        report.cannot(&more.at, &more.shown(), "one check for each virtual service: the first");
    }
    let check = checks.first().and_then(|c| checks::check(c, &defaults, report));
    let place = if own == 0 { addr.to_string() } else { cf::place(addr, own) };
    if how != "masq" && own != port && port != 0 {
        report.cannot(&s.at, &s.shown(), format!("{how} cannot change the port: the kernel leaves it at {port}"));
    }
    let line = format!("{place} {how} {weight}{limits}");
    report.maps(&s.at, &s.shown(), format!("real = {line}"));
    Some((line, check, quiet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_for_their_addresses() {
        let count = |text: &str| addresses(text).map(|a| (a.len(), a[0].to_string(), a[a.len() - 1].to_string()));
        let is = |n, a: &str, b: &str| Some((n, a.to_owned(), b.to_owned()));
        assert_eq!(count("10.0.0.1"), is(1, "10.0.0.1", "10.0.0.1"));
        assert_eq!(count("10.0.0.1-9"), is(9, "10.0.0.1", "10.0.0.9"));
        assert_eq!(count("10.0.0.250-10.0.1.5"), is(12, "10.0.0.250", "10.0.1.5"));
        assert_eq!(count("10.0.0.8/29"), is(8, "10.0.0.8", "10.0.0.15"));
        assert_eq!(count("2001:db8::1-f"), is(15, "2001:db8::1", "2001:db8::f"));
        for bad in ["10.0.0.9-1", "10.0.0.0/8", "x", "10.0.0.1/33", "::1-zz"] {
            assert_eq!(count(bad), None, "{bad}");
        }
    }
}
