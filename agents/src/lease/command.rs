//! What the keeper's handle and its thread say to each other, and what both tell the world.

use super::table::{Lost, Vip};
use crate::net;
use base::NodeId;
use std::time::Duration;
use tokio::sync::oneshot;

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
    /// The same, where its resource holds several and takes it up again itself, if it may.
    Lapsed {
        resource: String,
        vip: Vip,
        why: Lost,
    },
    RenewFailed {
        resource: String,
        vip: Vip,
        reason: String,
    },
    /// It cannot be here until its link has a carrier.
    LinkDown {
        resource: String,
        reason: String,
    },
    /// Nothing is wrong with its link any more; what has failed for it is of no meaning now.
    LinkFit {
        resource: String,
    },
}

impl KeeperEvent {
    /// The lease's name becomes the resource's.
    pub(super) fn of_resource(mut self) -> KeeperEvent {
        if let KeeperEvent::Dropped { resource, vip, why } = &self
            && super::owner_of(resource) != resource
        {
            self = KeeperEvent::Lapsed { resource: resource.clone(), vip: vip.clone(), why: *why };
        }
        let (KeeperEvent::Added { resource, .. }
        | KeeperEvent::Announced { resource, .. }
        | KeeperEvent::Dropped { resource, .. }
        | KeeperEvent::Lapsed { resource, .. }
        | KeeperEvent::RenewFailed { resource, .. }
        | KeeperEvent::LinkDown { resource, .. }
        | KeeperEvent::LinkFit { resource }) = &mut self;
        let owner = super::owner_of(resource).len();
        resource.truncate(owner);
        self
    }
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

impl LeaseError {
    /// Nobody can say whether it was done: the kernel did not answer in time.
    pub fn is_unknown(&self) -> bool {
        matches!(self, LeaseError::Net(net::NetError::Kernel(kernel::addr::AddrError::Unknown { .. })))
    }
}

/// An address that is held here: resource, where, and since when (boot clock).
pub type Claimed = (String, Vip, Duration);

pub(super) enum Command {
    Grant {
        resource: String,
        vip: Vip,
        announce: net::Announce,
        done: oneshot::Sender<Result<(), LeaseError>>,
    },
    Release {
        resource: String,
        vip: Option<Vip>,
        done: oneshot::Sender<Result<(), LeaseError>>,
    },
    Holds {
        resource: String,
        done: oneshot::Sender<Result<bool, LeaseError>>,
    },
    Present {
        vip: Vip,
        done: oneshot::Sender<Result<bool, LeaseError>>,
    },
    /// The resource has failed for want of a carrier.
    NoCarrier {
        resource: String,
        link: u32,
    },
    Claims {
        done: oneshot::Sender<Result<Vec<Claimed>, LeaseError>>,
    },
    /// Another node has the better right to the resource's address.
    Yield {
        resource: String,
        to: NodeId,
    },
    /// Another node holds it as well, and gives it up.
    Defend {
        resource: String,
    },
    /// A stranger uses it: one announcement.
    DefendOnce {
        resource: String,
    },
    Reannounce,
    /// It is here, and nobody has started it in this life of the process.
    Adopt {
        resource: String,
        vip: Vip,
        announce: net::Announce,
    },
    MakePermanent {
        done: oneshot::Sender<Result<(), LeaseError>>,
    },
}
