//! What can be done to a node, how it is chosen, done and withdrawn.

use super::field::Field;
use crate::disk;
use nix::sys::signal::Signal;
use sim::rng::Rng;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    RingDown,
    LanDown,
    BothDown,
    /// It does not hear one of the others on the ring.
    RingOneWay,
    Stopped,
    Killed,
    FullDisk,
    HungDisk,
    CleanStop,
    Standby,
    Move,
    Cleanup,
}

impl Kind {
    const ALL: [Kind; 12] = [
        Kind::RingDown,
        Kind::LanDown,
        Kind::BothDown,
        Kind::RingOneWay,
        Kind::Stopped,
        Kind::Killed,
        Kind::FullDisk,
        Kind::HungDisk,
        Kind::CleanStop,
        Kind::Standby,
        Kind::Move,
        Kind::Cleanup,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::RingDown => "ring cut",
            Kind::LanDown => "service LAN cut",
            Kind::BothDown => "both networks cut",
            Kind::RingOneWay => "ring one way",
            Kind::Stopped => "daemon stopped (SIGSTOP)",
            Kind::Killed => "daemon killed",
            Kind::FullDisk => "disk full",
            Kind::HungDisk => "disk hangs",
            Kind::CleanStop => "clean stop, start",
            Kind::Standby => "standby",
            Kind::Move => "move",
            Kind::Cleanup => "cleanup",
        }
    }

    /// Whether somebody may lose sight of a node for it.
    const fn hides_a_node(self) -> bool {
        matches!(self, Kind::RingDown | Kind::BothDown | Kind::RingOneWay | Kind::Stopped | Kind::Killed)
    }
}

/// One fault.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub victim: &'static str,
    /// The node that is not heard, the one to move to.
    other: &'static str,
    /// What a client does while it lasts.
    meanwhile: Option<Kind>,
    pub holder: bool,
    pub lasts: Duration,
}

impl Fault {
    /// Nodes that may be fenced for it.
    pub fn may_be_fenced(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::RingOneWay => vec![self.victim, self.other],
            kind if kind.hides_a_node() => vec![self.victim],
            _ => Vec::new(),
        }
    }
}

/// Every kind once in random order, and again.
pub struct Deck {
    kinds: Vec<Kind>,
    at: usize,
}

impl Deck {
    /// `half`: begins in its middle, so that two tests of a few faults have all kinds between them.
    pub fn shuffled(rng: &mut Rng, half: bool) -> Deck {
        let only = std::env::var("BASCULE_FAULT").unwrap_or_default();
        let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| k.name().contains(&only)).collect();
        assert!(!kinds.is_empty(), "no fault has {only} in its name");
        for n in (1..kinds.len()).rev() {
            kinds.swap(n, rng.below(n as u64 + 1) as usize);
        }
        let at = if half { kinds.len() / 2 } else { 0 };
        Deck { kinds, at }
    }

    fn next(&mut self) -> Kind {
        self.at += 1;
        self.kinds[(self.at - 1) % self.kinds.len()]
    }
}

pub async fn choose(rng: &mut Rng, deck: &mut Deck, field: &Field) -> Fault {
    let kind = std::iter::repeat_with(|| deck.next()).find(|k| !field.cannot.contains(k)).expect("endless");
    let names = &field.cluster.names;
    let holder = field.holder().await;
    // The one that has the address is what hurts.
    let victim = if rng.percent(60) { holder.unwrap_or(names[0]) } else { *rng.pick(names) };
    let others: Vec<&'static str> = names.iter().copied().filter(|n| *n != victim).collect();
    let meanwhile = [Kind::Move, Kind::Cleanup, Kind::Standby];
    let meanwhile = (kind.hides_a_node() && rng.percent(30)).then(|| *rng.pick(&meanwhile));
    let ms = match kind {
        Kind::Stopped => *rng.pick(&[300, 1200, 4500, 7000]),
        Kind::Cleanup => 500,
        _ => rng.between(1500, 5000),
    };
    Fault {
        kind,
        victim,
        other: others[rng.below(others.len() as u64) as usize],
        meanwhile,
        holder: holder == Some(victim),
        lasts: Duration::from_millis(ms),
    }
}

pub async fn inflict(field: &mut Field, fault: &Fault) {
    let victim = fault.victim;
    match fault.kind {
        Kind::RingDown => field.cluster.lab.unplug_from(victim, 1).await.expect("a port"),
        Kind::LanDown => field.cluster.lab.unplug(victim).await.expect("a port"),
        Kind::BothDown => {
            field.cluster.lab.unplug_from(victim, 1).await.expect("a port");
            field.cluster.lab.unplug(victim).await.expect("a port");
        }
        Kind::RingOneWay => {
            field.in_host(victim, "nft add table inet attack");
            field.in_host(victim, "nft add chain inet attack input { type filter hook input priority 0 ; }");
            let from = field.ring_address(fault.other);
            field.in_host(victim, &format!("nft add rule inet attack input ip saddr {from} drop"));
        }
        Kind::Stopped => field.cluster.signal(victim, Signal::SIGSTOP),
        Kind::Killed => {
            field.held_down.insert(victim);
            field.cluster.kill(victim).await;
        }
        Kind::FullDisk => field.volumes[victim].fill(),
        Kind::HungDisk => field.frozen = Some(disk::freeze(&field.volumes[victim])),
        Kind::CleanStop => {
            field.held_down.insert(victim);
            field.clean_stop(victim).await;
        }
        Kind::Standby | Kind::Move | Kind::Cleanup => command(field, fault.kind, victim, victim, fault.other),
    }
    if let Some(kind) = fault.meanwhile {
        // By a node that is well, for one that is not.
        field.pass(Duration::from_millis(400)).await;
        command(field, kind, fault.other, victim, fault.other);
    }
}

pub async fn withdraw(field: &mut Field, fault: &Fault) {
    let victim = fault.victim;
    match fault.kind {
        Kind::RingDown => field.cluster.lab.plug_into(victim, 1).await.expect("a port"),
        Kind::LanDown => field.cluster.lab.plug(victim).await.expect("a port"),
        Kind::BothDown => {
            field.cluster.lab.plug_into(victim, 1).await.expect("a port");
            field.cluster.lab.plug(victim).await.expect("a port");
        }
        Kind::RingOneWay => field.in_host(victim, "nft delete table inet attack"),
        // It may have been killed meanwhile.
        Kind::Stopped => drop(field.pid(victim).map(|pid| nix::sys::signal::kill(pid, Signal::SIGCONT))),
        Kind::FullDisk => field.volumes[victim].make_room(),
        Kind::HungDisk => field.frozen = None,
        _ => {}
    }
    field.let_go();
    for kind in [Some(fault.kind), fault.meanwhile].into_iter().flatten() {
        match kind {
            Kind::Standby => field.until_said(&["pcs", "node", "unstandby", "--all"]).await,
            Kind::Move => field.until_said(&["crm_resource", "--clear", "-r", "front"]).await,
            _ => {}
        }
    }
}

/// One that is refused, or has no answer, is no fault: what was acknowledged counts.
fn command(field: &mut Field, kind: Kind, by: &'static str, about: &'static str, to: &'static str) {
    match kind {
        Kind::Standby => field.say_at(by, &["pcs", "node", "standby", about]),
        Kind::Move => field.say_at(by, &["crm_resource", "--move", "-r", "front", "-N", to]),
        _ => field.say_at(by, &["crm_resource", "--cleanup"]),
    }
}
