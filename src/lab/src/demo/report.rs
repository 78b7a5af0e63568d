//! What the demo ends with: the table of events, and where the milliseconds of the hard fail-over went.

use crate::outage::Seen;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Quiet,
    WebFails,
    WebReturns,
    Move,
    Loss,
    Rejoin,
}

impl Kind {
    pub fn title(self) -> &'static str {
        match self {
            Kind::Quiet => "nothing happens",
            Kind::WebFails => "a web server dies",
            Kind::WebReturns => "it comes back",
            Kind::Move => "planned move",
            Kind::Loss => "active director cut off and killed",
            Kind::Rejoin => "it rejoins",
        }
    }
}

/// One event and what the client saw of it.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    pub kind: Kind,
    pub active_before: String,
    pub active_after: String,
    /// From the event until everything was as it should be, in ms.
    pub settled_ms: u64,
    pub seen: Seen,
}

/// One line of the causal timeline.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Moment {
    /// Milliseconds after the cut.
    pub at_ms: f64,
    /// Who saw it: the survivor, the client, the demo.
    pub by: String,
    pub text: String,
}

/// Everything, as `--json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub version: String,
    pub data_plane: String,
    /// Between probes to one address: outages are seen no finer than this.
    pub interval_ms: u64,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub events: Vec<Event>,
    /// Of the first hard loss.
    pub timeline: Vec<Moment>,
}

/// Smallest, middle and largest outage of one kind of event.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Spread {
    pub count: usize,
    pub min_us: u64,
    pub median_us: u64,
    pub max_us: u64,
}

impl Report {
    /// Outages by kind of event.
    pub fn spreads(&self) -> BTreeMap<Kind, Spread> {
        let mut by_kind: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for event in &self.events {
            by_kind.entry(event.kind).or_default().push(event.seen.outage_us);
        }
        by_kind.into_iter().filter_map(|(kind, outages)| Some((kind, spread(outages)?))).collect()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if !self.events.is_empty() {
            let _ = writeln!(text, "\n{}", self.event_table());
            let _ = writeln!(
                text,
                "outage: longest time without an answer, over probes every {} ms to each address; slow: answered after \
                 more than 200 ms.\nLost requests were under way when their connection broke; who repeats a request loses none.",
                self.interval_ms
            );
        }
        if self.spreads().values().any(|s| s.count > 1) {
            let _ = writeln!(text, "\n{}", self.spread_table());
        }
        if !self.timeline.is_empty() {
            let _ = writeln!(text, "\nThe hard fail-over, from the cut to the first answer:");
            for m in &self.timeline {
                let _ = writeln!(text, "{:>9.1} ms  {:<10} {}", m.at_ms, m.by, m.text);
            }
        }
        text
    }

    fn event_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["event", "outage", "requests", "lost", "slow", "answered by", "active director"]);
        for e in &self.events {
            let servers: Vec<String> = e.seen.by_server.iter().map(|(s, n)| format!("{s} {n}")).collect();
            let who = if e.active_before == e.active_after {
                e.active_after.clone()
            } else {
                format!("{} → {}", e.active_before, e.active_after)
            };
            let row = [
                e.kind.title().to_owned(),
                milliseconds(e.seen.outage_us),
                e.seen.sent.to_string(),
                e.seen.lost.to_string(),
                e.seen.slow.to_string(),
                servers.join(", "),
                who,
            ];
            table.add_row(row);
        }
        right_align(&mut table, 1..=4);
        table
    }

    fn spread_table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["outage", "times", "min", "median", "max"].map(Cell::new));
        for (kind, s) in self.spreads().into_iter().filter(|(_, s)| s.count > 1) {
            let [min, median, max] = [s.min_us, s.median_us, s.max_us].map(milliseconds);
            table.add_row([kind.title().to_owned(), s.count.to_string(), min, median, max]);
        }
        right_align(&mut table, 1..=4);
        table
    }
}

fn right_align(table: &mut Table, columns: std::ops::RangeInclusive<usize>) {
    for i in columns {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn milliseconds(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1_000.0)
}

fn spread(mut outages: Vec<u64>) -> Option<Spread> {
    outages.sort_unstable();
    Some(Spread {
        count: outages.len(),
        min_us: *outages.first()?,
        median_us: outages[outages.len() / 2],
        max_us: *outages.last()?,
    })
}

/// Most rows of the timeline that are shown.
const MAX_MOMENTS: usize = 60;

/// Turns the survivor's `GET /v1/timeline` into moments relative to the cut, up to `until_ms` after it.
pub fn moments(timeline: &Value, cut_wall_us: i64, until_ms: f64) -> Vec<Moment> {
    let by = timeline["node"].as_str().unwrap_or("survivor");
    let mut moments = Vec::new();
    for event in timeline["events"].as_array().into_iter().flatten() {
        let Some(wall_us) = event["wall_us"].as_i64() else { continue };
        let at_ms = (wall_us - cut_wall_us) as f64 / 1_000.0;
        // What the agent's start says, the action's says too.
        let told_twice = event["kind"] == "agent_start";
        if told_twice || !(0.0..=until_ms).contains(&at_ms) || moments.len() >= MAX_MOMENTS {
            continue;
        }
        let text = event["text"].as_str().unwrap_or_default();
        let kind = event["kind"].as_str().unwrap_or("event");
        let subject = event["subject"].as_str().unwrap_or_default();
        let mut words = kind.to_owned();
        if !subject.is_empty() {
            let _ = write!(words, " {subject}");
        }
        let text = if text.is_empty() { words } else { format!("{words}: {text}") };
        moments.push(Moment { at_ms, by: by.to_owned(), text });
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, outage_us: u64) -> Event {
        let seen = Seen { outage_us, sent: 1_000, lost: 3, ..Seen::default() };
        Event { kind, active_before: "director1".into(), active_after: "director2".into(), settled_ms: 400, seen }
    }

    #[test]
    fn spreads_are_by_kind_and_shown_only_for_repetitions() {
        let mut report =
            Report { events: vec![event(Kind::Move, 20_000), event(Kind::Loss, 400_000)], ..Report::default() };
        assert!(!report.text().contains("median"));
        report.events.extend([event(Kind::Loss, 300_000), event(Kind::Loss, 900_000)]);
        assert_eq!(
            report.spreads()[&Kind::Loss],
            Spread { count: 3, min_us: 300_000, median_us: 400_000, max_us: 900_000 }
        );
        assert!(report.text().contains("400.0 ms") && report.text().contains("median"));
        assert!(report.text().contains("director1 → director2"));
    }

    #[test]
    fn moments_are_relative_to_the_cut_and_bounded() {
        let event = |wall_us: i64, text: &str| serde_json::json!({"wall_us": wall_us, "kind": "view", "subject": "2", "text": text});
        let timeline = serde_json::json!({"node": "director2", "events":
            [event(900, "before"), event(151_000, "one member"), event(9_000_000, "late"), event(200_000, "")]});
        let got = moments(&timeline, 1_000, 1_000.0);
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].at_ms, got[0].text.as_str()), (150.0, "view 2: one member"));
        assert_eq!(got[1].text, "view 2");
    }
}
