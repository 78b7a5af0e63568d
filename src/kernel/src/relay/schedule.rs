//! IPVS's schedulers rr, wrr, lc, wlc and sh as pure functions over the table's order.
//!
//! Behaviour follows the kernel's `ip_vs_{rr,wrr,lc,wlc,sh}.c`: destinations of weight 0 and overloaded ones take no new
//! connections; round robin remembers where it was; `wrr` steps a current weight down by the greatest common divisor;
//! `lc` and `wlc` count an active connection as 256 inactive ones; `sh` hashes the client over 256 buckets.

use base::ipvs::service_flags;
use std::net::{IpAddr, SocketAddr};

/// What a scheduler needs to know of one destination; slices are in the table's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub weight: u32,
    pub active: u32,
    pub inactive: u32,
    pub overloaded: bool,
}

impl Candidate {
    fn takes_new(&self) -> bool {
        self.weight > 0 && !self.overloaded
    }

    /// `ip_vs_dest_conn_overhead`.
    fn overhead(&self) -> u64 {
        (u64::from(self.active) << 8) + u64::from(self.inactive)
    }
}

/// Names that [`Scheduler::new`] knows.
pub const NAMES: &[&str] = &["rr", "wrr", "lc", "wlc", "sh"];
const SH_BITS: u32 = 8;
const SH_BUCKETS: usize = 1 << SH_BITS;
/// `GOLDEN_RATIO_32` of the kernel's `hash_32`.
const HASH_MULTIPLIER: u32 = 0x61C8_8647;

/// A service's scheduler and its memory between connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scheduler {
    RoundRobin { last: Option<usize> },
    WeightedRoundRobin { at: Option<usize>, current: i64, max: i64, step: i64 },
    LeastConnection,
    WeightedLeastConnection,
    SourceHash { buckets: Vec<usize>, fallback: bool, with_port: bool },
}

impl Scheduler {
    /// `None` for a scheduler that the relay does not have. Call [`changed`](Self::changed) before the first pick.
    pub fn new(name: &str, flags: u32) -> Option<Scheduler> {
        Some(match name {
            "rr" => Scheduler::RoundRobin { last: None },
            "wrr" => Scheduler::WeightedRoundRobin { at: None, current: 0, max: 0, step: 1 },
            "lc" => Scheduler::LeastConnection,
            "wlc" => Scheduler::WeightedLeastConnection,
            "sh" => Scheduler::SourceHash {
                buckets: Vec::new(),
                fallback: flags & service_flags::SCHED1 != 0,
                with_port: flags & service_flags::SCHED2 != 0,
            },
            _ => return None,
        })
    }

    /// Tells of a changed list or weights. `moved(old index)` is where an old entry is now; for a removed one, where its
    /// predecessor is.
    pub fn changed(&mut self, list: &[Candidate], moved: impl Fn(usize) -> Option<usize>) {
        match self {
            Scheduler::RoundRobin { last } => *last = last.and_then(moved),
            Scheduler::WeightedRoundRobin { at, current, max, step } => {
                *at = None;
                *step = i64::from(list.iter().map(|c| c.weight).filter(|&w| w > 0).fold(0, gcd).max(1));
                let top = i64::from(list.iter().map(|c| c.weight).max().unwrap_or(0));
                *max = if top == 0 { 0 } else { top - (*step - 1) };
                if *current > *max || *current == 0 {
                    *current = *max;
                } else if *step > 1 {
                    *current = *current / *step * *step + 1;
                }
            }
            Scheduler::LeastConnection | Scheduler::WeightedLeastConnection => {}
            Scheduler::SourceHash { buckets, .. } => *buckets = fill_buckets(list),
        }
    }

    /// The destination for a new connection from `client`, as an index into `list`.
    pub fn pick(&mut self, list: &[Candidate], client: SocketAddr) -> Option<usize> {
        match self {
            Scheduler::RoundRobin { last } => {
                let start = last.map_or(0, |l| l + 1);
                let found = (0..list.len()).map(|i| (start + i) % list.len()).find(|&i| list[i].takes_new())?;
                *last = Some(found);
                Some(found)
            }
            Scheduler::WeightedRoundRobin { at, current, max, step } => {
                weighted_round_robin(list, at, current, *max, *step)
            }
            Scheduler::LeastConnection => {
                (0..list.len()).filter(|&i| list[i].takes_new()).min_by_key(|&i| list[i].overhead())
            }
            Scheduler::WeightedLeastConnection => weighted_least(list),
            Scheduler::SourceHash { buckets, fallback, with_port } => {
                source_hash(list, buckets, *fallback, if *with_port { client.port() } else { 0 }, client.ip())
            }
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn weighted_round_robin(
    list: &[Candidate],
    at: &mut Option<usize>,
    current: &mut i64,
    max: i64,
    step: i64,
) -> Option<usize> {
    let heaviest = list.iter().filter(|c| c.takes_new()).map(|c| i64::from(c.weight)).max()?;
    if max == 0 {
        return None;
    }
    loop {
        let start = at.map_or(0, |a| a + 1);
        let found = (start..list.len()).find(|&i| !list[i].overloaded && i64::from(list[i].weight) >= *current);
        if let Some(i) = found.filter(|_| *current > 0) {
            *at = Some(i);
            return found;
        }
        *at = None;
        *current -= step;
        if *current <= 0 {
            *current = max;
        }
        // Levels that only overloaded ones reach are passed in one go; after this a level is found within two rounds.
        if *current > heaviest {
            *current -= (*current - heaviest + step - 1) / step * step;
            if *current <= 0 {
                *current = 1;
            }
        }
    }
}

/// The first of the smallest overhead/weight; compared by cross multiplication as in the kernel.
fn weighted_least(list: &[Candidate]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (i, c) in list.iter().enumerate().filter(|(_, c)| c.takes_new()) {
        let better = match best {
            None => true,
            Some(b) => {
                let product = |overhead: u64, weight: u32| u128::from(overhead) * u128::from(weight);
                product(list[b].overhead(), c.weight) > product(c.overhead(), list[b].weight)
            }
        };
        if better {
            best = Some(i);
        }
    }
    best
}

/// Buckets go round the list, each destination getting as many in a row as its weight (at least one).
fn fill_buckets(list: &[Candidate]) -> Vec<usize> {
    if list.is_empty() {
        return Vec::new();
    }
    let (mut at, mut given) = (0, 0);
    (0..SH_BUCKETS)
        .map(|_| {
            let bucket = at;
            given += 1;
            if given >= list[at].weight {
                at = (at + 1) % list.len();
                given = 0;
            }
            bucket
        })
        .collect()
}

fn source_hash(list: &[Candidate], buckets: &[usize], fallback: bool, port: u16, client: IpAddr) -> Option<usize> {
    if buckets.is_empty() {
        return None;
    }
    let folded = match client {
        IpAddr::V4(a) => u32::from(a),
        IpAddr::V6(a) => {
            let word = |i: usize| u32::from(a.segments()[i]) << 16 | u32::from(a.segments()[i + 1]);
            word(0) ^ word(2) ^ word(4) ^ word(6)
        }
    };
    let hash = |offset: u32| {
        let mixed = u32::from(port).wrapping_add(folded).wrapping_mul(HASH_MULTIPLIER) >> (32 - SH_BITS);
        offset.wrapping_add(mixed) as usize % SH_BUCKETS
    };
    let first = hash(0);
    let usable =
        |bucket: usize| buckets.get(bucket).copied().filter(|&i| list.get(i).is_some_and(Candidate::takes_new));
    if !fallback {
        return usable(first);
    }
    // sh-fallback: the following buckets, with the first hash as their offset.
    usable(first).or_else(|| (0..SH_BUCKETS).find_map(|i| usable(hash(((i + first) % SH_BUCKETS) as u32))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(weights: &[u32]) -> Vec<Candidate> {
        weights.iter().map(|&weight| Candidate { weight, active: 0, inactive: 0, overloaded: false }).collect()
    }

    fn client(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 40_000 + u16::from(n)))
    }

    fn picks(name: &str, list: &[Candidate], n: usize) -> Vec<Option<usize>> {
        let mut s = Scheduler::new(name, 0).unwrap();
        s.changed(list, Some);
        (0..n).map(|_| s.pick(list, client(1))).collect()
    }

    #[test]
    fn round_robin_skips_quiescent_and_overloaded() {
        let mut l = list(&[1, 0, 1, 1]);
        l[3].overloaded = true;
        assert_eq!(picks("rr", &l, 4), [Some(0), Some(2), Some(0), Some(2)]);
        assert_eq!(picks("rr", &list(&[0, 0]), 1), [None]);
        assert_eq!(picks("rr", &[], 1), [None]);
    }

    #[test]
    fn round_robin_goes_on_from_the_predecessor_of_a_removed_one() {
        let mut s = Scheduler::new("rr", 0).unwrap();
        let three = list(&[1, 1, 1]);
        s.changed(&three, Some);
        assert_eq!((s.pick(&three, client(1)), s.pick(&three, client(1))), (Some(0), Some(1)));
        let two = list(&[1, 1]);
        s.changed(&two, |old| if old == 0 { Some(0) } else { Some(old - 1) }); // entry 1 went
        assert_eq!(s.pick(&two, client(1)), Some(1)); // the old entry 2
    }

    #[test]
    fn weighted_round_robin_gives_the_kernels_sequence() {
        let got: Vec<usize> = picks("wrr", &list(&[4, 3, 2]), 9).into_iter().flatten().collect();
        assert_eq!(got, [0, 0, 1, 0, 1, 2, 0, 1, 2]); // LVS documentation's AABABCABC
        let got: Vec<usize> = picks("wrr", &list(&[4, 2, 0]), 6).into_iter().flatten().collect();
        assert_eq!(got, [0, 0, 1, 0, 0, 1]);
        assert_eq!(picks("wrr", &list(&[0]), 1), [None]);
    }

    #[test]
    fn weighted_round_robin_passes_by_an_overloaded_heavy_one() {
        let mut l = list(&[2_000_000_000, 1]);
        l[0].overloaded = true;
        assert_eq!(picks("wrr", &l, 2), [Some(1), Some(1)]);
    }

    #[test]
    fn least_connections_count_active_as_256() {
        let mut l = list(&[1, 1, 2]);
        (l[0].active, l[1].inactive, l[2].active) = (1, 255, 1);
        assert_eq!(picks("lc", &l, 1), [Some(1)]);
        // wlc: 256/1, 255/1, 256/2.
        assert_eq!(picks("wlc", &l, 1), [Some(2)]);
        assert_eq!(picks("wlc", &list(&[1, 1]), 1), [Some(0)]);
    }

    #[test]
    fn source_hash_is_steady_and_fails_without_fallback() {
        let l = list(&[1, 1, 1]);
        let mut s = Scheduler::new("sh", 0).unwrap();
        s.changed(&l, Some);
        let first: Vec<_> = (0..100).map(|n| s.pick(&l, client(n))).collect();
        assert_eq!(first, (0..100).map(|n| s.pick(&l, client(n))).collect::<Vec<_>>());
        assert!((0..3).all(|i| first.contains(&Some(i))));
        let quiesced = list(&[1, 0, 1]);
        s.changed(&quiesced, Some);
        assert!((0..100).any(|n| s.pick(&quiesced, client(n)).is_none()));
        let mut s = Scheduler::new("sh", service_flags::SCHED1).unwrap();
        s.changed(&quiesced, Some);
        assert!((0..100).all(|n| matches!(s.pick(&quiesced, client(n)), Some(0 | 2))));
    }

    #[test]
    fn source_hash_matches_hash_32() {
        // hash_32(10.0.0.1) = 0x0a000001 * 0x61C88647 mod 2^32 = 0x308af_547..., top byte selects the bucket.
        let bucket = (0x0a00_0001u32.wrapping_mul(HASH_MULTIPLIER) >> 24) as usize;
        let l = list(&[1; 256]);
        assert_eq!(picks("sh", &l, 1), [Some(bucket)]);
    }
}
