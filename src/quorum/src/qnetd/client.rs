//! What is known of one client: its last words.

use crate::qnet::{Algorithm, Heuristics, Node, RingId, TieBreaker, Vote};
use base::Time;
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Session {
    Plain,
    /// The names that the client's certificate vouches for, if it showed one.
    Tls {
        certified: Option<Vec<String>>,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Client {
    pub address: String,
    pub session: Session,
    /// Said in PREINIT.
    pub cluster_name: Option<String>,
    /// INIT was accepted: all below is real.
    pub introduced: bool,
    pub node_id: u32,
    pub algorithm: Algorithm,
    pub tie_breaker: TieBreaker,
    pub heartbeat_ms: u32,
    pub keep_active_partition: bool,
    pub config_version: Option<u64>,
    pub configured: Vec<Node>,
    pub ring: RingId,
    pub membership: Vec<Node>,
    pub heuristics: Heuristics,
    pub membership_heuristics: Heuristics,
    pub regular_heuristics: Heuristics,
    pub last_vote: Option<Vote>,
    /// The last that was a decision.
    pub decided: Option<Vote>,
    /// What `lms` and `2nodelms` go on from; a refusal to a newcomer is not kept, so that it stays one.
    pub standing: Option<Vote>,
    /// Number of the vote that was told last.
    pub vote_seq: u32,
    /// It has to confirm that vote.
    pub confirms: Option<Vote>,
    /// Dropped then.
    pub silent_at: Time,
    /// `lms`: looked at again then.
    pub decide_at: Option<Time>,
}

impl Client {
    pub fn new(address: String, silent_at: Time) -> Client {
        Client {
            address,
            session: Session::Plain,
            cluster_name: None,
            introduced: false,
            node_id: 0,
            algorithm: Algorithm::Test,
            tie_breaker: TieBreaker::Lowest,
            heartbeat_ms: 0,
            keep_active_partition: false,
            config_version: None,
            configured: Vec::new(),
            ring: RingId::default(),
            membership: Vec::new(),
            heuristics: Heuristics::Undefined,
            membership_heuristics: Heuristics::Undefined,
            regular_heuristics: Heuristics::Undefined,
            last_vote: None,
            decided: None,
            standing: None,
            vote_seq: 0,
            confirms: None,
            silent_at,
            decide_at: None,
        }
    }

    pub fn remember(&mut self, vote: Vote) {
        self.last_vote = Some(vote);
        if vote.is_decision() {
            self.decided = Some(vote);
        }
    }

    /// Whether it lists this node as a member of its partition.
    pub fn sees(&self, node: u32) -> bool {
        self.membership.iter().any(|n| n.id == node)
    }

    pub fn membership_ids(&self) -> BTreeSet<u32> {
        self.membership.iter().map(|n| n.id).collect()
    }

    pub fn configured_ids(&self) -> BTreeSet<u32> {
        self.configured.iter().map(|n| n.id).collect()
    }
}
