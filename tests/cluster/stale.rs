//! Nodes that were stopped, and nodes that are heard but not understood.

use crate::fixture::{Cluster, corosync_conf};
use crate::root::root;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};
use wire::api::{NodeStatus, TimelineEvent};

/// Two nodes, each of which may be quorate alone.
async fn pair() -> Cluster {
    let cluster = Cluster::prepare(&["n1", "n2"]).await;
    let text = corosync_conf(&["n1", "n2"]);
    let text = text.replace("corosync_votequorum\n", "corosync_votequorum\n    two_node: 1\n    wait_for_all: 0\n");
    std::fs::write(cluster.path("corosync.conf"), text).expect("written");
    cluster
}

fn rings(events: &[TimelineEvent], members: &str) -> usize {
    events
        .iter()
        .filter(|e| e.kind == "ring" && e.text.split(',').next() == Some(&format!("members {members}")))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_joins_the_living_ring_without_a_restart() {
    let Some(()) = root() else { return };
    for names in [&["n1", "n2"][..], &["n1", "n2", "n3"][..]] {
        let mut cluster = if names.len() == 2 { pair().await } else { Cluster::prepare(names).await };
        names.iter().for_each(|n| cluster.start_node(n));
        cluster.wait_for_ring(names).await;
        let mut took = Vec::new();
        for (round, stop_ms) in [500, 2000, 5000, 8000].into_iter().enumerate() {
            let stopped = names[round % names.len()];
            let others: Vec<&str> = names.iter().copied().filter(|n| *n != stopped).collect();
            let pid = cluster.pid(stopped);
            let alone_before = rings(&cluster.timeline(stopped).events, stopped);
            cluster.signal(stopped, Signal::SIGSTOP);
            tokio::time::sleep(Duration::from_millis(stop_ms)).await;
            cluster.signal(stopped, Signal::SIGCONT);
            let resumed = Instant::now();
            cluster.wait_for_ring(names).await;
            took.push((stop_ms, resumed.elapsed().as_millis()));
            assert_eq!(cluster.pid(stopped), pid, "the same process");
            let events = cluster.timeline(stopped).events;
            assert!(events.iter().any(|e| e.kind == "started_over"), "{stop_ms}: {}", cluster.logs());
            assert_eq!(rings(&events, stopped), alone_before, "{stopped} formed no ring alone: {}", cluster.logs());
            for other in &others {
                let blamed = |e: &TimelineEvent| e.kind == "heartbeat_lost" && e.text.contains("ReportedByMember");
                assert!(
                    !cluster.timeline(other).events.iter().any(blamed),
                    "{other} gave its ring up: {}",
                    cluster.logs()
                );
            }
            // Nothing comes of it later either.
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.wait_for_ring(names).await;
        }
        println!("{} nodes: stopped for ms, in a ring and in step again after ms: {took:?}", names.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_cannot_read_each_other_name_it_and_neither_is_quorate() {
    let Some(()) = root() else { return };
    let mut cluster = pair().await;
    let key = cluster.path("n2.authkey");
    std::fs::write(&key, [9u8; 256]).expect("written");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("set");
    cluster.start_node("n1");
    cluster.start_node("n2");
    for (node, other) in [("n1", "n2"), ("n2", "n1")] {
        let named = |s: &NodeStatus| {
            s.warnings.iter().any(|w| w.contains(&format!("node {other} lives")) && w.contains("authkey"))
        };
        cluster.until("the other is named in status", || cluster.status(node).filter(named)).await;
    }
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        for node in ["n1", "n2"] {
            assert!(!cluster.status(node).expect("an answer").quorate, "{node}: {}", cluster.logs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(cluster.logs().contains("lives, but no ring can be formed with it"));
    // The cure that was named.
    cluster.signal("n2", Signal::SIGKILL);
    cluster.daemons.get_mut("n2").expect("a daemon").wait().await.expect("it ended");
    cluster.until("n1 goes on alone once nothing is heard", || cluster.status("n1").filter(|s| s.quorate)).await;
    std::fs::remove_file(&key).expect("removed");
    cluster.start_node("n2");
    cluster.wait_for_ring(&["n1", "n2"]).await;
    let cured = |s: &NodeStatus| s.warnings.iter().all(|w| !w.contains("lives"));
    cluster.until("nothing is left of the warning", || cluster.status("n1").filter(cured)).await;
}
