//! `ocf:pacemaker:ping`: how many of some hosts (a gateway, say) answer, as a score in a node attribute.
//!
//! A clone on every director; a location rule such as `pingd lt 1` then keeps the group where the gateway is reached.
//! Hosts are asked all at once, in this process. With `interface`, a link without carrier counts as no host at all, without
//! waiting for answers.

use crate::agent::Agent;
use crate::attributes::Attributes;
use crate::meta::{Meta, param};
use crate::outcome::{AgentOutcome, Parameters};
use base::Instance;
use ldirectord::checks::{Check, Kind, Progress};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;

/// Hosts in one list at most.
const MAX_HOSTS: usize = 64;
const MAX_WAIT_MS: u64 = 60_000;

const DEFAULT_NAME: &str = "pingd";

pub(crate) const META: Meta = Meta {
    name: "ping",
    providers: &["pacemaker", "heartbeat", "bascule"],
    about: "Reachability of hosts such as a gateway, as a score in a node attribute",
    params: &[
        param("host_list", "string", None, "Hosts to ask, separated by blanks").required().reloadable(),
        param("name", "string", Some(DEFAULT_NAME), "Node attribute that gets the score").unique(),
        param("multiplier", "integer", Some("1"), "Score of each host that answers").reloadable(),
        param("dampen", "string", Some("5s"), "How long a new score must last before it is set").reloadable(),
        param("attempts", "integer", Some("3"), "Requests to each host before it counts as silent").reloadable(),
        param("timeout", "string", Some("2s"), "How long one answer may take").reloadable(),
        param("failure_score", "integer", None, "Below this score, the monitor fails").reloadable(),
        param("interface", "string", None, "The score is 0 while this interface has no carrier").reloadable(),
        param("pidfile", "string", None, "File that exists while the resource runs"),
        param("options", "string", None, "Accepted for existing configurations; no command is run"),
        param("use_fping", "boolean", None, "Accepted for existing configurations; no command is run"),
        param("debug", "string", None, "Accepted for existing configurations"),
    ],
    actions: &[
        ("start", 60, None),
        ("stop", 20, None),
        ("reload", 80, None),
        ("reload-agent", 80, None),
        ("monitor", 60, Some(10)),
        ("validate-all", 20, None),
        ("meta-data", 5, None),
    ],
};

pub(crate) struct Ping {
    dir: PathBuf,
    attributes: Attributes,
}

impl Ping {
    pub fn new(run_dir: &Path, attributes: Attributes) -> Ping {
        Ping { dir: run_dir.join("agents"), attributes }
    }

    fn state(&self, id: &str, settings: Option<&Settings>) -> PathBuf {
        let named = settings.and_then(|s| s.pidfile.clone());
        named.unwrap_or_else(|| self.dir.join(format!("ping-{}.state", kernel::files::name_of_id(id))))
    }

    async fn score(&self, settings: &Settings) -> AgentOutcome {
        let score = settings.update(&self.attributes).await;
        match settings.failure_score {
            Some(least) if score < least => {
                AgentOutcome::error(format!("{} is less than {least}: {score}", settings.name))
            }
            _ => AgentOutcome::ok(),
        }
    }
}

impl Agent for Ping {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        Settings::of(instance)
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        let state = self.state(id, Some(settings));
        let made = state.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&state, ""));
        if let Err(error) = made {
            return AgentOutcome::error(format!("{}: {error}", state.display()));
        }
        // With a score too low, the first monitor would fail.
        self.score(settings).await
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        let _ = std::fs::remove_file(self.state(id, placed));
        self.attributes.remove(placed.map_or(DEFAULT_NAME, |s| &s.name));
        AgentOutcome::ok()
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        match self.state(id, Some(settings)).is_file() {
            true => self.score(settings).await,
            false => AgentOutcome::not_running(),
        }
    }

    async fn is_placed(&self, id: &str) -> bool {
        self.state(id, None).is_file()
    }

    /// `reload`, `reload-agent`.
    async fn act(&self, _id: &str, _action: &str, settings: &Settings) -> AgentOutcome {
        settings.update(&self.attributes).await;
        AgentOutcome::ok()
    }
}

#[derive(Clone)]
pub(crate) struct Settings {
    hosts: Vec<String>,
    name: String,
    multiplier: u64,
    dampen: Duration,
    attempts: u32,
    timeout: Duration,
    failure_score: Option<u64>,
    interface: Option<String>,
    pidfile: Option<PathBuf>,
}

impl Settings {
    fn of(instance: &Instance) -> Result<Settings, AgentOutcome> {
        let hosts: Vec<String> =
            instance.param("host_list").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        if hosts.is_empty() || hosts.len() > MAX_HOSTS {
            return Err(AgentOutcome::not_configured(format!("host_list needs 1 to {MAX_HOSTS} hosts")));
        }
        Ok(Settings {
            hosts,
            name: instance.param("name").unwrap_or(DEFAULT_NAME).to_owned(),
            multiplier: instance.number("multiplier", 1)?,
            dampen: duration(instance, "dampen", 5_000)?,
            attempts: instance.number("attempts", 3)?.clamp(1, 100) as u32,
            timeout: duration(instance, "timeout", 2_000)?,
            failure_score: instance.param("failure_score").map(|_| instance.number("failure_score", 0)).transpose()?,
            interface: instance.param("interface").map(str::to_owned),
            pidfile: instance.param("pidfile").map(PathBuf::from),
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

/// Whether this host answers one ping within the time.
pub async fn answers_ping(addr: IpAddr, within: Duration) -> bool {
    asked(&addr.to_string(), addr, 1, within).await
}

async fn answers(host: String, tries: u32, timeout: Duration) -> bool {
    let named = host.clone();
    let found = tokio::task::spawn_blocking(move || resolve(&named));
    let Ok(Ok(Some(addr))) = tokio::time::timeout(timeout, found).await else {
        tracing::warn!(host, "this name has no address");
        return false;
    };
    asked(&host, addr, tries, timeout).await
}

async fn asked(host: &str, addr: IpAddr, tries: u32, timeout: Duration) -> bool {
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

fn duration(instance: &Instance, name: &str, default_ms: u64) -> Result<Duration, AgentOutcome> {
    let ms = match instance.param(name) {
        None => default_ms,
        Some(text) => base::text::parse_interval_ms(text)
            .ok_or_else(|| AgentOutcome::not_configured(format!("{name}='{text}' is not a time")))?,
    };
    Ok(Duration::from_millis(ms.min(MAX_WAIT_MS)))
}
