//! Watches the LANs of the held addresses for others that use them; [`super::strangers`] says what follows.

use super::apart::Apart;
use super::strangers::{Strangers, Turn};
use super::{Event, Inner, lock, own_card};
use crate::lease::{Claimed, WeakKeeper};
use crate::net::Net;
use kernel::clock::boottime;
use kernel::inquiry::{Ear, Mac};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// Between two looks at what is held; so late may an address be watched after its start.
const LOOK: Duration = Duration::from_secs(1);
/// After something was heard: a flood of packets must not keep this node busy.
const REST: Duration = Duration::from_millis(20);
/// What is heard and not judged yet.
const QUEUE: usize = 64;

/// What was heard on a link.
type Report = (u32, Vec<(IpAddr, Mac)>);

pub(super) struct Lookout {
    lan: Weak<Inner>,
    keeper: WeakKeeper,
    ears: BTreeMap<u32, Watched>,
    strangers: Strangers,
}

/// An ear on one link, for these addresses. It is taken off when this is dropped.
struct Watched {
    addrs: BTreeSet<IpAddr>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lookout {
    pub fn new(lan: Weak<Inner>, keeper: WeakKeeper) -> Lookout {
        Lookout { lan, keeper, ears: BTreeMap::new(), strangers: Strangers::default() }
    }

    /// For as long as the LAN's handle and the keeper live.
    pub async fn run(mut self) {
        let (to, mut reports) = mpsc::channel(QUEUE);
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.lan.strong_count() > 0 {
            tokio::select! {
                _ = tick.tick() => {
                    let Some(held) = self.held().await else { return };
                    self.listen(&held, &to).await;
                    self.look(&held).await;
                }
                Some((link, heard)) = reports.recv() => {
                    let Some(held) = self.held().await else { return };
                    self.heard(&held, link, heard).await;
                }
            }
        }
    }

    async fn held(&self) -> Option<Vec<Claimed>> {
        self.keeper.upgrade()?.claims().await.ok()
    }

    /// Ears on the links where something is held, and on no others.
    async fn listen(&mut self, held: &[Claimed], to: &mpsc::Sender<Report>) {
        let mut wanted: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for (_, vip, _) in held {
            wanted.entry(vip.interface_index).or_default().insert(vip.addr);
        }
        self.ears.retain(|link, ear| !ear.task.is_finished() && wanted.get(link) == Some(&ear.addrs));
        wanted.retain(|link, _| !self.ears.contains_key(link));
        if wanted.is_empty() {
            return;
        }
        let Ok(net) = Net::open() else { return };
        for link in net.links().await.unwrap_or_default() {
            let Some(addrs) = wanted.remove(&link.index) else { continue };
            match Ear::open(&link, addrs.clone()) {
                Ok(Some(ear)) => {
                    let task = tokio::spawn(hear(link.index, ear, to.clone()));
                    self.ears.insert(link.index, Watched { addrs, task });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "nobody notices strangers that use an address of this node"),
            }
        }
    }

    async fn heard(&mut self, held: &[Claimed], link: u32, heard: Vec<(IpAddr, Mac)>) {
        let own = own_card().await.unwrap_or_default();
        for (addr, mac) in heard.into_iter().filter(|(_, mac)| !own.macs.contains(mac)) {
            let holds = |(_, vip, _): &&Claimed| vip.addr == addr && vip.interface_index == link;
            let Some((resource, ..)) = held.iter().find(holds) else { continue };
            let Some(lan) = self.lan.upgrade() else { return };
            let who = lock(&lan.peers).judge(mac);
            if let Some(turn) = self.strangers.heard(resource, addr, mac, &who, boottime()) {
                self.take(turn).await;
            }
        }
    }

    async fn look(&mut self, held: &[Claimed]) {
        if self.strangers.is_empty() {
            return;
        }
        let Some(lan) = self.lan.upgrade() else { return };
        let holds = |resource: &str, addr| held.iter().any(|(r, vip, _)| r == resource && vip.addr == addr);
        let turns = self.strangers.look(boottime(), holds, |mac| lock(&lan.peers).judge(mac));
        for turn in turns {
            self.take(turn).await;
        }
    }

    async fn take(&self, turn: Turn) {
        let Some(lan) = self.lan.upgrade() else { return };
        match turn {
            Turn::Defend { resource } => {
                if let Some(keeper) = self.keeper.upgrade() {
                    keeper.defend_once(resource).await;
                }
            }
            Turn::Told { resource, addr, mac } => {
                let text = format!("{}; it is kept and defended here", super::duplicate(addr, mac));
                (lan.on_event)(Event::Duplicate { resource, text });
            }
            Turn::Over { resource, addr } => {
                let text = format!("nobody else is heard to use {addr} any more");
                (lan.on_event)(Event::Ended { resource, text, failed: false });
            }
        }
    }
}

async fn hear(link: u32, ear: Ear, to: mpsc::Sender<Report>) {
    let shared = Arc::new(ear);
    let _apart = Apart::of(&shared);
    // Declared last, so it goes first.
    let ear = shared;
    loop {
        match ear.heard().await {
            Ok(heard) => {
                if to.send((link, heard)).await.is_err() {
                    return;
                }
            }
            // The next look opens another.
            Err(error) => return tracing::warn!(%error, "strangers that use an address of this node"),
        }
        tokio::time::sleep(REST).await;
    }
}
