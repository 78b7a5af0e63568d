//! A hardware (or `softdog`) watchdog: if nobody feeds it, the machine resets.
//!
//! Fed by the controller's tick, so that a machine whose controller hangs goes down. Dropping a [`Watchdog`] leaves it armed on
//! purpose (a crash must reset the machine); [`Watchdog::disarm`] is for an orderly end.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `WDIOC_SETTIMEOUT` of `linux/watchdog.h`: `_IOWR('W', 6, int)`.
const SET_TIMEOUT: libc::c_ulong = 0xc004_5706;

/// Why the watchdog is not in use.
#[derive(Debug, thiserror::Error)]
pub enum WatchdogError {
    #[error("{path}: {source} (another program may hold it; without hardware, 'modprobe softdog' gives one)")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{path}: a timeout of {timeout_s} s is refused: {source}")]
    Timeout { path: PathBuf, timeout_s: u32, source: std::io::Error },
    #[error("{path}: {source}")]
    Feed { path: PathBuf, source: std::io::Error },
}

/// An armed watchdog.
#[derive(Debug)]
pub struct Watchdog {
    path: PathBuf,
    file: File,
    timeout_s: u32,
}

impl Watchdog {
    /// Opens the device, which arms it, and sets its timeout; the device may choose another, see [`Watchdog::timeout_s`].
    /// A device that refuses the timeout is disarmed again.
    pub fn open(path: &Path, timeout_s: u32) -> Result<Watchdog, WatchdogError> {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(|source| WatchdogError::Open { path: path.to_owned(), source })?;
        let mut dog = Watchdog { path: path.to_owned(), file, timeout_s };
        match dog.set_timeout(timeout_s) {
            Ok(()) => Ok(dog),
            Err(error) => {
                let _ = dog.disarm();
                Err(error)
            }
        }
    }

    /// From now on it bites after this time, which begins anew: for an end that must not wait for the whole timeout. A device
    /// that cannot keeps its own.
    pub fn set_timeout(&mut self, timeout_s: u32) -> Result<(), WatchdogError> {
        let mut seconds = i32::try_from(timeout_s).unwrap_or(i32::MAX);
        // SAFETY: the descriptor is open, and the request reads and writes one int, which lives through the call.
        let answer = unsafe { libc::ioctl(self.file.as_raw_fd(), SET_TIMEOUT, &mut seconds) };
        if answer != 0 {
            let source = std::io::Error::last_os_error();
            return Err(WatchdogError::Timeout { path: self.path.clone(), timeout_s, source });
        }
        self.timeout_s = u32::try_from(seconds).unwrap_or(timeout_s);
        Ok(())
    }

    /// Seconds without food until the reset, as the device has them.
    pub fn timeout_s(&self) -> u32 {
        self.timeout_s
    }

    pub fn feed(&mut self) -> Result<(), WatchdogError> {
        self.put(b"\0")
    }

    /// Ends the watch: the device stops at the close after a `V`, unless the kernel was told never to.
    pub fn disarm(mut self) -> Result<(), WatchdogError> {
        self.put(b"V")
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WatchdogError> {
        self.file.write_all(bytes).map_err(|source| WatchdogError::Feed { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_watchdog_is_refused() {
        assert!(matches!(Watchdog::open(Path::new("/nonexistent/watchdog"), 5), Err(WatchdogError::Open { .. })));
        let error = Watchdog::open(Path::new("/dev/null"), 5).unwrap_err();
        assert!(matches!(error, WatchdogError::Timeout { timeout_s: 5, .. }), "{error}");
    }
}
