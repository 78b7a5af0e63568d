//! An address that is lost in whatever way, at whatever moment, is told and started again (DESIGN §3.14): no `Started` without it.

use crate::fixture::{Group, NODES, other, signal, vips};
use crate::root::root;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// Moments tried; 200 of them with `BASCULE_LONG=1`.
const MOMENTS: usize = 10;
/// Interval of the addresses' monitors.
const MONITOR: Duration = Duration::from_secs(5);

/// Numbers from a seed (splitmix64), so that a failure can be repeated: `BASCULE_SEED=N`.
struct Seed(u64);

impl Seed {
    fn new() -> Seed {
        let given = std::env::var("BASCULE_SEED").ok().and_then(|s| s.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let seed = given.unwrap_or(now);
        println!("BASCULE_SEED={seed}");
        Seed(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// The one node that holds everything while the other holds nothing.
async fn settled(group: &Group) -> Option<&'static str> {
    for name in NODES {
        if group.held(name).await == vips().len() && group.held(other(name)).await == 0 {
            return Some(name);
        }
    }
    None
}

/// Waits until the group is whole, and stays so for a moment.
async fn whole_again(group: &Group, what: &str, patience: Duration) -> (&'static str, Duration) {
    let began = Instant::now();
    loop {
        if let Some(name) = settled(group).await {
            let after = began.elapsed();
            tokio::time::sleep(Duration::from_millis(300)).await;
            if settled(group).await == Some(name) {
                return (name, after);
            }
        }
        assert!(
            began.elapsed() < patience,
            "{what}: not back after {:?}: {} holds {}, {} holds {}\n{}\n{}",
            began.elapsed(),
            NODES[0],
            group.held(NODES[0]).await,
            NODES[1],
            group.held(NODES[1]).await,
            group.command("d1", &["crm_mon", "-1", "-r", "-f"]).unwrap_or_default(),
            group.logs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Both nodes are in the cluster, as the node itself says.
async fn both_online(group: &Group) {
    let online = |text: &str| text.lines().any(|l| l.contains("Online:") && NODES.iter().all(|n| l.contains(n)));
    group.until("both nodes online", || group.command("d1", &["crm_mon", "-1"]).filter(|t| online(t)).map(drop)).await;
}

enum Harm {
    /// One address, or all of them, taken away by hand.
    Deleted(Vec<std::net::IpAddr>),
    /// The owner's daemon stopped for so long.
    Stopped(Duration),
}

impl Harm {
    fn random(seed: &mut Seed) -> Harm {
        match seed.below(4) {
            0 => Harm::Deleted(vips().to_vec()),
            1 => Harm::Deleted(vec![vips()[seed.below(vips().len() as u64) as usize]]),
            _ => Harm::Stopped(Duration::from_millis(50 + seed.below(451))),
        }
    }

    async fn inflict(&self, group: &Group, owner: &str) {
        match self {
            Harm::Deleted(addresses) => {
                for addr in addresses {
                    // Not there yet, or not any more: as good as deleted.
                    group.delete(owner, *addr).await;
                }
            }
            Harm::Stopped(length) => {
                let (daemon, _) = group.processes(owner);
                signal(daemon, Signal::SIGSTOP);
                tokio::time::sleep(*length).await;
                signal(daemon, Signal::SIGCONT);
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Harm::Deleted(addresses) => format!("{} deleted", addresses.len()),
            Harm::Stopped(length) => format!("stopped for {} ms", length.as_millis()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_around_starts_and_moves_it_comes_back() {
    let Some(()) = root() else { return };
    let long = std::env::var("BASCULE_LONG").is_ok_and(|v| v == "1");
    let (moments, mut seed) = (if long { 200 } else { MOMENTS }, Seed::new());
    let group = Group::start_with("fast", &[]).await;
    let mut worst = Duration::ZERO;
    for moment in 0..moments {
        // Each moment by itself: starts that repeat are held back, longer each time, until an operator says otherwise.
        group.command("d1", &["crm_resource", "--cleanup"]);
        both_online(&group).await;
        let (owner, _) = whole_again(&group, "before the harm", Duration::from_secs(60)).await;
        let harm = Harm::random(&mut seed);
        let mut victim = owner;
        // Half of them around a move, whose start and stop take some tens of milliseconds.
        let moved = seed.below(2) == 0;
        if moved {
            victim = other(owner);
            group.command(owner, &["crm_resource", "--move", "-r", "director", "-N", victim]);
        }
        let after = Duration::from_millis(seed.below(if moved { 600 } else { 1500 }));
        tokio::time::sleep(after).await;
        let what = format!(
            "moment {moment}: {} {} ms after {}",
            harm.name(),
            after.as_millis(),
            if moved { "a move" } else { "rest" }
        );
        harm.inflict(&group, victim).await;
        let (_, took) = whole_again(&group, &what, MONITOR * 2).await;
        println!("{what}: back after {} ms", took.as_millis());
        worst = worst.max(took);
        if moved {
            group.command(owner, &["crm_resource", "--clear", "-r", "director"]);
        }
    }
    println!("{moments} moments, slowest return {} ms", worst.as_millis());
}
