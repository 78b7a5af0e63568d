//! The thread that renews leases, beats for the guard process, and announces addresses.

use super::announcer::Announcer;
use super::permit::Permit;
use super::table::{LIFETIME, Lost, RENEW_EVERY, Step, Table, Vip};
use crate::guard::GuardLink;
use crate::net::{self, Net};
use kernel::addr::{Event, Events, watch};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// Commands that may wait for the thread; more than an operator's largest cluster can produce at once.
const QUEUE: usize = 2048;
/// Time between signs of life to the guard process.
pub(crate) const BEAT_EVERY: Duration = Duration::from_millis(40);
/// A renewal that took longer than this has crossed a stop of the process, and the address may be elsewhere by now. A
/// busy machine alone holds one up for some hundreds of milliseconds, which is no reason to give an address up.
const SUSPECT_AFTER: Duration = Duration::from_millis(1000);

/// Links without carrier that are remembered.
const MAX_DOWN: usize = 4096;

/// What happened to an address, for the log and the fail-over timeline.
#[derive(Clone, Debug)]
pub enum KeeperEvent {
    Added {
        resource: String,
        vip: Vip,
    },
    Announced {
        resource: String,
        vip: Vip,
    },
    Dropped {
        resource: String,
        vip: Vip,
        why: Lost,
    },
    RenewFailed {
        resource: String,
        vip: Vip,
        reason: String,
    },
    /// The address is held, but nobody can reach it.
    LinkDown {
        resource: String,
        vip: Vip,
        reason: String,
    },
}

/// Why an address could not be taken up or given back.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    Net(#[from] net::NetError),
    #[error("this node holds the most leases that it may ({0})")]
    TooMany(usize),
    #[error("the lease keeper has ended")]
    Ended,
}

enum Command {
    Grant { resource: String, vip: Vip, announce: net::Announce, done: oneshot::Sender<Result<(), LeaseError>> },
    Release { resource: String, vip: Option<Vip>, done: oneshot::Sender<Result<(), LeaseError>> },
    Holds { resource: String, done: oneshot::Sender<Result<bool, LeaseError>> },
    Present { vip: Vip, done: oneshot::Sender<Result<bool, LeaseError>> },
    Owners(BTreeSet<String>),
    Reannounce,
    MakePermanent { done: oneshot::Sender<Result<(), LeaseError>> },
}

/// Handle to the keeper's thread. When the last handle is gone, the thread removes all leased addresses and ends.
#[derive(Clone)]
pub struct Keeper {
    commands: mpsc::Sender<Command>,
}

impl Keeper {
    /// Starts the thread in the caller's network namespace.
    pub fn start(
        permit: Permit,
        guard: GuardLink,
        on_event: Arc<dyn Fn(KeeperEvent) + Send + Sync>,
    ) -> std::io::Result<Keeper> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("lease-keeper".into()).spawn(move || {
            runtime.block_on(async move {
                match Net::open() {
                    Ok(net) => {
                        let (table, announcer) = (Table::default(), Announcer::default());
                        let down = BTreeSet::new();
                        Worker { net, permit, guard, table, announcer, down, on_event }.run(queue).await;
                    }
                    Err(error) => tracing::error!(%error, "no addresses can be held: rtnetlink does not open"),
                }
            });
        })?;
        Ok(Keeper { commands })
    }

    /// Adds the address under a lease and announces it.
    pub(crate) async fn grant(&self, resource: &str, vip: Vip, announce: net::Announce) -> Result<(), LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Grant { resource: resource.into(), vip, announce, done }, result).await
    }

    /// Removes what is held for the resource, or `vip` if nothing is; not what is held for another one as well. Succeeds if the
    /// address is absent.
    pub async fn release(&self, resource: &str, vip: Option<Vip>) -> Result<(), LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Release { resource: resource.into(), vip, done }, result).await
    }

    /// Whether a lease is held for the resource.
    pub async fn holds(&self, resource: &str) -> Result<bool, LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Holds { resource: resource.into(), done }, result).await
    }

    /// Whether the kernel has the address on that interface.
    pub async fn present(&self, vip: Vip) -> Result<bool, LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Present { vip, done }, result).await
    }

    /// The resources that the applied cluster state gives to this node.
    pub async fn set_owners(&self, owners: BTreeSet<String>) {
        let _ = self.commands.send(Command::Owners(owners)).await;
    }

    /// Announces every held address again: after a merge, another node's stale announcement may be in the caches.
    pub async fn reannounce(&self) {
        let _ = self.commands.send(Command::Reannounce).await;
    }

    /// Lets the addresses outlive this process: for a planned stop with resources left running.
    pub async fn make_permanent(&self) -> Result<(), LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::MakePermanent { done }, result).await
    }

    async fn ask<T>(
        &self,
        command: Command,
        result: oneshot::Receiver<Result<T, LeaseError>>,
    ) -> Result<T, LeaseError> {
        self.commands.send(command).await.map_err(|_| LeaseError::Ended)?;
        result.await.map_err(|_| LeaseError::Ended)?
    }
}

struct Worker {
    net: Net,
    permit: Permit,
    guard: GuardLink,
    table: Table,
    announcer: Announcer,
    /// Links seen without carrier.
    down: BTreeSet<u32>,
    on_event: Arc<dyn Fn(KeeperEvent) + Send + Sync>,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut renew = tokio::time::interval(RENEW_EVERY);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Without it, links are looked at by monitor operations only, and addresses at their renewal.
        let mut links = watch().inspect_err(|error| tracing::warn!(%error, "links are not watched")).ok();
        loop {
            tokio::select! {
                biased;
                command = queue.recv() => match command {
                    Some(command) => self.perform(command).await,
                    None => break,
                },
                _ = renew.tick() => self.round().await,
                _ = beat.tick() => self.guard.beat(),
                event = next(&mut links) => match event {
                    Some(Event::Link(link)) => self.link(&link),
                    Some(Event::AddressGone(gone)) => self.missed(gone.link, gone.addr).await,
                    Some(_) => {}
                    None => links = None,
                },
            }
        }
        for vip in self.table.vips().cloned().collect::<Vec<_>>() {
            let _ = self.net.remove(&vip).await;
        }
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
                let _ = done.send(self.net.present(&vip).await.map_err(LeaseError::from));
            }
            Command::Owners(owners) => {
                self.table.set_owners(owners);
                self.round().await;
            }
            Command::Reannounce => self.announce_again(None),
            Command::MakePermanent { done } => {
                let _ = done.send(self.make_permanent().await);
            }
        }
    }

    async fn grant(&mut self, resource: String, vip: Vip, announce: net::Announce) -> Result<(), LeaseError> {
        let now = kernel::clock::boottime();
        if !self.table.grant(&resource, vip.clone(), now) {
            return Err(LeaseError::TooMany(super::table::MAX_LEASES));
        }
        // The guard hears of it first: should this process die in between, the address must not stay.
        self.guard.hold_vip(&vip);
        if let Err(error) = self.net.lease(&vip, LIFETIME).await {
            self.table.release(&resource);
            self.guard.drop_vip(&vip);
            return Err(error.into());
        }
        (self.on_event)(KeeperEvent::Added { resource: resource.clone(), vip: vip.clone() });
        let burst = self.announcer.begin(&resource, vip.clone(), announce, now);
        self.net.announce(&vip, burst);
        (self.on_event)(KeeperEvent::Announced { resource, vip });
        Ok(())
    }

    async fn release(&mut self, resource: &str, vip: Option<Vip>) -> Result<(), LeaseError> {
        let held = self.table.release(resource);
        self.announcer.end(resource);
        let Some(vip) = held.or(vip).filter(|vip| !self.table.vips().any(|other| other == vip)) else { return Ok(()) };
        self.guard.drop_vip(&vip);
        Ok(self.net.remove(&vip).await?)
    }

    async fn round(&mut self) {
        let now = kernel::clock::boottime();
        for (vip, burst) in self.announcer.due(now) {
            self.net.announce(&vip, burst);
        }
        for (resource, step) in self.table.round(now, self.permit.until()) {
            match step {
                Step::Renew(vip) => self.renew(&resource, vip).await,
                Step::Drop(vip, why) => self.lose(resource, vip, why).await,
            }
        }
    }

    /// An address has gone from a link. If it is one of ours, the next round says so, now.
    async fn missed(&mut self, link: u32, addr: std::net::IpAddr) {
        if self.table.vips().any(|vip| (vip.interface_index, vip.addr) == (link, addr)) {
            self.round().await;
        }
    }

    /// A renewal re-creates an absent address, so presence is looked at before it, and a stop of the process between
    /// the two is noticed after it.
    async fn renew(&mut self, resource: &str, vip: Vip) {
        let asked = kernel::clock::boottime();
        match self.net.present(&vip).await {
            Ok(true) => {}
            // A list that others change while it is read may lack an entry.
            Ok(false) if matches!(self.net.present(&vip).await, Ok(true)) => {}
            Ok(false) => return self.lose(resource.to_owned(), vip, Lost::Removed).await,
            Err(error) => {
                let reason = error.to_string();
                return (self.on_event)(KeeperEvent::RenewFailed { resource: resource.into(), vip, reason });
            }
        }
        let outcome = self.net.lease(&vip, LIFETIME).await;
        if kernel::clock::boottime().saturating_sub(asked) > SUSPECT_AFTER {
            let late = kernel::clock::boottime().saturating_sub(asked).as_millis() as u64;
            tracing::warn!(resource, late_ms = late, "lease renewal was held up; giving the address up");
            return self.lose(resource.to_owned(), vip, Lost::RanOut(late)).await;
        }
        match outcome {
            Ok(()) => self.table.renewed(resource, asked),
            Err(error) => {
                let reason = error.to_string();
                (self.on_event)(KeeperEvent::RenewFailed { resource: resource.into(), vip, reason });
            }
        }
    }

    async fn lose(&mut self, resource: String, vip: Vip, why: Lost) {
        self.table.release(&resource);
        self.announcer.end(&resource);
        if let Err(error) = self.net.remove(&vip).await {
            tracing::warn!(resource, address = %vip.addr, %error, "a lost address could not be removed; its lease runs out");
        }
        self.guard.drop_vip(&vip);
        (self.on_event)(KeeperEvent::Dropped { resource, vip, why });
    }

    fn announce_again(&self, link: Option<u32>) {
        for (vip, burst) in self.announcer.again(link) {
            self.net.announce(&vip, burst);
        }
    }

    /// A link has changed: without carrier its addresses have failed, with carrier again its switch has to learn anew.
    fn link(&mut self, link: &kernel::addr::Link) {
        if link.running {
            if self.down.remove(&link.index) {
                self.announce_again(Some(link.index));
            }
        } else if self.down.insert(link.index) {
            for (resource, vip) in self.announcer.on_link(link.index) {
                let reason = net::no_carrier(&link.name);
                (self.on_event)(KeeperEvent::LinkDown { resource, vip, reason });
            }
        }
        // Indexes of links that are gone are not used again soon.
        while self.down.len() > MAX_DOWN {
            self.down.pop_first();
        }
    }

    async fn make_permanent(&mut self) -> Result<(), LeaseError> {
        for vip in self.table.vips().cloned().collect::<Vec<_>>() {
            self.net.make_permanent(&vip).await?;
            self.guard.drop_vip(&vip);
        }
        self.table = Table::default();
        self.announcer = Announcer::default();
        Ok(())
    }
}

/// The next event, for ever if there is nothing to wait for.
async fn next(links: &mut Option<Events>) -> Option<Event> {
    match links {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}
