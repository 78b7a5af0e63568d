//! Totem: single-ring ordering and membership.

pub mod config;
pub mod status;
pub mod types;

pub use config::{Config, Timing};
pub use status::Status;
pub use types::{BroadcastError, Event, Message, Output, State, Transitional, View, ViewId};
