//! `ocf:bascule:ipvs-sync`: IPVS connection synchronisation whose roles follow the group.
//!
//! ```text
//!   probe ──► standby (backup role) ──start──► active (master role) ──stop──► standby (backup role)
//! ```
//!
//! It is a plain member of the group, not a promotable clone: master is where the group is, by definition, so there is nothing
//! to elect, and the role changes in the same transition as the address. The backup role needs no action of the cluster
//! either: every node takes it up when it is asked whether the group runs there, and keeps it up at each monitor
//! (`role=Stopped`). What runs in the kernel is made to match, so every action can be repeated.
//!
//! Put it into the group before the director and the addresses: whoever gets a client's packet must know its connection.

mod roles;

use crate::agent::Agent;
use crate::attributes::Attributes;
use crate::director::Directors;
use crate::host::DataPlane;
use crate::meta::{Meta, param};
use crate::outcome::{AgentOutcome, Parameters};
use base::Instance;
use base::exit::OcfCode;
use base::ipvs::{SyncDaemon, SyncState};
use kernel::ipvs::Error;
use roles::{Member, Step};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Groups with a sync of their own on one node.
const MAX_MEMBERS: usize = 256;
/// The header's 8 and 20 bytes leave this much of the largest datagram.
const MAX_SYNC_LEN: u64 = 65_507;

pub(crate) const META: Meta = Meta {
    name: "ipvs-sync",
    providers: &["bascule", "heartbeat"],
    about: "IPVS connection synchronisation: master role where the group runs, backup role elsewhere",
    params: &[
        param("interface", "string", None, "Interface of the sync messages; never the clients' one").required(),
        param("syncid", "integer", Some("1"), "1 to 255, different for each group; the same on all nodes").unique(),
        param("group", "string", Some("224.0.0.81"), "Multicast group, IPv4 or IPv6"),
        param("port", "integer", Some("8848"), "UDP port"),
        param("ttl", "integer", Some("1"), "Time to live of the messages"),
        param("maxlen", "integer", None, "Longest message in bytes; the interface's MTU decides unless set"),
        param(
            "preempt_delay",
            "string",
            None,
            "Time on standby (e.g. 2min) after which this node, once all its checks have an answer, counts as warm: \
             then the attribute is 1, and a location rule may ask for it. Never unless set",
        ),
        param("warm_attribute", "string", None, "Name of that node attribute; warm-RESOURCE unless set"),
    ],
    actions: &[
        ("start", 10, None),
        ("stop", 10, None),
        ("monitor", 10, Some(10)),
        ("validate-all", 5, None),
        ("meta-data", 5, None),
    ],
};

/// Sync daemons of this node and the groups that they serve.
pub(crate) struct Sync {
    data_plane: DataPlane,
    attributes: Attributes,
    directors: Directors,
    groups: Mutex<Groups>,
}

#[derive(Default)]
struct Groups {
    members: BTreeMap<String, Member>,
    standby_since: BTreeMap<String, Instant>,
}

impl Sync {
    pub fn new(data_plane: DataPlane, attributes: Attributes, directors: Directors) -> Sync {
        Sync { data_plane, attributes, directors, groups: Mutex::default() }
    }
}

impl Agent for Sync {
    type Settings = Settings;

    fn meta(&self) -> &'static Meta {
        &META
    }

    fn settings(&self, instance: &Instance) -> Result<Settings, AgentOutcome> {
        Settings::of(instance)
    }

    async fn start(&self, id: &str, settings: &Settings) -> AgentOutcome {
        let mut groups = self.groups.lock().await;
        groups.standby_since.remove(id);
        if let Err(outcome) = groups.put(id, settings, true) {
            return outcome;
        }
        settings.tell_warm(&self.attributes, Some("1"));
        if let Err(error) = self.reconcile(&groups).await {
            return refused(&error);
        }
        // The master may serve another group of this node, under that one's id.
        match self.running().await {
            Ok(running) if running.iter().any(|d| d.state == SyncState::Master) => AgentOutcome::ok(),
            Ok(_) => AgentOutcome::error("the master role was started and is not there"),
            Err(error) => refused(&error),
        }
    }

    async fn stop(&self, id: &str, placed: Option<&Settings>) -> AgentOutcome {
        let mut groups = self.groups.lock().await;
        let was_active = groups.members.get(id).is_some_and(|m| m.active);
        match placed.map(|settings| groups.put(id, settings, false)) {
            Some(Ok(())) => {}
            // A group that cannot be on standby is none of this node's.
            Some(Err(_)) | None => drop(groups.members.remove(id)),
        }
        if was_active {
            groups.standby_since.insert(id.to_owned(), Instant::now());
            if let Some(settings) = placed {
                settings.tell_warm(&self.attributes, None);
            }
        }
        match self.reconcile(&groups).await {
            // Without IPVS, or without the interface, nothing can be running.
            Err(e) if is_absent(&e) => AgentOutcome::ok(),
            // The master role has ended with the first step; a backup role that is refused is no reason to fail.
            Err(e) if self.running().await.is_ok_and(|r| groups.is_matched_by_master(&r)) => {
                tracing::warn!(resource = id, error = %e, "no backup role of the connection sync");
                AgentOutcome::ok()
            }
            other => other.map_or_else(|e| refused(&e), |_| AgentOutcome::ok()),
        }
    }

    async fn monitor(&self, id: &str, settings: &Settings) -> AgentOutcome {
        let mut groups = self.groups.lock().await;
        let active = match groups.members.get(id) {
            Some(member) => member.active,
            // This process is new: what it left running in the kernel is still its own.
            None => self.runs_as_master(settings).await,
        };
        if let Err(outcome) = groups.put(id, settings, active) {
            return if active { outcome } else { AgentOutcome::new(OcfCode::NOT_RUNNING, outcome.reason) };
        }
        let result = self.reconcile(&groups).await;
        if active {
            return match result {
                Ok(lost) if lost.is_empty() => AgentOutcome::ok(),
                // The role is back, and the addresses need not move for it.
                Ok(lost) => AgentOutcome::new(OcfCode::OK, format!("{} had been lost, started again", lost.join(", "))),
                Err(error) => refused(&error),
            };
        }
        if let Err(error) = &result {
            tracing::warn!(resource = id, %error, "no backup role of the connection sync");
        }
        let since = *groups.standby_since.entry(id.to_owned()).or_insert_with(Instant::now);
        let waited = settings.preempt_delay.is_some_and(|d| since.elapsed() >= d);
        let warm = result.is_ok() && waited && self.directors.all_checked().await;
        settings.tell_warm(&self.attributes, warm.then_some("1"));
        AgentOutcome::not_running()
    }

    async fn is_placed(&self, id: &str) -> bool {
        self.groups.lock().await.members.get(id).is_some_and(|m| m.active)
    }

    /// What the others say of connections is no matter of this node's any more, nor the other way round.
    async fn abandon(&self, _why: &str) -> Vec<String> {
        let mut groups = self.groups.lock().await;
        if std::mem::take(&mut groups.members).is_empty() {
            return Vec::new();
        }
        match self.reconcile(&groups).await {
            Err(error) if !is_absent(&error) => vec![format!("connection sync: {error}")],
            _ => Vec::new(),
        }
    }
}

impl Sync {
    /// Makes the kernel's daemons match; says which had to be started or replaced.
    async fn reconcile(&self, groups: &Groups) -> Result<Vec<String>, Error> {
        let (open, members) = (self.data_plane.clone(), groups.members.clone());
        let work = tokio::task::spawn_blocking(move || -> Result<Vec<String>, Error> {
            let mut table = open()?;
            let running = table.daemons()?;
            let mut started = Vec::new();
            for step in roles::steps(&roles::wanted(&members, &running), &running) {
                match step {
                    Step::Stop(state, id) => match table.stop_daemon(state, id) {
                        Err(Error::NoDaemon) => {}
                        other => other?,
                    },
                    Step::Start(daemon) => {
                        table.start_daemon(&daemon)?;
                        started.push(format!("the {} role of sync id {}", word(daemon.state), daemon.sync_id));
                    }
                }
            }
            Ok(started)
        });
        let started = work.await.unwrap_or(Err(Error::Unknown { waited_ms: 0 }))?;
        for role in &started {
            tracing::info!("connection sync: {role} runs now");
        }
        Ok(started)
    }

    async fn running(&self) -> Result<Vec<SyncDaemon>, Error> {
        let open = self.data_plane.clone();
        let asked = tokio::task::spawn_blocking(move || open().and_then(|mut table| table.daemons())).await;
        asked.unwrap_or(Err(Error::Unknown { waited_ms: 0 }))
    }

    async fn runs_as_master(&self, settings: &Settings) -> bool {
        let is = |d: &SyncDaemon| d.state == SyncState::Master && roles::fits(&settings.daemon, d);
        self.running().await.is_ok_and(|running| running.iter().any(is))
    }
}

impl Groups {
    /// Whether a master runs exactly if a group is here.
    fn is_matched_by_master(&self, running: &[SyncDaemon]) -> bool {
        self.members.values().any(|m| m.active) == running.iter().any(|d| d.state == SyncState::Master)
    }

    fn put(&mut self, resource: &str, settings: &Settings, active: bool) -> Result<(), AgentOutcome> {
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(resource) {
            return Err(AgentOutcome::error(format!("more than {MAX_MEMBERS} groups with a connection sync")));
        }
        let clash =
            self.members.iter().find(|(name, m)| *name != resource && m.daemon.sync_id == settings.daemon.sync_id);
        if let Some((name, _)) = clash {
            let reason = format!("syncid={} is that of '{name}' already", settings.daemon.sync_id);
            return Err(AgentOutcome::not_configured(reason));
        }
        self.members.insert(resource.to_owned(), Member { daemon: settings.daemon.clone(), active });
        Ok(())
    }
}

fn word(state: SyncState) -> &'static str {
    match state {
        SyncState::Master => "master",
        SyncState::Backup => "backup",
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NoIpvs { .. } | Error::NoInterface { .. })
}

fn refused(error: &Error) -> AgentOutcome {
    let code = if is_absent(error) { OcfCode::NOT_INSTALLED } else { OcfCode::ERROR };
    AgentOutcome::new(code, error.to_string())
}

#[derive(Clone)]
pub(crate) struct Settings {
    daemon: SyncDaemon,
    preempt_delay: Option<Duration>,
    warm_attribute: String,
}

impl Settings {
    fn of(instance: &Instance) -> Result<Settings, AgentOutcome> {
        let Some(interface) = instance.param("interface") else {
            return Err(AgentOutcome::not_configured("parameter 'interface' is missing"));
        };
        if interface.len() > kernel::ipvs::MAX_NAME_LEN {
            return Err(AgentOutcome::not_configured(format!("interface='{interface}' is too long a name")));
        }
        let daemon = SyncDaemon {
            state: SyncState::Backup,
            interface: interface.to_owned(),
            sync_id: bounded(instance, "syncid", 1, 255)?.unwrap_or(1) as u32,
            max_len: bounded(instance, "maxlen", 1, MAX_SYNC_LEN)?.map(|n| n as u16),
            group: multicast(instance)?,
            port: bounded(instance, "port", 1, 65_535)?.map(|n| n as u16),
            ttl: bounded(instance, "ttl", 1, 255)?.map(|n| n as u8),
        };
        let attribute = instance.param("warm_attribute").map_or_else(|| format!("warm-{}", instance.id), str::to_owned);
        Ok(Settings { daemon, preempt_delay: delay(instance)?, warm_attribute: attribute })
    }

    /// Without `preempt_delay` nobody asks, and the attribute is left alone.
    fn tell_warm(&self, attributes: &Attributes, value: Option<&str>) {
        if self.preempt_delay.is_some() {
            attributes.set(&self.warm_attribute, value);
        }
    }
}

fn bounded(instance: &Instance, name: &str, least: u64, most: u64) -> Result<Option<u64>, AgentOutcome> {
    if instance.param(name).is_none() {
        return Ok(None);
    }
    match instance.number(name, 0)? {
        n if (least..=most).contains(&n) => Ok(Some(n)),
        n => Err(AgentOutcome::not_configured(format!("{name}={n} is not within {least} to {most}"))),
    }
}

fn multicast(instance: &Instance) -> Result<Option<IpAddr>, AgentOutcome> {
    let Some(text) = instance.param("group") else { return Ok(None) };
    let group = text.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
    group.map(Some).ok_or_else(|| AgentOutcome::not_configured(format!("group='{text}' is not a multicast address")))
}

fn delay(instance: &Instance) -> Result<Option<Duration>, AgentOutcome> {
    let Some(text) = instance.param("preempt_delay") else { return Ok(None) };
    if text.eq_ignore_ascii_case("never") {
        return Ok(None);
    }
    let ms = base::text::parse_interval_ms(text)
        .ok_or_else(|| AgentOutcome::not_configured(format!("preempt_delay='{text}' is not a time, e.g. 2min")))?;
    Ok(Some(Duration::from_millis(ms)))
}

#[cfg(test)]
mod tests;
