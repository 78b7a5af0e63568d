//! The scheduler's own process: its death is a failed transition, told, with its input kept, and survived.

use crate::fixture::{self, Cluster, write_resource};
use crate::root::root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;

const NODES: [&str; 2] = ["n1", "n2"];

/// Process ids of the workers that `daemon` started.
fn workers(daemon: Pid) -> Vec<Pid> {
    let children = std::fs::read_dir(format!("/proc/{daemon}/task")).expect("the daemon runs");
    let threads = children.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("children")).ok());
    let ids: Vec<i32> =
        threads.flat_map(|t| t.split_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<_>>()).collect();
    let is_worker =
        |id: &i32| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.starts_with(b"schedule-worker"));
    ids.into_iter().filter(is_worker).map(Pid::from_raw).collect()
}

fn kept(state_dir: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(state_dir.join("failed-transitions"));
    files.map(|all| all.filter_map(|f| Some(f.ok()?.path())).collect()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_is_told_kept_and_repeated() {
    let Some(()) = root() else { return };
    let cluster = Cluster::start(&NODES).await;
    let dc = cluster.status("n1").and_then(|s| s.dc_name).expect("a coordinator");
    let pid = cluster.pid(&dc);
    let worker = cluster.until("one worker", || workers(pid).pop()).await;
    // It takes the next run and never answers; then it is killed, as by the kernel when memory ends.
    kill(worker, Signal::SIGSTOP).expect("stopped");
    write_resource(&cluster.run_dir("n1"), "poison", fixture::PATIENCE).expect("an answer");
    let asked =
        |node: &str| cluster.timeline(node).events.iter().any(|e| e.kind == "schedule" && e.text.contains("CIB"));
    cluster.until("the scheduler was asked", || asked(&dc).then_some(())).await;
    kill(worker, Signal::SIGKILL).expect("killed");
    let warning = cluster
        .until("the failed run is told", || {
            let warnings = cluster.status(&dc)?.warnings;
            warnings.into_iter().find(|w| w.contains("no transition") && w.contains("crm_simulate -S -x"))
        })
        .await;
    assert!(warning.contains("SIGKILL") || warning.contains("signal: 9"), "{warning}");
    let file = cluster.until("its input is kept", || kept(&cluster.state_dir(&dc)).pop()).await;
    assert!(std::fs::read_to_string(&file).expect("readable").contains("poison"), "{}", file.display());
    // Repeated by a new worker, and the node has not noticed anything.
    cluster
        .until("the warning goes", || {
            cluster.status(&dc)?.warnings.iter().all(|w| !w.contains("no transition")).then_some(())
        })
        .await;
    assert_ne!(workers(pid), [worker]);
    cluster.wait_for_ring(&NODES).await;
}
