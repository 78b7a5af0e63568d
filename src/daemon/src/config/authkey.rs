//! The authkey: raw random bytes, 128 to 4096 of them, that nobody but root may read.

use super::Config;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the key is unless something names another file.
pub const DEFAULT_KEYFILE: &str = "/etc/corosync/authkey";
pub const MIN_KEY_BYTES: usize = 128;
pub const MAX_KEY_BYTES: usize = 4096;

/// Key bytes; never printed, never copied, and wiped as soon as the ring's own key is made of them ([`wire::seal::Root`]).
#[derive(PartialEq, Eq)]
pub struct Key(Zeroizing<Vec<u8>>);

impl Key {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Why there is no key. Each names the file and the cure.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: expected the cluster's key, found: {error}; make one with `corosync-keygen -k {}` (or `bascule corosync-keygen`) on one node and copy it to the others with mode 0400", .file.display(), .file.display())]
    Read { file: PathBuf, error: std::io::Error },
    #[error("{}: expected a key of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, found {found}; make a new one with `corosync-keygen` and copy it to every node", .file.display())]
    Length { file: PathBuf, found: usize },
    #[error("{}: expected a key that root alone may read, found mode {:04o}: whoever has read it can join the cluster; if nobody has, run `chmod 0400 {}`, else make a new key with `corosync-keygen` and copy it to every node", .file.display(), .mode & 0o7777, .file.display())]
    Exposed { file: PathBuf, mode: u32 },
}

/// The key by `--authkey`, else `keyfile:`, else `key:`, else the default file. One that others may read is refused;
/// one that root's group may read is taken with a warning.
pub fn read_key(config: &Config, chosen: Option<&Path>) -> Result<(Key, Option<String>), KeyError> {
    let file = match (chosen, &config.totem.keyfile, &config.totem.key) {
        (Some(path), _, _) => path.to_path_buf(),
        (None, Some(path), _) => path.clone(),
        (None, None, Some(inline)) => {
            let key = checked(Path::new(&config.file), Zeroizing::new(inline.as_bytes().to_vec()))?;
            return Ok((key, Some("the key stands in corosync.conf itself: anyone who may read the file can join the cluster; move it to a keyfile".to_owned())));
        }
        (None, None, None) => {
            std::env::var_os("COROSYNC_TOTEM_AUTHKEY_FILE").map_or_else(|| DEFAULT_KEYFILE.into(), PathBuf::from)
        }
    };
    let bytes = read_once(&file).map_err(|error| KeyError::Read { file: file.clone(), error })?;
    let key = checked(&file, bytes)?;
    let warning = match std::fs::metadata(&file).map(|m| (m.mode(), m.gid())) {
        Ok((mode, gid)) if mode & 0o007 != 0 || (mode & 0o070 != 0 && gid != 0) => {
            return Err(KeyError::Exposed { file, mode });
        }
        Ok((mode, _)) => exposed(&file, mode),
        Err(_) => None,
    };
    Ok((key, warning))
}

/// Into room that is large enough from the beginning: what a buffer leaves behind as it grows is wiped by nobody.
fn read_once(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    const ROOM: usize = MAX_KEY_BYTES * 4;
    let mut bytes = Zeroizing::new(vec![0; ROOM]);
    let mut file = std::fs::File::open(file)?;
    let mut length = 0;
    while length < ROOM {
        match file.read(&mut bytes[length..])? {
            0 => {
                bytes.truncate(length);
                return Ok(bytes);
            }
            more => length += more,
        }
    }
    Err(std::io::Error::other(format!("the file is larger than {ROOM} bytes")))
}

fn checked(file: &Path, bytes: Zeroizing<Vec<u8>>) -> Result<Key, KeyError> {
    if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes.len()) {
        Ok(Key(bytes))
    } else {
        Err(KeyError::Length { file: file.to_path_buf(), found: bytes.len() })
    }
}

fn exposed(file: &Path, mode: u32) -> Option<String> {
    let path = file.display();
    (mode & 0o077 != 0).then(|| {
        format!(
            "{path} has mode {:04o}: root's group may read the cluster's key; run `chmod 0400 {path}`",
            mode & 0o7777
        )
    })
}
