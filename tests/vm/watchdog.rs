//! No scenario may hang for ever: after its time, what the guest's processes wait for is printed, and the run ends.

use std::panic::catch_unwind;
use std::sync::mpsc;
use std::time::Duration;

/// Runs a scenario; nothing when it has not ended within the limit (its thread goes on).
pub fn within(limit: Duration, run: fn() -> Result<(), String>) -> Option<Result<(), String>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let result = catch_unwind(run).unwrap_or_else(|_| Err("panicked; see above".to_owned()));
        let _ = sender.send(result);
    });
    receiver.recv_timeout(limit).ok()
}

/// Every process with its command line, state and kernel stack, memory, and the kernel's last words.
pub fn what_hangs() -> String {
    let look = "for p in /proc/[0-9]*; do \
                    [ -s $p/cmdline ] || continue; \
                    echo \"== ${p#/proc/} $(tr '\\0' ' ' <$p/cmdline)\"; \
                    for t in $p/task/*; do grep -h '^State' $t/status; head -n 6 $t/stack; done; \
                done 2>/dev/null; free -m; uptime; dmesg | tail -n 40";
    crate::guest::shell(look).unwrap_or_else(|why| why)
}
