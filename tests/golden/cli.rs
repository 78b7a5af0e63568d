//! Sessions of the cluster's commands on a file (`CIB_file`): what each prints and how it ends.
//!
//! `tests/golden/cli/*.session`: a line `$ COMMAND` is run by `sh` in an empty directory with links to all commands first
//! in PATH; below it stand standard output and error, then `[exit N]` unless it is 0. `BASCULE_BLESS=1` writes what
//! happens instead of comparing it; read the difference before committing it.

use crate::shared::shared;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bascule");

#[test]
fn sessions_go_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cli");
    let mut sessions: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("sessions").filter_map(|e| Some(e.ok()?.path())).collect();
    sessions.sort();
    assert!(!sessions.is_empty());
    let mut failures = String::new();
    for path in sessions {
        let written = std::fs::read_to_string(&path).expect("a session");
        let happened = play(&written);
        if std::env::var_os("BASCULE_BLESS").is_some() {
            std::fs::write(&path, &happened).expect("writable");
        } else if let Some((line, expected, found)) = first_difference(&written, &happened) {
            failures += &format!("{}:{line}:\n  expected: {expected}\n  found:    {found}\n", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

fn play(session: &str) -> String {
    let home = tempfile::tempdir().expect("a directory");
    let links = home.path().join("bin");
    assert!(Command::new(PROGRAM).arg("links").arg(&links).output().expect("runs").status.success());
    let work = home.path().join("work");
    std::fs::create_dir(&work).expect("a directory");
    let search = format!("{}:{}", links.display(), std::env::var("PATH").unwrap_or_default());
    let mut out = String::new();
    for line in session.lines().take_while(|l| !l.starts_with("$ ")) {
        out += &format!("{line}\n");
    }
    for command in session.lines().filter_map(|l| l.strip_prefix("$ ")) {
        let done = Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}")])
            .current_dir(&work)
            .env("PATH", &search)
            .env("CIB_file", work.join("cib.xml"))
            .env("BASCULE_RUN_DIR", work.join("no-daemon"))
            .env("BASCULE_STATE_DIR", "no-state")
            .env("COROSYNC_MAIN_CONFIG_FILE", "no-corosync.conf")
            .env("TZ", "UTC")
            .env("HOME", home.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("BASCULE_COMPAT")
            .output()
            .expect("sh runs");
        out += &format!("$ {command}\n{}", steady(&String::from_utf8_lossy(&done.stdout), home.path()));
        match done.status.code() {
            Some(0) => {}
            code => out += &format!("[exit {}]\n", code.unwrap_or(-1)),
        }
    }
    out
}

/// Without what differs from run to run: times, host, user, directory.
fn steady(text: &str, home: &Path) -> String {
    let text = text.replace(&home.display().to_string(), "HOME");
    let mut out = String::new();
    for line in text.lines() {
        // There only if a second has passed since the change before.
        if line.contains("<change-attr name=\"cib-last-written\"") {
            continue;
        }
        let mut line = line.to_owned();
        let dated = line.contains("name=\"last-failure-").then_some("value");
        for name in ["cib-last-written", "update-origin", "update-user"].into_iter().chain(dated) {
            if let Some((before, rest)) = line.clone().split_once(&format!("{name}=\"")) {
                let after = rest.split_once('"').map_or("", |(_, a)| a);
                line = format!("{before}{name}=\"*\"{after}");
            }
        }
        for word in ["Last updated: ", "Last change:  ", "take effect until: ", "Expression: date lt "] {
            if let Some((before, _)) = line.clone().split_once(word) {
                line = format!("{before}{word}*");
            }
        }
        if let Some((before, _)) = line.clone().split_once(" end=\"2") {
            line = format!("{before} end=\"*\"/>");
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn first_difference(written: &str, happened: &str) -> Option<(usize, String, String)> {
    let (mut a, mut b) = (written.lines(), happened.lines());
    for number in 1.. {
        match (a.next(), b.next()) {
            (None, None) => return None,
            (x, y) if x == y => {}
            (x, y) => return Some((number, x.unwrap_or("(end)").to_owned(), y.unwrap_or("(end)").to_owned())),
        }
    }
    None
}

/// Documents of the original's own suite that its schemas would refuse as well.
const REFUSED: [(&str, &str); 1] =
    [("order-wrong-kind.xml", "kind=\"foo\", in a document that asks not to be checked")];

#[test]
fn the_schema_takes_the_originals_own_documents() {
    let Some(dir) = shared("scheduler/cases/xml") else { return };
    let mut wrong = String::new();
    let mut count = 0;
    for entry in std::fs::read_dir(dir).expect("cases").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a case");
        let root = xml::parse(&text).expect("well-formed");
        let problems = cib::schema::check(&root);
        let refused = problems.iter().find(|p| p.severity == cib::Severity::Error);
        count += 1;
        if refused.is_some() != REFUSED.iter().any(|(n, _)| *n == name) {
            wrong += &format!("{name}: {:?}\n", refused.map(|p| p.to_string()));
        }
    }
    println!("{count} documents");
    assert!(wrong.is_empty(), "{wrong}");
}
