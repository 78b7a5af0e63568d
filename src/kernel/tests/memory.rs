//! Resident memory, in a process of its own: other tests would change it.

#[test]
fn freed_memory_goes_back() {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4
    };
    let before_kib = resident();
    let mut all: Vec<Box<[u8; 2_000]>> = (0..20_000).map(|n| Box::new([n as u8; 2_000])).collect();
    let full_kib = resident();
    assert!(full_kib > before_kib + 30_000, "{before_kib} then {full_kib} KiB");
    // One that stays at the end keeps the heap from shrinking by itself.
    let last = all.pop();
    drop(all);
    kernel::memory::trim();
    let after_kib = resident();
    assert!(after_kib < before_kib + 10_000, "{before_kib}, {full_kib}, then {after_kib} KiB");
    drop(last);
}
