//! Everything that is read before anything is started: corosync.conf, key, state directory; mapped onto the cores'
//! configurations.

use super::args::Args;
use crate::config::{self, Allow, Config, Local, Resolved, Severity, Timers};
use base::NodeId;
use base::exit::crm;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone)]
pub(super) struct Settings {
    pub config: Config,
    pub resolved: Resolved,
    pub key: wire::seal::Root,
    /// Findings that do not stop the node.
    pub warnings: Vec<String>,
    /// Warnings that status keeps showing.
    pub standing: Vec<String>,
    /// The most votes that a former life expected.
    pub barrier: u32,
}

impl Settings {
    pub fn me(&self) -> NodeId {
        self.resolved.me
    }

    pub fn names(&self) -> BTreeMap<NodeId, String> {
        self.resolved.nodes.iter().map(|n| (n.id, n.name.clone())).collect()
    }

    pub fn my_name(&self) -> String {
        self.names().remove(&self.me()).unwrap_or_default()
    }

    /// The file as it runs, for status: without what is secret.
    pub fn shown(&self) -> Vec<(String, String)> {
        let public = self.config.kept.iter().filter(|(key, _)| *key != "totem.key");
        let file = public.map(|(key, value)| (key.clone(), value.clone()));
        file.chain(self.effective()).collect()
    }

    /// What the ring runs with, whatever of it the file says.
    fn effective(&self) -> impl Iterator<Item = (String, String)> {
        let core = totem(self, 0, 0);
        let ms = |time: Duration| time.as_millis().to_string();
        let t = core.timing.with_peers(core.peers.len());
        let mut all = vec![
            ("token".to_owned(), ms(t.token)),
            ("token_retransmit".to_owned(), ms(t.token_retransmit)),
            ("hold".to_owned(), ms(t.hold)),
            ("join".to_owned(), ms(t.join)),
            ("consensus".to_owned(), ms(t.consensus)),
            ("window_size".to_owned(), core.window.to_string()),
            ("max_messages".to_owned(), core.max_messages.to_string()),
            ("block_unlisted_ips".to_owned(), u8::from(self.config.totem.block_unlisted_ips).to_string()),
            ("knet_mtu".to_owned(), self.config.totem.knet_mtu.to_string()),
            ("knet_pmtud_interval".to_owned(), core.sizes.interval.as_secs().to_string()),
            ("heartbeat".to_owned(), ms(core.beat_interval())),
            ("dead_after".to_owned(), ms(t.dead_after().unwrap_or(t.suspect))),
            ("suspect".to_owned(), ms(t.suspect)),
        ];
        for link in 0..core.links {
            let watch = core.watches.get(&link).copied().unwrap_or_else(|| core.usual_watch());
            all.push((format!("interface.{link}.knet_ping_interval"), ms(watch.interval)));
            all.push((format!("interface.{link}.knet_ping_timeout"), ms(watch.timeout)));
            all.push((format!("interface.{link}.knet_pong_count"), watch.answers.to_string()));
        }
        all.into_iter().map(|(key, value)| (format!("runtime.config.totem.{key}"), value))
    }

    pub fn timers(&self) -> Timers {
        Timers::of(&self.config.totem, self.resolved.nodes.len())
    }
}

/// Key of a cluster that runs without authentication: known to everyone, so it only tells clusters apart.
const PUBLIC_KEY: [u8; config::MIN_KEY_BYTES] = [0; config::MIN_KEY_BYTES];

/// Why nothing is started.
pub(super) struct Refusal {
    /// One for each thing refused, warnings included.
    pub lines: Vec<String>,
    /// What the process ends with: a service manager tries again only where that may help.
    pub code: i32,
}

/// Reads and checks.
pub(super) fn read(args: &Args) -> Result<Settings, Refusal> {
    read_again(args, None)
}

/// Reads for a node that runs with `runs`: names are looked up as that one does.
pub(super) fn read_again(args: &Args, runs: Option<&Config>) -> Result<Settings, Refusal> {
    let refused = |lines| Refusal { lines, code: crm::CONFIG };
    let reading = config::load(&args.config, Allow { unauthenticated: args.allow_unauthenticated });
    let said = |least: Severity| reading.findings.iter().filter(move |f| f.severity >= least).map(|f| f.to_string());
    let mut warnings: Vec<String> = said(Severity::Warning).collect();
    let config = match (reading.refused(), reading.config.clone()) {
        (false, Some(mut config)) => {
            config.totem.ip_version = runs.map_or(config.totem.ip_version, |r| r.totem.ip_version);
            config
        }
        _ => return Err(refused(warnings)),
    };
    let mut standing = Vec::new();
    let key = if config.totem.authenticated {
        match config::read_key(&config, args.authkey.as_deref()) {
            Ok((key, warning)) => {
                warnings.extend(warning);
                // The file's own bytes are wiped here.
                wire::seal::Root::new(key.bytes())
            }
            Err(_) if args.allow_unauthenticated => unauthenticated(&mut standing),
            Err(error) => {
                warnings.push(format!("{error}\n    (or, only to try it: bascule node --allow-unauthenticated)"));
                return Err(refused(warnings));
            }
        }
    } else {
        unauthenticated(&mut standing)
    };
    let resolved = config::resolve(&config, &Local::of_this_host(args.node.clone())).map_err(|findings| {
        let code = if findings.iter().all(|f| f.severity == Severity::Absent) { crm::ERROR } else { crm::CONFIG };
        Refusal { lines: warnings.iter().cloned().chain(findings.iter().map(|f| f.to_string())).collect(), code }
    })?;
    warnings.extend(standing.iter().cloned());
    let barrier = super::votes::read_barrier(&args.state_dir);
    Ok(Settings { config, resolved, key, warnings, standing, barrier })
}

fn unauthenticated(standing: &mut Vec<String>) -> wire::seal::Root {
    standing.push("packets are not authenticated: anyone on the network can join this cluster (--allow-unauthenticated); cure: corosync-keygen, copy the key to every node, restart without the option".to_owned());
    wire::seal::Root::new(&PUBLIC_KEY)
}

/// The ring's configuration. An explicit `token` asks for patience; without it a dead node is noticed by its heartbeats.
pub(super) fn totem(settings: &Settings, incarnation: u64, ring_seq: u64) -> totem::Config {
    let (file, timers) = (&settings.config, settings.timers());
    let mut core = totem::Config::new(settings.me(), settings.resolved.nodes.iter().map(|n| n.id), incarnation);
    core.ring_seq = ring_seq;
    core.timing = super::check::timing(file, &timers);
    links(&mut core, file);
    let explicit = |name: &str| file.kept.contains_key(&format!("totem.{name}"));
    if explicit("window_size") {
        core.window = file.totem.window_size as u32;
    }
    if explicit("max_messages") {
        core.max_messages = file.totem.max_messages as u32;
    }
    core
}

/// Bytes that a packet has besides the frame, at most: IPv6, UDP, our header, the seal.
const PACKET_OVERHEAD: usize = 40 + 8 + 28 + 16;
/// Smallest packet that every network has to take (RFC 791 asks for less; below, a frame is mostly headers).
const SMALLEST_MTU: usize = 576;

/// How many links, which first, how each is watched.
fn links(core: &mut totem::Config, file: &Config) {
    let ms = |n: u64| Duration::from_millis(n);
    core.links = file.links.len().clamp(1, config::MAX_LINKS) as u8;
    let mut order: Vec<_> = file.links.iter().map(|l| (std::cmp::Reverse(l.priority), l.number)).collect();
    order.sort();
    core.link_order = order.into_iter().map(|(_, number)| number).collect();
    // With a single link there is nothing to choose.
    core.link_mode = if core.links > 1 { file.totem.link_mode } else { totem::LinkMode::Passive };
    let usual = core.usual_watch();
    for link in &file.links {
        let answers = u32::try_from(link.pong_count).unwrap_or(u32::MAX);
        let samples = u32::try_from(link.ping_precision).unwrap_or(u32::MAX);
        let own = totem::Watch { answers, samples, ..usual };
        let watch = totem::Watch::new(link.ping_interval_ms.map(ms), link.ping_timeout_ms.map(ms), own);
        if watch != usual {
            core.watches.insert(link.number, watch);
        }
    }
    core.sizes.fixed = fixed_size(file);
    core.sizes.interval = Duration::from_secs(file.totem.pmtud_interval_s);
}

/// What the file asks for; then nothing else is tried.
fn fixed_size(file: &Config) -> Option<usize> {
    let mtu = usize::try_from(file.totem.knet_mtu).ok().filter(|mtu| *mtu > 0)?;
    Some(mtu.max(SMALLEST_MTU).saturating_sub(PACKET_OVERHEAD).min(totem::config::LARGEST_DATAGRAM))
}

pub(super) fn quorum(settings: &Settings) -> quorum::Config {
    let file = &settings.config.quorum;
    let mut core = quorum::Config::new(settings.me(), settings.resolved.nodes.iter().map(|n| n.id));
    core.votes = settings.resolved.nodes.iter().map(|n| (n.id, n.votes)).collect();
    core.expected_votes = file.expected_votes;
    core.device = file.device.as_ref().map(|d| d.votes);
    core.two_node = file.two_node;
    core.must_reach = !file.ping_targets.is_empty();
    core.wait_for_all = file.wait_for_all;
    core.last_man_standing = file.last_man_standing;
    core.last_man_standing_window = Duration::from_millis(file.last_man_standing_window_ms);
    core.expected_votes_tracking = file.expected_votes_tracking;
    core.barrier = settings.barrier;
    core.allow_downscale = file.allow_downscale;
    core.auto_tie_breaker = file.auto_tie_breaker.then(|| tie_breaker(&file.auto_tie_breaker_node));
    core
}

/// The arbitrator's client, if the file asks for one.
pub(super) fn device(settings: &Settings) -> Option<quorum::qdevice::Config> {
    let file = settings.config.quorum.device.as_ref()?;
    let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    Some(quorum::qdevice::Config {
        server: format!("{} {} {}", file.host, file.port, file.ip_version),
        cluster_name: settings.config.totem.cluster_name.clone(),
        me: settings.me().0,
        nodes: settings.resolved.nodes.iter().map(|n| n.id.0).collect(),
        config_version: settings.config.kept.get("totem.config_version").and_then(|v| v.parse().ok()),
        algorithm: file.algorithm,
        tie_breaker: file.tie_breaker,
        tls: file.tls,
        keep_active_partition: file.keep_active_partition,
        heartbeat_ms: file.heartbeat_ms,
        timeout_ms: file.long_heartbeat_ms,
        sync_timeout_ms: file.sync_timeout_ms,
        connect_timeout_ms: file.connect_timeout_ms,
        wait_for_all: settings.config.quorum.wait_for_all.unwrap_or(false),
        heuristics: file.heuristics.mode,
        heuristics_interval_ms: ms(file.heuristics.interval),
    })
}

fn tie_breaker(text: &str) -> quorum::TieBreaker {
    match text {
        "lowest" => quorum::TieBreaker::Lowest,
        "highest" => quorum::TieBreaker::Highest,
        list => {
            quorum::TieBreaker::List(list.split_whitespace().filter_map(|id| id.parse().ok().map(NodeId)).collect())
        }
    }
}
