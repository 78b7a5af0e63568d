//! The ring, its links, quorum, and how the node itself is.

use super::exposition::Exposition;
use wire::api::{FenceState, LinkInfo, NodeStatus, QuorumStatus};

pub fn node(out: &mut Exposition, status: &NodeStatus) {
    let build = out.gauge("bascule_build_info", "The version that runs");
    build.set([("version", &status.version)], 1.0);
    let started = out.gauge("bascule_start_time_seconds", "When the node was started, since the epoch");
    started.alone(status.started.0 as f64 / 1000.0);
    let dc = out.gauge("bascule_is_coordinator", "Whether this node coordinates the cluster");
    dc.alone(f64::from(status.dc == Some(status.me)));
    let members = out.gauge("bascule_member", "Whether a node of the nodelist is in the ring with this one");
    for node in &status.nodes {
        members.set([("node", &node.name)], f64::from(node.member));
    }
    let controller = out.gauge("bascule_controller_idle", "Whether no transition is being carried out here");
    controller.alone(f64::from(status.controller == "idle"));
    let warnings = out.gauge("bascule_warnings", "Standing warnings of this node; 'crm_mon -1' prints them");
    warnings.alone(status.warnings.len() as f64);
    let storage = out.gauge("bascule_storage_trouble", "A node whose disk does not take what it should");
    for trouble in &status.storage {
        storage.set([("node", &trouble.node)], 1.0);
    }
    let sealed = out.gauge("bascule_authenticated", "Whether packets are sealed with the cluster's key");
    sealed.alone(f64::from(status.authenticated));
    let kernel =
        out.gauge("bascule_data_plane_kernel", "Whether kernel IPVS carries the traffic, not the embedded relay");
    kernel.alone(f64::from(status.data_plane == "kernel"));
    let events = out.counter("bascule_events", "What has happened since the node's start, by name");
    for counter in &status.counters {
        events.set([("name", &counter.name)], counter.value as f64);
    }
    fencing(out, status);
    links(out, status);
}

/// The last fencing of each target, and what is under way.
fn fencing(out: &mut Exposition, status: &NodeStatus) {
    let pending = out.gauge("bascule_fencing_pending", "Fencing actions that are under way");
    pending.alone(status.fencing.iter().filter(|e| e.state == FenceState::Pending).count() as f64);
    let last = out.gauge("bascule_fencing_last_seconds", "When a node was last fenced, since the epoch, by outcome");
    for event in status.fencing.iter().filter(|e| e.completed_ms > 0).rev() {
        let outcome = if event.state == FenceState::Success { "success" } else { "failed" };
        let labels = [("target", event.target.as_str()), ("action", &event.action), ("outcome", outcome)];
        last.set(labels, event.completed_ms as f64 / 1000.0);
    }
}

fn links(out: &mut Exposition, status: &NodeStatus) {
    let name = |link: &LinkInfo| {
        let node = status.nodes.iter().find(|n| n.id == link.peer);
        node.map_or_else(|| link.peer.to_string(), |n| n.name.clone())
    };
    let rings = out.gauge("ha_cluster_corosync_rings", "A link from this node to another: 1 while it works");
    let errors = out.gauge("ha_cluster_corosync_ring_errors", "Links from this node that do not work");
    errors.alone(status.links.iter().filter(|l| !l.up).count() as f64);
    let trip = out.gauge("bascule_link_round_trip_seconds", "Smoothed round trip of a link");
    let mtu = out.gauge("bascule_link_mtu_bytes", "Largest packet that is sent over a link");
    let downs = out.counter("bascule_link_down", "How often a link was lost");
    let sent = out.counter("bascule_link_sent_bytes", "What a link has carried to the other node");
    let received = out.counter("bascule_link_received_bytes", "What a link has brought from the other node");
    for link in &status.links {
        let number = link.link.to_string();
        let labels = || [("node", name(link)), ("link", number.clone())];
        let ring = [
            ("ring_id", status.view.map_or_else(String::new, |v| format!("{}.{:x}", v.rep, v.seq))),
            ("node_id", link.peer.to_string()),
            ("number", number.clone()),
            ("address", link.remote.clone()),
        ];
        rings.set(ring, f64::from(link.up));
        if let Some(us) = link.rtt_us {
            trip.set(labels(), us as f64 / 1e6);
        }
        mtu.set(labels(), link.stats.mtu as f64);
        downs.set(labels(), link.stats.down_count as f64);
        sent.set(labels(), link.stats.tx_total_bytes as f64);
        received.set(labels(), link.stats.rx_total_bytes as f64);
    }
}

pub fn quorum(out: &mut Exposition, quorum: &QuorumStatus) {
    let quorate = out.gauge("ha_cluster_corosync_quorate", "Whether this node's partition has quorum");
    quorate.alone(f64::from(quorum.quorate));
    let votes = out.gauge("ha_cluster_corosync_quorum_votes", "Votes of the cluster, by kind");
    for (kind, value) in [
        ("expected_votes", quorum.expected_votes),
        ("highest_expected", quorum.highest_expected),
        ("total_votes", quorum.total_votes),
        ("quorum", quorum.quorum),
    ] {
        votes.set([("type", kind)], f64::from(value));
    }
    let members = out.gauge("ha_cluster_corosync_member_votes", "Votes of each member");
    for member in &quorum.members {
        let labels =
            [("node_id", member.id.to_string()), ("node", member.name.clone()), ("local", member.local.to_string())];
        members.set(labels, f64::from(member.votes));
    }
    let waiting = out.gauge("bascule_quorum_waiting_for_all", "Whether quorum waits for a first meeting of all nodes");
    waiting.alone(f64::from(quorum.waiting_for_all));
    if let Some(device) = &quorum.device {
        let connected = out.gauge("bascule_arbitrator_connected", "Whether the arbitrator answers this node");
        connected.set([("host", &device.host)], f64::from(device.state == "Connected"));
        let cast =
            out.gauge("bascule_arbitrator_vote", "Whether the arbitrator's votes are with this node's partition");
        cast.set([("host", &device.host)], f64::from(device.cast));
    }
}
