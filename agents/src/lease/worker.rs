//! The keeper's thread: grants, releases, renews and announces.
//!
//! ```text
//!   every renew:   expire ─► one list of the kernel's addresses ─► compare ─► queue of renewals
//!   in between:    a portion of the queue │ a command │ new owners │ events │ announcements
//! ```
//!
//! A renewal **re-creates an absent address**. So each portion is asked for and answered before anything else is done: no
//! renewal of an address that was released meanwhile can be on its way. Permit and table are looked at for each address,
//! right before its request.

use super::announcer::Announcer;
use super::carrier::{Carriers, Change};
use super::command::{Command, KeeperEvent, LeaseError};
use super::heart::Heart;
use super::permit::Permit;
use super::table::{Dropped, Table, Vip};
use crate::net::{self, Net, NetError};
use base::Names;
use base::lease::{Bounds, MAX_LEASES};
use futures_util::FutureExt;
use futures_util::future::join_all;
use kernel::addr::{AddrError, Event, Events, watch as watch_links};
use kernel::clock::boottime;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

/// Requests to the kernel that are under way together.
const PORTION: usize = 32;
/// Announcements that are looked at and sent together.
const ANNOUNCED: usize = 256;
/// Before events are asked for again after their socket has failed.
const WATCH_AGAIN: Duration = Duration::from_secs(2);

/// Where the thread gets its work from.
pub(super) struct Ports {
    pub queue: mpsc::Receiver<Command>,
    pub owners: watch::Receiver<Option<Names>>,
}

pub(super) struct Worker {
    bounds: Bounds,
    net: Net,
    permit: Permit,
    heart: Heart,
    table: Table,
    announcer: Announcer,
    sender: kernel::announce::Sender,
    /// Renewals of this round that are not asked for yet.
    due: VecDeque<String>,
    /// Own removals of which the kernel will tell, by interface and address, each with its moment.
    removals: BTreeMap<(u32, IpAddr), VecDeque<Duration>>,
    carriers: Carriers,
    /// Addresses that are here without a lease, until this node is seen to own them.
    found: BTreeMap<String, (Vip, net::Announce)>,
    on_event: Arc<dyn Fn(KeeperEvent) + Send + Sync>,
}

impl Worker {
    pub fn open(
        permit: Permit,
        heart: Heart,
        on_event: Arc<dyn Fn(KeeperEvent) + Send + Sync>,
    ) -> Result<Worker, NetError> {
        let bounds = Bounds::STANDARD;
        Ok(Worker {
            bounds,
            net: Net::within(bounds.request)?,
            permit,
            heart,
            table: Table::new(bounds),
            announcer: Announcer::default(),
            sender: kernel::announce::Sender::default(),
            due: VecDeque::new(),
            removals: BTreeMap::new(),
            carriers: Carriers::new(bounds),
            found: BTreeMap::new(),
            on_event,
        })
    }

    pub async fn run(mut self, mut ports: Ports) {
        let mut renew = tokio::time::interval(self.bounds.renew);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut step = tokio::time::interval(self.bounds.stuck / 4);
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut links = Watch::start();
        loop {
            self.heart.step();
            let (announce, fit) = (self.announcer.deadline(), self.carriers.deadline());
            // With nothing to renew, to take away or to vouch for it sleeps.
            let busy = !self.table.is_empty() || !self.removals.is_empty() || self.heart.holds();
            // Fair: neither many commands nor many renewals keep the other waiting.
            tokio::select! {
                _ = renew.tick(), if busy => self.round().await,
                Ok(()) = ports.owners.changed() => {
                    let owners = ports.owners.borrow_and_update().clone();
                    self.owned(owners.unwrap_or_default()).await;
                }
                () = std::future::ready(()), if !self.due.is_empty() => self.portion().await,
                () = sleep_until(announce) => self.announce().await,
                () = sleep_until(fit) => self.fit(),
                command = ports.queue.recv() => match command {
                    Some(command) => {
                        self.heart.step();
                        self.perform(command).await;
                    }
                    None => break,
                },
                events = links.next() => self.events(events).await,
                _ = step.tick(), if busy => {}
            }
        }
        let all: Vec<Vip> = self.table.vips().cloned().collect();
        self.remove(&all).await;
    }

    async fn perform(&mut self, command: Command) {
        match command {
            Command::Grant { resource, vip, announce, done } => {
                let _ = done.send(self.grant(resource, vip, announce).await);
            }
            Command::Release { resource, vip, done } => {
                let _ = done.send(self.release(&resource, vip).await);
            }
            Command::Holds { resource, done } => {
                let _ = done.send(Ok(self.table.holds(&resource)));
            }
            Command::Present { vip, done } => {
                let lost = self.table.is_lost(&vip);
                let _ = done.send(self.net.present(&vip).await.map(|there| there && !lost).map_err(LeaseError::from));
            }
            Command::NoCarrier { resource, link } => self.no_carrier(resource, link).await,
            Command::Claims { done } => {
                let _ = done.send(Ok(self.table.claims()));
            }
            Command::Yield { resource, to } => {
                let dropped = self.table.yielded(&resource, to);
                self.lose(dropped).await;
            }
            Command::Defend { resource } => self.announcer.defend(&resource, boottime()),
            Command::DefendOnce { resource } => self.announcer.once(&resource, boottime()),
            Command::Reannounce => self.announcer.again(None, boottime()),
            Command::Adopt { resource, vip, announce } => {
                if !self.table.holds(&resource) && self.found.len() < MAX_LEASES {
                    self.found.insert(resource, (vip, announce));
                    self.adopt().await;
                }
            }
            Command::MakePermanent { done } => {
                let _ = done.send(self.make_permanent().await);
            }
        }
    }

    /// Takes away what is held for the resource, else `vip`; an address that another resource holds stays.
    async fn release(&mut self, resource: &str, vip: Option<Vip>) -> Result<(), LeaseError> {
        let held = self.table.release(resource);
        self.found.remove(resource);
        self.announcer.end(resource);
        let Some(vip) = held.or(vip).filter(|vip| !self.table.vips().any(|other| other == vip)) else { return Ok(()) };
        self.heart.drop_vip(&vip);
        if self.net.remove(&vip).await? {
            self.expect_gone(&vip);
        }
        Ok(())
    }

    async fn grant(&mut self, resource: String, vip: Vip, announce: net::Announce) -> Result<(), LeaseError> {
        let now = boottime();
        self.found.remove(&resource);
        if !self.table.grant(&resource, vip.clone(), now) {
            return Err(LeaseError::TooMany(MAX_LEASES));
        }
        // The guard hears of it first: should this process die in between, the address must not stay.
        self.heart.hold_vip(&vip);
        if let Err(error) = self.net.lease(&vip, self.bounds.lifetime).await {
            self.table.release(&resource);
            self.heart.drop_vip(&vip);
            return Err(error.into());
        }
        self.carriers.forget(&resource);
        (self.on_event)(KeeperEvent::Added { resource: resource.clone(), vip: vip.clone() });
        self.announcer.begin(&resource, vip.clone(), announce, now);
        if announce.burst.count > 0 {
            (self.on_event)(KeeperEvent::Announced { resource, vip });
        }
        Ok(())
    }

    async fn owned(&mut self, owners: Names) {
        self.table.set_owners(owners);
        let dropped = self.table.expire(boottime());
        self.lose(dropped).await;
        self.adopt().await;
    }

    /// What is here and is this node's becomes a lease, and is renewed from now on; what has gone meanwhile is forgotten.
    async fn adopt(&mut self) {
        let mine = self.found.keys().filter(|resource| self.table.is_owned(resource)).cloned().collect::<Vec<_>>();
        for resource in mine {
            let Some((vip, announce)) = self.found.remove(&resource) else { continue };
            match self.net.present(&vip).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => {
                    tracing::warn!(address = %vip.addr, %error, "it is not known whether the address is here");
                    continue;
                }
            }
            if let Err(error) = self.grant(resource, vip.clone(), announce).await {
                tracing::warn!(address = %vip.addr, %error, "the address is no lease: it would outlast this node's hanging");
            }
        }
    }

    /// What may not be held goes, what is gone is told, and the rest is queued for renewal.
    async fn round(&mut self) {
        let dropped = self.table.expire(boottime());
        self.lose(dropped).await;
        if self.table.is_empty() {
            return;
        }
        match self.look().await {
            Ok(dropped) => self.lose(dropped).await,
            // The next round comes in time.
            Err(error) => return tracing::warn!(%error, "the kernel does not say which addresses there are"),
        }
        self.due = self.table.resources().cloned().collect();
    }

    async fn look(&mut self) -> Result<Vec<Dropped>, NetError> {
        let mut seen = self.net.seen().await?;
        if self.table.lacks(&seen) {
            self.heart.step();
            // A list that others change while it is read may lack an entry; what either has is there.
            seen.extend(self.net.seen().await?);
        }
        Ok(self.table.compare(&seen))
    }

    /// Renews some of what is due.
    async fn portion(&mut self) {
        let some: Vec<String> = self.due.drain(..self.due.len().min(PORTION)).collect();
        let (table, permit, net, lifetime) = (&self.table, &self.permit, &self.net, self.bounds.lifetime);
        let renewals = some.iter().map(|resource| async move {
            let asked = boottime();
            let vip = table.renewable(resource, asked, permit.until())?;
            let outcome = net.lease(vip, lifetime).await;
            Some((resource, vip.clone(), asked, boottime(), outcome))
        });
        let done: Vec<_> = join_all(renewals).await.into_iter().flatten().collect();
        let mut dropped = Vec::new();
        for (resource, vip, asked, done, outcome) in done {
            let permitted = self.permit.until();
            match outcome {
                Ok(()) => dropped.extend(self.table.renewed(resource, asked, done, permitted)),
                Err(error) => {
                    dropped.extend(self.table.crossed(resource, asked, done, permitted));
                    if matches!(error, NetError::Kernel(AddrError::Unknown { .. })) {
                        // Nor will the kernel answer the others in time; the next round comes.
                        self.due.clear();
                    }
                    let reason = error.to_string();
                    (self.on_event)(KeeperEvent::RenewFailed { resource: resource.clone(), vip, reason });
                }
            }
        }
        self.lose(dropped).await;
    }

    /// Every loss is told, whatever its cause: the cluster has to start the resource again.
    async fn lose(&mut self, dropped: Vec<Dropped>) {
        if dropped.is_empty() {
            return;
        }
        let vips: Vec<Vip> = dropped.iter().map(|(_, vip, _)| vip.clone()).collect();
        self.remove(&vips).await;
        for (resource, vip, why) in dropped {
            self.announcer.end(&resource);
            self.heart.drop_vip(&vip);
            (self.on_event)(KeeperEvent::Dropped { resource, vip, why });
        }
    }

    async fn remove(&mut self, vips: &[Vip]) {
        for some in vips.chunks(PORTION) {
            self.heart.step();
            let outcomes = join_all(some.iter().map(|vip| self.net.remove(vip))).await;
            for (vip, outcome) in some.iter().zip(outcomes) {
                match outcome {
                    Ok(true) => self.expect_gone(vip),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(address = %vip.addr, %error, "a lost address could not be removed; its lease runs out");
                    }
                }
            }
        }
    }

    fn expect_gone(&mut self, vip: &Vip) {
        // Where events do not come, nothing has to be told apart.
        if self.removals.len() > MAX_LEASES {
            self.removals.clear();
        }
        self.removals.entry(vip.key()).or_default().push_back(boottime());
    }

    /// Whether the kernel tells of a removal of our own. Expectations older than a lease are none.
    fn expected(&mut self, key: (u32, IpAddr)) -> bool {
        let now = boottime();
        let Some(moments) = self.removals.get_mut(&key) else { return false };
        while moments.front().is_some_and(|at| now.saturating_sub(*at) > self.bounds.lifetime) {
            moments.pop_front();
        }
        let own = moments.pop_front().is_some();
        if moments.is_empty() {
            self.removals.remove(&key);
        }
        own
    }

    /// Sends what is due, a portion at a time. An address that is not here any more is another node's: one more packet would
    /// draw the clients back here.
    async fn announce(&mut self) {
        let due = self.announcer.due(boottime(), ANNOUNCED);
        let (links, seen) = match (self.net.links().await, self.net.seen().await) {
            (Ok(links), Ok(seen)) => (links, seen),
            (Err(error), _) | (_, Err(error)) => return tracing::warn!(%error, "addresses are not announced"),
        };
        for vip in due.iter().filter(|vip| seen.contains_key(&vip.key())) {
            let Some(link) = links.iter().find(|l| l.index == vip.interface_index) else { continue };
            if let Err(error) = self.sender.announce(link, vip.addr) {
                tracing::warn!(address = %vip.addr, %error, "the address could not be announced");
            }
        }
    }

    async fn events(&mut self, events: Vec<Event>) {
        let (mut dropped, mut missing) = (Vec::new(), false);
        for event in events {
            match event {
                Event::Link(link) => dropped.extend(self.link(&link)),
                Event::AddressGone(gone) => {
                    let key = (gone.link, gone.addr);
                    if !self.expected(key) {
                        dropped.extend(self.table.removed(key));
                    }
                }
                Event::Lost => {
                    self.removals.clear();
                    missing = true;
                }
                Event::LinkGone(_) | Event::Address(_) => {}
            }
        }
        if missing && let Ok(links) = self.net.links().await {
            dropped.extend(links.iter().flat_map(|link| self.link(link)));
        }
        self.lose(dropped).await;
        if missing {
            self.round().await;
        }
    }

    /// A link has changed: without carrier its addresses go, with carrier again its switch has to learn anew.
    fn link(&mut self, link: &kernel::addr::Link) -> Vec<Dropped> {
        match self.carriers.seen(link.index, link.running, boottime()) {
            Change::None => Vec::new(),
            Change::Back => {
                self.announcer.again(Some(link.index), boottime());
                Vec::new()
            }
            Change::Lost => {
                let resources = self.announcer.on_link(link.index);
                for resource in &resources {
                    self.unfit(resource, link);
                }
                self.table.without_carrier(resources)
            }
        }
    }

    fn unfit(&mut self, resource: &str, link: &kernel::addr::Link) {
        self.carriers.fail(resource, link.index);
        let reason = crate::net::no_carrier(&link.name);
        (self.on_event)(KeeperEvent::LinkDown { resource: resource.to_owned(), reason });
    }

    /// An agent has seen it; by now it may be otherwise.
    async fn no_carrier(&mut self, resource: String, index: u32) {
        let links = self.net.links().await.unwrap_or_default();
        let Some(link) = links.into_iter().find(|l| l.index == index) else { return };
        let dropped = self.link(&link);
        self.unfit(&resource, &link);
        self.lose(dropped).await;
    }

    fn fit(&mut self) {
        for resource in self.carriers.due(boottime()) {
            (self.on_event)(KeeperEvent::LinkFit { resource });
        }
    }

    async fn make_permanent(&mut self) -> Result<(), LeaseError> {
        for vip in self.table.vips().cloned().collect::<Vec<_>>() {
            self.heart.step();
            self.net.make_permanent(&vip).await?;
            self.heart.drop_vip(&vip);
        }
        self.table = Table::new(self.bounds);
        self.announcer = Announcer::default();
        self.due.clear();
        Ok(())
    }
}

#[cfg(test)]
impl Worker {
    /// All of a round at once; how long it took.
    pub async fn whole_round(&mut self) -> Duration {
        let began = boottime();
        self.round().await;
        while !self.due.is_empty() {
            self.portion().await;
        }
        boottime() - began
    }

    pub async fn take(&mut self, resource: &str, vip: Vip, announce: net::Announce) {
        self.grant(resource.to_owned(), vip, announce).await.unwrap();
    }
}

/// Events of links and addresses, watched again when their socket fails. Without them links are looked at by monitor
/// operations only, and addresses at their renewal.
struct Watch {
    events: Option<Events>,
    again: Instant,
}

impl Watch {
    fn start() -> Watch {
        let events = watch_links().inspect_err(|error| tracing::warn!(%error, "links are not watched")).ok();
        Watch { events, again: Instant::now() + WATCH_AGAIN }
    }

    /// All that have happened: a thousand addresses that go together are one thing to look at.
    async fn next(&mut self) -> Vec<Event> {
        let Some(events) = &mut self.events else {
            tokio::time::sleep_until(self.again).await;
            *self = Watch::start();
            return vec![Event::Lost];
        };
        let Some(first) = events.next().await else {
            self.events = None;
            return Vec::new();
        };
        let mut all = vec![first];
        while all.len() < MAX_LEASES
            && let Some(Some(event)) = events.next().now_or_never()
        {
            all.push(event);
        }
        all
    }
}

/// At a moment of the boot clock, or never.
async fn sleep_until(at: Option<Duration>) {
    match at {
        Some(at) => tokio::time::sleep_until(Instant::now() + at.saturating_sub(boottime())).await,
        None => std::future::pending().await,
    }
}
