//! `-Lc`: the connection table, from `/proc/net/ip_vs_conn`.

use super::options::{Given, Opt};
use super::{Io, names_for};
use base::ipvs::Protocol;
use kernel::ipvs::render::{Names, address_and_port};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FILE: &str = "/proc/net/ip_vs_conn";

/// The kernel's text.
pub fn read_kernel() -> std::io::Result<String> {
    std::fs::read_to_string(FILE)
}

/// One connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Connection {
    pub protocol: String,
    pub source: IpAddr,
    pub source_port: u16,
    #[serde(rename = "virtual")]
    pub vaddr: IpAddr,
    pub virtual_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
    pub state: String,
    pub expires_s: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pe_data: Option<String>,
}

/// Prints the connections; returns the exit code.
pub fn list(given: Given, io: &mut Io<'_>) -> i32 {
    let Ok(text) = (io.connections)() else {
        let _ = writeln!(io.err, "cannot open file {FILE}");
        return 1;
    };
    let Some(connections) = parse(&text) else {
        let _ = writeln!(io.err, "unexpected input from {FILE}");
        return 1;
    };
    let shown = if given.has(Opt::Json) {
        serde_json::to_string_pretty(&connections).unwrap_or_default() + "\n"
    } else {
        let names = names_for(given.has(Opt::Numeric), io);
        table(&connections, given.has(Opt::PersistentConn), names)
    };
    let _ = io.out.write_all(shown.as_bytes());
    0
}

/// Reads the kernel's table: hexadecimal addresses and ports, one connection per line after a title.
pub fn parse(text: &str) -> Option<Vec<Connection>> {
    text.lines().filter(|l| !l.starts_with("Pro ") && !l.trim().is_empty()).map(line).collect()
}

fn line(line: &str) -> Option<Connection> {
    let mut words = line.split_whitespace();
    let mut next = || words.next();
    Some(Connection {
        protocol: next()?.to_owned(),
        source: address(next()?)?,
        source_port: u16::from_str_radix(next()?, 16).ok()?,
        vaddr: address(next()?)?,
        virtual_port: u16::from_str_radix(next()?, 16).ok()?,
        destination: address(next()?)?,
        destination_port: u16::from_str_radix(next()?, 16).ok()?,
        state: next()?.to_owned(),
        expires_s: next()?.parse().ok()?,
        pe: next().map(str::to_owned),
        pe_data: next().map(str::to_owned),
    })
}

fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.trim_matches(['[', ']']).parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    u32::from_str_radix(text, 16).ok().map(|n| IpAddr::V4(Ipv4Addr::from(n)))
}

fn table(connections: &[Connection], engines: bool, names: &dyn Names) -> String {
    let mut text = String::from("IPVS connection entries\n");
    let (state, source, vname, destination) = ("state", "source", "virtual", "destination");
    text += &if engines {
        format!("pro expire {state:<11} {source:<18} {vname:<18} {destination:<18} {:<16} pe_data\n", "pe name")
    } else {
        format!("pro expire {state:<11} {source:<18} {vname:<18} {destination}\n")
    };
    for c in connections {
        let protocol = match c.protocol.as_str() {
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => Protocol::Tcp,
        };
        let name = |addr, port| address_and_port(addr, port, protocol, names);
        let expires = format!("{:02}:{:02}", c.expires_s / 60, c.expires_s % 60);
        let (source, vname) = (name(c.source, c.source_port), name(c.vaddr, c.virtual_port));
        let destination = name(c.destination, c.destination_port);
        text += &format!("{:<3} {expires:<6} {:<11} {source:<18} {vname:<18} ", c.protocol, c.state);
        text += &match (&c.pe, engines) {
            (Some(pe), true) => format!("{destination:<16} {pe:<18} {}\n", c.pe_data.as_deref().unwrap_or_default()),
            _ => format!("{destination}\n"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::ipvs::render::Numeric;

    const TEXT: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
TCP C0A80105 D431 0A000001 0050 C0A80164 1F90 ESTABLISHED     899
UDP C0A80105 13C4 0A000009 13C4 C0A80165 13C4 UDP              59 sip abc@host
TCP 2001:0db8:0000:0000:0000:0000:0000:0005 D431 2001:0db8:0000:0000:0000:0000:0000:0001 0050 C0A80164 0050 FIN_WAIT 7
";

    #[test]
    fn the_kernels_lines() {
        let connections = parse(TEXT).unwrap();
        let expected = "\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 14:59  ESTABLISHED 192.168.1.5:54321  10.0.0.1:80        192.168.1.100:8080
UDP 00:59  UDP         192.168.1.5:5060   10.0.0.9:5060      192.168.1.101:5060
TCP 00:07  FIN_WAIT    [2001:db8::5]:54321 [2001:db8::1]:80   192.168.1.100:80
";
        assert_eq!(table(&connections, false, &Numeric), expected);
        assert_eq!(connections[1].pe_data.as_deref(), Some("abc@host"));
        assert_eq!(parse("TCP x\n"), None);
    }
}
