//! Whole clusters from a seed: the real pure cores (ring, quorum, CIB, scheduler, controller with fencing), driven by virtual
//! time, networks, disks, agents, fence devices and operators.
//!
//! ```text
//!   seed -> Plan (configuration, steps) -> World: events at virtual moments -> properties held, or the first that did not
//!                                           | hosts: disk, addresses, things that agents placed
//!                                           '- processes: totem, quorum, controller, and what the daemon does between them
//! ```
//!
//! A seed and a commit replay a run exactly. First there is trouble, and safety is watched; then all trouble ends, and the
//! cluster has to come to rest with everything running once and shown as it is. `cargo run -p sim -- SEED` tells the story of a
//! seed, made as small as it still fails.
//!
//! | module | what |
//! |---|---|
//! | [`plan`], [`generate`] | what is done to whom, with which configuration |
//! | `world`, `queue` | what happens, in the order in which it does |
//! | `host`, `disk`, `clock`, `net` | machines and what is between them |
//! | `process`, `ring`, `core` | a daemon: the cores and what holds them together |
//! | `agents`, `lease`, `fences` | what the controller has done |
//! | `site`, `reload` | corosync.conf, and how it changes while the cluster runs |
//! | `arbiter`, `device` | the quorum device: its server, and a daemon's client of it |
//! | `faults`, `clients` | what is done to it |
//! | [`properties`] | what has to hold, one a file |
//! | [`run`], [`shrink`] | a run and its verdict; a failing plan made smaller |

mod agents;
mod arbiter;
mod book;
mod clients;
mod clock;
mod core;
mod device;
mod disk;
mod faults;
mod fences;
pub mod generate;
mod host;
mod lease;
mod net;
pub mod plan;
mod process;
pub mod properties;
mod queue;
mod reload;
mod ring;
pub mod rng;
pub mod run;
pub mod shrink;
mod site;
mod story;
mod world;

pub use book::Violation;
pub use plan::Plan;
