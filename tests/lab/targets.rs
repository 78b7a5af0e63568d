//! Two nodes with `quorum.ping_targets`: which half keeps its vote when they cannot hear each other.
//!
//! The target is the client, on the service LAN; the ring has a network of its own.

use crate::fixture::{Group, NODES, other, vips};
use crate::root::root;
use lab::hosts::vip_v4;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn status(group: &Group, node: &str) -> Option<String> {
    let run_dir = group.path(&format!("{node}.run"));
    let mut command = std::process::Command::new(crate::fixture::BASCULE);
    // It fails where there is no quorum, and says so all the same.
    let out = command.args(["corosync-quorumtool", "-s"]).env("BASCULE_RUN_DIR", run_dir).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.contains("Quorate:").then_some(text)
}

/// Each node's quorum, in the order of [`NODES`], as its own command says.
fn quorate(group: &Group) -> [Option<bool>; 2] {
    NODES.map(|node| {
        let text = status(group, node)?;
        Some(text.contains("Quorate:          Yes"))
    })
}

async fn until_held(group: &Group, what: &str, wanted: [usize; 2]) {
    let end = Instant::now() + PATIENCE;
    loop {
        let held = [group.held(NODES[0]).await, group.held(NODES[1]).await];
        if held == wanted {
            return;
        }
        assert!(Instant::now() < end, "{what}: {held:?}, expected {wanted:?}\n{}", group.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All on `owner`.
fn on(owner: &str) -> [usize; 2] {
    NODES.map(|node| if node == owner { vips().len() } else { 0 })
}

fn both_online(group: &Group) -> Option<()> {
    let online = |text: String| text.lines().any(|l| l.contains("Online:") && NODES.iter().all(|n| l.contains(n)));
    NODES.iter().all(|n| group.command(n, &["crm_mon", "-1"]).is_some_and(online)).then_some(())
}

async fn cut(group: &Group, node: &str, whole: bool) {
    group.ring.as_ref().expect("a ring network").plug(node, whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_half_that_reaches_no_target_loses_its_vote_and_the_other_keeps_the_group() {
    let Some(()) = root() else { return };
    let target = vip_v4(50).to_string();
    let group = Group::start_arbitrated("fast", &target).await;
    group.until("both online", || both_online(&group)).await;
    let owner = group.wait_for_owner().await;
    let far = other(owner);

    // Both reach it: both have quorum, and the holder answers for its addresses.
    cut(&group, owner, false).await;
    let alone = |node: &'static str| {
        let group = &group;
        move || status(group, node).filter(|t| t.contains("Nodes:            1")).map(drop)
    };
    group.until("the ring is cut", alone(owner)).await;
    group.until("the ring is cut at the other end", alone(far)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(quorate(&group), [Some(true); 2], "both reach the target");
    until_held(&group, "both reach the target", on(owner)).await;

    // The holder is cut off from the LAN as well: it loses its vote and gives the addresses up, the other takes them.
    group.lab.isolate(owner).await.expect("a port");
    until_held(&group, "the holder reaches nothing", on(far)).await;
    group.until("it has no quorum", || (quorate(&group) == on(far).map(|n| Some(n > 0))).then_some(())).await;

    // Whole again: the owner of before does not take them back.
    group.lab.reach(owner).await.expect("a port");
    cut(&group, owner, true).await;
    group.until("whole again", || both_online(&group)).await;
    until_held(&group, "whole again", on(far)).await;
    assert_eq!(quorate(&group), [Some(true); 2]);

    // Nobody reaches it, and the ring is whole: two that hear each other need no target.
    group.lab.unplug("client").await.expect("a port");
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert_eq!(quorate(&group), [Some(true); 2], "the ring is whole");
    until_held(&group, "the target is gone, the ring is whole", on(far)).await;
    // With the ring cut as well no half may go on, and with the target back one does.
    cut(&group, owner, false).await;
    until_held(&group, "nobody reaches the target", [0, 0]).await;
    assert_eq!(quorate(&group), [Some(false); 2]);
    group.lab.plug("client").await.expect("a port");
    let end = Instant::now() + PATIENCE;
    loop {
        let held = [group.held(NODES[0]).await, group.held(NODES[1]).await];
        if held == on(owner) || held == on(far) {
            break;
        }
        assert!(Instant::now() < end, "nobody holds them: {held:?}\n{}", group.logs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cut(&group, owner, true).await;
    group.until("whole at the end", || both_online(&group)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_targets_wait_for_a_restart_and_wrong_ones_are_refused() {
    let Some(()) = root() else { return };
    let group = Group::start_arbitrated("fast", &vip_v4(50).to_string()).await;
    let file = group.path("corosync.conf");
    let text = std::fs::read_to_string(&file).expect("the file");
    let (daemon, _) = group.processes("d1");
    let told = |words: &'static str| {
        let group = &group;
        move || group.command("d1", &["crm_mon", "-1"]).filter(|t| t.contains(words)).map(drop)
    };
    for (value, words) in [
        ("10.77.0.51", "waits for a restart of this node: quorum.ping_targets"),
        ("the-router", "the last reload was refused, nothing has changed"),
        ("192.0.2.1 10.77.0.50", "waits for a restart of this node: quorum.ping_targets"),
    ] {
        let changed = text.lines().map(|line| match line.trim_start().starts_with("ping_targets") {
            true => format!("    ping_targets: {value}\n"),
            false => format!("{line}\n"),
        });
        std::fs::write(&file, changed.collect::<String>()).expect("written");
        crate::fixture::signal(daemon, Signal::SIGHUP);
        group.until(value, told(words)).await;
    }
    std::fs::write(&file, &text).expect("written");
    crate::fixture::signal(daemon, Signal::SIGHUP);
    let nothing = || {
        group
            .command("d1", &["crm_mon", "-1"])
            .filter(|t| !t.contains("Warnings") || !t.contains("reload") && !t.contains("waits for"))
            .map(drop)
    };
    group.until("what runs is in the file again", nothing).await;
}
