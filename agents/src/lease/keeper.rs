//! The handle to the thread that holds the leases.

use super::command::{Claimed, Command, KeeperEvent, LeaseError};
use super::heart::Heart;
use super::permit::Permit;
use super::table::Vip;
use super::worker::{Ports, Worker};
use crate::guard::GuardLink;
use crate::net;
use base::{Names, NodeId};
use std::sync::{Arc, Weak};
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the thread; more than an operator's largest cluster can produce at once.
const QUEUE: usize = 2048;

/// Handle to the keeper's thread. When the last handle is gone, the thread removes all leased addresses and ends.
#[derive(Clone)]
pub struct Keeper {
    commands: mpsc::Sender<Command>,
    owners: Arc<watch::Sender<Option<Names>>>,
}

/// A handle that does not keep the thread alive.
pub(crate) struct WeakKeeper {
    commands: mpsc::WeakSender<Command>,
    owners: Weak<watch::Sender<Option<Names>>>,
}

impl WeakKeeper {
    pub fn upgrade(&self) -> Option<Keeper> {
        Some(Keeper { commands: self.commands.upgrade()?, owners: self.owners.upgrade()? })
    }
}

impl Keeper {
    pub(crate) fn downgrade(&self) -> WeakKeeper {
        WeakKeeper { commands: self.commands.downgrade(), owners: Arc::downgrade(&self.owners) }
    }

    /// Starts the thread in the caller's network namespace.
    pub fn start(
        permit: Permit,
        guard: GuardLink,
        on_event: Arc<dyn Fn(KeeperEvent) + Send + Sync>,
    ) -> std::io::Result<Keeper> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let on_event = Arc::new(move |event: KeeperEvent| on_event(event.of_resource()));
        // Only the newest set counts, and whoever tells it never waits.
        let (owners_to, owners) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heart = Heart::start(guard)?;
        std::thread::Builder::new().name("lease-keeper".into()).spawn(move || {
            runtime.block_on(async move {
                match Worker::open(permit, heart, on_event) {
                    Ok(worker) => worker.run(Ports { queue, owners }).await,
                    Err(error) => tracing::error!(%error, "no addresses can be held: rtnetlink does not open"),
                }
            });
        })?;
        Ok(Keeper { commands, owners: Arc::new(owners_to) })
    }

    /// Adds the address under a lease and announces it.
    pub(crate) async fn grant(&self, resource: &str, vip: Vip, announce: net::Announce) -> Result<(), LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Grant { resource: resource.into(), vip, announce, done }, result).await
    }

    /// The address is here, left by a node that ended without stopping it: it becomes a lease again as soon as the cluster's state
    /// names this node as its owner. Nothing happens where a lease is held.
    pub(crate) async fn adopt(&self, resource: &str, vip: Vip, announce: net::Announce) {
        let _ = self.commands.send(Command::Adopt { resource: resource.into(), vip, announce }).await;
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

    /// Whether the kernel has the address on that interface, and this node has not lost it since its start.
    pub async fn present(&self, vip: Vip) -> Result<bool, LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Present { vip, done }, result).await
    }

    /// The resource has failed for want of a carrier: [`KeeperEvent::LinkFit`] tells when it may be tried again.
    pub(crate) async fn no_carrier(&self, resource: &str, link: u32) {
        let _ = self.commands.send(Command::NoCarrier { resource: resource.into(), link }).await;
    }

    /// What is held here.
    pub async fn claims(&self) -> Result<Vec<Claimed>, LeaseError> {
        let (done, result) = oneshot::channel();
        self.ask(Command::Claims { done }, result).await
    }

    /// Drops the resource's address: another node has the better right to it.
    pub async fn yield_to(&self, resource: String, to: NodeId) {
        let _ = self.commands.send(Command::Yield { resource, to }).await;
    }

    /// Announces the resource's address anew: another node that held it as well gives it up.
    pub async fn defend(&self, resource: String) {
        let _ = self.commands.send(Command::Defend { resource }).await;
    }

    /// Announces it by one packet: a host that is no node of the cluster uses it.
    pub(crate) async fn defend_once(&self, resource: String) {
        let _ = self.commands.send(Command::DefendOnce { resource }).await;
    }

    /// The resources that the applied cluster state gives to this node.
    pub fn set_owners(&self, owners: Names) {
        self.owners.send_replace(Some(owners));
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
