//! How the process's allocator keeps freed memory: one heap for all threads, and what is free goes back to the kernel.
//!
//! With a heap for each thread, what one thread frees (a read table, a parsed file, the checks of a start) is not there for the
//! others, and stays resident. Where the C library is not GNU's, nothing is done.

#![allow(unsafe_code)]

/// Allocations of this size and more are mappings of their own, which go back to the kernel at once.
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: libc::c_int = 128 << 10;
/// So much may stay free at the heap's end.
#[cfg(target_env = "gnu")]
const SPARE_BYTES: libc::c_int = 256 << 10;

/// For a daemon whose memory matters more than its threads' speed of allocation; before it has other threads.
pub fn one_heap() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in
        [(libc::M_ARENA_MAX, 1), (libc::M_MMAP_THRESHOLD, OWN_MAPPING_BYTES), (libc::M_TRIM_THRESHOLD, SPARE_BYTES)]
    {
        // SAFETY: takes plain numbers; an unknown one is refused, which changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives whole pages that are free within the heap back to the kernel. Takes milliseconds, during which others wait who allocate.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: touches free chunks only, under the allocator's own lock.
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
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
        super::trim();
        let after_kib = resident();
        assert!(after_kib < before_kib + 10_000, "{before_kib}, {full_kib}, then {after_kib} KiB");
        drop(last);
    }
}
