//! What keeps nodes apart is named at once, on every side and in every status: other keys, taken numbers, a missing quorum.

use crate::fixture::{Cluster, corosync_conf};
use crate::root::root;

fn write_key(cluster: &Cluster, file: &str, byte: u8) {
    let path = cluster.path(file);
    std::fs::write(&path, [byte; 256]).expect("written");
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(path, owner_only).expect("set");
}

/// Until `crm_mon -1` on the node has a line under its warnings with all these words.
async fn warned(cluster: &Cluster, node: &str, words: &[&str]) {
    let what = format!("{node} warns of {words:?}");
    cluster
        .until(&what, || {
            let (_, shown, _) = cluster.command(node, &["crm_mon", "-1"]);
            let (_, warnings) = shown.split_once("\nWarnings:\n")?;
            warnings.lines().any(|line| words.iter().all(|w| line.contains(w))).then_some(())
        })
        .await;
}

fn log(cluster: &Cluster, node: &str) -> String {
    std::fs::read_to_string(cluster.path(&format!("{node}.log"))).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_with_another_key_is_named_by_both_sides() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&["n1", "n2"]).await;
    cluster.kill("n2").await;
    write_key(&cluster, "n2.authkey", 9);
    cluster.start_node("n2");
    let words = ["lives, but no ring can be formed with it", "authkey"];
    for (node, other) in [("n2", "n1"), ("n1", "n2")] {
        warned(&cluster, node, &[words[0], words[1], &format!("node {other} ")]).await;
        let named = format!("ERROR node {other} {}", words[0]);
        cluster.until("it stands in the log", || log(&cluster, node).contains(&named).then_some(())).await;
        let (code, line, _) = cluster.command(node, &["crm_mon", "-s"]);
        assert!(code != 0 && line.starts_with("CLUSTER WARN: ") && line.contains(words[0]), "{line}");
        let (_, xml, _) = cluster.command(node, &["crm_mon", "-1", "--output-as=xml"]);
        assert!(xml.contains("<error>warning: ") && xml.contains("authkey"), "{xml}");
        let (_, json, _) = cluster.command(node, &["crm_mon", "-1", "--output-as=json"]);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let texts = json["warnings"].as_array().expect("a list").iter().filter_map(|w| w["text"].as_str());
        assert!(texts.into_iter().any(|t| t.contains("authkey")), "{json}");
    }
    for node in ["n1", "n2"] {
        assert!(!log(&cluster, node).contains("WARN node n1 is online"), "no news is bad news here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_for_all_says_so() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1", "n2"]).await;
    let text = corosync_conf(&["n1", "n2"]).replace("corosync_votequorum\n", "corosync_votequorum\n    two_node: 1\n");
    std::fs::write(cluster.path("corosync.conf"), text).expect("written");
    cluster.start_node("n1");
    warned(&cluster, "n1", &["no quorum: ", "wait_for_all", "n2 is missing"]).await;
    cluster.start_node("n2");
    cluster.wait_for_ring(&["n1", "n2"]).await;
    cluster
        .until("nothing is missing", || {
            let (_, line, _) = cluster.command("n1", &["crm_mon", "-s"]);
            (!line.contains("no quorum")).then_some(())
        })
        .await;
}

/// Its packets go to the others alone: the node whose number it is learns of it from them.
#[tokio::test(flavor = "multi_thread")]
async fn a_taken_number_is_named_by_every_node() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1", "n2", "n3"]).await;
    let two = corosync_conf(&["n1", "n2"]);
    std::fs::write(cluster.path("corosync.conf"), &two).expect("written");
    cluster.start_node("n1");
    cluster.start_node("n2");
    cluster.wait_for_ring(&["n1", "n2"]).await;
    std::fs::write(cluster.path("corosync.conf"), two.replace("10.77.0.2", "10.77.0.3")).expect("written");
    cluster.node_words.insert("n3", vec!["--node".to_owned(), "n2".to_owned()]);
    cluster.start_node("n3");
    for node in ["n1", "n2"] {
        warned(&cluster, node, &["host 10.77.0.3 calls itself node 2", "which is n2"]).await;
        assert!(log(&cluster, node).contains("ERROR host 10.77.0.3 calls itself node 2"));
    }
    warned(&cluster, "n3", &["node n1 lives", "it refuses this node"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_the_address_of_its_node_is_not_started() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1", "n2", "n3"]).await;
    std::fs::write(cluster.path("corosync.conf"), corosync_conf(&["n1", "n2"])).expect("written");
    cluster.node_words.insert("n3", vec!["--node".to_owned(), "n2".to_owned()]);
    cluster.start_node("n3");
    let ended = cluster.daemons.get_mut("n3").expect("a daemon").wait().await.expect("it ended");
    assert_eq!(ended.code(), Some(1), "a service manager tries again");
    let log = log(&cluster, "n3");
    let said =
        "10.77.0.2 of node n2 is not an address of this host, which is that node by --node n2; its addresses are ";
    assert!(log.contains(said) && log.contains("10.77.0.3") && !log.contains("runs"), "{log}");
}
