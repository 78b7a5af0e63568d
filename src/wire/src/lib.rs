//! What travels between nodes and between a node and its clients.
//!
//! [`frame`], [`seal`], [`replay`], [`session`] and [`rekey`]: sealed datagrams between nodes. Pure: the caller brings the time, the
//! random session and the sockets.

pub mod api;
pub mod executor;
pub mod frame;
pub mod groups;
pub mod pcsd;
pub mod rekey;
pub mod replay;
pub mod seal;
pub mod session;

pub use rekey::Endpoints;
pub use session::{DropCounters, Dropped, Endpoint, Opened, SealError};
