//! Reading the directives of [`super::own`].

use super::lines::Entry;
use super::own::{OwnDirective, RawOwn};
use super::parser::Parser;
use std::net::IpAddr;

/// More would let a check come at once after another, or as good as never.
const MAX_JITTER_PERCENT: u32 = 50;
const MAX_SECONDS: u32 = 86_400;
const MAX_IN_A_ROW: u32 = 1_000;

impl Parser<'_> {
    /// Reads a directive of ours; `false`: it is none.
    pub(super) fn own(&mut self, entry: &Entry<'_>, to: &mut RawOwn) -> bool {
        match entry.name.as_str() {
            "rise" => to.rise = self.between(entry, 1, MAX_IN_A_ROW).or(to.rise),
            "fall" => to.fall = self.between(entry, 1, MAX_IN_A_ROW).or(to.fall),
            "flapchanges" => {
                to.flap_changes = self.between(entry, 0, policy::MAX_FLAP_CHANGES).or(to.flap_changes);
            }
            "flapwindow" => to.flap_window_s = self.between(entry, 1, MAX_SECONDS).or(to.flap_window_s),
            "flaphold" => to.flap_hold_s = self.between(entry, 1, MAX_SECONDS).or(to.flap_hold_s),
            "checkjitter" => {
                to.check_jitter_percent = self.between(entry, 0, MAX_JITTER_PERCENT).or(to.check_jitter_percent);
            }
            "slowstart" => to.slow_start_s = self.between(entry, 0, MAX_SECONDS).or(to.slow_start_s),
            "agentport" => to.agent_port = self.between(entry, 0, 65_535).or(to.agent_port),
            "agentinterval" => to.agent_interval_s = self.between(entry, 1, MAX_SECONDS).or(to.agent_interval_s),
            "agentsend" => to.agent_send = self.quoted(entry),
            "sourceaddress" => match self.source_addr(entry) {
                Some(IpAddr::V4(addr)) => to.source = Some(addr),
                Some(IpAddr::V6(addr)) => to.source6 = Some(addr),
                None => {}
            },
            _ => return false,
        }
        self.note_own(entry);
        true
    }

    pub(super) fn note_own(&mut self, entry: &Entry<'_>) {
        self.own_directives.push(OwnDirective { name: entry.name.clone(), line: entry.line });
    }

    fn between(&mut self, entry: &Entry<'_>, low: u32, high: u32) -> Option<u32> {
        let value = self.integer(entry, low)?;
        if value > high {
            self.wrong(entry, format!("a number from {low} to {high}"), "");
            return None;
        }
        Some(value)
    }

    /// `fall` and `failurecount` are one thing.
    pub(super) fn own_notes(&mut self, line: u32, own: &RawOwn, failure_count: Option<u32>) {
        if let (Some(fall), Some(count)) = (own.fall, failure_count)
            && fall != count
        {
            self.warn(
                line,
                1,
                None,
                format!("fall = {fall} and failurecount = {count}"),
                "both are the number of failures in a row that take a server down; fall counts",
            );
        }
    }
}
