//! Clocks for leases.

use std::time::Duration;

/// Time since boot, suspended time included (`CLOCK_BOOTTIME`): what a lease's deadline must be measured with, since the
/// address lapses in the kernel whether or not this process ran.
pub fn boottime() -> Duration {
    // The call fails only for clocks that the kernel does not know; Linux has had this one since 2.6.39.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn boot_time_passes() {
        let before = super::boottime();
        assert!(!before.is_zero());
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::boottime() > before);
    }
}
