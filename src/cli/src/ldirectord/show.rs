//! `status --json`, `status --long`: every real server as the running director sees it.

use super::ask::{self, AskError};
use super::control;
use super::exit;
use super::paths::Paths;
use ::ldirectord::config::Accepted;
use ::ldirectord::service::{RealStatus, Standing, Status, VirtualStatus};
use serde_json::json;

/// The exit code is that of the plain `status`.
pub fn long(paths: &Paths, accepted: Option<&Accepted>) -> i32 {
    match ask::status(paths) {
        Ok(status) => {
            kernel::output::put(text(&status));
            exit::OK
        }
        Err(AskError::NotRunning { .. }) => control::status(paths, accepted),
        Err(e) => {
            kernel::errln!("ldirectord: {e}");
            exit::FAILED
        }
    }
}

pub fn json(paths: &Paths) -> i32 {
    let (value, code) = match ask::status(paths) {
        Ok(status) => (with_running(&status), exit::OK),
        Err(e @ AskError::NotRunning { .. }) => match paths.running() {
            // An older daemon, or one whose socket could not be made.
            Some(pid) => (json!({"running": true, "pid": pid.as_raw(), "error": e.to_string()}), exit::OK),
            None if paths.pid_file.exists() => {
                (json!({"running": false, "stale_pid_file": paths.pid_file}), exit::FAILED)
            }
            None => (json!({"running": false}), exit::STOPPED),
        },
        Err(e) => (json!({"error": e.to_string()}), exit::FAILED),
    };
    kernel::outln!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
    code
}

fn with_running(status: &Status) -> serde_json::Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.insert("running".to_owned(), true.into());
    }
    value
}

/// The whole for people.
pub fn text(status: &Status) -> String {
    let mut out = format!("{}\n", head(status));
    for line in troubles(status) {
        out.push_str(&format!("  {line}\n"));
    }
    for v in &status.virtuals {
        out.push_str(&format!("{}\n", title(v)));
        let rows: Vec<[String; COLUMNS.len()]> = v.reals.iter().map(row).collect();
        let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).chain([COLUMNS[i].len()]).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        let line = |cells: &[&str]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        if !rows.is_empty() {
            out.push_str(&line(&COLUMNS));
        }
        rows.iter().for_each(|r| out.push_str(&line(&r.each_ref().map(String::as_str))));
    }
    out
}

pub fn head(status: &Status) -> String {
    let keeps = if status.active { "keeps the table" } else { "on standby" };
    let config = status.config.as_deref().unwrap_or("its configuration");
    format!("ldirectord for {config}: pid {}, up {}, {keeps}", status.pid, span(status.uptime_ms))
}

pub fn troubles(status: &Status) -> Vec<String> {
    let mut out = Vec::new();
    out.extend(status.table_error.as_ref().map(|e| format!("the table cannot be read: {e}")));
    out.extend(status.refused.iter().map(|r| format!("refused by the table: {r}")));
    let reload = status.last_reload.as_ref().and_then(|r| r.error.as_ref().map(|e| (r.age_ms, e)));
    out.extend(
        reload.map(|(age, e)| format!("reload {} ago refused, the older configuration is in force: {e}", span(age))),
    );
    out.extend(status.differences.iter().map(|d| format!("by command, against the file: {d}")));
    out.extend(status.unresolved.iter().map(|n| format!("does not resolve, its servers stay: {n}")));
    out.extend(status.absent_marks.iter().map(|m| format!("drained or in maintenance, but not configured: {m}")));
    out
}

pub fn title(v: &VirtualStatus) -> String {
    let taking = v.reals.iter().filter(|r| r.weight.is_some_and(|w| w > 0)).count();
    let fallback = if v.fallback_active { ", the fallback serves" } else { "" };
    format!("{} {}: {taking} of {} servers take connections{fallback}", v.id, v.scheduler, v.reals.len())
}

pub const COLUMNS: [&str; 8] = ["SERVER", "STATE", "WEIGHT", "ACTIVE", "INACTIVE", "LATENCY", "SINCE", "LAST ANSWER"];

pub fn row(real: &RealStatus) -> [String; COLUMNS.len()] {
    let count = |n: Option<u32>| n.map_or("-".to_owned(), |n| n.to_string());
    let weight = match real.weight {
        Some(weight) if weight == real.configured_weight => weight.to_string(),
        Some(weight) => format!("{weight}/{}", real.configured_weight),
        None => format!("-/{}", real.configured_weight),
    };
    let latency = match real.last_check_age_ms {
        Some(_) => format!("{}.{:01} ms", real.latency_us / 1000, real.latency_us % 1000 / 100),
        None => "-".to_owned(),
    };
    [
        real.server.clone(),
        state(real),
        weight,
        count(real.active_conns),
        count(real.inactive_conns),
        latency,
        span(real.since_ms),
        real.last_answer.clone(),
    ]
}

/// One word, and what it is due to.
pub fn state(real: &RealStatus) -> String {
    if !real.maintenance_by.is_empty() || real.maintenance {
        return format!("maintenance ({})", real.maintenance_by.join(", "));
    }
    let agent = real.agent.as_ref();
    if agent.is_some_and(|a| a.down) {
        return "down (agent)".to_owned();
    }
    match real.standing {
        Standing::Unknown => "unknown".to_owned(),
        Standing::Down => match real.held_for_ms {
            Some(ms) => format!("held down ({} more)", span(ms)),
            None => "down".to_owned(),
        },
        Standing::Up if real.drained => "drained".to_owned(),
        Standing::Up if real.weight == Some(0) && agent.is_some() => "drained (agent)".to_owned(),
        Standing::Up if real.failures > 0 => format!("up ({} failed)", real.failures),
        Standing::Up if real.ramping => "up (slow start)".to_owned(),
        Standing::Up => "up".to_owned(),
    }
}

pub fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real(server: &str) -> RealStatus {
        let value = json!({
            "server": server, "standing": "up", "source": "check", "maintenance": false, "weight": 5, "configured_weight": 5,
            "failures": 0, "since_ms": 61_000, "last_check_age_ms": 10, "last_answer": "200 OK", "latency_us": 1_234, "check": "GET x",
            "active_conns": 3, "inactive_conns": 4,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_table_for_people() {
        let drained = RealStatus { drained: true, weight: Some(0), ..real("10.0.1.2:80") };
        let gone = RealStatus {
            standing: Standing::Down,
            weight: None,
            active_conns: None,
            inactive_conns: None,
            last_check_age_ms: None,
            last_answer: "connection refused".to_owned(),
            ..real("10.0.1.3:80")
        };
        let v = VirtualStatus {
            id: "tcp:10.0.0.1:80".to_owned(),
            scheduler: "wrr".to_owned(),
            all_down: Some(false),
            fallback_active: false,
            reals: vec![real("10.0.1.1:80"), drained, gone],
        };
        let status = Status {
            pid: 7,
            uptime_ms: 90_000_000,
            config: Some("/x.cf".to_owned()),
            active: true,
            last_reload: None,
            table_error: None,
            refused: Vec::new(),
            repairs: 0,
            table_age_ms: Some(1),
            absent_marks: vec!["10.0.1.9:80 (10.0.0.1:80)".to_owned()],
            unresolved: Vec::new(),
            differences: Vec::new(),
            virtuals: vec![v],
        };
        let expected = "\
ldirectord for /x.cf: pid 7, up 1d01h, keeps the table
  drained or in maintenance, but not configured: 10.0.1.9:80 (10.0.0.1:80)
tcp:10.0.0.1:80 wrr: 1 of 3 servers take connections
  SERVER       STATE    WEIGHT  ACTIVE  INACTIVE  LATENCY  SINCE  LAST ANSWER
  10.0.1.1:80  up       5       3       4         1.2 ms   1m01s  200 OK
  10.0.1.2:80  drained  0/5     3       4         1.2 ms   1m01s  200 OK
  10.0.1.3:80  down     -/5     -       -         -        1m01s  connection refused
";
        assert_eq!(text(&status), expected);
    }

    #[test]
    fn states_say_what_they_are_due_to() {
        let agent = |text: &str| serde_json::from_str(text).unwrap();
        let with = |change: fn(&mut RealStatus)| {
            let mut r = real("x");
            change(&mut r);
            state(&r)
        };
        assert_eq!(
            with(|r| r.maintenance_by = vec!["directory".to_owned(), "command".to_owned()]),
            "maintenance (directory, command)"
        );
        assert_eq!(with(|r| (r.standing, r.held_for_ms) = (Standing::Down, Some(61_000))), "held down (1m01s more)");
        assert_eq!(with(|r| r.ramping = true), "up (slow start)");
        assert_eq!(with(|r| r.failures = 2), "up (2 failed)");
        let mut r = real("x");
        r.agent = agent(r#"{"percent":0,"down":false,"admin":"ready"}"#);
        r.weight = Some(0);
        assert_eq!(state(&r), "drained (agent)");
        r.agent = agent(r#"{"percent":100,"down":true,"admin":"ready"}"#);
        assert_eq!(state(&r), "down (agent)");
    }
}
