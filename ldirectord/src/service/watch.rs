//! Watches the configuration file for `autoreload` and `callback`: its time of change first, then its content.

use md5::{Digest, Md5};
use std::path::Path;
use std::time::SystemTime;

#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seen {
    modified: Option<SystemTime>,
    digest: [u8; 16],
}

impl Seen {
    /// The file as it is now; blocking.
    pub fn now(path: &Path) -> Seen {
        Seen { modified: modified(path), digest: digest(path) }
    }

    /// Whether the content has changed since; blocking. A file that cannot be read has not.
    pub fn changed(&mut self, path: &Path) -> bool {
        let modified = modified(path);
        if modified.is_none() || modified == self.modified {
            return false;
        }
        self.modified = modified;
        let digest = digest(path);
        std::mem::replace(&mut self.digest, digest) != digest
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn digest(path: &Path) -> [u8; 16] {
    Md5::digest(std::fs::read(path).unwrap_or_default()).into()
}
