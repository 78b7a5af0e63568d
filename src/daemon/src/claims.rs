//! Holders of the same address find each other on its LAN while the ring is cut, and one of them gives it up
//! (`agents::lan::claim` says which).
//!
//! ```text
//!   holds something, nobody silent ── hellos until each peer is known, then nothing
//!   holds something, a node silent ── every Bounds::claim: what is held, sealed for that node, on the links where it is held
//!   a claim that is heard          ── the better right: announce anew │ the worse: drop it
//! ```
//!
//! Packets are those of the ring ([`wire::session`]), under keys of their own, as Ethernet frames: unsealed and recorded ones
//! count for nothing. Where the ring is well the cluster's state decides alone, and claims are not looked at.

use crate::clock;
use crate::timeline::Timeline;
use agents::Agents;
use agents::lan::claim::{Claim, MAX_CLAIMED, Right};
use agents::lease::Claimed;
use base::NodeId;
use base::lease::Bounds;
use kernel::clock::boottime;
use kernel::frames::Frames;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use wire::session::{Endpoint, Opened};

/// While nobody is silent, what is held is looked at only each so many rounds.
const CALM_ROUNDS: u32 = 20;
/// Between two announcements against the same claim.
const DEFEND_EVERY: Duration = Duration::from_millis(500);
/// Before the socket is opened again after it has failed.
const PAUSE: Duration = Duration::from_secs(2);

/// What the core knows and claims need.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    pub quorate: bool,
    /// By name.
    pub silent: BTreeMap<NodeId, String>,
}

pub struct Claims {
    pub me: NodeId,
    pub endpoint: Endpoint,
    pub agents: Agents,
    pub timeline: Timeline,
    pub standing: watch::Receiver<Standing>,
}

impl Claims {
    /// Runs as long as the node does.
    pub async fn run(mut self) {
        let mut defended = BTreeMap::new();
        loop {
            match Frames::open() {
                Ok(frames) => {
                    let error = self.exchange(&frames, &mut defended).await;
                    tracing::warn!(%error, "holders of the same address cannot find each other");
                }
                Err(error) => tracing::warn!(%error, "holders of the same address cannot find each other"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn exchange(&mut self, frames: &Frames, defended: &mut BTreeMap<String, Duration>) -> std::io::Error {
        let mut claimed = Instant::now();
        loop {
            let calm = self.standing.borrow_and_update().silent.is_empty();
            let every = Bounds::STANDARD.claim * if calm { CALM_ROUNDS } else { 1 };
            tokio::select! {
                frame = frames.receive() => match frame {
                    Ok((link, frame)) => self.heard(frames, link, &frame, defended).await,
                    Err(error) => return error,
                },
                () = tokio::time::sleep_until(claimed + every) => {
                    claimed = Instant::now();
                    self.claim(frames).await;
                }
                // Somebody may have fallen silent; one who will not say so any more has ended.
                changed = self.standing.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    async fn held(&self) -> Vec<Claimed> {
        match self.agents.leases() {
            Some(keeper) => keeper.claims().await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Tells each silent node what is held here, and says hello to those who are not known yet.
    async fn claim(&mut self, frames: &Frames) {
        let held = self.held().await;
        let links: BTreeSet<u32> = held.iter().map(|(_, vip, _)| vip.interface_index).collect();
        if links.is_empty() {
            return;
        }
        let (now, standing) = (clock::now(), self.standing.borrow().clone());
        for node in standing.silent.keys() {
            if !self.endpoint.is_established(*node) {
                self.endpoint.urge(*node, now);
                continue;
            }
            for link in &links {
                for claim in claims(&held, *link, standing.quorate) {
                    if let Ok(packet) = self.endpoint.seal(*node, &claim.encode()) {
                        // A link that is down passes nothing.
                        let _ = frames.send(*link, &packet);
                    }
                }
            }
        }
        while let Some((_, hello)) = self.endpoint.poll_transmit(now) {
            links.iter().for_each(|link| drop(frames.send(*link, &hello)));
        }
    }

    async fn heard(&mut self, frames: &Frames, link: u32, frame: &[u8], defended: &mut BTreeMap<String, Duration>) {
        let now = clock::now();
        // What cannot be opened is anybody's: nothing follows from it.
        match self.endpoint.open(now, frame) {
            Ok(Opened::Data(from, body)) => {
                if let Some(claim) = Claim::decode(&body) {
                    self.judge(from, link, &claim, defended).await;
                }
            }
            Ok(Opened::Hello(..) | Opened::Refused(_)) | Err(_) => {}
        }
        while let Some((_, hello)) = self.endpoint.poll_transmit(now) {
            let _ = frames.send(link, &hello);
        }
    }

    async fn judge(&self, from: NodeId, link: u32, claim: &Claim, defended: &mut BTreeMap<String, Duration>) {
        let standing = self.standing.borrow().clone();
        let Some(name) = standing.silent.get(&from) else { return };
        let Some(keeper) = self.agents.leases() else { return };
        let now = boottime();
        defended.retain(|_, at| now.saturating_sub(*at) < DEFEND_EVERY);
        for (resource, vip, since) in self.held().await {
            let theirs = claim.held.iter().find(|(addr, _)| *addr == vip.addr && vip.interface_index == link);
            let Some((_, held_ms)) = theirs else { continue };
            let own = Right { quorate: standing.quorate, held: now.saturating_sub(since), node: self.me };
            let other = Right { quorate: claim.quorate, held: Duration::from_millis(*held_ms), node: from };
            if !own.beats(&other) {
                keeper.yield_to(resource, from).await;
            } else if !defended.contains_key(&resource) {
                let text =
                    format!("{} is held by node {name} as well, which has to give it up: announced anew", vip.addr);
                self.timeline.add("address_defended", &resource, &text);
                tracing::warn!("address_defended {resource}: {text}");
                defended.insert(resource.clone(), now);
                keeper.defend(resource).await;
            }
        }
    }
}

/// What is held on one link, in claims that fit a frame each.
fn claims(held: &[Claimed], link: u32, quorate: bool) -> Vec<Claim> {
    let now = boottime();
    let age = |since: &Duration| now.saturating_sub(*since).as_millis() as u64;
    let on: Vec<_> = held.iter().filter(|(_, vip, _)| vip.interface_index == link).collect();
    let claim = |some: &[&Claimed]| Claim {
        quorate,
        held: some.iter().map(|(_, vip, since)| (vip.addr, age(since))).collect(),
    };
    on.chunks(MAX_CLAIMED).map(claim).collect()
}
