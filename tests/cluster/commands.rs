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
    let before = configured(&cluster);
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
    assert_eq!(configured(&cluster), before);
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
    let configured = || configured(&cluster);
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

/// The output of a command that fails.
fn refused(cluster: &Cluster, args: &[&str]) -> String {
    let done = run(&cluster.run_dir("n1"), args);
    assert!(!done.status.success(), "{args:?} was accepted: {done:?}");
    String::from_utf8_lossy(&done.stderr).into_owned()
}

/// The configuration with its version; what the status adds to that does not count.
fn configured(cluster: &Cluster) -> (String, u64, u64) {
    let (text, (admin_epoch, epoch, _)) = cluster.configuration("n1").expect("a configuration");
    (text, admin_epoch, epoch)
}

/// Parameters are checked as the agents describe themselves, those in the program among them.
#[tokio::test(flavor = "multi_thread")]
async fn agents_in_the_program_are_known_and_their_parameters_are_checked() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&["n1"]).await;
    let ok = |args: &[&str]| said(&cluster, "n1", args);
    ok(&["pcs", "property", "set", "stonith-enabled=false"]);
    for agent in ["ocf:pacemaker:Dummy", "ocf:heartbeat:Dummy", "ocf:bascule:Dummy"] {
        assert!(ok(&["crm_resource", "--show-metadata", agent]).contains("<resource-agent name=\"Dummy\""));
    }
    assert!(ok(&["crm_resource", "--show-metadata", "ocf:bascule:ipvs-sync"]).contains("syncid"));
    let listed = ok(&["crm_resource", "--list-agents", "ocf:pacemaker"]);
    assert!(listed.lines().any(|l| l == "Dummy") && listed.lines().any(|l| l == "ping"), "{listed}");
    assert!(ok(&["crm_resource", "--list-ocf-providers"]).lines().any(|l| l == "bascule"));
    assert!(ok(&["pcs", "resource", "list"]).lines().any(|l| l == "ocf:pacemaker:Dummy"));

    ok(&["pcs", "resource", "create", "d", "ocf:pacemaker:Dummy"]);
    let config = ok(&["pcs", "resource", "config", "d"]);
    assert!(config.contains("d-monitor-interval-10s") && config.contains("d-start-interval-0s"), "{config}");
    assert_eq!(ok(&["crm", "configure", "primitive", "c", "ocf:pacemaker:Dummy"]), "", "no warning");

    let before = configured(&cluster);
    let missing = refused(&cluster, &["pcs", "resource", "create", "vip", "ocf:heartbeat:IPaddr2"]);
    assert!(missing.contains("required resource option 'ip' is missing, use --force to override"), "{missing}");
    let ip = "ip=10.77.0.99";
    let unknown = refused(&cluster, &["pcs", "resource", "create", "vip", "ocf:heartbeat:IPaddr2", ip, "bogus=1"]);
    assert!(unknown.contains("invalid resource option 'bogus', allowed options are: ") && unknown.contains("'nic'"));
    let unknown = refused(&cluster, &["pcs", "resource", "update", "d", "bogus=1"]);
    assert!(unknown.contains("invalid resource option 'bogus'"), "{unknown}");
    let nowhere = refused(&cluster, &["pcs", "resource", "create", "x", "ocf:pacemaker:Nothing"]);
    assert!(nowhere.contains("not installed or does not provide valid metadata"), "{nowhere}");
    assert_eq!(configured(&cluster), before, "nothing was changed");

    ok(&["pcs", "resource", "create", "vip", "ocf:heartbeat:IPaddr2", ip, "nic=eth9", "--disabled"]);
    let unset = refused(&cluster, &["pcs", "resource", "update", "vip", "ip="]);
    assert!(unset.contains("required resource option 'ip' is missing"), "{unset}");
    let forced = run(&cluster.run_dir("n1"), &["pcs", "resource", "update", "vip", "bogus=1", "--force"]);
    let warned = String::from_utf8_lossy(&forced.stderr);
    assert!(forced.status.success() && warned.contains("Warning: invalid resource option 'bogus'"), "{warned}");
    ok(&["pcs", "resource", "update", "vip", "bogus="]);
    let gone = refused(&cluster, &["pcs", "resource", "move", "d", "n9"]);
    assert!(gone.contains("Node 'n9' does not appear to exist"), "{gone}");
}

/// Text that the cluster cannot hold is refused, whichever the door; never stored as something else.
#[tokio::test(flavor = "multi_thread")]
async fn control_characters_are_refused_at_every_door() {
    use std::os::unix::ffi::OsStrExt;
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&["n1"]).await;
    said(&cluster, "n1", &["pcs", "resource", "create", "d", "ocf:pacemaker:Dummy"]);
    let before = configured(&cluster);
    let doors: &[&[&str]] = &[
        &["crm_attribute", "-N", "n1", "-n", "x", "-v", "a%"],
        &["crm_attribute", "-N", "n1", "-n", "x%", "-v", "a"],
        &["crm_attribute", "-n", "x", "-v", "a%"],
        &["crm_attribute", "-N", "n1", "-l", "reboot", "-n", "x%", "-v", "a"],
        &["crm_attribute", "-N", "n1", "-l", "reboot", "-n", "x", "-v", "a%"],
        &["attrd_updater", "-n", "x", "-U", "a%"],
        &["pcs", "node", "attribute", "n1", "x=a%"],
        &["pcs", "node", "attribute", "n1", "x%=a"],
        &["pcs", "property", "set", "--force", "x=a%"],
        &["pcs", "resource", "update", "d", "fake=a%"],
        &["pcs", "resource", "meta", "d", "x=a%"],
        &["pcs", "resource", "create", "e%", "ocf:pacemaker:Dummy"],
        &["crm", "node", "attribute", "n1", "set", "x", "a%"],
        &["crm", "node", "attribute", "n1", "set", "x%", "a"],
        &["crm", "configure", "primitive", "e", "ocf:pacemaker:Dummy", "params", "fake=a%"],
        &["crm_resource", "-r", "d", "-p", "fake", "-v", "a%"],
        &["crm_resource", "-r", "d", "--meta", "-p", "x%", "-v", "a"],
    ];
    for words in doors {
        for odd in [&b"\x1b"[..], b"\x01", b"\xff", "\u{ffff}".as_bytes()] {
            let mut command = std::process::Command::new(BASCULE);
            for word in *words {
                let bytes: Vec<u8> =
                    word.bytes().flat_map(|b| if b == b'%' { odd.to_vec() } else { vec![b] }).collect();
                command.arg(std::ffi::OsStr::from_bytes(&bytes));
            }
            let done = command.env("BASCULE_RUN_DIR", cluster.run_dir("n1")).output().expect("it starts");
            assert!(!done.status.success() && !done.stderr.is_empty(), "{words:?} {odd:?}: {done:?}");
        }
    }
    let after = configured(&cluster);
    assert_eq!(after, before);
    let whole = said(&cluster, "n1", &["cibadmin", "-Q"]);
    assert!(!whole.contains('\u{fffd}'), "{whole}");
}

/// However long an id is and whatever it is made of, the instance starts and stops.
#[tokio::test(flavor = "multi_thread")]
async fn resources_with_long_and_odd_ids_run() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&["n1"]).await;
    said(&cluster, "n1", &["pcs", "property", "set", "stonith-enabled=false"]);
    let ids = ["x".repeat(300), format!("{}y", "x".repeat(299)), "\u{e9}\u{4e2d}.-_".to_owned()];
    for id in &ids {
        said(&cluster, "n1", &["pcs", "resource", "create", id, "ocf:pacemaker:Dummy"]);
    }
    let started = |cluster: &Cluster| {
        let shown = said(cluster, "n1", &["crm_mon", "-1r"]);
        shown.lines().filter(|l| l.contains("Started n1")).count()
    };
    cluster.until("all run", || (started(&cluster) == ids.len()).then_some(())).await;
    for id in &ids {
        said(&cluster, "n1", &["pcs", "resource", "disable", id]);
    }
    cluster.until("none runs", || (started(&cluster) == 0).then_some(())).await;
    let left = std::fs::read_dir(cluster.run_dir("n1").join("instances")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no record stays");
}

/// Who changed the configuration last stays to be seen, though the cluster puts its own back into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_configuration_is_signed_by_who_replaced_it() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&["n1"]).await;
    said(&cluster, "n1", &["crm_attribute", "-n", "x", "-v", "1"]);
    let file = cluster.path("bare.xml");
    std::fs::write(&file, "<configuration><crm_config/><nodes/><resources/><constraints/></configuration>")
        .expect("written");
    said(&cluster, "n1", &["cibadmin", "-R", "-o", "configuration", "-x", file.to_str().expect("UTF-8")]);
    let whole = xml::parse(&said(&cluster, "n1", &["cibadmin", "-Q"])).expect("XML");
    assert!(whole.find_id("cib-bootstrap-options-cluster-infrastructure").is_some(), "put back: {whole}");
    let signed = ["update-origin", "update-client", "update-user"].map(|name| whole.attr(name));
    assert_eq!(signed, [Some("n1"), Some("cibadmin"), Some("root")]);
}

/// A key that a node runs with is not replaced by a slip, and nothing is made that was not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_use_is_replaced_on_demand_only() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&["n1"]).await;
    let key = cluster.path("authkey");
    let before = std::fs::read(&key).expect("a key");
    let file = key.to_str().expect("UTF-8");
    let kept = refused(&cluster, &["corosync-keygen", "-k", file]);
    assert!(kept.contains("a node runs on this host") && kept.contains("--force"), "{kept}");
    assert_eq!(std::fs::read(&key).expect("a key"), before);
    let nowhere = cluster.path("missing").join("key");
    refused(&cluster, &["corosync-keygen", "-k", nowhere.to_str().expect("UTF-8")]);
    assert!(!cluster.path("missing").exists());
    let done = run(&cluster.run_dir("n1"), &["corosync-keygen", "--force", "-k", file]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success() && told.contains("The key that was there is replaced"), "{done:?}");
    assert_ne!(std::fs::read(&key).expect("a key"), before);
}

/// Its stop waits while `held` is there, and fails while `stuck` is.
const HELD: &str = r#"#!/bin/sh
state=$HA_RSCTMP/$OCF_RESOURCE_INSTANCE
case $1 in
meta-data) echo '<resource-agent name="Held"><parameters/><actions/></resource-agent>';;
start) touch "$state";;
monitor) [ -e "$state" ] || exit 7;;
stop) [ ! -e "$HA_RSCTMP/stuck" ] || exit 1
    while [ -e "$HA_RSCTMP/held" ]; do sleep 0.1; done; rm -f "$state";;
esac
"#;

/// A restart that is interrupted leaves what is wanted as it was; one that cannot stop the resource is refused before.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_never_leaves_a_resource_stopped() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1"]).await;
    let dir = cluster.path("ocf").join("resource.d/test");
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("Held"), HELD).expect("written");
    std::fs::set_permissions(dir.join("Held"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    let ok = |args: &[&str]| said(&cluster, "n1", args);
    let started = || ok(&["crm_mon", "-1"]).contains("* d\t(ocf:test:Held):\t Started n1\n").then_some(());
    let role = || ok(&["cibadmin", "-Q", "-o", "resources"]).contains("target-role");
    ok(&["pcs", "property", "set", "stonith-enabled=false"]);
    ok(&["pcs", "resource", "create", "d", "ocf:test:Held", "op", "stop", "timeout=100s", "--force"]);
    cluster.until("d runs", started).await;
    ok(&["crm_resource", "--restart", "-r", "d"]);
    cluster.until("d runs again", started).await;

    let held = cluster.var_dir("n1").join("held");
    std::fs::write(&held, "").expect("written");
    let mut command = std::process::Command::new(BASCULE);
    command.args(["crm_resource", "--restart", "-r", "d"]).env("BASCULE_RUN_DIR", cluster.run_dir("n1"));
    let mut asked = command.spawn().expect("it starts");
    cluster.until("the stop is asked for", || role().then_some(())).await;
    let pid = nix::unistd::Pid::from_raw(asked.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert_eq!(asked.wait().expect("it ends").code(), Some(128 + 15));
    assert!(!role(), "wanted as before");
    std::fs::remove_file(&held).expect("removed");
    cluster.until("d runs after all", started).await;

    std::fs::write(cluster.var_dir("n1").join("stuck"), "").expect("written");
    run(&cluster.run_dir("n1"), &["pcs", "resource", "disable", "d"]);
    cluster.until("the stop failed", || ok(&["crm_mon", "-1"]).contains("blocked").then_some(())).await;
    ok(&["pcs", "resource", "enable", "d"]);
    let refused = refused(&cluster, &["crm_resource", "-r", "d", "--restart"]);
    assert!(refused.contains("would stay active on n1: nothing was done") && !role(), "{refused}");

    // A stop waits for what holds it, and says what that is.
    let mut command = std::process::Command::new(BASCULE);
    command.args(["pcs", "cluster", "stop"]).env("BASCULE_RUN_DIR", cluster.run_dir("n1"));
    let mut stopping = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let stderr = stopping.stderr.take().expect("piped");
    let told = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line);
        line
    });
    let told = told.await.expect("it reads");
    assert!(told.contains("waiting for d (blocked)"), "{told}");
    std::fs::remove_file(cluster.var_dir("n1").join("stuck")).expect("removed");
    ok(&["crm_resource", "--cleanup", "-r", "d"]);
    // Who asks again finds the node stopping or gone; both mean that it is stopped.
    for _ in 0..2 {
        let again = run(&cluster.run_dir("n1"), &["pcs", "cluster", "stop"]);
        assert!(again.status.success() && cluster.status("n1").is_none(), "{again:?}");
    }
    assert!(stopping.wait().expect("it ends").success());
}
