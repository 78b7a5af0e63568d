//! What a service manager and its unit file rely on: signals, notifications, reload, stop. The shipped unit is read here, and
//! each of its claims is tried on the running program.

use crate::fixture::{self, Cluster, corosync_conf};
use crate::root::root;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const UNIT: &str = include_str!("../../configs/systemd/bascule.service");

/// Keys of the unit's `[Service]`.
fn unit() -> BTreeMap<&'static str, &'static str> {
    let service = UNIT.split("[Service]").nth(1).and_then(|s| s.split("\n[").next()).expect("a [Service]");
    service.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('=')).collect()
}

/// All that the node says to the manager from now on, until `wanted` is among it.
fn heard(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    socket.set_read_timeout(Some(fixture::PATIENCE)).expect("set");
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = match socket.recv(&mut buffer) {
            // With a time-out it is not begun anew by itself.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            answer => answer.unwrap_or_else(|e| panic!("no {wanted} after {all:?}: {e}")),
        };
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let found = said.lines().any(|l| l == wanted);
        all.push(said);
        if found {
            return all;
        }
    }
}

/// As systemd reads them: an unknown key or value is a warning there, and no hardening.
#[test]
fn systemd_understands_all_of_the_shipped_units() {
    if std::process::Command::new("systemd-analyze").arg("--version").output().is_err() {
        return eprintln!("SKIPPED: there is no systemd-analyze (Debian: systemd)");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let units = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/systemd")).expect("units");
    let mut count = 0;
    for unit in units.map(|u| u.expect("a file").path()) {
        let name = unit.file_name().expect("a name").to_string_lossy().into_owned();
        // Not installed here.
        let text = std::fs::read_to_string(&unit).expect("text").replace("/usr/sbin/bascule", fixture::BASCULE);
        let copy = dir.path().join(&name);
        std::fs::write(&copy, text).expect("written");
        let out = std::process::Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&copy)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let about: Vec<&str> = said.lines().filter(|l| l.contains(&name)).collect();
        assert!(out.status.success() && about.is_empty(), "{name}: {said}");
        count += 1;
    }
    assert!(count >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_unit_says_what_the_program_does() {
    let Some(()) = root() else { return };
    let unit = unit();
    let mut cluster = Cluster::prepare(&["n1"]).await;
    let socket_path = cluster.path("notify");
    let socket = UnixDatagram::bind(&socket_path).expect("a socket");
    cluster.env.insert("NOTIFY_SOCKET", socket_path.display().to_string());
    // A hundredth of the unit's, so that the test need not wait.
    let watchdog: u64 = unit["WatchdogSec"].parse().expect("seconds");
    assert!(watchdog > 5, "a node that hangs leaves the ring after 5 s, and must not be killed before");
    cluster.env.insert("WATCHDOG_USEC", (watchdog * 10_000).to_string());
    cluster.start_node("n1");

    assert_eq!(unit["Type"], "notify");
    heard(&socket, "READY=1");
    heard(&socket, "WATCHDOG=1");
    // Fed by what ticks: a process that stands still gives no sign.
    cluster.signal("n1", Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    socket.set_nonblocking(true).expect("set");
    while socket.recv(&mut [0; 4096]).is_ok() {}
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(socket.recv(&mut [0; 4096]).is_err(), "a sign of life of a stopped process");
    socket.set_nonblocking(false).expect("set");
    cluster.signal("n1", Signal::SIGCONT);
    heard(&socket, "WATCHDOG=1");

    assert_eq!(unit["ExecReload"], "/bin/kill -HUP $MAINPID");
    cluster.signal("n1", Signal::SIGHUP);
    let said = heard(&socket, "READY=1");
    assert!(said.iter().any(|s| s.starts_with("RELOADING=1\nMONOTONIC_USEC=")), "{said:?}");

    // What systemd keeps between two lives is what the node relies on.
    assert_eq!((unit["RuntimeDirectory"], unit["RuntimeDirectoryPreserve"]), ("bascule", "yes"));
    assert_eq!((unit["StateDirectory"], unit["StateDirectoryMode"]), ("bascule", "0750"));
    assert!(wire::api::DEFAULT_RUN_DIR.ends_with("/bascule") && wire::api::DEFAULT_STATE_DIR.ends_with("/bascule"));

    // Nothing that agents need is taken away from them.
    let forbidden = [
        "ProtectSystem",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "PrivateNetwork",
        "NoNewPrivileges",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictRealtime",
    ];
    assert!(forbidden.iter().all(|key| !unit.contains_key(key)), "{unit:?}");
    // Of these only what no agent needs is taken away, by name.
    assert!(["CapabilityBoundingSet", "SystemCallFilter"].iter().all(|key| unit[key].starts_with('~')), "{unit:?}");
    assert_eq!((unit["Delegate"], unit["KillMode"]), ("yes", "mixed"));

    // A stop by systemd's signal, in good order, well within its time.
    cluster.signal("n1", Signal::SIGTERM);
    heard(&socket, "STOPPING=1");
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut("n1").expect("a daemon").wait()).await;
    assert!(ended.expect("it leaves").expect("it ended").success(), "{}", cluster.logs());

    // A configuration that is refused is not tried again and again.
    let codes: Vec<&str> = unit["RestartPreventExitStatus"].split_whitespace().collect();
    std::fs::write(cluster.path("corosync.conf"), "totem {\n").expect("written");
    cluster.start_node("n1");
    let ended = cluster.daemons.get_mut("n1").expect("a daemon").wait().await.expect("it ended");
    assert!(codes.contains(&ended.code().expect("a code").to_string().as_str()), "{ended:?}");
}

/// What systemd does to a node that gives no sign of life (`WatchdogSec=`), and an operator to one that hangs.
#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_node_ends_at_once_and_leaves_its_blackbox() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::start(&["n1"]).await;
    let within: u64 = unit()["TimeoutAbortSec"].parse().expect("seconds");
    cluster.signal("n1", Signal::SIGABRT);
    let daemon = cluster.daemons.get_mut("n1").expect("a daemon");
    let ended = tokio::time::timeout(Duration::from_secs(within), daemon.wait()).await.expect("in time");
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.expect("it ended"));
    assert_eq!(signal, Some(Signal::SIGABRT as i32), "{}", cluster.logs());
    let left = std::fs::read(cluster.state_dir("n1").join("fdata")).expect("a blackbox");
    let left: wire::api::Blackbox = serde_json::from_slice(&left).expect("JSON");
    assert!(left.reason.contains("aborted"), "{}", left.reason);
    assert!(left.records.iter().any(|r| r.text.contains("members n1")), "{:?}", left.records);
    assert!(left.status.is_some_and(|s| s.name == "n1"));
    // And it can start again.
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hangup_applies_what_can_be_applied_and_ends_nothing() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1"]).await;
    let log = cluster.path("file.log");
    let conf = |more: &str, logging: &str| {
        corosync_conf(&["n1"]).replace("cluster_name: test\n", &format!("cluster_name: test\n{more}")).replace(
            "to_syslog: no\n",
            &format!("to_syslog: no\n    to_logfile: yes\n    logfile: {}\n{logging}", log.display()),
        )
    };
    std::fs::write(cluster.path("corosync.conf"), conf("", "")).expect("written");
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    let reloads = |cluster: &Cluster| cluster.timeline("n1").events.into_iter().filter(|e| e.kind == "reload").count();
    let before = cluster.pid("n1");
    let hangup = async |cluster: &Cluster| {
        let had = reloads(cluster);
        cluster.signal("n1", Signal::SIGHUP);
        cluster.until("a reload", || (reloads(cluster) > had).then_some(())).await;
    };
    // The log was moved away, and debug lines are wanted.
    std::fs::rename(&log, cluster.path("file.log.1")).expect("moved");
    std::fs::write(cluster.path("corosync.conf"), conf("", "    debug: on\n")).expect("written");
    hangup(&cluster).await;
    cluster.signal("n1", Signal::SIGUSR1);
    cluster
        .until("debug lines in a new file", || std::fs::read_to_string(&log).ok()?.contains("DEBUG").then_some(()))
        .await;
    let warnings = cluster.status("n1").expect("an answer").warnings;
    assert!(!warnings.iter().any(|w| w.contains("restart")), "{warnings:?}");
    // What cannot be applied is named, until the file says again what runs.
    std::fs::write(cluster.path("corosync.conf"), conf("    netmtu: 1400\n", "")).expect("written");
    hangup(&cluster).await;
    let warnings = cluster.status("n1").expect("an answer").warnings;
    assert!(warnings.iter().any(|w| w.contains("restart") && w.contains("totem.netmtu")), "{warnings:?}");
    // A file that is refused changes nothing.
    std::fs::write(cluster.path("corosync.conf"), "totem {\n    version: 2\n    nonsense\n}\n").expect("written");
    hangup(&cluster).await;
    let warnings = cluster.status("n1").expect("an answer").warnings;
    assert!(warnings.iter().any(|w| w.contains("refused") && w.contains("corosync.conf:")), "{warnings:?}");
    std::fs::write(cluster.path("corosync.conf"), conf("", "")).expect("written");
    hangup(&cluster).await;
    let warnings = cluster.status("n1").expect("an answer").warnings;
    assert!(!warnings.iter().any(|w| w.contains("restart") || w.contains("refused")), "{warnings:?}");
    // Signals that would end or stop a process that does not expect them.
    for signal in [Signal::SIGPIPE, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTSTP, Signal::SIGTTOU, Signal::SIGALRM]
    {
        cluster.signal("n1", signal);
    }
    hangup(&cluster).await;
    assert_eq!(cluster.pid("n1"), before, "the same process\n{}", cluster.logs());
}

/// Standard error is a pipe that nobody reads, and debug lines fill it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_on_standard_error_delays_nobody() {
    let Some(()) = root() else { return };
    let mut cluster = Cluster::prepare(&["n1"]).await;
    cluster.env.insert("BASCULE_LOG", "trace".to_owned());
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    cluster.stderr = Some(stderr);
    cluster.start_node("n1");
    cluster.wait_for_ring(&["n1"]).await;
    cluster
        .until("lines are dropped", || {
            for n in 0..50 {
                fixture::write_resource(&cluster.run_dir("n1"), &format!("r{n}"), fixture::PATIENCE)?;
            }
            (cluster.counter("n1", "log.stderr.dropped") > 0).then_some(())
        })
        .await;
    cluster.signal("n1", Signal::SIGTERM);
    let ended = tokio::time::timeout(fixture::PATIENCE, cluster.daemons.get_mut("n1").expect("a daemon").wait()).await;
    assert!(ended.expect("it leaves, though nobody reads").expect("it ended").success());
    drop(unread);
}
