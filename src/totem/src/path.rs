//! The size of datagram that a link to a peer carries, found beside the traffic (after RFC 8899).
//!
//! ```text
//!                            passes
//!   size in use: does it pass? ------> a larger one, halfway to what does not pass: does it? ---+ until there is none between
//!      | not                                                              ^                     |
//!      +--> USUAL_DATAGRAM, else SMALLEST_DATAGRAM, are in use at once ---+---------------------+--> rest for `interval`
//! ```
//!
//! A question is a pair: a datagram of the size in question and, right behind it, a small one. Only if the small one is answered and
//! the other is not was that one lost for its size; where neither is, the peer is busy or gone, and nothing is concluded. Meanwhile
//! data takes the size that was good last, and nothing waits: what was lost is sent again in datagrams of at most
//! [`USUAL_DATAGRAM`], which every network carries that has IPv6. No report of the network is believed: it is a reason to ask.

use crate::codec::{Frame, PROBE_BYTES, Probe};
use crate::config::{SMALLEST_DATAGRAM, USUAL_DATAGRAM};
use crate::node::Node;
use crate::types::Event;
use base::{NodeId, Time};
use std::time::Duration;

/// Pairs of which the large one was lost, after which the size in use is given up: chance must not do it.
const LOST_IN_USE: u8 = 3;
/// … and after which a larger size is not used.
const LOST_LARGER: u8 = 2;
/// Pairs without any answer, after which the question is put off.
const UNANSWERED: u8 = 4;
const PUT_OFF: Duration = Duration::from_secs(1);
/// An answer takes up to three round trips, but is waited for at least so long and at most that long.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Between two questions for a doubt.
const DOUBT_EVERY: Duration = Duration::from_millis(100);

/// What the operator says of sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Not to be looked for: datagrams are as large as this (`knet_mtu`).
    pub fixed: Option<usize>,
    pub largest: usize,
    /// Between two looks at whether more, or still as much, passes (`knet_pmtud_interval`).
    pub interval: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Goal {
    /// Whether the size in use still passes; then, unless this is but a doubt, whether there is more.
    Keep {
        doubt: bool,
    },
    Larger,
    /// One more than passed at the last look, where that was all.
    OneMore,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    goal: Goal,
    size: usize,
    /// Of the pair that is on its way.
    number: Option<u32>,
    small_came: bool,
    lost: u8,
    unanswered: u8,
    until: Time,
}

/// Of one link to one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    size: usize,
    /// The smallest that is known not to pass.
    too_large: usize,
    question: Option<Question>,
    next: Option<Time>,
    /// Said of it last.
    told: usize,
    doubted: Option<Time>,
    /// Pairs that had to be sent again.
    pub repeated: u64,
}

/// Two probes under one number: of the size in question, and a small one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ask {
    pub number: u32,
    pub sizes: [usize; 2],
}

impl Default for Path {
    fn default() -> Path {
        let (size, too_large, told) = (USUAL_DATAGRAM, usize::MAX, USUAL_DATAGRAM);
        Path { size, too_large, told, question: None, next: None, doubted: None, repeated: 0 }
    }
}

impl Path {
    /// Datagrams with data are at most so large.
    pub fn size(&self, sizes: &Sizes) -> usize {
        sizes.fixed.unwrap_or(self.size).clamp(SMALLEST_DATAGRAM, sizes.largest.max(SMALLEST_DATAGRAM))
    }

    /// … of what is sent again.
    pub fn small(&self, sizes: &Sizes) -> usize {
        self.size(sizes).min(USUAL_DATAGRAM)
    }

    /// The link came up: all is looked at anew.
    pub fn up(&mut self, now: Time) {
        self.too_large = usize::MAX;
        self.ask(now, Goal::Keep { doubt: false }, self.size);
    }

    /// It went down: nothing is to be learnt.
    pub fn down(&mut self) {
        self.question = None;
        self.next = None;
    }

    /// What went in datagrams of this size did not come in time, or the network says that it does not pass.
    pub fn doubt(&mut self, now: Time) {
        let lately = self.doubted.is_some_and(|t| now.since(t) < DOUBT_EVERY);
        let asked = self.question.is_some_and(|q| matches!(q.goal, Goal::Keep { .. }));
        if self.next.is_some() && !lately && !asked {
            self.doubted = Some(now);
            // A search that this interrupts goes on afterwards.
            self.ask(now, Goal::Keep { doubt: self.question.is_none() }, self.size);
        }
    }

    /// This host itself takes no datagram of this size.
    pub fn refused(&mut self, now: Time, size: usize, sizes: &Sizes) {
        if self.size >= size {
            self.shrink(now, size, sizes);
        } else if self.question.is_some_and(|q| q.size >= size) {
            self.too_large = self.too_large.min(size);
            self.go_on(now, sizes);
        }
    }

    /// What it was before, if it is something else now: less at once, more when the search is over.
    pub fn news(&mut self) -> Option<usize> {
        let settled = self.size < self.told || self.question.is_none() && self.size > self.told;
        settled.then(|| std::mem::replace(&mut self.told, self.size))
    }

    pub fn deadline(&self) -> Option<Time> {
        self.question.map(|q| q.until).or(self.next)
    }

    /// What to ask now.
    pub fn due(&mut self, now: Time, rtt: Option<Duration>, sizes: &Sizes, number: &mut u32) -> Option<Ask> {
        if sizes.fixed.is_some() || self.deadline().is_none_or(|t| t > now) {
            return None;
        }
        match self.question {
            None => self.ask(now, Goal::Keep { doubt: false }, self.size(sizes)),
            Some(q) if q.number.is_some() => self.without_answer(now, q, sizes),
            Some(_) => {}
        }
        let q = self.question.as_mut()?;
        *number = number.wrapping_add(1);
        q.number = Some(*number);
        q.small_came = false;
        q.until = now + rtt.map_or(SHORTEST_WAIT, |rtt| rtt * 3).clamp(SHORTEST_WAIT, LONGEST_WAIT);
        Some(Ask { number: *number, sizes: [q.size, PROBE_BYTES] })
    }

    /// The time for an answer is over.
    fn without_answer(&mut self, now: Time, mut q: Question, sizes: &Sizes) {
        self.repeated += 1;
        if q.small_came {
            q.lost += 1;
        } else {
            q.unanswered += 1;
        }
        self.question = Some(q);
        if q.unanswered >= UNANSWERED {
            self.question = None;
            self.next = Some(now + PUT_OFF.min(sizes.interval));
            return;
        }
        match q.goal {
            Goal::Keep { .. } if q.lost >= LOST_IN_USE => self.shrink(now, q.size, sizes),
            Goal::Larger if q.lost >= LOST_LARGER => {
                self.too_large = self.too_large.min(q.size);
                self.go_on(now, sizes);
            }
            Goal::OneMore if q.lost > 0 => self.rest(now, sizes),
            _ => {}
        }
    }

    /// A probe came there.
    pub fn answered(&mut self, now: Time, number: u32, size: usize, sizes: &Sizes) {
        let Some(q) = self.question.as_mut().filter(|q| q.number == Some(number)) else { return };
        if size != q.size {
            q.small_came |= size == PROBE_BYTES;
            return;
        }
        let goal = q.goal;
        self.size = size;
        if self.too_large <= size {
            // It carries more than before.
            self.too_large = usize::MAX;
        }
        let largest = size >= sizes.largest;
        let all = self.larger(sizes).is_none();
        match goal {
            Goal::Keep { doubt: true } => self.rest(now, sizes),
            Goal::Keep { .. } if all && !largest => self.ask(now, Goal::OneMore, size + 1),
            _ => self.go_on(now, sizes),
        }
    }

    /// What is in use does not pass: less is, from now on.
    fn shrink(&mut self, now: Time, not: usize, sizes: &Sizes) {
        let before = self.size;
        self.too_large = self.too_large.min(not);
        if before <= SMALLEST_DATAGRAM {
            // There is nothing less; the next look may find that it passes again.
            return self.rest(now, sizes);
        }
        self.size = if USUAL_DATAGRAM < not.min(before) { USUAL_DATAGRAM } else { SMALLEST_DATAGRAM };
        self.ask(now, Goal::Keep { doubt: false }, self.size);
    }

    fn go_on(&mut self, now: Time, sizes: &Sizes) {
        match self.larger(sizes) {
            Some(size) => self.ask(now, Goal::Larger, size),
            None => self.rest(now, sizes),
        }
    }

    /// Halfway between what passes and what does not.
    fn larger(&self, sizes: &Sizes) -> Option<usize> {
        let size = self.size(sizes);
        let between = self.too_large.min(sizes.largest + 1).saturating_sub(size);
        (between > 1).then(|| size + between / 2)
    }

    fn rest(&mut self, now: Time, sizes: &Sizes) {
        self.question = None;
        self.next = Some(now + sizes.interval);
    }

    fn ask(&mut self, now: Time, goal: Goal, size: usize) {
        self.next = Some(now);
        self.question =
            Some(Question { goal, size, number: None, small_came: false, lost: 0, unanswered: 0, until: now });
    }
}

impl Node {
    /// A datagram of so many bytes is more than this host sends over the link; or, without a number, the network reports that one
    /// was too large somewhere.
    pub fn too_large(&mut self, now: Time, node: NodeId, link: u8, bytes: Option<usize>) {
        self.note_run(now);
        let sizes = self.config.sizes;
        self.with_path(node, link, |path| match bytes {
            Some(bytes) => path.refused(now, bytes, &sizes),
            None => path.doubt(now),
        });
    }

    /// What went over these links in datagrams of up to `bytes` did not come in time.
    pub(crate) fn doubt_sizes(&mut self, now: Time, node: NodeId, links: u8, bytes: usize) {
        let Some(peer) = self.peers.get_mut(&node).filter(|_| bytes > SMALLEST_DATAGRAM) else { return };
        let doubted = (0u8..).zip(&mut peer.links).filter(|(n, _)| links >> n & 1 == 1);
        doubted.for_each(|(_, l)| l.path.doubt(now));
    }

    pub(crate) fn sizes_deadline(&self) -> Option<Time> {
        if self.config.sizes.fixed.is_some() {
            return None;
        }
        // Of the links that there are, whatever came over others.
        let of_link = |p: &crate::peer::Peer, n: u8| p.links.get(usize::from(n)).and_then(|l| l.path.deadline());
        let of_peer = |p: &crate::peer::Peer| self.links.iter().filter_map(|n| of_link(p, *n)).min();
        self.peers.values().filter_map(of_peer).min()
    }

    pub(crate) fn sizes_due(&mut self, now: Time) {
        if self.sizes_deadline().is_none_or(|t| t > now) {
            return;
        }
        let (sizes, links) = (self.config.sizes, self.links.clone());
        for node in self.peers.keys().copied().collect::<Vec<_>>() {
            for link in links.iter().copied() {
                let (mut asked, mut number) = (None, self.probes);
                let known = self.peers.get(&node).and_then(|p| p.links.get(usize::from(link)));
                let rtt = known.and_then(|l| l.rtt_us).map(Duration::from_micros);
                self.with_path(node, link, |path| asked = path.due(now, rtt, &sizes, &mut number));
                self.probes = number;
                let Some(Ask { number, sizes }) = asked else { continue };
                for size in sizes {
                    let probe = Probe { number, size: u16::try_from(size).unwrap_or(u16::MAX) };
                    self.send_bytes(node, link, Frame::Probe(probe).encode().into());
                }
            }
        }
    }

    pub(crate) fn on_probe(&mut self, from: NodeId, link: u8, probe: Probe) {
        self.send_bytes(from, link, Frame::ProbeReply(probe).encode().into());
    }

    pub(crate) fn on_probe_reply(&mut self, now: Time, from: NodeId, link: u8, probe: Probe) {
        let sizes = self.config.sizes;
        self.with_path(from, link, |path| path.answered(now, probe.number, probe.size.into(), &sizes));
    }

    fn with_path(&mut self, node: NodeId, link: u8, change: impl FnOnce(&mut Path)) {
        let Some(l) = self.peers.get_mut(&node).and_then(|p| p.links.get_mut(usize::from(link))) else { return };
        change(&mut l.path);
        if let Some(before) = l.path.news() {
            let bytes = l.path.size;
            self.event(Event::LinkSize { node, link, bytes, before });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::LARGEST_DATAGRAM;

    const SIZES: Sizes = Sizes { fixed: None, largest: LARGEST_DATAGRAM, interval: Duration::from_secs(30) };
    const RTT: Duration = Duration::from_micros(200);

    /// A path of which the far end carries `far` bytes, and this host `near`; neither says anything of what it drops but this host.
    struct Way {
        path: Path,
        now: Time,
        near: usize,
        far: usize,
        number: u32,
        probes: u64,
        /// Of the small ones as well: nobody is there.
        silent: bool,
    }

    impl Way {
        fn new(near: usize, far: usize) -> Way {
            let mut way = Way {
                path: Path::default(),
                now: Time::from_millis(1000),
                near,
                far,
                number: 0,
                probes: 0,
                silent: false,
            };
            way.path.up(way.now);
            way
        }

        /// Until there is nothing to ask for a while, at most for `limit`; gives the time.
        fn run(&mut self, limit: Duration) -> Duration {
            let began = self.now;
            while let Some(due) = self.path.deadline().filter(|t| t.since(began) <= limit) {
                self.now = self.now.max(due);
                let Some(ask) = self.path.due(self.now, Some(RTT), &SIZES, &mut self.number) else { continue };
                for size in ask.sizes {
                    self.probes += 1;
                    if size > self.near {
                        self.path.refused(self.now, size, &SIZES);
                    } else if size <= self.far && !self.silent {
                        self.path.answered(self.now + RTT, ask.number, size, &SIZES);
                    }
                }
            }
            self.now.since(began)
        }

        fn size(&self) -> usize {
            self.path.size(&SIZES)
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_size_is_found_whoever_drops_what_is_larger() {
        for carried in [484, 485, 900, 1187, 1188, 1189, 1408, 1428, 2000, 8928, LARGEST_DATAGRAM - 1, LARGEST_DATAGRAM]
        {
            let mut told = Way::new(carried, usize::MAX);
            let mut dropped = Way::new(usize::MAX, carried);
            let took = (told.run(SECOND), dropped.run(SECOND));
            assert_eq!((told.size(), dropped.size()), (carried, carried));
            assert!(took.0 < Duration::from_millis(20) && took.1 < Duration::from_millis(500), "{carried}: {took:?}");
            assert!(told.probes < 60 && dropped.probes < 90, "{} {}", told.probes, dropped.probes);
        }
    }

    #[test]
    fn a_look_costs_little_and_finds_less_and_more() {
        let mut way = Way::new(usize::MAX, 1428);
        way.run(SECOND);
        let before = way.probes;
        way.run(Duration::from_secs(600));
        assert!(way.probes - before <= 20 * 4, "{} probes in ten minutes", way.probes - before);
        assert_eq!(way.size(), 1428);
        for carried in [8928, 1208, 600, 1428, LARGEST_DATAGRAM, 484] {
            way.far = carried;
            way.run(SIZES.interval + SECOND);
            assert_eq!(way.size(), carried);
        }
    }

    #[test]
    fn a_doubt_finds_a_hole_at_once_and_a_needless_one_changes_nothing() {
        let mut way = Way::new(usize::MAX, 8928);
        way.run(SECOND);
        way.path.doubt(way.now);
        let before = way.probes;
        way.run(SECOND);
        assert_eq!((way.size(), way.probes - before), (8928, 2));
        way.far = 1428;
        way.now = way.now + SECOND;
        way.path.doubt(way.now);
        way.run(SHORTEST_WAIT * 3);
        assert_eq!(way.size(), USUAL_DATAGRAM, "after three pairs");
        way.run(SECOND);
        assert_eq!(way.size(), 1428);
    }

    #[test]
    fn silence_says_nothing_of_the_size() {
        let mut way = Way::new(usize::MAX, 1428);
        way.run(SECOND);
        way.silent = true;
        way.path.doubt(way.now);
        way.run(Duration::from_secs(120));
        assert_eq!(way.size(), 1428);
        way.path.down();
        assert_eq!(way.path.deadline(), None);
        way.path.doubt(way.now);
        assert_eq!(way.path.deadline(), None, "not while it is down");
        way.silent = false;
        way.far = 8928;
        way.path.up(way.now);
        way.run(SECOND);
        assert_eq!(way.size(), 8928);
    }

    #[test]
    fn what_the_operator_says_is_not_looked_for() {
        let sizes = Sizes { fixed: Some(1108), ..SIZES };
        let mut way = Way::new(usize::MAX, usize::MAX);
        let now = way.now;
        assert_eq!(way.path.due(now, None, &sizes, &mut 0), None);
        assert_eq!((way.path.size(&sizes), way.path.small(&sizes)), (1108, 1108));
    }
}
