//! Directors within real nodes: commands reach the right one over its control socket, and what they ask for holds after a take-over.

use crate::fixture::{self, BASCULE, Cluster, cib_call, post};
use crate::root::root;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};
use wire::api::{CibOp, CibReply};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const NO_FENCING: &str = "<crm_config><cluster_property_set id=\"o\">\
    <nvpair id=\"o-f\" name=\"stonith-enabled\" value=\"false\"/></cluster_property_set></crm_config>";

/// Two services in files of one name; their servers count as up unchecked.
fn configure(cluster: &Cluster) -> [PathBuf; 2] {
    ["a", "b"].map(|dir| {
        let file = cluster.path(dir).join("web.cf");
        std::fs::create_dir_all(cluster.path(dir)).expect("made");
        let number = if dir == "a" { 1 } else { 2 };
        let text = format!(
            "virtual=10.77.0.{number}:80\n    real=10.78.{number}.1:80 masq 5\n    real=10.78.{number}.2:80 masq 5\n    \
             real=10.78.{number}.3:80 masq 5\n    checktype=on\n"
        );
        std::fs::write(&file, text).expect("written");
        let xml = format!(
            "<primitive id=\"lvs-{dir}\" class=\"ocf\" provider=\"heartbeat\" type=\"ldirectord\">\
             <instance_attributes id=\"lvs-{dir}-i\"><nvpair id=\"lvs-{dir}-c\" name=\"configfile\" value=\"{}\"/></instance_attributes>\
             <operations><op id=\"lvs-{dir}-m\" name=\"monitor\" interval=\"1s\"/></operations></primitive>",
            file.display()
        );
        let group = format!("<group id=\"g-{dir}\">{xml}</group>");
        write(cluster, CibOp::Create, "resources", group);
        file
    })
}

fn write(cluster: &Cluster, op: CibOp, section: &str, xml: String) {
    let mut call = cib_call(op, section, Some(xml));
    call.options.allow_create = true;
    let reply: CibReply = post(&cluster.run_dir("n2"), "cib", &call, fixture::PATIENCE).expect("an answer");
    assert_eq!(reply.code, 0, "{reply:?}");
}

/// The operator's command on a node's machine.
fn ldirectord(cluster: &Cluster, node: &str, file: &PathBuf, words: &[&str]) -> Output {
    let mut command = Command::new(BASCULE);
    command.env("BASCULE_RUN_DIR", cluster.run_dir(node)).arg("ldirectord").arg("--run-dir").arg(cluster.path("none"));
    command.arg(file).args(words).output().expect("it runs")
}

fn status(cluster: &Cluster, node: &str, file: &PathBuf) -> Option<Value> {
    let output = ldirectord(cluster, node, file, &["status", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).ok()?;
    (value["running"] == true).then_some(value)
}

/// Weights of the three servers as the director wants them, `-1` where it wants no entry.
fn weights(status: &Value) -> Vec<i64> {
    let reals = status["virtuals"][0]["reals"].as_array().expect("reals");
    reals.iter().map(|r| r["weight"].as_i64().unwrap_or(-1)).collect()
}

async fn active(cluster: &Cluster, among: &[&'static str], file: &PathBuf) -> &'static str {
    let is_active = |node: &str| status(cluster, node, file).is_some_and(|s| s["active"] == true);
    cluster
        .until("one director is active", || {
            let all: Vec<&'static str> = among.iter().copied().filter(|n| is_active(n)).collect();
            (all.len() == 1).then(|| all[0])
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_ask_for_by_command_holds_after_a_take_over() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&NODES).await;
    cluster.words = vec!["--data-plane", "relay"];
    NODES.iter().for_each(|name| cluster.start_node(name));
    cluster.wait_for_ring(&NODES).await;
    write(&cluster, CibOp::Modify, "crm_config", NO_FENCING.to_owned());
    let [a, b] = configure(&cluster);
    let old = active(&cluster, &NODES, &a).await;
    active(&cluster, &NODES, &b).await;
    cluster.until("all weights", || (weights(&status(&cluster, old, &a)?) == [5, 5, 5]).then_some(())).await;

    // What a node runs has no pid file: it runs all the same, and is not run a second time beside it.
    let plain = ldirectord(&cluster, old, &a, &["status"]);
    let said = String::from_utf8_lossy(&plain.stderr);
    assert!(plain.status.success() && said.contains("as a resource of the cluster"), "{plain:?}");
    for word in ["start", "stop"] {
        let refused = ldirectord(&cluster, old, &a, &[word]);
        assert!(!refused.status.success() && !refused.stderr.is_empty(), "{word}: {refused:?}");
    }
    let drained = ldirectord(&cluster, old, &a, &["drain", "10.78.1.1", "--deadline", "5", "--json"]);
    let said: Value = serde_json::from_slice(&drained.stdout).expect("JSON");
    assert!(drained.status.success() && said["marked"][0]["changed"] == true && said["left"] == Value::Array(vec![]));
    assert!(ldirectord(&cluster, old, &a, &["maintenance", "10.78.1.2:80", "on"]).status.success());
    for words in [&["real", "weight", "10.78.1.3:80", "9"][..], &["real", "add", "10.78.1.4:80", "masq", "2"]] {
        let done = ldirectord(&cluster, old, &a, words);
        assert!(done.status.success(), "{words:?}: {done:?}");
    }
    let long = ldirectord(&cluster, old, &a, &["status", "--long"]).stdout;
    let long = String::from_utf8_lossy(&long);
    assert!(long.contains("drained") && long.contains("maintenance (command)"), "{long}");
    assert!(!ldirectord(&cluster, old, &b, &["drain", "10.78.1.1"]).status.success(), "another file's server");
    for node in NODES {
        let known = || {
            let found = status(&cluster, node, &a)?;
            let reals = &found["virtuals"][0]["reals"];
            let edits = found["differences"].as_array().map_or(0, Vec::len);
            (reals[0]["drained"] == true && reals[1]["maintenance_by"][0] == "command" && edits == 2).then_some(())
        };
        cluster.until(&format!("{node} knows of all"), known).await;
    }
    let other = status(&cluster, active(&cluster, &NODES, &b).await, &b).expect("it runs");
    assert_eq!(weights(&other), [5, 5, 5], "the other file of this name has nothing to do with it");

    cluster.signal(old, Signal::SIGKILL);
    cluster.daemons.get_mut(old).expect("a daemon").wait().await.expect("it ended");
    let rest: Vec<&'static str> = NODES.iter().copied().filter(|n| *n != old).collect();
    let new = active(&cluster, &rest, &a).await;
    assert_eq!(weights(&status(&cluster, new, &a).expect("it runs")), [0, -1, 9, 2], "from its first table on");

    // Taken back while the first director is away: what its file says does not bring it back.
    assert!(ldirectord(&cluster, new, &a, &["undrain", "10.78.1.1"]).status.success());
    assert!(ldirectord(&cluster, new, &a, &["real", "reset", "10.78.1.3:80"]).status.success());
    assert_eq!(weights(&status(&cluster, new, &a).expect("it runs")), [5, -1, 5, 2]);
    cluster.start_node(old);
    cluster.wait_for_ring(&NODES).await;
    let again = || {
        let found = status(&cluster, old, &a)?;
        let reals = &found["virtuals"][0]["reals"];
        let edits = found["differences"].as_array().map_or(0, Vec::len);
        (reals[0]["drained"] == false && reals[1]["maintenance_by"][0] == "command" && edits == 1).then_some(())
    };
    cluster.until("the first one knows what has changed meanwhile", again).await;
}
