//! Totem: single-ring ordering and membership with extended virtual synchrony, sans-IO.
//!
//! One [`Node`] per process. Give it frames ([`Node::handle`]), time ([`Node::handle_timeout`] at [`Node::poll_timeout`]) and
//! messages ([`Node::broadcast`]); do what [`Node::poll_output`] says. The names and the meaning of the times are those of
//! corosync's totem; the frames are our own.
//!
//! ```text
//!                 suspicion, leave, restart, join, foreign ring, token lost, own stall
//!        +---------------------------------------------------------------------------------+
//!        v                                                                                 |
//!   +--------+  all propose the same   +--------+  commit token   +----------+  all even   +-------------+
//!   | Gather | ----------------------> | Commit | --------------> | Recovery | ----------> | Operational |
//!   +--------+                         +--------+  second round   +----------+             +-------------+
//!     ^   ^                                |                           |
//!     |   +--------------------------------+---------------------------+
//!   start        timeout, or a member changes its mind
//! ```
//!
//! Who may have been left behind *starts over*: a node that notices a stall of its own longer than others bear (by its timers, or
//! by echoes of its clock that are ahead of the clock), and one that is put out by others who hear it. It ends its view, forgets
//! what it suspected and what it was told, and looks for a ring under a new incarnation like a process that has just started. So
//! nothing that a stalled node believed before can take a ring apart that works, and two that hear each other find together
//! instead of each waiting for the other's pardon.
//!
//! | module | concern |
//! |---|---|
//! | [`config`], [`types`], [`status`] | what goes in and comes out |
//! | `node` | the state, dispatch, timers |
//! | `link` | whether one link to one peer works, and what went over it |
//! | `path`, `pieces` | the size of datagram that a link carries; larger frames in pieces |
//! | `peer`, `heartbeat` | links, signs of life, suspicion, rings to merge with, own stalls |
//! | `membership` | Gather: proposals, consensus, back-off |
//! | `commit` | Commit: what each member brings along |
//! | `recovery` | Recovery: evening out the old ring, ending its view, beginning the next |
//! | `token` | order, flow control, retransmission, safety, rest |
//! | `store`, `fragment` | frames of a ring; messages and their fragments |
//! | `groups` | process groups over the order |
//! | [`codec`] | frames as bytes |
//!
//! What is promised, for any number of lost, delayed, repeated or reordered frames and any crash, pause or partition:
//! messages of a view are delivered in one order everywhere; nodes that go together from one view to the next have delivered
//! the same messages; a node delivers its own messages while it lives; [`Output::Safe`] is said only of what all members of
//! the view (after [`Output::Transitional`]: all that come along) hold; nothing is delivered twice.

pub mod codec;
mod commit;
pub mod config;
mod fragment;
mod groups;
mod heartbeat;
mod link;
mod membership;
mod node;
mod path;
mod peer;
mod pieces;
mod recovery;
mod silence;
pub mod status;
mod store;
mod token;
pub mod types;

pub use config::{Config, ConfigError, MAX_MESSAGE_BYTES, MAX_STORED_RING_SEQ, Timing};
pub use groups::{GroupChange, GroupError, GroupMessage, Groups, MAX_GROUP_NAME_BYTES, MAX_MEMBERSHIPS, Process};
pub use link::{LinkMode, SHORTEST_INTERVAL, Watch};
pub use node::Node;
pub use path::Sizes;
pub use status::{Counters, LinkStatus, PeerStatus, Status, Traffic};
pub use types::{BroadcastError, Event, GatherReason, Message, Output, State, Suspicion, Transitional, View, ViewId};
