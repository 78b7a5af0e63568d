//! What happened on this node, in causal order with µs stamps: the bounded store behind `/v1/timeline`.

use base::Time;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use wire::api::TimelineEvent;

/// Events kept; the oldest are forgotten and counted.
pub const MAX_EVENTS: usize = 10_000;
/// Longest text of one event.
const MAX_TEXT: usize = 500;

/// Cheap to clone; written by every part of the daemon.
#[derive(Clone)]
pub struct Timeline {
    node: Arc<str>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<TimelineEvent>,
    forgotten: u64,
}

impl Timeline {
    pub fn new(node: &str) -> Timeline {
        Timeline { node: node.into(), inner: Arc::default() }
    }

    /// Something that happens now.
    pub fn add(&self, kind: &str, subject: &str, text: &str) {
        self.add_at(crate::clock::now(), kind, subject, text);
    }

    /// Something that happened at `at`, which may lie a little in the past.
    pub fn add_at(&self, at: Time, kind: &str, subject: &str, text: &str) {
        let ago = crate::clock::now().since(at).as_micros() as i64;
        let wall_us = crate::clock::wall_us() - ago;
        let text: String = text.chars().take(MAX_TEXT).collect();
        let event = TimelineEvent { at, wall_us, kind: kind.to_owned(), subject: subject.to_owned(), text };
        let Ok(mut inner) = self.inner.lock() else { return };
        if inner.events.len() >= MAX_EVENTS {
            inner.events.pop_front();
            inner.forgotten += 1;
        }
        // Reports of other threads arrive late: each event goes to its place in time.
        let place = inner.events.iter().rposition(|e| e.at <= at).map_or(0, |p| p + 1);
        inner.events.insert(place, event);
    }

    /// Everything that happened after `since`.
    pub fn since(&self, since: Time) -> wire::api::Timeline {
        let (events, forgotten) = match self.inner.lock() {
            Ok(inner) => (inner.events.iter().filter(|e| e.at > since).cloned().collect(), inner.forgotten),
            Err(_) => (Vec::new(), 0),
        };
        wire::api::Timeline {
            node: self.node.to_string(),
            now: crate::clock::now(),
            wall: crate::clock::wall(),
            forgotten,
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_bound() {
        let timeline = Timeline::new("a");
        timeline.add_at(Time(5), "x", "", "second");
        timeline.add_at(Time(9), "x", "", "third");
        timeline.add_at(Time(2), "x", "", "first");
        let texts: Vec<String> = timeline.since(Time::ZERO).events.into_iter().map(|e| e.text).collect();
        assert_eq!(texts, ["first", "second", "third"]);
        assert_eq!(timeline.since(Time(5)).events.len(), 1);
        for n in 0..MAX_EVENTS as u64 {
            timeline.add_at(Time(100 + n), "x", "", &"y".repeat(2 * MAX_TEXT));
        }
        let all = timeline.since(Time::ZERO);
        assert_eq!((all.events.len(), all.forgotten), (MAX_EVENTS, 3));
        assert_eq!(all.events[0].text.len(), MAX_TEXT);
    }
}
