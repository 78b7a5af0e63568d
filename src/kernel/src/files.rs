//! Files that are replaced whole, and files that others name.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Who may look into the cluster's directories beside their owner, where the group exists; as with Pacemaker.
pub const GROUP: &str = "haclient";
/// The owner alone: whoever of the group could read the CIB's file would need no permission of an ACL.
pub const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIR: u32 = 0o750;

/// Makes a directory if it is absent, and takes it from everyone but owner and group, whatever the umask.
pub fn private_dir(dir: &Path) -> std::io::Result<()> {
    if !dir.is_dir() {
        std::fs::DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir)?;
    }
    let now = std::fs::metadata(dir)?;
    // The world's own directories (`/tmp`) are not narrowed for what somebody wants to keep there.
    if now.permissions().mode() & 0o1000 != 0 {
        return Ok(());
    }
    let group = nix::unistd::Group::from_name(GROUP).ok().flatten().map(|g| g.gid);
    if let Some(group) = group.filter(|g| g.as_raw() != now.gid()) {
        // Without the right to do so the owner alone reads it.
        let _ = nix::unistd::chown(dir, None, Some(group));
    }
    match now.permissions().mode() & 0o777 & !PRIVATE_DIR {
        0 => Ok(()),
        _ => std::fs::set_permissions(dir, std::fs::Permissions::from_mode(now.permissions().mode() & PRIVATE_DIR)),
    }
}

/// Opens a file that an operator has named, for reading. Opening a pipe may take for ever, and a device has no end: both are
/// refused, and nothing is waited for.
pub fn open_regular(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Error::new(ErrorKind::InvalidInput, "no regular file")),
    }
}

/// The content of such a file, if it is no longer than that.
pub fn read_regular(path: &Path, max_bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > max_bytes {
        true => Err(Error::new(ErrorKind::FileTooLarge, format!("more than {max_bytes} bytes"))),
        false => Ok(bytes),
    }
}

/// Opens a file that an operator has named, to be appended to. A pipe that nobody reads is refused, one that is full takes
/// nothing: whoever writes a log never waits for its reader.
pub fn open_to_append(path: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(create).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The same for a log that its owner alone may read; made if it is absent.
pub fn open_private_to_append(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(PRIVATE_FILE).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Replaces a file: written beside it, synced and renamed, so that whoever reads finds the old content or the whole new
/// one, and nothing temporary is left when it fails. What is there and is no regular file (a device, a pipe) is
/// refused: a rename would put a file in its place.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => return Err(Error::other("it is there and is no regular file")),
        _ => {}
    }
    // Behind a link the file itself is replaced, not the link.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    // Of each call its own. A killed process may have left one of this name: in a container, where its number comes again.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new{}-{}", std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed)));
    let beside = Path::new(&beside);
    let _ = std::fs::remove_file(beside);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
        file.write_all(content)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(beside, path)
    };
    write().inspect_err(|_| {
        let _ = std::fs::remove_file(beside);
    })
}

/// Keeps others who ask for the same lock file waiting, until it is dropped: for what is read, changed and written back.
pub fn lock(path: &Path) -> std::io::Result<nix::fcntl::Flock<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(PRIVATE_FILE).open(path)?;
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, e)| e.into())
}

/// Bytes of an id that stand in a file's name as they are; together with the digest and an ending far below what a file
/// system takes (255).
const PLAIN_BYTES: usize = 120;

/// A name for a file that belongs to the thing with this id, whatever characters the id has and however long it is: letters,
/// digits, `-` and `_` as they are, all else as `%XX`; of a long one the beginning and a digest of the whole. No two ids
/// share a name.
pub fn name_of_id(id: &str) -> String {
    let mut name = String::new();
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > PLAIN_BYTES {
        name.truncate(PLAIN_BYTES);
        // Stands in no escaped id.
        name.push('~');
        for byte in Sha256::digest(id) {
            let _ = write!(name, "{byte:02x}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two at once, and what a killed process has left: in a container its number comes again, and its file stood in the way.
    #[test]
    fn replacing_a_file_never_fails_by_what_stands_beside_it() {
        let dir = std::env::temp_dir().join(format!("bascule-replace-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("file");
        for n in 0..1_000 {
            std::fs::write(dir.join(format!("file.new{}-{n}", std::process::id())), "half").expect("written");
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..20).for_each(|n| replace(&path, format!("{n}").as_bytes(), 0o600).expect("replaced"))
                });
            }
        });
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "19");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn any_id_has_a_file_name_of_its_own() {
        let long = "x".repeat(300);
        let ids = [
            "vip",
            "web:0",
            "a/b",
            "a_b",
            "../../etc/x",
            ".",
            "",
            "\u{e9}\u{4e2d}",
            &long,
            &format!("{long}y"),
            &"\u{4e2d}".repeat(99),
        ];
        let names: std::collections::BTreeSet<String> = ids.iter().map(|id| name_of_id(id)).collect();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        for name in &names {
            assert!(
                name.len() < 200 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_%~".contains(&b)),
                "{name}"
            );
        }
        assert!(names.contains("vip") && names.contains("web%3A0"), "{names:?}");
    }

    #[test]
    fn nothing_is_waited_for_that_may_never_come() {
        let dir = std::env::temp_dir().join(format!("bascule-pipes-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let pipe = dir.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a pipe");
        let (done, result) = std::sync::mpsc::channel();
        let (there, asked) = (dir.clone(), pipe.clone());
        std::thread::spawn(move || {
            let found = [open_regular(&asked), open_regular(&there), open_regular(Path::new("/dev/zero"))];
            let _ = done.send((found.map(|f| f.map(drop)), open_to_append(&asked, true).map(drop)));
        });
        let (found, appended) = result.recv_timeout(std::time::Duration::from_secs(20)).expect("an answer at once");
        assert!(found.iter().all(|f| f.as_ref().is_err_and(|e| e.to_string() == "no regular file")), "{found:?}");
        assert!(appended.is_err());
        let file = dir.join("file");
        open_to_append(&file, true).and_then(|mut f| f.write_all(b"12345")).expect("written");
        assert_eq!(read_regular(&file, 5).expect("read"), b"12345");
        assert_eq!(read_regular(&file, 4).map_err(|e| e.kind()), Err(ErrorKind::FileTooLarge));
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn devices_stay_and_links_lead_to_the_file() {
        let dir = std::env::temp_dir().join(format!("bascule-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let device = dir.join("device");
        std::os::unix::fs::symlink("/dev/full", &device).expect("a link");
        assert!(replace(&device, b"x", 0o600).is_err());
        assert!(std::fs::symlink_metadata(&device).is_ok_and(|m| m.is_symlink()));
        let (real, link) = (dir.join("real"), dir.join("link"));
        replace(&real, b"old", 0o600).expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        replace(&link, b"new", 0o400).expect("written");
        assert_eq!(std::fs::read(&real).expect("there"), b"new");
        assert_eq!(std::fs::metadata(&real).map(|m| m.permissions().mode() & 0o777).ok(), Some(0o400));
        assert_eq!(std::fs::read_dir(&dir).map(|d| d.count()).ok(), Some(3), "nothing temporary is left");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
