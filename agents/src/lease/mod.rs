//! Virtual addresses as leases (DESIGN §3.7).
//!
//! [`Table`] decides (pure), [`Keeper`] performs on a thread of its own, so that no slow agent or check delays a
//! renewal. All times are [`base::lease::Bounds`]. [`Permit`] is how the daemon says that ring and controller are alive. The guard process is the second
//! line, the kernel's own expiry the last.
//!
//! A lease has the name of its resource, or begins with it ([`name_of`]) where a resource holds several; all live and end with the
//! resource's right to be here, and events name the resource.

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

use std::net::IpAddr;

/// Between a resource and the address, in the name of a lease. No id of the configuration (XML's NCName) can have it.
const OF: char = '#';

/// The name of a lease of a resource that holds several addresses, one lease for each.
pub(crate) fn name_of(resource: &str, at: &str, addr: IpAddr) -> String {
    format!("{resource}{OF}{at}{OF}{addr}")
}

/// The resource that a lease belongs to.
pub(crate) fn owner_of(lease: &str) -> &str {
    lease.split(OF).next().unwrap_or(lease)
}
