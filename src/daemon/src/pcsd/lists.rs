//! The two lists on disk, read at each use: the commands write them as well, under the same lock.

use std::collections::BTreeMap;
use std::path::Path;
use wire::pcsd::{Authorised, AuthorisedHost, KnownHost, KnownHosts, file};

const MAX_BYTES: u64 = 1024 * 1024;

pub fn authorised(dir: &Path) -> Result<Authorised, String> {
    read(&dir.join(file::AUTHORISED), Authorised::parse)
}

pub fn known(dir: &Path) -> Result<KnownHosts, String> {
    read(&dir.join(file::KNOWN_HOSTS), KnownHosts::parse)
}

fn read<T: Default>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, String> {
    match kernel::files::read_regular(path, MAX_BYTES) {
        Ok(bytes) => parse(&bytes).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// From now on a host with this key may give orders.
pub fn authorise(dir: &Path, pin: &str, name: &str, by: &str) -> Result<(), String> {
    change_authorised(dir, |list| {
        list.hosts.insert(pin.to_owned(), AuthorisedHost { name: name.to_owned(), since: now(), by: by.to_owned() });
    })
}

pub fn forget(dir: &Path, pins: &[String]) -> Result<(), String> {
    change_authorised(dir, |list| list.hosts.retain(|pin, _| !pins.contains(pin)))
}

/// Hosts that another one vouches for: known from now on, and authorised.
pub fn take(dir: &Path, hosts: &BTreeMap<String, KnownHost>, by: &str) -> Result<(), String> {
    let path = dir.join(file::KNOWN_HOSTS);
    let _lock = lock(dir)?;
    let mut known = known(dir)?;
    known.take(hosts);
    kernel::files::replace(&path, known.text().as_bytes(), 0o600).map_err(|e| format!("{}: {e}", path.display()))?;
    drop(_lock);
    change_authorised(dir, |list| {
        for (name, host) in hosts.iter().filter(|(_, h)| !h.key.is_empty()) {
            let new = || AuthorisedHost { name: name.clone(), since: now(), by: by.to_owned() };
            list.hosts.entry(host.key.clone()).or_insert_with(new);
        }
    })
}

fn change_authorised(dir: &Path, change: impl FnOnce(&mut Authorised)) -> Result<(), String> {
    let path = dir.join(file::AUTHORISED);
    let _lock = lock(dir)?;
    let mut list = authorised(dir)?;
    change(&mut list);
    kernel::files::replace(&path, list.text().as_bytes(), 0o600).map_err(|e| format!("{}: {e}", path.display()))
}

fn lock(dir: &Path) -> Result<impl Drop, String> {
    kernel::files::lock(&dir.join("lock")).map_err(|e| format!("{}: {e}", dir.display()))
}

pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
