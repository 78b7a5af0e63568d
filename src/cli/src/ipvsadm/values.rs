//! Values of options: numbers, addresses, masks, flags, by the original's rules.

use base::ipvs::{Protocol, service_flags};
use kernel::names::Services;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A decimal number as `strtol` reads it (blanks and a sign before it), within limits, with nothing behind it.
pub fn number(text: &str, min: i64, max: i64) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse::<i64>().ok().filter(|n| (min..=max).contains(n))
}

/// An IPv4 address as `inet_aton` reads it: one to four parts, each decimal, octal (`0…`) or hexadecimal (`0x…`);
/// what follows a blank is ignored.
pub fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split([' ', '\t', '\n', '\x0b', '\x0c', '\r']).next().unwrap_or_default();
    let parts: Vec<u64> = text.split('.').map(aton_part).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|&p| p > 255) || *last >= 1 << (8 * (4 - leading.len())) {
        return None;
    }
    let value = leading.iter().enumerate().fold(*last, |sum, (i, part)| sum | part << (24 - 8 * i));
    u32::try_from(value).ok().map(Ipv4Addr::from)
}

fn aton_part(text: &str) -> Option<u64> {
    let (digits, radix) = match text {
        "" => return None,
        _ if text.starts_with("0x") || text.starts_with("0X") => (&text[2..], 16),
        _ if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Looks host names up; a field so that tests need no resolver.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<IpAddr>;

/// What `-t`, `-u` and `-r` name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub addr: IpAddr,
    pub port: Option<u16>,
}

/// `host`, `host:port`, `[v6]:port` or a bare IPv6 address. `protocol` decides what a service name means.
pub fn place(text: &str, protocol: Option<Protocol>, lookup: Lookup<'_>) -> Option<Place> {
    // A bare number is a port or a mark to old scripts, never an address.
    if text.is_empty() || number(text, 0, i64::MAX).is_some() {
        return None;
    }
    let port_of = |text: &str| {
        let plain = number(text, 0, 65535).and_then(|n| u16::try_from(n).ok());
        plain.or_else(|| protocol.and_then(|p| Services::system().port(text, p)))
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']')?;
            (host, Some(after.strip_prefix(':')?))
        }
        None => (text, None),
    };
    if let Ok(addr) = host.parse::<Ipv6Addr>() {
        let port = port.map(|p| port_of(p).ok_or(())).transpose().ok()?;
        return Some(Place { addr: IpAddr::V6(addr), port });
    }
    let (host, port) = match port {
        Some(port) => (host, Some(port)),
        None => host.rsplit_once(':').map_or((host, None), |(h, p)| (h, Some(p))),
    };
    let addr = inet_aton(host).map(IpAddr::V4).or_else(|| lookup(host).filter(IpAddr::is_ipv4))?;
    let port = port.map(|p| port_of(p).ok_or(())).transpose().ok()?;
    Some(Place { addr, port })
}

/// Why a list of scheduler flags is refused, with the flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FlagError {
    Invalid(String),
    Incompatible(String),
}

/// `flag-1,flag-2,flag-3`, or `sh-fallback,sh-port` with `sh`, `mh-fallback,mh-port` with `mh`.
pub fn scheduler_flags(scheduler: &str, text: &str) -> Result<u32, FlagError> {
    use service_flags::{SCHED1, SCHED2, SCHED3};
    let mut flags = 0;
    for name in text.split(',').filter(|n| !n.is_empty()) {
        let (bit, only_with) = match name {
            "flag-1" => (SCHED1, None),
            "flag-2" => (SCHED2, None),
            "flag-3" => (SCHED3, None),
            "sh-fallback" => (SCHED1, Some("sh")),
            "sh-port" => (SCHED2, Some("sh")),
            "mh-fallback" => (SCHED1, Some("mh")),
            "mh-port" => (SCHED2, Some("mh")),
            _ => return Err(FlagError::Invalid(name.to_owned())),
        };
        if only_with.is_some_and(|s| s != scheduler) {
            return Err(FlagError::Incompatible(name.to_owned()));
        }
        flags |= bit;
    }
    Ok(flags)
}

/// An IPv6 prefix length as the original reads it: leading digits count.
pub fn prefix_length(text: &str) -> Option<u32> {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().ok().filter(|n| (1..=128).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_strtol() {
        assert_eq!(number(" 5", 0, 9), Some(5));
        assert_eq!(number("+5", 0, 9), Some(5));
        assert_eq!(number("00009", 0, 9), Some(9));
        for bad in ["", " ", "5 ", "0x5", "-1", "10", "5x", "+-5", "99999999999999999999"] {
            assert_eq!(number(bad, 0, 9), None, "{bad:?}");
        }
    }

    #[test]
    fn old_forms_of_addresses() {
        let ip = |a, b, c, d| Some(Ipv4Addr::new(a, b, c, d));
        assert_eq!(inet_aton("10.0.0.1"), ip(10, 0, 0, 1));
        assert_eq!(inet_aton("10.1"), ip(10, 0, 0, 1));
        assert_eq!(inet_aton("10.1.258"), ip(10, 1, 1, 2));
        assert_eq!(inet_aton("0x0a000001"), ip(10, 0, 0, 1));
        assert_eq!(inet_aton("010.0.0.1"), ip(8, 0, 0, 1));
        assert_eq!(inet_aton("10.1 x"), ip(10, 0, 0, 1));
        for bad in ["", ".", " 1", "10.", "256.1", "1.2.3.4.5", "10.0.0.256", "a", "08", "4294967296", "1.+2"] {
            assert_eq!(inet_aton(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn places() {
        let none = |_: &str| None;
        let read = |text: &str| place(text, Some(Protocol::Tcp), &none);
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let v6: IpAddr = "2001:db8::1".parse().unwrap();
        assert_eq!(read("10.0.0.1"), Some(Place { addr: v4, port: None }));
        assert_eq!(read("10.0.0.1:80"), Some(Place { addr: v4, port: Some(80) }));
        assert_eq!(read("2001:db8::1"), Some(Place { addr: v6, port: None }));
        assert_eq!(read("[2001:db8::1]:0"), Some(Place { addr: v6, port: Some(0) }));
        for bad in
            ["", "80", "[2001:db8::1]", "[2001:db8::1", "10.0.0.1:", "10.0.0.1:65536", ":80", "[::1]80", "nosuch:80"]
        {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        let found = |_: &str| Some("192.0.2.1".parse().unwrap());
        assert_eq!(place("www:80", None, &found).map(|p| p.addr.to_string()), Some("192.0.2.1".to_owned()));
    }

    #[test]
    fn flags_of_schedulers() {
        assert_eq!(scheduler_flags("fo", "flag-1,,flag-3"), Ok(0x28));
        assert_eq!(scheduler_flags("sh", "sh-port"), Ok(0x10));
        assert_eq!(scheduler_flags("wlc", "sh-port"), Err(FlagError::Incompatible("sh-port".into())));
        assert_eq!(scheduler_flags("sh", "x"), Err(FlagError::Invalid("x".into())));
        assert_eq!(scheduler_flags("sh", ","), Ok(0));
    }
}
