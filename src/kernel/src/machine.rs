//! Whether this process has a machine of its own, and how that machine is reset at once.
//!
//! A reset takes everybody with it: a node that runs in a laboratory's namespaces, or in a container, must never reset the
//! machine around it, whatever its configuration says.

#![allow(unsafe_code)]

use std::fs;
use std::io;

/// Inode number of the first PID namespace, `PROC_PID_INIT_INO` of `linux/proc_ns.h`.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
/// Resets at once when `b` is written to it.
const SYSRQ: &str = "/proc/sysrq-trigger";

/// What this process is part of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The machine is this node's.
    Machine,
    /// A container: a device that is there was given to it on purpose, but the machine is another's.
    Container(String),
    /// Namespaces of somebody's machine, as laboratories make them. A container that does not say what it is looks the same.
    Namespaces(String),
}

impl Place {
    pub fn here() -> Place {
        let link = |path: &str| fs::read_link(path).map(|l| l.to_string_lossy().into_owned()).ok();
        let first = fs::read("/proc/1/environ").unwrap_or_default();
        let marks = Marks {
            variable: first.split(|b| *b == 0).any(|v| v.starts_with(b"container=")),
            pid: link("/proc/self/ns/pid"),
            net: link("/proc/self/ns/net"),
            net_of_init: link("/proc/1/ns/net"),
        };
        Place::of(&marks)
    }

    fn of(marks: &Marks) -> Place {
        let why = match marks {
            m if m.pid.as_deref() != Some(FIRST_PID_NAMESPACE) => "it has a PID namespace of its own",
            m if m.net.is_none() || m.net != m.net_of_init => "it has a network namespace of its own",
            _ => return Place::Machine,
        };
        match marks.variable {
            true => Place::Container(why.to_owned()),
            false => Place::Namespaces(why.to_owned()),
        }
    }
}

/// What [`Place`] is told by.
#[derive(Clone, Default)]
struct Marks {
    /// The first process in sight has the variable `container`, as engines of containers set it.
    variable: bool,
    pid: Option<String>,
    net: Option<String>,
    net_of_init: Option<String>,
}

/// Why the machine goes on.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    #[error("the machine around this process is not its own: {0}")]
    NotOurs(String),
    #[error("{SYSRQ}: {sysrq}; reboot(2): {reboot}")]
    Refused { sysrq: io::Error, reboot: io::Error },
}

/// Resets the machine without a sync. Returns only if it goes on.
pub fn reset(place: &Place) -> ResetError {
    match place {
        Place::Machine => {}
        Place::Container(why) | Place::Namespaces(why) => return ResetError::NotOurs(why.clone()),
    }
    // A kernel that takes the letter is gone before the call returns.
    let sysrq = match fs::write(SYSRQ, "b") {
        Ok(()) => io::Error::other("taken, without effect"),
        Err(error) => error,
    };
    // SAFETY: the call takes one number and no memory.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    ResetError::Refused { sysrq, reboot: io::Error::last_os_error() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Marks {
        Marks {
            pid: Some(FIRST_PID_NAMESPACE.to_owned()),
            net: Some("net:[1]".to_owned()),
            net_of_init: Some("net:[1]".to_owned()),
            ..Marks::default()
        }
    }

    #[test]
    fn only_a_machine_of_its_own_is_one() {
        assert_eq!(Place::of(&machine()), Place::Machine);
        let lab = |marks: Marks| assert!(matches!(Place::of(&marks), Place::Namespaces(_)));
        lab(Marks { pid: Some("pid:[4026532201]".to_owned()), ..machine() });
        lab(Marks { net: Some("net:[2]".to_owned()), ..machine() });
        lab(Marks { net: None, net_of_init: None, ..machine() });
        lab(Marks::default());
        let other = Marks { pid: Some("pid:[4026532201]".to_owned()), variable: true, ..machine() };
        assert!(matches!(Place::of(&other), Place::Container(_)));
    }

    #[test]
    fn what_is_not_its_own_is_not_reset() {
        for place in [Place::Namespaces("x".to_owned()), Place::Container("x".to_owned())] {
            assert!(matches!(reset(&place), ResetError::NotOurs(why) if why == "x"));
        }
    }
}
