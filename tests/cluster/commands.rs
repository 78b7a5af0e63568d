//! What the commands say of a running cluster: all of them the same, and looking changes nothing.

use crate::fixture::{BASCULE, Cluster};
use crate::resources;
use crate::root::root;
use std::path::Path;
use std::process::Output;

/// One command with the node of this directory.
fn run(run_dir: &Path, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(BASCULE);
    command.args(args).env("BASCULE_RUN_DIR", run_dir).env("TZ", "UTC").env_remove("CIB_file");
    command.output().expect("it starts")
}

/// Its output, if it ends well.
fn said(cluster: &Cluster, node: &str, args: &[&str]) -> String {
    let done = run(&cluster.run_dir(node), args);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{args:?}: {}\n{out}\n{err}\n{}", done.status, cluster.logs());
    out.into_owned()
}

/// The line about a resource.
fn line<'a>(text: &'a str, resource: &str) -> &'a str {
    let found = text.lines().find(|l| l.trim_start().starts_with(&format!("* {resource}\t")));
    found.unwrap_or_else(|| panic!("no {resource} in\n{text}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_agree_about_a_running_cluster() {
    let Some(()) = root() else { return };
    let (cluster, owner) = resources::start().await;
    cluster
        .until("nothing is left to be done", || {
            let text = said(&cluster, "n1", &["crm_simulate", "-LR"]);
            let (_, summary) = text.split_once("Transition Summary:\n")?;
            (summary.trim().is_empty() && text.contains("d2\t(ocf:pacemaker:Dummy):\t Started")).then_some(())
        })
        .await;
    let before = cluster.configuration("n1").expect("a configuration");
    let place = format!("* d1\t(ocf:pacemaker:Dummy):\t Started {owner}");
    for node in ["n1", "n2", "n3"] {
        let simulated = said(&cluster, node, &["crm_simulate", "-L"]);
        assert!(simulated.contains("* Online: [ n1 n2 n3 ]"), "{simulated}");
        assert_eq!(line(&simulated, "d1"), place);
        let shown = said(&cluster, node, &["crm_mon", "-1"]);
        assert!(shown.contains("3 nodes configured") && shown.contains("* Online: [ n1 n2 n3 ]"), "{shown}");
        assert_eq!(line(&shown, "d1"), place);
        let explained = said(&cluster, node, &["explain", "d1"]);
        assert!(explained.lines().any(|l| l.contains(owner)), "{explained}");
        let verified = run(&cluster.run_dir(node), &["crm_verify", "-LV"]);
        let words = String::from_utf8_lossy(&verified.stderr).into_owned();
        assert!(verified.status.success() && words.contains("Configuration valid"), "{words}");
    }
    let dc = cluster.status("n1").and_then(|s| s.dc).expect("a coordinator");
    let xml = xml::parse(&said(&cluster, "n2", &["crm_mon", "-1", "--output-as=xml"])).expect("XML");
    let shown = xml.child("summary").and_then(|s| s.child("current_dc"));
    assert_eq!(shown.and_then(|e| e.id()), Some(dc.0.to_string().as_str()));
    let lost = said(&cluster, owner, &["crm_simulate", "-LS", "-d", owner]);
    let (_, revised) = lost.split_once("Revised Cluster Status:").expect("a simulation");
    assert!(line(revised, "d1").contains("Started") && !line(revised, "d1").ends_with(owner), "{lost}");
    assert_eq!(cluster.configuration("n1").expect("a configuration"), before);
    assert_eq!(resources::owner(&cluster, &["n1", "n2", "n3"]).await, owner, "asking what if does nothing");
    let alone = run(&cluster.path("nobody"), &["crm_simulate", "-L"]);
    assert_eq!(alone.status.code(), Some(102), "{alone:?}");
}

/// What would take running resources away, or was said of other nodes, is refused with its reason, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn destructive_commands_ask_first_and_all_means_all() {
    let Some(()) = root() else { return };
    let (cluster, _) = resources::start().await;
    // Monitors report meanwhile, which counts updates of the status.
    let configured = || {
        let (text, (admin_epoch, epoch, _)) = cluster.configuration("n1").expect("a configuration");
        (text, admin_epoch, epoch)
    };
    let refused = |args: &[&str], why: &str| {
        let before = configured();
        let done = run(&cluster.run_dir("n1"), args);
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && text.contains(why), "{args:?}: {text}");
        assert_eq!(configured(), before, "{args:?}");
    };
    let empty = cluster.path("empty.crm");
    std::fs::write(&empty, "\n").expect("writable");
    let empty = empty.display().to_string();
    refused(&["crm", "configure", "erase"], "d1 (on n");
    refused(&["crm", "configure", "load", "replace", &empty], "d1 (on n");
    refused(&["crm", "configure", "delete", "d1"], "d1 (on n");
    refused(&["crm", "configure", "rename", "d1", "d9"], "d1 (on n");
    refused(&["crm", "configure", "erase", "now"], "do not fit");
    refused(&["crm", "node", "delete", "N2"], "is a member");
    refused(&["pcs", "cluster", "stop", "--all"], "on n3: pcs cluster stop");
    refused(&["pcs", "cluster", "stop", "n1", "n2"], "on n2: pcs cluster stop");
    let help = run(&cluster.run_dir("n1"), &["crm", "configure", "erase", "--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("configure erase"), "{help:?}");
    said(&cluster, "n1", &["pcs", "node", "standby", "--all", "--wait=60"]);
    let text = said(&cluster, "n2", &["pcs", "status", "nodes"]);
    assert!(text.contains(" Standby: n1 n2 n3\n"), "{text}");
    said(&cluster, "n2", &["pcs", "node", "unstandby", "N1", "n2", "n3"]);
    let text = said(&cluster, "n2", &["pcs", "status", "nodes"]);
    assert!(text.contains(" Online: n1 n2 n3\n"), "{text}");
    cluster
        .until("d1 runs again", || said(&cluster, "n1", &["crm_mon", "-1"]).contains("Started n").then_some(()))
        .await;
    said(&cluster, "n1", &["crm", "configure", "delete", "--force", "d1"]);
    said(&cluster, "n1", &["crm", "-F", "configure", "erase"]);
    let left = said(&cluster, "n1", &["cibadmin", "-Q", "-o", "resources"]);
    assert!(!left.contains("primitive"), "{left}");
}
