//! The only crate that touches Linux: IPVS tables, addresses and their leases, announcements, clocks.
//!
//! Everything else in the workspace sees plain data (`base::ipvs`, the types here) and narrow traits with an in-memory
//! double, so that policy, commands and simulator run without a kernel. `unsafe` is allowed in this crate only, module by
//! module, each block with its reason.

pub mod addr;
pub mod announce;
pub mod clock;
pub mod confine;
pub mod datagrams;
pub mod echo;
pub mod files;
pub mod frames;
pub mod host;
pub mod inquiry;
pub mod ipvs;
pub mod links;
pub mod machine;
pub mod memory;
pub mod names;
pub mod netns;
pub mod output;
pub mod pam;
pub mod policy_route;
pub mod realtime;
pub mod relay;
pub mod secrets;
pub mod service;
pub mod settings;
pub mod state;
pub mod watchdog;
