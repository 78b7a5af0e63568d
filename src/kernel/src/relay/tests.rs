//! The relay against real sockets on the loopback, and one namespace for what needs addresses to come and go.

use super::*;
use base::ipvs::{DestKey, service_flags};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

fn v4(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 77, last], port))
}

/// A server that sends its name and keeps the connection until the client closes.
fn server(at: &str, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(at).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(name.as_bytes());
                let mut buffer = [0; 64];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..n]);
                }
            });
        }
    });
    addr
}

/// The virtual services' port: none that the kernel gives out by itself.
const PORT: u16 = 4_780;

fn dest(to: SocketAddr, weight: u32) -> Dest {
    Dest {
        key: DestKey { addr: to.ip(), port: to.port() },
        forward: Forward::Masq,
        weight,
        tunnel: base::ipvs::Tunnel::Ipip,
        u_threshold: 0,
        l_threshold: 0,
    }
}

fn tcp_service(vip: SocketAddr, scheduler: &str) -> Service {
    Service::new(ServiceKey::Address { protocol: Protocol::Tcp, addr: vip.ip(), port: vip.port() }, scheduler)
}

fn connect(vip: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(vip).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// The name of the server that a new connection reaches, and the connection.
fn ask(vip: SocketAddr) -> (String, TcpStream) {
    let mut stream = connect(vip);
    let mut name = [0; 1];
    let got = stream.read(&mut name).unwrap_or(0);
    (String::from_utf8_lossy(&name[..got]).into_owned(), stream)
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(5), "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Fixture {
    relay: Relay,
    vip: SocketAddr,
    service: Service,
    servers: Vec<SocketAddr>,
}

/// Servers a, b, c; the table lists the newest first, so they are added in reverse.
fn fixture(last: u8, scheduler: &str, weights: [u32; 3], change: impl FnOnce(&mut Service)) -> Fixture {
    let vip = v4(last, PORT);
    let mut relay = Relay::start().unwrap();
    let mut service = tcp_service(vip, scheduler);
    change(&mut service);
    relay.add_service(&service).unwrap();
    let servers: Vec<SocketAddr> = ["a", "b", "c"].iter().map(|n| server("127.0.0.1:0", n)).collect();
    for (to, weight) in servers.iter().zip(weights).rev() {
        relay.add_dest(&service.key, &dest(*to, weight)).unwrap();
    }
    Fixture { relay, vip, service, servers }
}

#[test]
fn weighted_round_robin_is_exact_over_real_connections() {
    let mut f = fixture(1, "wrr", [4, 3, 2], |_| {});
    let names: String = (0..18).map(|_| ask(f.vip).0).collect();
    // As in the kernel, the current weight left by the first destination added (1) goes on: the cycle starts at its end.
    assert_eq!(names, "abcaababcabcaababc");
    eventually("connections end", || f.relay.services().unwrap()[0].dests.iter().all(|d| d.active_conns == 0));
    let entry = f.relay.service(&f.service.key).unwrap();
    assert_eq!(entry.dests.iter().map(|d| d.stats.conns).collect::<Vec<_>>(), [8, 6, 4]);
    assert_eq!((entry.stats.conns, entry.stats.outbytes), (18, 18));
    f.relay.zero(None).unwrap();
    assert_eq!(f.relay.service(&f.service.key).unwrap().stats.conns, 0);
}

#[test]
fn round_robin_and_a_quiescent_server_keeps_its_connections() {
    let mut f = fixture(2, "rr", [1, 1, 1], |_| {});
    let (name, mut held) = ask(f.vip);
    assert_eq!(name, "a");
    f.relay.edit_dest(&f.service.key, &dest(f.servers[0], 0)).unwrap();
    let names: String = (0..4).map(|_| ask(f.vip).0).collect();
    assert_eq!(names, "bcbc");
    held.write_all(b"x").unwrap();
    let mut echo = [0; 1];
    assert_eq!(held.read(&mut echo).unwrap(), 1);
    // Deleted, the connection ends at once.
    f.relay.delete_dest(&f.service.key, &dest(f.servers[0], 0).key).unwrap();
    assert!(matches!(held.read(&mut echo), Ok(0) | Err(_)));
}

#[test]
fn least_connections_follow_what_is_open() {
    let f = fixture(3, "wlc", [1, 1, 2], |_| {});
    let mut open = Vec::new();
    let names: String = (0..8)
        .map(|_| {
            let (name, stream) = ask(f.vip);
            open.push(stream);
            name
        })
        .collect();
    let count = |n| names.matches(n).count();
    assert_eq!((count("a"), count("b"), count("c")), (2, 2, 4), "{names}");
}

#[test]
fn persistence_outlives_quiescence_but_not_deletion() {
    let mut f = fixture(4, "rr", [1, 1, 1], |s| {
        s.flags = service_flags::PERSISTENT;
        s.timeout_s = 300;
    });
    assert_eq!((0..3).map(|_| ask(f.vip).0).collect::<String>(), "aaa");
    f.relay.edit_dest(&f.service.key, &dest(f.servers[0], 0)).unwrap();
    assert_eq!(ask(f.vip).0, "a");
    assert_eq!(f.relay.service(&f.service.key).unwrap().dests[0].persistent_conns, 1);
    f.relay.delete_dest(&f.service.key, &dest(f.servers[0], 0).key).unwrap();
    assert_eq!((0..3).map(|_| ask(f.vip).0).collect::<String>(), "bbb");
}

#[test]
fn persistence_ends_after_its_timeout() {
    let f = fixture(5, "rr", [1, 1, 1], |s| {
        s.flags = service_flags::PERSISTENT;
        s.timeout_s = 1;
    });
    assert_eq!(ask(f.vip).0, "a");
    std::thread::sleep(Duration::from_millis(1_300));
    assert_eq!(ask(f.vip).0, "b");
}

#[test]
fn thresholds_keep_new_connections_away_until_well_below() {
    let mut f = fixture(6, "rr", [1, 0, 0], |_| {});
    let limited = Dest { u_threshold: 2, l_threshold: 1, ..dest(f.servers[0], 1) };
    f.relay.edit_dest(&f.service.key, &limited).unwrap();
    let (first, second) = (ask(f.vip), ask(f.vip));
    assert_eq!((first.0.as_str(), second.0.as_str()), ("a", "a"));
    assert_eq!(ask(f.vip).0, "", "a third is refused by a reset");
    drop(first);
    let mut active = || f.relay.service(&f.service.key).unwrap().dests[0].active_conns;
    eventually("one connection left", || active() == 1);
    assert_eq!(ask(f.vip).0, "", "one is not below the lower threshold");
    drop(second);
    eventually("no connection left", || active() == 0);
    assert_eq!(ask(f.vip).0, "a");
}

#[test]
fn what_the_relay_cannot_do_is_refused_and_nothing_changes() {
    let mut relay = Relay::start().unwrap();
    let unsupported = Err(Error::Refused { errno: libc::EOPNOTSUPP });
    let mark = ServiceKey::Fwmark { mark: 1, family: base::ipvs::Family::IPv4 };
    assert_eq!(relay.add_service(&Service::new(mark, "rr")), unsupported);
    assert_eq!(relay.add_service(&tcp_service(v4(7, 0), "rr")), unsupported);
    let taken = TcpListener::bind("127.0.77.7:0").unwrap();
    let service = tcp_service(taken.local_addr().unwrap(), "rr");
    assert_eq!(relay.add_service(&service), Err(Error::Refused { errno: libc::EADDRINUSE }));
    assert!(matches!(relay.add_service(&tcp_service(v4(7, 80), "lblc")), Err(Error::NoScheduler { .. })));
    assert!(relay.services().unwrap().is_empty());
    drop(taken);
    relay.add_service(&service).unwrap();
    assert_eq!(relay.add_service(&service), Err(Error::ServiceExists));
    let routed = Dest { forward: Forward::Route, ..dest(v4(7, 1), 1) };
    assert_eq!(relay.add_dest(&service.key, &routed), unsupported);
    let ServiceKey::Address { addr, port, .. } = service.key else { panic!() };
    assert_eq!(ask((addr, port).into()).0, "", "no server: reset");
    relay.clone().delete_service(&service.key).unwrap();
    eventually("socket closed", || TcpStream::connect((addr, port)).is_err());
}

#[test]
fn ipv6_and_udp_sessions() {
    let mut relay = Relay::start().unwrap();
    let vip: SocketAddr = ("::1".parse::<IpAddr>().unwrap(), PORT).into();
    let key = ServiceKey::Address { protocol: Protocol::Udp, addr: vip.ip(), port: vip.port() };
    relay.add_service(&Service::new(key, "rr")).unwrap();
    for name in ["b", "a"] {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        relay.add_dest(&key, &dest(socket.local_addr().unwrap(), 1)).unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((n, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name}{}", String::from_utf8_lossy(&buffer[..n])).as_bytes(), from);
            }
        });
    }
    let exchange = |client: &UdpSocket, text: &str| {
        client.send_to(text.as_bytes(), vip).unwrap();
        let mut buffer = [0; 64];
        let (n, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from, vip);
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    let clients: Vec<UdpSocket> = (0..2).map(|_| UdpSocket::bind("[::1]:0").unwrap()).collect();
    for c in &clients {
        c.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    assert_eq!(exchange(&clients[0], "1"), "a1");
    assert_eq!(exchange(&clients[1], "2"), "b2");
    assert_eq!(exchange(&clients[0], "3"), "a3", "a session stays with its server");
    let entry = relay.service(&key).unwrap();
    assert_eq!(entry.dests.iter().map(|d| (d.inactive_conns, d.stats.inpkts)).collect::<Vec<_>>(), [(1, 2), (1, 1)]);
    let tcp: SocketAddr = format!("[::1]:{}", vip.port()).parse().unwrap();
    let service = tcp_service(tcp, "sh");
    relay.add_service(&service).unwrap();
    relay.add_dest(&service.key, &dest(server("[::1]:0", "s"), 1)).unwrap();
    assert_eq!(ask(tcp).0, "s");
}

#[test]
fn connections_of_a_lost_address_are_reset() {
    use crate::links::Links;
    use crate::netns::{Namespace, Spec};
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let ns = Namespace::create(&Spec::new("relay")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (links, vip) = runtime.block_on(async {
        let links = Links::open_in(&ns).unwrap();
        links.up("lo").await.unwrap();
        (links, "10.9.9.9".parse::<IpAddr>().unwrap())
    });
    // The service is there before the address is.
    let mut relay = ns.run_net(|| Relay::start().unwrap()).unwrap();
    let service = tcp_service((vip, 80).into(), "rr");
    relay.add_service(&service).unwrap();
    let to = ns.run_net(|| server("127.0.0.1:0", "a")).unwrap();
    relay.add_dest(&service.key, &dest(to, 1)).unwrap();
    runtime.block_on(links.add_address("lo", vip, 32)).unwrap();
    let (name, held) = ns.run_net(|| ask((vip, 80).into())).unwrap();
    assert_eq!(name, "a");
    runtime.block_on(links.del_address("lo", vip, 32)).unwrap();
    eventually("connection gone", || relay.services().unwrap()[0].dests[0].active_conns == 0);
    drop(held);
    runtime.block_on(links.add_address("lo", vip, 32)).unwrap();
    assert_eq!(ns.run_net(|| ask((vip, 80).into()).0).unwrap(), "a", "back with the address");
}

#[test]
fn the_saved_table_reads_back() {
    let f = fixture(8, "wrr", [3, 2, 1], |_| {});
    assert_eq!(ask(f.vip).0, "a");
    let file = tempfile_path();
    f.relay.save(&file).unwrap();
    let back = Memory::load(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    f.relay.keep_snapshot(file.clone());
    eventually("a snapshot", || Memory::load(&file).is_ok_and(|m| m.entries()[0].dests.len() == 3));
    drop(f.relay);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(back.entries()[0].dests.iter().map(|d| d.dest.weight).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(back.entries()[0].stats.conns, 1);
}

fn tempfile_path() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("relay-table-{}.json", std::process::id()))
}
