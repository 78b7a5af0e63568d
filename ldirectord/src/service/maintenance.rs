//! `maintenancedir`: a file named after a server forces it down.
//!
//! Names are `address`, `address:port`, `name`, `name:port` (IPv6 addresses in brackets). A name stands for every address that it
//! resolves to, and for a real server that is written with this name in the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that are looked at.
const MAX_FILES: usize = 10_000;
/// How long a resolved name is remembered.
const REMEMBER: Duration = Duration::from_secs(60);

/// A file's name taken apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mark {
    pub name: String,
    /// Of the name, if it is an address or resolves.
    pub addrs: Vec<IpAddr>,
    /// `None`: every port.
    pub port: Option<u16>,
}

#[derive(Default)]
pub struct Scanner {
    names: BTreeMap<String, (Instant, Vec<IpAddr>)>,
}

impl Scanner {
    /// The marks in a directory; blocking. A directory that cannot be read has none.
    pub fn scan(&mut self, dir: &Path) -> BTreeSet<Mark> {
        let Ok(files) = std::fs::read_dir(dir) else { return BTreeSet::new() };
        self.names.retain(|_, (when, _)| when.elapsed() < REMEMBER);
        let names = files.flatten().take(MAX_FILES).filter_map(|f| f.file_name().into_string().ok());
        names.filter(|n| !n.starts_with('.')).map(|n| self.mark(&n)).collect()
    }

    fn mark(&mut self, file: &str) -> Mark {
        let (name, port) = split(file);
        let addrs = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(addr) => vec![addr],
            Err(_) => self.resolve(name),
        };
        Mark { name: name.to_owned(), addrs, port }
    }

    fn resolve(&mut self, name: &str) -> Vec<IpAddr> {
        if let Some((_, addrs)) = self.names.get(name) {
            return addrs.clone();
        }
        let addrs: Vec<IpAddr> = (name, 0).to_socket_addrs().map(|a| a.map(|a| a.ip()).collect()).unwrap_or_default();
        self.names.insert(name.to_owned(), (Instant::now(), addrs.clone()));
        addrs
    }
}

impl Mark {
    /// A server as a command names it: nothing is resolved, names are those of the configuration.
    pub fn literal(text: &str) -> Mark {
        let (name, port) = split(text);
        let addrs = name.trim_matches(['[', ']']).parse().into_iter().collect();
        Mark { name: name.to_owned(), addrs, port }
    }

    pub fn covers(&self, name: Option<&str>, addr: IpAddr, ports: [u16; 2]) -> bool {
        (self.addrs.contains(&addr) || name == Some(&self.name)) && self.port.is_none_or(|p| ports.contains(&p))
    }
}

/// A port behind the last colon, unless the whole is a bare IPv6 address.
fn split(file: &str) -> (&str, Option<u16>) {
    if file.parse::<IpAddr>().is_ok() {
        return (file, None);
    }
    match file.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (file, None),
        },
        None => (file, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["10.0.1.1", "10.0.1.2:80", "[2001:db8::1]:443", "2001:db8::2", "web9.invalid:80", ".swp"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let marks = Scanner::default().scan(dir.path());
        let covered =
            |name, addr: &str, port| marks.iter().any(|m| m.covers(name, addr.parse().unwrap(), [port, port]));
        assert_eq!(marks.len(), 5);
        assert!(covered(None, "10.0.1.1", 80) && covered(None, "10.0.1.1", 1));
        assert!(covered(None, "10.0.1.2", 80) && !covered(None, "10.0.1.2", 81));
        assert!(covered(None, "2001:db8::1", 443) && !covered(None, "2001:db8::1", 80));
        assert!(covered(None, "2001:db8::2", 80));
        assert!(covered(Some("web9.invalid"), "10.9.9.9", 80) && !covered(None, "10.9.9.9", 80));
        assert!(Scanner::default().scan(Path::new("/nowhere/at/all")).is_empty());
    }
}
