//! `ffsplit`: an even split.
//!
//! ```text
//! waiting --stable, parts chosen--> taking (NACKs to all but the chosen) --all confirmed--> giving (ACKs) --confirmed--> waiting
//!    ^------------------------------- any report, any loss of a client --------------------------'
//! ```
//!
//! Stable: all clients have the same nodes configured, and whoever lists another as a member is listed by it, in the same ring.

use super::{Client, Conn, Server};
use crate::qnet::{Algorithm, TieBreaker, Vote};
use base::Time;
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    phase: Phase,
    /// The partition that was chosen last.
    active: BTreeSet<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    #[default]
    Waiting,
    Taking,
    Giving,
}

impl Server {
    /// Looks at the cluster anew. What the client that reported is told now; votes follow by themselves.
    pub(super) fn split(&mut self, name: &str) -> Vote {
        let members: Vec<(Conn, Client)> = self.members(name).map(|(conn, c)| (conn, c.clone())).collect();
        let clients: Vec<&Client> = members.iter().map(|(_, c)| c).collect();
        if !is_stable(&clients) {
            // Votes that are on their way count for nothing any more.
            self.set_phase(name, Phase::Waiting);
            return Vote::WaitForReply;
        }
        let active = self.clusters.get(name).map(|c| c.ffsplit.active.clone()).unwrap_or_default();
        let chosen = choose(&clients, &active).unwrap_or_default();
        for (conn, client) in &members {
            let vote = if chosen.contains(&client.node_id) { Vote::Ack } else { Vote::Nack };
            if let Some(client) = self.clients.get_mut(conn) {
                client.confirms = Some(vote);
            }
        }
        if let Some(cluster) = self.clusters.get_mut(name) {
            cluster.ffsplit.active = chosen;
        }
        self.set_phase(name, Phase::Taking);
        if self.tell(name, Vote::Nack) == 0 {
            self.give(name);
        }
        Vote::NoChange
    }

    pub(super) fn vote_confirmed(&mut self, conn: Conn, seq: Option<u32>, now: Time) {
        let Some(client) = self.clients.get_mut(&conn) else { return };
        let Some(name) = client.cluster_name.clone() else { return };
        if seq != Some(client.vote_seq) {
            return;
        }
        client.confirms = None;
        if client.algorithm == Algorithm::Lms {
            return self.waiting_lms(&name, now);
        }
        let open = |vote| self.members(&name).any(|(_, c)| c.confirms == Some(vote));
        match self.clusters.get(&name).map(|c| c.ffsplit.phase) {
            Some(Phase::Taking) if !open(Vote::Nack) => self.give(&name),
            Some(Phase::Giving) if !open(Vote::Ack) => self.set_phase(&name, Phase::Waiting),
            _ => {}
        }
    }

    fn give(&mut self, name: &str) {
        let told = self.tell(name, Vote::Ack);
        self.set_phase(name, if told == 0 { Phase::Waiting } else { Phase::Giving });
    }

    /// Tells `vote` to all who have it still to confirm; how many.
    fn tell(&mut self, name: &str, vote: Vote) -> usize {
        let due = self.members(name).filter(|(_, c)| c.confirms == Some(vote));
        let due: Vec<Conn> = due.map(|(conn, _)| conn).collect();
        due.iter().for_each(|conn| self.send_vote(*conn, vote));
        due.len()
    }

    fn set_phase(&mut self, name: &str, phase: Phase) {
        if let Some(cluster) = self.clusters.get_mut(name) {
            cluster.ffsplit.phase = phase;
        }
    }
}

fn is_stable(clients: &[&Client]) -> bool {
    let Some(first) = clients.first() else { return true };
    let configured = first.configured_ids();
    if clients.iter().any(|c| c.configured_ids() != configured) {
        return false;
    }
    let agree = |a: &Client, b: &Client| a.ring == b.ring && a.membership_ids().is_subset(&b.membership_ids());
    let listed = |a: &Client, b: &&&Client| a.sees(b.node_id);
    clients.iter().all(|a| clients.iter().filter(|b| listed(a, b)).all(|b| agree(a, b)))
}

/// The members of the partition that gets the vote, if one can have it.
fn choose(clients: &[&Client], active: &BTreeSet<u32>) -> Option<BTreeSet<u32>> {
    let size = |c: &Client| (c.membership_ids().len(), c.configured_ids().len());
    let majority = clients.iter().find(|c| {
        let (members, all) = size(c);
        members > all / 2
    });
    if let Some(client) = majority {
        return Some(client.membership_ids());
    }
    let keep = clients.iter().all(|c| c.keep_active_partition);
    let rank = |client: &Client| {
        let mine: Vec<&&Client> = clients.iter().filter(|o| client.sees(o.node_id)).collect();
        let score = super::score(mine.iter().map(|c| &c.heuristics));
        (score, mine.len(), keep && active.contains(&client.node_id), is_preferred(client))
    };
    let halves = clients.iter().filter(|c| {
        let (members, all) = size(c);
        all.is_multiple_of(2) && members == all / 2 && all > 0
    });
    let mut best: Option<&Client> = None;
    for half in halves {
        if best.is_none_or(|b| rank(half) > rank(b)) {
            best = Some(half);
        }
    }
    best.map(Client::membership_ids)
}

fn is_preferred(client: &Client) -> bool {
    let configured = client.configured_ids();
    let node = match client.tie_breaker {
        TieBreaker::Lowest => configured.first().copied(),
        TieBreaker::Highest => configured.last().copied(),
        TieBreaker::Node(id) => Some(id),
    };
    node.is_some_and(|node| client.sees(node))
}
