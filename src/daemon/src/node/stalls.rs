//! What is said of the moments in which this node did not run: the first at once and in plain words, further ones counted and told
//! once a minute. A node that is short of processor time has many of them, and no use for a line about each.

use super::core::Core;
use crate::clock;
use base::Time;
use std::time::Duration;

const TELL_EVERY: Duration = Duration::from_secs(60);
/// Such a long one is always told: a machine that was paused, and may have lost what it held.
const ALWAYS_MS: u64 = 1000;

#[derive(Default)]
pub(super) struct Stalls {
    told: Option<Time>,
    untold: u64,
    longest_ms: u64,
}

impl Stalls {
    /// One more; what is to be said of it now.
    fn add(&mut self, now: Time, ms: u64) -> Option<String> {
        let due = self.told.is_none_or(|t| now.since(t) >= TELL_EVERY);
        if !due && ms < ALWAYS_MS {
            self.untold += 1;
            self.longest_ms = self.longest_ms.max(ms);
            return None;
        }
        let before = self.summary().map_or(String::new(), |s| format!("; before that {s}"));
        self.told = Some(now);
        Some(format!(
            "this process did not run for {ms} ms: its machine was paused, or its processors have more to do than they can. No other node is \
             blamed for the silence; more of it is told once a minute{before}"
        ))
    }

    /// What has been counted, once it is time.
    fn due(&mut self, now: Time) -> Option<String> {
        if self.told.is_none_or(|t| now.since(t) < TELL_EVERY) {
            return None;
        }
        let summary = self.summary()?;
        self.told = Some(now);
        Some(format!("in the last minute {summary}"))
    }

    fn summary(&mut self) -> Option<String> {
        let (count, longest) = (std::mem::take(&mut self.untold), std::mem::take(&mut self.longest_ms));
        (count > 0).then(|| format!("this process did not run {count} times, for {longest} ms at most"))
    }
}

impl Core {
    pub(super) fn stalled(&mut self, at: Time, ms: u64) {
        let text = self.stalls.add(at, ms);
        self.tell_stall(at, text);
    }

    /// With every tick.
    pub(super) fn stalls_due(&mut self) {
        let now = clock::now();
        let text = self.stalls.due(now);
        self.tell_stall(now, text);
    }

    fn tell_stall(&self, at: Time, text: Option<String>) {
        let Some(text) = text else { return };
        self.timeline.add_at(at, "local_stall", &self.identity.settings.my_name(), &text);
        tracing::warn!("local_stall: {text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_explained_and_the_rest_is_one_line_a_minute() {
        let mut stalls = Stalls::default();
        let at = |s: u64, ms: u64| Time::from_millis(s * 1000 + ms);
        assert_eq!(stalls.due(at(0, 0)), None);
        assert!(stalls.add(at(1, 0), 80).is_some_and(|t| t.starts_with("this process did not run for 80 ms: ")));
        for n in 0..500 {
            assert_eq!(stalls.add(at(1, 100 * n), 50 + n % 7), None);
            assert_eq!(stalls.due(at(1, 100 * n)), None);
        }
        let told = stalls.due(at(61, 0)).expect("a minute is over");
        assert_eq!(told, "in the last minute this process did not run 500 times, for 56 ms at most");
        assert_eq!(stalls.due(at(62, 0)), None);
        assert_eq!(stalls.add(at(63, 0), 60), None);
        let told = stalls.add(at(64, 0), 5000).expect("so long a one at once");
        assert!(
            told.contains("5000 ms")
                && told.ends_with("before that this process did not run 1 times, for 60 ms at most")
        );
        assert_eq!(stalls.due(at(200, 0)), None, "nothing is left to tell");
        assert!(stalls.add(at(201, 0), 55).is_some());
    }
}
