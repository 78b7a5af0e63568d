//! What belongs together in a timeline: a fault and all that followed from it, as one thing that happened.

use super::TimelineEvent;
use serde::Serialize;

/// With these something begins, or goes on.
const BEGINS: [&str; 18] = [
    "address_defended",
    "fail_stop",
    "fence",
    "fenced",
    "gather",
    "heartbeat_lost",
    "killed",
    "leave",
    "left",
    "link_down",
    "local_stall",
    "obey",
    "peer_left",
    "peer_restarted",
    "quorum",
    "ring",
    "ring_ended",
    "stepped_out",
];
/// Of these none is a consequence that anybody looks for: they come all the time.
const NOISE: [&str; 3] = ["schedule", "peer", "reach"];
/// A pause of so long ends it.
const PAUSE_US: u64 = 3_000_000;
/// Events of one; what follows is counted.
const MAX_EVENTS: usize = 200;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Incident {
    /// When it began, µs since the epoch.
    pub wall_us: i64,
    /// From its first event to its last.
    pub span_us: u64,
    /// One line for people.
    pub summary: String,
    /// From its beginning, in order.
    pub events: Vec<IncidentEvent>,
    /// Further ones that are not kept.
    pub more: usize,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct IncidentEvent {
    /// Since the beginning.
    pub after_us: u64,
    pub kind: String,
    pub subject: String,
    pub text: String,
}

/// The newest `most`, newest first.
pub fn incidents(events: &[TimelineEvent], most: usize) -> Vec<Incident> {
    let mut groups: Vec<Vec<&TimelineEvent>> = Vec::new();
    for event in events.iter().filter(|e| !NOISE.contains(&e.kind.as_str())) {
        let goes_on = |last: &&TimelineEvent| event.at.0.saturating_sub(last.at.0) < PAUSE_US;
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(goes_on) => group.push(event),
            _ if BEGINS.contains(&event.kind.as_str()) => groups.push(vec![event]),
            _ => {}
        }
    }
    groups.iter().rev().take(most).filter_map(|group| incident(group)).collect()
}

fn incident(group: &[&TimelineEvent]) -> Option<Incident> {
    let (first, last) = (group.first()?, group.last()?);
    let event = |e: &&TimelineEvent| IncidentEvent {
        after_us: e.at.0.saturating_sub(first.at.0),
        kind: e.kind.clone(),
        subject: e.subject.clone(),
        text: e.text.clone(),
    };
    let events: Vec<IncidentEvent> = group.iter().take(MAX_EVENTS).map(event).collect();
    Some(Incident {
        wall_us: first.wall_us,
        span_us: last.at.0.saturating_sub(first.at.0),
        summary: summary(&events),
        more: group.len() - events.len(),
        events,
    })
}

/// `lb1 silent for 90 ms (…): taken out of the ring; after 12 ms 192.0.2.10 here, after 15 ms announced`.
fn summary(events: &[IncidentEvent]) -> String {
    let told = |e: &IncidentEvent| match (e.subject.as_str(), e.text.as_str()) {
        ("", text) => text.to_owned(),
        (subject, "") => format!("{subject}: {}", e.kind.replace('_', " ")),
        (subject, text) => format!("{subject}: {text}"),
    };
    let cause = ["heartbeat_lost", "peer_left", "killed", "fail_stop", "leave", "link_down"];
    let cause = cause.iter().find_map(|kind| events.iter().find(|e| e.kind == *kind)).or(events.first());
    let mut line = cause.map(told).unwrap_or_default();
    let mut add = |kind: &str, words: &dyn Fn(&IncidentEvent) -> String| {
        // The last of a kind: by then all of it is done.
        if let Some(e) = events.iter().rfind(|e| e.kind == kind) {
            line += &format!("; after {:.1} ms {}", e.after_us as f64 / 1000.0, words(e));
        }
    };
    add("ring", &|e| e.text.clone());
    add("quorum", &|e| e.text.clone());
    add("address_added", &|e| format!("{} here", e.text));
    add("announced", &|e| format!("{} announced", e.text));
    add("transition_end", &|_| "all is done".to_owned());
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Time;

    fn event(at_ms: u64, kind: &str, subject: &str, text: &str) -> TimelineEvent {
        let at = Time(at_ms * 1000);
        let (kind, subject, text) = (kind.to_owned(), subject.to_owned(), text.to_owned());
        TimelineEvent { at, wall_us: at_ms as i64 * 1000, kind, subject, text }
    }

    #[test]
    fn a_fault_and_what_followed_are_one_thing() {
        let events = [
            event(0, "schedule", "", "nothing to do"),
            event(500, "agent_end", "vip monitor", "ok"),
            event(1000, "heartbeat_lost", "lb1", "silent for 90 ms"),
            event(1012, "ring", "2.8", "ring of lb2"),
            event(1013, "schedule", "", "2 actions"),
            event(1015, "address_added", "vip", "192.0.2.10"),
            event(1016, "announced", "vip", "192.0.2.10"),
            event(1300, "transition_end", "5", "done"),
            event(9000, "agent_end", "vip monitor", "ok"),
            event(60_000, "link_down", "lb1", "link 1 silent for 90 ms"),
        ];
        let found = incidents(&events, 10);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].events.len(), 1);
        assert_eq!((found[1].span_us, found[1].wall_us), (300_000, 1_000_000));
        assert_eq!(
            found[1].summary,
            "lb1: silent for 90 ms; after 12.0 ms ring of lb2; after 15.0 ms 192.0.2.10 here; after 16.0 ms 192.0.2.10 \
             announced; after 300.0 ms all is done"
        );
        assert!(found[1].events.iter().all(|e| e.kind != "schedule"));
        assert_eq!(incidents(&events, 1).len(), 1);
    }

    #[test]
    fn one_that_does_not_end_is_bounded() {
        let events: Vec<TimelineEvent> = (0..1000).map(|n| event(n * 10, "link_down", "lb1", "x")).collect();
        let found = incidents(&events, 5);
        assert_eq!((found.len(), found[0].events.len(), found[0].more), (1, MAX_EVENTS, 1000 - MAX_EVENTS));
    }
}
