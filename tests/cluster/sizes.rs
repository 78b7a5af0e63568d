//! The size of packet that each link carries: found beside the traffic, followed when it changes, and where larger packets vanish
//! without a word no message is lost and no view comes.

use crate::fixture::{Cluster, PATIENCE, cib_call, post};
use crate::links::{Load, cabled};
use crate::root::root;
use std::time::{Duration, Instant};
use tokio::process::Command;
use wire::api::{CibOp, CibReply, LinkInfo, Safety, ViewInfo};

const NODES: [&str; 2] = ["n1", "n2"];
/// Bytes of a packet besides its data: ours with the seal, UDP, IPv4 or IPv6.
const OVER_V4: u64 = 28 + 16 + 8 + 20;
const OVER_V6: u64 = OVER_V4 + 20;

fn link(cluster: &Cluster, node: &str, number: u8) -> LinkInfo {
    let status = cluster.status(node).expect("the node answers");
    status.links.into_iter().find(|l| l.link == number).expect("the link")
}

fn views(cluster: &Cluster) -> Vec<Option<ViewInfo>> {
    NODES.iter().map(|n| cluster.status(n).expect("the node answers").view).collect()
}

async fn until_mtu(cluster: &Cluster, v4: u64, v6: u64) {
    let wanted = [v4 - OVER_V4, v6 - OVER_V6];
    let found = || {
        let all = NODES.iter().flat_map(|n| [0, 1].map(|l| link(cluster, n, l).stats.mtu));
        all.eq(NODES.iter().flat_map(|_| wanted)).then_some(())
    };
    cluster.until(&format!("data of {wanted:?} bytes in a packet"), found).await;
}

async fn run(cluster: &Cluster, node: &str, words: &[&str]) {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    let host = cluster.lab.host(node).expect("a host");
    let status = host.spawn(&mut command).expect("started").wait().await.expect("ended");
    assert!(status.success(), "{words:?}");
}

/// A message of many packets; gives the time until it is safe.
fn large_message(cluster: &Cluster, id: &str) -> Duration {
    let description = "x".repeat(200_000);
    let xml = format!(
        "<primitive id=\"{id}\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\" description=\"{description}\"/>"
    );
    let began = Instant::now();
    let call = cib_call(CibOp::Create, "resources", Some(xml));
    let reply: CibReply = post(&cluster.run_dir("n1"), "cib", &call, PATIENCE).expect("an answer");
    assert_eq!((reply.code, reply.safety), (0, Safety::Safe), "{reply:?}");
    began.elapsed()
}

/// Two nodes with IPv4 on link 0 and IPv6 on link 1, whose packets stand alone on the wire as they do on a real one.
async fn two() -> Cluster {
    let cluster = cabled(&NODES, 2, "    knet_pmtud_interval: 1\n", "").await;
    for node in NODES {
        for nic in ["eth0", "eth1"] {
            run(&cluster, node, &["ip", "link", "set", nic, "gso_max_segs", "1"]).await;
        }
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cables_carry_is_found_and_followed_up_and_down() {
    let Some(()) = root() else { return };
    let cluster = two().await;
    until_mtu(&cluster, 1500, 1500).await;
    let before = views(&cluster);
    let load = Load::start(&cluster, &NODES);
    for (n, (v4, v6)) in [(9000, 1500), (9000, 9000), (1280, 1280), (1500, 9000), (1500, 1500)].into_iter().enumerate()
    {
        cluster.lab.set_mtu(0, v4).await.expect("set");
        cluster.lab.set_mtu(1, v6).await.expect("set");
        let took = large_message(&cluster, &format!("large-{n}"));
        assert!(took < Duration::from_secs(5), "{v4} {v6}: {took:?}");
        until_mtu(&cluster, v4.into(), v6.into()).await;
        println!("{v4} and {v6}: a large message was safe after {took:?} while it was found");
    }
    let written = load.verify(&cluster, &NODES).await;
    assert_eq!(views(&cluster), before, "no view came\n{}", cluster.logs());
    println!("{written} writes meanwhile");
    let (code, text, _) = cluster.command("n1", &["corosync-cmapctl", "-m", "stats", "stats.knet.node2.link1."]);
    assert!(code == 0 && text.contains("stats.knet.node2.link1.mtu (u32) = 1408\n"), "{text}");
    assert!(text.contains("stats.knet.node2.link1.tx_pmtu_packets (u64) = "), "{text}");
    let (_, text, _) = cluster.command("n1", &["corosync-cfgtool", "-n"]);
    assert!(text.contains("enabled connected mtu: 1428\n") && text.contains("enabled connected mtu: 1408\n"), "{text}");
}

/// Nobody says that the packets are too large: a switch on the way carries less than the hosts' interfaces do, or a firewall drops.
#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_loses_no_message_and_is_found_out() {
    let Some(()) = root() else { return };
    let cluster = two().await;
    until_mtu(&cluster, 1500, 1500).await;
    let before = views(&cluster);
    let load = Load::start(&cluster, &NODES);
    let hole = "add table inet hole; add chain inet hole in { type filter hook input priority 0; }; \
                add rule inet hole in meta length > 1300 udp dport 5405-5406 drop";
    for (name, way) in [("one", &NODES[..1]), ("both", &NODES[..])] {
        for node in way {
            run(&cluster, node, &["nft", hole]).await;
        }
        let took = large_message(&cluster, &format!("large-{name}"));
        assert!(took < Duration::from_secs(2), "{name}: {took:?}");
        cluster
            .until("less is sent", || {
                let into = |n: &str| link(&cluster, n, 0).stats.mtu;
                let kept = if way.len() == 1 { 1500 } else { 1300 };
                (into("n2") == 1300 - OVER_V4 && into("n1") == kept - OVER_V4).then_some(())
            })
            .await;
        println!("{name}: a large message was safe after {took:?}");
        for node in way {
            run(&cluster, node, &["nft", "delete", "table", "inet", "hole"]).await;
        }
        until_mtu(&cluster, 1500, 1500).await;
    }
    let written = load.verify(&cluster, &NODES).await;
    assert_eq!(views(&cluster), before, "no view came\n{}", cluster.logs());
    println!("{written} writes meanwhile");
}
