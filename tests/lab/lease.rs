//! A virtual address is a lease (DESIGN §3.7): it goes when its node can no longer answer for it, and stays gone.

use crate::fixture::{Group, NODES, other, signal, vips};
use crate::root::root;
use base::lease::Bounds;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const BOUNDS: Bounds = Bounds::STANDARD;
/// All addresses of a node that can no longer answer for them must be gone within this.
const LIMIT: Duration = BOUNDS.possession();
/// Longer than any lease.
const LONG: Duration = Duration::from_secs(5);
/// For anything that takes far less, on a machine that compiles other things at the same time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who held addresses when, sampled every few milliseconds.
struct Watch {
    gone: Option<Duration>,
    overlap: Duration,
    came_back: bool,
}

/// Watches both nodes for `length` after something was done to `stale`.
async fn watch(group: &Group, stale: &str, length: Duration) -> Watch {
    let began = Instant::now();
    let mut seen = Watch { gone: None, overlap: Duration::ZERO, came_back: false };
    let mut last = Instant::now();
    while began.elapsed() < length {
        let (old, new) = (group.held(stale).await, group.held(other(stale)).await);
        let now = Instant::now();
        if old > 0 && new > 0 {
            seen.overlap += now - last;
        }
        match (old, seen.gone) {
            (0, None) => seen.gone = Some(began.elapsed()),
            (1.., Some(_)) => seen.came_back = true,
            _ => {}
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    seen
}

fn judge(what: &str, group: &Group, seen: &Watch) {
    let gone = seen.gone.unwrap_or_else(|| panic!("{what}: the addresses stayed\n{}", group.logs()));
    println!(
        "{what}: {} addresses gone after {} ms, held twice for {} ms",
        vips().len(),
        gone.as_millis(),
        seen.overlap.as_millis()
    );
    assert!(gone < LIMIT, "{what}: gone only after {gone:?}\n{}", group.logs());
    assert!(!seen.came_back, "{what}: the stale node brought an address back\n{}", group.logs());
}

/// One group lives through all of these, so that the nodes' rejoining is tested on the way.
async fn stopped_and_continued(takeover: &str, guard_too: bool, length: Duration) {
    let group = Group::start(takeover).await;
    let stale = group.wait_for_owner().await;
    let (daemon, guard) = group.processes(stale);
    if guard_too {
        signal(guard, Signal::SIGSTOP);
    }
    signal(daemon, Signal::SIGSTOP);
    let what = format!("kill -STOP, takeover={takeover}{}", if guard_too { ", guard stopped too" } else { "" });
    let seen = watch(&group, stale, length).await;
    // Shorter than a lease, the addresses may still be there; then they have to go without having been renewed.
    if length > LIMIT {
        judge(&what, &group, &seen);
        assert_eq!(group.held(other(stale)).await, vips().len(), "{what}: nobody took over\n{}", group.logs());
    }
    signal(daemon, Signal::SIGCONT);
    if guard_too {
        signal(guard, Signal::SIGCONT);
    }
    let after = watch(&group, stale, Duration::from_secs(4)).await;
    let overlap = seen.overlap + after.overlap;
    println!("{what}, for {} ms: held twice for {} ms", length.as_millis(), overlap.as_millis());
    assert!(overlap <= BOUNDS.overlap(), "{what}: held twice for {overlap:?}\n{}", group.logs());
    if length < BOUNDS.lifetime {
        // Its kernel has answered for the addresses all the time, so nobody took them: the cluster starts them anew, on either.
        return owner_announced(&group, group.wait_for_owner().await).await;
    }
    assert!(!seen.came_back && !after.came_back, "{what}: the stale node brought an address back\n{}", group.logs());
    assert_eq!(group.held(stale).await, 0, "{what}: back after SIGCONT\n{}", group.logs());
    assert_eq!(group.held(other(stale)).await, vips().len(), "{what}: the owner lost it\n{}", group.logs());
    owner_announced(&group, other(stale)).await;
}

/// The client's neighbour cache, where it knows the address, names the owner.
async fn owner_announced(group: &Group, owner: &str) {
    let links = group.host(owner).links.list().await.expect("links");
    let mac = links.iter().find(|l| l.name == "eth0").map(|l| Some(l.mac.clone())).expect("eth0 of the owner");
    let known = group.host("client").links.neighbours().await.expect("neighbours");
    for (addr, seen) in known.iter().filter(|(addr, _)| vips().contains(addr)) {
        assert_eq!(seen.as_deref(), mac.as_deref(), "the client takes {addr} to be elsewhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed() {
    let Some(()) = root() else { return };
    let group = Group::start("fast").await;
    let stale = group.wait_for_owner().await;
    assert_eq!(group.held(other(stale)).await, 0, "only one of {NODES:?} holds the group");
    let (daemon, _) = group.processes(stale);
    signal(daemon, Signal::SIGKILL);
    let seen = watch(&group, stale, LIMIT).await;
    judge("kill -9, takeover=fast", &group, &seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_with_takeover_fast() {
    let Some(()) = root() else { return };
    stopped_and_continued("fast", false, LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_together_with_the_guard() {
    let Some(()) = root() else { return };
    stopped_and_continued("fast", true, LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_with_takeover_safe() {
    let Some(()) = root() else { return };
    stopped_and_continued("safe", true, LONG).await;
}

/// Shorter than its lease, longer than the others were patient: they ask the LAN, and stay away.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_for_less_than_a_lease_together_with_the_guard() {
    let Some(()) = root() else { return };
    stopped_and_continued("fast", true, Duration::from_secs(1)).await;
}

/// How long after `harm` the other node holds everything.
async fn taken_over_after(group: &Group, from: &str, harm: impl FnOnce()) -> Duration {
    let began = Instant::now();
    harm();
    while group.held(other(from)).await < vips().len() {
        assert!(began.elapsed() < PATIENCE, "nobody took over\n{}", group.logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_waits_for_the_bound_of_a_node_that_may_live() {
    let Some(()) = root() else { return };
    let group = Group::start("safe").await;
    let stale = group.wait_for_owner().await;
    let (daemon, _) = group.processes(stale);
    let took = taken_over_after(&group, stale, || signal(daemon, Signal::SIGKILL)).await;
    println!("takeover=safe, unconfirmed: started elsewhere after {} ms", took.as_millis());
    assert!(
        took >= BOUNDS.hold(),
        "taken over after {took:?}, before the lease was over for certain\n{}",
        group.logs()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn safe_does_not_wait_for_who_leaves() {
    let Some(()) = root() else { return };
    let group = Group::start("safe").await;
    let leaving = group.wait_for_owner().await;
    let (daemon, _) = group.processes(leaving);
    let took = taken_over_after(&group, leaving, || signal(daemon, Signal::SIGTERM)).await;
    println!("takeover=safe, planned: started elsewhere after {} ms", took.as_millis());
    assert!(took < BOUNDS.hold(), "a planned leave was waited for: {took:?}\n{}", group.logs());
}
