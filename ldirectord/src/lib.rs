//! The director: reads `ldirectord.cf`, checks real servers, keeps the kernel's IPVS table as the verdicts want it.
//!
//! ```text
//! ldirectord.cf -> config -> plan -> checks (one task each) -> policy (pure) -> wanted table -> diff -> kernel::ipvs
//! ```

pub mod audit;
pub mod checks;
pub mod config;
mod group;
pub mod names;
pub mod pattern;
pub mod plan;
pub mod service;
#[cfg(test)]
mod testing;
