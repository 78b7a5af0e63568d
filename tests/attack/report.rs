//! What was done, what clients saw of it, and what was checked how often.

use super::faults::{Fault, Kind};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Default)]
pub struct Report {
    /// By kind, and whether it was done to the holder of the address: outage and time to be well again.
    seen: BTreeMap<(Kind, bool), Vec<(Duration, Duration)>>,
    checked: BTreeMap<&'static str, usize>,
    pub violations: Vec<String>,
}

impl Report {
    pub fn count(&mut self, fault: &Fault, outage: Duration, converged: Duration) {
        self.seen.entry((fault.kind, fault.holder)).or_default().push((outage, converged));
    }

    pub fn check(&mut self, property: &'static str, held: Result<(), String>) {
        *self.checked.entry(property).or_default() += 1;
        if let Err(why) = held {
            self.violations.push(format!("{property}: {why}"));
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            out,
            "{:28}{:10}{:>6}{:>30}{:>24}",
            "fault", "of", "count", "outage ms: median, worst", "well: median, worst"
        )?;
        for ((kind, holder), all) in &self.seen {
            let of = if *holder { "holder" } else { "another" };
            let (outage, outage_most) = spread(all.iter().map(|one| one.0));
            let (well, well_most) = spread(all.iter().map(|one| one.1));
            let line = (kind.name(), all.len());
            writeln!(out, "{:28}{of:10}{:>6}{outage:>20}{outage_most:>10}{well:>14}{well_most:>10}", line.0, line.1)?;
        }
        let checked: Vec<String> = self.checked.iter().map(|(what, times)| format!("{what} {times}")).collect();
        writeln!(out, "checked (times): {}; violations: {}", checked.join(", "), self.violations.len())
    }
}

fn spread(all: impl Iterator<Item = Duration>) -> (u128, u128) {
    let mut all: Vec<u128> = all.map(|d| d.as_millis()).collect();
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() - 1])
}
