//! What `corosync-qnetd-tool` shows, as data.

use super::{Client, Server, Session};
use crate::qnet::{Algorithm, Node};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterStatus {
    pub name: String,
    pub algorithm: String,
    pub keep_active_partition: bool,
    pub tie_breaker: String,
    pub clients: Vec<ClientStatus>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClientStatus {
    pub node_id: u32,
    pub address: String,
    pub heartbeat_ms: u32,
    pub config_version: Option<u64>,
    /// Node id and data centre (0: none).
    pub configured: Vec<(u32, u32)>,
    pub ring: (u32, u64),
    pub membership: Vec<(u32, u32)>,
    pub heuristics: String,
    pub membership_heuristics: String,
    pub regular_heuristics: String,
    pub tls: bool,
    pub certified: bool,
    pub vote: Option<String>,
    pub decided: Option<String>,
}

impl Server {
    /// Clusters by name; their clients by node id.
    pub fn clusters(&self) -> Vec<ClusterStatus> {
        let mut all: BTreeMap<&str, Vec<&Client>> = BTreeMap::new();
        for client in self.clients.values().filter(|c| c.introduced) {
            all.entry(client.cluster_name.as_deref().unwrap_or_default()).or_default().push(client);
        }
        all.into_iter().filter_map(|(name, clients)| cluster(name, clients)).collect()
    }

    /// Connections, introduced or not.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }
}

fn cluster(name: &str, mut clients: Vec<&Client>) -> Option<ClusterStatus> {
    clients.sort_by_key(|c| c.node_id);
    let first = clients.first()?;
    let keep = clients.iter().all(|c| c.algorithm == Algorithm::Ffsplit && c.keep_active_partition);
    Some(ClusterStatus {
        name: name.to_owned(),
        algorithm: first.algorithm.words().to_owned(),
        keep_active_partition: keep,
        tie_breaker: first.tie_breaker.words(),
        clients: clients.iter().map(|c| client(c)).collect(),
    })
}

fn client(c: &Client) -> ClientStatus {
    let list = |nodes: &[Node]| nodes.iter().map(|n| (n.id, n.data_centre)).collect();
    let words = |v: crate::qnet::Vote| v.words().to_owned();
    ClientStatus {
        node_id: c.node_id,
        address: c.address.clone(),
        heartbeat_ms: c.heartbeat_ms,
        config_version: c.config_version,
        configured: list(&c.configured),
        ring: (c.ring.node, c.ring.seq),
        membership: list(&c.membership),
        heuristics: c.heuristics.words().to_owned(),
        membership_heuristics: c.membership_heuristics.words().to_owned(),
        regular_heuristics: c.regular_heuristics.words().to_owned(),
        tls: c.session != Session::Plain,
        certified: matches!(&c.session, Session::Tls { certified: Some(_) }),
        vote: c.last_vote.map(words),
        decided: c.decided.map(words),
    }
}
