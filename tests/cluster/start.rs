//! Bad input at the start: file, line and what was expected; nothing is changed.

use crate::fixture::{self, BASCULE};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { dir: tempfile::tempdir().expect("a directory") };
        files.write("corosync.conf", corosync_conf(&["n1", "n2"]).as_bytes());
        files.write("authkey", &[5; 256]);
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.dir.path().join("state")).expect("made");
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        if name == "authkey" {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o400)).expect("set");
        }
    }

    fn node(&self, more: &[&str]) -> Output {
        let mut command = Command::new(BASCULE);
        command.current_dir(self.dir.path()).args([
            "node",
            "--config",
            "corosync.conf",
            "--authkey",
            "authkey",
            "--node",
            "n1",
        ]);
        command.args(["--state-dir", "state", "--run-dir", "run"]).args(more).output().expect("the binary runs")
    }
}

/// Of nodes that this host may be: its loopback addresses are theirs.
fn corosync_conf(names: &[&str]) -> String {
    fixture::corosync_conf(names).replace("10.77.0.", "127.0.77.")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_broken_file_is_refused_by_line() {
    let files = Files::new();
    let text = corosync_conf(&["n1", "n2"]).replace("nodeid: 2", "nodeid 2");
    files.write("corosync.conf", text.as_bytes());
    let output = files.node(&[]);
    assert_eq!(output.status.code(), Some(base::exit::crm::CONFIG));
    assert!(
        stderr(&output)
            .contains("corosync.conf:14:9: refused: expected `section {`, `key: value` or `}`, found `nodeid 2`"),
        "{}",
        stderr(&output)
    );
    assert!(!files.dir.path().join("run").exists(), "nothing was started");
}

#[test]
fn a_host_that_has_no_address_of_its_node_is_refused_and_may_be_tried_again() {
    let files = Files::new();
    // Of a network for documentation: of no host that this test runs on.
    files.write("corosync.conf", corosync_conf(&["n1", "n2"]).replace("127.0.77.1", "192.0.2.1").as_bytes());
    let output = files.node(&[]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(base::exit::crm::ERROR), "a service manager tries again: {text}");
    let said = "corosync.conf:7:21: refused: 192.0.2.1 of node n1 is not an address of this host, which is that node by --node n1; \
                its addresses are ";
    assert!(text.contains(said), "{text}");
    assert!(!files.dir.path().join("run").exists(), "nothing was started");
    let check = files.node(&["--check"]);
    assert!(String::from_utf8_lossy(&check.stdout).contains(said), "{check:?}");
    assert_eq!(check.status.code(), Some(base::exit::crm::CONFIG));
}

#[test]
fn a_short_or_missing_key_is_refused_with_the_cure() {
    let files = Files::new();
    files.write("authkey", &[5; 100]);
    let output = files.node(&[]);
    assert_eq!(output.status.code(), Some(base::exit::crm::CONFIG));
    assert!(stderr(&output).contains("authkey: expected a key of 128 to 4096 bytes, found 100"), "{}", stderr(&output));
    std::fs::remove_file(files.dir.path().join("authkey")).expect("removed");
    let missing = files.node(&[]);
    assert!(stderr(&missing).contains("corosync-keygen"), "{}", stderr(&missing));
}

#[test]
fn a_broken_cib_stops_the_start_and_stays_as_it_is() {
    let files = Files::new();
    let broken = "<cib>\n  <configuration>\n    <resources>\n</cib>\n";
    files.write("state/cib.xml", broken.as_bytes());
    let output = files.node(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("state/cib.xml") && text.contains('4'), "{text}");
    assert_eq!(std::fs::read_to_string(files.dir.path().join("state/cib.xml")).expect("still there"), broken);
}

#[test]
fn check_explains_and_starts_nothing() {
    let files = Files::new();
    let output = files.node(&["--check"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("token 3000") && text.contains("a dead node is noticed within 120 ms"), "{text}");
    assert!(!files.dir.path().join("run").exists());
    files.write(
        "corosync.conf",
        corosync_conf(&["n1", "n2"]).replace("    cluster_name", "    transport: udpu\n    cluster_name").as_bytes(),
    );
    let refused = files.node(&["--check", "--json"]);
    assert_eq!(refused.status.code(), Some(base::exit::crm::CONFIG));
    let document: serde_json::Value = serde_json::from_slice(&refused.stdout).expect("JSON");
    assert_eq!(document["refused"], true);
    assert!(
        document["findings"][0].as_str().is_some_and(|f| f.contains("corosync.conf:3:5") && f.contains("udpu")),
        "{document}"
    );
}
