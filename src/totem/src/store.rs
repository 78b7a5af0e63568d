//! The frames of one ring that this node holds.
//!
//! `safe <= delivered <= aru <= high`: everything up to `aru` has come; up to `delivered` it went to the user; up to `safe`
//! every member is known to have it, so that it may be forgotten.

use crate::codec::Data;
use crate::config::MAX_OUTSTANDING;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Store {
    frames: BTreeMap<u64, Data>,
    pub aru: u64,
    pub high: u64,
    pub delivered: u64,
    pub safe: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inserted {
    New,
    Duplicate,
    /// Further ahead than a correct ring ever gets.
    TooFar,
}

impl Store {
    pub fn insert(&mut self, data: Data) -> Inserted {
        let seq = data.seq;
        if self.has(seq) {
            return Inserted::Duplicate;
        }
        if seq > self.aru.saturating_add(MAX_OUTSTANDING) {
            return Inserted::TooFar;
        }
        self.frames.insert(seq, data);
        self.high = self.high.max(seq);
        while self.frames.contains_key(&(self.aru + 1)) {
            self.aru += 1;
        }
        Inserted::New
    }

    pub fn has(&self, seq: u64) -> bool {
        seq <= self.aru || self.frames.contains_key(&seq)
    }

    /// `None` also if it has been forgotten.
    pub fn get(&self, seq: u64) -> Option<&Data> {
        self.frames.get(&seq)
    }

    /// The next frame in order, if there is one.
    pub fn next_in_order(&mut self) -> Option<&Data> {
        if self.delivered >= self.aru {
            return None;
        }
        self.delivered += 1;
        self.frames.get(&self.delivered)
    }

    /// Everybody has everything up to `seq`. Returns whether that is news.
    pub fn set_safe(&mut self, seq: u64) -> bool {
        let seq = seq.min(self.delivered);
        if seq <= self.safe {
            return false;
        }
        self.safe = seq;
        self.frames = self.frames.split_off(&(seq + 1));
        true
    }

    /// What is missing up to `upto`, lowest first.
    pub fn missing(&self, upto: u64) -> impl Iterator<Item = u64> + '_ {
        let end = upto.min(self.aru.saturating_add(MAX_OUTSTANDING));
        (self.aru + 1..=end).filter(|s| !self.frames.contains_key(s))
    }

    /// One bit per number in `aru + 1 ..= high`.
    pub fn bitmap(&self) -> Vec<u8> {
        let mut bits = vec![0u8; (self.high - self.aru).div_ceil(8) as usize];
        for seq in self.frames.range(self.aru + 1..).map(|(s, _)| *s) {
            let at = seq - self.aru - 1;
            if let Some(byte) = bits.get_mut((at / 8) as usize) {
                *byte |= 1 << (at % 8);
            }
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ViewId;
    use base::NodeId;

    fn frame(seq: u64) -> Data {
        let (ring, sender) = (ViewId::NONE, NodeId(1));
        Data { ring, seq, sender, recovery: false, msg: seq, index: 0, count: 1, payload: bytes::Bytes::new() }
    }

    #[test]
    fn order_holes_and_forgetting() {
        let mut s = Store::default();
        for seq in [2, 5, 1, 9] {
            assert_eq!(s.insert(frame(seq)), Inserted::New);
        }
        assert_eq!(s.insert(frame(2)), Inserted::Duplicate);
        assert_eq!((s.aru, s.high), (2, 9));
        assert_eq!(s.missing(9).collect::<Vec<_>>(), [3, 4, 6, 7, 8]);
        assert_eq!(s.bitmap(), [0b0100_0100]);
        let mut got = Vec::new();
        while let Some(d) = s.next_in_order() {
            got.push(d.seq);
        }
        assert_eq!(got, [1, 2]);
        assert!(s.set_safe(7), "only what was delivered");
        assert_eq!(s.safe, 2);
        assert!(s.get(2).is_none() && s.has(2));
        assert_eq!(s.insert(frame(2 + MAX_OUTSTANDING + 1)), Inserted::TooFar);
    }
}
