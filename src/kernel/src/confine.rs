//! What a process gives up before it works: core dumps, capabilities, system calls.
//!
//! | process | core dump | capabilities kept | system calls |
//! |---|---|---|---|
//! | node daemon | none | all: its agents are its children, and need root whole | all |
//! | guard | none | [`GUARD`] | without those of [`REFUSED_CALLS`]; nothing can be executed |
//! | ldirectord daemon | none | [`DIRECTOR`]: checks and mail programs are its children | all: a mail program may be set-gid |
//!
//! A filter of system calls refuses with `EPERM` and never kills: a guard that is killed removes no address.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
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

/// System calls with which a process that is taken over becomes a danger beyond itself.
const REFUSED_CALLS: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setresuid,
    libc::SYS_kill,
    libc::SYS_tkill,
];

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

/// Refuses [`REFUSED_CALLS`] from now on, and whatever a program could gain by being executed.
pub fn refuse_calls() -> io::Result<()> {
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = REFUSED_CALLS.iter().map(|n| (*n, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).map_err(io::Error::other)?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}
