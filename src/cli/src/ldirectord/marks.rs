//! `drain`, `undrain`, `maintenance`: taking real servers out and in by command.

use super::ask;
use super::exit;
use super::paths::Paths;
use super::show::span;
use ::ldirectord::service::{MarkRequest, Marked, Status, Wish};
use serde_json::json;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often connections are counted; the director itself counts them once a second.
const LOOK: Duration = Duration::from_millis(500);

pub struct Marking<'a> {
    pub real: &'a str,
    pub virtual_service: Option<&'a str>,
    pub wish: Wish,
    pub on: bool,
    /// How long a drain waits; `None`: until nothing is left.
    pub deadline: Option<Duration>,
    pub json: bool,
}

/// Exit code 0: done (for a drain: nothing is left); 1: not done, or connections are left at the deadline.
pub fn mark(paths: &Paths, marking: &Marking<'_>) -> i32 {
    let request = MarkRequest {
        wish: marking.wish,
        on: marking.on,
        real: marking.real.to_owned(),
        virtual_service: marking.virtual_service.map(str::to_owned),
    };
    let marked = match ask::mark(paths, request) {
        Ok(marked) => marked,
        Err(e) => {
            if marking.json {
                kernel::outln!("{}", json!({"error": e.to_string()}));
            }
            kernel::errln!("ldirectord: {e}");
            return exit::FAILED;
        }
    };
    if !marking.json {
        marked.iter().for_each(|m| kernel::outln!("{}", sentence(m, marking)));
    }
    warnings(&marked, marking).iter().for_each(|w| kernel::errln!("ldirectord: {w}"));
    let left = match marking.wish == Wish::Drain && marking.on {
        true => wait(paths, &marked, marking.deadline),
        false => Ok(Vec::new()),
    };
    report(&marked, left, marking)
}

fn report(marked: &[Marked], left: Result<Vec<Left>, String>, marking: &Marking<'_>) -> i32 {
    let (left, error) = match left {
        Ok(left) => (left, None),
        Err(e) => (Vec::new(), Some(e)),
    };
    if marking.json {
        let rows: Vec<_> = left
            .iter()
            .map(|l| json!({"virtual_service": l.virtual_service, "server": l.server, "active": l.active, "inactive": l.inactive}))
            .collect();
        kernel::outln!("{}", json!({"marked": marked, "left": rows, "error": error}));
    } else if marking.wish == Wish::Drain && marking.on && error.is_none() {
        if left.is_empty() {
            kernel::outln!("No connections are left");
        }
        for l in &left {
            let (active, inactive) = (l.active, l.inactive);
            kernel::outln!(
                "{} ({}): {active} active and {inactive} inactive connections are left",
                l.server,
                l.virtual_service
            );
        }
    }
    if let Some(e) = &error {
        kernel::errln!("ldirectord: {e}");
    }
    if left.is_empty() && error.is_none() { exit::OK } else { exit::FAILED }
}

fn sentence(m: &Marked, marking: &Marking<'_>) -> String {
    let what = match (marking.wish, marking.on) {
        (Wish::Drain, true) => "takes no new connections",
        (Wish::Drain, false) => "takes new connections as its checks allow",
        (Wish::Maintenance, true) => "is in maintenance",
        (Wish::Maintenance, false) if m.in_directory => "stays in maintenance by a file in maintenancedir",
        (Wish::Maintenance, false) => "is no longer in maintenance",
    };
    let already = if m.changed { "" } else { " (as before)" };
    format!("{} ({}) {what}{already}", m.server, m.virtual_service)
}

fn warnings(marked: &[Marked], marking: &Marking<'_>) -> Vec<String> {
    let mut out = Vec::new();
    if !marking.on {
        return out;
    }
    for m in marked.iter().filter(|m| m.takers == 0) {
        out.push(format!("no server of {} takes new connections now", m.virtual_service));
    }
    for m in marked.iter().filter(|m| m.persistent && marking.wish == Wish::Drain) {
        let cure = "set net.ipv4.vs.expire_quiescent_template=1 to end that";
        out.push(format!("{} is persistent: known clients still come to {}; {cure}", m.virtual_service, m.server));
    }
    out
}

/// A server that still has connections.
struct Left {
    virtual_service: String,
    server: String,
    active: u32,
    inactive: u32,
}

/// Waits until the servers have no active connection, or for the deadline; what is left then.
fn wait(paths: &Paths, marked: &[Marked], deadline: Option<Duration>) -> Result<Vec<Left>, String> {
    let begin = Instant::now();
    let progress = std::io::stderr().is_terminal();
    loop {
        let status = ask::status(paths).map_err(|e| e.to_string())?;
        if !status.active {
            return Err(
                "this director is on standby: the drain is noted and told to the active one; connections are counted where the table is \
                 kept: ask there"
                    .to_owned(),
            );
        }
        let left = left(&status, marked);
        if left.is_empty() || deadline.is_some_and(|d| begin.elapsed() >= d) {
            return Ok(left);
        }
        if progress {
            let active: u32 = left.iter().map(|l| l.active).sum();
            let waited = span(begin.elapsed().as_millis() as u64);
            kernel::output::complain(format!(
                "\r{active} active connections after {waited} (Ctrl-C: stop waiting, it stays drained) \x1b[K"
            ));
        }
        let rest = deadline.map_or(LOOK, |d| d.saturating_sub(begin.elapsed()).min(LOOK));
        std::thread::sleep(rest.max(Duration::from_millis(10)));
    }
}

/// UDP has no connections that the kernel could call active; there it is the others that count.
fn left(status: &Status, marked: &[Marked]) -> Vec<Left> {
    let mut out = Vec::new();
    for m in marked {
        let reals = status.virtuals.iter().filter(|v| v.id == m.virtual_service).flat_map(|v| &v.reals);
        for real in reals.filter(|r| r.server == m.server) {
            let (active, inactive) = (real.active_conns.unwrap_or(0), real.inactive_conns.unwrap_or(0));
            let counts = if m.virtual_service.starts_with("udp:") { active + inactive } else { active };
            if counts > 0 {
                let (virtual_service, server) = (m.virtual_service.clone(), m.server.clone());
                out.push(Left { virtual_service, server, active, inactive });
            }
        }
    }
    out
}
