//! Failed operations and times in words.

use crate::args::compat_21;
use crate::clock;
use base::WallTime;
use base::exit::OcfCode;
use scheduler::status::FailedAction;
use std::fmt::Write;

/// Words of `op-status`.
pub fn status_words(status: i32) -> &'static str {
    match status {
        -1 => "pending",
        0 if compat_21() => "complete",
        0 => "Done",
        1 => "Cancelled",
        2 => "Timed Out",
        3 => "NOT SUPPORTED",
        4 => "Error",
        5 => "Hard error",
        6 => "Fatal error",
        7 => "Not installed",
        8 => "Internal communication failure",
        9 => "Not connected",
        10 => "No fence device",
        11 => "Invalid contents",
        _ => "unknown",
    }
}

/// `vip 10s-interval monitor on d1 returned 'not running' at Fri … after 12ms`.
pub fn failed_action(f: &FailedAction) -> String {
    let task = match (f.operation.as_str(), f.interval_ms) {
        ("monitor", 0) => "probe".to_owned(),
        (task, 0) => task.to_owned(),
        (task, ms) => format!("{}-interval {task}", readable_ms(ms)),
    };
    let mut out = format!("{} {task} on {}", f.resource, f.node);
    let reason = f.exit_reason.as_deref().filter(|reason| !reason.trim().is_empty());
    if f.status == 0 {
        let _ = write!(out, " returned '{}'", OcfCode(f.rc));
        if let Some(reason) = reason {
            let _ = write!(out, " ({reason})");
        }
    } else {
        let more = reason.map(|r| format!(": {r}")).unwrap_or_default();
        let _ = write!(out, " could not be executed ({}{more})", status_words(f.status));
    }
    if let Some(at) = f.last_change {
        let _ = write!(out, " at {}", clock::ctime(WallTime::from_secs(at)));
    }
    if f.exec_ms > 0 {
        let _ = write!(out, " after {}", readable_ms(f.exec_ms as u64));
    }
    out
}

/// `vip_monitor_10000 on d1 'Not running' (7): call=12, status='Done', last-rc-change='Fri …', queued=0ms, exec=12ms`.
pub fn failed_action_in_detail(f: &FailedAction) -> String {
    let words = if compat_21() { OcfCode(f.rc).words() } else { OcfCode(f.rc).title() };
    let (key, node, status) = (&f.key, &f.node, status_words(f.status));
    let mut out = format!("{key} on {node} '{words}' ({}): call={}, status='{status}'", f.rc, f.call_id);
    if let Some(reason) = f.exit_reason.as_deref().filter(|reason| !reason.trim().is_empty()) {
        let _ = write!(out, ", exitreason='{reason}'");
    }
    if let Some(at) = f.last_change {
        let at = clock::ctime(WallTime::from_secs(at));
        let _ = write!(out, ", last-rc-change='{at}', queued={}ms, exec={}ms", f.queue_ms, f.exec_ms);
    }
    out
}

/// `1m30s`, `10s`, `1.500s`, `250ms`.
pub fn readable_ms(ms: u64) -> String {
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let mut out = String::new();
    if hours > 0 {
        let _ = write!(out, "{hours}h");
    }
    if minutes > 0 {
        let _ = write!(out, "{minutes}m");
    }
    let _ = match (seconds, rest) {
        (0, 0) if !out.is_empty() => Ok(()),
        (s, 0) => write!(out, "{s}s"),
        (0, r) => write!(out, "{r}ms"),
        (s, r) => write!(out, "{s}.{r:03}s"),
    };
    out
}
