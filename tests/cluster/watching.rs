//! `bascule events` and `bascule top` on real nodes.

use crate::fixture::{BASCULE, Cluster};
use crate::root::root;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_as_it_happens() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&["n1", "n2", "n3"]).await;
    let run_dir = cluster.run_dir("n1");
    let command = |words: &[&str]| {
        let mut command = Command::new(BASCULE);
        command.env("BASCULE_RUN_DIR", &run_dir).args(words);
        command
    };
    let past = command(&["events", "--json", "--past", "--once"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&past.stdout).into_owned();
    let kinds: Vec<String> = text
        .lines()
        .map(|l| {
            serde_json::from_str::<serde_json::Value>(l).expect("JSON")["kind"].as_str().expect("a kind").to_owned()
        })
        .collect();
    assert!(
        past.status.success() && kinds.iter().any(|k| k == "ring") && !kinds.iter().any(|k| k == "schedule"),
        "{text}"
    );

    let mut follow = command(&["events", "--json"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let heard = Arc::new(Mutex::new(Vec::<serde_json::Value>::new()));
    let (to, from) = (heard.clone(), BufReader::new(follow.stdout.take().expect("a pipe")));
    let reader = std::thread::spawn(move || {
        for line in from.lines().map_while(Result::ok) {
            to.lock().expect("no panic").push(serde_json::from_str(&line).expect("JSON"));
        }
    });
    let until = command(&["events", "--kind", "ring", "--count", "1"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let top = command(&["top", "--once"]).output().expect("it runs");
    let text = String::from_utf8_lossy(&top.stdout).into_owned();
    for part in ["quorate", "3 of 3 votes", "NODES", "n3", "online"] {
        assert!(top.status.success() && text.contains(part), "{part}: {text}");
    }

    cluster.signal("n3", Signal::SIGKILL);
    cluster.daemons.get_mut("n3").expect("a daemon").wait().await.expect("it ended");
    let has = |kind: &str| heard.lock().expect("no panic").iter().any(|e| e["kind"] == kind && e["node"] == "n1");
    cluster.until("the loss is told", || (has("ring") && has("link_down")).then_some(())).await;
    let ended =
        tokio::task::spawn_blocking(move || until.wait_with_output()).await.expect("no panic").expect("it ends");
    assert!(ended.status.success() && ended.stdout.iter().filter(|b| **b == b'\n').count() == 1, "{ended:?}");
    let told = || {
        let text = String::from_utf8_lossy(&command(&["top", "--once"]).output().expect("it runs").stdout).into_owned();
        (text.contains("2 of 3 votes")
            && text.contains("offline") | text.contains("UNCLEAN")
            && text.contains("HAPPENED"))
        .then_some(())
    };
    cluster.until("top shows it", told).await;

    // Whoever follows is told that the node is gone, and goes on when it is back.
    cluster.signal("n1", Signal::SIGKILL);
    cluster.daemons.get_mut("n1").expect("a daemon").wait().await.expect("it ended");
    cluster.until("the node is gone", || has("node_gone").then_some(())).await;
    let none = command(&["top", "--once"]).output().expect("it runs");
    assert_eq!(none.status.code(), Some(102), "{none:?}");
    cluster.start_node("n1");
    cluster.until("it is back", || has("node_back").then_some(())).await;
    follow.kill().expect("killed");
    follow.wait().expect("it ended");
    reader.join().expect("no panic");
}
