//! From raw settings to the typed configuration: defaults, inheritance, and what only the whole block can tell.

use super::parser::Parser;
use super::problem::Deviation;
use super::raw::{Common, RawGlobal, RawVirtual, Target};
use super::real::with_slash;
use super::types::*;
use crate::pattern::Pattern;
use base::Text;
use base::ipvs::{Family, Protocol, ServiceKey};
use std::collections::BTreeSet;
use std::path::PathBuf;

pub const DEFAULT_LOG: &str = "/var/log/ldirectord.log";

pub(super) fn finish(parser: &mut Parser<'_>) -> Config {
    let raw_global = std::mem::take(&mut parser.global);
    let raw_virtuals = std::mem::take(&mut parser.virtuals);
    parser.own_notes(1, &raw_global.common.own, raw_global.common.failure_count);
    let mut seen = BTreeSet::new();
    let mut virtuals = Vec::with_capacity(raw_virtuals.len());
    for raw in raw_virtuals {
        let (line, column) = (raw.line, raw.column);
        if let Some(v) = finish_virtual(parser, raw, &raw_global) {
            if !seen.insert(v.key) {
                parser.error(
                    line,
                    column,
                    format!("virtual service {}", service_id(&v.key)),
                    "each service once in a file",
                    "join the two blocks",
                );
            }
            virtuals.push(v);
        }
    }
    Config { global: finish_global(raw_global), virtuals }
}

fn finish_global(raw: RawGlobal) -> Global {
    let alert = alert(&Common::default(), &raw.common);
    Global {
        check_timeout_ms: raw.common.check_timeout_ms,
        negotiate_timeout_ms: raw.common.negotiate_timeout_ms,
        check_interval_ms: raw.common.check_interval_ms.unwrap_or(10_000),
        check_count: raw.common.check_count.unwrap_or(1),
        failure_count: raw.common.own.fall.or(raw.common.failure_count).unwrap_or(1),
        autoreload: raw.autoreload.unwrap_or(false),
        callback: raw.callback,
        fallback_command: raw.common.fallback_command,
        log: raw.log.unwrap_or_else(|| LogTarget::File(PathBuf::from(DEFAULT_LOG))),
        alert,
        alert_from: raw.alert_from,
        execute: raw.execute,
        supervised: raw.supervised.unwrap_or(false),
        fork: raw.fork.unwrap_or(false),
        quiescent: raw.common.quiescent.unwrap_or(false),
        readd_quiescent: raw.readd_quiescent.unwrap_or(false),
        clean_stop: raw.common.clean_stop.unwrap_or(true),
        maintenance_dir: raw.maintenance_dir,
    }
}

fn alert(own: &Common, global: &Common) -> Alert {
    Alert {
        to: own.alert_to.clone().or_else(|| global.alert_to.clone()).unwrap_or_default(),
        frequency_s: own.alert_frequency_s.or(global.alert_frequency_s).unwrap_or(0),
        when: own.alert_status.or(global.alert_status).unwrap_or_default(),
        smtp_host: own.smtp.clone().or_else(|| global.smtp.clone()),
    }
}

/// virtual check, virtual negotiate, global check, global negotiate, default; and the other way round.
fn timeouts(own: &Common, global: &Common) -> (u32, u32) {
    let check = own
        .check_timeout_ms
        .or(own.negotiate_timeout_ms)
        .or(global.check_timeout_ms)
        .or(global.negotiate_timeout_ms)
        .unwrap_or(5_000);
    let negotiate = own
        .negotiate_timeout_ms
        .or(own.check_timeout_ms)
        .or(global.negotiate_timeout_ms)
        .or(global.check_timeout_ms)
        .unwrap_or(30_000);
    (check, negotiate)
}

/// Each scope's own `fall` is stronger than its `failurecount`, and the virtual is stronger than the file.
fn fall(own: &Common, global: &Common) -> u32 {
    own.own.fall.or(own.failure_count).or(global.own.fall).or(global.failure_count).unwrap_or(1)
}

fn key(parser: &mut Parser<'_>, raw: &RawVirtual) -> Option<ServiceKey> {
    let (addr, text) = match &raw.target {
        Target::Mark(mark) => return Some(ServiceKey::Fwmark { mark: *mark, family: raw.family }),
        Target::Address { addr, port } => (*addr, port),
    };
    let protocol = raw.protocol.unwrap_or(if text == "53" || text == "domain" { Protocol::Udp } else { Protocol::Tcp });
    let numeric = text.bytes().all(|b| b.is_ascii_digit());
    let port = if numeric { text.parse().ok() } else { parser.env.service_port(text, Some(protocol)) };
    match port {
        Some(port) => Some(ServiceKey::Address { protocol, addr, port }),
        None => {
            parser.error(
                raw.line,
                raw.column,
                format!("port `{text}` of the virtual"),
                "a number from 0 to 65535 or a service name of /etc/services",
                "",
            );
            None
        }
    }
}

fn finish_virtual(parser: &mut Parser<'_>, mut raw: RawVirtual, global: &RawGlobal) -> Option<Virtual> {
    let key = key(parser, &raw)?;
    let common = &global.common;
    let (check_timeout_ms, negotiate_timeout_ms) = timeouts(&raw.common, common);
    let port = match key {
        ServiceKey::Address { port, .. } => port,
        ServiceKey::Fwmark { .. } => 0,
    };
    let fallback = match raw.family {
        Family::IPv4 => raw.common.fallback.or(common.fallback),
        Family::IPv6 => raw.common.fallback6.or(common.fallback6),
    };
    let service = raw.service.unwrap_or_else(|| ServiceProtocol::by_port(port));
    notes(parser, &raw, global, &key);
    let check_interval_ms = raw.common.check_interval_ms.or(common.check_interval_ms).unwrap_or(10_000);
    let request = with_slash(raw.request.as_deref().unwrap_or("/"));
    let receive = raw.receive.as_ref().map(|(text, ..)| text.clone()).unwrap_or_default();
    let reals = reals(parser, &mut raw, &request, &receive);
    Some(Virtual {
        line: raw.line,
        lines: std::mem::take(&mut raw.lines).into_boxed_slice(),
        key,
        reals,
        check_type: raw.check_type.unwrap_or(CheckType::Negotiate),
        service,
        scheduler: raw.scheduler.unwrap_or_else(|| "wrr".to_owned()),
        sched_flags: raw.sched_flags,
        persistent_s: raw.persistent_s,
        netmask: raw.netmask.map(|(mask, _)| mask),
        ops: raw.ops.unwrap_or(false),
        check_port: raw.check_port,
        check_timeout_ms,
        negotiate_timeout_ms,
        check_interval_ms,
        own_interval: raw.common.check_interval_ms.is_some(),
        check_count: raw.common.check_count.or(common.check_count).unwrap_or(1),
        failure_count: fall(&raw.common, common),
        tuning: raw.common.own.settle(&common.own, check_interval_ms),
        check_command: raw.check_command.unwrap_or_else(|| "/bin/true".to_owned()),
        request,
        receive,
        http_method: raw.http_method.unwrap_or(HttpMethod::Get),
        virtual_host: raw.virtual_host,
        redirects: raw.redirects.unwrap_or_default(),
        resolve: raw.resolve,
        tls_verify: raw.tls_verify.unwrap_or(raw.tls_ca_file.is_some()),
        tls_ca_file: raw.tls_ca_file,
        sql_tls: raw.sql_tls.unwrap_or(false),
        source_addr: raw.source_addr.or_else(|| common.own.source_for(raw.family)),
        login: raw.login.unwrap_or_default(),
        passwd: raw.passwd.unwrap_or_default(),
        database: raw.database.unwrap_or_default(),
        secret: raw.secret.unwrap_or_default(),
        load: raw.load,
        fallback: fallback.map(|f| Fallback { addr: f.addr, port: f.port.unwrap_or(port), forward: f.method }),
        fallback_command: raw.common.fallback_command.clone().or_else(|| common.fallback_command.clone()),
        quiescent: raw.common.quiescent.or(common.quiescent).unwrap_or(false),
        clean_stop: raw.common.clean_stop.or(common.clean_stop).unwrap_or(true),
        alert: alert(&raw.common, common),
        monitor_file: raw.monitor_file,
        service_name: raw.service_name,
        comment: raw.comment,
    })
}

/// Reals with the block's request and receive where the line has none of its own; patterns are tried once here.
fn reals(parser: &mut Parser<'_>, raw: &mut RawVirtual, request: &str, receive: &str) -> Vec<Real> {
    if let Some((text, line, column)) = &raw.receive {
        pattern(parser, text, *line, *column);
    }
    let (request, receive) = (Text::from(request), Text::from(receive));
    let mut out = std::mem::take(&mut raw.reals);
    out.shrink_to_fit();
    let mut tried = Text::default();
    for (real, own) in out.iter_mut().zip(&raw.own_request) {
        if !own {
            real.request.clone_from(&request);
            real.receive.clone_from(&receive);
        } else if real.receive != tried {
            pattern(parser, &real.receive, real.line, 1);
            tried.clone_from(&real.receive);
        }
    }
    out
}

fn pattern(parser: &mut Parser<'_>, text: &str, line: u32, column: u32) {
    if let Err(why) = Pattern::new(text) {
        parser.refuse(
            line,
            column,
            Deviation::BadPattern,
            format!("receive pattern `{}`", super::parser::clip(text)),
            format!("a regular expression ({why})"),
            "",
        );
    }
}

fn notes(parser: &mut Parser<'_>, raw: &RawVirtual, global: &RawGlobal, key: &ServiceKey) {
    parser.own_notes(raw.line, &raw.common.own, raw.common.failure_count);
    if raw.common.check_interval_ms.is_some() && global.fork != Some(true) {
        let expected = "the original ignores it unless fork=yes; it acts here";
        parser.warn(
            raw.line,
            raw.column,
            Some(Deviation::IntervalInBlock),
            format!("checkinterval in {}", service_id(key)),
            expected,
        );
    }
    if let (Some((_, line)), None) = (raw.netmask, raw.persistent_s) {
        parser.warn(line, 1, Some(Deviation::EmptyMask), "netmask without persistent", "it has no effect");
    }
    if let ServiceKey::Fwmark { .. } = key
        && raw.common.fallback.is_none()
        && raw.common.fallback6.is_none()
        && (if raw.family == Family::IPv4 {
            global.common.fallback.is_some()
        } else {
            global.common.fallback6.is_some()
        })
    {
        let expected = "the original adds a broken destination; it works here";
        parser.warn(
            raw.line,
            raw.column,
            Some(Deviation::FallbackMark),
            format!("global fallback for {}", service_id(key)),
            expected,
        );
    }
}
