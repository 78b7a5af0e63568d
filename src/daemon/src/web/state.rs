//! What a page shows, as one JSON document. Moments are absolute (ms since the epoch), so that a cluster that rests is the same document
//! from one second to the next, and nothing is sent.

use super::history::History;
use base::ipvs::{ServiceEntry, ServiceKey, Stats};
use ldirectord::service::{RealStatus, Status as DirectorStatus, VirtualStatus};
use scheduler::status::{Cluster, FailedAction, Node, NodeKind, Resource, ResourceKind};
use serde::Serialize;
use wire::api::{DeviceInfo, FenceEvent, Incident, NodeStatus, QuorumStatus, Timeline, incidents};
use xml::Element;

/// What happened, the newest; a page shows no more.
const MAX_INCIDENTS: usize = 30;

/// What a page is made of, as far as it answered.
#[derive(Default)]
pub struct Sources {
    pub status: Option<NodeStatus>,
    pub quorum: Option<QuorumStatus>,
    pub cluster: Option<Cluster>,
    pub cib: Option<Element>,
    pub timeline: Option<Timeline>,
    pub directors: Vec<DirectorStatus>,
    pub table: Vec<ServiceEntry>,
    /// What did not answer, and why.
    pub troubles: Vec<String>,
}

#[derive(Serialize)]
pub struct State {
    cluster: String,
    node: String,
    version: String,
    quorate: bool,
    coordinator: Option<String>,
    controller: String,
    data_plane: String,
    maintenance: bool,
    fencing_enabled: bool,
    warnings: Vec<String>,
    troubles: Vec<String>,
    votes: Option<Votes>,
    arbitrator: Option<Arbitrator>,
    nodes: Vec<NodeRow>,
    resources: Vec<ResourceRow>,
    /// Constraints that commands have left: moves and bans.
    moves: Vec<Move>,
    failures: Vec<FailureRow>,
    fencing: Vec<FenceEvent>,
    directors: Vec<Director>,
    incidents: Vec<Incident>,
}

#[derive(Serialize)]
struct Votes {
    expected: u32,
    total: u32,
    quorum: u32,
    flags: Vec<String>,
}

#[derive(Serialize)]
struct Arbitrator {
    host: String,
    algorithm: String,
    state: String,
    cast: bool,
    trouble: Option<String>,
}

#[derive(Serialize)]
struct NodeRow {
    name: String,
    kind: &'static str,
    state: &'static str,
    /// Needs somebody.
    bad: bool,
    coordinator: bool,
    here: bool,
    standby: bool,
    maintenance: bool,
    votes: Option<u32>,
    running: usize,
    links: Vec<LinkRow>,
}

#[derive(Serialize)]
struct LinkRow {
    number: u8,
    remote: String,
    up: bool,
    in_use: bool,
    losses: u64,
}

#[derive(Serialize)]
struct ResourceRow {
    id: String,
    kind: &'static str,
    agent: String,
    role: String,
    on: Vec<String>,
    /// Words for what is not as it should be: `failed`, `blocked`, `disabled`, …
    marks: Vec<&'static str>,
    bad: bool,
    pending: Option<String>,
    description: Option<String>,
    children: Vec<ResourceRow>,
}

#[derive(Serialize)]
struct Move {
    id: String,
    resource: String,
    node: String,
    score: String,
}

#[derive(Serialize)]
struct FailureRow {
    resource: String,
    operation: String,
    node: String,
    code: i32,
    reason: Option<String>,
    at_ms: Option<i64>,
}

#[derive(Serialize)]
struct Director {
    config: String,
    active: bool,
    troubles: Vec<String>,
    services: Vec<Service>,
}

#[derive(Serialize)]
struct Service {
    id: String,
    scheduler: String,
    down: Option<bool>,
    fallback: bool,
    rates: Option<Rates>,
    servers: Vec<Server>,
}

/// Per second, as the kernel estimates them.
#[derive(Serialize)]
struct Rates {
    connections: u64,
    in_bytes: u64,
    out_bytes: u64,
}

impl Rates {
    fn of(stats: &Stats) -> Rates {
        Rates { connections: stats.cps, in_bytes: stats.inbps, out_bytes: stats.outbps }
    }
}

#[derive(Serialize)]
struct Server {
    server: String,
    /// `up`, `down`, `unknown`.
    standing: &'static str,
    weight: Option<u32>,
    configured_weight: u32,
    drained: bool,
    maintenance: bool,
    active: Option<u32>,
    inactive: Option<u32>,
    latency_ms: f64,
    answer: String,
    check: String,
    rates: Option<Rates>,
    /// Changes of the last hour, oldest first: when, and to what.
    history: Vec<(i64, &'static str)>,
}

/// The document as it is sent.
pub fn document(sources: &Sources, history: &History) -> Vec<u8> {
    serde_json::to_vec(&state(sources, history)).unwrap_or_default()
}

fn state(sources: &Sources, history: &History) -> State {
    let status = sources.status.as_ref();
    let cluster = sources.cluster.as_ref();
    let timeline = sources.timeline.as_ref();
    State {
        cluster: status.map(|s| s.cluster_name.clone()).unwrap_or_default(),
        node: status.map(|s| s.name.clone()).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        quorate: status.is_some_and(|s| s.quorate),
        coordinator: status.and_then(|s| s.dc_name.clone()),
        controller: status.map(|s| s.controller.clone()).unwrap_or_default(),
        data_plane: status.map(|s| s.data_plane.clone()).unwrap_or_default(),
        maintenance: cluster.is_some_and(|c| c.maintenance_mode),
        fencing_enabled: cluster.is_some_and(|c| c.fencing_enabled),
        warnings: status.map(|s| s.warnings.clone()).unwrap_or_default(),
        troubles: sources.troubles.clone(),
        votes: sources.quorum.as_ref().map(votes),
        arbitrator: sources.quorum.as_ref().and_then(|q| q.device.as_ref()).map(arbitrator),
        nodes: cluster.map(|c| c.nodes.iter().map(|n| node(n, status)).collect()).unwrap_or_default(),
        resources: cluster.map(|c| c.resources.iter().map(resource).collect()).unwrap_or_default(),
        moves: sources.cib.as_ref().map(moves).unwrap_or_default(),
        failures: cluster.map(|c| c.failures.iter().map(failure).collect()).unwrap_or_default(),
        fencing: status.map(|s| s.fencing.clone()).unwrap_or_default(),
        directors: sources.directors.iter().map(|d| director(d, &sources.table, history)).collect(),
        incidents: timeline.map(|t| incidents(&t.events, MAX_INCIDENTS)).unwrap_or_default(),
    }
}

fn votes(quorum: &QuorumStatus) -> Votes {
    let (expected, total) = (quorum.expected_votes, quorum.total_votes);
    Votes { expected, total, quorum: quorum.quorum, flags: quorum.flags.clone() }
}

fn arbitrator(device: &DeviceInfo) -> Arbitrator {
    Arbitrator {
        host: device.host.clone(),
        algorithm: device.algorithm.clone(),
        state: device.state.clone(),
        cast: device.cast,
        trouble: device.trouble.clone(),
    }
}

fn node(node: &Node, status: Option<&NodeStatus>) -> NodeRow {
    let known = status.and_then(|s| s.nodes.iter().find(|n| n.name == node.name));
    let links = status.into_iter().flat_map(|s| &s.links).filter(|l| known.is_some_and(|k| k.id == l.peer));
    NodeRow {
        name: node.name.clone(),
        kind: match node.kind {
            NodeKind::Cluster => "node",
            NodeKind::Remote => "remote",
            NodeKind::Guest => "guest",
        },
        state: node_state(node),
        bad: node.unclean || (!node.online && !node.shutdown && node.expected_up),
        coordinator: node.is_dc,
        here: status.is_some_and(|s| s.name == node.name),
        standby: node.standby,
        maintenance: node.maintenance,
        votes: known.map(|k| k.votes),
        running: node.running.len(),
        links: links
            .map(|l| LinkRow {
                number: l.link,
                remote: l.remote.clone(),
                up: l.up,
                in_use: l.in_use,
                losses: l.stats.down_count,
            })
            .collect(),
    }
}

fn node_state(node: &Node) -> &'static str {
    match node {
        Node { unclean: true, online: true, .. } => "unclean (online)",
        Node { unclean: true, pending: true, .. } => "unclean (pending)",
        Node { unclean: true, .. } => "unclean (offline)",
        Node { pending: true, .. } => "pending",
        Node { standby_on_fail: true, online: true, .. } => "standby (on failure)",
        Node { standby: true, online: true, .. } => "standby",
        Node { maintenance: true, online: true, .. } => "maintenance",
        Node { online: true, shutdown: true, .. } => "shutting down",
        Node { online: true, .. } => "online",
        Node { .. } => "offline",
    }
}

fn resource(resource: &Resource) -> ResourceRow {
    let (kind, agent) = match &resource.kind {
        ResourceKind::Primitive { class, provider: Some(provider), agent } => {
            ("primitive", format!("{class}:{provider}:{agent}"))
        }
        ResourceKind::Primitive { class, provider: None, agent } => ("primitive", format!("{class}:{agent}")),
        ResourceKind::Group => ("group", String::new()),
        ResourceKind::Clone { promotable: true, .. } => ("promotable clone", String::new()),
        ResourceKind::Clone { .. } => ("clone", String::new()),
        ResourceKind::Bundle { image, .. } => ("bundle", image.clone()),
    };
    let marks = [
        (resource.failed, "failed"),
        (resource.blocked, "blocked"),
        (resource.failure_ignored, "failure ignored"),
        (resource.disabled, "disabled"),
        (resource.removed, "removed"),
        (!resource.managed, "unmanaged"),
        (resource.maintenance, "maintenance"),
    ];
    ResourceRow {
        id: resource.id.clone(),
        kind,
        agent,
        role: resource.role.text().to_owned(),
        on: resource.active_on.clone(),
        marks: marks.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect(),
        bad: resource.failed || resource.blocked || resource.active_on.len() > 1,
        pending: resource.pending.clone(),
        description: resource.description.clone(),
        children: resource.children.iter().map(self::resource).collect(),
    }
}

/// What `crm_resource --move` and `--ban` have written.
fn moves(cib: &Element) -> Vec<Move> {
    let constraints = cib.child("configuration").and_then(|c| c.child("constraints"));
    let locations = constraints.into_iter().flat_map(|c| c.elements_named("rsc_location"));
    let get = |e: &Element, name: &str| e.attr(name).unwrap_or_default().to_owned();
    locations
        .filter(|l| ["cli-prefer-", "cli-ban-"].iter().any(|p| l.attr("id").is_some_and(|id| id.starts_with(p))))
        .map(|l| Move { id: get(l, "id"), resource: get(l, "rsc"), node: get(l, "node"), score: get(l, "score") })
        .collect()
}

fn failure(failure: &FailedAction) -> FailureRow {
    FailureRow {
        resource: failure.resource.clone(),
        operation: match failure.interval_ms {
            0 => failure.operation.clone(),
            ms => format!("{} each {} s", failure.operation, ms as f64 / 1000.0),
        },
        node: failure.node.clone(),
        code: failure.rc,
        reason: failure.exit_reason.clone(),
        at_ms: failure.last_change.map(|s| s.saturating_mul(1000)),
    }
}

fn director(director: &DirectorStatus, table: &[ServiceEntry], history: &History) -> Director {
    let config = director.config.clone().unwrap_or_default();
    let reload = director.last_reload.as_ref().and_then(|r| r.error.clone());
    let troubles = reload.into_iter().chain(director.table_error.clone()).chain(director.refused.clone());
    Director {
        active: director.active,
        troubles: troubles.chain(director.unresolved.clone()).collect(),
        services: director.virtuals.iter().map(|v| service(&config, v, table, history)).collect(),
        config,
    }
}

fn service(config: &str, service: &VirtualStatus, table: &[ServiceEntry], history: &History) -> Service {
    let entry = table.iter().find(|e| label(&e.service.key) == service.id);
    Service {
        id: service.id.clone(),
        scheduler: service.scheduler.clone(),
        down: service.all_down,
        fallback: service.fallback_active,
        rates: entry.map(|e| Rates::of(&e.stats)),
        servers: service.reals.iter().map(|r| server(config, &service.id, r, entry, history)).collect(),
    }
}

/// As a director calls it: `tcp:10.0.0.1:80`, `fwm:7`.
fn label(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, addr, port } => {
            let word = format!("{protocol:?}").to_lowercase();
            format!("{word}:{}", std::net::SocketAddr::new(*addr, *port))
        }
        ServiceKey::Fwmark { mark, .. } => format!("fwm:{mark}"),
    }
}

fn server(config: &str, service: &str, real: &RealStatus, entry: Option<&ServiceEntry>, history: &History) -> Server {
    let address = |d: &base::ipvs::DestKey| std::net::SocketAddr::new(d.addr, d.port).to_string();
    let dest = entry.and_then(|e| e.dests.iter().find(|d| address(&d.dest.key) == real.server));
    Server {
        server: real.server.clone(),
        standing: super::history::word(real.standing),
        weight: real.weight,
        configured_weight: real.configured_weight,
        drained: real.drained,
        maintenance: real.maintenance,
        active: real.active_conns,
        inactive: real.inactive_conns,
        // Enough to compare servers; more would be another document at each check.
        latency_ms: (real.latency_us as f64 / 1000.0).round(),
        answer: real.last_answer.clone(),
        check: real.check.clone(),
        rates: dest.map(|d| Rates::of(&d.stats)),
        history: history.of(config, service, &real.server),
    }
}
