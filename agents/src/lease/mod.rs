//! Virtual addresses as leases (DESIGN §3.7).
//!
//! [`Table`] decides (pure), [`Keeper`] performs on a thread of its own, so that no slow agent or check delays a
//! renewal. [`Permit`] is how the daemon says that ring and controller are alive. The guard process is the second
//! line, the kernel's own expiry the last.

mod announcer;
mod keeper;
mod permit;
mod table;

pub use keeper::{Keeper, KeeperEvent, LeaseError};
pub use permit::Permit;
pub use table::{LIFETIME, Lost, RENEW_EVERY, Vip};
