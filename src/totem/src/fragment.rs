//! Messages in, fragments out, and back. A fragment is one ordered frame's payload.
//!
//! A message belongs to the view in which all of it was sent: if the ring changes between two fragments, the sender starts
//! over in the new view and the receivers forget what they had.

use crate::codec::Data;
use crate::config::{MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES};
use crate::types::BroadcastError;
use base::NodeId;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

struct Outgoing {
    payload: Bytes,
    msg: u64,
    next: u32,
}

/// Messages that wait for the token, in order.
#[derive(Default)]
pub struct Queue {
    messages: VecDeque<Outgoing>,
    bytes: usize,
    next_msg: u64,
}

pub struct Fragment {
    pub msg: u64,
    pub index: u32,
    pub count: u32,
    pub payload: Bytes,
}

impl Queue {
    pub fn push(&mut self, payload: Bytes) -> Result<(), BroadcastError> {
        if payload.len() > MAX_MESSAGE_BYTES {
            return Err(BroadcastError::TooLarge { got: payload.len(), limit: MAX_MESSAGE_BYTES });
        }
        // A queued message costs something even if it is empty.
        let cost = payload.len() + COST;
        if self.bytes + cost > MAX_QUEUED_BYTES {
            return Err(BroadcastError::QueueFull { queued: self.bytes, limit: MAX_QUEUED_BYTES });
        }
        self.bytes += cost;
        self.next_msg += 1;
        self.messages.push_back(Outgoing { payload, msg: self.next_msg, next: 0 });
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Frames that wait, at least; counting stops at `enough`.
    pub fn frames(&self, size: usize, enough: u32) -> u32 {
        let mut total = 0u32;
        for m in &self.messages {
            total = total.saturating_add(count(m.payload.len(), size).saturating_sub(m.next));
            if total >= enough {
                break;
            }
        }
        total
    }

    /// The next fragment of at most `size` bytes.
    pub fn next_fragment(&mut self, size: usize) -> Option<Fragment> {
        let front = self.messages.front_mut()?;
        let count = count(front.payload.len(), size);
        let start = front.next as usize * size;
        let end = (start + size).min(front.payload.len());
        let payload = front.payload.slice(start.min(end)..end);
        let fragment = Fragment { msg: front.msg, index: front.next, count, payload };
        front.next += 1;
        if front.next == count {
            self.bytes = self.bytes.saturating_sub(front.payload.len() + COST);
            self.messages.pop_front();
        }
        Some(fragment)
    }

    /// A new view: a message that was sent in part is sent again from its beginning, under a new number.
    pub fn rewind(&mut self) {
        let fresh = self.next_msg + 1;
        if let Some(front) = self.messages.front_mut().filter(|m| m.next > 0) {
            front.next = 0;
            front.msg = fresh;
            self.next_msg = fresh;
        }
    }
}

/// What a queued message is charged besides its payload.
const COST: usize = 64;

fn count(length: usize, size: usize) -> u32 {
    length.div_ceil(size.max(1)).max(1) as u32
}

struct Partial {
    msg: u64,
    next: u32,
    count: u32,
    bytes: Vec<u8>,
}

/// Puts together what each sender's frames bring, in delivery order.
#[derive(Default)]
pub struct Assembler {
    partial: BTreeMap<NodeId, Partial>,
}

pub enum Assembled {
    Message(Vec<u8>),
    /// More is to come.
    Partly,
    /// The fragment fits nothing; dropped.
    Misfit,
}

impl Assembler {
    pub fn push(&mut self, data: &Data) -> Assembled {
        if data.count == 1 {
            self.partial.remove(&data.sender);
            return Assembled::Message(data.payload.to_vec());
        }
        if data.index == 0 {
            // All fragments but the last are equally long; what the sender says of their number is believed within bounds.
            let whole = data.payload.len().saturating_mul(data.count as usize).min(MAX_MESSAGE_BYTES);
            let mut bytes = Vec::with_capacity(whole);
            bytes.extend_from_slice(&data.payload);
            let partial = Partial { msg: data.msg, next: 1, count: data.count, bytes };
            self.partial.insert(data.sender, partial);
            return Assembled::Partly;
        }
        let fits = |p: &Partial| p.msg == data.msg && p.next == data.index && p.count == data.count;
        let Some(partial) = self.partial.get_mut(&data.sender).filter(|p| fits(p)) else {
            self.partial.remove(&data.sender);
            return Assembled::Misfit;
        };
        if partial.bytes.len() + data.payload.len() > MAX_MESSAGE_BYTES {
            self.partial.remove(&data.sender);
            return Assembled::Misfit;
        }
        partial.bytes.extend_from_slice(&data.payload);
        partial.next += 1;
        if partial.next < partial.count {
            return Assembled::Partly;
        }
        let bytes = self.partial.remove(&data.sender).map(|p| p.bytes).unwrap_or_default();
        Assembled::Message(bytes)
    }

    pub fn clear(&mut self) {
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::types::ViewId;

    fn data(f: Fragment) -> Data {
        let (ring, sender) = (ViewId { rep: 1, seq: 4 }, NodeId(1));
        Data { ring, seq: 1, sender, recovery: false, msg: f.msg, index: f.index, count: f.count, payload: f.payload }
    }

    fn drain(queue: &mut Queue, assembler: &mut Assembler, size: usize) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(f) = queue.next_fragment(size) {
            assert!(f.payload.len() <= size);
            match assembler.push(&data(f)) {
                Assembled::Message(m) => out.push(m),
                Assembled::Partly => {}
                Assembled::Misfit => panic!("misfit"),
            }
        }
        out
    }

    #[test]
    fn every_length_comes_back_whole() {
        let (mut queue, mut assembler) = (Queue::default(), Assembler::default());
        let messages: Vec<Vec<u8>> = (0..100usize).map(|n| (0..n).map(|i| i as u8).collect()).collect();
        for m in &messages {
            queue.push(m.clone().into()).unwrap();
        }
        assert_eq!(drain(&mut queue, &mut assembler, 10), messages);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_new_view_starts_the_message_over() {
        let (mut queue, mut assembler) = (Queue::default(), Assembler::default());
        queue.push(vec![1; 25].into()).unwrap();
        assert!(matches!(assembler.push(&data(queue.next_fragment(10).unwrap())), Assembled::Partly));
        queue.rewind();
        assert_eq!(drain(&mut queue, &mut assembler, 10), [vec![1; 25]]);
        queue.push(vec![2; 25].into()).unwrap();
        queue.next_fragment(10).unwrap();
        let second = queue.next_fragment(10).unwrap();
        assert!(matches!(assembler.push(&data(second)), Assembled::Misfit), "without its beginning");
    }

    #[test]
    fn limits() {
        let mut queue = Queue::default();
        assert!(matches!(queue.push(vec![0; MAX_MESSAGE_BYTES + 1].into()), Err(BroadcastError::TooLarge { .. })));
        let fit = (0..10).take_while(|_| queue.push(vec![0; MAX_MESSAGE_BYTES].into()).is_ok()).count();
        assert_eq!(fit, 3, "64 MiB less the cost of each");
        assert!(matches!(queue.push(vec![0; MAX_MESSAGE_BYTES].into()), Err(BroadcastError::QueueFull { .. })));
    }
}
