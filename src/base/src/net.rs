//! Networks of addresses.

use std::net::IpAddr;

/// Whether two addresses agree in their first `bits` bits; those of different families never do.
pub fn same_network(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(bits.min(32))).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bits_count() {
        let same = |a: &str, b: &str, bits| same_network(a.parse().unwrap(), b.parse().unwrap(), bits);
        assert!(same("192.0.2.1", "192.0.2.200", 24) && !same("192.0.2.1", "192.0.3.200", 24));
        assert!(!same("192.0.2.1", "192.0.2.2", 32) && same("192.0.2.1", "10.0.0.1", 0));
        assert!(same("2001:db8::1", "2001:db8::ff", 64) && !same("2001:db8::1", "2001:db9::1", 64));
        assert!(!same("2001:db8::1", "192.0.2.1", 0));
    }
}
