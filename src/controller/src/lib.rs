//! The cluster's brain, the same on every node: a replicated CIB, the coordinator (DC), and this node's operations.
//!
//! Pure: inputs in ([`Input`]), outputs out ([`Output`]), time as an argument. One controller runs per node.

mod api;
mod controller;

pub use api::*;
pub use controller::Controller;
