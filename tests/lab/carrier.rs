//! An address's link without carrier: the group moves, the link may be used again without a clean-up, and flaps are damped.

use crate::fixture::{Group, NODES, other, vips};
use crate::root::root;
use base::lease::Bounds;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

async fn until_on(group: &Group, node: &str, what: &str) {
    let end = Instant::now() + PATIENCE;
    while group.held(node).await != vips().len() || group.held(other(node)).await != 0 {
        assert!(Instant::now() < end, "{what}: not on {node}\n{}", group.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether some address may not start on the node because it has failed there.
fn barred(group: &Group, node: &str) -> bool {
    let text = group.command(node, &["crm_mon", "-1", "-f"]).unwrap_or_else(|| "INFINITY".to_owned());
    let at = text.find(&format!("Node: {node}")).map_or("", |at| &text[at..]);
    let own = at.split("\n  * Node: ").next().unwrap_or_default();
    own.contains("INFINITY")
}

async fn until_free(group: &Group, node: &str) -> Instant {
    group.until(&format!("{node} is free of failures"), || (!barred(group, node)).then_some(())).await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_has_its_carrier_again_is_used_without_a_clean_up() {
    let Some(()) = root() else { return };
    // The ring elsewhere, so that both nodes stay members.
    let group = Group::start_apart("fast", &[]).await;
    let first = group.wait_for_owner().await;
    let second = other(first);
    // There and back, twice: each node in turn has only the other's link to go to, which was without carrier the last time.
    for (from, to) in [(first, second), (second, first), (first, second), (second, first)] {
        tokio::time::sleep(Duration::from_millis(300)).await;
        group.lab.unplug(from).await.expect("a port");
        until_on(&group, to, &format!("{from} has no carrier")).await;
        group.lab.plug(from).await.expect("a port");
        until_free(&group, from).await;
    }
    let log = group.logs();
    assert!(log.contains("its link has a carrier again, and keeps it"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_flaps_is_left_alone_for_longer() {
    let Some(()) = root() else { return };
    let group = Group::start_apart("fast", &[]).await;
    let owner = group.wait_for_owner().await;
    let flaps = 5;
    for _ in 0..flaps {
        group.lab.unplug(owner).await.expect("a port");
        tokio::time::sleep(Duration::from_millis(200)).await;
        group.lab.plug(owner).await.expect("a port");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let still = Instant::now();
    until_on(&group, other(owner), "it flaps").await;
    // Each loss within the time of calm doubles the wait.
    let least = Bounds::STANDARD.settle * 2u32.pow(flaps - 1);
    assert!(least < Bounds::STANDARD.settle_most);
    let free = until_free(&group, owner).await;
    let after = free - still;
    println!("{flaps} losses: used again {} ms after the last one", after.as_millis());
    // The last cable was put back up to 50 ms before `still`.
    assert!(after + Duration::from_millis(100) >= least, "{after:?} after the last flap, {least:?} stated");
    assert_eq!(group.held(owner).await, 0, "it is only allowed to come back: nothing moves");
    // And it can be used.
    group.lab.unplug(other(owner)).await.expect("a port");
    until_on(&group, owner, "the other link fails").await;
    assert!(NODES.contains(&owner));
}
