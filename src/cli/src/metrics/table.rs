//! The kernel's table with its counters, under node_exporter's names.

use super::exposition::Exposition;
use base::ipvs::{DestEntry, Protocol, ServiceEntry, ServiceKey, Stats};

pub fn table(out: &mut Exposition, services: &[ServiceEntry]) {
    type Total = (&'static str, &'static str, fn(&Stats) -> u64);
    // The kernel has no more than the sum of its services to offer over netlink.
    const TOTALS: [Total; 5] = [
        ("node_ipvs_connections", "The total number of connections made", |s| s.conns),
        ("node_ipvs_incoming_packets", "The total number of incoming packets", |s| s.inpkts),
        ("node_ipvs_incoming_bytes", "The total amount of incoming data", |s| s.inbytes),
        ("node_ipvs_outgoing_packets", "The total number of outgoing packets", |s| s.outpkts),
        ("node_ipvs_outgoing_bytes", "The total amount of outgoing data", |s| s.outbytes),
    ];
    for (name, help, of) in TOTALS {
        let total: u64 = services.iter().map(|s| of(&s.stats)).fold(0, u64::saturating_add);
        out.counter(name, help).alone(total as f64);
    }
    let active = out.gauge("node_ipvs_backend_connections_active", "Active connections by local and remote address");
    let idle = out.gauge("node_ipvs_backend_connections_inactive", "Inactive connections by local and remote address");
    let weight = out.gauge("node_ipvs_backend_weight", "Weight of a real server by local and remote address");
    let conns = out.counter("bascule_ipvs_backend_connections", "Connections that a real server has been given");
    let bytes = out.counter("bascule_ipvs_backend_bytes", "What a real server was sent and has sent, by direction");
    for (service, dest) in services.iter().flat_map(|s| s.dests.iter().map(move |d| (s, d))) {
        let labels = backend(&service.service.key, dest);
        active.set(labels.clone(), f64::from(dest.active_conns));
        idle.set(labels.clone(), f64::from(dest.inactive_conns));
        weight.set(labels.clone(), f64::from(dest.dest.weight));
        conns.set(labels.clone(), dest.stats.conns as f64);
        let [a, b, c, d, e, f] = labels;
        for (way, count) in [("in", dest.stats.inbytes), ("out", dest.stats.outbytes)] {
            let ways = ("direction", way.to_owned());
            bytes.set([a.clone(), b.clone(), c.clone(), d.clone(), e.clone(), f.clone(), ways], count as f64);
        }
    }
}

fn backend(key: &ServiceKey, dest: &DestEntry) -> [(&'static str, String); 6] {
    let (address, port, mark, protocol) = match key {
        ServiceKey::Address { protocol, addr, port } => {
            let word = match protocol {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            };
            (addr.to_string(), port.to_string(), String::new(), word)
        }
        ServiceKey::Fwmark { mark, .. } => (String::new(), "0".to_owned(), format!("{mark:08X}"), "FWM"),
    };
    [
        ("local_address", address),
        ("local_port", port),
        ("remote_address", dest.dest.key.addr.to_string()),
        ("remote_port", dest.dest.key.port.to_string()),
        ("proto", protocol.to_owned()),
        ("local_mark", mark),
    ]
}
