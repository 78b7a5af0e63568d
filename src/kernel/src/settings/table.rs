//! The table itself. Sources: kernel documentation `networking/ipvs-sysctl.rst` and `networking/ip-sysctl.rst`.

use super::Host::{Director, RealServer};
use super::Topology::{Direct, Fwmark, Local, Nat, Tunnel};
use super::{Host, Setting, Topology, Wanted};

const fn setting(
    host: Host,
    when: &'static [Topology],
    name: &'static str,
    wanted: Wanted,
    reason: &'static str,
) -> Setting {
    Setting { name, wanted, host, when, restore: true, reason }
}

/// Not to be put back: other things on the host have come to rely on it, or putting it back gains nothing.
const fn kept(setting: Setting) -> Setting {
    Setting { restore: false, ..setting }
}

pub const SETTINGS: &[Setting] = &[
    setting(
        Director,
        &[],
        "net.ipv4.vs.expire_nodest_conn",
        Wanted::Exactly("1"),
        "packets of a connection whose real server has left the table are dropped without a word until the client \
         gives up; with 1 the client is told at once and connects again",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.expire_quiescent_template",
        Wanted::Exactly("1"),
        "persistent clients keep being sent to a real server of weight 0, dead or not, as long as they keep coming",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.sloppy_tcp",
        Wanted::Exactly("1"),
        "a connection that the connection sync has missed is reset after a fail-over; with 1 it is scheduled anew from \
         any packet, and schedulers that compute the server from the client (mh, sh) find the same one again",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.sync_threshold",
        Wanted::Exactly("3 0"),
        "with the kernel's 3 50, a connection is synced at its third packet and then at every 50th: one that sends little \
         expires on the other director before that; with period 0, sync_refresh_period alone decides",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.sync_refresh_period",
        Wanted::Exactly("10"),
        "the other director's timer of a busy connection must not run ahead; one message in 10 s is enough, a fast \
         connection sends hundreds each second with the kernel's default of 0",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.sync_retries",
        Wanted::Exactly("2"),
        "sync messages are multicasts that nobody acknowledges: one lost on the way is a connection lost at a fail-over",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.conn_reuse_mode",
        Wanted::Exactly("1"),
        "with 0, a client that uses a port again is sent to the server of its last connection, even one of weight 0 \
         (before Linux 5.9 together with conntrack=1 it costs such clients one second instead)",
    ),
    setting(
        Director,
        &[],
        "net.ipv4.vs.backup_only",
        Wanted::Exactly("0"),
        "with 1, a director with the backup role of the sync forwards nothing: with several groups, each director has both roles",
    ),
    setting(
        Director,
        &[Direct, Tunnel, Nat, Fwmark],
        "net.ipv4.vs.conntrack",
        Wanted::Exactly("0"),
        "tracking every balanced connection twice costs memory and time, and the tracker's table is not synced; set \
         conntrack=1 only where firewall rules look at connection states or rewrite the source of balanced packets",
    ),
    setting(
        Director,
        &[Tunnel],
        "net.ipv4.vs.pmtu_disc",
        Wanted::Exactly("1"),
        "a packet too large for the tunnel is answered with the size that fits; with 0 it is sent in fragments, for \
         clients that do not hear such answers",
    ),
    kept(setting(
        Director,
        &[],
        "net.ipv4.conf.all.promote_secondaries",
        Wanted::Exactly("1"),
        "a primary address that goes, or lapses, takes the other addresses of its subnet along",
    )),
    setting(
        Director,
        &[Nat, Fwmark],
        "net.ipv4.ip_forward",
        Wanted::Exactly("1"),
        "answers of masqueraded servers are not passed on to the clients",
    ),
    setting(
        Director,
        &[Nat, Fwmark],
        "net.ipv6.conf.all.forwarding",
        Wanted::Exactly("1"),
        "answers of masqueraded servers are not passed on to the clients (a forwarding host ignores router \
         advertisements: give it a static default route, or accept_ra=2)",
    ),
    kept(setting(
        Director,
        &[Direct, Nat, Fwmark],
        "net.ipv4.conf.*.send_redirects",
        Wanted::Exactly("0"),
        "the director tells servers and clients in its own subnet to talk past it, and the balanced address breaks",
    )),
    setting(
        Director,
        &[Local],
        "net.ipv4.conf.all.arp_ignore",
        Wanted::OneOf(&["1", "2", "3"]),
        "a standby director that has the virtual address on lo answers ARP for it and draws the clients to itself",
    ),
    setting(
        Director,
        &[Local],
        "net.ipv4.conf.all.arp_announce",
        Wanted::Exactly("2"),
        "a standby director that has the virtual address on lo puts it into its own ARP requests, and neighbours learn it wrongly",
    ),
    setting(
        RealServer,
        &[Direct, Tunnel, Fwmark],
        "net.ipv4.conf.all.arp_ignore",
        Wanted::OneOf(&["1", "2", "3"]),
        "the real server answers ARP for the virtual address on lo: clients reach it past the director",
    ),
    setting(
        RealServer,
        &[Direct, Tunnel, Fwmark],
        "net.ipv4.conf.all.arp_announce",
        Wanted::Exactly("2"),
        "the real server puts the virtual address into its own ARP requests: the router learns it wrongly and the director is passed by",
    ),
    setting(
        RealServer,
        &[Tunnel],
        "net.ipv4.conf.all.rp_filter",
        Wanted::OneOf(&["0", "2"]),
        "packets from the tunnel are dropped: their senders are not reached through the tunnel device (the larger value \
         of all and tunl0 counts)",
    ),
    setting(
        RealServer,
        &[Tunnel],
        "net.ipv4.conf.tunl0.rp_filter",
        Wanted::OneOf(&["0", "2"]),
        "packets from the tunnel are dropped: their senders are not reached through the tunnel device",
    ),
];

/// Size of the connection table: a module parameter (`options ip_vs conn_tab_bits=N`), so it is reported, never set.
#[derive(Clone, Copy, Debug)]
pub struct ConnTabBits {
    pub least: u32,
    pub reason: &'static str,
}

pub const CONN_TAB_BITS: ConnTabBits = ConnTabBits {
    least: 15,
    reason: "the kernel's default of 12 bits has 4,096 buckets: with 100,000 connections each packet searches a list \
             of 25; 2^bits should be about the number of connections, TIME_WAIT included",
};
