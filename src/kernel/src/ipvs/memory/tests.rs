//! The double's refusals and its file.

use super::*;
use base::ipvs::Protocol;

fn web() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, addr: "10.0.0.1".parse().unwrap(), port: 80 }
}

fn real(addr: &str) -> Dest {
    Dest {
        key: DestKey { addr: addr.parse().unwrap(), port: 80 },
        forward: Forward::Route,
        weight: 1,
        tunnel: Tunnel::Ipip,
        u_threshold: 0,
        l_threshold: 0,
    }
}

fn with_web() -> Memory {
    let mut table = Memory::new();
    table.add_service(&Service::new(web(), "rr")).unwrap();
    table
}

#[test]
fn services_are_refused_as_in_the_kernel() {
    let mut table = with_web();
    assert_eq!(table.add_service(&Service::new(web(), "rr")), Err(Error::ServiceExists));
    let other = ServiceKey::Fwmark { mark: 7, family: Family::IPv6 };
    let unknown = table.add_service(&Service::new(other, "nosuch")).unwrap_err();
    assert_eq!(unknown.errno(), Some(libc::ENOENT));
    let wide = Service { netmask: 129, ..Service::new(other, "rr") };
    assert_eq!(table.add_service(&wide), Err(Error::Invalid));
    assert_eq!(table.edit_service(&Service::new(other, "rr")), Err(Error::NoSuchService));
    assert_eq!(table.delete_service(&other), Err(Error::NoSuchService));
    assert_eq!(table.zero(Some(&other)), Err(Error::NoSuchService));
    let engine = Service { pe: Some("nosuch".into()), ..Service::new(other, "rr") };
    assert_eq!(table.add_service(&engine).unwrap_err().errno(), Some(libc::ENOENT));
}

#[test]
fn destinations_are_refused_as_in_the_kernel() {
    let mut table = with_web();
    let dest = real("10.0.1.1");
    table.add_dest(&web(), &dest).unwrap();
    assert_eq!(table.add_dest(&web(), &dest), Err(Error::DestExists));
    assert_eq!(table.edit_dest(&web(), &real("10.0.1.2")), Err(Error::NoSuchDest));
    assert_eq!(table.delete_dest(&web(), &real("10.0.1.2").key), Err(Error::NoSuchDest));
    assert_eq!(table.add_dest(&ServiceKey::Fwmark { mark: 1, family: Family::IPv4 }, &dest), Err(Error::NoSuchService));
    let crossed = Dest { l_threshold: 5, u_threshold: 1, ..real("10.0.1.3") };
    assert_eq!(table.add_dest(&web(), &crossed), Err(Error::OutOfRange));
    assert_eq!(table.add_dest(&web(), &real("224.0.0.1")), Err(Error::Invalid));
    assert_eq!(table.add_dest(&web(), &real("2001:db8::1")), Err(Error::Invalid));
    table.add_dest(&web(), &Dest { forward: Forward::Tunnel, ..real("2001:db8::1") }).unwrap();
    let gue = Dest {
        forward: Forward::Tunnel,
        tunnel: Tunnel::Gue { port: 0, flags: Default::default() },
        ..real("10.0.1.4")
    };
    assert_eq!(table.add_dest(&web(), &gue), Err(Error::Invalid));
}

#[test]
fn newest_destination_is_listed_first() {
    let mut table = with_web();
    table.add_dest(&web(), &real("10.0.1.1")).unwrap();
    table.add_dest(&web(), &real("10.0.1.2")).unwrap();
    let listed: Vec<String> =
        table.service(&web()).unwrap().dests.iter().map(|d| d.dest.key.addr.to_string()).collect();
    assert_eq!(listed, ["10.0.1.2", "10.0.1.1"]);
}

#[test]
fn sync_daemons_and_mixed_families_exclude_each_other() {
    let mut table = with_web();
    let daemon = SyncDaemon {
        state: SyncState::Master,
        interface: "eth0".into(),
        sync_id: 3,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    table.start_daemon(&daemon).unwrap();
    assert_eq!(table.start_daemon(&daemon), Err(Error::DaemonRunning));
    assert_eq!(table.daemons().unwrap()[0].port, Some(8848));
    let mixed = Dest { forward: Forward::Tunnel, ..real("2001:db8::1") };
    assert_eq!(table.add_dest(&web(), &mixed), Err(Error::Invalid));
    table.stop_daemon(SyncState::Master, 3).unwrap();
    assert_eq!(table.stop_daemon(SyncState::Master, 3), Err(Error::NoDaemon));
    table.add_dest(&web(), &mixed).unwrap();
    assert_eq!(table.start_daemon(&daemon), Err(Error::Invalid));
    table.set_interfaces(&["eth1"]);
    table.flush().unwrap();
    assert_eq!(table.start_daemon(&daemon), Err(Error::NoInterface { name: "eth0".into() }));
}

#[test]
fn timeouts_of_zero_stay() {
    let mut table = Memory::new();
    table.set_timeouts(&Timeouts { tcp_s: 0, tcp_fin_s: 5, udp_s: 0 }).unwrap();
    assert_eq!(table.timeouts().unwrap(), Timeouts { tcp_s: 900, tcp_fin_s: 5, udp_s: 300 });
}

#[test]
fn the_file_keeps_everything() {
    let mut table = with_web();
    let gue = Tunnel::Gue { port: 6080, flags: base::ipvs::TunnelChecksum::RemoteChecksum };
    let tunnelled =
        Dest { forward: Forward::Tunnel, tunnel: gue, u_threshold: 9, l_threshold: 2, ..real("2001:db8::1") };
    table.add_dest(&web(), &tunnelled).unwrap();
    let mark = ServiceKey::Fwmark { mark: 7, family: Family::IPv6 };
    table
        .add_service(&Service {
            flags: 1,
            timeout_s: 60,
            netmask: 64,
            pe: Some("sip".into()),
            ..Service::new(mark, "sh")
        })
        .unwrap();
    table.entries_mut()[0].stats.inbytes = u64::MAX;
    let again = Memory::from_json(&table.to_json(), "test").unwrap();
    assert_eq!(again, table);
}

#[test]
fn bad_files_are_refused_with_their_place() {
    let syntax = Memory::from_json("{\n \"size\": x}", "t.json").unwrap_err();
    assert!(matches!(syntax, FileError::Syntax { line: 2, .. }), "{syntax}");
    let text = r#"{"services": [{"family": "IPv4", "addr": "::1", "port": 1, "scheduler": "rr"}]}"#;
    let content = Memory::from_json(text, "t.json").unwrap_err().to_string();
    assert!(content.starts_with("t.json: service 1: address ::1"), "{content}");
}
