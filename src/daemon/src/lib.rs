//! The node: tokio drivers around the cores, and the applet `bascule node`.
//!
//! [`config`] reads what the operator brings. The rest drives the cores: inputs drained, the core stepped, its outputs
//! performed, the one next timer armed.

pub mod config;
pub mod exec;
pub mod store;

/// Commands of this crate.
pub const APPLETS: &[base::applet::Applet] = &[];
