//! Everything that is read before anything is started: corosync.conf, key, state directory; mapped onto the cores'
//! configurations.

use super::args::Args;
use crate::config::{self, Allow, Config, Local, Resolved, Severity, Timers};
use base::NodeId;
use base::exit::crm;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) struct Settings {
    pub config: Config,
    pub resolved: Resolved,
    pub key: wire::seal::Root,
    /// Findings that do not stop the node.
    pub warnings: Vec<String>,
    /// Warnings that status keeps showing.
    pub standing: Vec<String>,
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
    let refused = |lines| Refusal { lines, code: crm::CONFIG };
    let reading = config::load(&args.config, Allow { unauthenticated: args.allow_unauthenticated });
    let said = |least: Severity| reading.findings.iter().filter(move |f| f.severity >= least).map(|f| f.to_string());
    let mut warnings: Vec<String> = said(Severity::Warning).collect();
    let config = match (reading.refused(), reading.config.clone()) {
        (false, Some(config)) => config,
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
    Ok(Settings { config, resolved, key, warnings, standing })
}

fn unauthenticated(standing: &mut Vec<String>) -> wire::seal::Root {
    standing.push("packets are not authenticated: anyone on the network can join this cluster (--allow-unauthenticated); cure: corosync-keygen, copy the key to every node, restart without the option".to_owned());
    wire::seal::Root::new(&PUBLIC_KEY)
}

/// The ring's configuration. An explicit `token` asks for patience; without it a dead node is noticed by its heartbeats.
pub(super) fn totem(settings: &Settings, incarnation: u64, ring_seq: u64) -> totem::Config {
    let (file, timers) = (&settings.config, settings.timers());
    let ms = Duration::from_millis;
    let mut core = totem::Config::new(settings.me(), settings.resolved.nodes.iter().map(|n| n.id), incarnation);
    core.ring_seq = ring_seq;
    core.links = file.links.len().clamp(1, config::MAX_LINKS) as u8;
    let mut order: Vec<_> = file.links.iter().map(|l| (std::cmp::Reverse(l.priority), l.number)).collect();
    order.sort();
    core.link_order = order.into_iter().map(|(_, number)| number).collect();
    if timers.token_explicit {
        core.timing = totem::Timing::patient(ms(timers.token_ms), file.totem.consensus_ms.map(ms));
    }
    let explicit = |name: &str| file.kept.contains_key(&format!("totem.{name}"));
    if explicit("window_size") {
        core.window = file.totem.window_size as u32;
    }
    if explicit("max_messages") {
        core.max_messages = file.totem.max_messages as u32;
    }
    core
}

pub(super) fn quorum(settings: &Settings) -> quorum::Config {
    let file = &settings.config.quorum;
    let mut core = quorum::Config::new(settings.me(), settings.resolved.nodes.iter().map(|n| n.id));
    core.votes = settings.resolved.nodes.iter().map(|n| (n.id, n.votes)).collect();
    core.expected_votes = file.expected_votes;
    core.two_node = file.two_node;
    core.must_reach = !file.ping_targets.is_empty();
    core.wait_for_all = file.wait_for_all;
    core.last_man_standing = file.last_man_standing;
    core.allow_downscale = file.allow_downscale;
    core.auto_tie_breaker = file.auto_tie_breaker.then(|| tie_breaker(&file.auto_tie_breaker_node));
    core
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
