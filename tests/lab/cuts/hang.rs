//! Threads of a running daemon that stand still while its other threads go on.
//!
//! There is no switch for it in the product: `strace` holds each of these threads at its next system call, as a disk or a
//! driver that does not answer would. Where it is not installed the case is skipped, and that is told.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::process::Stdio;
use std::time::Duration;

/// How long a call may be held: longer than any round.
const HELD_US: &str = "60000000";

/// Held until this is dropped.
pub struct Hang {
    tracer: tokio::process::Child,
}

pub fn possible() -> bool {
    let found = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

impl Hang {
    /// Holds the threads of that process whose name `held` wants.
    pub async fn start(daemon: Pid, held: impl Fn(&str) -> bool) -> Hang {
        let mut tracer = tokio::process::Command::new("strace");
        tracer.args(["-qq", "-o", "/dev/null", "-e", "trace=all"]);
        tracer.args(["-e", &format!("inject=all:delay_enter={HELD_US}")]);
        let threads = threads(daemon);
        let wanted: Vec<&(String, String)> = threads.iter().filter(|(_, name)| held(name)).collect();
        assert!(!wanted.is_empty() && wanted.len() < threads.len(), "threads to hold, and others: {threads:?}");
        for (tid, _) in &wanted {
            tracer.args(["-p", tid]);
        }
        let tracer = tracer.kill_on_drop(true).spawn().expect("strace starts");
        // Attached to all of them.
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        while wanted.iter().any(|(tid, _)| !is_traced(daemon, tid)) {
            assert!(tokio::time::Instant::now() < end, "strace does not attach");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Hang { tracer }
    }

    /// They go on.
    pub async fn end(mut self) {
        if let Some(pid) = self.tracer.id() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
        }
        if tokio::time::timeout(Duration::from_secs(2), self.tracer.wait()).await.is_err() {
            // The kernel lets go of whatever a tracer held when it ends.
            let _ = self.tracer.kill().await;
        }
    }
}

/// Number and name of each.
fn threads(process: Pid) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let named = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_string_lossy().into_owned(), name.trim_end().to_owned()))
    });
    named.collect()
}

fn is_traced(process: Pid, tid: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/task/{tid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|l| l.strip_prefix("TracerPid:")).map(str::trim);
    tracer.is_some_and(|tracer| tracer != "0")
}
