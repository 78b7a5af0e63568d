//! What is told to the service manager, if one started this process as `Type=notify` (sd_notify(3)): ready, reloading,
//! stopping, and signs of life for `WatchdogSec`.

use base::Time;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Tells the service manager something (`READY=1`). It is never waited for: a manager that hangs is not this node's fault.
pub fn notify(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").and_then(|p| p.into_string().ok()) else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let sent = socket.set_nonblocking(true).and_then(|()| match path.strip_prefix('@') {
        Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name)
            .and_then(|a| socket.send_to_addr(state.as_bytes(), &a)),
        None => socket.send_to(state.as_bytes(), &path),
    });
    if let Err(error) = sent {
        tracing::debug!("the service manager was not told `{}`: {error}", state.escape_debug());
    }
}

/// `RELOADING=1` with the clock that `Type=notify-reload` asks for; `READY=1` is due after it.
pub fn reloading() {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
}

/// Signs of life, twice in each `WatchdogSec`; given only by the task that ticks, so that they stop with it.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Time,
}

impl Watchdog {
    /// `WATCHDOG_USEC` and `WATCHDOG_PID` as the manager sets them for this process.
    pub fn from_env() -> Watchdog {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let every = number("WATCHDOG_USEC").filter(|us| mine && *us > 0).map(|us| Duration::from_micros(us / 2));
        Watchdog { every, last: Time::ZERO }
    }

    /// The task ticks.
    pub fn alive(&mut self, now: Time) {
        if self.every.is_some_and(|every| now.since(self.last) >= every) {
            self.last = now;
            notify("WATCHDOG=1");
        }
    }
}
