//! A daemon that is killed and started again on the same boot: it knows that all nodes were seen, and must not believe
//! itself alone before it has heard the other one.

use crate::fixture::{Cluster, corosync_conf};
use crate::root::root;
use nix::sys::signal::Signal;

const NODES: [&str; 2] = ["n1", "n2"];
const ROUNDS: usize = 3;

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
    // Really alone, it goes on: it listens for a while, and then it is quorate as `two_node` says.
    for name in NODES {
        cluster.signal(name, Signal::SIGKILL);
        cluster.daemons.get_mut(name).expect("a daemon").wait().await.expect("it ended");
    }
    cluster.start_node("n1");
    cluster.until("n1 is quorate alone", || cluster.status("n1")?.quorate.then_some(())).await;
    let kinds: Vec<String> = cluster.timeline("n1").events.into_iter().map(|e| e.kind).collect();
    assert!(kinds.iter().any(|k| k == "quorum"), "it listened first: {kinds:?}");
}
