//! The keeper and the guard on real addresses, in a network namespace of the test's own (needs root).

use super::*;
use crate::guard::GuardLink;
use crate::net::{Announce, Net};
use base::Names;
use base::lease::Bounds;
use kernel::announce::Burst;
use kernel::clock::boottime;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const B: Bounds = Bounds::STANDARD;
/// On a machine that compiles other things at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `work` in a fresh network namespace on a thread of its own; says so and does nothing when that is not permitted.
fn in_namespace(work: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(e) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIPPED: needs root to make a network namespace: {e}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            ip("link add here type veth peer name there");
            ip("link set there up");
            ip("link set here up");
            work().await;
        });
    });
    thread.join().unwrap();
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(done.success(), "ip {words}");
}

/// A guard process that writes down what it hears, each line with its moment.
fn listener(dir: &Path) -> (PathBuf, PathBuf) {
    let (script, heard) = (dir.join("guard"), dir.join("heard"));
    let text = format!(
        "#!/usr/bin/python3\nimport sys, time\nout = open({heard:?}, 'w', buffering=1)\n\
         for line in sys.stdin:\n    out.write('%d %s' % (time.clock_gettime(time.CLOCK_BOOTTIME) * 1e6, line))\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    (script, heard)
}

/// Longest time between two lines, after the first `skip` lines.
fn largest_gap(heard: &Path, from: Duration) -> (usize, Duration) {
    let file = BufReader::new(std::fs::File::open(heard).unwrap());
    let moments: Vec<u64> =
        file.lines().map_while(Result::ok).filter_map(|l| l.split(' ').next()?.parse().ok()).collect();
    let moments: Vec<u64> = moments.into_iter().filter(|at| u128::from(*at) >= from.as_micros()).collect();
    let gap = moments.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(u64::MAX);
    (moments.len(), Duration::from_micros(gap))
}

struct Kept {
    keeper: Keeper,
    permit: Permit,
    dropped: Arc<Mutex<Vec<(String, Lost)>>>,
    link: u32,
}

impl Kept {
    async fn start(guard: GuardLink) -> Kept {
        let permit = Permit::default();
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let told = dropped.clone();
        let keeper = Keeper::start(
            permit.clone(),
            guard,
            Arc::new(move |event| {
                if let KeeperEvent::Dropped { resource, why, .. } = event {
                    told.lock().unwrap().push((resource, why));
                }
            }),
        );
        let links = Net::open().unwrap().links().await.unwrap();
        let link = links.iter().find(|l| l.name == "here").unwrap().index;
        Kept { keeper: keeper.unwrap(), permit, dropped, link }
    }

    fn permit_for(&self, length: Duration) {
        self.permit.set_until(boottime() + length);
    }

    fn vip(&self, n: usize) -> Vip {
        let addr = [10, 9, (n / 250) as u8, (n % 250) as u8 + 1].into();
        Vip { addr, interface_index: self.link, label: None }
    }

    async fn grant(&self, n: usize) {
        let announce = Announce { burst: Burst { count: 2, interval_ms: 100 }, refresh_s: 60, check_link: false };
        self.keeper.grant(&format!("vip{n}"), self.vip(n), announce).await.unwrap();
    }

    fn dropped(&self) -> Vec<(String, Lost)> {
        self.dropped.lock().unwrap().clone()
    }

    /// Until so many losses were told.
    async fn until_dropped(&self, count: usize) {
        let began = Instant::now();
        while self.dropped().len() < count {
            assert!(began.elapsed() < PATIENCE, "{} of {count} losses told", self.dropped().len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

#[test]
fn a_thousand_addresses_are_renewed_and_delay_nothing() {
    in_namespace(async || {
        let dir = tempfile::tempdir().unwrap();
        let (guard, heard) = listener(dir.path());
        let kept = Kept::start(GuardLink::start(guard)).await;
        kept.permit_for(PATIENCE * 2);
        let owners: Names = (0..1000).map(|n| format!("vip{n}")).collect();
        kept.keeper.set_owners(owners);
        let began = Instant::now();
        for n in 0..1000 {
            kept.grant(n).await;
        }
        let granted = began.elapsed();
        let (from, net) = (boottime(), Net::open().unwrap());
        // Far longer than a lifetime, with starts and stops between the renewals.
        let mut slowest = Duration::ZERO;
        let until = Instant::now() + B.lifetime * 3;
        while Instant::now() < until {
            let asked = Instant::now();
            kept.keeper.release("vip999", Some(kept.vip(999))).await.unwrap();
            kept.grant(999).await;
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seen = net.seen().await.unwrap();
        let there = (0..1000).filter(|n| seen.contains_key(&kept.vip(*n).key())).count();
        let (beats, gap) = largest_gap(&heard, from);
        println!(
            "1000 addresses granted in {} ms; then {beats} lines to the guard, largest gap {} ms; slowest release and grant {} ms",
            granted.as_millis(),
            gap.as_millis(),
            slowest.as_millis()
        );
        let dropped: Vec<(String, Lost)> = kept.dropped().into_iter().take(3).collect();
        assert_eq!((there, dropped), (1000, vec![]));
        assert!(gap < B.hung / 2, "the guard would have acted: {gap:?}");
        // All of them leave at once, each is told once, and nobody brings one back.
        ip("link set here down");
        ip("addr flush dev here");
        kept.until_dropped(1000).await;
        let told: BTreeSet<String> = kept.dropped().into_iter().map(|(r, _)| r).collect();
        assert_eq!((told.len(), kept.dropped().len()), (1000, 1000));
        tokio::time::sleep(B.renew * 2).await;
        let seen = net.seen().await.unwrap();
        assert!(!(0..1000).any(|n| seen.contains_key(&kept.vip(n).key())));
    });
}

#[test]
fn a_round_of_a_thousand_renewals_leaves_room_for_its_repetition() {
    in_namespace(async || {
        let permit = Permit::default();
        permit.set_until(boottime() + PATIENCE * 2);
        let heart = heart::Heart::start(GuardLink::none()).unwrap();
        let mut worker = worker::Worker::open(permit, heart, Arc::new(|_| {})).unwrap();
        let link = Net::open().unwrap().links().await.unwrap().iter().find(|l| l.name == "here").unwrap().index;
        let announce = Announce { burst: Burst { count: 0, interval_ms: 100 }, refresh_s: 0, check_link: false };
        for n in 0..1000u16 {
            let addr = if n % 2 == 0 {
                IpAddr::from([10, 9, (n / 250) as u8, (n % 250) as u8 + 1])
            } else {
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])
            };
            worker.take(&n.to_string(), Vip { addr, interface_index: link, label: None }, announce).await;
        }
        let mut rounds = Vec::new();
        for _ in 0..5 {
            rounds.push(worker.whole_round().await);
        }
        println!("rounds of 1000 renewals: {rounds:?}");
        let best = rounds.iter().min().copied().unwrap_or(PATIENCE);
        assert!(best < B.lifetime - B.renew, "{rounds:?}");
    });
}

/// By hand, by the guard or by an interface that flaps: at any moment from the start on.
#[test]
fn every_loss_is_told_and_a_new_start_places_the_address() {
    in_namespace(async || {
        let kept = Kept::start(GuardLink::none()).await;
        let net = Net::open().unwrap();
        kept.permit_for(PATIENCE * 2);
        let vip = kept.vip(1);
        for round in 0..25u64 {
            kept.grant(1).await;
            assert!(kept.keeper.present(vip.clone()).await.unwrap());
            // From at once to past two renewals, at moments that a renewal may share.
            tokio::time::sleep(Duration::from_millis(round * 37)).await;
            net.remove(&vip).await.unwrap();
            kept.until_dropped(round as usize + 1).await;
            assert!(!kept.keeper.present(vip.clone()).await.unwrap(), "round {round}");
        }
        assert!(kept.dropped().iter().all(|(r, why)| (r.as_str(), why) == ("vip1", &Lost::Removed)));
        // Put there by hand, it is still not what the cluster has started.
        kept.grant(1).await;
        net.remove(&vip).await.unwrap();
        kept.until_dropped(26).await;
        net.make_permanent(&vip).await.unwrap();
        assert!(!kept.keeper.present(vip.clone()).await.unwrap());
        kept.keeper.release("vip1", Some(vip.clone())).await.unwrap();
        assert!(!net.present(&vip).await.unwrap(), "a stop takes it away");
        kept.grant(1).await;
        assert!(kept.keeper.present(vip.clone()).await.unwrap());
        // An interface that goes takes it along.
        ip("link del here");
        kept.until_dropped(27).await;
    });
}

/// Removed and re-created between two looks: what a renewal does that was on its way while the guard removed the address.
#[test]
fn an_address_that_was_away_for_a_moment_is_lost() {
    in_namespace(async || {
        let kept = Kept::start(GuardLink::none()).await;
        let net = Net::open().unwrap();
        kept.permit_for(PATIENCE);
        let vip = kept.vip(1);
        kept.grant(1).await;
        tokio::time::sleep(B.renew * 2).await;
        net.remove(&vip).await.unwrap();
        net.lease(&vip, B.lifetime).await.unwrap();
        kept.until_dropped(1).await;
        assert_eq!(kept.dropped(), [("vip1".to_owned(), Lost::Removed)]);
        let began = Instant::now();
        while net.present(&vip).await.unwrap() {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

#[test]
fn without_permit_it_goes_within_the_stated_time_and_stays_away() {
    in_namespace(async || {
        let kept = Kept::start(GuardLink::none()).await;
        let net = Net::open().unwrap();
        kept.permit_for(Duration::from_secs(1));
        kept.grant(1).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ended = Instant::now();
        while net.present(&kept.vip(1)).await.unwrap() {
            assert!(ended.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!(
            "gone {} ms after the permit; stated: {} ms",
            ended.elapsed().as_millis(),
            (B.possession() - B.permit).as_millis()
        );
        assert!(ended.elapsed() <= B.possession() - B.permit);
        kept.until_dropped(1).await;
        kept.permit_for(PATIENCE);
        tokio::time::sleep(B.renew * 3).await;
        assert!(!net.present(&kept.vip(1)).await.unwrap(), "a permit brings nothing back");
    });
}

/// A node that left its addresses behind for an upgrade starts again: they must not stay permanent, nor go before the cluster has
/// learned whose they are.
#[test]
fn what_is_found_becomes_a_lease_once_this_node_owns_it() {
    in_namespace(async || {
        let kept = Kept::start(GuardLink::none()).await;
        let net = Net::open().unwrap();
        kept.permit_for(PATIENCE);
        let vip = kept.vip(1);
        let announce = Announce { burst: Burst { count: 0, interval_ms: 100 }, refresh_s: 60, check_link: false };
        net.make_permanent(&vip).await.unwrap();
        kept.keeper.adopt("vip1", vip.clone(), announce).await;
        tokio::time::sleep(B.owner_grace + B.lifetime).await;
        assert!(!kept.keeper.holds("vip1").await.unwrap() && net.present(&vip).await.unwrap(), "nobody's yet");
        kept.keeper.set_owners(Names::from_iter(["vip1"]));
        let began = Instant::now();
        while !kept.keeper.holds("vip1").await.unwrap() {
            assert!(began.elapsed() < PATIENCE, "it is no lease");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Not renewed any more, it lapses: the kernel counts.
        kept.permit.revoke();
        kept.until_dropped(1).await;
        assert!(!net.present(&vip).await.unwrap());
        // One that has gone before the cluster gives it to this node is not put back.
        kept.keeper.set_owners(Names::default());
        net.make_permanent(&vip).await.unwrap();
        kept.keeper.adopt("vip2", vip.clone(), announce).await;
        net.remove(&vip).await.unwrap();
        kept.keeper.set_owners(Names::from_iter(["vip2"]));
        tokio::time::sleep(B.renew).await;
        assert!(!kept.keeper.holds("vip2").await.unwrap() && !net.present(&vip).await.unwrap());
    });
}
