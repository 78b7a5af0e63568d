//! Packets that are not ours, altered or replayed: dropped, counted, and of no effect.

use crate::fixture::{self, Cluster, write_resource};
use crate::root::root;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const PORT: u16 = 5405;

/// UDP payloads on the cluster's port that pass the host's interface, as a packet socket sees them.
fn record(packets: usize) -> Vec<Vec<u8>> {
    let tap =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll).expect("a packet socket");
    let end = Instant::now() + fixture::PATIENCE;
    let mut recorded = Vec::new();
    let mut buffer = vec![0; 65536];
    while recorded.len() < packets && Instant::now() < end {
        let length = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("a frame");
        recorded.extend(payload(&buffer[..length]).map(<[u8]>::to_vec));
    }
    recorded
}

/// Ethernet, IPv4 without options, UDP to the cluster's port.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..)?;
    let is_udp = frame.get(12..14)? == [0x08, 0x00] && ip.first()? == &0x45 && ip.get(9)? == &17;
    let port = u16::from_be_bytes(ip.get(22..24)?.try_into().ok()?);
    (is_udp && port == PORT).then(|| ip.get(28..)).flatten()
}

/// Sends all to `to` from an address and port that the nodelist does not have, or from a listed address.
fn send(from: &str, to: SocketAddr, packets: &[Vec<u8>]) {
    let socket = UdpSocket::bind(from).expect("bound");
    for packet in packets {
        let _ = socket.send_to(packet, to);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn noise(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    (0..count).map(|_| (0..next() % 1400).map(|_| next() as u8).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_altered_and_replayed_packets_are_dropped_and_counted() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let (n2, n3) = (cluster.lab.host("n2").expect("a host"), cluster.lab.host("n3").expect("a host"));
    let victim = SocketAddr::new(n3.spec.v4.into(), PORT);
    let listed = format!("{}:0", n2.spec.v4);
    let view = cluster.status("n3").expect("an answer").view;

    // What n2 sends to n3 and gets from it, recorded on n2.
    let recorded = n2.ns.run(|| record(200)).expect("recorded");
    let altered: Vec<Vec<u8>> = recorded
        .iter()
        .enumerate()
        .map(|(n, packet)| {
            let mut packet = packet.clone();
            let at = (n * 7919) % packet.len();
            packet[at] ^= 1 << (n % 8);
            packet
        })
        .collect();
    let cut: Vec<Vec<u8>> = recorded.iter().enumerate().map(|(n, p)| p[..(n * 31) % p.len()].to_vec()).collect();
    let before = |name: &str| cluster.counter("n3", name);
    let dropped =
        ["not_ours", "bad_version", "altered", "replayed", "unknown_sender", "wrong_receiver", "stale_session"];
    let total = |cluster: &Cluster| -> u64 {
        dropped.iter().map(|d| cluster.counter("n3", &format!("session.dropped.{d}"))).sum()
    };
    let (replayed, all) = (before("session.dropped.replayed"), total(&cluster));
    n2.ns
        .run(|| {
            send(&listed, victim, &noise(1, 500));
            send(&listed, victim, &recorded);
            send(&listed, victim, &altered);
            send(&listed, victim, &cut);
        })
        .expect("sent");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (replayed, all) = (cluster.counter("n3", "session.dropped.replayed") - replayed, total(&cluster) - all);
    println!("dropped {all}, {replayed} of them as replayed");
    assert!(replayed > 0, "replayed packets are counted as such");
    assert!(all >= 900, "all 1100 packets were for nobody or altered, {all} were counted");
    assert_eq!(cluster.status("n3").expect("an answer").view, view, "the ring did not notice");

    // An address that is not in the nodelist is not even looked at.
    n2.links.add_address("eth0", "10.77.0.99".parse().expect("an address"), 24).await.expect("added");
    let unlisted = cluster.counter("n3", "links.unlisted");
    n2.ns.run(|| send("10.77.0.99:0", victim, &noise(2, 50))).expect("sent");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(cluster.counter("n3", "links.unlisted") > unlisted, "an unlisted sender is counted\n{}", cluster.logs());

    // Recorded packets of a former life do not open after a restart either.
    cluster.signal("n3", nix::sys::signal::Signal::SIGKILL);
    cluster.daemons.get_mut("n3").expect("a daemon").wait().await.expect("it ended");
    cluster.wait_for_ring(&["n1", "n2"]).await;
    cluster.start_node("n3");
    cluster.wait_for_ring(&NODES).await;
    let opened = total(&cluster);
    let n2 = cluster.lab.host("n2").expect("a host");
    n2.ns.run(|| send(&listed, victim, &recorded)).expect("sent");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(total(&cluster) - opened >= 190, "packets of a former session are dropped");
    let reply = write_resource(&cluster.run_dir("n3"), "after-all", fixture::PATIENCE).expect("an answer");
    assert_eq!((reply.code, reply.safety), (0, wire::api::Safety::Safe));
}
