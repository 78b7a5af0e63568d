//! `lms` (last man standing) and `2nodelms`: the vote goes to one partition, however small.

use super::Client;
use crate::qnet::{Heuristics, RingId, TieBreaker, Vote};
use base::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one client gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Decided(Vote),
    /// No, because others are active: asked anew, it may be another.
    Newcomer,
    /// Not all in the partition have said yet where they are.
    Wait,
}

impl Verdict {
    /// Kept with the client; what it is told.
    pub fn settle(self, client: &mut Client, now: Time) -> Vote {
        client.decide_at = None;
        match self {
            Verdict::Decided(vote) => {
                client.standing = Some(vote);
                vote
            }
            Verdict::Newcomer => Vote::Nack,
            // Who waits at first stays a newcomer.
            Verdict::Wait => {
                client.decide_at = Some(now + Duration::from_millis(client.heartbeat_ms.into()));
                Vote::WaitForReply
            }
        }
    }
}

fn given(yes: bool) -> Verdict {
    Verdict::Decided(if yes { Vote::Ack } else { Vote::Nack })
}

/// Another partition has the vote, and this client never had any.
fn is_late(client: &Client, members: &[&Client]) -> bool {
    let active = |o: &&&Client| o.ring != client.ring && o.standing == Some(Vote::Ack);
    client.standing.is_none() && members.iter().any(|o| active(&o))
}

pub(super) fn decide(client: &Client, members: &[&Client]) -> Verdict {
    let together = |o: &Client| client.sees(o.node_id) || o.sees(client.node_id);
    if members.iter().any(|o| o.node_id != client.node_id && together(o) && o.ring != client.ring) {
        return Verdict::Wait;
    }
    let mut partitions: BTreeMap<RingId, Vec<&Client>> = BTreeMap::new();
    for member in members.iter().filter(|m| m.ring.seq != 0) {
        partitions.entry(member.ring).or_default().push(member);
    }
    match partitions.len() {
        0 => return Verdict::Wait,
        1 => return Verdict::Decided(Vote::Ack),
        _ if is_late(client, members) => return Verdict::Newcomer,
        _ => {}
    }
    let score = |p: &Vec<&Client>| super::score(p.iter().map(|c| &c.heuristics));
    if let Some(best) = only_best(&partitions, score) {
        return given(best == client.ring);
    }
    if let Some(largest) = only_best(&partitions, |p| p.len() as i64) {
        return given(largest == client.ring);
    }
    let breaker = match client.tie_breaker {
        TieBreaker::Lowest => members.iter().min_by_key(|m| m.node_id),
        TieBreaker::Highest => members.iter().max_by_key(|m| m.node_id),
        TieBreaker::Node(id) => members.iter().find(|m| m.node_id == id),
    };
    given(breaker.is_some_and(|b| b.ring == client.ring))
}

/// The ring that has more than every other one.
fn only_best(partitions: &BTreeMap<RingId, Vec<&Client>>, of: impl Fn(&Vec<&Client>) -> i64) -> Option<RingId> {
    let most = partitions.values().map(&of).max()?;
    let mut best = partitions.iter().filter(|(_, p)| of(p) == most);
    let first = best.next()?;
    if best.next().is_some() { None } else { Some(*first.0) }
}

pub(super) fn decide_two(client: &Client, members: &[&Client]) -> Verdict {
    if is_late(client, members) {
        return Verdict::Newcomer;
    }
    if client.membership.len() == 2 || members.len() <= 1 {
        return Verdict::Decided(Vote::Ack);
    }
    let worth = |h: Heuristics| match h {
        Heuristics::Pass => 1,
        Heuristics::Undefined => 0,
        Heuristics::Fail => -1,
    };
    let others = members.iter().filter(|o| o.node_id != client.node_id);
    let other = others.map(|o| worth(o.heuristics)).max().unwrap_or(0);
    match worth(client.heuristics).cmp(&other) {
        std::cmp::Ordering::Greater => return given(true),
        std::cmp::Ordering::Less => return given(false),
        std::cmp::Ordering::Equal => {}
    }
    let ids = || members.iter().map(|m| m.node_id);
    let winner = match client.tie_breaker {
        TieBreaker::Lowest => ids().min(),
        TieBreaker::Highest => ids().max(),
        TieBreaker::Node(id) => Some(id),
    };
    given(winner == Some(client.node_id))
}
