//! Which addresses are leased, and what to do about each at a given moment. Pure: time is an argument.
//!
//! ```text
//!   grant ──► held ──renewed──► held            (permit valid, resource owned, lease not run out)
//!              │ ├─ permit lapsed ──► waiting ──► lost, once the lease has run out
//!              │ └─ not the owner any more ─────► lost
//!              └─ release (planned stop) ──► gone
//! ```
//!
//! A lost lease is never taken up again by itself: only a new start by the cluster grants it anew. That is what keeps
//! a node that was stopped and continued from bringing an address back that has moved on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Valid lifetime that the kernel is told; expiry was measured to come 0–0.4 s after it.
pub const LIFETIME: Duration = Duration::from_secs(2);
/// Time between renewals: four may fail before the address lapses.
pub const RENEW_EVERY: Duration = Duration::from_millis(400);
/// How long after a start the owner set may still lack the resource (the two travel different ways).
pub const OWNER_GRACE: Duration = Duration::from_secs(10);
/// Most addresses that one node leases; one more is refused.
pub const MAX_LEASES: usize = 1024;

/// An address on an interface.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Vip {
    pub addr: IpAddr,
    pub interface_index: u32,
    /// IPv4 alias label such as `eth0:vip`.
    pub label: Option<String>,
}

/// What a round decided for one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Renew(Vip),
    /// Remove the address: this node has no right to it any more.
    Drop(Vip, Lost),
}

/// Why a lease was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lost {
    #[error("not renewed for {0} ms, more than its lifetime")]
    RanOut(u64),
    #[error("the cluster names another owner, or none")]
    NotOwner,
    #[error("the address was removed by somebody else")]
    Removed,
}

struct Held {
    vip: Vip,
    granted: Duration,
    renewed: Duration,
    owner_seen: bool,
}

/// All leases of this node, by resource.
#[derive(Default)]
pub struct Table {
    held: BTreeMap<String, Held>,
    owners: Option<BTreeSet<String>>,
}

impl Table {
    /// Takes up a lease at `now` (boot clock). `false` if the table is full.
    pub fn grant(&mut self, resource: &str, vip: Vip, now: Duration) -> bool {
        if self.held.len() >= MAX_LEASES && !self.held.contains_key(resource) {
            return false;
        }
        self.held.insert(resource.to_owned(), Held { vip, granted: now, renewed: now, owner_seen: false });
        true
    }

    pub fn release(&mut self, resource: &str) -> Option<Vip> {
        self.held.remove(resource).map(|h| h.vip)
    }

    pub fn holds(&self, resource: &str) -> bool {
        self.held.contains_key(resource)
    }

    pub fn vips(&self) -> impl Iterator<Item = &Vip> {
        self.held.values().map(|h| &h.vip)
    }

    /// The resources that the applied cluster state gives to this node.
    pub fn set_owners(&mut self, owners: BTreeSet<String>) {
        self.owners = Some(owners);
    }

    /// Notes that the kernel confirmed a renewal that was sent at `now`.
    pub fn renewed(&mut self, resource: &str, now: Duration) {
        if let Some(held) = self.held.get_mut(resource) {
            held.renewed = now;
        }
    }

    /// What to do at `now`, if renewal is permitted until `permitted`. Dropped leases leave the table.
    pub fn round(&mut self, now: Duration, permitted: Duration) -> Vec<(String, Step)> {
        let mut steps = Vec::new();
        for (resource, held) in &mut self.held {
            let owned = self.owners.as_ref().is_none_or(|o| o.contains(resource));
            held.owner_seen |= owned;
            let age = now.saturating_sub(held.renewed);
            if age >= LIFETIME {
                let step = Step::Drop(held.vip.clone(), Lost::RanOut(age.as_millis() as u64));
                steps.push((resource.clone(), step));
            } else if !owned && (held.owner_seen || now.saturating_sub(held.granted) >= OWNER_GRACE) {
                steps.push((resource.clone(), Step::Drop(held.vip.clone(), Lost::NotOwner)));
            } else if now < permitted {
                steps.push((resource.clone(), Step::Renew(held.vip.clone())));
            }
        }
        for (resource, step) in &steps {
            if matches!(step, Step::Drop(..)) {
                self.held.remove(resource);
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn vip() -> Vip {
        Vip { addr: IpAddr::from([192, 0, 2, 1]), interface_index: 3, label: None }
    }

    fn held_at(now: Duration) -> Table {
        let mut table = Table::default();
        table.set_owners(BTreeSet::from(["vip".to_owned()]));
        assert!(table.grant("vip", vip(), now));
        table
    }

    #[test]
    fn renews_while_permitted_and_owned() {
        let mut table = held_at(ms(1000));
        assert_eq!(table.round(ms(1400), ms(2000)), [("vip".to_owned(), Step::Renew(vip()))]);
    }

    #[test]
    fn waits_without_permit_then_drops() {
        let mut table = held_at(ms(1000));
        assert_eq!(table.round(ms(1400), ms(1300)), []);
        assert_eq!(table.round(ms(3000), ms(1300)), [("vip".to_owned(), Step::Drop(vip(), Lost::RanOut(2000)))]);
    }

    #[test]
    fn a_stopped_process_does_not_bring_the_address_back() {
        let mut table = held_at(ms(1000));
        table.renewed("vip", ms(1400));
        // Stopped for five seconds; the permit was renewed by another thread first.
        let steps = table.round(ms(6400), ms(9000));
        assert_eq!(steps, [("vip".to_owned(), Step::Drop(vip(), Lost::RanOut(5000)))]);
        assert_eq!(table.round(ms(6800), ms(9000)), [], "a lost lease is not taken up again");
    }

    #[test]
    fn drops_when_another_node_owns_it() {
        let mut table = held_at(ms(1000));
        table.round(ms(1100), ms(2000));
        table.set_owners(BTreeSet::new());
        assert_eq!(table.round(ms(1200), ms(2000)), [("vip".to_owned(), Step::Drop(vip(), Lost::NotOwner))]);
    }

    #[test]
    fn a_fresh_start_has_grace_until_the_owner_set_follows() {
        let mut table = Table::default();
        table.set_owners(BTreeSet::new());
        table.grant("vip", vip(), ms(0));
        for now in [ms(400), ms(800)] {
            assert_eq!(table.round(now, ms(5000)), [("vip".to_owned(), Step::Renew(vip()))]);
            table.renewed("vip", now);
        }
    }
}
