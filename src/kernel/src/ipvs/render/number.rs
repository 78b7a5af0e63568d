//! Counters in columns of nine characters.

/// Cut (not rounded) to thousands, millions, …: `   123456`, `  123456K`, `   12345M`.
pub fn short(n: u64) -> String {
    const K: u64 = 1_000;
    match n {
        0..100_000_000 => format!("{n:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", n / K),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", n / (K * K)),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", n / (K * K * K)),
        _ => format!("{:>8}T", n / (K * K * K * K)),
    }
}

/// In full, at least one blank before it.
pub fn exact(n: u64) -> String {
    format!(" {n:>8}")
}
