//! What is known of one other node: its links, its last heartbeat, and how far it is trusted with a ring.

use crate::config::{MAX_LINKS, Timing};
use crate::status::LinkStatus;
use crate::types::{State, ViewId};
use base::{NodeId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Clone, Copy, Default)]
pub struct Link {
    pub heard: Option<Time>,
    pub up: bool,
    /// The network said that nobody listens there, and nothing has come since.
    pub unreachable: bool,
    /// A token sent over it was not acknowledged in time, and nothing has come over it since.
    pub doubtful: bool,
    pub rtt_us: Option<u64>,
    /// Its last heartbeat here: the sender's clock and ours.
    pub echo: Option<(u64, Time)>,
    pub received: u64,
    pub sent: u64,
    pub errors: u64,
}

/// The last heartbeat's content; default before the first.
#[derive(Clone, Default)]
pub struct Said {
    pub seq: u64,
    pub view: ViewId,
    pub state: State,
    pub ready: bool,
    pub quorate: bool,
    /// Links on which it hears us.
    pub your_links: u8,
    pub members: BTreeSet<NodeId>,
    pub hears: BTreeSet<NodeId>,
}

pub struct Peer {
    pub links: [Link; MAX_LINKS as usize],
    pub heard: Option<Time>,
    pub incarnation: Option<u64>,
    /// Said goodbye in this incarnation; nothing of it counts any more.
    pub departed: bool,
    /// Has answered to this node's present life; before that, what comes may be from before it.
    pub fresh: bool,
    pub said: Said,
    /// It named a ring number that nobody can have reached.
    pub number_refused: bool,
    /// Highest `join_seq` seen, and the one that the present ring is built on.
    pub join_seen: u64,
    pub join_floor: u64,
    /// Heartbeats in a row that named another ring than ours while it is a member.
    pub elsewhere: u32,
    pub next_probe: Option<Time>,
    pub next_goodbye: Option<Time>,
    backoff_level: u32,
    backoff_until: Option<Time>,
    /// Since when it has been a member of our ring without trouble.
    pub stable_since: Option<Time>,
}

/// Doublings of the back-off, at most.
const MAX_BACKOFF_LEVEL: u32 = 12;

/// Up to this level a restart ends the back-off.
const FORGIVEN_LEVEL: u32 = 2;

impl Peer {
    pub fn new() -> Peer {
        Peer {
            links: [Link::default(); MAX_LINKS as usize],
            heard: None,
            incarnation: None,
            departed: false,
            fresh: true,
            said: Said::default(),
            number_refused: false,
            join_seen: 0,
            join_floor: 0,
            elsewhere: 0,
            next_probe: None,
            next_goodbye: None,
            backoff_level: 0,
            backoff_until: None,
            stable_since: None,
        }
    }

    /// A new process there: nothing that the old one said holds.
    pub fn restart(&mut self, incarnation: u64) {
        self.incarnation = Some(incarnation);
        self.departed = false;
        self.number_refused = false;
        self.said = Said::default();
        self.join_seen = 0;
        self.join_floor = 0;
        self.elsewhere = 0;
        self.links.iter_mut().for_each(|l| l.echo = None);
        // What the old process did is no reason to keep the new one waiting, unless it happens all the time.
        if self.backoff_level <= FORGIVEN_LEVEL {
            self.backoff_until = None;
        }
    }

    /// This node starts over: what it held against the peer and what the peer said belong to the life that is over.
    pub fn forget(&mut self) {
        self.fresh = false;
        self.said = Said::default();
        self.elsewhere = 0;
        self.backoff_until = None;
        self.stable_since = None;
    }

    pub fn silence(&self, now: Time) -> Option<Duration> {
        self.heard.map(|t| now.since(t))
    }

    pub fn alive(&self, now: Time, timing: &Timing) -> bool {
        !self.departed && self.silence(now).is_some_and(|s| s < timing.suspect)
    }

    pub fn backing_off(&self, now: Time) -> bool {
        self.backoff_until.is_some_and(|t| now < t)
    }

    /// It had to be taken out of a ring or a proposal: the next attempt waits, longer each time unless it behaved in between.
    pub fn back_off(&mut self, now: Time, timing: &Timing) {
        let calm = self.stable_since.take().is_some_and(|t| now.since(t) > timing.backoff_max);
        self.backoff_level = if calm { 1 } else { (self.backoff_level + 1).min(MAX_BACKOFF_LEVEL) };
        let wait = (timing.backoff * (1 << (self.backoff_level - 1))).min(timing.backoff_max);
        self.backoff_until = Some(now + wait);
    }

    /// The process did not run for `stalled`: what the peer may have sent meanwhile has not been looked at yet.
    pub fn shift(&mut self, now: Time, stalled: Duration) {
        let later = |t: &mut Option<Time>| *t = t.map(|t| (t + stalled).min(now));
        later(&mut self.heard);
        self.links.iter_mut().for_each(|l| later(&mut l.heard));
    }

    /// The most wanted link that works both ways, else one that we hear, else the first. `avoid` only if there is another.
    pub fn best_link(&self, order: &[u8], avoid: Option<u8>) -> u8 {
        let link = |n: u8| self.links.get(usize::from(n)).copied().unwrap_or_default();
        let both =
            |n: u8| link(n).up && !link(n).unreachable && !link(n).doubtful && self.said.your_links >> n & 1 == 1;
        let candidates = || order.iter().copied().filter(|n| Some(*n) != avoid);
        let first = candidates().find(|n| both(*n)).or_else(|| order.iter().copied().find(|n| both(*n)));
        first
            .or_else(|| candidates().find(|n| link(*n).up))
            .or_else(|| candidates().next())
            .unwrap_or(avoid.unwrap_or(0))
    }

    pub fn all_unreachable(&self, order: &[u8]) -> bool {
        order.iter().all(|n| self.links.get(usize::from(*n)).is_some_and(|l| l.unreachable))
    }

    pub fn link_status(&self, order: &[u8]) -> Vec<LinkStatus> {
        let best = self.best_link(order, None);
        let mut numbers = order.to_vec();
        numbers.sort_unstable();
        let one = |n: u8| {
            let l = self.links.get(usize::from(n)).copied().unwrap_or_default();
            LinkStatus {
                link: n,
                up: l.up,
                heard_by_peer: self.said.your_links >> n & 1 == 1,
                in_use: l.up && n == best,
                rtt_us: l.rtt_us,
                received: l.received,
                sent: l.sent,
                errors: l.errors,
            }
        };
        numbers.into_iter().map(one).collect()
    }
}
