//! `ocf:pacemaker:ping`: how many of some hosts (a gateway, say) answer, as a score in a node attribute.
//!
//! A clone on every director; a location rule such as `pingd lt 1` then keeps the group where the gateway is reached.
//! Hosts are asked all at once, in this process. With `interface`, a link without carrier counts as no host at all, without
//! waiting for answers.

use crate::attributes::Attributes;
use crate::call::{AgentCall, AgentOutcome};
use crate::metadata::{Agent, Param, param};
use base::exit::OcfCode;
use ldirectord::checks::{Check, Kind, Progress};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;

/// Hosts in one list at most.
const MAX_HOSTS: usize = 64;
const MAX_WAIT_MS: u64 = 60_000;

pub(crate) const META: Agent = Agent {
    name: "ping",
    about: "Reachability of hosts such as a gateway, as a score in a node attribute",
    params: &[
        Param { required: true, ..param("host_list", "string", None, "Hosts to ask, separated by blanks") },
        Param { unique: true, ..param("name", "string", Some("pingd"), "Node attribute that gets the score") },
        param("multiplier", "integer", Some("1"), "Score of each host that answers"),
        param("dampen", "string", Some("5s"), "How long a new score must last before it is set"),
        param("attempts", "integer", Some("3"), "Requests to each host before it counts as silent"),
        param("timeout", "string", Some("2s"), "How long one answer may take"),
        param("failure_score", "integer", None, "Below this score, the monitor fails"),
        param("interface", "string", None, "The score is 0 while this interface has no carrier"),
        param("pidfile", "string", None, "File that exists while the resource runs"),
        param("options", "string", None, "Accepted for existing configurations; no command is run"),
        param("use_fping", "boolean", None, "Accepted for existing configurations; no command is run"),
        param("debug", "string", None, "Accepted for existing configurations"),
    ],
    actions: &[
        ("start", 60, None),
        ("stop", 20, None),
        ("reload", 80, None),
        ("monitor", 60, Some(10)),
        ("validate-all", 20, None),
        ("meta-data", 5, None),
    ],
};

pub(crate) async fn run(call: &AgentCall, run_dir: &Path, attributes: &Attributes) -> AgentOutcome {
    let settings = match Settings::of(call) {
        Ok(settings) => settings,
        Err(outcome) => return outcome,
    };
    let state = call
        .param("pidfile")
        .map_or_else(|| run_dir.join("agents").join(format!("ping-{}.state", call.resource)), PathBuf::from);
    match call.operation.as_str() {
        "start" | "reload" | "reload-agent" => {
            let made = state.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&state, ""));
            if let Err(error) = made {
                return AgentOutcome::error(format!("{}: {error}", state.display()));
            }
            settings.update(attributes).await;
            AgentOutcome::ok()
        }
        "stop" => {
            let _ = std::fs::remove_file(&state);
            attributes.remove(&settings.name);
            AgentOutcome::ok()
        }
        "monitor" | "status" if !state.exists() => AgentOutcome::not_running(),
        "monitor" | "status" => {
            let score = settings.update(attributes).await;
            match settings.failure_score {
                Some(least) if score < least => {
                    AgentOutcome::error(format!("{} is less than {least}: {score}", settings.name))
                }
                _ => AgentOutcome::ok(),
            }
        }
        "validate-all" => AgentOutcome::ok(),
        other => AgentOutcome::new(OcfCode::UNIMPLEMENTED, format!("ping has no action '{other}'")),
    }
}

struct Settings {
    hosts: Vec<String>,
    name: String,
    multiplier: u64,
    dampen: Duration,
    attempts: u32,
    timeout: Duration,
    failure_score: Option<u64>,
    interface: Option<String>,
}

impl Settings {
    fn of(call: &AgentCall) -> Result<Settings, AgentOutcome> {
        let hosts: Vec<String> =
            call.param("host_list").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        if hosts.is_empty() || hosts.len() > MAX_HOSTS {
            return Err(AgentOutcome::not_configured(format!("host_list needs 1 to {MAX_HOSTS} hosts")));
        }
        Ok(Settings {
            hosts,
            name: call.param("name").unwrap_or("pingd").to_owned(),
            multiplier: call.number("multiplier", 1)?,
            dampen: duration(call, "dampen", 5_000)?,
            attempts: call.number("attempts", 3)?.clamp(1, 100) as u32,
            timeout: duration(call, "timeout", 2_000)?,
            failure_score: call.param("failure_score").map(|_| call.number("failure_score", 0)).transpose()?,
            interface: call.param("interface").map(str::to_owned),
        })
    }

    async fn update(&self, attributes: &Attributes) -> u64 {
        let active = if self.carrier().await { self.answering().await } else { 0 };
        let score = active.saturating_mul(self.multiplier);
        attributes.set_damped(&self.name, &score.to_string(), self.dampen);
        score
    }

    async fn carrier(&self) -> bool {
        let Some(name) = &self.interface else { return true };
        let Ok(links) = kernel::addr::Addresses::connect() else { return true };
        links.link(name).await.is_ok_and(|link| link.running)
    }

    async fn answering(&self) -> u64 {
        let mut asked = JoinSet::new();
        for host in &self.hosts {
            asked.spawn(answers(host.clone(), self.attempts, self.timeout));
        }
        asked.join_all().await.into_iter().filter(|answered| *answered).count() as u64
    }
}

async fn answers(host: String, tries: u32, timeout: Duration) -> bool {
    let named = host.clone();
    let found = tokio::task::spawn_blocking(move || resolve(&named));
    let Ok(Ok(Some(addr))) = tokio::time::timeout(timeout, found).await else {
        tracing::warn!(host, "this name has no address");
        return false;
    };
    // The check of ldirectord's checktype=ping; its own limit comes last.
    let deadline = timeout * (tries + 1);
    let check = Check {
        kind: Kind::Ping { addr, tries, timeout },
        deadline,
        interval: Duration::ZERO,
        source: None,
        jitter_percent: 0,
    };
    match check.run(&mut Progress::default()).await {
        Ok(verdict) => verdict.up,
        Err(why) => {
            tracing::warn!(host, why, "this node cannot ask");
            false
        }
    }
}

fn resolve(host: &str) -> Option<IpAddr> {
    host.parse().ok().or_else(|| (host, 0).to_socket_addrs().ok()?.next().map(|a| a.ip()))
}

fn duration(call: &AgentCall, name: &str, default_ms: u64) -> Result<Duration, AgentOutcome> {
    let ms = match call.param(name) {
        None => default_ms,
        Some(text) => base::text::parse_interval_ms(text)
            .ok_or_else(|| AgentOutcome::not_configured(format!("{name}='{text}' is not a time")))?,
    };
    Ok(Duration::from_millis(ms.min(MAX_WAIT_MS)))
}
