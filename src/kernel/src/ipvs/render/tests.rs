//! Small cases of the project's own; the comparison with the original is in the root package's golden tests.

use super::*;
use base::ipvs::Dest;

fn entry() -> ServiceEntry {
    let key = ServiceKey::Address { protocol: Protocol::Tcp, addr: "10.0.0.1".parse().unwrap(), port: 80 };
    let dest = |addr: &str, forward, tunnel| DestEntry {
        dest: Dest {
            key: DestKey { addr: addr.parse().unwrap(), port: 80 },
            forward,
            weight: 5,
            tunnel,
            u_threshold: 7,
            l_threshold: 0,
        },
        active_conns: 1,
        inactive_conns: 2,
        persistent_conns: 3,
        stats: Stats { conns: 123_456_789, cps: 4, ..Stats::default() },
    };
    let gue = Tunnel::Gue { port: 6080, flags: TunnelChecksum::Checksum };
    ServiceEntry {
        service: Service { flags: 1, timeout_s: 60, netmask: 0xffff_ff00, ..Service::new(key, "sh") },
        stats: Stats::default(),
        dests: vec![dest("10.0.1.10", Forward::Masq, Tunnel::Ipip), dest("10.0.1.9", Forward::Tunnel, gue)],
    }
}

#[test]
fn plain_listing() {
    let info = Info { version: (1, 2, 1), conn_table_size: 4096 };
    let expected = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.1:80 sh persistent 60 mask 255.255.255.0
  -> 10.0.1.9:80                  Tunnel  5      1          2         \n  \
  -> 10.0.1.10:80                 Masq    5      1          2         \n";
    assert_eq!(listing(&info, &[entry()]), expected);
}

#[test]
fn rules_with_and_without_thresholds() {
    let expected = "\
-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0
-a -t 10.0.0.1:80 -r 10.0.1.9:80 -i -w 5 --tun-type gue --tun-port 6080 --tun-csum
-a -t 10.0.0.1:80 -r 10.0.1.10:80 -m -w 5
";
    assert_eq!(rules(&[entry()], RuleOptions { thresholds: false }, &Numeric), expected);
    let full = rules(&[entry()], RuleOptions { thresholds: true }, &Numeric);
    assert!(full.contains("-m -w 5 -x 7 -y 0\n"), "{full}");
}

#[test]
fn numbers_are_cut_not_rounded() {
    assert_eq!(short(99_999_999), " 99999999");
    assert_eq!(short(999_999_999), "  999999K");
    assert_eq!(short(99_999_999_999), "   99999M");
    assert_eq!(short(99_999_999_999_999), "   99999G");
    assert_eq!(short(u64::MAX), "18446744T");
    assert_eq!(exact(123_456_789), " 123456789");
}

#[test]
fn the_families_of_a_mixed_service_stay_apart() {
    let mut mixed = entry();
    mixed.dests[0].dest.key.addr = "::1".parse().unwrap();
    let order: Vec<String> =
        ordered(&[mixed], &Options::default())[0].dests.iter().map(|d| d.dest.key.addr.to_string()).collect();
    assert_eq!(order, ["10.0.1.9", "::1"]);
}
