//! The authkey: raw random bytes, 128 to 4096 of them, that nobody but root may read.

use super::{Config, read_bounded};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the key is unless something names another file.
pub const DEFAULT_KEYFILE: &str = "/etc/corosync/authkey";
pub const MIN_KEY_BYTES: usize = 128;
pub const MAX_KEY_BYTES: usize = 4096;

/// Key bytes; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u8>);

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
}

/// The key by `--authkey`, else `keyfile:`, else `key:`, else the default file; with a warning if others may read it.
pub fn read_key(config: &Config, chosen: Option<&Path>) -> Result<(Key, Option<String>), KeyError> {
    let file = match (chosen, &config.totem.keyfile, &config.totem.key) {
        (Some(path), _, _) => path.to_path_buf(),
        (None, Some(path), _) => path.clone(),
        (None, None, Some(inline)) => {
            let key = checked(Path::new(&config.file), inline.as_bytes().to_vec())?;
            return Ok((key, Some("the key stands in corosync.conf itself: anyone who may read the file can join the cluster; move it to a keyfile".to_owned())));
        }
        (None, None, None) => {
            std::env::var_os("COROSYNC_TOTEM_AUTHKEY_FILE").map_or_else(|| DEFAULT_KEYFILE.into(), PathBuf::from)
        }
    };
    let bytes =
        read_bounded(&file, MAX_KEY_BYTES as u64 * 4).map_err(|error| KeyError::Read { file: file.clone(), error })?;
    let warning = std::fs::metadata(&file).ok().and_then(|m| exposed(&file, m.mode()));
    Ok((checked(&file, bytes)?, warning))
}

fn checked(file: &Path, bytes: Vec<u8>) -> Result<Key, KeyError> {
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
            "{path} has mode {:04o}: others than root may read the cluster's key; run `chmod 0400 {path}`",
            mode & 0o7777
        )
    })
}
