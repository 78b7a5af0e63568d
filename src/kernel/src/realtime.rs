//! Real-time priority and locked memory, for the one thread that must not be late.

#![allow(unsafe_code)]

use std::io;

/// Priority of the ring's thread, 1..=99; above ordinary work and below the kernel's own threads at 99.
pub const RING_PRIORITY: i32 = 80;

/// Gives the calling thread round-robin real-time scheduling; threads and processes that it starts do not inherit it.
pub fn round_robin(priority: i32) -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 names the calling thread; the pointer is to a live sched_param that the kernel only reads.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameter) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the process's pages, present and future, in memory once they have been touched.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: takes flags only and changes no memory contents.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
