//! Native resource agents: the ones on which fail-over time is spent run inside the daemon, over netlink, without a fork.
//!
//! [`Agents`] is one node's set of running native resources: a registry of agents, each in a file of its own with its meta-data,
//! under the parameter names of the stock OCF agent. [`ocf`] offers the same code as OCF executables.

pub mod guard;
pub mod lan;
pub mod lease;
pub mod ocf;

mod agent;
mod announce;
mod attributes;
mod director;
mod dummy;
mod fwmark;
mod host;
mod ipaddr2;
mod meta;
mod native;
mod net;
mod outcome;
mod ping;
mod settings;
mod sync;

pub use director::{BulletinError, Directors, MAX_BULLETIN_BYTES, Share, is_bulletin};
pub use host::{DataPlane, Event};
pub use meta::{Meta, Param};
pub use native::{Agents, NATIVES, Options, meta};
pub use outcome::AgentOutcome;
pub use ping::answers_ping;

use base::applet::Applet;

/// Commands of this crate: started by programs, not by people.
pub const APPLETS: &[Applet] = &[
    Applet {
        name: "guard",
        about: "Remove virtual addresses when the node daemon dies (started by it)",
        run: guard::run,
        hidden: true,
    },
    Applet { name: "ocf", about: "A native agent as an OCF executable", run: ocf::run, hidden: true },
];
