//! The guard: a small process that removes the virtual addresses when the daemon exits or falls silent.
//!
//! ```text
//!   daemon (lease keeper) ── lines over a pipe ──► guard
//!        beat                  every Bounds::beat
//!        hold {vip} / drop {vip}
//! ```
//!
//! End of the pipe: the daemon has exited, all held addresses go at once. Silence for [`Bounds::silence`] while the daemon
//! is stopped or dead (its state in `/proc`): they go at once. Silence for [`Bounds::hung`] whatever the state: they go. A
//! daemon that is merely late on a busy machine keeps its addresses until then. What could not be removed stays held, and
//! is tried again, and what came back while the silence lasts goes again.
//!
//! [`Bounds::silence`]: base::lease::Bounds::silence
//! [`Bounds::hung`]: base::lease::Bounds::hung

mod link;
mod process;

pub use link::GuardLink;
pub use process::run;

use crate::lease::Vip;

/// One line of the pipe.
#[derive(serde::Serialize, serde::Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
enum Line {
    Beat,
    Hold(Vip),
    Drop(Vip),
}
