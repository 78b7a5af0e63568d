//! What `corosync-qnetd-tool` prints, in the words of the original.

use super::args::Settings;
use super::serve::tls_words;
use quorum::qnet::MAX_BODY_BYTES;
use quorum::qnetd::{ClientStatus, ClusterStatus, Server};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// As the original writes it: IPv4 mapped into IPv6.
pub(super) fn address(from: SocketAddr) -> String {
    match from.ip() {
        IpAddr::V4(v4) => format!("::ffff:{v4}:{}", from.port()),
        IpAddr::V6(v6) => format!("{v6}:{}", from.port()),
    }
}

pub(super) fn status(settings: &Settings, core: &Server, verbose: bool) -> String {
    let clusters = core.clusters();
    let mut out = format!("QNetd address:\t\t\t{}:{}\n", settings.shown_address, settings.port);
    let _ = writeln!(out, "TLS:\t\t\t\t{}", tls_words(settings));
    let _ = writeln!(out, "Connected clients:\t\t{}", core.clients());
    let _ = writeln!(out, "Connected clusters:\t\t{}", clusters.len());
    if verbose {
        if settings.max_clients != 0 {
            let _ = writeln!(out, "Maximum allowed clients:\t{}", settings.max_clients);
        }
        let _ = writeln!(out, "Maximum send/receive size:\t{MAX_BODY_BYTES}/{MAX_BODY_BYTES} bytes");
    }
    out
}

pub(super) fn list(clusters: &[ClusterStatus], verbose: bool, only: Option<&str>) -> String {
    let mut out = String::new();
    for cluster in clusters.iter().filter(|c| only.is_none_or(|o| o.is_empty() || o == c.name)) {
        let keep = if cluster.keep_active_partition { " (KAP Tie-breaker)" } else { "" };
        let _ = writeln!(out, "Cluster \"{}\":\n    Algorithm:\t\t{}{keep}", cluster.name, cluster.algorithm);
        let _ = writeln!(out, "    Tie-breaker:\t{}", cluster.tie_breaker);
        cluster.clients.iter().for_each(|c| client(&mut out, c, verbose));
    }
    out
}

fn client(out: &mut String, c: &ClientStatus, verbose: bool) {
    let _ = writeln!(out, "    Node ID {}:\n        Client address:\t\t{}", c.node_id, c.address);
    if verbose {
        let _ = writeln!(out, "        HB interval:\t\t{}ms", c.heartbeat_ms);
    }
    if let Some(version) = c.config_version {
        let _ = writeln!(out, "        Configuration version:\t{version}");
    }
    if !c.configured.is_empty() {
        let _ = writeln!(out, "        Configured node list:\t{}", nodes(&c.configured));
    }
    if verbose {
        let _ = writeln!(out, "        Ring ID:\t\t{:x}.{:x}", c.ring.0, c.ring.1);
    }
    if !c.membership.is_empty() {
        let _ = writeln!(out, "        Membership node list:\t{}", nodes(&c.membership));
    }
    if verbose {
        let (membership, regular) = (&c.membership_heuristics, &c.regular_heuristics);
        let _ = writeln!(out, "        Heuristics:\t\t{} (membership: {membership}, regular: {regular})", c.heuristics);
        let tls = if c.tls { "Yes" } else { "No" };
        let certified = if c.certified { " (client certificate verified)" } else { "" };
        let _ = writeln!(out, "        TLS active:\t\t{tls}{certified}");
    } else if c.heuristics != "Undefined" {
        let _ = writeln!(out, "        Heuristics:\t\t{}", c.heuristics);
    }
    if let Some(vote) = &c.vote {
        let decided = c.decided.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
        let _ = writeln!(out, "        Vote:\t\t\t{vote}{decided}");
    }
}

fn nodes(list: &[(u32, u32)]) -> String {
    let node = |(id, centre): &(u32, u32)| match centre {
        0 => id.to_string(),
        centre => format!("{id} ({centre})"),
    };
    list.iter().map(node).collect::<Vec<_>>().join(", ")
}
