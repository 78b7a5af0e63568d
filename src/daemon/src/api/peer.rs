//! Who may ask: root, this process's own user, and members of the group `haclient`, as with Pacemaker.

use super::admission::Pool;
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

/// The user's name, or why it may not ask. Looked up on a thread of its own: a directory service may take its time.
pub(super) async fn allowed(stream: &UnixStream) -> Result<String, String> {
    let credentials = stream.peer_cred().map_err(|e| format!("peer credentials: {e}"))?;
    if credentials.uid() == 0 {
        return Ok("root".to_owned());
    }
    let looked_up = tokio::task::spawn_blocking(move || look_up(credentials)).await;
    looked_up.unwrap_or_else(|e| Err(format!("who asks could not be found out: {e}")))
}

fn look_up(credentials: tokio::net::unix::UCred) -> Result<String, String> {
    let uid = Uid::from_raw(credentials.uid());
    let user = User::from_uid(uid).ok().flatten();
    let name = user.as_ref().map_or_else(|| uid.to_string(), |u| u.name.clone());
    if uid.is_root() || uid == Uid::effective() {
        return Ok(name);
    }
    let group = Group::from_name(GROUP).ok().flatten().map(|g| g.gid);
    match group {
        Some(group) if group.as_raw() == credentials.gid() || member(&name, user.as_ref(), group) => Ok(name),
        _ => Err(format!("user {name} may not ask: expected root or a member of group {GROUP}")),
    }
}

fn member(name: &str, user: Option<&User>, group: Gid) -> bool {
    let (Some(user), Ok(name)) = (user, CString::new(name)) else { return false };
    getgrouplist(&name, user.gid).is_ok_and(|all| all.contains(&group))
}
