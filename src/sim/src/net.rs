//! The networks between hosts: the links of the ring, and the LAN on which the addresses live. Frames are lost, late, repeated,
//! out of order; both networks are cut one way or both ways.

use crate::rng::Rng;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A directed pair.
type Way = (NodeId, NodeId);

#[derive(Clone, Debug)]
pub struct Weather {
    /// Parts in a thousand.
    pub loss: u64,
    pub repeat: u64,
    /// Microseconds one way, at least and at most.
    pub delay_us: (u64, u64),
}

impl Weather {
    pub const FAIR: Weather = Weather { loss: 0, repeat: 0, delay_us: (80, 160) };
}

#[derive(Debug)]
pub struct Net {
    pub weather: Weather,
    ring_cut: BTreeSet<Way>,
    /// Of one link alone.
    link_cut: BTreeSet<(u8, Way)>,
    pub links: u8,
    /// The largest datagram of each link; without, there is no limit.
    largest: Vec<Option<usize>>,
    /// Of a link that carries less than it did, and does not say so; whether that is how it is from now on.
    narrow: BTreeMap<u8, (usize, bool)>,
    lan_cut: BTreeSet<Way>,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Ring,
    Lan,
    Both,
}

impl Net {
    pub fn new(links: u8, largest: Vec<Option<usize>>) -> Net {
        let (ring_cut, link_cut, lan_cut, narrow) = Default::default();
        Net { weather: Weather::FAIR, ring_cut, link_cut, links, largest, narrow, lan_cut }
    }

    pub fn cut(&mut self, which: Which, from: NodeId, to: NodeId) {
        if which != Which::Lan {
            self.ring_cut.insert((from, to));
        }
        if which != Which::Ring {
            self.lan_cut.insert((from, to));
        }
    }

    pub fn mend(&mut self, which: Which, from: NodeId, to: NodeId) {
        if which != Which::Lan {
            self.ring_cut.remove(&(from, to));
        }
        if which != Which::Ring {
            self.lan_cut.remove(&(from, to));
        }
    }

    pub fn mend_all(&mut self) {
        let mut narrow = std::mem::take(&mut self.narrow);
        narrow.retain(|_, (_, stays)| *stays);
        *self = Net { narrow, ..Net::new(self.links, std::mem::take(&mut self.largest)) };
    }

    pub fn cut_link(&mut self, link: u8, from: NodeId, to: NodeId) {
        self.link_cut.insert((link, (from, to)));
    }

    pub fn mend_link(&mut self, link: u8, from: NodeId, to: NodeId) {
        self.link_cut.remove(&(link, (from, to)));
    }

    pub fn narrow(&mut self, link: u8, largest: usize, stays: bool) {
        self.narrow.insert(link, (largest, stays));
    }

    pub fn widen(&mut self, link: u8) {
        self.narrow.retain(|l, (_, stays)| *l != link || *stays);
    }

    /// Whether a datagram of so many bytes is not too large for the link.
    pub fn fits(&self, link: u8, bytes: usize) -> bool {
        let largest = self.largest.get(usize::from(link)).copied().flatten();
        largest.into_iter().chain(self.narrow.get(&link).map(|(most, _)| *most)).all(|most| bytes <= most)
    }

    fn carries(&self, link: u8, way: Way) -> bool {
        !self.ring_cut.contains(&way) && !self.link_cut.contains(&(link, way))
    }

    /// Delays of the copies that arrive of a frame of the ring.
    pub fn carry(&mut self, rng: &mut Rng, link: u8, from: NodeId, to: NodeId) -> Copies {
        let Weather { loss, repeat, delay_us: (least, most) } = self.weather;
        let lost = !self.carries(link, (from, to)) || (loss > 0 && rng.below(1000) < loss);
        let again = repeat > 0 && rng.below(1000) < repeat;
        let mut delay = || rng.between(least, most);
        Copies([(!lost).then(&mut delay), (!lost && again).then(&mut delay)])
    }

    /// Whether some link works both ways.
    pub fn ring_meets(&self, a: NodeId, b: NodeId) -> bool {
        (0..self.links).any(|link| self.carries(link, (a, b)) && self.carries(link, (b, a)))
    }

    /// Whether two hosts hear each other on the LAN.
    pub fn meet(&self, a: NodeId, b: NodeId) -> bool {
        !self.lan_cut.contains(&(a, b)) && !self.lan_cut.contains(&(b, a))
    }
}

/// Delays in microseconds.
pub struct Copies(pub [Option<u64>; 2]);
