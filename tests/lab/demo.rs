//! The newcomer's command, start to end: every event happens, service comes back each time, nothing is left behind.

use crate::fixture::BASCULE;
use crate::root::root;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// One demo at a time, so that what is left over has one author.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn the_demo_shows_every_event_and_cleans_up() {
    let Some(()) = root() else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(BASCULE).args(["demo", "--json"]).output().expect("the binary runs");
    let progress = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success() && report["ok"] == true, "{}\n{progress}", report["problem"]);
    let events = report["events"].as_array().expect("events");
    let kinds: Vec<&str> = events.iter().filter_map(|e| e["kind"].as_str()).collect();
    assert_eq!(kinds, ["quiet", "web_fails", "web_returns", "move", "loss", "rejoin"]);
    for event in events {
        let seen = &event["seen"];
        assert!(seen["sent"].as_u64() > Some(0) && seen["lost"].as_u64() < seen["sent"].as_u64(), "{event}");
        let moved = event["active_before"] != event["active_after"];
        assert_eq!(moved, ["move", "loss"].contains(&event["kind"].as_str().unwrap_or_default()), "{event}");
    }
    let after_failure = &events[1]["seen"]["by_server"];
    assert!(after_failure["web1"].as_u64() > Some(0) && after_failure["web3"].as_u64() > Some(0), "{after_failure}");
    let timeline = report["timeline"].as_array().expect("a timeline");
    assert!(timeline.iter().any(|m| m["by"] == "client"), "the client's first answer is on the timeline: {timeline:?}");
    assert!(
        timeline.iter().any(|m| m["by"] != "client" && m["by"] != "demo"),
        "and the survivor's doings: {timeline:?}"
    );
    let left: Vec<String> = leftovers();
    assert!(left.is_empty(), "still running: {left:?}");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let Some(()) = root() else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SIGKILL leaves the demo no time to remove its files: they go with this directory.
    let scratch = tempfile::tempdir().expect("a directory");
    for signal in ["TERM", "KILL"] {
        let mut demo = Command::new(BASCULE)
            .args(["demo", "--json", "--no-events", "--keep"])
            .env("TMPDIR", scratch.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the binary runs");
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert!(!leftovers().is_empty(), "the demo has started something");
        let pid = nix::unistd::Pid::from_raw(demo.id() as i32);
        nix::sys::signal::kill(pid, signal_of(signal)).expect("it runs");
        demo.wait().expect("it ends");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !leftovers().is_empty() {
            assert!(std::time::Instant::now() < end, "SIG{signal}: still running: {:?}", leftovers());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn signal_of(name: &str) -> nix::sys::signal::Signal {
    if name == "TERM" { nix::sys::signal::Signal::SIGTERM } else { nix::sys::signal::Signal::SIGKILL }
}

/// Command lines of processes of demo hosts, wherever they hang in the process tree: their arguments name the lab.
fn leftovers() -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.starts_with(BASCULE) && ["lab-web", "lab-probe", "bascule-demo-"].iter().any(|w| line.contains(w)) {
            found.push(line);
        }
    }
    found
}
