//! The packets byte by byte, and questions to a kernel that holds the address (needs root).

use super::packets::{arp_probe, group_mac, read, solicitation, solicited_node};
use super::*;
use crate::addr::tests::{in_namespace, pair};
use crate::addr::{Addresses, Lifetime, Wanted};
use crate::announce::{ArpKind, arp_packet};
use std::collections::BTreeSet;
use std::time::Duration;

const ME: Mac = [2, 0, 0, 0, 0, 7];
const OTHER: Mac = [2, 0, 0, 0, 0, 8];

fn v4() -> IpAddr {
    "192.0.2.9".parse().unwrap()
}

fn v6() -> IpAddr {
    "2001:db8::12:3456".parse().unwrap()
}

#[test]
fn a_probe_has_no_sender_address() {
    let expected = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9];
    assert_eq!(arp_probe(ME, "192.0.2.9".parse().unwrap()), expected);
    assert_eq!(read(&expected, OTHER, v4()), Some(Heard { mac: ME, what: Use::Wanted }));
}

#[test]
fn what_arp_says_of_an_address() {
    let addr = "192.0.2.9".parse().unwrap();
    for kind in [ArpKind::Request, ArpKind::Reply] {
        assert_eq!(read(&arp_packet(kind, ME, addr), OTHER, v4()), Some(Heard { mac: ME, what: Use::Held }));
    }
    // A client that asks for it says nothing about who has it.
    let mut client = arp_probe(ME, addr);
    client[14..18].copy_from_slice(&[192, 0, 2, 1]);
    assert_eq!(read(&client, OTHER, v4()), None);
    assert_eq!(read(&arp_packet(ArpKind::Reply, ME, "192.0.2.8".parse().unwrap()), OTHER, v4()), None);
    assert_eq!(read(&client[..27], OTHER, v4()), None);
    assert_eq!(read(&[], OTHER, v4()), None);
}

#[test]
fn a_solicitation_comes_from_nobody() {
    let addr: Ipv6Addr = "2001:db8::12:3456".parse().unwrap();
    let packet = solicitation(addr);
    assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 24, 58, 255]);
    assert_eq!(packet[8..24], [0; 16]);
    assert_eq!(solicited_node(addr), "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap());
    assert_eq!(group_mac(solicited_node(addr)), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(read(&packet, OTHER, v6()), Some(Heard { mac: OTHER, what: Use::Wanted }));
    let mut resolving = packet;
    resolving[23] = 1;
    assert_eq!(read(&resolving, OTHER, v6()), None, "a client that resolves it");
    let mut routed = packet;
    routed[7] = 254;
    assert_eq!(read(&routed, OTHER, v6()), None, "from another network");
}

#[test]
fn an_advertisement_names_its_sender() {
    let mut packet = solicitation("2001:db8::12:3456".parse().unwrap()).to_vec();
    packet[40] = 136;
    assert_eq!(read(&packet, OTHER, v6()), Some(Heard { mac: OTHER, what: Use::Held }));
    // Another option first, then the target's link address.
    packet.extend([14, 1, 1, 2, 3, 4, 5, 6, 2, 1, 2, 0, 0, 0, 0, 7]);
    assert_eq!(read(&packet, OTHER, v6()), Some(Heard { mac: ME, what: Use::Held }));
    // Options without length, and cut off, end the search.
    packet[65] = 0;
    assert_eq!(read(&packet, OTHER, v6()), Some(Heard { mac: OTHER, what: Use::Held }));
    packet[65] = 9;
    assert_eq!(read(&packet, OTHER, v6()), Some(Heard { mac: OTHER, what: Use::Held }));
}

async fn soon(inquiry: &Inquiry) -> Option<Vec<Heard>> {
    tokio::time::timeout(Duration::from_millis(500), inquiry.heard()).await.ok().map(Result::unwrap)
}

/// What `listener` hears when `asker` asks: again if need be, since a new link loses packets at first.
async fn heard_when_asked(asker: &Inquiry, listener: &Inquiry) -> Option<Vec<Heard>> {
    for _ in 0..5 {
        asker.ask().unwrap();
        if let Some(heard) = soon(listener).await {
            return Some(heard);
        }
    }
    None
}

#[test]
fn who_holds_the_address_answers_and_nobody_else() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, there) = pair(&addresses).await;
        for addr in [v4(), v6()] {
            let inquiry = Inquiry::open(&here, addr).unwrap().expect("a link with neighbours");
            inquiry.ask().unwrap();
            assert_eq!(soon(&inquiry).await, None, "{addr} is nobody's");
            addresses.add(&Wanted::host(there.index, addr, Lifetime::Seconds(60))).await.unwrap();
            let held = Heard { mac: there.mac.unwrap(), what: Use::Held };
            assert_eq!(heard_when_asked(&inquiry, &inquiry).await.as_deref(), Some(&[held][..]), "{addr}");
        }
    });
}

#[test]
fn two_that_ask_hear_each_other() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, there) = pair(&addresses).await;
        for addr in [v4(), v6()] {
            let one = Inquiry::open(&here, addr).unwrap().unwrap();
            let two = Inquiry::open(&there, addr).unwrap().unwrap();
            let wanted = Heard { mac: there.mac.unwrap(), what: Use::Wanted };
            assert_eq!(heard_when_asked(&two, &one).await.as_deref(), Some(&[wanted][..]), "{addr}");
            assert_eq!(soon(&two).await, None, "own questions are no answer");
        }
    });
}

/// Each address is announced by both ends, and so is one that nobody asked for.
#[test]
fn an_ear_hears_the_other_end_use_its_addresses_and_nothing_else() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, there) = pair(&addresses).await;
        let others = ["192.0.2.8", "2001:db8::13:3456"].map(|other| other.parse().unwrap());
        // Advertisements come from the address itself.
        for addr in [v6(), others[1]] {
            addresses.add(&Wanted::host(there.index, addr, Lifetime::Seconds(60))).await.unwrap();
        }
        let addrs: BTreeSet<IpAddr> = [v4(), v6(), "192.0.2.10".parse().unwrap()].into();
        let many: BTreeSet<IpAddr> = (0..300u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes())).collect();
        for addrs in [addrs.clone(), addrs.union(&many).copied().collect()] {
            let ear = Ear::open(&here, addrs).unwrap().expect("a link with neighbours");
            for addr in [v4(), v6()] {
                let mut heard = None;
                for _ in 0..5 {
                    let said = [(&there, others[0]), (&there, others[1]), (&here, addr), (&there, addr)];
                    said.iter().for_each(|(link, addr)| crate::announce::announce(link, *addr).unwrap());
                    if let Ok(all) = tokio::time::timeout(Duration::from_millis(500), ear.heard()).await {
                        heard = Some(all.unwrap());
                        break;
                    }
                }
                let heard = heard.unwrap_or_else(|| panic!("{addr} is not heard"));
                assert!(heard.iter().all(|h| *h == (addr, there.mac.unwrap())), "{heard:?}");
                while tokio::time::timeout(Duration::from_millis(100), ear.heard()).await.is_ok() {}
            }
            // A probe does not say that anybody holds it.
            Inquiry::open(&there, v4()).unwrap().unwrap().ask().unwrap();
            assert!(tokio::time::timeout(Duration::from_millis(200), ear.heard()).await.is_err());
        }
    });
}
