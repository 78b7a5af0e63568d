//! Requests and answers against byte strings written after `linux/ip_vs.h` (little-endian hosts).

use super::*;
use crate::ipvs::{Change, Error};
use base::ipvs::*;
use std::net::IpAddr;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(|c| c.is_ascii_hexdigit()).collect();
    (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn web() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, addr: ip("10.0.0.1"), port: 80 }
}

/// A message as the kernel would send it: header, generic header, attributes.
fn answer(kind: u16, seq: u32, attrs: &[u8]) -> Vec<u8> {
    let mut bytes = ((20 + attrs.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&[2, 0]);
    bytes.extend_from_slice(&seq.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[1, 1, 0, 0]);
    bytes.extend_from_slice(attrs);
    bytes
}

#[test]
#[cfg(target_endian = "little")]
fn adding_a_service() {
    let service = Service { flags: 1, timeout_s: 360, ..Service::new(web(), "wlc") };
    let bytes = encode(change(&Change::AddService(service)).unwrap(), 0x1c, 7).unwrap();
    let expected = hex(concat!(
        "68000000 1c00 0500 07000000 00000000", // length, family, REQUEST|ACK, sequence, port
        "01 01 0000",                           // NEW_SERVICE, version 1
        "5400 0180",                            // nest SERVICE
        "0600 0100 0200 0000",                  // AF_INET
        "0600 0200 0600 0000",                  // TCP
        "1400 0300 0a000001 000000000000000000000000",
        "0600 0400 0050 0000", // port 80, big-endian
        "0800 0600 776c6300",  // "wlc"
        "0c00 0700 01000000 ffffffff",
        "0800 0800 68010000", // 360 s
        "0800 0900 ffffffff",
    ));
    assert_eq!(bytes, expected);
}

#[test]
#[cfg(target_endian = "little")]
fn adding_a_tunnelled_destination_to_a_mark() {
    let key = ServiceKey::Fwmark { mark: 7, family: Family::IPv6 };
    let dest = Dest {
        key: DestKey { addr: ip("10.0.0.2"), port: 8080 },
        forward: Forward::Tunnel,
        weight: 5,
        tunnel: Tunnel::Gue { port: 6080, flags: TunnelChecksum::RemoteChecksum },
        u_threshold: 9,
        l_threshold: 2,
    };
    let bytes = encode(change(&Change::AddDest(key, dest)).unwrap(), 0x1c, 1).unwrap();
    let expected = hex(concat!(
        "88000000 1c00 0500 01000000 00000000 05 01 0000",
        "1400 0180 0600 0100 0a00 0000 0800 0500 07000000", // SERVICE: AF_INET6, mark 7
        "6000 0280",                                        // nest DEST
        "0600 0b00 0200 0000",                              // AF_INET
        "1400 0100 0a000002 000000000000000000000000",
        "0600 0200 1f90 0000",
        "0800 0300 02000000",
        "0800 0400 05000000",
        "0800 0500 09000000",
        "0800 0600 02000000",
        "0500 0d00 01 000000",
        "0600 0e00 17c0 0000",
        "0600 0f00 0200 0000",
    ));
    assert_eq!(bytes, expected);
}

#[test]
#[cfg(target_endian = "little")]
fn unset_daemon_values_are_not_sent() {
    let daemon = SyncDaemon {
        state: SyncState::Backup,
        interface: "eth0".into(),
        sync_id: 0,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    let bytes = encode(change(&Change::StartDaemon(daemon)).unwrap(), 0x1c, 1).unwrap();
    let expected = hex(concat!(
        "34000000 1c00 0500 01000000 00000000 09 01 0000",
        "2000 0380 0800 0100 02000000 0900 0200 6574683000 000000 0800 0300 00000000",
    ));
    assert_eq!(bytes, expected);
}

#[test]
fn reading_a_service_back() {
    let stats64 = hex("0c00 0100 0500000000000000 0c00 0400 0000000001000000");
    let mut nest = hex(concat!(
        "0600 0100 0200 0000 0600 0200 1100 0000 1400 0300 0a000001 000000000000000000000000 0600 0400 0035 0000",
        "0700 0600 727200 00 0800 0b00 73697000 0c00 0700 07000000 ffffffff 0800 0800 3c000000 0800 0900 ffffff00",
    ));
    nest.extend_from_slice(&((4 + stats64.len()) as u16).to_ne_bytes());
    nest.extend_from_slice(&hex("0c80"));
    nest.extend_from_slice(&stats64);
    let mut attrs = ((4 + nest.len()) as u16).to_ne_bytes().to_vec();
    attrs.extend_from_slice(&hex("0180"));
    attrs.extend_from_slice(&nest);
    let bytes = answer(0x1c, 3, &attrs);
    let message = Messages(&bytes).next().unwrap();
    let entry = service(&message).unwrap();
    let key = ServiceKey::Address { protocol: Protocol::Udp, addr: ip("10.0.0.1"), port: 53 };
    let expected =
        Service { flags: 5, timeout_s: 60, netmask: 0xffff_ff00, pe: Some("sip".into()), ..Service::new(key, "rr") };
    assert_eq!(entry.service, expected);
    assert_eq!((entry.stats.conns, entry.stats.inbytes), (5, 1 << 32));
}

#[test]
fn what_is_encoded_can_be_decoded() {
    for forward in [Forward::Masq, Forward::Route, Forward::Tunnel] {
        let dest = Dest {
            key: DestKey { addr: ip("2001:db8::2"), port: 443 },
            forward,
            weight: 65535,
            tunnel: if forward == Forward::Tunnel {
                Tunnel::Gre { flags: TunnelChecksum::Checksum }
            } else {
                Tunnel::Ipip
            },
            u_threshold: 0,
            l_threshold: 0,
        };
        let bytes = encode(change(&Change::EditDest(web(), dest.clone())).unwrap(), 0x1c, 1).unwrap();
        let message = Messages(&bytes).next().unwrap();
        assert_eq!(super::dest(&message, Family::IPv4).unwrap().dest, dest);
        assert_eq!(service_key(Attrs(Attrs(&message.payload[4..]).next().unwrap().1)).unwrap(), web());
    }
}

#[test]
fn a_missing_attribute_is_named() {
    let bytes = answer(0x1c, 1, &hex("0c00 0180 0600 0100 0200 0000"));
    let error = service(&Messages(&bytes).next().unwrap()).unwrap_err();
    assert_eq!(error, Error::Malformed { what: "protocol: expected 6, 17 or 132, got None".into() });
}

/// Whatever bytes arrive, decoding ends without panic.
#[test]
fn junk_never_panics() {
    let whole = encode(change(&Change::AddService(Service::new(web(), "wlc"))).unwrap(), 0x1c, 7).unwrap();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for round in 0..20_000usize {
        let mut bytes = whole[..round % (whole.len() + 1)].to_vec();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let len = bytes.len();
            if len > 0 {
                bytes[(state >> 32) as usize % len] = state as u8;
            }
        }
        for message in Messages(&bytes) {
            let _ =
                (service(&message), dest(&message, Family::IPv6), daemon(&message), info(&message), timeouts(&message));
        }
    }
}
