//! What a process gives up before it works: core dumps, capabilities, system calls.
//!
//! | process | core dump | capabilities kept | system calls |
//! |---|---|---|---|
//! | node daemon | none | all: its agents are its children, and need root whole | all |
//! | guard | none | [`GUARD`] | [`Filter::Guard`]: nothing can be executed, no sockets but netlink |
//! | ldirectord daemon | none | [`DIRECTOR`]: checks and mail programs are its children | [`Filter::Director`], of which its children may be set-gid |
//!
//! A filter of system calls names what is refused, with `EPERM`, and never kills: a guard that is killed removes no address, and a
//! list of what is allowed would break with the next C library. The kernel's log tells what was refused.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

/// Removing addresses; nothing else.
pub const GUARD: &[Capability] = &[Capability::CAP_NET_ADMIN];

/// IPVS and addresses, raw sockets for ping, and what programs of its operator commonly need: files and processes of other
/// users, and to become another user. Gone are, among others, SYS_ADMIN, SYS_PTRACE, SYS_RAWIO, SYS_BOOT, SYS_TIME, MKNOD, BPF.
pub const DIRECTOR: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_CHOWN,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    // `sudo` in a script writes to the audit log.
    Capability::CAP_AUDIT_WRITE,
];

/// System calls with which a process that is taken over becomes a danger beyond itself, and which no check, script or mail program
/// of an operator has a use for: other processes' memory, the kernel itself, mounts and namespaces, the clock.
const NOBODY_NEEDS: &[libc::c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
];

/// The guard starts nothing, becomes nobody else, and ends nobody.
const GUARD_NEEDS_NOT: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_pidfd_send_signal,
];
/// All that the guard opens sockets of.
const GUARD_FAMILIES: [libc::c_int; 2] = [libc::AF_NETLINK, libc::AF_UNIX];

/// Whose filter of system calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filter {
    /// Nothing that it could execute gains anything either.
    Guard,
    /// And all that it starts. Programs may still be set-uid or set-gid, so this takes `CAP_SYS_ADMIN`: to be asked for before
    /// [`keep_capabilities`]. Programs for another machine (32 bits, say) are killed.
    Director,
}

/// No core file of this process, nor of what it starts: secrets are in memory and in agents' environments. Others of the same
/// user cannot look into its memory either.
pub fn no_core_dump() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// Gives up all capabilities but these, for this process and whatever it starts. To be called before there are other threads.
pub fn keep_capabilities(kept: &[Capability]) -> io::Result<()> {
    let kept: CapsHashSet = kept.iter().copied().collect();
    let there = caps::read(None, CapSet::Bounding).map_err(io::Error::other)?;
    for capability in there.difference(&kept) {
        caps::drop(None, CapSet::Bounding, *capability).map_err(io::Error::other)?;
    }
    // What is not there cannot be asked for.
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept: CapsHashSet = kept.intersection(&permitted).copied().collect();
    caps::clear(None, CapSet::Ambient).map_err(io::Error::other)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(io::Error::other)?;
    caps::set(None, CapSet::Effective, &kept).map_err(io::Error::other)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(io::Error::other)
}

/// Refuses system calls from now on, in this thread and what comes of it. To be called before there are other threads.
pub fn refuse_calls(filter: Filter) -> io::Result<()> {
    if filter == Filter::Guard {
        nix::sys::prctl::set_no_new_privs()?;
    }
    install(&program(filter)?)
}

fn program(filter: Filter) -> io::Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = NOBODY_NEEDS.iter().map(|n| (*n, Vec::new())).collect();
    if filter == Filter::Guard {
        rules.extend(GUARD_NEEDS_NOT.iter().map(|n| (*n, Vec::new())));
        let other =
            |family: &libc::c_int| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *family as u64);
        let others = GUARD_FAMILIES.iter().map(other).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        rules.insert(libc::SYS_socket, vec![SeccompRule::new(others).map_err(io::Error::other)?]);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

/// The library's own way forbids set-uid programs for good, and is silent when something is refused; here the kernel's log tells it
/// (`type=1326`, with process and system call), where the kernel knows how.
#[allow(unsafe_code)]
fn install(program: &BpfProgram) -> io::Result<()> {
    #[repr(C)]
    struct Given {
        length: libc::c_ushort,
        first: *const seccompiler::sock_filter,
    }
    let length = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let given = Given { length, first: program.as_ptr() };
    let set = |flags: libc::c_ulong| {
        // SAFETY: the kernel copies the `length` instructions at `first`, which outlive the call, and keeps no pointer.
        match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const given) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // Before Linux 4.14 there is no such flag.
    set(libc::SECCOMP_FILTER_FLAG_LOG).or_else(|e| if e.raw_os_error() == Some(libc::EINVAL) { set(0) } else { Err(e) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use std::process::Command;

    /// In a thread of its own, which alone is confined.
    fn confined(filter: Filter, work: fn()) {
        let thread = std::thread::spawn(move || refuse_calls(filter).map(|()| work()));
        match thread.join().expect("no panic") {
            Err(e) if !nix::unistd::geteuid().is_root() => eprintln!("SKIPPED, for root alone: {e}"),
            done => done.expect("filtered"),
        }
    }

    fn nobody_mounts_or_traces() {
        let flags = nix::mount::MsFlags::MS_BIND;
        assert_eq!(nix::mount::mount(Some("/proc"), "/proc", None::<&str>, flags, None::<&str>), Err(Errno::EPERM));
        assert_eq!(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS), Err(Errno::EPERM));
        assert_eq!(refusal(libc::SYS_ptrace, libc::c_long::from(libc::PTRACE_TRACEME)), Some(libc::EPERM));
        for call in [libc::SYS_kexec_load, libc::SYS_reboot, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_fsopen]
        {
            assert_eq!(refusal(call, 0), Some(libc::EPERM), "{call}");
        }
    }

    /// With arguments that do nothing where the call is allowed.
    #[allow(unsafe_code)]
    fn refusal(call: libc::c_long, first: libc::c_long) -> Option<i32> {
        // SAFETY: null pointers and zeros: the kernel writes nowhere.
        match unsafe { libc::syscall(call, first, 0, 0, 0, 0, 0) } {
            -1 => io::Error::last_os_error().raw_os_error(),
            _ => None,
        }
    }

    #[test]
    fn the_guard_executes_nothing_and_has_no_way_out_but_netlink() {
        confined(Filter::Guard, || {
            nobody_mounts_or_traces();
            let refused = Command::new("true").status().expect_err("nothing is executed");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            assert!(
                std::net::UdpSocket::bind("127.0.0.1:0").is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
            );
            assert_eq!(nix::sys::signal::kill(nix::unistd::getpid(), None), Err(Errno::EPERM));
            // What it is there for.
            let route = nix::sys::socket::SockProtocol::NetlinkRoute;
            let (family, kind) = (nix::sys::socket::AddressFamily::Netlink, nix::sys::socket::SockType::Raw);
            nix::sys::socket::socket(family, kind, nix::sys::socket::SockFlag::empty(), route).expect("netlink");
            std::fs::read("/proc/self/stat").expect("files");
        });
    }

    #[test]
    fn the_directors_programs_run_and_may_be_set_gid_but_are_filtered_too() {
        confined(Filter::Director, || {
            nobody_mounts_or_traces();
            std::net::UdpSocket::bind("127.0.0.1:0").expect("checks go to the network");
            let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; unshare --mount true 2>&1; echo $?";
            let out = Command::new("sh").args(["-c", script]).output().expect("programs run");
            let said = String::from_utf8_lossy(&out.stdout).replace('\t', "");
            assert!(said.starts_with("NoNewPrivs:0\nSeccomp:2\n"), "{said}");
            assert!(said.ends_with("Operation not permitted\n1\n"), "{said}");
        });
    }
}
