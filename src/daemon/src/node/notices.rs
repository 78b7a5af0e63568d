//! What only some nodes can see and every operator should know: a host that uses a taken number talks to its peers, not to the
//! node whose number it is.
//!
//! Told through the ring as a bulletin, beside the cluster's state and no part of it; believed for as long as it is repeated.

use base::{NodeId, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A bulletin of this kind ([`agents::is_bulletin`]).
const MARK: [u8; 2] = [0x42, 3];
/// The ring's thread tells the same host again every 60 s.
const FRESH_FOR: Duration = Duration::from_secs(75);
/// Kept at a time, whoever told them.
const MAX_KEPT: usize = 16;
const MAX_BYTES: usize = 256;

/// A host that calls itself by the number of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Taken {
    pub node: NodeId,
    pub address: IpAddr,
}

impl Taken {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MARK.to_vec();
        // Two plain fields cannot fail.
        out.extend(serde_json::to_vec(self).unwrap_or_default());
        out
    }

    /// What is wrong, and the cure.
    pub fn words(&self, name: &str) -> String {
        let Taken { node, address } = self;
        format!(
            "host {address} calls itself node {node}, which is {name} in the nodelist here: it is not let in; \
             give it a nodeid and an entry of its own in every corosync.conf"
        )
    }
}

pub(super) fn is_notice(payload: &[u8]) -> bool {
    payload.starts_with(&MARK)
}

/// What others have told.
#[derive(Default)]
pub(super) struct Notices(BTreeMap<Taken, Time>);

impl Notices {
    /// Gives what was told, if it is news.
    pub fn receive(&mut self, now: Time, payload: &[u8]) -> Option<Taken> {
        let body = payload.strip_prefix(&MARK).filter(|body| body.len() <= MAX_BYTES)?;
        let taken: Taken = serde_json::from_slice(body).ok()?;
        self.0.retain(|_, at| now.since(*at) < FRESH_FOR);
        let news = !self.0.contains_key(&taken);
        if news && self.0.len() >= MAX_KEPT {
            return None;
        }
        self.0.insert(taken, now);
        news.then_some(taken)
    }

    pub fn fresh(&self, now: Time) -> impl Iterator<Item = Taken> {
        self.0.iter().filter(move |(_, at)| now.since(**at) < FRESH_FOR).map(|(taken, _)| *taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_once_kept_while_repeated_and_bounded() {
        let mut notices = Notices::default();
        let taken = Taken { node: NodeId(2), address: "10.0.0.9".parse().expect("an address") };
        let payload = taken.encode();
        assert!(is_notice(&payload) && agents::is_bulletin(&payload) && !agents::lan::is_card(&payload));
        let at = |s: u64| Time::from_millis(s * 1000);
        assert_eq!(notices.receive(at(1), &payload), Some(taken));
        assert_eq!(notices.receive(at(61), &payload), None, "known");
        assert_eq!(notices.fresh(at(130)).collect::<Vec<_>>(), [taken]);
        assert_eq!(notices.fresh(at(140)).count(), 0, "over");
        assert_eq!(notices.receive(at(200), &payload), Some(taken), "news again");
        for bad in [&b"\x42\x03{"[..], b"\x42\x03", b"", &[MARK.as_slice(), &[b' '; 300]].concat()] {
            assert_eq!(notices.receive(at(201), bad), None);
        }
        for n in 0..100u8 {
            notices.receive(at(202), &Taken { address: IpAddr::from([10, 0, 1, n]), ..taken }.encode());
        }
        assert_eq!(notices.fresh(at(203)).count(), MAX_KEPT);
    }
}
