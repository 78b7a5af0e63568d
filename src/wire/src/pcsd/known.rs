//! The two lists of a host: whom it knows (`known-hosts`, in the format of pcs, with the pin beside the token), and who may give
//! it orders.

use super::{MAX_HOSTS, PORT, is_plain};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const FORMAT: u32 = 1;
const PIN_DIGITS: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownHosts {
    pub format_version: u32,
    /// Grows with each change.
    pub data_version: u64,
    pub known_hosts: BTreeMap<String, KnownHost>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KnownHost {
    pub dest_list: Vec<Destination>,
    /// pcs's own, kept as it is; ours needs none.
    #[serde(default)]
    pub token: String,
    /// What the host's key must be; empty in a file that pcs wrote.
    #[serde(default)]
    pub key: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Destination {
    pub addr: String,
    pub port: u16,
}

impl Destination {
    /// `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]:PORT`.
    pub fn parse(text: &str) -> Result<Destination, String> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (addr, port) = match (bare, text.matches(':').count()) {
            (Some((addr, rest)), _) => (addr, rest.strip_prefix(':')),
            (None, 1) => text.split_once(':').map_or((text, None), |(a, p)| (a, Some(p))),
            (None, _) => (text, None),
        };
        let port = match port {
            None => PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|p| *p > 0)
                .ok_or_else(|| format!("Invalid port number in address '{text}', use 1..65535"))?,
        };
        match is_plain(addr) {
            true => Ok(Destination { addr: addr.to_owned(), port }),
            false => Err(format!("'{text}' is no address or name of a host")),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addr.contains(':') {
            true => write!(f, "[{}]:{}", self.addr, self.port),
            false => write!(f, "{}:{}", self.addr, self.port),
        }
    }
}

impl Default for KnownHosts {
    fn default() -> KnownHosts {
        KnownHosts { format_version: FORMAT, data_version: 0, known_hosts: BTreeMap::new() }
    }
}

impl KnownHosts {
    pub fn parse(bytes: &[u8]) -> Result<KnownHosts, String> {
        let read: KnownHosts = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if read.format_version != FORMAT {
            return Err(format!("expected format_version {FORMAT}, found {}", read.format_version));
        }
        check(&read.known_hosts)?;
        Ok(read)
    }

    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Adds and replaces.
    pub fn take(&mut self, hosts: &BTreeMap<String, KnownHost>) {
        self.data_version += 1;
        self.known_hosts.extend(hosts.iter().map(|(name, host)| (name.clone(), host.clone())));
    }
}

/// Whether each name, address and pin is one.
pub fn check(hosts: &BTreeMap<String, KnownHost>) -> Result<(), String> {
    if hosts.len() > MAX_HOSTS {
        return Err(format!("more than {MAX_HOSTS} hosts"));
    }
    for (name, host) in hosts {
        if !is_plain(name) {
            return Err(format!("'{}' is no name of a host", name.escape_debug()));
        }
        if host.dest_list.is_empty() || host.dest_list.iter().any(|d| !is_plain(&d.addr) || d.port == 0) {
            return Err(format!("{name}: expected an address and a port"));
        }
        if !host.key.is_empty() && !is_pin(&host.key) {
            return Err(format!("{name}: expected the digest of a key"));
        }
    }
    Ok(())
}

fn is_pin(text: &str) -> bool {
    text.len() == PIN_DIGITS && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

/// Who may give orders to this host, by the pins of their keys.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Authorised {
    pub hosts: BTreeMap<String, AuthorisedHost>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuthorisedHost {
    /// What it called itself, or what the cluster calls it.
    pub name: String,
    /// RFC 3339.
    pub since: String,
    /// `password`, `token`, or the host that vouched for it.
    pub by: String,
}

impl Authorised {
    pub fn parse(bytes: &[u8]) -> Result<Authorised, String> {
        let read: Authorised = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        match read.hosts.keys().find(|k| !is_pin(k)) {
            Some(odd) => Err(format!("'{}': expected the digest of a key", odd.escape_debug())),
            None => Ok(read),
        }
    }

    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_pcs_reads_them() {
        let read = |text: &str| Destination::parse(text).map(|d| d.to_string());
        assert_eq!(read("n1"), Ok("n1:2224".to_owned()));
        assert_eq!(read("n1:22"), Ok("n1:22".to_owned()));
        assert_eq!(read("fe80::1"), Ok("[fe80::1]:2224".to_owned()));
        assert_eq!(read("[fe80::1]:7"), Ok("[fe80::1]:7".to_owned()));
        for bad in ["", "n1:0", "n1:x", "n1:70000", "a b", "[::1]:"] {
            assert!(Destination::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_pcs_is_read_and_one_of_another_format_is_not() {
        let pcs = br#"{"format_version":1,"data_version":2,"known_hosts":{"n1":{"dest_list":[{"addr":"n1","port":2224}],"token":"abc"}}}"#;
        let read = KnownHosts::parse(pcs).expect("read");
        assert_eq!((read.data_version, read.known_hosts["n1"].key.as_str()), (2, ""));
        assert_eq!(KnownHosts::parse(read.text().as_bytes()), Ok(read));
        for bad in [
            &b"{}"[..],
            b"[]",
            br#"{"format_version":2,"data_version":2,"known_hosts":{}}"#,
            br#"{"format_version":1,"data_version":2,"known_hosts":{"../n1":{"dest_list":[{"addr":"n1","port":2224}]}}}"#,
            br#"{"format_version":1,"data_version":2,"known_hosts":{"n1":{"dest_list":[]}}}"#,
            br#"{"format_version":1,"data_version":2,"known_hosts":{"n1":{"dest_list":[{"addr":"n1","port":1}],"key":"ab"}}}"#,
        ] {
            assert!(KnownHosts::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
