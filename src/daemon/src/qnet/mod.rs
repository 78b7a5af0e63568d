//! What arbitrator and client have in common: one connection that may change to TLS on the way, and who is believed there.

pub mod certs;
pub mod certutil;
mod issue;
mod stream;

pub use stream::{Doing, Ear, Heard, Side, drive};
