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
