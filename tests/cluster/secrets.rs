//! What another user of the host sees of a running node: its files and its processes.

use crate::fixture::{Cluster, PATIENCE, cib_call, post};
use crate::root::root;
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use wire::api::{CibOp, CibReply};

/// In the CIB, and in a file of the node.
const SECRETS: [&str; 2] = ["s3cret-of-the-CIB", "s3cret-of-a-file"];
/// An agent that is seen running, and that writes down whether it was told its secrets.
const AGENT: &str = r#"#!/bin/sh
state="${HA_VARRUN%%/}/$OCF_RESOURCE_INSTANCE.state"
case "$1" in
    start) touch "$state"; [ "$OCF_RESKEY_passwd/$OCF_RESKEY_password2" = "s3cret-of-the-CIB/s3cret-of-a-file" ] && touch "$state.told"; exit 0 ;;
    stop) rm -f "$state" ;;
    monitor) [ -e "$state" ] || exit 7; sleep 2; exit 0 ;;
    *) exit 3 ;;
esac
"#;
const CONFIG: &str = r#"<configuration><crm_config><cluster_property_set id="o">
    <nvpair id="o-f" name="stonith-enabled" value="false"/><nvpair id="o-q" name="no-quorum-policy" value="ignore"/>
    </cluster_property_set></crm_config><nodes/><resources><primitive id="db" class="ocf" provider="test" type="db">
    <instance_attributes id="p"><nvpair id="p1" name="passwd" value="s3cret-of-the-CIB"/><nvpair id="p2" name="password2" value="lrm://"/>
    </instance_attributes><operations><op id="m" name="monitor" interval="1s"/></operations></primitive></resources><constraints/></configuration>"#;
const NOBODY: u32 = 65_534;
/// `CAP_NET_ADMIN` alone.
const NET_ADMIN_ONLY: &str = "0000000000001000";

/// What a command of a user without any rights prints.
fn as_nobody(words: &[&str]) -> String {
    let mut command = Command::new(words[0]);
    let out = command.args(&words[1..]).uid(NOBODY).gid(NOBODY).output().expect("it runs");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn field(pid: Pid, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

/// The process and all that it has started.
fn family(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    let mut at = 0;
    while at < all.len() {
        let children = format!("/proc/{}/task/{}/children", all[at], all[at]);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", all[at])).into_iter().flatten().flatten();
        let of_threads = tasks.map(|t| t.path().join("children"));
        for file in of_threads.chain([children.into()]) {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            for child in text.split_whitespace().filter_map(|p| p.parse().ok()).map(Pid::from_raw) {
                if !all.contains(&child) {
                    all.push(child);
                }
            }
        }
        at += 1;
    }
    all
}

fn command_line(pid: Pid) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn tells_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} tells {secret}:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_reads_nothing_secret_from_files_and_processes() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1"]).await;
    let agent = cluster.path("ocf/resource.d/test/db");
    std::fs::create_dir_all(agent.parent().expect("a directory")).expect("made");
    std::fs::write(&agent, AGENT).expect("written");
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).expect("set");
    let secrets = cluster.path("secrets/db");
    std::fs::create_dir_all(&secrets).expect("made");
    std::fs::set_permissions(cluster.path("secrets"), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::write(secrets.join("password2"), SECRETS[1]).expect("written");
    std::fs::write(secrets.join("password2.sign"), "f97e4ffb8b5d143ba586c0cb8cccb660\n").expect("written");
    cluster.env.insert("BASCULE_SECRETS_DIR", cluster.path("secrets").display().to_string());
    // Nobody may look into the directory of a test; into that of a node everybody could.
    std::fs::set_permissions(cluster.path(""), std::fs::Permissions::from_mode(0o755)).expect("set");
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    let call = cib_call(CibOp::Replace, "configuration", Some(CONFIG.to_owned()));
    let done: CibReply = post(&cluster.run_dir("n1"), "cib", &call, PATIENCE).expect("an answer");
    assert_eq!(done.code, 0, "{done:?}");
    let told = cluster.var_dir("n1").join("db.state.told");
    cluster.until("the agent runs, with both secrets", || told.exists().then_some(())).await;
    let monitor = |pid: &Pid| command_line(*pid).contains("resource.d/test/db monitor");
    let pid = cluster.pid("n1");
    let processes = cluster.until("a monitor runs", || Some(family(pid)).filter(|f| f.iter().any(monitor))).await;

    files(&cluster);
    processes_of(pid, &processes);
    let logs = std::fs::read_to_string(cluster.path("n1.log")).expect("a log");
    tells_no_secret("the log", &logs);
    tells_no_secret("the timeline", &format!("{:?}", cluster.timeline("n1")));
    let (_, shown, _) = cluster.command("n1", &["crm_mon", "-1", "--group-by-node", "--inactive"]);
    assert!(shown.contains("db"), "{shown}");
    tells_no_secret("crm_mon", &shown);
}

/// Nothing that a node has written can be read; none of its directories can be looked into.
fn files(cluster: &Cluster) {
    for dir in [cluster.run_dir("n1"), cluster.state_dir("n1")] {
        let readable = |dir: &Path| as_nobody(&["find", &dir.display().to_string(), "-readable"]);
        assert_eq!(readable(&dir), "", "{}", dir.display());
        // Also where the way in stands open, each file is closed by itself.
        let mode = std::fs::metadata(&dir).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o750, "{}", dir.display());
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).expect("set");
        let found = as_nobody(&["find", &dir.display().to_string(), "-type", "f", "-readable"]);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).expect("set");
        for file in found.lines() {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            tells_no_secret(file, &text);
            assert!(!file.contains("cib") && !file.contains("instances"), "{file} can be read");
        }
    }
    assert_eq!(as_nobody(&["cat", &cluster.path("authkey").display().to_string()]), "");
}

fn processes_of(daemon: Pid, processes: &[Pid]) {
    let mut guards = 0;
    for pid in processes {
        let of = |file: &str| as_nobody(&["cat", &format!("/proc/{pid}/{file}")]);
        tells_no_secret("ps", &of("cmdline"));
        assert_eq!(of("environ"), "", "the environment of {}", command_line(*pid));
        assert_eq!(as_nobody(&["ls", &format!("/proc/{pid}/fd")]), "", "open files of {}", command_line(*pid));
        assert_eq!(as_nobody(&["head", "-c", "1", &format!("/proc/{pid}/mem")]), "");
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let core =
            limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or("Max core file size 0 0 gone");
        let core: Vec<&str> = core["Max core file size".len()..].split_whitespace().collect();
        assert_eq!(core[..2], ["0", "0"], "core files of {}", command_line(*pid));
        if command_line(*pid).contains(" guard ") {
            guards += 1;
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                assert_eq!(field(*pid, set), NET_ADMIN_ONLY, "{set} of the guard");
            }
            assert_eq!((field(*pid, "Seccomp"), field(*pid, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
        }
    }
    assert_eq!(guards, 1, "a guard was among {processes:?} of {daemon}");
}
