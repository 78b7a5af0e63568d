//! `crm_report` of a running cluster, over real sshd: what it holds of whom, that no secret is in it, and that crm's history reads it.

use crate::fixture::{BASCULE, Cluster};
use crate::root::root;
use crate::ssh;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const SECRET: &str = "Gehe1mnisvoll";
/// Kept on the node, and said by an agent in a log.
const LOG: &str = "2020-01-01T00:00:00Z long ago: ERROR: not of that time\n";

/// A command on the node's host.
async fn on(cluster: &Cluster, node: &str, words: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(BASCULE);
    command.args(words).current_dir(cluster.path("work")).stdin(Stdio::null());
    command.env("BASCULE_RUN_DIR", cluster.run_dir(node)).env("BASCULE_STATE_DIR", cluster.state_dir(node));
    command.env("TZ", "UTC").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = cluster.lab.host(node).expect("a host").spawn(&mut command).expect("it starts");
    child.wait_with_output().await.expect("it runs")
}

fn text(out: &Output) -> String {
    [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all
}

fn holds(file: &Path, what: &str) -> bool {
    let bytes = match file.extension().is_some_and(|end| end == "bz2") {
        true => Command::new("bzip2").arg("-dc").arg(file).output().expect("bzip2 runs").stdout,
        false => std::fs::read(file).expect("readable"),
    };
    String::from_utf8_lossy(&bytes).contains(what)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_holds_all_that_can_be_reached_and_no_secret() {
    let Some(()) = root() else { return };
    if !ssh::have(&["/usr/bin/bzip2", "/usr/bin/tar"]) {
        return;
    }
    let cluster = Cluster::start(&NODES).await;
    let work = cluster.path("work");
    std::fs::create_dir_all(&work).expect("a directory");
    let key = ssh::key(&cluster);
    let (run_dir, state_dir) = (cluster.run_dir("n2"), cluster.state_dir("n2"));
    let env = format!("BASCULE_RUN_DIR={} BASCULE_STATE_DIR={}", run_dir.display(), state_dir.display());
    let _sshd = ssh::sshd(&cluster, "n2", &key, &env, &[]).await;
    for line in [
        "pcs property set stonith-enabled=false".to_owned(),
        format!("pcs resource create d ocf:pacemaker:Dummy passwd={SECRET} fake=seen --force"),
        "pcs resource create e ocf:pacemaker:Dummy".to_owned(),
    ] {
        let out = on(&cluster, "n1", &line.split(' ').collect::<Vec<_>>()).await;
        assert!(out.status.success(), "{line}: {}", text(&out));
    }
    let dc = cluster.status("n1").and_then(|s| s.dc_name).expect("a coordinator");
    let kept = cluster.state_dir(&dc).join("pengine");
    cluster.until("inputs are kept", || std::fs::read_dir(&kept).ok()?.flatten().nth(1).map(drop)).await;
    let log = work.join("agent.log");
    let now = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date runs").stdout;
    let now = String::from_utf8_lossy(&now).trim().to_owned();
    std::fs::write(&log, format!("{LOG}{now} agent: ERROR: {SECRET} was refused\n")).expect("written");
    let rsh = format!("ssh -T {}", ssh::options(&key));
    let log_name = log.display().to_string();
    let words = ["crm_report", "-f", "1h", "-e", &rsh, "-l", &log_name, "-V", "found"];
    let out = on(&cluster, "n1", &words).await;
    let said = text(&out);
    assert!(out.status.success() && said.contains("found.tar.bz2"), "{said}");
    assert!(said.contains("n2: collected"), "{said}");
    assert!(said.contains("n3: not collected: "), "who was not reached is named: {said}");
    let again = on(&cluster, "n1", &words).await;
    assert!(!again.status.success() && text(&again).contains("exists"), "nothing is written over: {}", text(&again));
    assert!(
        Command::new("tar")
            .arg("-xjf")
            .arg(work.join("found.tar.bz2"))
            .current_dir(&work)
            .status()
            .expect("tar runs")
            .success()
    );
    let top = work.join("found");
    holds_what_it_should(&top);
    transitions_are_read(&cluster, &top, &dc).await;
    // The node that made them has them as well; this one alone, as a directory, for programs.
    let out = on(&cluster, &dc, &["crm", "history", "peinputs", "v"]).await;
    assert!(out.status.success() && text(&out).contains("pe-input-"), "{}", text(&out));
    let out = on(&cluster, &dc, &["crm", "history", "diff", "-1", "live"]).await;
    assert!(out.status.success(), "{}", text(&out));
    let out = on(&cluster, "n1", &["crm_report", "-f", "1h", "-S", "-d", "--json", "alone"]).await;
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(told["nodes"].as_array().is_some_and(|n| n.len() == 1) && work.join("alone/n1/cib.xml").exists(), "{told}");
    let out = on(&cluster, "n1", &["crm_report", "-f", "tomorrow", "x"]).await;
    assert_eq!(out.status.code(), Some(64), "{}", text(&out));
}

/// Of both nodes that were reached, and of no secret.
fn holds_what_it_should(top: &Path) {
    for file in [
        "report.txt",
        "analysis.txt",
        "n1/cib.xml",
        "n1/crm_mon.txt",
        "n1/timeline.json",
        "n1/quorum.txt",
        "n1/RUNNING",
    ] {
        assert!(top.join(file).exists(), "{file} is missing: {:#?}", files(top));
    }
    for file in ["n2/cib.xml", "n2/crm_mon.txt", "n2/status.json", "n2/blackbox.txt", "n2/RUNNING"] {
        assert!(top.join(file).exists(), "{file} is missing: {:#?}", files(top));
    }
    assert!(holds(&top.join("n2/status.json"), "\"name\": \"n2\""), "it is that node's own");
    assert!(holds(&top.join("report.txt"), "n3: NOT collected"));
    assert!(holds(&top.join("n1/crm_mon.txt"), "Online: [ n1 n2 n3 ]"));
    assert!(holds(&top.join("analysis.txt"), "was refused") && !holds(&top.join("analysis.txt"), "long ago"));
    assert!(holds(&top.join("n1/cib.xml"), "seen"));
    let telling: Vec<PathBuf> = files(top).into_iter().filter(|f| holds(f, SECRET)).collect();
    assert!(telling.is_empty(), "the secret stands in {telling:?}");
}

/// The transitions, as somebody else reads them.
async fn transitions_are_read(cluster: &Cluster, top: &Path, dc: &str) {
    if dc != "n3" {
        let inputs = files(&top.join(dc).join("pengine"));
        assert!(!inputs.is_empty() && inputs.iter().any(|f| holds(f, "passwd")), "{inputs:?}");
        let top = top.display().to_string();
        let lines = format!("history\nsource {top}\npeinputs\ntransition\nresource d\n");
        std::fs::write(cluster.path("work").join("lines"), lines).expect("written");
        let out = on(cluster, "n1", &["crm", "-f", "lines"]).await;
        let said = text(&out);
        assert!(out.status.success() && said.contains("pe-input-") && said.contains("Transition Summary:"), "{said}");
    }
}
