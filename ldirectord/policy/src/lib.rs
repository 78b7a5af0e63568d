//! From verdicts to the wanted IPVS table, and from there to the changes that the kernel's table needs.
//!
//! ```text
//! Plan (from the configuration) --+
//!                                 +--> wanted() -> Wanted --diff(kernel's table)--> [Op]
//! verdicts --record()--> Health --+
//! ```
//!
//! Pure: `now` is an argument. One owner holds [`Health`] and feeds it; nothing else changes it. The rules:
//! no weight before a passed check (a peer's fresh verdict counts as one, and so does weight that the table already has);
//! a server that was up needs `fall` failures in a row, one that never was up is down after one; one that was down needs `rise` passed
//! checks in a row; one that went down too often is held down, but never if it is the last that could serve;
//! maintenance is down at once; the fallback stands in exactly while nothing is up.

mod agent;
mod agreed;
mod diff;
mod health;
mod marks;
mod plan;
mod takeover;
#[cfg(test)]
mod tests;
mod tuning;
mod verdicts;
mod wanted;

pub use agent::{Admin, AgentReport, AgentState, MAX_AGENT_LINE};
pub use diff::{Op, diff};
pub use health::{Health, Record, Source, Standing, Transition, Verdict};
pub use marks::{Edit, MAX_CLEARED, MAX_MARKS, Mark, MarkEntry, Marks};
pub use plan::{Mode, Plan, RealId, RealPlan, VirtualPlan};
pub use takeover::{Believed, MIN_TRUST, Opinion, TRUSTED_INTERVALS, TakenOver, believe, trust};
pub use tuning::{Flap, MAX_FLAP_CHANGES, MAX_WEIGHT, Tuning};
pub use verdicts::{MAX_VERDICTS, VerdictEntry, Verdicts};
pub use wanted::{FALLBACK_GRACE, Role, Wanted, WantedDest, WantedService, wanted};
