//! Whether the kernel takes its clock to be kept by a time service.
#![allow(unsafe_code)]

use nix::errno::Errno;

/// What `adjtimex(2)` says.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockState {
    Synchronised,
    Unsynchronised,
    /// The call is not permitted here.
    Unknown(String),
}

pub fn clock_state() -> ClockState {
    // SAFETY: `timex` is plain integers, for which zero is valid; with `modes` 0 the call only fills it in.
    let (code, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex.status)
    };
    match code {
        code if code < 0 => ClockState::Unknown(Errno::last().to_string()),
        libc::TIME_ERROR => ClockState::Unsynchronised,
        _ if status & libc::STA_UNSYNC != 0 => ClockState::Unsynchronised,
        _ => ClockState::Synchronised,
    }
}
