//! What the cluster grants this node: quorum, its resources, the permit to renew leases.

use crate::lease::Permit;
use base::Names;
use kernel::clock::boottime;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

pub(crate) struct Standing {
    quorate: AtomicBool,
    owners: Mutex<Option<Names>>,
    /// `None`: addresses are no leases here.
    permit: Option<Permit>,
}

impl Standing {
    pub fn new(permit: Option<Permit>) -> Standing {
        Standing { quorate: AtomicBool::new(true), owners: Mutex::default(), permit }
    }

    pub fn set_quorate(&self, quorate: bool) {
        self.quorate.store(quorate, Ordering::Release);
    }

    pub fn set_owners(&self, owners: Names) {
        *self.owners.lock().unwrap_or_else(PoisonError::into_inner) = Some(owners);
    }

    pub fn is_quorate(&self) -> bool {
        self.quorate.load(Ordering::Acquire)
    }

    /// Whether what has lapsed may be taken up again without a new start: the cluster's state gives it to this node, and lets it
    /// renew leases.
    pub fn grants(&self, resource: &str) -> bool {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let owned = owners.as_ref().is_none_or(|o| o.contains(resource));
        owned && self.permit.as_ref().is_none_or(|p| boottime() < p.until())
    }
}
