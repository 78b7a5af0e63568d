//! `ldirectord.cf` against the original's verdicts: settings, tables with all checks up and down, refusals.
//!
//! Wherever ours differs, the finding must carry a deviation of the table in `ldirectord::config`, and the set of files that
//! differ is written down here, so that it cannot grow unseen.

use crate::shared::shared;
use base::ipvs::{Family, Forward, Protocol, ServiceEntry, ServiceKey, service_flags};
use ldirectord::config::{self, *};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// Resolves the names that the cases use, as the harness of the original did.
struct Harness;

impl Environment for Harness {
    fn resolve(&mut self, host: &str, _: Family) -> Option<IpAddr> {
        let known = [("vip.example.test", "198.18.65.219"), ("rs1.example.test", "198.18.227.239")];
        known.iter().find(|(name, _)| *name == host).and_then(|(_, addr)| addr.parse().ok())
    }

    fn service_port(&mut self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        System::default().service_port(name, protocol)
    }

    fn is_directory(&mut self, path: &Path) -> bool {
        System::default().is_directory(path)
    }

    fn can_append(&mut self, path: &Path) -> Result<(), String> {
        System::default().can_append(path)
    }
}

/// Refused by the original, accepted here.
const NOW_ACCEPTED: &[&str] = &[
    "g-crlf",
    "g-indented-global",
    "g-quiescent-trailing-comment",
    "g-uppercase",
    "r-upper-forward",
    "v-blank-line-inside",
    "v-checktype-Connect",
    "v-hash-in-quotes",
    "v-indent-1",
    "v-indented-virtual",
    "v-login-unquoted",
    "v-quiescent-trailing-comment",
    "v-quoted",
    "v-request-empty",
    "v-scheduler-upper",
];

/// Accepted by the original, refused here.
const NOW_REFUSED: &[&str] = &["v-fwm-0"];

/// Accepted by both, with another meaning.
const OTHER_MEANING: &[&str] = &["g-fallback-noport", "g-fallback-with-fwm", "r-range-digits", "r-reqrecv-noweight"];

#[test]
fn every_case_as_the_original_or_in_the_table_of_deviations() {
    let Some(dir) = shared("ldirectord/edge") else { return };
    let mut seen = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    let mut failures = Vec::new();
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .filter_map(|e| e.unwrap().file_name().to_str().and_then(|n| n.strip_suffix(".cf")).map(str::to_owned))
        .collect();
    names.sort();
    assert!(names.len() > 80, "only {} cases", names.len());
    for name in &names {
        let read = |suffix: &str| std::fs::read_to_string(dir.join(format!("{name}.{suffix}"))).unwrap();
        let expect = read("expect");
        let accepted = expect.starts_with("verdict: accept");
        match (config::parse(&read("cf"), &mut Harness), accepted) {
            (Ok(ours), true) => {
                let parsed: Value = serde_json::from_str(&read("parsed.json")).unwrap();
                let mut wrong = settings(&parsed, &ours.config);
                wrong.extend(tables(&expect, &ours.config));
                let excused = has_deviation(&ours.warnings) && OTHER_MEANING.contains(&name.as_str());
                if !wrong.is_empty() && excused {
                    seen[2].insert(name.clone());
                } else if !wrong.is_empty() {
                    failures.push(format!("{name}:\n  {}", wrong.join("\n  ")));
                }
            }
            (Ok(ours), false) => {
                seen[0].insert(name.clone());
                if !has_deviation(&ours.warnings) {
                    failures.push(format!("{name}: accepted without a deviation: {:?}", ours.warnings));
                }
            }
            (Err(refused), true) => {
                seen[1].insert(name.clone());
                if !has_deviation(&refused.errors) {
                    failures.push(format!("{name}: refused without a deviation: {refused}"));
                }
            }
            (Err(refused), false) => {
                let line = expect.split("at line ").nth(1).and_then(|t| t.split(':').next()?.parse().ok());
                if line.is_some_and(|line: u32| line != refused.errors[0].line) && name != "v-duplicate" {
                    failures.push(format!("{name}: error not on line {line:?}: {refused}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for (seen, written) in seen.iter().zip([NOW_ACCEPTED, NOW_REFUSED, OTHER_MEANING]) {
        assert_eq!(seen, &written.iter().map(|n| (*n).to_owned()).collect());
    }
}

fn has_deviation(problems: &[Problem]) -> bool {
    problems.iter().any(|p| p.deviation.is_some_and(|d| DEVIATIONS.iter().any(|row| row.deviation == d)))
}

/// Compares every key that the original's settings have.
fn settings(expected: &Value, ours: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    compare("global", &expected["global"], &global_json(&ours.global), &mut wrong);
    let virtuals = expected["virtuals"].as_array().unwrap();
    if virtuals.len() != ours.virtuals.len() {
        wrong.push(format!("{} virtuals, expected {}", ours.virtuals.len(), virtuals.len()));
    }
    for (expected, v) in virtuals.iter().zip(&ours.virtuals) {
        compare("virtual", expected, &virtual_json(v), &mut wrong);
    }
    wrong
}

fn compare(at: &str, expected: &Value, ours: &Value, wrong: &mut Vec<String>) {
    match (expected, ours) {
        (Value::Object(e), Value::Object(o)) => {
            let keys: BTreeSet<&String> = e.keys().chain(o.keys()).collect();
            for key in keys {
                compare(
                    &format!("{at}.{key}"),
                    expected.get(key).unwrap_or(&Value::Null),
                    ours.get(key).unwrap_or(&Value::Null),
                    wrong,
                );
            }
        }
        (Value::Array(e), Value::Array(o)) if e.len() == o.len() => {
            e.iter().zip(o).for_each(|(e, o)| compare(at, e, o, wrong));
        }
        (e, o) if text(e) == text(o) => {}
        (e, o) => wrong.push(format!("{at}: {o}, the original has {e}")),
    }
}

/// The original's dump mixes numbers and texts.
fn text(value: &Value) -> String {
    value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string())
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn global_json(g: &Global) -> Value {
    let when = g.alert.when;
    let bits = [when.starting, when.running, when.stopping, when.reloading];
    let status: u32 = bits.iter().enumerate().map(|(i, on)| u32::from(*on) << i).sum();
    let log = match &g.log {
        LogTarget::File(path) if path == Path::new(DEFAULT_LOG) => "ldirectord.log".to_owned(),
        LogTarget::File(path) => path.display().to_string(),
        LogTarget::Syslog(facility) => facility.clone(),
    };
    json!({
        "autoreload": yes(g.autoreload), "callback": g.callback, "checkcount": g.check_count, "checkinterval": g.check_interval_ms / 1_000,
        "checktimeout": g.check_timeout_ms.map_or(-1, |ms| i64::from(ms) / 1_000), "negotiatetimeout": g.negotiate_timeout_ms.map_or(-1, |ms| i64::from(ms) / 1_000),
        "cleanstop": yes(g.clean_stop), "emailalert": g.alert.to, "emailalertfreq": g.alert.frequency_s, "emailalertfrom": g.alert_from,
        "emailalertstatus": status, "execute": g.execute, "failurecount": g.failure_count, "fallbackcommand": g.fallback_command,
        "fork": yes(g.fork), "logfile": log, "maintenancedir": g.maintenance_dir, "quiescent": yes(g.quiescent),
        "readdquiescent": yes(g.readd_quiescent), "smtp": g.alert.smtp_host, "supervised": yes(g.supervised),
    })
}

fn virtual_json(v: &Virtual) -> Value {
    let (check_type, connects) = match v.check_type {
        CheckType::Combined(n) => ("combined".to_owned(), n),
        other => (other.to_string(), 0),
    };
    let (fwm, server, protocol) = match v.key {
        ServiceKey::Fwmark { mark, .. } => (json!(mark), Value::Null, "fwm"),
        ServiceKey::Address { addr, protocol, .. } => (Value::Null, json!(bracketed(addr)), protocol_name(protocol)),
    };
    let fallback =
        v.fallback.map(|f| json!({"server": bracketed(f.addr), "port": f.port, "forward": f.forward.name()}));
    let netmask = v.netmask.map(|m| match m {
        Netmask::V4(mask) => mask.to_string(),
        Netmask::V6(prefix) => prefix.to_string(),
    });
    json!({
        "af": if v.family() == Family::IPv4 { 4 } else { 6 }, "checkcommand": v.check_command, "checkcount": v.check_count,
        "checktimeout": v.check_timeout_ms / 1_000, "negotiatetimeout": v.negotiate_timeout_ms / 1_000, "checktype": check_type, "num_connects": connects,
        "checkinterval": v.own_interval.then_some(v.check_interval_ms / 1_000), "database": v.database, "effective_fallback": fallback,
        "failurecount": v.failure_count, "flags": flags(v), "fwm": fwm, "server": server, "port": v.port(), "protocol": protocol,
        "httpmethod": if v.http_method == HttpMethod::Get { "GET" } else { "HEAD" }, "load": v.load, "login": v.login, "netmask": netmask,
        "ops": yes(v.ops), "persistent": v.persistent_s, "receive": v.receive, "request": v.request, "schedflags": v.sched_flags,
        "scheduler": v.scheduler, "service": v.service.name(), "real": v.reals.iter().map(|r| real_json(v, r)).collect::<Vec<_>>(),
    })
}

fn real_json(v: &Virtual, r: &Real) -> Value {
    json!({
        "server": bracketed(r.addr), "port": r.port, "forward": r.forward.name(), "weight": r.weight, "request": r.request,
        "receive": r.receive, "url": v.url(r), "l-threshold": r.lower_threshold, "u-threshold": r.upper_threshold,
    })
}

fn protocol_name(protocol: Protocol) -> &'static str {
    if protocol == Protocol::Udp { "udp" } else { "tcp" }
}

/// The options that the original hands to ipvsadm.
fn flags(v: &Virtual) -> String {
    let service = v.ipvs_service();
    let mut out = match v.key {
        ServiceKey::Fwmark { mark, family: Family::IPv4 } => format!("-f {mark} "),
        ServiceKey::Fwmark { mark, family: Family::IPv6 } => format!("-f {mark} -6 "),
        ServiceKey::Address { protocol: Protocol::Udp, .. } => format!("-u {} ", service_label(&v.key)),
        ServiceKey::Address { .. } => format!("-t {} ", service_label(&v.key)),
    };
    if service.flags & service_flags::ONE_PACKET != 0 {
        out += "-o ";
    }
    out += &format!("-s {} ", service.scheduler);
    if let Some(flags) = &v.sched_flags {
        out += &format!("-b {flags} ");
    }
    if service.flags & service_flags::PERSISTENT != 0 {
        out += &format!("-p {} ", service.timeout_s);
        if let Some(Netmask::V4(mask)) = v.netmask {
            out += &format!("-M {mask} ");
        }
    }
    out
}

/// Compares both tables, row by row, with runs of blanks as one.
fn tables(expect: &str, config: &Config) -> Vec<String> {
    let mut wrong = Vec::new();
    for (title, up) in [("--- table, all checks up", true), ("--- table, all checks down", false)] {
        let section = expect.split(title).nth(1).and_then(|t| t.split("\n---").next()).unwrap_or("");
        let wanted: Vec<String> = section.lines().skip(4).map(squeeze).filter(|l| !l.is_empty()).collect();
        let ours = rows(&ldirectord::plan::assumed(config, up));
        if wanted != ours {
            wrong.push(format!("{title}: {ours:?}, the original has {wanted:?}"));
        }
    }
    wrong
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn rows(entries: &[ServiceEntry]) -> Vec<String> {
    let mut sorted: Vec<&ServiceEntry> = entries.iter().collect();
    sorted.sort_by_key(|e| match e.service.key {
        ServiceKey::Address { protocol, addr, port } => {
            (0, Family::of(addr), protocol as u32, Some(addr), u32::from(port))
        }
        ServiceKey::Fwmark { mark, family } => (mark, family, 0, None, 0),
    });
    let mut out = Vec::new();
    for entry in sorted {
        out.push(squeeze(&service_row(entry)));
        for d in &entry.dests {
            let forward = match d.dest.forward {
                Forward::Masq => "Masq",
                Forward::Tunnel => "Tunnel",
                _ => "Route",
            };
            out.push(format!("-> {}:{} {forward} {} 0 0", bracketed(d.dest.key.addr), d.dest.key.port, d.dest.weight));
        }
    }
    out
}

fn service_row(entry: &ServiceEntry) -> String {
    let s = &entry.service;
    let mut row = match s.key {
        ServiceKey::Fwmark { mark, family: Family::IPv4 } => format!("FWM {mark} {}", s.scheduler),
        ServiceKey::Fwmark { mark, family: Family::IPv6 } => format!("FWM {mark} IPv6 {}", s.scheduler),
        ServiceKey::Address { protocol, .. } => {
            format!("{} {} {}", protocol_name(protocol).to_uppercase(), service_label(&s.key), s.scheduler)
        }
    };
    if s.flags & (service_flags::SCHED1 | service_flags::SCHED2) != 0 {
        row += " (sh-port,sh-fallback)";
    }
    if s.flags & service_flags::PERSISTENT != 0 {
        row += &format!(" persistent {}", s.timeout_s);
        if s.netmask != u32::MAX && s.key.family() == Family::IPv4 {
            row += &format!(" mask {}", std::net::Ipv4Addr::from(s.netmask));
        }
    }
    if s.flags & service_flags::ONE_PACKET != 0 {
        row += " ops";
    }
    row
}
