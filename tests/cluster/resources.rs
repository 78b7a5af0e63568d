//! Resources on real nodes: they move when their node dies, stop without quorum, recover from failures, leave at shutdown.

use crate::fixture::{self, Cluster, cib_call, post};
use crate::root::root;
use nix::sys::signal::Signal;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wire::api::{CibOp, CibReply};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const GROUP: &str = "<group id=\"g\"><primitive id=\"d1\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"><operations>\
    <op id=\"d1-m\" name=\"monitor\" interval=\"1s\"/></operations></primitive>\
    <primitive id=\"d2\" class=\"ocf\" provider=\"pacemaker\" type=\"Dummy\"/></group>";
const NO_FENCING: &str = "<crm_config><cluster_property_set id=\"o\">\
    <nvpair id=\"o-f\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

/// The file by which the native Dummy agent knows that it runs.
fn state_file(cluster: &Cluster, node: &str) -> PathBuf {
    cluster.run_dir(node).join("agents/Dummy-d1.state")
}

fn runs_on(cluster: &Cluster, node: &str) -> bool {
    state_file(cluster, node).exists()
}

pub async fn owner(cluster: &Cluster, among: &[&'static str]) -> &'static str {
    cluster
        .until(&format!("the group runs on exactly one of {among:?}"), || {
            let all: Vec<&'static str> = among.iter().copied().filter(|n| runs_on(cluster, n)).collect();
            (all.len() == 1).then(|| all[0])
        })
        .await
}

pub async fn start() -> (Cluster, &'static str) {
    let cluster = Cluster::start(&NODES).await;
    for (section, xml) in [("crm_config", NO_FENCING), ("resources", GROUP)] {
        let op = if section == "resources" { CibOp::Create } else { CibOp::Modify };
        let mut call = cib_call(op, section, Some(xml.to_owned()));
        call.options.allow_create = true;
        let reply: CibReply = post(&cluster.run_dir("n2"), "cib", &call, fixture::PATIENCE).expect("an answer");
        assert_eq!(reply.code, 0, "{reply:?}");
    }
    let owner = owner(&cluster, &NODES).await;
    (cluster, owner)
}

fn others(node: &str) -> Vec<&'static str> {
    NODES.iter().copied().filter(|n| *n != node).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_moves_when_its_node_is_killed() {
    let Some(()) = root() else { return };
    let (mut cluster, old) = start().await;
    let killed = Instant::now();
    cluster.signal(old, Signal::SIGKILL);
    cluster.daemons.get_mut(old).expect("a daemon").wait().await.expect("it ended");
    let new = owner(&cluster, &others(old)).await;
    println!("{old} killed, {new} runs the group after {} ms", killed.elapsed().as_millis());
    let kinds: Vec<String> = cluster.timeline(new).events.into_iter().map(|e| e.kind).collect();
    for kind in ["ring", "view", "action_start", "action_end", "agent_start", "agent_end"] {
        assert!(kinds.iter().any(|k| k == kind), "the timeline tells of {kind}: {kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_quorum_a_group_stops_and_the_majority_takes_it() {
    let Some(()) = root() else { return };
    let (cluster, old) = start().await;
    cluster.lab.unplug(old).await.expect("unplugged");
    owner(&cluster, &others(old)).await;
    cluster.until("the node without quorum stops the group", || (!runs_on(&cluster, old)).then_some(())).await;
    cluster.lab.plug(old).await.expect("plugged");
    cluster.wait_for_ring(&NODES).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    owner(&cluster, &NODES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_monitor_restarts_and_a_leaving_node_hands_over() {
    let Some(()) = root() else { return };
    let (mut cluster, old) = start().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::remove_file(state_file(&cluster, old)).expect("it ran");
    let again = owner(&cluster, &NODES).await;
    let told = cluster.until("the failure is recorded", || {
        let call = cib_call(CibOp::Query, "status", None);
        let reply: CibReply = post(&cluster.run_dir(again), "cib", &call, fixture::PATIENCE)?;
        reply.xml.filter(|x| x.contains("fail-count-d1")).map(|_| ())
    });
    told.await;
    cluster.signal(again, Signal::SIGTERM);
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut(again).expect("a daemon").wait()).await;
    assert!(ended.expect("it leaves").expect("it ended").success(), "{}", cluster.logs());
    assert!(!runs_on(&cluster, again), "it stopped what it ran before it left");
    owner(&cluster, &others(again)).await;
}
