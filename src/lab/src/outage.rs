//! What the client saw during an event: the longest time without a successful answer, and what was lost. Pure.

use crate::probe::{Kind, Outcome, Record};
use serde::Serialize;
use std::collections::BTreeMap;

/// Answered, but later than this: TCP had to repeat something.
pub const SLOW_US: u64 = 200_000;

/// Summary of the requests of one window of time.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Seen {
    /// Longest gap between successive successful answers to probes of one target, in µs; the worst target counts.
    pub outage_us: u64,
    /// The same per target, in the order of the targets.
    pub outage_by_target_us: Vec<u64>,
    pub sent: u64,
    pub lost: u64,
    /// Answered after more than [`SLOW_US`].
    pub slow: u64,
    /// Answers by the name of the server.
    pub by_server: BTreeMap<String, u64>,
    /// Losses by cause, in words.
    pub by_cause: BTreeMap<String, u64>,
    /// Median time of a successful probe, in µs.
    pub median_us: u64,
}

/// Judges the requests that were under way at some time within `from_us..to_us`, so that those broken by what happened at
/// `from_us` count. The gap at either edge counts from or to the edge itself, so a
/// target that never answered has an outage as long as the window.
pub fn judge(records: &[Record], targets: u8, from_us: u64, to_us: u64) -> Seen {
    let mut seen = Seen::default();
    let mut times = Vec::new();
    for r in records.iter().filter(|r| r.done_us() >= from_us && r.sent_us < to_us) {
        seen.sent += 1;
        match &r.outcome {
            Outcome::Ok(server) => {
                *seen.by_server.entry(server.clone()).or_default() += 1;
                seen.slow += u64::from(r.took_us > SLOW_US);
                if r.kind == Kind::Probe {
                    times.push(r.took_us);
                }
            }
            bad => {
                seen.lost += 1;
                *seen.by_cause.entry(cause(bad)).or_default() += 1;
            }
        }
    }
    times.sort_unstable();
    seen.median_us = times.get(times.len() / 2).copied().unwrap_or(0);
    seen.outage_by_target_us = (0..targets).map(|t| longest_gap(records, t, from_us, to_us)).collect();
    seen.outage_us = seen.outage_by_target_us.iter().copied().max().unwrap_or(0);
    seen
}

fn cause(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ok(_) => "ok".to_owned(),
        Outcome::Status(code) => format!("status {code}"),
        Outcome::Refused => "refused".to_owned(),
        Outcome::Reset => "connection reset".to_owned(),
        Outcome::Timeout => "no answer".to_owned(),
        Outcome::Other(text) => text.clone(),
    }
}

fn longest_gap(records: &[Record], target: u8, from_us: u64, to_us: u64) -> u64 {
    let mut done: Vec<u64> = records
        .iter()
        .filter(|r| r.target == target && r.kind == Kind::Probe && r.is_ok())
        .map(Record::done_us)
        .filter(|at| (from_us..to_us).contains(at))
        .collect();
    done.sort_unstable();
    done.push(to_us);
    let mut last = from_us;
    let mut longest = 0;
    for at in done {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(target: u8, sent_us: u64, took_us: u64, outcome: Outcome) -> Record {
        Record { target, kind: Kind::Probe, sent_us, took_us, outcome }
    }

    fn ok() -> Outcome {
        Outcome::Ok("web1".to_owned())
    }

    #[test]
    fn the_outage_is_the_longest_gap_between_successes() {
        let mut records: Vec<Record> = (0..20).map(|i| probe(0, i * 5_000, 1_000, ok())).collect();
        for r in &mut records[8..14] {
            r.outcome = Outcome::Refused;
        }
        let seen = judge(&records, 1, 0, 100_000);
        // Last success before: sent at 35 ms, done at 36; first after: sent at 70, done at 71.
        assert_eq!((seen.outage_us, seen.sent, seen.lost, seen.median_us), (35_000, 20, 6, 1_000));
        assert_eq!(seen.by_cause, BTreeMap::from([("refused".to_owned(), 6)]));
    }

    #[test]
    fn a_target_that_never_answers_is_out_for_the_whole_window() {
        let records = [probe(0, 10, 1, ok()), probe(1, 10, 2_000_000, Outcome::Timeout)];
        let seen = judge(&records, 2, 0, 1_000_000);
        assert_eq!(seen.outage_by_target_us[1], 1_000_000);
        assert_eq!(seen.outage_us, 1_000_000);
    }

    #[test]
    fn requests_outside_the_window_and_work_do_not_count_for_the_gap() {
        let mut records = vec![probe(0, 5, 1, ok()), probe(0, 500, 1, ok()), probe(0, 5_000, 1, ok())];
        records.push(Record { target: 0, kind: Kind::Work, sent_us: 250, took_us: 10, outcome: ok() });
        let seen = judge(&records, 1, 100, 1_000);
        assert_eq!((seen.sent, seen.outage_us), (2, 499));
    }

    #[test]
    fn a_request_under_way_when_it_began_counts() {
        let seen = judge(&[probe(0, 50, 2_000_000, Outcome::Timeout), probe(0, 10, 20, ok())], 1, 100, 1_000);
        assert_eq!((seen.sent, seen.lost), (1, 1));
    }

    #[test]
    fn late_answers_are_slow_not_lost() {
        let seen = judge(&[probe(0, 0, 1_000_000, ok())], 1, 0, 2_000_000);
        assert_eq!((seen.lost, seen.slow), (0, 1));
    }
}
