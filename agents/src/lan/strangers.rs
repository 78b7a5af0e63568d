//! Strangers: hosts that are none of the cluster's nodes and use an address that is held here. Pure: time is an argument.
//!
//! The rule (RFC 5227 §2.4, its case (c); RFC 4862 §5.4 leaves it to the host):
//! - An address is never given up to a stranger, whatever it sends and however often: one forged packet of anybody on the LAN
//!   would end the service. It is the cluster's to move, and an operator's.
//! - It is defended by one announcement at once, and by no more than one in [`DEFEND_EVERY`] for as long as it goes on: two
//!   hosts that both defend must not flood the LAN.
//! - It is told when it is [`SURE`] that it is a stranger: a node whose hardware is new has told the others by then. It is over
//!   when nothing was heard for [`OVER`]; caches of neighbours ask about that often.
//! - What nodes of the cluster say of it is no matter of this module: where both hold it, `claim` decides, and a move in good order
//!   needs no decision.

use super::peers::Who;
use kernel::inquiry::Mac;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// Between two announcements of one address against strangers (`DEFEND_INTERVAL` of RFC 5227).
pub(super) const DEFEND_EVERY: Duration = Duration::from_secs(10);
/// From the first packet to the word about it.
const SURE: Duration = Duration::from_secs(1);
/// Silence after which it is over.
const OVER: Duration = Duration::from_secs(90);
/// Hosts that are remembered for one address.
const MAX_MACS: usize = 16;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Defend { resource: String },
    Told { resource: String, addr: IpAddr, mac: Mac },
    Over { resource: String, addr: IpAddr },
}

/// Conflicts, by resource: no more than there are leases.
#[derive(Default)]
pub(super) struct Strangers(BTreeMap<String, Conflict>);

struct Conflict {
    addr: IpAddr,
    macs: BTreeMap<Mac, Seen>,
    defended: Option<Duration>,
}

struct Seen {
    first: Duration,
    last: Duration,
    told: bool,
}

impl Strangers {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hardware `mac`, of whom nothing better is known than `who`, uses the resource's address, which is held here.
    pub fn heard(&mut self, resource: &str, addr: IpAddr, mac: Mac, who: &Who, now: Duration) -> Option<Turn> {
        if *who != Who::Stranger {
            return None;
        }
        let new = || Conflict { addr, macs: BTreeMap::new(), defended: None };
        let conflict = self.0.entry(resource.to_owned()).or_insert_with(new);
        if conflict.macs.len() < MAX_MACS || conflict.macs.contains_key(&mac) {
            conflict.macs.entry(mac).or_insert(Seen { first: now, last: now, told: false }).last = now;
        }
        if conflict.defended.is_some_and(|at| now.saturating_sub(at) < DEFEND_EVERY) {
            return None;
        }
        conflict.defended = Some(now);
        Some(Turn::Defend { resource: resource.to_owned() })
    }

    /// With every look at what is `held`: who has turned out to be a node, what is to be told, what is over.
    pub fn look(&mut self, now: Duration, held: impl Fn(&str, IpAddr) -> bool, who: impl Fn(Mac) -> Who) -> Vec<Turn> {
        let mut turns = Vec::new();
        self.0.retain(|resource, conflict| {
            let was_told = conflict.macs.values().any(|seen| seen.told);
            conflict.macs.retain(|mac, seen| who(*mac) == Who::Stranger && now.saturating_sub(seen.last) < OVER);
            let here = held(resource, conflict.addr);
            if conflict.macs.is_empty() || !here {
                if was_told {
                    turns.push(Turn::Over { resource: resource.clone(), addr: conflict.addr });
                }
                return false;
            }
            for (mac, seen) in &mut conflict.macs {
                if !seen.told && now.saturating_sub(seen.first) >= SURE {
                    seen.told = true;
                    turns.push(Turn::Told { resource: resource.clone(), addr: conflict.addr, mac: *mac });
                }
            }
            true
        });
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::NodeId;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn addr() -> IpAddr {
        "192.0.2.9".parse().unwrap()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn hear(all: &mut Strangers, now: Duration) -> Option<Turn> {
        all.heard("vip", addr(), MAC, &Who::Stranger, now)
    }

    fn look(all: &mut Strangers, now: Duration, who: &Who) -> Vec<Turn> {
        all.look(now, |_, _| true, |_| who.clone())
    }

    #[test]
    fn it_is_defended_once_in_a_while_whatever_comes() {
        let mut all = Strangers::default();
        let defended: Vec<u64> = (0..60_000).step_by(5).filter(|now| hear(&mut all, ms(*now)).is_some()).collect();
        assert_eq!(defended, [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
    }

    #[test]
    fn it_is_told_once_and_is_over_when_nothing_more_is_heard() {
        let mut all = Strangers::default();
        assert_eq!(hear(&mut all, ms(0)), Some(Turn::Defend { resource: "vip".into() }));
        assert_eq!(look(&mut all, ms(999), &Who::Stranger), []);
        let told = Turn::Told { resource: "vip".into(), addr: addr(), mac: MAC };
        assert_eq!(look(&mut all, ms(1000), &Who::Stranger), std::slice::from_ref(&told));
        hear(&mut all, ms(5000));
        assert_eq!(look(&mut all, ms(5000) + OVER - ms(1), &Who::Stranger), []);
        let over = Turn::Over { resource: "vip".into(), addr: addr() };
        assert_eq!((look(&mut all, ms(5000) + OVER, &Who::Stranger), all.is_empty()), (vec![over.clone()], true));
        // It begins anew, and ends with the lease.
        hear(&mut all, ms(200_000));
        assert_eq!(look(&mut all, ms(201_000), &Who::Stranger), [told]);
        assert_eq!(all.look(ms(201_100), |_, _| false, |_| Who::Stranger), [over]);
    }

    #[test]
    fn nodes_are_no_strangers_however_late_that_is_known() {
        let mut all = Strangers::default();
        for who in [Who::Silent("d1".into()), Who::Member(NodeId(1)), Who::Unknown] {
            assert_eq!(all.heard("vip", addr(), MAC, &who, ms(0)), None);
        }
        assert!(all.is_empty());
        hear(&mut all, ms(0));
        assert_eq!(look(&mut all, ms(900), &Who::Member(NodeId(1))), [], "its card came");
        assert_eq!((look(&mut all, ms(9000), &Who::Stranger), all.is_empty()), (vec![], true));
    }

    #[test]
    fn many_at_once_are_bounded() {
        let mut all = Strangers::default();
        for n in 0..=255 {
            all.heard("vip", addr(), [2, 0, 0, 0, 1, n], &Who::Stranger, ms(0));
        }
        assert_eq!(look(&mut all, ms(1000), &Who::Stranger).len(), MAX_MACS);
    }
}
