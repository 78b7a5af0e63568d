//! Virtual addresses as leases (DESIGN §3.7).
//!
//! [`Table`] decides (pure), [`Keeper`] performs on a thread of its own, so that no slow agent or check delays a
//! renewal. All times are [`base::lease::Bounds`]. [`Permit`] is how the daemon says that ring and controller are alive. The guard process is the second
//! line, the kernel's own expiry the last.

mod announcer;
mod carrier;
mod command;
mod heart;
mod keeper;
mod permit;
mod table;
#[cfg(test)]
mod tests;
mod worker;

pub use command::{Claimed, KeeperEvent, LeaseError};
pub use keeper::Keeper;
pub(crate) use keeper::WeakKeeper;
pub use permit::Permit;
pub(crate) use table::Seen;
pub use table::{Lost, Vip};
