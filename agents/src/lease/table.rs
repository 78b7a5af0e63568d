//! Which addresses are leased, and what to do about each at a given moment. Pure: time is an argument.
//!
//! ```text
//!   grant ──► held ──renewed──► held            (permit valid, resource owned, lease not run out)
//!              │ ├─ permit lapsed ──► waiting ──► lost, once the lease has run out
//!              │ ├─ absent, or another one than was seen first ──► lost
//!              │ └─ not the owner any more ─────► gone
//!              └─ release (planned stop) ──► gone
//!   lost ──grant or release──► held, gone       (until then it counts as not running, whatever the kernel has)
//! ```
//!
//! A lost lease is never taken up again by itself: only a new start by the cluster grants it anew. That is what keeps
//! a node that was stopped and continued from bringing an address back that has moved on.

use base::lease::{Bounds, MAX_LEASES};
use base::{Names, NodeId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// An address on an interface.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct Vip {
    pub addr: IpAddr,
    pub interface_index: u32,
    /// IPv4 alias label such as `eth0:vip`.
    pub label: Option<String>,
}

impl Vip {
    pub(crate) fn key(&self) -> (u32, IpAddr) {
        (self.interface_index, self.addr)
    }
}

/// Addresses that the kernel has, by interface and address, each with the time of its creation.
pub(crate) type Seen = BTreeMap<(u32, IpAddr), u32>;

/// A lease that this node has no right to any more.
pub(crate) type Dropped = (String, Vip, Lost);

/// Why a lease was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lost {
    #[error("not renewed for {0} ms, more than its lifetime")]
    RanOut(u64),
    #[error("its renewal took {0} ms and was not permitted any more when it was done")]
    Late(u64),
    #[error("the cluster names another owner, or none")]
    NotOwner,
    #[error("the address was removed by somebody else")]
    Removed,
    #[error("its link is down or has no carrier (check_link_status)")]
    Carrier,
    #[error("node {0} holds it as well, and has the better right to it")]
    Yielded(NodeId),
}

struct Held {
    vip: Vip,
    /// Since when without a gap.
    since: Duration,
    granted: Duration,
    renewed: Duration,
    owner_seen: bool,
    /// Which one it is, as the first list after the grant told.
    created: Option<u32>,
}

/// All leases of this node, by resource.
pub(crate) struct Table {
    bounds: Bounds,
    held: BTreeMap<String, Held>,
    lost: BTreeMap<String, Vip>,
    owners: Option<Names>,
}

impl Table {
    pub fn new(bounds: Bounds) -> Table {
        Table { bounds, held: BTreeMap::new(), lost: BTreeMap::new(), owners: None }
    }

    /// Takes up a lease at `now` (boot clock). `false` if the table is full.
    pub fn grant(&mut self, resource: &str, vip: Vip, now: Duration) -> bool {
        if self.held.len() >= MAX_LEASES && !self.held.contains_key(resource) {
            return false;
        }
        self.lost.remove(resource);
        let before = self.held.get(resource).filter(|held| held.vip == vip);
        let since = before.map_or(now, |held| held.since);
        let held = Held { vip, since, granted: now, renewed: now, owner_seen: false, created: None };
        self.held.insert(resource.to_owned(), held);
        true
    }

    pub fn release(&mut self, resource: &str) -> Option<Vip> {
        self.lost.remove(resource);
        self.held.remove(resource).map(|h| h.vip)
    }

    pub fn holds(&self, resource: &str) -> bool {
        self.held.contains_key(resource)
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn resources(&self) -> impl Iterator<Item = &String> {
        self.held.keys()
    }

    pub fn vips(&self) -> impl Iterator<Item = &Vip> {
        self.held.values().map(|h| &h.vip)
    }

    /// Whether it was lost, and nobody has started or stopped it since: then it does not run, even if it is there.
    pub fn is_lost(&self, vip: &Vip) -> bool {
        self.lost.values().any(|v| v.key() == vip.key()) && !self.vips().any(|v| v.key() == vip.key())
    }

    /// Whether the applied cluster state gives it to this node, as far as there is one.
    pub fn is_owned(&self, resource: &str) -> bool {
        self.owners.as_ref().is_some_and(|o| o.contains(super::owner_of(resource)))
    }

    /// The resources that the applied cluster state gives to this node.
    pub fn set_owners(&mut self, owners: Names) {
        self.owners = Some(owners);
    }

    /// What may not be held any longer at `now`; it leaves the table.
    pub fn expire(&mut self, now: Duration) -> Vec<Dropped> {
        let mut reasons = Vec::new();
        for (resource, held) in &mut self.held {
            let owned = self.owners.as_ref().is_none_or(|o| o.contains(super::owner_of(resource)));
            held.owner_seen |= owned;
            let age = now.saturating_sub(held.renewed);
            if age >= self.bounds.lifetime {
                reasons.push((resource.clone(), Lost::RanOut(millis(age))));
            } else if !owned && (held.owner_seen || now.saturating_sub(held.granted) >= self.bounds.owner_grace) {
                reasons.push((resource.clone(), Lost::NotOwner));
            }
        }
        self.lose_all(reasons)
    }

    /// What the kernel does not have any more, by its own list; it leaves the table. An address that was away for a
    /// moment and was re-created by a renewal has been lost as well: the guard does not know of it.
    pub fn compare(&mut self, seen: &Seen) -> Vec<Dropped> {
        let gone = |held: &mut Held| match seen.get(&held.vip.key()) {
            Some(created) => *held.created.get_or_insert(*created) != *created,
            None => true,
        };
        let gone = self.held.iter_mut().filter_map(|(r, held)| gone(held).then(|| (r.clone(), Lost::Removed)));
        let reasons: Vec<(String, Lost)> = gone.collect();
        self.lose_all(reasons)
    }

    /// The kernel says that somebody has removed it. Where a renewal re-created it within the same 1/100 s, no list tells.
    pub fn removed(&mut self, key: (u32, IpAddr)) -> Option<Dropped> {
        let resource = self.held.iter().find(|(_, held)| held.vip.key() == key).map(|(r, _)| r.clone())?;
        self.lose_all(vec![(resource, Lost::Removed)]).pop()
    }

    /// Each address with its resource, and since when it has been held.
    pub fn claims(&self) -> Vec<(String, Vip, Duration)> {
        self.held.iter().map(|(resource, held)| (resource.clone(), held.vip.clone(), held.since)).collect()
    }

    /// Another node has the better right to it.
    pub fn yielded(&mut self, resource: &str, to: NodeId) -> Vec<Dropped> {
        self.lose_all(vec![(resource.to_owned(), Lost::Yielded(to))])
    }

    /// Those on a link without carrier.
    pub fn without_carrier(&mut self, resources: Vec<String>) -> Vec<Dropped> {
        self.lose_all(resources.into_iter().map(|r| (r, Lost::Carrier)).collect())
    }

    /// Whether a list lacks any: lists that others change while they are read may do so wrongly.
    pub fn lacks(&self, seen: &Seen) -> bool {
        self.vips().any(|vip| !seen.contains_key(&vip.key()))
    }

    /// The address to renew at `now`, if this may be done: to be asked right before each renewal.
    pub fn renewable(&self, resource: &str, now: Duration, permitted: Duration) -> Option<&Vip> {
        let held = self.held.get(resource)?;
        let alive = now.saturating_sub(held.renewed) < self.bounds.lifetime;
        (alive && now < permitted).then_some(&held.vip)
    }

    /// The kernel has confirmed a renewal that was sent at `asked`, at `done`, when renewals were permitted until
    /// `permitted`. What crossed a stop of the process may have brought back an address that is elsewhere by now.
    pub fn renewed(&mut self, resource: &str, asked: Duration, done: Duration, permitted: Duration) -> Option<Dropped> {
        let late = self.crossed(resource, asked, done, permitted);
        if late.is_none()
            && let Some(held) = self.held.get_mut(resource)
        {
            held.renewed = asked;
        }
        late
    }

    /// The same for a renewal without a good answer.
    pub fn crossed(&mut self, resource: &str, asked: Duration, done: Duration, permitted: Duration) -> Option<Dropped> {
        let held = self.held.get(resource)?;
        let (age, took) = (done.saturating_sub(held.renewed), done.saturating_sub(asked));
        let why = if age >= self.bounds.lifetime {
            Lost::RanOut(millis(age))
        } else if took > self.bounds.in_flight && done >= permitted {
            Lost::Late(millis(took))
        } else {
            return None;
        };
        self.lose_all(vec![(resource.to_owned(), why)]).pop()
    }

    fn lose_all(&mut self, reasons: Vec<(String, Lost)>) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for (resource, why) in reasons {
            let Some(held) = self.held.remove(&resource) else { continue };
            if why != Lost::NotOwner {
                self.lost.insert(resource.clone(), held.vip.clone());
                while self.lost.len() > MAX_LEASES {
                    self.lost.pop_first();
                }
            }
            dropped.push((resource, held.vip, why));
        }
        dropped
    }
}

fn millis(d: Duration) -> u64 {
    d.as_millis() as u64
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

    fn empty() -> Table {
        Table::new(Bounds::STANDARD)
    }

    fn held_at(now: Duration) -> Table {
        let mut table = empty();
        table.set_owners(Names::from_iter(["vip"]));
        assert!(table.grant("vip", vip(), now));
        table
    }

    fn seen(created: u32) -> Seen {
        Seen::from([(vip().key(), created)])
    }

    fn dropped(why: Lost) -> Vec<Dropped> {
        vec![("vip".to_owned(), vip(), why)]
    }

    #[test]
    fn renews_while_permitted_and_owned() {
        let mut table = held_at(ms(1000));
        assert_eq!((table.expire(ms(1400)), table.compare(&seen(7))), (vec![], vec![]));
        assert_eq!(table.renewable("vip", ms(1400), ms(2000)), Some(&vip()));
        assert_eq!(table.renewed("vip", ms(1400), ms(1405), ms(2000)), None);
        assert_eq!(table.expire(ms(3399)), []);
    }

    #[test]
    fn all_leases_of_a_resource_live_with_its_right_to_be_here() {
        let mut table = empty();
        table.set_owners(Names::from_iter(["announce"]));
        let other = Vip { interface_index: 4, ..vip() };
        let names = ["up", "drain"].map(|at| super::super::name_of("announce", at, vip().addr));
        assert!(table.grant(&names[0], vip(), ms(1000)) && table.grant(&names[1], other.clone(), ms(1000)));
        assert_eq!(table.expire(ms(2500)), []);
        table.set_owners(Names::default());
        let gone = [(names[1].clone(), other, Lost::NotOwner), (names[0].clone(), vip(), Lost::NotOwner)];
        assert_eq!(table.expire(ms(2600)), gone);
    }

    #[test]
    fn the_permit_is_looked_at_for_each() {
        let table = held_at(ms(1000));
        assert_eq!(table.renewable("vip", ms(1399), ms(1400)), Some(&vip()));
        assert_eq!(table.renewable("vip", ms(1400), ms(1400)), None, "a permit that ended in the middle of a round");
        assert_eq!(table.renewable("another", ms(1000), ms(1400)), None, "released in the middle of a round");
    }

    #[test]
    fn waits_without_permit_then_drops() {
        let mut table = held_at(ms(1000));
        assert_eq!((table.expire(ms(1400)), table.renewable("vip", ms(1400), ms(1300))), (vec![], None));
        assert_eq!(table.expire(ms(3000)), dropped(Lost::RanOut(2000)));
    }

    #[test]
    fn a_stopped_process_does_not_bring_the_address_back() {
        let mut table = held_at(ms(1000));
        table.renewed("vip", ms(1400), ms(1400), ms(2000));
        // Stopped for five seconds; the permit was renewed by another thread first.
        assert_eq!(table.renewable("vip", ms(6400), ms(9000)), None);
        assert_eq!(table.expire(ms(6400)), dropped(Lost::RanOut(5000)));
        assert_eq!((table.expire(ms(6800)), table.is_empty()), (vec![], true), "a lost lease is not taken up again");
    }

    #[test]
    fn a_renewal_that_crossed_a_stop_does_not_count() {
        // Sent, and the process stopped before the kernel's answer was read: longer than the lease.
        let mut table = held_at(ms(1000));
        assert_eq!(table.renewed("vip", ms(1400), ms(3000), ms(9000)), dropped(Lost::RanOut(2000)).pop());
        // Shorter than the lease, but the ring has gone on without this node.
        let mut table = held_at(ms(1000));
        assert_eq!(table.renewed("vip", ms(1400), ms(2100), ms(2000)), dropped(Lost::Late(700)).pop());
        assert!(table.is_lost(&vip()));
        // A busy machine, and a ring that is well.
        let mut table = held_at(ms(1000));
        assert_eq!(table.renewed("vip", ms(1400), ms(2100), ms(2200)), None);
        // Without an answer it is the same.
        let mut table = held_at(ms(1000));
        assert_eq!(table.crossed("vip", ms(1400), ms(2100), ms(2000)), dropped(Lost::Late(700)).pop());
    }

    #[test]
    fn what_was_away_for_a_moment_is_lost() {
        let mut table = held_at(ms(1000));
        assert_eq!(table.compare(&seen(7)), []);
        assert_eq!(table.compare(&seen(7)), []);
        assert_eq!(table.compare(&seen(9)), dropped(Lost::Removed), "a renewal has re-created it");
        assert!(table.is_lost(&vip()), "and a monitor must not call it running");
        assert!(table.grant("vip", vip(), ms(2000)));
        assert!(!table.is_lost(&vip()), "a start takes it up again");
        assert_eq!(table.compare(&seen(11)), [], "as the one that it is now");
    }

    #[test]
    fn what_somebody_removed_is_lost_even_if_it_is_back() {
        let mut table = held_at(ms(1000));
        assert_eq!(table.compare(&seen(7)), []);
        assert_eq!(table.removed((4, vip().addr)), None);
        assert_eq!(table.removed(vip().key()), dropped(Lost::Removed).pop());
        assert_eq!((table.removed(vip().key()), table.compare(&seen(7))), (None, vec![]));
    }

    #[test]
    fn what_is_absent_is_lost_at_any_moment() {
        // Before the first list, too.
        let mut table = held_at(ms(1000));
        assert!(table.lacks(&Seen::new()));
        assert_eq!(table.compare(&Seen::new()), dropped(Lost::Removed));
        assert!(table.is_lost(&vip()));
        assert_eq!(table.release("vip"), None);
        assert!(!table.is_lost(&vip()), "a stop ends it");
    }

    #[test]
    fn how_long_it_is_held_counts_from_the_first_grant() {
        let mut table = held_at(ms(1000));
        assert!(table.grant("vip", vip(), ms(5000)), "announced anew");
        assert_eq!(table.claims(), [("vip".to_owned(), vip(), ms(1000))]);
        assert_eq!(table.yielded("vip", NodeId(2)), dropped(Lost::Yielded(NodeId(2))));
        assert_eq!((table.yielded("vip", NodeId(2)), table.is_lost(&vip())), (vec![], true));
        assert!(table.grant("vip", vip(), ms(9000)));
        assert_eq!(table.claims()[0].2, ms(9000));
    }

    #[test]
    fn drops_when_another_node_owns_it() {
        let mut table = held_at(ms(1000));
        assert_eq!(table.expire(ms(1100)), []);
        table.set_owners(Names::default());
        assert_eq!(table.expire(ms(1200)), dropped(Lost::NotOwner));
        assert!(!table.is_lost(&vip()), "that was the cluster's wish");
    }

    #[test]
    fn a_fresh_start_has_grace_until_the_owner_set_follows() {
        let mut table = empty();
        table.set_owners(Names::default());
        table.grant("vip", vip(), ms(0));
        for now in [ms(400), ms(800)] {
            assert_eq!(table.expire(now), []);
            assert_eq!(table.renewable("vip", now, ms(5000)), Some(&vip()));
            table.renewed("vip", now, now, ms(5000));
        }
    }

    #[test]
    fn one_more_than_the_most_is_refused() {
        let mut table = empty();
        for n in 0..MAX_LEASES {
            assert!(table.grant(&n.to_string(), vip(), ms(0)));
        }
        assert!(!table.grant("more", vip(), ms(0)));
        assert!(table.grant("7", vip(), ms(0)), "one that is there may be taken up anew");
    }
}
