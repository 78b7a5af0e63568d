//! What a thread of the node leaves that panics: a process of its own does it here, since hook and sources are the process's.

use super::core;
use crate::blackbox::{Sources, know};
use crate::timeline::Timeline;
use std::path::PathBuf;
use wire::api::Blackbox;

/// Where the test below is the child process, the state directory of the node that it plays.
const CHILD: &str = "BASCULE_TEST_BLACKBOX_OF";

/// Two threads of a node panic, one soon after the other.
fn panic_here(state_dir: PathBuf) {
    let (asker, _inbox, _board) = core::channel();
    crate::logging::start_service("node", false);
    tracing::info!("before it");
    // What happens in the moment in which the clock begins is of before.
    std::thread::sleep(std::time::Duration::from_millis(2));
    let timeline = Timeline::new("n1");
    timeline.add("view", "", "members n1 n2");
    know(Sources { timeline, node: "n1".to_owned(), state_dir, asker });
    for text in ["first", "second"] {
        let core = std::thread::Builder::new().name("ring".into()).spawn(move || panic!("the {text} broke"));
        assert!(core.expect("a thread").join().is_err());
    }
}

#[test]
fn a_core_that_panics_leaves_what_came_before_it() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return panic_here(dir.into());
    }
    let dir = tempfile::tempdir().expect("a directory");
    let name = "node::panics::a_core_that_panics_leaves_what_came_before_it";
    let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
    let out = child.args(["--exact", name, "--nocapture"]).env(CHILD, dir.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let file = std::fs::read(dir.path().join("fdata")).unwrap_or_else(|e| panic!("{e}: {said}"));
    let left: Blackbox = serde_json::from_slice(&file).expect("a blackbox");
    assert!(left.reason.starts_with("panic: ") && left.reason.contains("the first broke"), "{}", left.reason);
    let held = |kind: &str, text: &str| left.records.iter().any(|r| r.kind == kind && r.text.contains(text));
    assert!(held("view", "members n1 n2") && held("info", "before it"), "{:?}", left.records);
    assert!(held("error", "the first broke"), "the panic itself is among it: {:?}", left.records);
    let files = std::fs::read_dir(dir.path()).expect("read").flatten();
    let count = files.filter(|e| e.file_name().to_string_lossy().starts_with("fdata-")).count();
    assert_eq!(count, 1, "the second came too soon to be written again: {said}");
}
