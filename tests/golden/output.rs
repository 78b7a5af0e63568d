//! Standard output that cannot be written: a reader that has gone is no error, a full disk is one.

use std::fs::File;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule");

/// Commands that print, and end by themselves without a cluster.
const LINES: &[&str] = &[
    "--help",
    "man",
    "completion bash",
    "node --check --config configs/corosync/two-directors.conf",
    "node --check --json --config configs/corosync/two-directors.conf",
    "node --help",
    "crm_mon --help",
    "crm_mon -1",
    "crm_verify -L -V",
    "crm_simulate -L",
    "cibadmin -Q",
    "crm_resource -L",
    "pcs status",
    "pcs nonsense",
    "crm configure show",
    "crm nonsense",
    "iso8601 -n",
    "crm_error 0",
    "explain",
    "doctor --json",
    "ldirectord configs/ldirectord/gate.cf check",
    "ldirectord configs/ldirectord/gate.cf check --json",
    "ldirectord configs/ldirectord/gate.cf status",
    "ldirectord configs/ldirectord/gate.cf top",
    "ldirectord nowhere.cf check",
    "ipvsadm --help",
    "ipvsadm --table TABLE -L",
    "nonsense",
];

fn line(words: &str, dir: &std::path::Path) -> Command {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let cib = dir.join("cib.xml");
    if !cib.exists() {
        let sample = "<cib validate-with=\"pacemaker-3.0\" epoch=\"1\" num_updates=\"0\" admin_epoch=\"0\"><configuration><crm_config/>\
                      <nodes/><resources/><constraints/></configuration><status/></cib>";
        std::fs::write(&cib, sample).expect("writable");
    }
    let table = dir.join("table").display().to_string();
    let key = dir.join("authkey");
    if !key.exists() {
        std::fs::write(&key, [7; 256]).expect("writable");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o400)).expect("set");
    }
    let key = key.display().to_string();
    // Of nodes that this host may be: its loopback addresses are theirs.
    let config = dir.join("corosync.conf");
    if !config.exists() {
        let sample = std::fs::read_to_string(root.join("configs/corosync/two-directors.conf")).expect("the sample");
        std::fs::write(&config, sample.replace("192.168.10.", "127.0.10.")).expect("writable");
    }
    let config = config.display().to_string();
    let named = |word| match word {
        "TABLE" => table.clone(),
        "KEY" => key.clone(),
        "CONFIG" => config.clone(),
        word => word.to_owned(),
    };
    let mut command = Command::new(PROGRAM);
    command
        .args(words.split(' ').map(named))
        .current_dir(root)
        .env("CIB_file", cib)
        .env("BASCULE_RUN_DIR", dir)
        .stdin(Stdio::null());
    command
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_closed_pipe_ends_quietly_and_with_the_commands_own_code() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut wrong = String::new();
    for words in LINES {
        let usual = line(words, dir.path()).output().expect("runs");
        let cut = line(words, dir.path()).stdout(closed()).output().expect("runs");
        let both = line(words, dir.path()).stdout(closed()).stderr(closed()).status().expect("runs");
        let said = String::from_utf8_lossy(&cut.stderr);
        if said.contains("panicked") || cut.status != usual.status || both != usual.status {
            wrong += &format!("{words}: usually {}, cut {}, both {both}: {said}\n", usual.status, cut.status);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn output_lost_to_a_full_disk_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    for words in [
        "cibadmin -Q",
        "--help",
        "crm --help",
        "crm_resource --help",
        "crm_mon --help",
        "pcs --help",
        "doctor --help",
        "ldirectord --help",
        "links --help",
        "node --help",
        "plan --help",
        "demo --help",
        "node --check --config CONFIG --authkey KEY --node director1",
    ] {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let done = line(words, dir.path()).stdout(full).output().expect("runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(74), "{words}: {said}");
        assert!(said.contains("cannot write to standard output"), "{words}: {said}");
    }
}
