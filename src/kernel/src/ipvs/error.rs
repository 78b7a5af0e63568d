//! Why a request on an IPVS table was not fulfilled.

use super::Change;

/// One variant per meaning; [`Error::errno`] gives the kernel's number back where there is one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The generic netlink family is missing.
    #[error("the kernel has no IPVS: load the module with 'modprobe ip_vs' ({hint})")]
    NoIpvs { hint: String },
    /// EPERM.
    #[error("permission denied: IPVS tables may be changed and read by root (CAP_NET_ADMIN) only")]
    PermissionDenied,
    #[error("the virtual service exists already")]
    ServiceExists,
    #[error("no such virtual service")]
    NoSuchService,
    #[error("the real server exists already in this virtual service")]
    DestExists,
    #[error("no such real server in this virtual service")]
    NoSuchDest,
    /// ENOENT on a service: scheduler and persistence engine cannot be told apart by the kernel's answer.
    #[error("scheduler '{scheduler}'{} is not known: is its module (ip_vs_{scheduler}) installed?", engine_words(.pe))]
    NoScheduler { scheduler: String, pe: Option<String> },
    #[error("a connection synchronisation daemon of this kind runs already")]
    DaemonRunning,
    #[error("no connection synchronisation daemon of this kind runs")]
    NoDaemon,
    /// ENODEV: the synchronisation daemon's interface.
    #[error("no network interface is called '{name}'")]
    NoInterface { name: String },
    /// ERANGE: a weight or threshold; a lower threshold must not lie above the upper one.
    #[error("a weight or threshold is out of range (the lower threshold must not exceed the upper one)")]
    OutOfRange,
    /// EINVAL.
    #[error(
        "the kernel refused the values as invalid (an address that is not unicast, a prefix length, or mixed address families)"
    )]
    Invalid,
    /// EAFNOSUPPORT.
    #[error("the kernel's IPVS does not support this address family")]
    UnsupportedFamily,
    /// ENOMEM.
    #[error("the kernel has no memory for this entry")]
    OutOfMemory,
    /// Any other refusal.
    #[error("the kernel refused: {}", std::io::Error::from_raw_os_error(*.errno))]
    Refused { errno: i32 },
    /// No complete answer in time, or the connection broke: the change may or may not have been made.
    #[error("no answer from the kernel within {waited_ms} ms; whether the request took effect is unknown")]
    Unknown { waited_ms: u64 },
    /// The socket itself failed before the request was sent.
    #[error("netlink socket: {what}: {}", std::io::Error::from_raw_os_error(*.errno))]
    Socket { what: &'static str, errno: i32 },
    /// The kernel's answer does not follow `linux/ip_vs.h`.
    #[error("cannot understand the kernel's answer: {what}")]
    Malformed { what: String },
    /// A named limit of this program.
    #[error("the table has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
}

fn engine_words(pe: &Option<String>) -> String {
    pe.as_ref().map(|name| format!(" or persistence engine '{name}'")).unwrap_or_default()
}

impl Error {
    /// What the kernel's error number means as an answer to `change`.
    pub fn of_change(errno: i32, change: &Change) -> Error {
        use Change::*;
        match (errno, change) {
            (libc::EEXIST, AddService(_)) => Error::ServiceExists,
            (libc::EEXIST, AddDest(..)) => Error::DestExists,
            (libc::EEXIST, StartDaemon(_)) => Error::DaemonRunning,
            (libc::ENOENT, AddService(s) | EditService(s)) => {
                Error::NoScheduler { scheduler: s.scheduler.clone(), pe: s.pe.clone() }
            }
            (libc::ENOENT, EditDest(..) | DeleteDest(..)) => Error::NoSuchDest,
            (libc::ESRCH, StopDaemon { .. }) => Error::NoDaemon,
            (libc::ENODEV, StartDaemon(d)) => Error::NoInterface { name: d.interface.clone() },
            _ => Error::of_read(errno),
        }
    }

    /// What the kernel's error number means as an answer to a request that reads.
    pub fn of_read(errno: i32) -> Error {
        match errno {
            libc::EPERM | libc::EACCES => Error::PermissionDenied,
            libc::ESRCH => Error::NoSuchService,
            libc::ERANGE => Error::OutOfRange,
            libc::EINVAL => Error::Invalid,
            libc::EAFNOSUPPORT => Error::UnsupportedFamily,
            libc::ENOMEM | libc::ENOBUFS => Error::OutOfMemory,
            _ => Error::Refused { errno },
        }
    }

    /// The kernel's number for this refusal, as `ipvsadm` words its messages by it.
    pub fn errno(&self) -> Option<i32> {
        Some(match self {
            Error::PermissionDenied => libc::EPERM,
            Error::ServiceExists | Error::DestExists | Error::DaemonRunning => libc::EEXIST,
            Error::NoSuchService | Error::NoDaemon => libc::ESRCH,
            Error::NoSuchDest | Error::NoScheduler { .. } => libc::ENOENT,
            Error::NoInterface { .. } => libc::ENODEV,
            Error::OutOfRange => libc::ERANGE,
            Error::Invalid => libc::EINVAL,
            Error::UnsupportedFamily => libc::EAFNOSUPPORT,
            Error::OutOfMemory => libc::ENOMEM,
            Error::Refused { errno } | Error::Socket { errno, .. } => *errno,
            Error::NoIpvs { .. } | Error::Unknown { .. } | Error::Malformed { .. } | Error::TooMany { .. } => {
                return None;
            }
        })
    }
}
