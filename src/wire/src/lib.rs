//! wire

pub mod api;
