//! Native resource agents: the ones on which fail-over time is spent run inside the daemon, over netlink, without a fork.
//!
//! [`Agents`] is one node's set of running native resources. Each agent has a file of its own and answers under the
//! parameter names of the stock OCF agent; [`ocf`] offers the same code as OCF executables.

pub mod guard;
pub mod lease;
pub mod ocf;

mod attributes;
mod call;
mod director;
mod dummy;
mod fwmark;
mod ipaddr2;
mod metadata;
mod native;
mod net;
mod ping;
mod settings;
mod sync;

pub use call::{AgentCall, AgentOutcome};
pub use director::{BulletinError, Directors, MAX_BULLETIN_BYTES, Share, is_bulletin};
pub use native::{Agents, DataPlane, Event, Options};

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

/// The meta-data document of a native agent.
pub fn meta_data(agent: &str) -> Option<String> {
    let answer = metadata::answer(agent);
    (answer.code == base::exit::OcfCode::OK).then_some(answer.output)
}
