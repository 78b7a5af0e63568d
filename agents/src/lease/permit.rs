//! The right to renew leases, as one number that several threads may read and move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Valid until a moment of the boot clock. The daemon moves it on while the ring is current and the controller ticks;
/// nobody else does, so when either stops, renewal stops.
#[derive(Clone, Default, Debug)]
pub struct Permit(Arc<AtomicU64>);

impl Permit {
    /// Lets renewals happen until `until` (boot clock). Earlier moments than the present one are taken as well.
    pub fn set_until(&self, until: Duration) {
        self.0.store(until.as_micros() as u64, Ordering::Release);
    }

    /// Ends the permission now.
    pub fn revoke(&self) {
        self.0.store(0, Ordering::Release);
    }

    pub fn until(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Acquire))
    }
}
