//! Names of hosts and ports as the system knows them.
//!
//! Ports come from `/etc/services` as the system's own functions would read it; hosts from the resolver, which may take
//! as long as it is configured to.

#![allow(unsafe_code)]

use crate::ipvs::render::Names;
use base::ipvs::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

const SERVICES_FILE: &str = "/etc/services";
/// Larger files are cut: the usual one has 13 kB.
const MAX_SERVICES_BYTES: usize = 4 << 20;

/// Ports' names of one `/etc/services`.
#[derive(Default, Debug)]
pub struct Services {
    by_port: BTreeMap<(u16, &'static str), String>,
    by_name: BTreeMap<(String, &'static str), u16>,
}

impl Services {
    /// Reads lines of `NAME PORT/PROTOCOL ALIASES… # comment`; the first entry of a port or name counts.
    pub fn parse(text: &str) -> Services {
        let mut services = Services::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(place)) = (words.next(), words.next()) else { continue };
            let Some((port, protocol)) = place.split_once('/') else { continue };
            let (Ok(port), Some(protocol)) = (port.parse::<u16>(), protocol_word_of(protocol)) else { continue };
            services.by_port.entry((port, protocol)).or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services.by_name.entry((name.to_owned(), protocol)).or_insert(port);
            }
        }
        services
    }

    /// The system's, read once.
    pub fn system() -> &'static Services {
        static SYSTEM: OnceLock<Services> = OnceLock::new();
        SYSTEM.get_or_init(|| {
            let bytes = std::fs::read(SERVICES_FILE).unwrap_or_default();
            Services::parse(&String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SERVICES_BYTES)]))
        })
    }

    pub fn name(&self, port: u16, protocol: Protocol) -> Option<&str> {
        self.by_port.get(&(port, protocol_word(protocol))).map(String::as_str)
    }

    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        self.by_name.get(&(name.to_owned(), protocol_word(protocol))).copied()
    }
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

fn protocol_word_of(text: &str) -> Option<&'static str> {
    ["tcp", "udp", "sctp"].into_iter().find(|w| *w == text)
}

/// The first IPv4 address of a host name.
pub fn lookup_ipv4(host: &str) -> Option<IpAddr> {
    (host, 0).to_socket_addrs().ok()?.map(|a| a.ip()).find(IpAddr::is_ipv4)
}

/// The host name of an address, if the resolver has one.
pub fn reverse_lookup(addr: IpAddr) -> Option<String> {
    let socket = socket2::SockAddr::from(SocketAddr::new(addr, 0));
    let mut host = [0 as libc::c_char; 1025];
    // SAFETY: the address and its length come from socket2, the buffer's length is passed, and no service buffer is given.
    let code = unsafe {
        libc::getnameinfo(
            socket.as_ptr().cast(),
            socket.len(),
            host.as_mut_ptr(),
            host.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if code != 0 {
        return None;
    }
    // SAFETY: getnameinfo has written a NUL-terminated string into the buffer.
    let name = unsafe { CStr::from_ptr(host.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}

/// What a resolver says of many names: each is asked for once, several at a time, for so long at most. What has no answer by then
/// is not in the result; its thread ends when the resolver lets it.
pub fn ask_all<K, V>(keys: Vec<K>, ask: fn(&K) -> V, patience: Duration) -> BTreeMap<K, V>
where
    K: Ord + Send + 'static,
    V: Send + 'static,
{
    let unique: BTreeSet<K> = keys.into_iter().collect();
    let wanted = unique.len();
    let queue = Arc::new(Mutex::new(unique.into_iter().collect::<Vec<K>>()));
    let (answers, inbox) = channel();
    for _ in 0..wanted.min(MAX_ASKED_AT_ONCE) {
        if ASKING.fetch_add(1, Ordering::Relaxed) >= MAX_ASKING {
            ASKING.fetch_sub(1, Ordering::Relaxed);
            break;
        }
        let (queue, answers, asking) = (queue.clone(), answers.clone(), Asking);
        let work = move || {
            let _asking = asking;
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(key) = next else { return };
                let value = ask(&key);
                if answers.send((key, value)).is_err() {
                    return;
                }
            }
        };
        // The guard goes with a thread that does not start, too.
        let _ = std::thread::Builder::new().name("names".to_owned()).spawn(work);
    }
    drop(answers);
    let deadline = Instant::now() + patience;
    let mut known = BTreeMap::new();
    while let Ok((key, value)) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        known.insert(key, value);
    }
    known
}

const MAX_ASKED_AT_ONCE: usize = 16;
/// Threads that a resolver holds up, of the whole process.
const MAX_ASKING: usize = 64;
static ASKING: AtomicUsize = AtomicUsize::new(0);

struct Asking;

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a listing waits for names; what has none by then is shown by its number.
const PATIENCE: Duration = Duration::from_secs(5);

/// The system's names. Those that were learnt are kept.
pub struct SystemNames;

static LEARNT: Mutex<BTreeMap<IpAddr, Option<String>>> = Mutex::new(BTreeMap::new());

impl Names for SystemNames {
    fn learn(&self, addrs: Vec<IpAddr>) {
        let known = ask_all(addrs.clone(), |addr| reverse_lookup(*addr), PATIENCE);
        let mut learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner);
        *learnt = addrs.into_iter().map(|addr| (addr, None)).collect();
        learnt.extend(known);
    }

    fn host(&self, addr: IpAddr) -> Option<String> {
        let learnt = LEARNT.lock().unwrap_or_else(PoisonError::into_inner).get(&addr).cloned();
        learnt.unwrap_or_else(|| reverse_lookup(addr))
    }

    fn port(&self, port: u16, protocol: Protocol) -> Option<String> {
        Services::system().name(port, protocol).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_file() {
        let services =
            Services::parse("http 80/tcp www # web\nhttp 80/udp\njunk\nlate 80/tcp\n#x 1/tcp\nbig 70000/tcp\n");
        assert_eq!(services.name(80, Protocol::Tcp), Some("http"));
        assert_eq!(services.port("www", Protocol::Tcp), Some(80));
        assert_eq!(services.port("www", Protocol::Udp), None);
        assert_eq!(services.port("late", Protocol::Tcp), Some(80));
        assert_eq!(services.name(1, Protocol::Tcp), None);
    }

    #[test]
    fn a_slow_resolver_is_asked_side_by_side_and_not_for_ever() {
        let begin = Instant::now();
        let slow = |n: &u64| {
            std::thread::sleep(Duration::from_millis(if *n == 7 { 60_000 } else { 50 }));
            n * 2
        };
        let keys = (0..40).chain(0..40).collect();
        let known = ask_all(keys, slow, Duration::from_secs(3));
        assert_eq!(known.len(), 39);
        assert!(!known.contains_key(&7) && known[&39] == 78);
        assert!(begin.elapsed() < Duration::from_secs(20));
        assert!(ask_all(Vec::new(), slow, Duration::ZERO).is_empty());
    }

    #[test]
    fn loopback_has_a_name() {
        assert_eq!(lookup_ipv4("127.0.0.1"), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(lookup_ipv4("no.such.host.invalid"), None);
    }
}
