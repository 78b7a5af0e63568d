//! Addresses, events and announcements in a network namespace of the test's own (needs root).

use super::*;
use crate::announce;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, State};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read;
use std::time::Instant;

/// Runs `work` in a fresh network namespace on a thread of its own; says so and does nothing when that is not permitted.
pub(crate) fn in_namespace(work: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: needs root to make a network namespace: {e}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    thread.join().unwrap();
}

/// A pair of connected links in this namespace, both up and passing packets: the kernel drops what is sent in the moment before.
pub(crate) async fn pair(addresses: &Addresses) -> (Link, Link) {
    let add = addresses.handle.link().add(rtnetlink::LinkVeth::new("here", "there").build());
    addresses.within(add.execute()).await.unwrap();
    for name in ["here", "there"] {
        let index = addresses.link(name).await.unwrap().index;
        let up = rtnetlink::LinkUnspec::new_with_index(index).up().build();
        addresses.within(addresses.handle.link().set(up).execute()).await.unwrap();
    }
    (running(addresses, "here").await, running(addresses, "there").await)
}

/// Carrier is not enough: a new link passes packets when the kernel's link watch has come by, which its operational state tells.
async fn running(addresses: &Addresses, name: &str) -> Link {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let mut found = addresses.handle.link().get().match_name(name.to_owned()).execute();
        let message = found.try_next().await.unwrap().unwrap();
        if message.attributes.contains(&LinkAttribute::OperState(State::Up)) {
            return convert::link(&message);
        }
        assert!(Instant::now() < patience, "{name} passes packets within 10 s: {message:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn next(events: &mut Events) -> Event {
    tokio::time::timeout(Duration::from_secs(5), events.next())
        .await
        .expect("an event within 5 s")
        .expect("a living stream")
}

/// The next event about `addr`.
async fn next_about(events: &mut Events, addr: IpAddr) -> Event {
    loop {
        match next(events).await {
            Event::Address(a) if a.addr == addr => return Event::Address(a),
            Event::AddressGone(a) if a.addr == addr => return Event::AddressGone(a),
            _ => {}
        }
    }
}

#[test]
fn addresses_come_and_go() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, _) = pair(&addresses).await;
        assert!(here.up && here.mac.is_some() && here.mtu == 1500, "{here:?}");
        for addr in ["10.9.0.1", "2001:db8::9"] {
            let addr: IpAddr = addr.parse().unwrap();
            let wanted =
                Wanted { label: Some("here:vip".into()), ..Wanted::host(here.index, addr, Lifetime::Permanent) };
            addresses.add(&wanted).await.unwrap();
            assert_eq!(addresses.add(&wanted).await, Err(AddrError::Exists));
            let found = addresses.find(addr).await.unwrap().expect("the address");
            assert_eq!(
                (found.link, found.prefix_len, found.lifetime),
                (here.index, wanted.prefix_len, Lifetime::Permanent)
            );
            assert_eq!(found.label.as_deref(), addr.is_ipv4().then_some("here:vip"));
            assert!(!found.tentative, "an address without detection is usable at once");
            addresses.delete(here.index, addr, wanted.prefix_len).await.unwrap();
            assert_eq!(addresses.delete(here.index, addr, wanted.prefix_len).await, Err(AddrError::NoSuchAddress));
        }
        assert_eq!(addresses.link("nosuch").await, Err(AddrError::NoSuchLink { name: "nosuch".into() }));
        let bad =
            Wanted { prefix_len: 33, ..Wanted::host(here.index, "10.9.0.1".parse().unwrap(), Lifetime::Permanent) };
        assert!(matches!(addresses.add(&bad).await, Err(AddrError::BadPrefix { .. })));
    });
}

#[test]
fn a_lease_lapses_unless_renewed_and_renewals_make_no_noise() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, _) = pair(&addresses).await;
        let mut events = watch().unwrap();
        let four = Wanted::host(here.index, "10.9.0.2".parse().unwrap(), Lifetime::Seconds(1));
        let six = Wanted::host(here.index, "2001:db8::2".parse().unwrap(), Lifetime::Seconds(1));
        addresses.add(&four).await.unwrap();
        addresses.add(&six).await.unwrap();
        let created = [
            addresses.find(four.addr).await.unwrap().unwrap().created,
            addresses.find(six.addr).await.unwrap().unwrap().created,
        ];
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(2500) {
            tokio::time::sleep(Duration::from_millis(300)).await;
            addresses.renew(&four).await.unwrap();
            addresses.renew(&six).await.unwrap();
        }
        let renewed = addresses.find(four.addr).await.unwrap().expect("renewed for longer than its lifetime");
        let renewed = [renewed.created, addresses.find(six.addr).await.unwrap().unwrap().created];
        assert_eq!(renewed, created, "renewals leave the time of creation");
        let last_renewal = Instant::now();
        assert!(matches!(next_about(&mut events, four.addr).await, Event::Address(_)));
        // All renewals were filtered: the next event is the end of the lease.
        assert!(matches!(next_about(&mut events, four.addr).await, Event::AddressGone(_)));
        let took = last_renewal.elapsed();
        assert!(took < Duration::from_millis(2000), "the lease lapsed only after {took:?}");
        while addresses.find(six.addr).await.unwrap().is_some() {
            assert!(last_renewal.elapsed() < Duration::from_secs(3), "the IPv6 lease does not lapse");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

/// A renewal re-creates what is gone, and nothing but this tells.
#[test]
fn an_address_that_was_away_for_a_moment_is_another_one() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, _) = pair(&addresses).await;
        for addr in ["10.9.0.5", "2001:db8::5"] {
            let wanted = Wanted::host(here.index, addr.parse().unwrap(), Lifetime::Seconds(2));
            addresses.add(&wanted).await.unwrap();
            let first = addresses.find(wanted.addr).await.unwrap().unwrap().created;
            tokio::time::sleep(Duration::from_millis(25)).await;
            addresses.delete(here.index, wanted.addr, wanted.prefix_len).await.unwrap();
            addresses.renew(&wanted).await.unwrap();
            assert_ne!(addresses.find(wanted.addr).await.unwrap().unwrap().created, first);
        }
    });
}

#[test]
fn a_lease_can_be_made_permanent() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, _) = pair(&addresses).await;
        let lease = Wanted::host(here.index, "10.9.0.3".parse().unwrap(), Lifetime::Seconds(2));
        addresses.add(&lease).await.unwrap();
        assert!(matches!(addresses.find(lease.addr).await.unwrap().unwrap().lifetime, Lifetime::Seconds(1..=2)));
        addresses.renew(&Wanted { lifetime: Lifetime::Permanent, ..lease.clone() }).await.unwrap();
        assert_eq!(addresses.find(lease.addr).await.unwrap().unwrap().lifetime, Lifetime::Permanent);
    });
}

/// The kernel takes one list at a time from a socket; whoever shares a connection must not notice.
#[test]
fn many_may_list_at_the_same_time() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, _) = pair(&addresses).await;
        for n in 0..200u8 {
            let wanted = Wanted::host(here.index, [10, 9, 1, n].into(), Lifetime::Permanent);
            addresses.add(&wanted).await.unwrap();
        }
        let lists = (0..50)
            .map(|_| async { (addresses.list().await.map(|all| all.len() >= 200), addresses.links().await.is_ok()) });
        let seen = futures_util::future::join_all(lists).await;
        assert!(seen.iter().all(|s| *s == (Ok(true), true)), "{seen:?}");
        // Given up in the middle.
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_micros(50), addresses.list()).await;
            assert!(addresses.list().await.is_ok());
        }
    });
}

/// A packet socket that hears one Ethernet protocol on a link.
fn listener(link: &Link, protocol: u16) -> Socket {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol.to_be())))).unwrap();
    socket.bind_device(Some(link.name.as_bytes())).ok();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// Reads until `wanted` is heard.
fn heard(mut socket: Socket, wanted: &[u8]) -> bool {
    let mut buffer = [0u8; 2048];
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let Ok(len) = socket.read(&mut buffer) else { return false };
        if buffer[..len].windows(wanted.len()).any(|w| w == wanted) {
            return true;
        }
    }
    false
}

#[test]
fn the_neighbour_hears_announcements() {
    in_namespace(async || {
        let addresses = Addresses::connect().unwrap();
        let (here, there) = pair(&addresses).await;
        let mac = here.mac.unwrap();
        let four: std::net::Ipv4Addr = "10.9.0.4".parse().unwrap();
        let six: std::net::Ipv6Addr = "2001:db8::4".parse().unwrap();
        addresses.add(&Wanted::host(here.index, six.into(), Lifetime::Permanent)).await.unwrap();
        let (arp, ipv6) = (listener(&there, 0x0806), listener(&there, 0x86dd));
        let twice = announce::Burst { count: 2, interval_ms: 1 };
        announce::burst(&here, &[four.into(), six.into()], twice).await.unwrap();
        assert!(heard(arp, &announce::arp_packet(announce::ArpKind::Reply, mac, four)));
        // The checksum is the kernel's; compare what follows it.
        assert!(heard(ipv6, &announce::advertisement(mac, six, false)[4..]));
        let loopback = addresses.link("lo").await.unwrap();
        announce::announce(&loopback, four.into()).unwrap();
    });
}
