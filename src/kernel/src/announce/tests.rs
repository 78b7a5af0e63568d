//! The packets, byte by byte. Sending is tested together with addresses, in `addr/tests.rs`.

use super::*;

#[test]
fn gratuitous_arp() {
    let packet = arp_packet(ArpKind::Reply, [2, 0, 0, 0, 0, 7], Ipv4Addr::new(10, 0, 0, 1));
    let expected = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 7, 10, 0, 0, 1, 255, 255, 255, 255, 255, 255, 10, 0, 0, 1];
    assert_eq!(packet, expected);
    assert_eq!(arp_packet(ArpKind::Request, [0; 6], Ipv4Addr::LOCALHOST)[7], 1);
}

#[test]
fn neighbour_advertisement() {
    let packet = advertisement([2, 0, 0, 0, 0, 7], "2001:db8::1".parse().unwrap(), true);
    assert_eq!(packet[..8], [136, 0, 0, 0, 0xa0, 0, 0, 0]);
    assert_eq!(packet[8..12], [0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(packet[23..], [1, 2, 1, 2, 0, 0, 0, 0, 7]);
    assert_eq!(advertisement([0; 6], Ipv6Addr::LOCALHOST, false)[4], 0x20);
}
