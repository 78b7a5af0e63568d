//! Nodes that die, hang, restart.

use crate::fixture::{self, Cluster, write_resource};
use crate::root::root;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_noticed_at_once_and_comes_back() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    // The coordinator is the hardest one to lose.
    let dc = cluster.status("n1").and_then(|s| s.dc_name).expect("a coordinator");
    let dc = NODES.into_iter().find(|n| *n == dc).expect("one of ours");
    let others: Vec<&str> = NODES.iter().copied().filter(|n| *n != dc).collect();
    cluster.signal(dc, Signal::SIGKILL);
    let killed = Instant::now();
    cluster.daemons.get_mut(dc).expect("a daemon").wait().await.expect("it ended");
    cluster.wait_for_ring(&others).await;
    let took = killed.elapsed();
    println!("ring without {dc} after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(5), "{took:?}");
    let status = cluster.status(others[0]).expect("an answer");
    assert!(status.quorate && status.dc_name.as_deref() != Some(dc));
    let reply = write_resource(&cluster.run_dir(others[0]), "while-away", fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
    cluster.start_node(dc);
    cluster.wait_for_ring(&NODES).await;
    cluster
        .until("the node that came back has what was written", || {
            cluster.configuration(dc)?.0.contains("while-away").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_is_left_behind_and_rejoins() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    cluster.signal("n3", Signal::SIGSTOP);
    cluster.wait_for_ring(&["n1", "n2"]).await;
    let reply = write_resource(&cluster.run_dir("n1"), "meanwhile", fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
    cluster.signal("n3", Signal::SIGCONT);
    cluster.wait_for_ring(&NODES).await;
    cluster
        .until("the stopped node has caught up", || cluster.configuration("n3")?.0.contains("meanwhile").then_some(()))
        .await;
    let stall = cluster.timeline("n3").events.iter().any(|e| e.kind == "local_stall");
    assert!(stall, "the stall is told as its own, not blamed on the peers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_in_good_order() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    cluster.signal("n2", Signal::SIGTERM);
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut("n2").expect("a daemon").wait()).await;
    let status = ended.unwrap_or_else(|_| panic!("it did not leave\n{}", cluster.logs())).expect("it ended");
    assert!(status.success(), "{status:?}\n{}", cluster.logs());
    cluster.wait_for_ring(&["n1", "n3"]).await;
    let left = cluster.timeline("n1").events.iter().any(|e| e.kind == "peer_left" && e.subject == "n2");
    assert!(left, "its leaving is told apart from a death");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lonely_node_has_no_quorum_and_says_so() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    cluster.lab.unplug("n1").await.expect("unplugged");
    cluster.wait_for_ring(&["n1"]).await;
    let status = cluster.status("n1").expect("an answer");
    assert!(!status.quorate);
    assert!(cluster.status("n2").expect("an answer").quorate);
    let reply = write_resource(&cluster.run_dir("n1"), "alone", fixture::PATIENCE).expect("an answer");
    assert_eq!((reply.code, reply.safety), (0, wire::api::Safety::Provisional), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_left_running_only_in_maintenance() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&NODES).await;
    let call = wire::api::ShutdownCall { keep_resources: true };
    let ask = |cluster: &Cluster| {
        fixture::post::<wire::api::Done>(&cluster.run_dir("n2"), "shutdown", &call, fixture::PATIENCE)
    };
    let refused = ask(&cluster).expect("an answer");
    assert!(refused.code != 0 && refused.message.is_some_and(|m| m.contains("maintenance-mode")));
    let property = "<crm_config><cluster_property_set id=\"o\"><nvpair id=\"o-m\" name=\"maintenance-mode\" value=\"true\"/></cluster_property_set></crm_config>";
    let mut change = fixture::cib_call(wire::api::CibOp::Modify, "crm_config", Some(property.to_owned()));
    change.options.allow_create = true;
    let reply: wire::api::CibReply =
        fixture::post(&cluster.run_dir("n1"), "cib", &change, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
    cluster.until("n2 knows", || cluster.configuration("n2")?.0.contains("maintenance-mode").then_some(())).await;
    assert_eq!(ask(&cluster).expect("an answer").code, 0);
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut("n2").expect("a daemon").wait()).await;
    assert!(ended.expect("it leaves").expect("it ended").success());
    cluster.wait_for_ring(&["n1", "n3"]).await;
}
