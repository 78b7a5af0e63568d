//! What happens next: events in the order of their moments, and those of one moment in the order in which they were put in.
//!
//! Only a place and its rank are moved about in the heap; the events themselves stay where they are.

use base::Time;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub struct Queue<T> {
    heap: BinaryHeap<Reverse<(Time, u64, u32)>>,
    events: Vec<Option<T>>,
    free: Vec<u32>,
    order: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), order: 0 }
    }
}

impl<T> Queue<T> {
    pub fn push(&mut self, at: Time, event: T) {
        self.order += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            (self.events.len() - 1) as u32
        });
        self.events[place as usize] = Some(event);
        self.heap.push(Reverse((at, self.order, place)));
    }

    /// The next one that happens by then.
    pub fn pop_by(&mut self, end: Time) -> Option<(Time, T)> {
        let next = self.heap.peek_mut().filter(|next| next.0.0 <= end)?;
        let Reverse((at, _, place)) = std::collections::binary_heap::PeekMut::pop(next);
        self.free.push(place);
        Some((at, self.events[place as usize].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_in_order_and_those_of_one_as_they_were_put_in() {
        let mut queue = Queue::default();
        for (at, event) in [(5, "d"), (1, "a"), (5, "e"), (3, "b"), (3, "c")] {
            queue.push(Time(at), event);
        }
        let mut seen = String::new();
        while let Some((_, event)) = queue.pop_by(Time(3)) {
            seen.push_str(event);
        }
        assert_eq!((seen.as_str(), queue.pop_by(Time(4))), ("abc", None));
        queue.push(Time(5), "f");
        let rest: String = std::iter::from_fn(|| queue.pop_by(Time(9))).map(|(_, event)| event).collect();
        assert_eq!((rest.as_str(), queue.events.len()), ("def", 5), "places are used again");
    }
}
