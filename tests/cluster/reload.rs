//! `corosync-cfgtool -R`: on all nodes or on none; each key with its meaning; links, nodes and keys that change under load.

use crate::fixture::Cluster;
use crate::links::{Load, cabled, conf};
use crate::root::root;
use nix::sys::signal::Signal;
use std::time::Duration;

const NODES: [&str; 2] = ["n1", "n2"];

fn write(cluster: &Cluster, text: &str) {
    std::fs::write(cluster.path("corosync.conf"), text).expect("written");
}

fn reload(cluster: &Cluster, node: &str) -> (i32, String, String) {
    cluster.command(node, &["corosync-cfgtool", "-R"])
}

fn refused(cluster: &Cluster, node: &str, words: &[&str]) {
    let (code, out, errors) = reload(cluster, node);
    assert_eq!((code, out.as_str()), (7, "Reloading corosync.conf...\n"), "{errors}");
    assert!(errors.contains("Could not reload configuration. Error CS_ERR_INVALID_PARAM"), "{errors}");
    assert!(words.iter().all(|w| errors.contains(w)), "{errors}: expected {words:?}");
    for node in NODES {
        assert_eq!(cmap(cluster, node, "totem.token"), None, "changed on {node}");
    }
}

fn cmap(cluster: &Cluster, node: &str, key: &str) -> Option<String> {
    let (code, text, _) = cluster.command(node, &["corosync-cmapctl", "-g", key]);
    (code == 0).then(|| text.split_once(" = ").map(|(_, v)| v.trim().to_owned()))?
}

fn warnings(cluster: &Cluster, node: &str) -> Vec<String> {
    cluster.status(node).expect("the node answers").warnings
}

fn write_key(cluster: &Cluster, file: &str, byte: u8) {
    let path = cluster.path(file);
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, [byte; 256]).expect("written");
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(path, owner_only).expect("set");
}

/// Where a line goes, its key and a value that differs from the default.
const TAKEN_OVER: &[(&str, &str)] = &[
    ("totem", "config_version: 7"),
    ("totem", "crypto_model: openssl"),
    ("totem", "crypto_cipher: aes128"),
    ("totem", "link_mode: rr"),
    ("totem", "token: 5000"),
    ("totem", "token_coefficient: 100"),
    ("totem", "token_warning: 50"),
    ("totem", "token_retransmit: 100"),
    ("totem", "token_retransmits_before_loss_const: 8"),
    ("totem", "hold: 100"),
    ("totem", "join: 60"),
    ("totem", "send_join: 10"),
    ("totem", "consensus: 9000"),
    ("totem", "merge: 300"),
    ("totem", "downcheck: 2000"),
    ("totem", "fail_recv_const: 3000"),
    ("totem", "seqno_unchanged_const: 40"),
    ("totem", "heartbeat_failures_allowed: 2"),
    ("totem", "max_network_delay: 60"),
    ("totem", "window_size: 300"),
    ("totem", "max_messages: 20"),
    ("totem", "miss_count_const: 6"),
    ("totem", "knet_pmtud_interval: 20"),
    ("totem", "knet_mtu: 1200"),
    ("totem", "knet_compression_threshold: 100"),
    ("totem", "block_unlisted_ips: no"),
    ("totem", "cancel_token_hold_on_retransmit: yes"),
    ("interface", "knet_link_priority: 5"),
    ("interface", "knet_ping_interval: 100"),
    ("interface", "knet_ping_timeout: 400"),
    ("interface", "knet_ping_precision: 100"),
    ("interface", "knet_pong_count: 3"),
    ("quorum", "expected_votes: 3"),
    ("quorum", "two_node: 1"),
];

const WAITING: &[(&str, &str)] = &[
    ("totem", "cluster_name: other"),
    ("totem", "transport: knet"),
    ("totem", "secauth: on"),
    ("totem", "netmtu: 1400"),
    ("totem", "ip_version: ipv4"),
    ("totem", "ip_dscp: 10"),
    ("totem", "clear_node_high_bit: yes"),
    ("quorum", "wait_for_all: 1"),
    ("quorum", "last_man_standing: 1"),
    ("quorum", "last_man_standing_window: 20000"),
    ("quorum", "auto_tie_breaker: 1"),
    ("quorum", "auto_tie_breaker_node: highest"),
    ("quorum", "allow_downscale: 1"),
    ("quorum", "expected_votes_tracking: 1"),
    ("system", "sched_rr: no"),
    ("system", "state_dir: /tmp/elsewhere"),
    ("resources", "watchdog_timeout: 9"),
];

/// Lines whose effect the ring itself shows: the key and what it then is.
const EFFECTS: &[(&str, &str, &str)] = &[
    ("token: 5000", "token", "5000"),
    ("token_retransmit: 100", "token_retransmit", "100"),
    ("hold: 100", "hold", "100"),
    ("join: 60", "join", "60"),
    ("window_size: 300", "window_size", "300"),
    ("max_messages: 20", "max_messages", "20"),
    ("block_unlisted_ips: no", "block_unlisted_ips", "0"),
    ("knet_ping_interval: 100", "interface.1.knet_ping_interval", "100"),
    ("knet_ping_timeout: 400", "interface.1.knet_ping_timeout", "400"),
    ("knet_pong_count: 3", "interface.1.knet_pong_count", "3"),
];

/// A file with the one line in its place.
fn with(place: &str, line: &str) -> String {
    match place {
        "totem" => conf(&NODES, 2, &format!("    {line}\n"), ""),
        "interface" => {
            conf(&NODES, 2, &format!("    interface {{\n        linknumber: 1\n        {line}\n    }}\n"), "")
        }
        "quorum" => conf(&NODES, 2, "", &format!("    {line}\n")),
        section => format!("{}{section} {{\n    {line}\n}}\n", conf(&NODES, 2, "", "")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_taken_over_or_waits_for_a_restart_and_says_so() {
    let Some(()) = root() else { return };
    let plain = conf(&NODES, 2, "", "");
    let cluster = cabled(&NODES, 2, "", "").await;
    let load = Load::start(&cluster, &NODES);
    let view = cluster.status("n1").expect("an answer").view;
    for (place, line) in TAKEN_OVER {
        let (key, value) = line.split_once(": ").expect("a key and a value");
        let prefix = if *place == "interface" { "totem.interface.1" } else { place };
        let name = format!("{prefix}.{key}");
        write(&cluster, &with(place, line));
        assert_eq!(reload(&cluster, "n1"), (0, "Reloading corosync.conf...\nDone\n".into(), String::new()), "{line}");
        // The others apply it at the same place of the order, which they may reach a moment later.
        for node in NODES {
            let what = format!("{line} on {node}");
            cluster.until(&what, || (cmap(&cluster, node, &name).as_deref() == Some(value)).then_some(())).await;
            assert!(!warnings(&cluster, node).iter().any(|w| w.contains("restart")), "{line}");
            if let Some((_, key, effect)) = EFFECTS.iter().find(|(l, _, _)| l == line) {
                let shown = cmap(&cluster, node, &format!("runtime.config.totem.{key}"));
                assert_eq!(shown.as_deref(), Some(*effect), "{line} on {node}");
            }
        }
    }
    for (place, line) in WAITING {
        let (key, value) = line.split_once(": ").expect("a key and a value");
        let name = format!("{place}.{key}");
        write(&cluster, &with(place, line));
        let (code, _, errors) = reload(&cluster, "n2");
        assert_eq!((code, errors.as_str()), (0, ""), "{line}");
        for node in NODES {
            let waits = |w: &String| w.contains("waits for a restart") && w.contains(&name);
            let what = format!("{node} says that {line} waits");
            cluster.until(&what, || warnings(&cluster, node).iter().any(waits).then_some(())).await;
            assert_ne!(cmap(&cluster, node, &name).as_deref(), Some(value), "{line}");
        }
    }
    write(&cluster, &plain);
    assert_eq!(reload(&cluster, "n1").0, 0);
    for node in NODES {
        let calm = || !warnings(&cluster, node).iter().any(|w| w.contains("restart") || w.contains("reload"));
        cluster.until("nothing waits any more", || calm().then_some(())).await;
    }
    let written = load.verify(&cluster, &NODES).await;
    println!("{} reloads under {written} writes", TAKEN_OVER.len() + WAITING.len() + 1);
    assert_eq!(cluster.status("n1").expect("an answer").view, view, "no view came\n{}", cluster.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_one_node_refuses_changes_nothing_anywhere() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.lab.add_network(1).await.expect("cables");
    write(&cluster, &conf(&NODES, 2, "", ""));
    // Each node has its own file, as on real hosts.
    let own = cluster.path("n2.conf");
    std::fs::write(&own, conf(&NODES, 2, "", "")).expect("written");
    cluster.node_words.insert("n2", vec!["--config".into(), own.display().to_string()]);
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    let faster = conf(&NODES, 2, "    token: 900\n", "");
    // Bad where it is asked for; bad elsewhere; of another content elsewhere; not the same key.
    write(&cluster, &conf(&NODES, 2, "    token: 9\n", ""));
    refused(&cluster, "n1", &["n1: ", "corosync.conf:4:12", "token"]);
    write(&cluster, &faster);
    std::fs::write(&own, conf(&NODES, 2, "    token: x\n", "")).expect("written");
    refused(&cluster, "n1", &["n2: ", "n2.conf:4:12", "token"]);
    std::fs::write(&own, conf(&NODES, 2, "    token: 950\n", "")).expect("written");
    refused(&cluster, "n1", &["n2: ", "totem.token is `950` here and `900` on n1", "copy the file"]);
    std::fs::write(&own, &faster).expect("written");
    std::fs::copy(cluster.path("authkey"), cluster.path("n2.authkey")).expect("copied");
    // No link would keep its addresses; a member would be thrown out.
    let moved = faster.replace("10.77.0.", "10.77.9.").replace("fd00:77:1:", "fd00:77:8:");
    write(&cluster, &moved);
    std::fs::write(&own, &moved).expect("written");
    refused(&cluster, "n1", &["n1: "]);
    let alone = conf(&["n1"], 2, "    token: 900\n", "");
    write(&cluster, &alone);
    refused(&cluster, "n1", &["n2", "stop it first"]);
    // A signal asks the same.
    write(&cluster, &faster);
    std::fs::write(&own, "totem {\n").expect("written");
    cluster.signal("n1", Signal::SIGHUP);
    cluster
        .until("both tell of it", || {
            let told = |n: &&str| warnings(&cluster, n).iter().any(|w| w.contains("n2: ") && w.contains("n2.conf:"));
            NODES.iter().all(told).then_some(())
        })
        .await;
    std::fs::write(&own, &faster).expect("written");
    assert_eq!(reload(&cluster, "n2").0, 0);
    for node in NODES {
        let taken = || cmap(&cluster, node, "totem.token").as_deref() == Some("900");
        cluster.until("it is taken over", || taken().then_some(())).await;
        assert!(!warnings(&cluster, node).iter().any(|w| w.contains("reload")));
    }
    let (code, json, _) = cluster.command("n1", &["corosync-cfgtool", "-R", "--json"]);
    assert_eq!((code, json.trim()), (0, "{\n  \"done\": \"reload\"\n}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_nodes_and_the_key_change_under_load() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1", "n2", "n3"]).await;
    for number in [1, 2] {
        cluster.lab.add_network(number).await.expect("cables");
    }
    write(&cluster, &conf(&NODES, 1, "", ""));
    NODES.iter().for_each(|n| cluster.start_node(n));
    cluster.wait_for_ring(&NODES).await;
    let load = Load::start(&cluster, &NODES);
    let view = cluster.status("n1").expect("an answer").view;
    // A cable that was pulled works one way sooner than the other: what the host knew of its neighbours is gone.
    let up = |cluster: &Cluster, number: u8| {
        let hears = |node| Some(cluster.status(node)?.links.iter().any(|l| l.link == number && l.up));
        (hears("n1")? && hears("n2")?).then_some(())
    };
    // Two links more; then the first is moved to other addresses, and alone carries everything.
    for links in [2, 3] {
        write(&cluster, &conf(&NODES, links, "", ""));
        assert_eq!(reload(&cluster, "n1").0, 0, "{}", cluster.logs());
        cluster.until("the new link is up", || up(&cluster, links - 1)).await;
    }
    let moved = conf(&NODES, 3, "", "").replace("ring2_addr: 10.77.2.", "ring2_addr: fd00:77:2::");
    write(&cluster, &moved);
    assert_eq!(reload(&cluster, "n2").0, 0, "{}", cluster.logs());
    cluster.until("the moved link is up", || up(&cluster, 2)).await;
    for number in [0, 1] {
        cluster.lab.unplug_from("n1", number).await.expect("unplugged");
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Nothing works of what would be left.
    write(&cluster, &conf(&NODES, 1, "", ""));
    refused(&cluster, "n1", &["links that keep their addresses (0)", "none works both ways to n"]);
    for number in [0, 1] {
        cluster.lab.plug_into("n1", number).await.expect("plugged");
    }
    for number in [0, 1] {
        cluster.until("it is up again", || up(&cluster, number)).await;
    }
    write(&cluster, &conf(&NODES, 1, "", ""));
    assert_eq!(reload(&cluster, "n1").0, 0, "{}", cluster.logs());
    cluster.until("one link is left", || (cluster.status("n1")?.links.len() == 1).then_some(())).await;
    // Another key, three times.
    for byte in [1, 2, 3] {
        write_key(&cluster, "authkey", byte);
        assert_eq!(reload(&cluster, "n2").0, 0, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(cluster.status("n1").expect("an answer").view, view, "no view came\n{}", cluster.logs());
    // A node more, and one less.
    let all = ["n1", "n2", "n3"];
    write(&cluster, &conf(&all, 1, "", ""));
    assert_eq!(reload(&cluster, "n1").0, 0, "{}", cluster.logs());
    cluster.start_node("n3");
    cluster.wait_for_ring(&all).await;
    assert_eq!(cmap(&cluster, "n1", "runtime.votequorum.expected_votes").as_deref(), Some("3"));
    let (code, text, _) = cluster.command("n1", &["corosync-cfgtool", "-k", "3"]);
    assert_eq!((code, text.as_str()), (0, "Killing node 3\n"));
    cluster.daemons.get_mut("n3").expect("a daemon").wait().await.expect("it ended");
    cluster.wait_for_ring(&NODES).await;
    write(&cluster, &conf(&NODES, 1, "", ""));
    assert_eq!(reload(&cluster, "n1").0, 0, "{}", cluster.logs());
    let expected = || cmap(&cluster, "n2", "runtime.votequorum.expected_votes");
    cluster.until("two are expected", || (expected()? == "2").then_some(())).await;
    assert_eq!(cmap(&cluster, "n2", "nodelist.node.2.name"), None);
    let written = load.verify(&cluster, &NODES).await;
    println!("{written} writes while links, nodes and the key changed");
    let (code, text, _) = cluster.command("n2", &["corosync-cfgtool", "-H"]);
    assert_eq!((code, text.as_str()), (0, "Shutting down corosync\n"));
    assert!(cluster.daemons.get_mut("n2").expect("a daemon").wait().await.expect("it ended").success());
    let (code, _, errors) = cluster.command("n1", &["corosync-cfgtool", "-k", "3"]);
    assert!(code == 1 && errors.contains("Could not kill node (error = CS_ERR_NOT_EXIST)"), "{errors}");
}
