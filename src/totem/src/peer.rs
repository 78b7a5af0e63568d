//! What is known of one other node: its links, its last heartbeat, and how far it is trusted with a ring.

use crate::config::{MAX_LINKS, Timing};
use crate::link::{Link, LinkMode};
use crate::path::Sizes;
use crate::pieces::Pieces;
use crate::silence::{Host, Refusal};
use crate::status::LinkStatus;
use crate::types::{State, ViewId};
use base::{NodeId, Time};
use std::time::Duration;

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
    /// Both ascending.
    pub members: Vec<NodeId>,
    pub hears: Vec<NodeId>,
}

pub struct Peer {
    pub links: [Link; MAX_LINKS as usize],
    /// The link that had its turn last.
    turn: u8,
    pub heard: Option<Time>,
    /// It was given up, and nothing has come from it since.
    pub lost: bool,
    pub incarnation: Option<u64>,
    /// Said goodbye in this incarnation; nothing of it counts any more.
    pub departed: bool,
    /// Has answered to this node's present life; before that, what comes may be from before it.
    pub fresh: bool,
    pub said: Said,
    /// Ready and quorate, as this was told last ([`Event::PeerFlags`](crate::Event)).
    pub told: (bool, bool),
    /// It named a ring number that nobody can have reached.
    pub number_refused: bool,
    /// Highest `join_seq` seen, and the one that the present ring is built on.
    pub join_seen: u64,
    pub join_floor: u64,
    /// Heartbeats in a row that named another ring than ours while it is a member.
    pub elsewhere: u32,
    pub next_probe: Option<Time>,
    pub refusal: Refusal,
    pub host: Host,
    pub next_goodbye: Option<Time>,
    /// Frames of which not all pieces have come.
    pub pieces: Pieces,
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
            turn: MAX_LINKS - 1,
            heard: None,
            lost: false,
            incarnation: None,
            departed: false,
            fresh: true,
            said: Said::default(),
            told: (false, false),
            number_refused: false,
            join_seen: 0,
            join_floor: 0,
            elsewhere: 0,
            next_probe: None,
            refusal: Refusal::None,
            host: Host::default(),
            next_goodbye: None,
            pieces: Pieces::default(),
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
        self.pieces.clear();
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
        !self.departed && !self.lost && self.silence(now).is_some_and(|s| s < timing.suspect)
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

    fn is_up(&self, number: u8) -> bool {
        self.links.get(usize::from(number)).is_some_and(|l| l.up)
    }

    /// Heard here and there, and nothing speaks against it.
    fn works(&self, number: u8) -> bool {
        let Some(link) = self.links.get(usize::from(number)) else { return false };
        link.up && !link.unreachable && !link.doubtful && self.said.your_links >> number & 1 == 1
    }

    /// The most wanted link that works both ways, else one that we hear, else the first. `avoid` (a set) only if there is another.
    pub fn best_link(&self, order: &[u8], avoid: u8) -> u8 {
        let candidates = || order.iter().copied().filter(|n| avoid >> n & 1 == 0);
        let first = candidates().find(|n| self.works(*n)).or_else(|| order.iter().copied().find(|n| self.works(*n)));
        first
            .or_else(|| candidates().find(|n| self.is_up(*n)))
            .or_else(|| candidates().next())
            .or_else(|| order.first().copied())
            .unwrap_or(0)
    }

    /// The links that an ordinary frame may take now, as a set.
    pub fn links_in_use(&self, mode: LinkMode, order: &[u8]) -> u8 {
        let working = order.iter().filter(|n| self.works(**n)).fold(0u8, |set, n| set | 1 << n);
        if mode == LinkMode::Passive || working == 0 { 1 << self.best_link(order, 0) } else { working }
    }

    /// The links that the next frame takes, as a set. It is sent over none of `avoid`, if there is another.
    pub fn next_links(&mut self, mode: LinkMode, order: &[u8], avoid: u8) -> u8 {
        let usable = self.links_in_use(mode, order);
        let fresh = if usable & !avoid == 0 { 1 << self.best_link(order, avoid) } else { usable & !avoid };
        match mode {
            LinkMode::Passive => 1 << self.best_link(order, avoid),
            // A copy for every link, those that are avoided among them: that costs nothing, and one may have recovered.
            LinkMode::Active => fresh | usable,
            LinkMode::RoundRobin => {
                // The next one after the last, by number.
                let after = fresh & u8::MAX.checked_shl(u32::from(self.turn) + 1).unwrap_or(0);
                self.turn = if after == 0 { fresh.trailing_zeros() } else { after.trailing_zeros() } as u8;
                1 << self.turn
            }
        }
    }

    pub fn all_unreachable(&self, order: &[u8]) -> bool {
        order.iter().all(|n| self.links.get(usize::from(*n)).is_some_and(|l| l.unreachable))
    }

    pub fn link_status(&self, mode: LinkMode, order: &[u8], sizes: &Sizes) -> Vec<LinkStatus> {
        let used = self.links_in_use(mode, order);
        let mut numbers = order.to_vec();
        numbers.sort_unstable();
        let one = |n: u8| {
            let link = self.links.get(usize::from(n)).copied().unwrap_or_default();
            link.status(n, sizes, self.said.your_links >> n & 1 == 1, link.up && used >> n & 1 == 1)
        };
        numbers.into_iter().map(one).collect()
    }
}
