//! The networks between hosts: one for the ring, and the LAN on which the addresses live. Frames are lost, late, repeated,
//! out of order; both networks are cut one way or both ways.

use crate::rng::Rng;
use base::NodeId;
use std::collections::BTreeSet;

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
    lan_cut: BTreeSet<Way>,
}

impl Default for Net {
    fn default() -> Net {
        Net { weather: Weather::FAIR, ring_cut: BTreeSet::new(), lan_cut: BTreeSet::new() }
    }
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    Ring,
    Lan,
    Both,
}

impl Net {
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
        *self = Net::default();
    }

    /// Delays of the copies that arrive of a frame of the ring.
    pub fn carry(&mut self, rng: &mut Rng, from: NodeId, to: NodeId) -> Copies {
        let Weather { loss, repeat, delay_us: (least, most) } = self.weather;
        let lost = self.ring_cut.contains(&(from, to)) || (loss > 0 && rng.below(1000) < loss);
        let again = repeat > 0 && rng.below(1000) < repeat;
        let mut delay = || rng.between(least, most);
        Copies([(!lost).then(&mut delay), (!lost && again).then(&mut delay)])
    }

    pub fn ring_meets(&self, a: NodeId, b: NodeId) -> bool {
        !self.ring_cut.contains(&(a, b)) && !self.ring_cut.contains(&(b, a))
    }

    /// Whether two hosts hear each other on the LAN.
    pub fn meet(&self, a: NodeId, b: NodeId) -> bool {
        !self.lan_cut.contains(&(a, b)) && !self.lan_cut.contains(&(b, a))
    }
}

/// Delays in microseconds.
pub struct Copies(pub [Option<u64>; 2]);
