//! Whom this host knows: the file `known-hosts`, and names turned into targets.

use super::{Target, places};
use crate::edit::error;
use crate::source::Failure;
use wire::pcsd::{Authorised, AuthorisedHost, KnownHosts, file};

const MAX_BYTES: u64 = 1024 * 1024;

/// The list as it is now.
#[derive(Clone, Debug, Default)]
pub struct Book(pub KnownHosts);

impl Book {
    pub fn read() -> Result<Book, Failure> {
        let path = places().pcsd.join(file::KNOWN_HOSTS);
        match kernel::files::read_regular(&path, MAX_BYTES) {
            Ok(bytes) => KnownHosts::parse(&bytes)
                .map(Book)
                .map_err(|e| error(format!("Unable to parse known-hosts file '{}': {e}", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Book::default()),
            Err(e) => Err(error(format!("Unable to read known-hosts file '{}': {e}", path.display()))),
        }
    }

    /// Every name with its address and key, or all that are not known.
    pub fn targets<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Result<Vec<Target>, Failure> {
        let (mut targets, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match self.target(name) {
                Some(target) => targets.push(target),
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() {
            return Ok(targets);
        }
        let (hosts, are) = if unknown.len() == 1 { ("Host", "is") } else { ("Hosts", "are") };
        let names = unknown.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(" ");
        let these = hosts.to_lowercase();
        Err(error(format!(
            "{hosts} {} {are} not known to pcs, try to authenticate the {these} using 'pcs host auth {names}' command",
            super::quoted(unknown)
        )))
    }

    /// One without a key was written by pcs, and has not been seen by us.
    pub fn target(&self, name: &str) -> Option<Target> {
        let host = self.0.known_hosts.get(name).filter(|h| !h.key.is_empty())?;
        Some(Target { name: name.to_owned(), destinations: host.dest_list.clone(), pin: host.key.clone() })
    }
}

/// Changes the list while nobody else does.
pub fn locked<T>(change: impl FnOnce(&mut KnownHosts) -> Result<T, Failure>) -> Result<T, Failure> {
    let dir = places().pcsd;
    let failed = |e: std::io::Error| error(format!("{}: {e}", dir.display()));
    kernel::files::private_dir(&dir).map_err(failed)?;
    let _lock = kernel::files::lock(&dir.join("lock")).map_err(failed)?;
    let mut book = Book::read()?;
    let done = change(&mut book.0)?;
    kernel::files::replace(&dir.join(file::KNOWN_HOSTS), book.0.text().as_bytes(), 0o600).map_err(failed)?;
    Ok(done)
}

/// Who may give orders to this host.
pub fn authorised<T>(change: impl FnOnce(&mut Authorised) -> T) -> Result<T, Failure> {
    let dir = places().pcsd;
    let path = dir.join(file::AUTHORISED);
    let failed = |e: std::io::Error| error(format!("{}: {e}", path.display()));
    let _lock = kernel::files::lock(&dir.join("lock")).map_err(failed)?;
    let mut list = match kernel::files::read_regular(&path, MAX_BYTES) {
        Ok(bytes) => Authorised::parse(&bytes).map_err(|e| error(format!("{}: {e}", path.display())))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Authorised::default(),
        Err(e) => return Err(failed(e)),
    };
    let done = change(&mut list);
    kernel::files::replace(&path, list.text().as_bytes(), 0o600).map_err(failed)?;
    Ok(done)
}

/// From now on a host with this key may give orders to this one; `by` says why.
pub fn authorise(name: &str, pin: &str, by: &str) -> Result<(), Failure> {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let host = AuthorisedHost { name: name.to_owned(), since, by: by.to_owned() };
    authorised(|list| drop(list.hosts.insert(pin.to_owned(), host)))
}
