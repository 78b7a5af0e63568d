//! What reading a configuration needs to know of the machine; injectable, so that tests decide it.

use crate::names::{Asked, Resolvers, Target};
use base::ipvs::{Family, Protocol};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

pub trait Environment {
    /// These names will be asked for: a resolver is asked once for each, and side by side.
    fn prepare(&mut self, _: Vec<String>) {}
    /// First address of the family, as getaddrinfo orders them.
    fn resolve(&mut self, host: &str, family: Family) -> Option<IpAddr>;
    /// All servers that a name stands for; or why that is not known.
    fn targets(&mut self, asked: &Asked) -> Result<Vec<Target>, String> {
        let addr = self.resolve(&asked.name, asked.family).ok_or("no address")?;
        Ok(vec![Target { addr, service: None }])
    }
    /// Port of a service name, of that protocol or of any.
    fn service_port(&mut self, name: &str, protocol: Option<Protocol>) -> Option<u16>;
    fn is_directory(&mut self, path: &Path) -> bool;
    /// Whether `path` could be opened for appending; nothing is created.
    fn can_append(&mut self, path: &Path) -> Result<(), String>;
}

/// The running machine: its resolver, `/etc/services`, its files.
#[derive(Default)]
pub struct System {
    hosts: BTreeMap<String, Vec<IpAddr>>,
    services: Option<BTreeMap<(String, &'static str), u16>>,
    /// What names stand for that need not be asked.
    known: BTreeMap<Asked, Vec<Target>>,
    /// What they stood for once, for want of an answer.
    remembered: BTreeMap<Asked, Vec<Target>>,
    /// By look-ups of what names stand for, one after the other.
    waited: Duration,
}

impl System {
    pub fn knowing(known: BTreeMap<Asked, Vec<Target>>) -> System {
        System { known, ..System::default() }
    }

    pub fn remembering(remembered: BTreeMap<Asked, Vec<Target>>) -> System {
        System { remembered, ..System::default() }
    }
}

/// Ports of the checks' own protocols, for machines without `/etc/services`.
const WELL_KNOWN: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("domain", 53),
    ("ftp", 21),
    ("smtp", 25),
    ("pop3", 110),
    ("nntp", 119),
    ("imap2", 143),
    ("imap", 143),
    ("ldap", 389),
    ("ldaps", 636),
    ("submission", 587),
    ("imaps", 993),
    ("pop3s", 995),
    ("radius", 1812),
    ("mysql", 3306),
    ("sip", 5060),
    ("postgresql", 5432),
];

/// How long a file's names may take; one that has no answer by then does not resolve.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(15);

fn look_up(host: &str) -> Vec<IpAddr> {
    (host, 0).to_socket_addrs().map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default()
}

impl Environment for System {
    fn prepare(&mut self, names: Vec<String>) {
        let known = kernel::names::ask_all(names.clone(), |host: &String| look_up(host), LOOKUP_PATIENCE);
        self.hosts.extend(names.into_iter().map(|name| (name, Vec::new())));
        self.hosts.extend(known);
    }

    fn resolve(&mut self, host: &str, family: Family) -> Option<IpAddr> {
        let found = self.hosts.entry(host.to_owned()).or_insert_with_key(|host| look_up(host));
        found.iter().copied().find(|a| Family::of(*a) == family)
    }

    fn targets(&mut self, asked: &Asked) -> Result<Vec<Target>, String> {
        if let Some(targets) = self.known.get(asked) {
            return Ok(targets.clone());
        }
        let found = self.ask(asked);
        match (found, self.remembered.get(asked)) {
            (Err(_), Some(before)) => Ok(before.clone()),
            (found, _) => found,
        }
    }

    fn service_port(&mut self, name: &str, protocol: Option<Protocol>) -> Option<u16> {
        let services = self.services.get_or_insert_with(|| {
            std::fs::read_to_string("/etc/services").map(|text| parse_services(&text)).unwrap_or_default()
        });
        service_port(services, name, protocol)
    }

    fn is_directory(&mut self, path: &Path) -> bool {
        path.is_dir()
    }

    fn can_append(&mut self, path: &Path) -> Result<(), String> {
        if path.exists() {
            return kernel::files::open_to_append(path, false).map(drop).map_err(|e| e.to_string());
        }
        match path.parent() {
            Some(dir) if dir.as_os_str().is_empty() || dir.is_dir() => Ok(()),
            Some(dir) => Err(format!("directory {} does not exist", dir.display())),
            None => Err("not a file".to_owned()),
        }
    }
}

impl System {
    fn ask(&mut self, asked: &Asked) -> Result<Vec<Target>, String> {
        if self.waited >= LOOKUP_PATIENCE {
            return Err(format!("the names before it have taken {} s", self.waited.as_secs()));
        }
        let begun = Instant::now();
        // In a thread of its own: nobody says whether this one has a runtime.
        let asking = asked.clone();
        let look = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            runtime.block_on(Resolvers::system().ask(&asking)).map(|answer| answer.targets)
        };
        let found = std::thread::spawn(look).join().unwrap_or_else(|_| Err("the look-up has failed".to_owned()));
        self.waited += begun.elapsed();
        found
    }
}

fn service_port(
    services: &BTreeMap<(String, &'static str), u16>,
    name: &str,
    protocol: Option<Protocol>,
) -> Option<u16> {
    let order: &[&'static str] = match protocol {
        Some(Protocol::Tcp) => &["tcp"],
        Some(Protocol::Udp) => &["udp"],
        Some(Protocol::Sctp) => &["sctp"],
        None => &["tcp", "udp", "sctp"],
    };
    let listed = order.iter().find_map(|p| services.get(&(name.to_owned(), *p)).copied());
    listed.or_else(|| WELL_KNOWN.iter().find(|(n, _)| *n == name).map(|(_, p)| *p))
}

/// `services(5)`: `name port/protocol alias …  # comment`.
fn parse_services(text: &str) -> BTreeMap<(String, &'static str), u16> {
    let mut map = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let (Some(name), Some((port, protocol))) = (words.next(), words.next().and_then(|w| w.split_once('/'))) else {
            continue;
        };
        let (Ok(port), Some(protocol)) = (port.parse(), ["tcp", "udp", "sctp"].into_iter().find(|p| *p == protocol))
        else {
            continue;
        };
        for alias in std::iter::once(name).chain(words) {
            map.entry((alias.to_owned(), protocol)).or_insert(port);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_file_with_aliases() {
        let map = parse_services("# x\nhttp 80/tcp www # web\ndomain 53/udp\nbroken\nodd 70000/tcp\n");
        assert_eq!(service_port(&map, "www", Some(Protocol::Tcp)), Some(80));
        assert_eq!(service_port(&map, "www", Some(Protocol::Udp)), None);
        assert_eq!(service_port(&map, "domain", None), Some(53));
        assert_eq!(service_port(&map, "odd", None), None);
        assert_eq!(service_port(&BTreeMap::new(), "https", Some(Protocol::Tcp)), Some(443));
    }
}
