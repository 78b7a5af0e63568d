//! Before an address is taken from a node that has fallen silent, the LAN is asked whether somebody still holds it (DESIGN
//! §3.20). A node that left in good order is not asked for: a planned move waits for nothing.
//!
//! ```text
//!   start ─nobody is silent──────────────────────────────────► take it
//!     └─somebody is─► contest ─nobody answers for Bounds::asked► take it     (all addresses at once: see `contest`)
//!                        │ answered
//!                        ├─ the answers stop (lease, guard) ───► take it
//!                        ├─ Bounds::contest is over ───────────► the start fails; asked on in the background
//!                        └─ nobody is silent any more ─────────► the start fails; the cluster's state decides
//! ```
//!
//! A kernel whose network lock is busy (namespaces that come and go by the dozen) may end a lease later than `Bounds::expiry` says; it
//! answers for the address as long as it has it, and so the question keeps a survivor away for that time as well.
//!
//! A start that failed so is no fault of this node: when its contest ends, [`Event::Ended`] asks for that failure to be forgotten.
//! An address that is held is watched: strangers that use it are defended against and told (`strangers`, RFC 5227 §2.4).
//! [`Peers`] says whose answer counts, [`Question`] when to ask; both are pure.

mod apart;
pub mod claim;
mod contest;
mod lookout;
mod peers;
mod question;
mod strangers;
#[cfg(test)]
mod tests;

pub use peers::is_card;

use crate::director::Share;
use crate::lease::{Keeper, Vip};
use crate::net::{Net, NetError};
use base::NodeId;
use base::lease::{Bounds, MAX_LEASES};
use contest::Contest;
use kernel::inquiry::{InquiryError, Mac};
use peers::{Card, MAX_MACS, Peers};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// Contests that go on at the same time; more starts than that just fail.
const MAX_CONTESTS: usize = MAX_LEASES;
/// Between two looks at the own hardware addresses; other nodes are told when they have changed.
const CARD_EVERY: Duration = Duration::from_secs(5);

/// What happens around an address that somebody else may hold.
#[derive(Clone, Debug)]
pub enum Event {
    /// This node stays away from it, for the time being.
    Contested { resource: String, text: String },
    /// Somebody who is none of the cluster's nodes uses it, while it is held here or is about to be.
    Duplicate { resource: String, text: String },
    /// It is free, or the cluster's state decides again. `failed`: a start has failed for it, which is of no meaning now.
    Ended { resource: String, text: String, failed: bool },
}

/// What came of asking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nobody held it at that moment (boot clock).
    Free(Duration),
    /// In words: who holds it.
    Kept(String),
}

/// Why nobody could be asked.
#[derive(Debug, thiserror::Error)]
pub enum LanError {
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("more than {MAX_CONTESTS} addresses are contested")]
    TooMany,
}

/// The service LANs as this node sees them. Cheap to clone.
#[derive(Clone)]
pub struct Lan {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Bounds,
    peers: Mutex<Peers>,
    contests: Mutex<BTreeMap<String, Contest>>,
    /// Addresses that this node does not hold and may have to take, by resource.
    elsewhere: Mutex<BTreeMap<String, Vip>>,
    /// Resources of the configuration; `None` as long as nobody has said.
    configured: Mutex<Option<BTreeSet<String>>>,
    /// When a start asked last (boot clock).
    asked_last: Mutex<Duration>,
    /// Moves on whenever the silent nodes have changed.
    silent_changed: watch::Sender<u64>,
    /// The ring has new members, who do not know this node's card.
    tell: tokio::sync::Notify,
    on_event: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Lan {
    /// Within a tokio runtime if there is someone to tell of this node's hardware.
    pub(crate) fn new(share: Option<Share>, on_event: Arc<dyn Fn(Event) + Send + Sync>) -> Lan {
        let inner = Arc::new(Inner {
            bounds: Bounds::STANDARD,
            peers: Mutex::default(),
            contests: Mutex::default(),
            elsewhere: Mutex::default(),
            configured: Mutex::default(),
            asked_last: Mutex::default(),
            silent_changed: watch::Sender::default(),
            tell: tokio::sync::Notify::new(),
            on_event,
        });
        if let Some(share) = share {
            tokio::spawn(tell_card(Arc::downgrade(&inner), share));
        }
        Lan { inner }
    }

    /// The nodes of the cluster, by name, of which nobody knows whether they live.
    pub fn set_silent(&self, silent: BTreeMap<NodeId, String>) {
        lock(&self.inner.peers).set_silent(silent);
        self.inner.silent_changed.send_modify(|n| *n += 1);
    }

    /// The ring's members other than this node, some of them new.
    pub fn greet(&self, others: BTreeSet<NodeId>) {
        lock(&self.inner.peers).set_members(others);
        self.inner.tell.notify_one();
    }

    /// From now on strangers that use what this keeper holds are noticed. Within a tokio runtime.
    pub(crate) fn watch(&self, keeper: &Keeper) {
        tokio::spawn(lookout::Lookout::new(Arc::downgrade(&self.inner), keeper.downgrade()).run());
    }

    /// What another node says of its hardware.
    pub fn receive(&self, from: NodeId, payload: &[u8]) {
        if !lock(&self.inner.peers).learn(from, payload) {
            tracing::warn!("node {from}: a card that cannot be read");
        }
    }

    pub(crate) fn any_silent(&self) -> bool {
        lock(&self.inner.peers).any_silent()
    }

    /// Whether this node may take the address for the resource now. Waits while a silent node holds it, at most
    /// [`Bounds::contest`]; afterwards, or when the caller gives up, it is asked on until [`Event::Ended`].
    pub(crate) async fn ask(&self, resource: &str, vip: &Vip) -> Result<Verdict, LanError> {
        let now = kernel::clock::boottime();
        if !self.any_silent() {
            return Ok(Verdict::Free(now));
        }
        contest::wait(&self.inner, resource, vip).await
    }

    /// The resources that the cluster's configuration has.
    pub fn set_configured(&self, resources: BTreeSet<String>) {
        lock(&self.inner.elsewhere).retain(|resource, _| is_one_of(&resources, resource));
        *lock(&self.inner.configured) = Some(resources);
    }

    /// This node does not hold the resource's address, and may have to take it.
    pub(crate) fn is_elsewhere(&self, resource: &str, vip: &Vip) {
        if lock(&self.inner.configured).as_ref().is_some_and(|all| !is_one_of(all, resource)) {
            return;
        }
        let mut elsewhere = lock(&self.inner.elsewhere);
        if elsewhere.len() < MAX_LEASES || elsewhere.contains_key(resource) {
            elsewhere.insert(resource.to_owned(), vip.clone());
        }
    }

    /// This node holds it: nobody is asked any more.
    pub(crate) fn is_here(&self, resource: &str) {
        lock(&self.inner.elsewhere).remove(resource);
        lock(&self.inner.contests).remove(resource);
    }
}

/// Tells this node's hardware addresses to the others: to newcomers, and when they have changed.
async fn tell_card(inner: Weak<Inner>, share: Share) {
    let mut told = Card::default();
    let mut tick = tokio::time::interval_at(Instant::now() + CARD_EVERY, CARD_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(inner) = inner.upgrade() {
        let newcomers = tokio::select! {
            () = inner.tell.notified() => true,
            _ = tick.tick() => false,
        };
        match own_card().await {
            Ok(card) if newcomers || card != told => {
                if share(card.encode()) {
                    told = card;
                } else {
                    inner.tell.notify_one();
                    tokio::time::sleep(inner.bounds.probe).await;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the other nodes are not told of this node's interfaces"),
        }
    }
}

/// The number of a clone's instance is no part of a configured resource's name.
fn is_one_of(configured: &BTreeSet<String>, resource: &str) -> bool {
    configured.contains(resource) || resource.split(':').next().is_some_and(|name| configured.contains(name))
}

fn duplicate(addr: IpAddr, mac: Mac) -> String {
    let mac = peers::text(mac);
    format!("{addr} is used by {mac}, which belongs to none of the cluster's nodes: a duplicate address")
}

async fn own_card() -> Result<Card, NetError> {
    let macs = Net::open()?.links().await?.into_iter().filter_map(|l| l.mac).filter(|mac| *mac != [0; 6]);
    Ok(Card { macs: macs.take(MAX_MACS).collect() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
