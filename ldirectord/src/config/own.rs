//! Directives that the Perl original does not know ([`OWN_DIRECTIVES`]). Each is off unless asked for, globally or in a virtual.
//!
//! `checkcount` is none of these: it is the number of echo requests within one ping check, and counts as one failure when all are lost.

use base::ipvs::Family;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name, value and meaning, as help and manual page list them.
pub const OWN_DIRECTIVES: &[(&str, &str, &str)] = &[
    ("rise", "checks", "passed checks in a row that bring a server back which was down; default 1"),
    (
        "fall",
        "checks",
        "failed checks in a row that take a server down: another name of failurecount, and stronger than it in one scope",
    ),
    ("flapchanges", "times, 0 = off", "a server that goes down so often within flapwindow is held down"),
    ("flapwindow", "seconds", "window of flapchanges; default 300"),
    ("flaphold", "seconds", "held until no check has failed for so long; default 60"),
    (
        "checkjitter",
        "percent, 0–50",
        "each pause between checks is longer or shorter by up to this share of the interval",
    ),
    ("slowstart", "seconds, 0 = off", "weight of a server that came back grows in ten steps"),
    (
        "agentport",
        "port, 0 = off",
        "a TCP port of each real server that tells weight and state in a line (HAProxy's agent-check)",
    ),
    ("agentinterval", "seconds", "default: checkinterval"),
    ("agentsend", "\"text\"", "sent first; \\n is a line's end"),
    (
        "sourceaddress",
        "address",
        "own address from which checks (not external commands) come; globally once for each family",
    ),
    (
        "redirects",
        "own, follow, accept",
        "in a virtual only; an HTTP redirect to another host is a failure, followed, or a good answer",
    ),
    (
        "resolve",
        "once, all, srv",
        "in a virtual only; a name in real stands for its first address, for all of them, or for the servers of its SRV records with their ports and weights; the latter two are asked again when their time is over",
    ),
    ("tlsverify", "yes, no", "in a virtual only; certificates are verified"),
    ("tlscafile", "path", "in a virtual only; certificates are verified against these"),
    (
        "sqltls",
        "yes/no",
        "in a virtual only; checks of mysql and pgsql ask for TLS before they log in, and are down without it",
    ),
];

const DEFAULT_FLAP_WINDOW_S: u32 = 300;
const DEFAULT_FLAP_HOLD_S: u32 = 60;

/// Use of a directive that the original would refuse.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OwnDirective {
    pub name: String,
    pub line: u32,
}

/// As written in one scope.
#[derive(Clone, Default)]
pub struct RawOwn {
    pub rise: Option<u32>,
    pub fall: Option<u32>,
    pub flap_changes: Option<u32>,
    pub flap_window_s: Option<u32>,
    pub flap_hold_s: Option<u32>,
    pub check_jitter_percent: Option<u32>,
    pub slow_start_s: Option<u32>,
    pub agent_port: Option<u32>,
    pub agent_interval_s: Option<u32>,
    pub agent_send: Option<String>,
    pub source: Option<Ipv4Addr>,
    pub source6: Option<Ipv6Addr>,
}

/// What is in force for a virtual. `fall` is its `failure_count`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tuning {
    pub rise: u32,
    pub flap: Option<Flap>,
    pub check_jitter_percent: u32,
    /// 0 = off.
    pub slow_start_s: u32,
    pub agent: Option<Agent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Flap {
    pub changes: u32,
    pub window_s: u32,
    pub hold_s: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Agent {
    pub port: u16,
    pub interval_ms: u32,
    pub send: String,
}

impl RawOwn {
    /// The virtual's own word, else the global one, else off.
    pub fn settle(&self, global: &RawOwn, check_interval_ms: u32) -> Tuning {
        let flap = self.flap_changes.or(global.flap_changes).filter(|n| *n > 0).map(|changes| Flap {
            changes,
            window_s: self.flap_window_s.or(global.flap_window_s).unwrap_or(DEFAULT_FLAP_WINDOW_S),
            hold_s: self.flap_hold_s.or(global.flap_hold_s).unwrap_or(DEFAULT_FLAP_HOLD_S),
        });
        let port = self.agent_port.or(global.agent_port).and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
        let agent = port.map(|port| Agent {
            port,
            interval_ms: self
                .agent_interval_s
                .or(global.agent_interval_s)
                .map_or(check_interval_ms, |s| s.saturating_mul(1_000)),
            send: self.agent_send.clone().or_else(|| global.agent_send.clone()).unwrap_or_default(),
        });
        Tuning {
            rise: self.rise.or(global.rise).unwrap_or(1),
            flap,
            check_jitter_percent: self.check_jitter_percent.or(global.check_jitter_percent).unwrap_or(0),
            slow_start_s: self.slow_start_s.or(global.slow_start_s).unwrap_or(0),
            agent,
        }
    }

    /// The address from which servers of a family are checked.
    pub fn source_for(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::IPv4 => self.source.map(IpAddr::V4),
            Family::IPv6 => self.source6.map(IpAddr::V6),
        }
    }
}
