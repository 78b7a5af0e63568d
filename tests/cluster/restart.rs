//! A daemon that is killed and started again on the same boot: it must not believe itself alone before it has heard the
//! other one, and nothing of its former life tells it that it may.

use crate::fixture::{Cluster, corosync_conf};
use crate::root::root;
use nix::sys::signal::Signal;

const NODES: [&str; 2] = ["n1", "n2"];
const ROUNDS: usize = 3;
/// Longer than a starting node listens for the other one.
const LISTENED: std::time::Duration = std::time::Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_node_of_two_is_never_quorate_alone() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&NODES).await;
    let two = corosync_conf(&NODES).replace("corosync_votequorum\n", "corosync_votequorum\n    two_node: 1\n");
    assert!(two.contains("two_node"));
    std::fs::write(cluster.path("corosync.conf"), two).expect("written");
    NODES.iter().for_each(|name| cluster.start_node(name));
    cluster.wait_for_ring(&NODES).await;
    for round in 0..ROUNDS {
        let again = NODES[round % 2];
        cluster.signal(again, Signal::SIGKILL);
        cluster.daemons.get_mut(again).expect("a daemon").wait().await.expect("it ended");
        cluster.start_node(again);
        cluster.wait_for_ring(&NODES).await;
        let rings: Vec<String> =
            cluster.timeline(again).events.into_iter().filter(|e| e.kind == "ring").map(|e| e.text).collect();
        let alone = rings.iter().any(|text| text.starts_with(&format!("members {again},")));
        println!("round {round}: {again} restarted: {rings:?}");
        assert!(
            !alone,
            "{again} formed a ring of its own although the other node lives: {rings:?}\n{}",
            cluster.logs()
        );
    }
    // Really alone, it waits: the other one may have gone on without it, and only an operator knows.
    for name in NODES {
        cluster.kill(name).await;
    }
    cluster.start_node("n1");
    cluster.until("n1 has a ring of its own", || (cluster.status("n1")?.members.len() == 1).then_some(())).await;
    tokio::time::sleep(LISTENED).await;
    assert!(!cluster.status("n1").expect("an answer").quorate, "wait_for_all starts anew\n{}", cluster.logs());
}

/// Both nodes of two are killed and started again with the link cut: with `wait_for_all`, which `two_node` implies, neither
/// acts; where it is switched off, each listens, and then acts alone, as the original does.
#[tokio::test(flavor = "multi_thread")]
async fn two_restarted_nodes_without_a_link_are_not_quorate_alone() {
    let Some(()) = root() else { return };
    for (words, alone) in [("two_node: 1", false), ("two_node: 1\n    wait_for_all: 0", true)] {
        let mut cluster = Cluster::prepare(&NODES).await;
        let conf =
            corosync_conf(&NODES).replace("corosync_votequorum\n", &format!("corosync_votequorum\n    {words}\n"));
        std::fs::write(cluster.path("corosync.conf"), conf).expect("written");
        NODES.iter().for_each(|name| cluster.start_node(name));
        cluster.wait_for_ring(&NODES).await;
        cluster.lab.unplug("n2").await.expect("unplugged");
        for name in NODES {
            cluster.kill(name).await;
            cluster.start_node(name);
        }
        for name in NODES {
            cluster.until("a ring of its own", || (cluster.status(name)?.members.len() == 1).then_some(())).await;
        }
        if alone {
            for name in NODES {
                cluster.until("quorate alone", || cluster.status(name)?.quorate.then_some(())).await;
            }
            continue;
        }
        tokio::time::sleep(LISTENED).await;
        for name in NODES {
            assert!(!cluster.status(name).expect("an answer").quorate, "{name} is quorate alone\n{}", cluster.logs());
        }
        cluster.lab.plug("n2").await.expect("plugged");
        cluster.wait_for_ring(&NODES).await;
        for name in NODES {
            cluster.until("quorate together", || cluster.status(name)?.quorate.then_some(())).await;
        }
    }
}
