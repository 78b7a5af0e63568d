//! The executor's protocol between a cluster node and a remote node, without its sockets.
//!
//! | module | what |
//! |---|---|
//! | `message` | requests, replies and notifications as XML |
//! | [`session`] | a cluster node's side of one connection |
//! | [`originals`] | what the original's own programs on a remote node want of the cluster |
//! | [`service`] | the remote node's side of all of them |
//!
//! Sources: `lib/lrmd/lrmd_client.c` and `daemons/execd/execd_commands.c` of Pacemaker. Texts travel in the frames of [`wire::executor`].

mod message;
pub mod originals;
pub mod service;
pub mod session;

pub use message::{Proxied, ProxyOp};
