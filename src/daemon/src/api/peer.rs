//! Who may ask: root, this process's own user, and members of the group `haclient`, as with Pacemaker.

use super::admission::Pool;
use super::authority::Who;
use cib::acl::{MAX_GROUPS, Subject};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::net::UnixStream;

const GROUP: &str = "haclient";

/// Gives the socket to the group, or to its owner alone where there is no such group.
pub(super) fn protect(path: &Path) -> std::io::Result<()> {
    let group = Group::from_name(GROUP).ok().flatten();
    let mode = match group {
        Some(group) if nix::unistd::chown(path, None, Some(group.gid)).is_ok() => 0o660,
        _ => 0o600,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// The cluster's own user, as with Pacemaker.
const OPERATOR: &str = "hacluster";
/// Generations between this process and a helper command: agent, shells, wrappers.
const MAX_GENERATIONS: usize = 16;

/// Which bound a connection counts against, and the peer's process.
pub(super) fn pool(stream: &UnixStream) -> (Pool, Option<i32>) {
    static HACLUSTER: std::sync::OnceLock<Option<Uid>> = std::sync::OnceLock::new();
    // Asked once: a directory service that hangs must not hold the socket up.
    let hacluster = HACLUSTER.get_or_init(|| User::from_name(OPERATOR).ok().flatten().map(|u| u.uid));
    let Ok(credentials) = stream.peer_cred() else { return (Pool::User(u32::MAX), None) };
    let uid = Uid::from_raw(credentials.uid());
    let pool = match uid.is_root() || uid == Uid::effective() || Some(uid) == *hacluster {
        true => Pool::Operators,
        false => Pool::User(uid.as_raw()),
    };
    (pool, credentials.pid())
}

/// Whether a process was started by this one, or by one that was: a command that an agent runs.
pub(super) fn descends_from_here(pid: Option<i32>) -> bool {
    let here = std::process::id().to_string();
    let mut pid = pid.map(|p| p.to_string());
    for _ in 0..MAX_GENERATIONS {
        pid = pid.and_then(|p| parent_of(&p));
        if pid.as_deref() == Some(here.as_str()) {
            return true;
        }
    }
    false
}

/// Fourth word of the process's line; its second, the name in brackets, may hold anything.
fn parent_of(pid: &str) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
}

/// Who asks, or why it may not. Looked up on a thread of its own: a directory service may take its time.
pub(super) async fn allowed(stream: &UnixStream) -> Result<Who, String> {
    let credentials = stream.peer_cred().map_err(|e| format!("peer credentials: {e}"))?;
    if credentials.uid() == 0 {
        return Ok(Who::Exempt("root".to_owned()));
    }
    let looked_up = tokio::task::spawn_blocking(move || look_up(credentials)).await;
    looked_up.unwrap_or_else(|e| Err(format!("who asks could not be found out: {e}")))
}

/// The user of this name, in whose place somebody exempt asks. One that the system does not know is in no group.
pub(super) async fn named(name: String) -> Who {
    let asked = name.clone();
    let groups = tokio::task::spawn_blocking(move || User::from_name(&asked).ok().flatten().map(|u| groups_of(&u)));
    // Without an answer about the groups there are none: that can only take away.
    let groups = groups.await.ok().flatten().unwrap_or_default();
    who(name, &groups)
}

fn look_up(credentials: tokio::net::unix::UCred) -> Result<Who, String> {
    let uid = Uid::from_raw(credentials.uid());
    let user = User::from_uid(uid).ok().flatten();
    let name = user.as_ref().map_or_else(|| uid.to_string(), |u| u.name.clone());
    if uid.is_root() || uid == Uid::effective() {
        return Ok(Who::Exempt(name));
    }
    let groups = user.as_ref().map(groups_of).unwrap_or_default();
    let group = Group::from_name(GROUP).ok().flatten().map(|g| g.gid);
    match group {
        Some(group) if group.as_raw() == credentials.gid() || groups.contains(&group) => Ok(who(name, &groups)),
        _ => Err(format!("user {name} may not ask: expected root or a member of group {GROUP}")),
    }
}

fn groups_of(user: &User) -> Vec<Gid> {
    let Ok(name) = CString::new(user.name.as_str()) else { return Vec::new() };
    getgrouplist(&name, user.gid).unwrap_or_default()
}

fn who(name: String, groups: &[Gid]) -> Who {
    let called = |gid: &Gid| Group::from_gid(*gid).ok().flatten().map(|g| g.name);
    let groups = groups.iter().take(MAX_GROUPS).filter_map(called).collect();
    Subject::new(&name, groups).map_or(Who::Exempt(name), Who::User)
}
