//! What the neighbours hear of an address, and what happens when somebody takes it away: on the wire, between real nodes.
//!
//! A packet socket on the client's side of the switch hears every gratuitous ARP and every unsolicited neighbour advertisement.

use crate::fixture::{Group, other, vips};
use crate::root::root;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `arp_refresh` of the group here.
const REFRESH: Duration = Duration::from_secs(6);
/// Between the first burst and the second (agent IPaddr2).
const SECOND_AFTER: Duration = Duration::from_secs(5);
/// A burst of five takes 0.8 s; a busy machine stretches it.
const BURST: Duration = Duration::from_millis(2500);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    ArpRequest,
    ArpReply,
    Advertisement,
}

/// One announcement as it was on the wire.
#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    kind: Kind,
    mac: [u8; 6],
    addr: IpAddr,
}

/// Understands a frame if it announces one of the group's addresses.
fn announcement(frame: &[u8], at: Instant) -> Option<Heard> {
    let (kind, mac, addr) = match frame.get(12..14)? {
        [0x08, 0x06] => arp(frame)?,
        [0x86, 0xdd] => advertisement(frame)?,
        _ => return None,
    };
    vips().contains(&addr).then_some(Heard { at, kind, mac, addr })
}

/// Sender and target are the same address, to all.
fn arp(frame: &[u8]) -> Option<(Kind, [u8; 6], IpAddr)> {
    let v4 = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?));
    let kind = match frame.get(20..22)? {
        [0, 1] => Kind::ArpRequest,
        [0, 2] => Kind::ArpReply,
        _ => return None,
    };
    let gratuitous = v4(28)? == v4(38)? && frame.get(..6)? == [0xff; 6];
    gratuitous.then_some((kind, frame.get(22..28)?.try_into().ok()?, v4(28)?.into()))
}

/// To all nodes, unsolicited, with the override flag and the hop limit that neighbours insist on.
fn advertisement(frame: &[u8]) -> Option<(Kind, [u8; 6], IpAddr)> {
    let (next, hops, icmp, flags) = (frame.get(20)?, frame.get(21)?, frame.get(54)?, frame.get(58)?);
    let to_all = frame.get(..6)? == [0x33, 0x33, 0, 0, 0, 1];
    if (*next, *hops, *icmp) != (58, 255, 136) || !to_all || flags & 0x60 != 0x20 || frame.get(78..80)? != [2, 1] {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(frame.get(62..78)?).ok()?);
    Some((Kind::Advertisement, frame.get(80..86)?.try_into().ok()?, target.into()))
}

/// Listens as long as it lives.
struct Ear {
    heard: Arc<Mutex<Vec<Heard>>>,
    done: Arc<AtomicBool>,
}

impl Ear {
    fn open(group: &Group) -> Ear {
        let client = &group.host("client").ns;
        let packet = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let fd = client.run(packet).expect("inside").expect("a packet socket");
        setsockopt(&fd, ReceiveTimeout, &TimeVal::milliseconds(100)).expect("a time limit");
        let ear = Ear { heard: Arc::default(), done: Arc::default() };
        let (heard, done) = (ear.heard.clone(), ear.done.clone());
        std::thread::spawn(move || {
            let mut frame = [0u8; 2048];
            while !done.load(Ordering::Relaxed) {
                let Ok(len) = recv(fd.as_raw_fd(), &mut frame, MsgFlags::empty()) else { continue };
                if let Some(one) = announcement(&frame[..len], Instant::now()) {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).push(one);
                }
            }
        });
        ear
    }

    fn all(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When each address was announced with `mac` by each kind between two moments; IPv4 must come as request and reply.
    fn rounds(&self, mac: [u8; 6], addr: IpAddr, from: Instant, length: Duration) -> usize {
        let all = self.all();
        let these = |kind| {
            let one =
                |h: &&Heard| h.mac == mac && h.addr == addr && h.kind == kind && h.at >= from && h.at < from + length;
            all.iter().filter(one).count()
        };
        if addr.is_ipv6() {
            return these(Kind::Advertisement);
        }
        assert_eq!(
            these(Kind::ArpRequest),
            these(Kind::ArpReply),
            "{addr}: both kinds, for devices that learn from one only"
        );
        these(Kind::ArpReply)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

async fn mac_of(group: &Group, name: &str) -> [u8; 6] {
    let links = group.host(name).links.list().await.expect("links");
    let link = links.into_iter().find(|l| l.name == "eth0").expect("eth0");
    link.mac.try_into().expect("an Ethernet address")
}

async fn group() -> Group {
    Group::start_with("fast", &[("arp_refresh", &REFRESH.as_secs().to_string())]).await
}

/// Where each address was first announced by `mac` since `from`.
async fn first(ear: &Ear, mac: [u8; 6], from: Instant) -> Vec<(IpAddr, Instant)> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let all = ear.all();
        let of = |addr| all.iter().find(|h| h.addr == addr && h.mac == mac && h.at >= from).map(|h| (addr, h.at));
        let found: Vec<_> = vips().into_iter().filter_map(of).collect();
        if found.len() == vips().len() {
            return found;
        }
        assert!(Instant::now() < end, "not all addresses were announced: {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_repeats_refreshes_and_the_burst_after_a_merge() {
    let Some(()) = root() else { return };
    let group = group().await;
    let old = group.wait_for_owner().await;
    let (old_mac, mac) = (mac_of(&group, old).await, mac_of(&group, other(old)).await);
    let ear = Ear::open(&group);
    let asked = Instant::now();
    group.command("d1", &["crm_standby", "-N", old, "-v", "on"]).expect("standby");
    let began = first(&ear, mac, asked).await;
    tokio::time::sleep(SECOND_AFTER + BURST + REFRESH + Duration::from_secs(1)).await;
    for (addr, at) in began {
        let all = ear.all();
        let stale = all.iter().find(|h| h.addr == addr && h.mac == old_mac && h.at > at);
        assert!(stale.is_none(), "{addr}: the old owner announced it after the new one: {all:?}");
        let second = at + SECOND_AFTER - Duration::from_millis(500);
        let counts = [
            ear.rounds(mac, addr, at, BURST),
            ear.rounds(mac, addr, at + BURST, second - (at + BURST)),
            ear.rounds(mac, addr, second, BURST + Duration::from_millis(500)),
            ear.rounds(mac, addr, second + REFRESH, Duration::from_secs(2)),
        ];
        assert_eq!(counts, [5, 0, 5, 1], "{addr}: burst, silence, second burst, refresh: {all:?}");
    }
    // Only the ring breaks and merges: the other node holds nothing.
    group.lab.unplug(old).await.expect("unplugged");
    let alone =
        || group.command(other(old), &["corosync-quorumtool", "-s"]).filter(|t| t.contains("Nodes:            1"));
    group.until("the ring breaks", alone).await;
    group.lab.plug(old).await.expect("plugged");
    let merging = Instant::now();
    let both =
        || group.command(other(old), &["corosync-quorumtool", "-s"]).filter(|t| t.contains("Nodes:            2"));
    group.until("the ring merges", both).await;
    tokio::time::sleep(BURST + Duration::from_secs(1)).await;
    for addr in vips() {
        let count = ear.rounds(mac, addr, merging, Duration::from_secs(30));
        assert!(count >= 10, "{addr}: announced {count} times at the merge: {:?}\n{}", ear.all(), group.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_somebody_removes_comes_back_at_once() {
    let Some(()) = root() else { return };
    let group = group().await;
    let owner = group.wait_for_owner().await;
    for addr in [vips()[0], vips()[3]] {
        let ear = Ear::open(&group);
        let (bits, removed) = (if addr.is_ipv4() { 32 } else { 128 }, Instant::now());
        group.host(owner).links.del_address("eth0", addr, bits).await.expect("removed by hand");
        let mut gone = false;
        let took = loop {
            let here = group.host(owner).has_address(addr).await.expect("addresses");
            gone |= !here;
            if gone && here {
                break removed.elapsed();
            }
            assert!(removed.elapsed() < Duration::from_secs(15), "{addr} does not come back\n{}", group.logs());
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        println!("{addr}: removed by hand, back after {} ms", took.as_millis());
        assert!(took < Duration::from_secs(5), "{addr}: back only after {took:?}\n{}", group.logs());
        let mac = mac_of(&group, owner).await;
        let end = Instant::now() + Duration::from_secs(5);
        while ear.rounds(mac, addr, removed, Duration::from_secs(10)) < 5 {
            assert!(Instant::now() < end, "{addr} came back unannounced: {:?}\n{}", ear.all(), group.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let name = format!("vip{}", vips().iter().position(|v| *v == addr).unwrap_or_default());
        let counted = || {
            group.command("d1", &["crm_failcount", "-G", "-r", &name, "-N", owner]).filter(|t| t.contains("value=1"))
        };
        group.until("the failure is counted", counted).await;
        assert_eq!(group.held(other(owner)).await, 0, "nothing moved\n{}", group.logs());
    }
    let all = group.wait_for_owner().await;
    assert_eq!(all, owner, "the group is where it was");
}
