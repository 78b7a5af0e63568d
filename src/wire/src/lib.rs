//! What travels between nodes and between a node and its clients.
//!
//! [`frame`], [`seal`], [`replay`] and [`session`]: sealed datagrams between nodes. Pure: the caller brings the time, the
//! random session and the sockets.

pub mod api;
pub mod frame;
pub mod replay;
pub mod seal;
pub mod session;

pub use session::{DropCounters, Dropped, Endpoint, Opened, SealError};
