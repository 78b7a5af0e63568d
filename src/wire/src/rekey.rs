//! The key changes while packets flow: for a while a node speaks with two.
//!
//! Each peer is spoken to under the newest key as soon as it is known to have it as well, and heard under both. So it does not matter
//! who changes first, and between the two keys there is no moment without one. After [`KEEP_OLD_FOR`] the old one opens nothing
//! any more.

use crate::frame::Session;
use crate::seal::Root;
use crate::session::{DropCounters, Dropped, Endpoint, Opened, SealError};
use base::{NodeId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// All nodes change at the same place of one order; what is slower than this has missed it.
pub const KEEP_OLD_FOR: Duration = Duration::from_secs(10);

/// An [`Endpoint`] whose key can change.
pub struct Endpoints {
    me: NodeId,
    peers: BTreeSet<NodeId>,
    newest: Endpoint,
    old: Option<(Endpoint, Time)>,
    /// What those that are gone had dropped.
    dropped: DropCounters,
}

impl Endpoints {
    /// `session` must be random and new.
    pub fn new(root: &Root, me: NodeId, cluster: &str, session: Session) -> Endpoints {
        let newest = Endpoint::new(root, me, cluster, session);
        Endpoints { me, peers: BTreeSet::new(), newest, old: None, dropped: DropCounters::default() }
    }

    /// As [`Endpoint::set_peers`].
    pub fn set_peers(&mut self, now: Time, peers: impl IntoIterator<Item = NodeId>) {
        self.peers = peers.into_iter().collect();
        self.newest.set_peers(now, self.peers.iter().copied());
        if let Some((old, _)) = &mut self.old {
            old.set_peers(now, self.peers.iter().copied());
        }
    }

    /// From now on another key counts; `session` must be random and new. Of keys before the last one nothing opens any more.
    pub fn rekey(&mut self, now: Time, root: &Root, cluster: &str, session: Session) {
        let mut newest = Endpoint::new(root, self.me, cluster, session);
        newest.set_peers(now, self.peers.iter().copied());
        let last = std::mem::replace(&mut self.newest, newest);
        if let Some((older, _)) = self.old.replace((last, now + KEEP_OLD_FOR)) {
            self.dropped += older.dropped();
        }
    }

    /// As [`Endpoint::seal_into`].
    pub fn seal(&mut self, to: NodeId, body: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        match &mut self.old {
            Some((old, _)) if !self.newest.is_confirmed(to) && old.is_established(to) => old.seal_into(to, body, out),
            _ => self.newest.seal_into(to, body, out),
        }
    }

    /// As [`Endpoint::open_in_place`].
    pub fn open<'p>(&mut self, now: Time, packet: &'p mut [u8]) -> Result<Opened<&'p [u8]>, Dropped> {
        match &mut self.old {
            Some((old, until)) if now < *until && !self.newest.reads(packet) && old.reads(packet) => {
                old.open_in_place(now, packet)
            }
            _ => self.newest.open_in_place(now, packet),
        }
    }

    /// As [`Endpoint::refuse`].
    pub fn refuse(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        self.newest.refuse(packet)
    }

    pub fn poll_transmit(&mut self, now: Time) -> Option<(NodeId, Vec<u8>)> {
        if let Some((old, _)) = self.old.take_if(|(_, until)| *until <= now) {
            self.dropped += old.dropped();
        }
        let of_old = self.old.as_mut().and_then(|(old, _)| old.poll_transmit(now));
        of_old.or_else(|| self.newest.poll_transmit(now))
    }

    /// When `poll_transmit` has something to do.
    pub fn poll_timeout(&self) -> Option<Time> {
        let of_old = self.old.as_ref().map(|(old, until)| old.poll_timeout().map_or(*until, |t| t.min(*until)));
        [of_old, self.newest.poll_timeout()].into_iter().flatten().min()
    }

    pub fn dropped(&self) -> DropCounters {
        let mut all = self.dropped;
        all += self.newest.dropped();
        if let Some((old, _)) = &self.old {
            all += old.dropped();
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn key(byte: u8) -> Root {
        Root::new(&[byte; 256])
    }

    /// Packets on their way, with the time at which each arrives.
    #[derive(Default)]
    struct Pair {
        ends: Vec<Endpoints>,
        wire: Vec<(u64, usize, Vec<u8>)>,
        got: Vec<u32>,
    }

    impl Pair {
        fn new() -> Pair {
            let end = |me, session| {
                let mut e = Endpoints::new(&key(1), me, "web", [session; 16]);
                e.set_peers(Time::ZERO, [A, B]);
                e
            };
            Pair { ends: vec![end(A, 10), end(B, 20)], ..Pair::default() }
        }

        /// One ms; packets take three.
        fn step(&mut self, ms: u64) {
            let now = Time::from_millis(ms);
            let (due, rest) = std::mem::take(&mut self.wire).into_iter().partition(|(at, _, _)| *at <= ms);
            self.wire = rest;
            let due: Vec<(u64, usize, Vec<u8>)> = due;
            for (_, to, mut packet) in due {
                if let Ok(Opened::Data(_, body)) = self.ends[to].open(now, &mut packet) {
                    self.got.push(u32::from_le_bytes(body.try_into().unwrap()));
                }
            }
            for from in 0..2 {
                while let Some((_, packet)) = self.ends[from].poll_transmit(now) {
                    self.wire.push((ms + 3, 1 - from, packet));
                }
            }
        }

        fn rekey(&mut self, end: usize, ms: u64, byte: u8) {
            self.ends[end].rekey(Time::from_millis(ms), &key(byte), "web", [byte + end as u8; 16]);
        }
    }

    #[test]
    fn every_packet_passes_while_the_key_changes_whoever_is_first() {
        for late in [0, 1, 5, 50, 500] {
            for first in [0, 1] {
                let mut pair = Pair::new();
                (0..1000).for_each(|ms| pair.step(ms));
                let mut sent = 0;
                for ms in 1000..3000 {
                    if ms == 1100 {
                        pair.rekey(first, ms, 40);
                    }
                    if ms == 1100 + late {
                        pair.rekey(1 - first, ms, 40);
                    }
                    for from in [0, 1] {
                        let to = if from == 0 { B } else { A };
                        let mut packet = Vec::new();
                        pair.ends[from].seal(to, &u32::to_le_bytes(sent), &mut packet).unwrap();
                        pair.wire.push((ms + 3, 1 - from, packet));
                        sent += 1;
                    }
                    pair.step(ms);
                }
                (3000..3010).for_each(|ms| pair.step(ms));
                assert_eq!(pair.got.len() as u32, sent, "{late} ms apart, {first} first");
                assert!(pair.ends[0].newest.is_confirmed(B) && pair.ends[1].newest.is_confirmed(A));
            }
        }
    }

    #[test]
    fn the_old_key_ends_and_a_wrong_one_never_begins() {
        let mut pair = Pair::new();
        (0..1000).for_each(|ms| pair.step(ms));
        pair.rekey(0, 1000, 40);
        let mut recorded = Vec::new();
        pair.ends[1].seal(A, &[0; 4], &mut recorded).unwrap();
        (1000..11_001).for_each(|ms| pair.step(ms));
        // B kept the old key: nothing passes any more.
        assert!(pair.ends[0].open(Time::from_millis(11_001), &mut recorded).is_err());
        assert!(matches!(pair.ends[0].seal(B, b"", &mut Vec::new()), Err(SealError::NoSession(_))));
        let before = pair.ends[0].dropped().total();
        (11_001..13_000).for_each(|ms| pair.step(ms));
        assert!(pair.ends[0].dropped().total() > before, "counted, the old ones as well");
    }
}
