//! The cluster's brain, the same on every node: a replicated CIB, the coordinator (DC), and this node's operations.
//!
//! Pure: inputs in ([`Input`]), outputs out ([`Output`]), time as an argument. One controller runs per node.
//!
//! | module | what |
//! |---|---|
//! | [`api`](crate::Input) | what goes in and comes out |
//! | `message` | what controllers say to each other, and its form on the wire |
//! | `replica` | the replicated content and how messages change it |
//! | `sync` | the exchange of states at the start of a view, and who wins a merge |
//! | `status` | node states, attributes and histories in the CIB |
//! | `clients` | this node's own writes until they are safe |
//! | `checks` | members compare what they hold |
//! | `fatal` | why a member has to leave and come back |
//! | `disks` | whose disk holds which changes |
//! | `local`, `agenda`, `held` | this node's operations |
//! | `record` | what this node started, as it started it |
//! | `coordinator`, `transition`, `progress` | the DC: scheduling, and executing a graph |
//! | [`alerts`] | which programs are called for an event, and what they are told |
//! | `backoff` | starts that repeat are held back |
//! | [`remote`] | the protocol with the executor of a remote node |
//! | [`fencing`] | devices, orders, verdicts and history |
//!
//! Beside Pacemaker's cluster properties one of our own is read: `bascule-takeover`. `fast` (the default) starts a lost
//! node's addresses at once; `safe` first waits until their leases are over ([`base::lease::Bounds::hold`]) unless
//! the node's death is confirmed.

mod agenda;
pub mod alerts;
mod api;
mod backoff;
mod checks;
mod clients;
mod controller;
mod coordinator;
mod digest;
pub mod disks;
mod fatal;
pub mod fencing;
mod held;
mod local;
mod message;
mod progress;
mod record;
pub mod remote;
mod replica;
mod status;
mod sync;
mod transition;

pub use api::*;
pub use controller::{Controller, digest_of};
pub use message::FEATURE_LEVEL;
pub use record::{AgentFacts, AgentName, ParamFacts, Record, Reload};
