//! Packets that go to one peer over one link in one call (`UDP_SEGMENT`): equally long, the last one perhaps shorter.

use base::NodeId;

/// Of one call; the kernel takes 64.
const MAX_PACKETS: usize = 64;
/// A call takes one datagram's largest payload.
const MAX_BYTES: usize = 65_000;

pub(super) struct Batch {
    pub to: NodeId,
    pub link: u8,
    /// Length of each packet but the last.
    pub each: usize,
    pub bytes: Vec<u8>,
    last: usize,
}

impl Batch {
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.each.max(1))
    }

    pub fn is_single(&self) -> bool {
        self.bytes.len() <= self.each
    }

    fn takes(&self, length: usize) -> bool {
        let count = self.bytes.len() / self.each.max(1);
        self.last == self.each && length <= self.each && count < MAX_PACKETS && self.bytes.len() + length <= MAX_BYTES
    }
}

/// One for each way at most. Between two ways order does not matter; on one it is kept.
#[derive(Default)]
pub(super) struct Batches {
    filling: Vec<Batch>,
    /// Buffers that are to be used again.
    spare: Vec<Vec<u8>>,
}

impl Batches {
    /// `write` appends one packet of `length` bytes, and says whether it did. Gives a batch that has to go first.
    pub fn push(
        &mut self,
        (to, link): (NodeId, u8),
        length: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Option<Batch> {
        let at = self.filling.iter().position(|b| (b.to, b.link) == (to, link));
        if let Some(batch) = at.and_then(|at| self.filling.get_mut(at)).filter(|b| b.takes(length)) {
            if write(&mut batch.bytes) {
                batch.last = length;
            }
            return None;
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        if !write(&mut bytes) {
            self.spare.push(bytes);
            return None;
        }
        let full = at.map(|at| self.filling.remove(at));
        self.filling.push(Batch { to, link, each: length, last: length, bytes });
        full
    }

    /// In the order in which they were begun.
    pub fn take(&mut self) -> Vec<Batch> {
        std::mem::take(&mut self.filling)
    }

    /// It has been sent.
    pub fn done(&mut self, batch: Batch) {
        let mut bytes = batch.bytes;
        if self.spare.len() < 8 {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_keep_their_order_and_only_those_of_equal_length_go_together() {
        let (mut batches, mut sent) = (Batches::default(), Vec::new());
        let lengths = [100, 100, 60, 100, 60, 60, 70, 70, 70, 1];
        for (n, length) in (0u8..).zip(lengths) {
            for to in [1, 2] {
                let write = |out: &mut Vec<u8>| {
                    out.extend(std::iter::repeat_n(n, length));
                    true
                };
                sent.extend(batches.push((NodeId(to), 0), length, write));
            }
        }
        assert!(batches.push((NodeId(1), 0), 70, |_| false).is_none(), "what is not written is not sent");
        sent.extend(batches.take());
        for to in [1, 2] {
            let own: Vec<&Batch> = sent.iter().filter(|b| b.to == NodeId(to)).collect();
            let packets: Vec<Vec<u8>> = own.iter().flat_map(|b| b.packets().map(<[u8]>::to_vec)).collect();
            let expected: Vec<Vec<u8>> = (0u8..).zip(lengths).map(|(n, length)| vec![n; length]).collect();
            assert_eq!(packets, expected);
            assert_eq!(own.len(), 4, "100 100 60 | 100 60 | 60 | 70 70 70 1");
        }
    }

    #[test]
    fn a_batch_is_no_larger_than_a_call_takes() {
        let mut batches = Batches::default();
        let mut push = |length| {
            batches.push((NodeId(1), 0), length, |out| {
                out.resize(out.len() + length, 0);
                true
            })
        };
        let small: Vec<Batch> = (0..200).filter_map(|_| push(50)).collect();
        assert!(small.len() == 3 && small.iter().all(|b| b.packets().count() == MAX_PACKETS));
        let large: Vec<Batch> = (0..20).filter_map(|_| push(9000)).collect();
        assert!(large.iter().skip(1).all(|b| b.bytes.len() <= MAX_BYTES && b.packets().count() == 7));
    }
}
