//! The guard: a small process that removes the virtual addresses when the daemon exits or falls silent.
//!
//! ```text
//!   daemon (lease keeper) ── lines over a pipe ──► guard
//!        beat                  every 40 ms
//!        hold {vip} / drop {vip}
//! ```
//!
//! End of the pipe: the daemon has exited, all held addresses go at once. Silence for [`SILENCE`] while the daemon is
//! stopped or dead (its state in `/proc`): they go at once. Silence for [`HUNG`] whatever the state: they go. A daemon
//! that is merely late on a busy machine keeps its addresses until then.

mod link;
mod process;

pub use link::GuardLink;
pub use process::run;

use crate::lease::Vip;
use std::time::Duration;

/// Silence after which the daemon's process state is looked at.
pub const SILENCE: Duration = Duration::from_millis(90);
/// Silence after which the addresses go, whatever the process state says.
pub const HUNG: Duration = Duration::from_millis(1000);

/// One line of the pipe.
#[derive(serde::Serialize, serde::Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Line {
    Beat,
    Hold(Vip),
    Drop(Vip),
}
