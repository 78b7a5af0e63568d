//! The original's words for what the kernel refused.

use kernel::ipvs::{Change, Error};

/// Words for a refused change.
pub fn of_change(change: &Change, error: &Error) -> String {
    use Change::*;
    let Some(errno) = error.errno() else { return general(error) };
    let special = match (change, errno) {
        (AddService(_), libc_errno::EEXIST) => Some("Service already exists"),
        (AddService(_) | EditService(_), libc_errno::ENOENT) => Some("Scheduler or persistence engine not found"),
        (EditService(_) | DeleteService(_) | Zero(_), libc_errno::ESRCH) => Some("No such service"),
        (AddDest(..) | EditDest(..) | DeleteDest(..), libc_errno::ESRCH) => Some("Service not defined"),
        (AddDest(..), libc_errno::EEXIST) => Some("Destination already exists"),
        (EditDest(..) | DeleteDest(..), libc_errno::ENOENT) => Some("No such destination"),
        (StartDaemon(_), libc_errno::EEXIST) => Some("Daemon has already run"),
        (StopDaemon { .. }, libc_errno::ESRCH) => Some("No daemon is running"),
        _ => None,
    };
    special.map_or_else(|| general(error), str::to_owned)
}

/// Words for a refused request that reads.
pub fn of_read(error: &Error) -> String {
    if error.errno() == Some(libc_errno::ESRCH) { "No such service".to_owned() } else { general(error) }
}

fn general(error: &Error) -> String {
    let text = match error {
        Error::NoIpvs { .. } => "Protocol not available",
        _ => match error.errno() {
            Some(libc_errno::EPERM) => "Permission denied (you must be root)",
            Some(libc_errno::EINVAL) => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
            Some(libc_errno::ENOPROTOOPT) => "Protocol not available",
            Some(libc_errno::ENOMEM) => "Memory allocation problem",
            Some(libc_errno::EOPNOTSUPP) => "Operation not supported with IPv6",
            Some(libc_errno::EAFNOSUPPORT) => "Operation not supported with specified address family",
            Some(libc_errno::EMSGSIZE) => "Module is wrong version",
            Some(errno) => return strerror(errno),
            None => return error.to_string(),
        },
    };
    text.to_owned()
}

/// The C library's words, without the number that Rust adds.
fn strerror(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.strip_suffix(&format!(" (os error {errno})")).unwrap_or(&text).to_owned()
}

/// A hint for a person, where the original's words leave one alone.
pub fn hint(error: &Error) -> Option<String> {
    match error {
        Error::NoScheduler { scheduler, .. } => Some(format!("{error} {}", scheduler_module(scheduler))),
        Error::NoInterface { .. } | Error::OutOfRange => Some(error.to_string()),
        _ => None,
    }
}

/// The answer to the question that the error asks, where the system's lists of modules have it.
fn scheduler_module(scheduler: &str) -> String {
    let module = format!("ip_vs_{scheduler}");
    match kernel::host::available_modules() {
        Some(all) if all.contains(&module) => format!("It is; 'modprobe {module}' says why it is not loaded."),
        Some(_) => format!("This kernel's modules have no {module}."),
        None => String::new(),
    }
}

/// Error numbers by their names.
mod libc_errno {
    use nix::errno::Errno;

    pub const EPERM: i32 = Errno::EPERM as i32;
    pub const ENOENT: i32 = Errno::ENOENT as i32;
    pub const ESRCH: i32 = Errno::ESRCH as i32;
    pub const EEXIST: i32 = Errno::EEXIST as i32;
    pub const EINVAL: i32 = Errno::EINVAL as i32;
    pub const ENOMEM: i32 = Errno::ENOMEM as i32;
    pub const EMSGSIZE: i32 = Errno::EMSGSIZE as i32;
    pub const ENOPROTOOPT: i32 = Errno::ENOPROTOOPT as i32;
    pub const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
    pub const EAFNOSUPPORT: i32 = Errno::EAFNOSUPPORT as i32;
}
