//! Four nodes in two halves, with Debian's arbitrator: the server restarts meanwhile, goes away, and is out of one half's reach.

use super::*;

/// The halves hear each other, or not.
async fn halves(cluster: &Cluster, apart: bool) {
    part(cluster, &["n1", "n2"], &[3, 4], apart).await;
    part(cluster, &["n3", "n4"], &[1, 2], apart).await;
}

async fn all(cluster: &Cluster, arbiter: &Arbiter, total: u32) {
    for node in FOUR {
        until(cluster, arbiter, node, total, true).await;
    }
}

/// Until both nodes of one half have quorum by the arbitrator's vote, and those of the other have none.
async fn one_half(cluster: &Cluster, arbiter: &Arbiter) {
    let has = |node: &str| quorum(cluster, node).map(|q| (q.total_votes, q.quorate));
    let end = Instant::now() + crate::fixture::PATIENCE;
    loop {
        let found = FOUR.map(has);
        let (with, without) = (Some((3, true)), Some((2, false)));
        assert!(
            !(found[..2].contains(&with) && found[2..].contains(&with)),
            "both halves: {found:?}\n{}",
            arbiter.log()
        );
        if found == [with, with, without, without] || found == [without, without, with, with] {
            return;
        }
        assert!(Instant::now() < end, "{found:?}\n{}\n{}", cluster.logs(), arbiter.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_two_with_debians_arbitrator() {
    let Some(()) = root() else { return };
    if !have(&[QNETD]) {
        return;
    }
    let mut cluster =
        cables(&FOUR, &device("ffsplit", "            tls: off\n            tie_breaker: highest\n")).await;
    let mut arbiter = Arbiter::new(Maker::Debian, &cluster);
    arbiter.start(&cluster);
    start(&mut cluster, &FOUR).await;
    all(&cluster, &arbiter, 5).await;
    halves(&cluster, true).await;
    for (node, total, quorate) in [("n3", 3, true), ("n4", 3, true), ("n1", 2, false), ("n2", 2, false)] {
        until(&cluster, &arbiter, node, total, quorate).await;
    }
    // The server restarts while they are apart: never both halves, and one as soon as it is back. Debian's gives its vote to the half
    // that is there first, if it is not asked by the other before the vote is confirmed.
    arbiter.end().await;
    for node in FOUR {
        until(&cluster, &arbiter, node, 2, false).await;
    }
    arbiter.start(&cluster);
    one_half(&cluster, &arbiter).await;
    halves(&cluster, false).await;
    all(&cluster, &arbiter, 5).await;
    // Without the server four together stay what they are.
    arbiter.end().await;
    all(&cluster, &arbiter, 4).await;
    arbiter.start(&cluster);
    all(&cluster, &arbiter, 5).await;
    // The half that would win does not reach it: the other one goes on.
    for node in ["n3", "n4"] {
        cluster.lab.unplug_from(node, 1).await.expect("cut");
    }
    halves(&cluster, true).await;
    for (node, total, quorate) in [("n1", 3, true), ("n2", 3, true), ("n3", 2, false), ("n4", 2, false)] {
        until(&cluster, &arbiter, node, total, quorate).await;
    }
}
