//! Several links: whichever cable is pulled, no message and no view is lost, in every mode of spreading.

use crate::fixture::{Cluster, PATIENCE, write_resource};
use crate::root::root;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wire::api::{LinkInfo, Safety};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Link 0 with IPv4, link 1 with IPv6 where there is one, by names where `names` is set; `totem` and `more` are further lines.
pub fn conf(nodes: &[&str], links: u8, totem: &str, more: &str) -> String {
    let mut text = format!("totem {{\n    version: 2\n    cluster_name: test\n{totem}}}\nnodelist {{\n");
    for (id, name) in (1u8..).zip(nodes) {
        let _ = write!(text, "    node {{\n        name: {name}\n        nodeid: {id}\n");
        for link in 0..links {
            let address = if link == 1 { format!("fd00:77:1::{id}") } else { format!("10.77.{link}.{id}") };
            let _ = writeln!(text, "        ring{link}_addr: {address}");
        }
        text += "    }\n";
    }
    text + "}\nquorum {\n    provider: corosync_votequorum\n" + more + "}\nlogging {\n    to_syslog: no\n}\n"
}

/// Nodes with so many cables each, running with such a file.
pub async fn cabled(nodes: &[&'static str], links: u8, totem: &str, more: &str) -> Cluster {
    let mut cluster = Cluster::prepare(nodes).await;
    for number in 1..links.max(2) {
        cluster.lab.add_network(number).await.expect("cables");
    }
    std::fs::write(cluster.path("corosync.conf"), conf(nodes, links, totem, more)).expect("written");
    for name in nodes {
        cluster.start_node(name);
    }
    cluster.wait_for_ring(nodes).await;
    cluster
}

/// Clients that write one resource after the other on every node until told to stop; gives what was acknowledged as safe.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<std::thread::JoinHandle<(Vec<String>, Vec<String>)>>,
}

impl Load {
    pub fn start(cluster: &Cluster, nodes: &[&'static str]) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |node: &&'static str| {
            let (run_dir, stop, node) = (cluster.run_dir(node), stop.clone(), *node);
            std::thread::spawn(move || {
                let (mut safe, mut other) = (Vec::new(), Vec::new());
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let id = format!("w-{node}-{n}");
                    match write_resource(&run_dir, &id, PATIENCE) {
                        Some(reply) if reply.code == 0 && reply.safety == Safety::Safe => safe.push(id),
                        reply => other.push(format!("{id}: {reply:?}")),
                    }
                    std::thread::sleep(Duration::from_millis(40));
                }
                (safe, other)
            })
        };
        let clients = nodes.iter().map(client).collect();
        Load { stop, clients }
    }

    /// Every write was acknowledged as safe, and is there on every node; how many they were.
    pub async fn verify(self, cluster: &Cluster, nodes: &[&str]) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in self.clients {
            let (safe, other) = client.join().expect("the client ended");
            assert!(other.is_empty(), "not acknowledged as safe: {other:?}\n{}", cluster.logs());
            assert!(!safe.is_empty(), "a client got nothing through");
            all.extend(safe);
        }
        let one = cluster
            .until("one configuration everywhere", || {
                let each: Vec<_> = nodes.iter().map(|n| cluster.configuration(n)).collect::<Option<_>>()?;
                each.iter().all(|c| c == &each[0]).then(|| each[0].0.clone())
            })
            .await;
        let lost: Vec<&String> = all.iter().filter(|id| !one.contains(&format!("id=\"{id}\""))).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}\n{}", cluster.logs());
        all.len()
    }
}

fn view(cluster: &Cluster, node: &str) -> Option<wire::api::ViewInfo> {
    cluster.status(node).expect("the node answers").view
}

fn link(cluster: &Cluster, node: &str, peer: u32, number: u8) -> LinkInfo {
    let status = cluster.status(node).expect("the node answers");
    status.links.into_iter().find(|l| l.peer.0 == peer && l.link == number).expect("the link")
}

async fn until_link(cluster: &Cluster, node: &str, peer: u32, number: u8, up: bool) {
    let what = format!("link {number} of {node} to {peer}: up {up}");
    cluster.until(&what, || (link(cluster, node, peer, number).up == up).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pulling_any_one_cable_costs_no_message_and_no_view() {
    let Some(()) = root() else { return };
    for (mode, used) in [("passive", [false, true, false]), ("active", [true; 3]), ("rr", [true; 3])] {
        let priority = "    interface {\n        linknumber: 1\n        knet_link_priority: 9\n        knet_ping_interval: 100\n        \
                        knet_ping_timeout: 300\n        knet_pong_count: 3\n    }\n";
        let cluster = cabled(&NODES, 3, &format!("    link_mode: {mode}\n{priority}"), "").await;
        for number in 0..3 {
            until_link(&cluster, "n1", 2, number, true).await;
        }
        cluster
            .until("the links that the mode uses", || {
                (0..3).all(|n| link(&cluster, "n1", 2, n).in_use == used[usize::from(n)]).then_some(())
            })
            .await;
        let before: Vec<_> = NODES.iter().map(|n| view(&cluster, n)).collect();
        let load = Load::start(&cluster, &NODES);
        for number in [1, 0, 2] {
            for node in [NODES[usize::from(number)], "n3"] {
                cluster.lab.unplug_from(node, number).await.expect("unplugged");
                let (seen_by, peer) =
                    if node == "n1" { ("n2", 1) } else { ("n1", node[1..].parse().expect("a number")) };
                until_link(&cluster, seen_by, peer, number, false).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
                cluster.lab.plug_into(node, number).await.expect("plugged");
                until_link(&cluster, seen_by, peer, number, true).await;
            }
        }
        let written = load.verify(&cluster, &NODES).await;
        let after: Vec<_> = NODES.iter().map(|n| view(&cluster, n)).collect();
        assert_eq!(before, after, "{mode}: no view came\n{}", cluster.logs());
        println!("{mode}: {written} writes while six cables were pulled, no view");
        statistics(&cluster, mode);
    }
}

/// What the tools say of the links after all that.
fn statistics(cluster: &Cluster, mode: &str) {
    let three = link(cluster, "n1", 3, 1).stats;
    assert!(three.down_count >= 1 && three.up_count == three.down_count + 1, "{mode}: {three:?}");
    assert!(
        three.latency_samples > 0 && three.latency_min <= three.latency_ave && three.latency_ave <= three.latency_max
    );
    assert!(three.tx_data_packets > 0 && three.tx_total_packets >= three.tx_data_packets, "{mode}: {three:?}");
    let (code, text, _) = cluster.command("n1", &["corosync-cmapctl", "-m", "stats", "stats.knet.node3.link1."]);
    assert!(code == 0 && text.contains("stats.knet.node3.link1.connected (u8) = 1\n"), "{text}");
    let (code, text, _) = cluster.command("n1", &["corosync-cfgtool", "-s"]);
    let expected = "LINK ID 1 udp\n\taddr\t= fd00:77:1::1\n\tstatus:\n\t\tnodeid:          1:\tlocalhost\n\t\tnodeid:          2:\tconnected\n";
    assert!(code == 0 && text.contains(expected), "{text}");
    let (_, text, _) = cluster.command("n1", &["corosync-cfgtool", "-n"]);
    assert!(
        text.contains("nodeid: 3 reachable\n")
            && text.contains("udp (fd00:77:1::1->fd00:77:1::3) enabled connected mtu: ")
    );
    let (_, text, _) = cluster.command("n1", &["corosync-cfgtool", "-b", "-s", "-i", "1"]);
    assert_eq!(text, "Local node ID 1, transport knet\nLINK ID 1 udp\n\taddr\t= fd00:77:1::1\n\tstatus\t= n33\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_with_small_packets_carries_all_messages() {
    let Some(()) = root() else { return };
    let cluster = cabled(&["n1", "n2"], 2, "", "").await;
    // The IPv6 link takes no less than 1280 bytes; the other goes away, so that everything has to take it.
    for name in ["n1", "n2"] {
        cluster.lab.host(name).expect("a host").links.set_mtu("eth1", 1280).await.expect("set");
    }
    until_link(&cluster, "n1", 2, 1, true).await;
    let before = view(&cluster, "n1");
    let load = Load::start(&cluster, &["n1", "n2"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.lab.unplug_from("n1", 0).await.expect("unplugged");
    until_link(&cluster, "n2", 1, 0, false).await;
    // A message of many full packets.
    let description = "x".repeat(200_000);
    let xml = format!(
        "<primitive id=\"large\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\" description=\"{description}\"/>"
    );
    let call = crate::fixture::cib_call(wire::api::CibOp::Create, "resources", Some(xml));
    let reply: wire::api::CibReply =
        crate::fixture::post(&cluster.run_dir("n1"), "cib", &call, PATIENCE).expect("an answer");
    assert_eq!((reply.code, reply.safety), (0, Safety::Safe), "{reply:?}");
    load.verify(&cluster, &["n1", "n2"]).await;
    assert_eq!(before, view(&cluster, "n1"), "no view came\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moves_is_found_by_its_name() {
    let Some(()) = root() else { return };
    let nodes = ["n1", "n2"];
    let mut cluster = Cluster::prepare(&nodes).await;
    cluster.lab.add_network(1).await.expect("cables");
    let hosts = |second: &str| format!("127.0.0.1 localhost\n10.77.0.1 director-one\n{second} director-two\n");
    std::fs::write(cluster.path("hosts"), hosts("10.77.0.2")).expect("written");
    let text =
        conf(&nodes, 2, "", "").replace("10.77.0.1\n", "director-one\n").replace("10.77.0.2\n", "director-two\n");
    assert!(text.contains("ring0_addr: director-two\n"), "{text}");
    std::fs::write(cluster.path("corosync.conf"), text).expect("written");
    nodes.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&nodes).await;
    until_link(&cluster, "n1", 2, 0, true).await;
    let before = view(&cluster, "n1");
    let load = Load::start(&cluster, &nodes);
    let host = cluster.lab.host("n2").expect("a host");
    host.links.add_address("eth0", "10.77.0.22".parse().expect("an address"), 24).await.expect("added");
    std::fs::write(cluster.path("hosts"), hosts("10.77.0.22")).expect("written");
    cluster
        .until("link 0 goes to the new address, on both sides", || {
            let there = link(&cluster, "n1", 2, 0);
            let here = link(&cluster, "n2", 1, 0);
            let moved = there.remote.starts_with("10.77.0.22:") && here.local.starts_with("10.77.0.22:");
            (moved && there.up && here.up).then_some(())
        })
        .await;
    load.verify(&cluster, &nodes).await;
    assert_eq!(view(&cluster, "n1"), before, "no view came\n{}", cluster.logs());
}

/// The largest cluster that the transport allows is a matter of a quiet machine; this many fit beside other work.
#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_form_one_ring_and_go_on_without_one() {
    let Some(()) = root() else { return };
    if std::env::var_os("BASCULE_LONG").is_none() {
        return println!("SKIPPED: sixteen nodes, only with BASCULE_LONG=1");
    }
    const MANY: [&str; 16] =
        ["n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11", "n12", "n13", "n14", "n15", "n16"];
    let started = std::time::Instant::now();
    let mut cluster = cabled(&MANY, 2, "    token: 3000\n", "").await;
    println!("{} nodes in one ring after {} ms", MANY.len(), started.elapsed().as_millis());
    let load = Load::start(&cluster, &["n1", "n8", "n15"]);
    cluster.lab.unplug_from("n5", 0).await.expect("unplugged");
    tokio::time::sleep(Duration::from_secs(2)).await;
    cluster.lab.plug_into("n5", 0).await.expect("plugged");
    let written = load.verify(&cluster, &MANY).await;
    println!("{written} writes on 3 of {} nodes meanwhile", MANY.len());
    // With the patience that the file asks for, a dead node is waited for: twelve seconds with so many.
    cluster.kill("n16").await;
    cluster.wait_for_ring(&MANY[..15]).await;
    let (code, _, errors) = cluster.command("n3", &["corosync-cfgtool", "-R"]);
    assert_eq!(code, 0, "{errors}");
}
