//! `/proc/sys`, or a directory that looks like it.

use std::io;
use std::path::PathBuf;

/// Longest value that is read.
const MAX_VALUE_BYTES: usize = 4096;
/// Interfaces that `*` stands for at most.
const MAX_INTERFACES: usize = 4096;
const CONN_TAB_BITS: &str = "/sys/module/ip_vs/parameters/conn_tab_bits";

/// One setting's path below the root, by component.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(Vec<String>);

impl Key {
    /// From a name with dots; a dot within a component is written `/`, as sysctl(8) does.
    pub fn new(name: &str) -> Key {
        Key(name.split('.').map(|c| c.replace('/', ".")).collect())
    }

    /// Whether the key stays below the root.
    fn is_plain(&self) -> bool {
        self.0.iter().all(|c| !c.is_empty() && c != "." && c != ".." && !c.contains('/'))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<String> = self.0.iter().map(|c| c.replace('.', "/")).collect();
        f.write_str(&shown.join("."))
    }
}

/// Settings of the network namespace of the calling thread.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    pub fn system() -> Tree {
        Tree::at("/proc/sys")
    }

    /// A copy somewhere else, for tests and reports.
    pub fn at(root: impl Into<PathBuf>) -> Tree {
        Tree { root: root.into() }
    }

    /// The value without its line end; several numbers are separated by one blank.
    pub fn read(&self, key: &Key) -> io::Result<String> {
        let bytes = std::fs::read(self.path(key)?)?;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_VALUE_BYTES)]).into_owned();
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Never creates a file: a setting that the kernel does not have is an error.
    pub fn write(&self, key: &Key, value: &str) -> io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(self.path(key)?)?;
        io::Write::write_all(&mut file, value.as_bytes())
    }

    /// The keys that a name of the table stands for.
    pub fn expand(&self, name: &str) -> Vec<Key> {
        let Some((before, after)) = name.split_once(".*.") else { return vec![Key::new(name)] };
        let dir = before.split('.').fold(self.root.clone(), |path, part| path.join(part));
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(MAX_INTERFACES);
        let mut found: Vec<Key> = entries
            .map(|e| {
                let middle = e.file_name().to_string_lossy().into_owned();
                let head = before.split('.').map(str::to_owned);
                Key(head.chain([middle]).chain(after.split('.').map(str::to_owned)).collect())
            })
            .collect();
        found.sort();
        found
    }

    fn path(&self, key: &Key) -> io::Result<PathBuf> {
        if !key.is_plain() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{key}' names no setting")));
        }
        Ok(key.0.iter().fold(self.root.clone(), |path, part| path.join(part)))
    }
}

/// `conn_tab_bits` of the loaded module, if the kernel shows it.
pub(super) fn conn_tab_bits() -> Option<u32> {
    std::fs::read_to_string(CONN_TAB_BITS).ok()?.trim().parse().ok()
}
