//! A running cluster takes another corosync.conf over: what every member decides of it, and what all of them make of that.
//!
//! Pure: the caller reads files, sends what is to be sent in the order of the ring, and applies what was agreed on.

mod agree;
mod check;

pub use agree::{Agreement, Message, Shared, Step};
pub use check::{Listed, Lists, Members};
