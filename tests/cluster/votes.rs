//! The rules of votequorum on real nodes, and votes that an operator changes at run time.

use crate::fixture::Cluster;
use crate::links::conf;
use crate::root::root;
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use wire::api::QuorumStatus;

const FOUR: [&str; 4] = ["n1", "n2", "n3", "n4"];

async fn start(nodes: &[&'static str], quorum: &str) -> Cluster {
    let mut cluster = Cluster::prepare(nodes).await;
    std::fs::write(cluster.path("corosync.conf"), conf(nodes, 1, "", quorum)).expect("written");
    nodes.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(nodes).await;
    cluster
}

fn quorum(cluster: &Cluster, node: &str) -> Option<QuorumStatus> {
    crate::fixture::get(&cluster.run_dir(node), "quorum")
}

/// Expected votes, votes that are here, votes that are needed; whether that is quorum.
async fn until(cluster: &Cluster, node: &str, numbers: (u32, u32, u32), quorate: bool) {
    let what = format!("{numbers:?} on {node}, quorate {quorate}");
    cluster
        .until(&what, || {
            let q = quorum(cluster, node)?;
            ((q.expected_votes, q.total_votes, q.quorum) == numbers && q.quorate == quorate).then_some(())
        })
        .await;
}

/// A planned stop.
async fn stop(cluster: &mut Cluster, node: &'static str) {
    cluster.signal(node, Signal::SIGTERM);
    cluster.daemons.get_mut(node).expect("a daemon").wait().await.expect("it ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_changes_votes_on_all_nodes_and_the_tool_speaks_as_the_original() {
    let Some(()) = root() else { return };
    let mut cluster = start(&FOUR[..3], "").await;
    let tool = |cluster: &Cluster, node: &str, words: &[&str]| {
        let words: Vec<&str> = std::iter::once("corosync-quorumtool").chain(words.iter().copied()).collect();
        cluster.command(node, &words)
    };
    until(&cluster, "n1", (3, 3, 2), true).await;
    assert_eq!(tool(&cluster, "n2", &["-v", "2", "-n", "3"]), (0, String::new(), String::new()));
    for node in &FOUR[..3] {
        until(&cluster, node, (4, 4, 3), true).await;
    }
    let (code, text, _) = tool(&cluster, "n1", &["-l", "-H"]);
    let mut expected = String::from("\nMembership information\n----------------------\n    Nodeid      Votes Name\n");
    for (id, votes) in [(1, 1), (2, 1), (3, 2)] {
        let local = if id == 1 { " (local)" } else { "" };
        let _ = writeln!(expected, "0x{id:08x}          {votes} n{id}{local}");
    }
    assert_eq!((code, text), (0, expected));
    let (code, text, _) = tool(&cluster, "n1", &["-p", "-l", "-i"]);
    assert!(
        code == 0
            && text.contains(
                "    Nodeid      Votes    Qdevice Name\n         1          1         NR 10.77.0.1 (local)\n"
            ),
        "{text}"
    );
    for (words, said) in [
        (&["-e", "0"][..], "New expected votes value was not valid, try a positive number"),
        (&["-e", "3"], "Unable to set expected votes: CS_ERR_INVALID_PARAM"),
        (&["-v", "x"], "New votes value was not valid, try a positive number or zero"),
        (&["-v", "1", "-n", "9"], "Unable to set votes 1 for nodeid: 9: CS_ERR_NAME_NOT_FOUND"),
        (&["-n", "0"], "The nodeid was not valid, try a positive number"),
    ] {
        let (code, _, errors) = tool(&cluster, "n1", words);
        assert!(code == 1 && errors.contains(said), "{words:?}: {errors}");
    }
    assert!(tool(&cluster, "n1", &["-V"]).1.starts_with("corosync-quorumtool version: "));
    // Two die: the one that is left has no quorum until the operator says so; whoever comes back learns of it.
    cluster.kill("n2").await;
    cluster.kill("n3").await;
    until(&cluster, "n1", (4, 1, 3), false).await;
    assert_eq!(tool(&cluster, "n1", &["-s"]).0, 2);
    assert_eq!(tool(&cluster, "n1", &["-e", "1"]).0, 0);
    until(&cluster, "n1", (1, 1, 1), true).await;
    cluster.start_node("n3");
    cluster.wait_for_ring(&["n1", "n3"]).await;
    for node in ["n1", "n3"] {
        until(&cluster, node, (3, 3, 2), true).await;
    }
    // The file counts again.
    let (code, _, errors) = cluster.command("n1", &["corosync-cfgtool", "-R"]);
    assert_eq!(code, 0, "{errors}");
    for node in ["n1", "n3"] {
        until(&cluster, node, (3, 2, 2), true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_man_stands_and_who_comes_back_counts() {
    let Some(()) = root() else { return };
    let rules = "    last_man_standing: 1\n    last_man_standing_window: 500\n    auto_tie_breaker: 1\n";
    let mut cluster = start(&FOUR, rules).await;
    until(&cluster, "n1", (4, 4, 3), true).await;
    for (gone, left) in [("n4", 3), ("n3", 2), ("n2", 1)] {
        cluster.kill(gone).await;
        until(&cluster, "n1", (left, left, left / 2 + 1), true).await;
    }
    let flags = quorum(&cluster, "n1").expect("an answer").flags;
    assert_eq!(flags, ["Quorate", "LastManStanding", "AutoTieBreaker"]);
    for node in ["n2", "n3"] {
        cluster.start_node(node);
    }
    cluster.wait_for_ring(&FOUR[..3]).await;
    for node in &FOUR[..3] {
        until(&cluster, node, (3, 3, 2), true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_good_order_is_not_expected_and_the_highest_number_outlives_a_restart() {
    let Some(()) = root() else { return };
    let mut cluster = start(&FOUR, "    expected_votes: 2\n    allow_downscale: 1\n").await;
    until(&cluster, "n1", (4, 4, 3), true).await;
    stop(&mut cluster, "n4").await;
    until(&cluster, "n1", (3, 3, 2), true).await;
    cluster.kill("n3").await;
    until(&cluster, "n1", (3, 2, 2), true).await;
    stop(&mut cluster, "n2").await;
    until(&cluster, "n1", (2, 1, 2), false).await;
    cluster.kill("n1").await;
    cluster.start_node("n1");
    cluster.start_node("n2");
    cluster.wait_for_ring(&["n1", "n2"]).await;
    until(&cluster, "n1", (4, 2, 3), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_all_is_ended_by_the_operator() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&FOUR[..2]).await;
    std::fs::write(cluster.path("corosync.conf"), conf(&FOUR[..2], 1, "", "    two_node: 1\n")).expect("written");
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    until(&cluster, "n1", (2, 1, 1), false).await;
    let status = |cluster: &Cluster| {
        cluster.command("n1", &["corosync-cmapctl", "-g", "runtime.votequorum.wait_for_all_status"]).1
    };
    assert_eq!(status(&cluster), "runtime.votequorum.wait_for_all_status (u8) = 1\n");
    let (code, _, errors) = cluster.command("n1", &["corosync-cmapctl", "-s", "quorum.cancel_wait_for_all", "u8", "1"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    until(&cluster, "n1", (2, 1, 1), true).await;
    assert_eq!(status(&cluster), "runtime.votequorum.wait_for_all_status (u8) = 0\n");
    let (code, _, errors) = cluster.command("n1", &["corosync-cmapctl", "-s", "totem.token", "u32", "500"]);
    assert!(code == 1 && errors.contains("corosync-cfgtool -R"), "{errors}");
}
