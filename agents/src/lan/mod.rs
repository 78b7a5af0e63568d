//! Before an address is taken from a node that has fallen silent, the LAN is asked whether somebody still holds it (DESIGN
//! §3.20). A node that left in good order is not asked for: a planned move waits for nothing.
//!
//! ```text
//!   start ─nobody is silent──────────────────────────────────► take it
//!     └─somebody is─► contest ─nobody answers for Bounds::asked► take it
//!                        │ answered
//!                        ├─ the answers stop (lease, guard) ───► take it
//!                        ├─ Bounds::contest is over ───────────► the start fails; asked on in the background
//!                        └─ nobody is silent any more ─────────► the start fails; the cluster's state decides
//! ```
//!
//! A start that failed so is no fault of this node: when its contest ends, [`Event::Ended`] asks for that failure to be forgotten.
//! [`Peers`] says whose answer counts, [`Question`] when to ask; both are pure.

pub mod claim;
mod contest;
mod peers;
mod question;
#[cfg(test)]
mod tests;

pub use peers::is_card;

use crate::director::Share;
use crate::lease::Vip;
use crate::net::{Net, NetError};
use base::NodeId;
use base::lease::Bounds;
use contest::Contest;
use kernel::inquiry::InquiryError;
use peers::{Card, MAX_MACS, Peers};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

/// Contests that go on at the same time; more starts than that just fail.
const MAX_CONTESTS: usize = base::lease::MAX_LEASES;
/// Between two looks at the own hardware addresses; other nodes are told when they have changed.
const CARD_EVERY: Duration = Duration::from_secs(5);

/// What happens around an address that somebody else may hold.
#[derive(Clone, Debug)]
pub enum Event {
    /// This node stays away from it, for the time being.
    Contested { resource: String, text: String },
    /// Somebody who is none of the cluster's nodes uses it.
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

    /// The ring has new members.
    pub fn greet(&self) {
        self.inner.tell.notify_one();
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
        let link = Net::open()?.links().await?.into_iter().find(|l| l.index == vip.interface_index);
        let Some(inquiry) = link.map(|l| kernel::inquiry::Inquiry::open(&l, vip.addr)).transpose()?.flatten() else {
            return Ok(Verdict::Free(now));
        };
        contest::wait(&self.inner, resource, vip, inquiry).await
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

async fn own_card() -> Result<Card, NetError> {
    let macs = Net::open()?.links().await?.into_iter().filter_map(|l| l.mac).filter(|mac| *mac != [0; 6]);
    Ok(Card { macs: macs.take(MAX_MACS).collect() })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
