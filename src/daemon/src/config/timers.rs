//! The timers that really apply, derived as corosync.conf(5) says.

use super::Totem;

/// Effective values in ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// token + max(0, nodes − 2) × token_coefficient.
    pub token_ms: u64,
    pub token_retransmit_ms: u64,
    pub hold_ms: u64,
    pub join_ms: u64,
    pub consensus_ms: u64,
    pub merge_ms: u64,
    /// The file sets `token`: nobody is declared dead earlier.
    pub token_explicit: bool,
}

/// `token` when the file says nothing.
pub const DEFAULT_TOKEN_MS: u64 = 3000;

impl Timers {
    pub fn of(totem: &Totem, nodes: usize) -> Timers {
        let extra = (nodes as u64).saturating_sub(2) * totem.token_coefficient_ms;
        let token_ms = totem.token_ms.unwrap_or(DEFAULT_TOKEN_MS) + extra;
        // n + 0.2, in tenths
        let tenths = totem.retransmits_before_loss * 10 + 2;
        let token_retransmit_ms = totem.token_retransmit_ms.unwrap_or(token_ms * 10 / tenths);
        let hold_ms = totem.hold_ms.unwrap_or((token_retransmit_ms * 8 / 10).saturating_sub(10));
        let consensus_ms = totem.consensus_ms.unwrap_or(token_ms * 12 / 10);
        Timers {
            token_ms,
            token_retransmit_ms,
            hold_ms,
            join_ms: totem.join_ms,
            consensus_ms,
            merge_ms: totem.merge_ms,
            token_explicit: totem.token_ms.is_some(),
        }
    }
}
