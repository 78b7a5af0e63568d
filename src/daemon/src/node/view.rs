//! What the node says of itself: status bodies of the API, and events of the ring in words.

use super::core::Core;
use super::notices::Taken;
use base::NodeId;
use controller::disks::DiskTrouble;
use std::collections::BTreeSet;
use wire::api::{
    Counter, LinkInfo, LinkStats, MemberDevice, NodeInfo, NodeStatus, QuorumMember, QuorumStatus, StorageTrouble,
    ViewInfo,
};

pub(super) fn status(core: &Core) -> NodeStatus {
    let ring = core.ring.status();
    let controller = core.controller.status();
    let settings = &core.identity.settings;
    let members = controller.members.clone();
    let name_of = |id: NodeId| core.controller.config().name_of(id);
    let node = |n: &crate::config::ResolvedNode| NodeInfo {
        id: n.id,
        name: n.name.clone(),
        addresses: n.addresses.iter().map(|a| a.to_string()).collect(),
        votes: n.votes,
        member: members.contains(&n.id),
    };
    let held = controller.held_back.iter().map(|h| {
        let (node, seconds) = (name_of(h.node), h.for_ms.div_ceil(1000));
        format!(
            "{} on {node} failed again and again: its start waits for {seconds} s; a clean-up ends the wait",
            h.resource
        )
    });
    let standing = core.identity.standing.iter().chain(&core.identity.reload).cloned().chain(core.hindrances.shown());
    let storage = storage(core, &controller, name_of);
    NodeStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        me: core.me(),
        name: settings.my_name(),
        cluster_name: settings.config.totem.cluster_name.clone(),
        started: core.identity.started,
        nodes: settings.resolved.nodes.iter().map(node).collect(),
        dc: controller.dc,
        dc_name: controller.dc.map(name_of),
        quorate: core.quorum.is_quorate(),
        view: core.ring_id.map(|v| ViewInfo { rep: NodeId(v.rep), seq: v.seq }),
        controller: controller.state.clone(),
        links: links(core, &ring),
        counters: counters(core, &ring, &controller),
        data_plane: core.identity.data_plane.to_owned(),
        authenticated: settings.config.totem.authenticated && settings.standing.is_empty(),
        realtime: ring.realtime,
        memory_locked: ring.memory_locked,
        warnings: storage
            .iter()
            .map(ToString::to_string)
            .chain(held)
            .chain(standing)
            .chain(heard(core, &ring))
            .chain(core.quorum.lack(&settings.names()))
            .chain(super::device::warnings(core))
            .chain(core.performer.alerts.troubles())
            .collect(),
        storage,
        fencing: controller.fencing.into_iter().map(crate::api::event).collect(),
        configuration: settings.shown(),
        members,
    }
}

/// What is wrong with anyone's storage: of this node in detail, of the others as they say it themselves.
fn storage(core: &Core, controller: &controller::Status, name_of: impl Fn(NodeId) -> String) -> Vec<StorageTrouble> {
    let mut all = Vec::new();
    let mut add = |node: NodeId, text: String| all.push(StorageTrouble { node: name_of(node), text });
    if controller.no_content {
        add(
            core.me(),
            "the stored configuration was lost, and no member has one: this is not the empty cluster that it looks like;              start a node that has it, or restore a copy with cibadmin --replace --xml-file FILE, or begin anew with              cibadmin --erase --force"
                .to_owned(),
        );
    }
    let own = core.performer.to.keeper.trouble();
    for (node, trouble) in &controller.disks {
        let text = match trouble {
            _ if *node == core.me() && own.is_some() => continue,
            DiskTrouble::Failing => "its disk does not take the configuration: a power failure there loses changes",
            DiskTrouble::Late => "its disk has not taken the newest configuration for more than 5 s: does it hang?",
        };
        add(*node, text.to_owned());
    }
    if let Some(text) = own {
        add(core.me(), text);
    }
    all
}

/// What the ring has to say of others at present.
fn heard(core: &Core, ring: &crate::ring::Status) -> Vec<String> {
    let name_of = |id: NodeId| core.controller.config().name_of(id);
    let unreadable =
        |(id, why): &(NodeId, String)| format!("node {} lives, but no ring can be formed with it: {why}", name_of(*id));
    let own = ring.strangers.iter().map(|(node, address)| Taken { node: *node, address: *address });
    let taken: BTreeSet<Taken> = own.chain(core.notices.fresh(crate::clock::now())).collect();
    ring.unreadable.iter().map(unreadable).chain(taken.iter().map(|t| t.words(&name_of(t.node)))).collect()
}

fn links(core: &Core, ring: &crate::ring::Status) -> Vec<LinkInfo> {
    let nodes = &core.identity.settings.resolved.nodes;
    let address = |id: NodeId, link: u8| {
        let node = nodes.iter().find(|n| n.id == id)?;
        node.addresses.get(usize::from(link)).map(|a| a.to_string())
    };
    let mut all = Vec::new();
    for peer in &ring.totem.peers {
        for link in &peer.links {
            all.push(LinkInfo {
                peer: peer.node,
                link: link.link,
                local: address(core.me(), link.link).unwrap_or_default(),
                remote: address(peer.node, link.link).unwrap_or_default(),
                up: link.up,
                rtt_us: link.rtt_us,
                idle_ms: None,
                in_use: link.in_use,
                stats: link_stats(ring, peer.node, link),
            });
        }
    }
    all
}

fn link_stats(ring: &crate::ring::Status, peer: NodeId, link: &totem::LinkStatus) -> LinkStats {
    let wire = ring.traffic.get(&(peer, link.link)).copied().unwrap_or_default();
    LinkStats {
        up_count: link.up_count,
        down_count: link.down_count,
        latency_min: link.rtt_min_us,
        latency_max: link.rtt_max_us,
        latency_ave: link.rtt_average_us,
        latency_samples: u64::from(link.round_trips),
        mtu: link.datagram as u64,
        tx_data_packets: link.sent.frames,
        tx_data_bytes: link.sent.frame_bytes,
        rx_data_packets: link.received.frames,
        rx_data_bytes: link.received.frame_bytes,
        tx_ping_packets: link.sent.beats,
        tx_ping_bytes: link.sent.beat_bytes,
        rx_ping_packets: link.received.beats,
        rx_ping_bytes: link.received.beat_bytes,
        tx_pmtu_packets: link.sent.probes,
        tx_pmtu_bytes: link.sent.probe_bytes,
        tx_pmtu_retries: link.probes_repeated,
        rx_pmtu_packets: link.received.probes,
        rx_pmtu_bytes: link.received.probe_bytes,
        tx_total_packets: wire.sent,
        tx_total_bytes: wire.sent_bytes,
        tx_total_errors: wire.send_errors,
        rx_total_packets: wire.received,
        rx_total_bytes: wire.received_bytes,
        icmp_errors: link.errors,
    }
}

/// Every counter under a dotted name.
fn counters(core: &Core, ring: &crate::ring::Status, controller: &controller::Status) -> Vec<Counter> {
    let mut all = Vec::new();
    let mut add = |prefix: &str, value: serde_json::Value| {
        if let serde_json::Value::Object(fields) = value {
            for (name, value) in fields {
                if let Some(value) = value.as_u64() {
                    all.push(Counter { name: format!("{prefix}.{name}"), value });
                }
            }
        }
    };
    add("totem", serde_json::to_value(ring.totem.counters).unwrap_or_default());
    add("session.dropped", serde_json::to_value(ring.dropped).unwrap_or_default());
    add("controller", serde_json::to_value(&controller.counters).unwrap_or_default());
    for (name, value) in core.performer.alerts.counters() {
        all.push(Counter { name: format!("alerts.{name}"), value });
    }
    let links = &ring.links;
    for (name, value) in [
        ("received", links.received),
        ("sent", links.sent),
        ("unlisted", links.unlisted),
        ("unsent", links.unsent),
        ("icmp_errors", links.icmp_errors),
        ("unsealed", ring.unsealed),
        ("unreserved_ring_numbers", ring.unreserved),
    ] {
        all.push(Counter { name: format!("links.{name}"), value });
    }
    for (place, value) in crate::logging::dropped() {
        all.push(Counter { name: format!("log.{place}.dropped"), value });
    }
    all
}

pub(super) fn quorum(core: &Core) -> QuorumStatus {
    let ring = core.ring_id.unwrap_or_default();
    let settings = &core.identity.settings;
    let status = core.quorum.status((ring.rep, ring.seq), &settings.names());
    QuorumStatus {
        now: crate::clock::wall(),
        provider: if settings.config.quorum.enabled { status.provider.clone() } else { String::new() },
        me: core.me(),
        ring: core.ring_id.map(|v| ViewInfo { rep: NodeId(v.rep), seq: v.seq }),
        quorate: status.quorate,
        expected_votes: status.expected_votes,
        highest_expected: status.highest_expected,
        total_votes: status.total_votes,
        quorum: status.quorum,
        waiting_for_all: status.waiting_for_all,
        barrier: core.quorum.barrier().unwrap_or(0),
        flags: status.flags().into_iter().map(str::to_owned).collect(),
        members: status
            .members
            .iter()
            .map(|m| QuorumMember {
                id: m.node,
                name: m.name.clone(),
                votes: m.votes,
                local: m.local,
                device: member_device(core, m.node),
            })
            .collect(),
        device: super::device::shown(core),
    }
}

fn member_device(core: &Core, node: NodeId) -> Option<MemberDevice> {
    let own = (node == core.me()).then(|| core.quorum.device());
    let state = own.or_else(|| core.arbitration.peer(node)).filter(|s| s.registered)?;
    Some(MemberDevice { alive: state.alive, cast: state.cast })
}

/// Kind, subject and text of an event for log and timeline.
pub(super) fn describe(
    event: &totem::Event,
    me: NodeId,
    name: impl Fn(NodeId) -> String,
) -> (&'static str, String, String) {
    use totem::Event;
    let here = || name(me);
    match event {
        Event::PeerSuspected { node, silent_ms, reason } => {
            ("heartbeat_lost", name(*node), format!("silent for {silent_ms} ms ({reason:?}): taken out of the ring"))
        }
        Event::LinkUp { node, link } => ("link_up", name(*node), format!("link {link}")),
        Event::LinkDown { node, link, silent_ms } => {
            ("link_down", name(*node), format!("link {link} silent for {silent_ms} ms"))
        }
        Event::LinkSize { node, link, bytes, before } => {
            let why = if bytes < before { "larger ones do not pass" } else { "they pass" };
            (
                "link_mtu",
                name(*node),
                format!("link {link}: packets with {bytes} bytes of data, before {before}: {why}"),
            )
        }
        Event::PeerFlags { node, ready, quorate } => ("peer", name(*node), format!("ready {ready}, quorate {quorate}")),
        Event::PeerRestarted { node } => ("peer_restarted", name(*node), "came back as a new process".to_owned()),
        Event::PeerLeft { node } => ("peer_left", name(*node), "left in good order".to_owned()),
        Event::LocalStall { stalled_ms } => {
            ("local_stall", here(), format!("this process did not run for {stalled_ms} ms"))
        }
        Event::Gather { reason } => ("gather", here(), format!("forming a ring ({reason:?})")),
        Event::StartedOver { reason, .. } => {
            ("started_over", here(), format!("the view is over, joining like a node that starts ({reason:?})"))
        }
        Event::RingNumberRefused { node, got, limit } => (
            "ring_number",
            name(*node),
            format!(
                "ring number {got} is beyond any that can have been reached (at most {limit}): not taken over; is its file ring_seq damaged?"
            ),
        ),
        Event::GaveUpForming { rounds } => {
            ("gather", here(), format!("no ring in {rounds} rounds: going on alone for now"))
        }
        Event::SteppedOut { out_ms } => ("stepped_out", here(), format!("left the ring, coming back in {out_ms} ms")),
        Event::Left => ("left", here(), "left the ring".to_owned()),
    }
}

/// Whether the property `maintenance-mode` is on.
pub(super) fn in_maintenance(cib: &xml::Element) -> bool {
    cib::config::property(cib, "maintenance-mode").is_some_and(base::text::is_true)
}
