//! Watches the configuration file for `autoreload` and `callback`: its time and size first, then its content.
//!
//! ```text
//!   same --(differs)--> pending --(nothing changes for STABLE_FOR)--> taken: changed
//!     ^                    | (differs again: waits anew)
//!     +--(is as before)----+          gone <--(no such file)-- any; what is found afterwards is looked at as ever
//! ```
//!
//! Editors, `cp` and `scp` write a file in pieces: half of one is never taken while it still grows.

use md5::{Digest, Md5};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// How long a changed file must stay as it is before it is read.
pub const STABLE_FOR: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Version {
    modified: Option<SystemTime>,
    bytes: u64,
    digest: [u8; 16],
}

/// What a look has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Same,
    /// Another content, which has been there for a while.
    Changed,
    /// The file is not there any more; said once.
    Gone,
    /// It is there again; whether it has changed is said later.
    Back,
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Seen {
    taken: Option<Version>,
    pending: Option<(Version, Instant)>,
    gone: bool,
}

impl Seen {
    /// The file as it is now; blocking.
    pub fn now(path: &Path) -> Seen {
        Seen { taken: version(path, None).ok(), ..Seen::default() }
    }

    /// Compares the file with what was taken last; blocking. One that cannot be read for another reason is as it was.
    pub fn look(&mut self, path: &Path, now: Instant) -> Found {
        let last = self.pending.map(|(version, _)| version).or(self.taken);
        let version = match version(path, last) {
            Ok(version) => version,
            Err(ErrorKind::NotFound) if !self.gone => {
                (self.gone, self.pending) = (true, None);
                return Found::Gone;
            }
            Err(_) => return Found::Same,
        };
        let back = std::mem::take(&mut self.gone);
        if self.taken.is_some_and(|taken| taken.digest == version.digest) {
            // Also one that was touched, or changed and changed back.
            (self.taken, self.pending) = (Some(version), None);
        } else {
            match self.pending {
                Some((pending, since)) if pending == version => {
                    if now.saturating_duration_since(since) >= STABLE_FOR {
                        (self.taken, self.pending) = (Some(version), None);
                        return Found::Changed;
                    }
                }
                _ => self.pending = Some((version, now)),
            }
        }
        if back { Found::Back } else { Found::Same }
    }
}

/// Only a file with another time or size is read.
fn version(path: &Path, last: Option<Version>) -> Result<Version, ErrorKind> {
    let metadata = std::fs::metadata(path).map_err(|e| e.kind())?;
    let (modified, bytes) = (metadata.modified().ok(), metadata.len());
    if let Some(last) = last.filter(|l| l.modified == modified && l.bytes == bytes && modified.is_some()) {
        return Ok(last);
    }
    let content = kernel::files::read_regular(path, crate::config::MAX_BYTES as u64).map_err(|e| match e.kind() {
        // A pipe or a directory in its place: the file is not there.
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => ErrorKind::NotFound,
        kind => kind,
    });
    let digest = Md5::digest(content?).into();
    Ok(Version { modified, bytes, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_when_it_has_been_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.cf");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("one");
        let mut seen = Seen::now(&path);
        let begin = Instant::now();
        let at = |tenths: u32| begin + Duration::from_millis(100) * tenths;
        assert_eq!(seen.look(&path, at(0)), Found::Same);
        // It grows for a long time, each time within the wait.
        for n in 1..20 {
            write(&"two".repeat(n as usize));
            assert_eq!(seen.look(&path, at(n * 15)), Found::Same);
        }
        assert_eq!(seen.look(&path, at(300)), Found::Same);
        assert_eq!(seen.look(&path, at(306)), Found::Changed);
        assert_eq!(seen.look(&path, at(340)), Found::Same);
        // Changed and changed back in time is no change.
        write("");
        assert_eq!(seen.look(&path, at(350)), Found::Same);
        write(&"two".repeat(19));
        assert_eq!(seen.look(&path, at(360)), Found::Same);
        assert_eq!(seen.look(&path, at(400)), Found::Same);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(seen.look(&path, at(410)), Found::Gone);
        assert_eq!(seen.look(&path, at(420)), Found::Same);
        write("three");
        assert_eq!(seen.look(&path, at(430)), Found::Back);
        assert_eq!(seen.look(&path, at(450)), Found::Changed);
        // Neither a directory nor a pipe, which would never be open, is the file.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(seen.look(&path, at(460)), Found::Gone);
        std::fs::remove_dir(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let (done, looked) = std::sync::mpsc::channel();
        let (mut other, pipe) = (seen.clone(), path.clone());
        std::thread::spawn(move || done.send(other.look(&pipe, begin)));
        assert_eq!(looked.recv_timeout(Duration::from_secs(20)).ok(), Some(Found::Same));
        std::fs::remove_file(&path).unwrap();
        write("four");
        assert_eq!(seen.look(&path, at(480)), Found::Back);
        assert_eq!(seen.look(&path, at(510)), Found::Changed);
    }
}
