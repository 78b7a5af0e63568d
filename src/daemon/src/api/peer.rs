//! Who may ask: root, this process's own user, and members of the group `haclient`, as with Pacemaker.

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

/// The user's name, or why it may not ask.
pub(super) fn allowed(stream: &UnixStream) -> Result<String, String> {
    let credentials = stream.peer_cred().map_err(|e| format!("peer credentials: {e}"))?;
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
