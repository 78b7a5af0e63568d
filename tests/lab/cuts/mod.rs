//! Two directors that cannot see each other (DESIGN §3.20): every cut, and every way in which a daemon stops working.
//!
//! ```text
//!   ring network ─── eth1 of d1, d2
//!   service LAN ──── eth0 of d1, d2 (two addresses of each family) and of the client
//! ```
//!
//! Once each; `BASCULE_LONG=1` does everything 20 times, `BASCULE_ROUNDS=N` N times, `BASCULE_CUT=TEXT` those of that name. The table that is printed is the result; what must hold on any
//! machine is asserted.

mod hang;
mod observer;

use crate::asker::Client;
use crate::fixture::{Group, NODES, other, signal, vips};
use crate::root::root;
use hang::Hang;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use observer::on_both;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a cut lasts: longer than any lease.
const LASTS: Duration = Duration::from_millis(4500);
/// When a node whose core hangs has left its ring, at the latest.
const HANG_NOTICED: Duration = Duration::from_secs(6);
/// What is slower is told in full.
const HEALS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    RingAtOwner,
    RingAtOther,
    /// The owner does not hear the other one.
    RingOneWay,
    /// The other one does not hear the owner.
    RingOtherWay,
    ServiceAtOwner,
    ServiceAtOther,
    /// Its switch passes nothing on, and the carrier stays.
    ServiceIsolated,
    BothAtOwner,
    BothAtOther,
    Killed,
    Stopped,
    KilledWithGuard,
    StoppedWithGuard,
    KilledGuardStopped,
    StoppedGuardKilled,
    /// Its core hangs; ring, leases and guard go on.
    CoreHangs,
    /// The same, and the leases are not renewed either: only the ring and the signs of life go on.
    AllHangs,
    /// The same without a guard.
    AllHangGuardKilled,
}

impl Harm {
    const ALL: [Harm; 18] = [
        Harm::RingAtOwner,
        Harm::RingAtOther,
        Harm::RingOneWay,
        Harm::RingOtherWay,
        Harm::ServiceAtOwner,
        Harm::ServiceAtOther,
        Harm::ServiceIsolated,
        Harm::BothAtOwner,
        Harm::BothAtOther,
        Harm::Killed,
        Harm::Stopped,
        Harm::KilledWithGuard,
        Harm::StoppedWithGuard,
        Harm::KilledGuardStopped,
        Harm::StoppedGuardKilled,
        Harm::CoreHangs,
        Harm::AllHangs,
        Harm::AllHangGuardKilled,
    ];

    const fn name(self) -> &'static str {
        match self {
            Harm::RingAtOwner => "ring cut at the owner",
            Harm::RingAtOther => "ring cut at the other",
            Harm::RingOneWay => "ring: owner hears nothing",
            Harm::RingOtherWay => "ring: other hears nothing",
            Harm::ServiceAtOwner => "service LAN cut at the owner",
            Harm::ServiceAtOther => "service LAN cut at the other",
            Harm::ServiceIsolated => "service LAN dead, carrier there",
            Harm::BothAtOwner => "both cut at the owner",
            Harm::BothAtOther => "both cut at the other",
            Harm::Killed => "daemon killed",
            Harm::Stopped => "daemon stopped",
            Harm::KilledWithGuard => "daemon and guard killed",
            Harm::StoppedWithGuard => "daemon and guard stopped",
            Harm::KilledGuardStopped => "daemon killed, guard stopped",
            Harm::StoppedGuardKilled => "daemon stopped, guard killed",
            Harm::CoreHangs => "daemon's core hangs",
            Harm::AllHangs => "daemon hangs, its ring lives",
            Harm::AllHangGuardKilled => "daemon hangs, guard killed",
        }
    }

    /// Where the addresses have to be while it lasts; `None`: they cannot be reached, whoever has them.
    fn keeps_owner(self) -> Option<bool> {
        match self {
            Harm::RingAtOwner | Harm::RingAtOther | Harm::RingOneWay | Harm::RingOtherWay => Some(true),
            Harm::ServiceAtOther | Harm::BothAtOther => Some(true),
            Harm::ServiceIsolated => None,
            _ => Some(false),
        }
    }

    /// What `bascule plan` calls it.
    const fn case(self) -> &'static str {
        match self {
            Harm::RingAtOwner | Harm::RingAtOther | Harm::RingOneWay | Harm::RingOtherWay => "ring",
            Harm::ServiceAtOwner | Harm::ServiceAtOther => "carrier",
            Harm::ServiceIsolated => "service_lan",
            Harm::BothAtOwner | Harm::BothAtOther => "both_networks",
            Harm::Killed | Harm::Stopped => "daemon",
            Harm::KilledWithGuard | Harm::StoppedWithGuard | Harm::KilledGuardStopped | Harm::StoppedGuardKilled => {
                "daemon_and_guard"
            }
            Harm::CoreHangs | Harm::AllHangs | Harm::AllHangGuardKilled => "daemon_hangs",
        }
    }

    /// Longest outage and longest time on two nodes that the plan states for it, in ms.
    fn stated(self, plan: &serde_json::Value, takeover: &str) -> (Option<u64>, u64) {
        let cases = plan["cases"].as_array().expect("cases");
        let case = cases.iter().find(|c| c["case"] == self.case()).expect("the plan speaks of it");
        // The other one's cuts cost nothing.
        let outage = match self.keeps_owner() {
            Some(true) => Some(0),
            _ => case["outage_ms"][takeover]["most"].as_u64(),
        };
        (outage, case["twice_ms"][takeover].as_u64().expect("a bound"))
    }

    fn stops_daemon(self) -> bool {
        matches!(self, Harm::Stopped | Harm::StoppedWithGuard | Harm::StoppedGuardKilled)
    }

    /// Threads that go on while the daemon hangs; `None`: it does not.
    fn lives_on(self) -> Option<&'static [&'static str]> {
        match self {
            Harm::CoreHangs => Some(&["ring", "lease-keeper", "lease-heart"]),
            Harm::AllHangs | Harm::AllHangGuardKilled => Some(&["ring", "lease-heart"]),
            _ => None,
        }
    }

    /// A node whose core hangs stays in its ring for so long.
    fn lasts(self) -> Duration {
        if self.lives_on().is_some() { LASTS + HANG_NOTICED } else { LASTS }
    }

    fn kills_daemon(self) -> bool {
        matches!(self, Harm::Killed | Harm::KilledWithGuard | Harm::KilledGuardStopped)
    }

    async fn inflict(self, group: &Group, owner: &'static str, (daemon, guard): (Pid, Pid)) -> Option<Hang> {
        let ring = group.ring.as_ref().expect("a ring network");
        let far = other(owner);
        match self {
            Harm::RingAtOwner => ring.plug(owner, false).await,
            Harm::RingAtOther => ring.plug(far, false).await,
            Harm::RingOneWay => mislead(group, far, owner, true),
            Harm::RingOtherWay => mislead(group, owner, far, true),
            Harm::ServiceAtOwner => group.lab.unplug(owner).await.expect("a port"),
            Harm::ServiceAtOther => group.lab.unplug(far).await.expect("a port"),
            Harm::ServiceIsolated => group.lab.isolate(owner).await.expect("a port"),
            Harm::BothAtOwner => {
                group.lab.isolate(owner).await.expect("a port");
                ring.plug(owner, false).await;
            }
            Harm::BothAtOther => {
                group.lab.isolate(far).await.expect("a port");
                ring.plug(far, false).await;
            }
            Harm::CoreHangs | Harm::AllHangs | Harm::AllHangGuardKilled => {
                if self == Harm::AllHangGuardKilled {
                    signal(guard, Signal::SIGKILL);
                }
                let on = self.lives_on().unwrap_or_default();
                return Some(Hang::start(daemon, |name| !on.contains(&name)).await);
            }
            _ => {
                match self {
                    Harm::KilledWithGuard | Harm::StoppedGuardKilled => signal(guard, Signal::SIGKILL),
                    Harm::StoppedWithGuard | Harm::KilledGuardStopped => signal(guard, Signal::SIGSTOP),
                    _ => {}
                }
                signal(daemon, if self.kills_daemon() { Signal::SIGKILL } else { Signal::SIGSTOP });
            }
        }
        None
    }

    async fn undo(self, group: &mut Group, owner: &'static str, (daemon, guard): (Pid, Pid), hang: Option<Hang>) {
        let far = other(owner);
        let hung = hang.is_some();
        if let Some(hang) = hang {
            hang.end().await;
        }
        match self {
            Harm::RingOneWay => mislead(group, far, owner, false),
            Harm::RingOtherWay => mislead(group, owner, far, false),
            Harm::ServiceAtOwner => group.lab.plug(owner).await.expect("a port"),
            Harm::ServiceAtOther => group.lab.plug(far).await.expect("a port"),
            Harm::ServiceIsolated | Harm::BothAtOwner => group.lab.reach(owner).await.expect("a port"),
            Harm::BothAtOther => group.lab.reach(far).await.expect("a port"),
            _ => {}
        }
        if let Some(ring) = &group.ring {
            ring.plug(owner, true).await;
            ring.plug(far, true).await;
        }
        if self.stops_daemon() {
            signal(daemon, Signal::SIGCONT);
        }
        // A guard that was stopped ends with its daemon, once it runs.
        if matches!(self, Harm::StoppedWithGuard | Harm::KilledGuardStopped) {
            signal(guard, Signal::SIGCONT);
        }
        // One that has hung has left its ring, and ends; its unit starts it again.
        if self.kills_daemon() || hung {
            let at = NODES.iter().position(|n| *n == owner).expect("a node");
            group.daemons[at].wait().await.expect("it ended");
            group.daemons[at] = group.start_daemon(owner);
        }
    }
}

/// `from` sends what is for the ring address of `to` to a host that does not exist, or does no longer.
fn mislead(group: &Group, from: &str, to: &str, lie: bool) {
    let n = NODES.iter().position(|n| *n == to).expect("a node") + 1;
    let words = match lie {
        true => format!("neigh replace 10.78.0.{n} lladdr 02:00:00:00:de:ad dev eth1 nud permanent"),
        false => format!("neigh del 10.78.0.{n} dev eth1"),
    };
    let mut ip = std::process::Command::new("ip");
    ip.args(words.split(' '));
    let status = group.host(from).ns.spawn(&mut ip).map(|mut child| child.wait().expect("it ends"));
    assert!(status.expect("ip runs").success(), "ip {words}");
}

/// What one round showed.
#[derive(Clone, Copy, Default)]
struct Round {
    outage_v4: Duration,
    outage_v6: Duration,
    /// On both nodes, and reachable on both, while the harm lasted.
    both: Duration,
    reached: Duration,
    /// The same from its end to the moment at which all was well.
    both_after: Duration,
    reached_after: Duration,
    healed: Duration,
}

impl Round {
    fn worse(self, than: Round) -> Round {
        Round {
            outage_v4: self.outage_v4.max(than.outage_v4),
            outage_v6: self.outage_v6.max(than.outage_v6),
            both: self.both.max(than.both),
            reached: self.reached.max(than.reached),
            both_after: self.both_after.max(than.both_after),
            reached_after: self.reached_after.max(than.reached_after),
            healed: self.healed.max(than.healed),
        }
    }
}

/// One node holds everything, the other nothing, and each sees the other.
async fn well(group: &Group) -> Option<&'static str> {
    for name in NODES {
        if group.held(name).await != vips().len() || group.held(other(name)).await != 0 {
            continue;
        }
        let online = |node: &str| {
            let text = group.command(node, &["crm_mon", "-1"]).unwrap_or_default();
            text.lines().any(|l| l.contains("Online:") && NODES.iter().all(|n| l.contains(n)))
        };
        if NODES.iter().all(|n| online(n)) {
            return Some(name);
        }
    }
    None
}

async fn until_well(group: &Group, what: &str) -> &'static str {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(name) = well(group).await {
            return name;
        }
        assert!(
            Instant::now() < end,
            "{what}: not well again: {} holds {}, {} holds {}\n{}\n{}",
            NODES[0],
            group.held(NODES[0]).await,
            NODES[1],
            group.held(NODES[1]).await,
            group.command("d1", &["crm_mon", "-1", "-r", "-f"]).unwrap_or_default(),
            group.logs()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn one(group: &mut Group, clients: &[Client; 2], harm: Harm, what: &str) -> Round {
    let owner = until_well(group, what).await;
    // Announcements of the start are over, cards are told.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let processes = group.processes(owner);
    let addrs: [IpAddr; 4] = vips();
    let began = Instant::now();
    let hang = harm.inflict(group, owner, processes).await;
    // On a machine whose kernel is busy a lease is over later, and whoever takes over waits for it.
    let moved = async || harm.keeps_owner() != Some(false) || group.held(other(owner)).await == addrs.len();
    let over = async || began.elapsed() >= harm.lasts() && (moved().await || began.elapsed() >= PATIENCE);
    let both = on_both(group, &addrs, over).await;
    let middle = Instant::now();
    let judged: Vec<_> = clients.iter().map(|c| c.judge(began, middle)).collect();
    let reached = judged[0].1.max(judged[1].1);
    let kept = group.held(owner).await;
    let moved = group.held(other(owner)).await;
    match harm.keeps_owner() {
        Some(true) => assert_eq!(kept, addrs.len(), "{what}: the owner has lost it\n{}", group.logs()),
        Some(false) => assert_eq!(moved, addrs.len(), "{what}: nobody took over\n{}", group.logs()),
        None => {}
    }
    assert_eq!(reached, Duration::ZERO, "{what}: two nodes answered the client\n{}", group.logs());
    harm.undo(group, owner, processes, hang).await;
    let undone = Instant::now();
    let mut healed = None;
    let both_after = on_both(group, &addrs, async || {
        healed = healed.or(well(group).await.map(|_| undone.elapsed()));
        healed.is_some() || undone.elapsed() > PATIENCE
    })
    .await;
    until_well(group, what).await;
    if healed.is_none_or(|after| after > HEALS) {
        println!("{what}: healed only after {healed:?}\n{}", group.logs());
    }
    // What failed for the cut keeps no node from holding the addresses next time, and needs no operator.
    let counts = |node: &str| group.command(node, &["crm_mon", "-1", "-f"]).unwrap_or_else(|| "INFINITY".to_owned());
    let free = || NODES.iter().all(|n| !counts(n).contains("INFINITY")).then_some(());
    group.until(&format!("{what}: failures are forgotten"), free).await;
    let after: Vec<_> = clients.iter().map(|c| c.judge(undone, Instant::now())).collect();
    Round {
        outage_v4: judged[0].0,
        outage_v6: judged[1].0,
        both,
        reached,
        both_after,
        reached_after: after[0].1.max(after[1].1),
        healed: healed.unwrap_or(PATIENCE),
    }
}

/// Cuts of this part, so that the machine's processors share the work.
async fn table(takeover: &str, harms: &[Harm]) {
    let long = std::env::var("BASCULE_LONG").is_ok_and(|v| v == "1");
    let wanted = std::env::var("BASCULE_ROUNDS").ok().and_then(|n| n.parse().ok());
    let rounds = wanted.unwrap_or(if long { 20 } else { 1 });
    let only = std::env::var("BASCULE_CUT").ok();
    // What the guard does not do the lease does, which others show as well.
    let wanted_here = |h: &&Harm| match &only {
        Some(only) => h.name().contains(only.as_str()),
        None => long || **h != Harm::AllHangGuardKilled,
    };
    let mut text = format!(
        "takeover={takeover}, worst of {rounds}{:16}  outage v4   v6   stated  on both  reached  stated   after: both  reached   healed (ms)\n",
        ""
    );
    for harm in harms.iter().filter(wanted_here) {
        if harm.lives_on().is_some() && !hang::possible() {
            println!("SKIPPED: {}: strace is not installed", harm.name());
            continue;
        }
        let (mut worst, mut stated) = (Round::default(), (None, 0));
        for round in 0..rounds {
            // Each round by itself: the ring is patient with a node that was taken out again and again.
            let mut group = Group::start_apart(takeover, &[]).await;
            let clients = {
                let host = group.host("client");
                [Client::start(host, vips()[0]).await, Client::start(host, vips()[2]).await]
            };
            let what = format!("takeover={takeover}, {}, round {round}", harm.name());
            let plan = group.command(
                "d1",
                &[
                    "plan",
                    "--json",
                    "-c",
                    group.path("corosync.conf").to_str().expect("UTF-8"),
                    "-x",
                    group.path("cib.xml").to_str().expect("UTF-8"),
                ],
            );
            let plan = serde_json::from_str(&plan.expect("a plan")).expect("JSON");
            stated = harm.stated(&plan, takeover);
            worst = worst.worse(one(&mut group, &clients, *harm, &what).await);
        }
        let ms = |d: Duration| d.as_millis();
        let _ = writeln!(
            text,
            "{:36}{:>9}{:>7}{:>9}{:>9}{:>9}{:>8}{:>13}{:>9}{:>9}",
            harm.name(),
            ms(worst.outage_v4),
            ms(worst.outage_v6),
            stated.0.map_or("-".to_owned(), |ms| ms.to_string()),
            ms(worst.both),
            ms(worst.reached),
            stated.1,
            ms(worst.both_after),
            ms(worst.reached_after),
            ms(worst.healed)
        );
        println!("{}", text.lines().last().unwrap_or_default());
    }
    println!("{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_with_takeover_fast() {
    let Some(()) = root() else { return };
    table("fast", &Harm::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_with_takeover_safe() {
    let Some(()) = root() else { return };
    table("safe", &Harm::ALL).await;
}
