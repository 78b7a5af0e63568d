//! Programs that say whether a node is of use: each mode, with either maker's arbitrator and either maker's client.

use super::originals::Original;
use super::*;

/// The device with a program that passes where this node has a file of its name.
fn checked(cluster: &Cluster, mode: &str) -> String {
    let device = device("ffsplit", "            tls: off\n");
    let heuristics = format!(
        "        heuristics {{\n            mode: {mode}\n            interval: 2000\n            timeout: 1000\n            exec_gate: {}\n        }}\n",
        cluster.path("gate").display()
    );
    let (head, tail) = device.rsplit_once("    }\n").expect("a section");
    format!("{head}{heuristics}    }}\n{tail}")
}

/// The nodes share this host's files, so the program looks which of them it runs on.
fn gate(cluster: &Cluster) {
    let dir = cluster.path("pass").display().to_string();
    std::fs::create_dir_all(&dir).expect("a directory");
    let script = format!(
        "#!/bin/sh\nfor n in 1 2; do\n    ip -o addr show | grep -q \" 10.77.0.$n/\" && exec test -e {dir}/$n\ndone\nexit 9\n"
    );
    let file = cluster.path("gate");
    std::fs::write(&file, script).expect("written");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
}

fn passes(cluster: &Cluster, nodes: &[u8]) {
    for n in [1, 2] {
        let file = cluster.path("pass").join(n.to_string());
        if nodes.contains(&n) {
            std::fs::write(file, "").expect("written");
        } else {
            let _ = std::fs::remove_file(file);
        }
    }
}

async fn all_together(cluster: &Cluster, arbiter: &Arbiter) {
    cluster.lab.plug("n1").await.expect("healed");
    for node in PAIR {
        until(cluster, arbiter, node, 3, true).await;
    }
}

/// The ring is cut: who has the vote then, and who not.
async fn cut(cluster: &Cluster, arbiter: &Arbiter, wins: &str, loses: &str) {
    cluster.lab.unplug("n1").await.expect("cut");
    until(cluster, arbiter, wins, 2, true).await;
    until(cluster, arbiter, loses, 1, false).await;
}

async fn told(cluster: &Cluster, node: &str, regular: &str) {
    cluster
        .until(&format!("{node}: regular heuristics {regular}"), || {
            (quorum(cluster, node)?.device?.heuristics_regular == regular).then_some(())
        })
        .await;
}

async fn every_mode(maker: Maker) {
    let mut cluster = cables(&PAIR, "").await;
    gate(&cluster);
    let write = |cluster: &Cluster, mode: &str| {
        let text = conf(&PAIR, 1, "", &checked(cluster, mode));
        std::fs::write(cluster.path("corosync.conf"), text).expect("written");
    };
    write(&cluster, "on");
    passes(&cluster, &[1, 2]);
    let mut arbiter = Arbiter::new(maker, &cluster);
    arbiter.start(&cluster);
    start(&mut cluster, &PAIR).await;
    all_together(&cluster, &arbiter).await;
    // On: the arbitrator learns of it while nothing else happens, and the tie breaker (lowest) does not count.
    passes(&cluster, &[2]);
    told(&cluster, "n1", "Fail").await;
    told(&cluster, "n2", "Pass").await;
    cut(&cluster, &arbiter, "n2", "n1").await;
    all_together(&cluster, &arbiter).await;
    // Sync: run with the view itself.
    write(&cluster, "sync");
    assert_eq!(cluster.command("n1", &["corosync-cfgtool", "-R"]).0, 0);
    all_together(&cluster, &arbiter).await;
    passes(&cluster, &[1]);
    cut(&cluster, &arbiter, "n1", "n2").await;
    cluster
        .until("n2 knows what its own programs said in this view", || {
            let device = quorum(&cluster, "n2").and_then(|q| q.device)?;
            let said = (device.heuristics_mode.as_str(), device.heuristics_membership.as_str());
            (said == ("Sync", "Fail")).then_some(())
        })
        .await;
    all_together(&cluster, &arbiter).await;
    // Off: the tie breaker.
    write(&cluster, "off");
    assert_eq!(cluster.command("n1", &["corosync-cfgtool", "-R"]).0, 0);
    all_together(&cluster, &arbiter).await;
    passes(&cluster, &[2]);
    cut(&cluster, &arbiter, "n1", "n2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heuristics_in_every_mode_with_our_arbitrator_and_debians() {
    let Some(()) = root() else { return };
    every_mode(Maker::Ours).await;
    if have(&[QNETD]) {
        every_mode(Maker::Debian).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_qdevice_with_heuristics_and_our_arbitrator() {
    let Some(()) = root() else { return };
    if !have(&["/usr/sbin/corosync", "/usr/sbin/corosync-qdevice"]) {
        return;
    }
    let cluster = cables(&PAIR, "").await;
    gate(&cluster);
    passes(&cluster, &[2]);
    let quorum =
        checked(&cluster, "on").replace("model: net\n", "model: net\n        votes: 1\n        timeout: 2500\n");
    let mut arbiter = Arbiter::new(Maker::Ours, &cluster);
    arbiter.start(&cluster);
    let mut nodes = PAIR.map(|n| Original::start(&cluster, n, &quorum));
    for node in &nodes {
        node.until(&cluster, &arbiter, 2, true).await;
    }
    nodes.iter_mut().for_each(|n| n.qdevice(&cluster));
    for node in &nodes {
        node.until(&cluster, &arbiter, 3, true).await;
    }
    let text = arbiter.tool(&["-l", "-v"]);
    assert!(text.contains("Heuristics:\t\tFail") && text.contains("Heuristics:\t\tPass"), "{text}");
    cluster.lab.unplug("n1").await.expect("cut");
    nodes[1].until(&cluster, &arbiter, 2, true).await;
    nodes[0].until(&cluster, &arbiter, 1, false).await;
}
