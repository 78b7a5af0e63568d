//! Peers that are heard but cannot be read: another key, another cluster's name, another version, another node's number.
//!
//! A packet from an address of the nodelist that does not open says that the host there lives and runs this program. It is told
//! at once, with the cure. It also bears on quorum, in one place only (`node::core`): with `two_node` a node may be quorate
//! alone because it takes the other for dead, and a host that is heard is not. So while such packets come, this node does not
//! *become* quorate alone. What they never do is end anything: such a packet proves nothing of its sender, and whoever can forge
//! an address could otherwise stop a healthy cluster. A formed ring, a majority of three and a node that is quorate already go on.
//! The forger can hold back a survivor for as long as it sends, and status names it all the while; two nodes that both take
//! over, each with the addresses, are worse.
//!
//! Single packets that do not open are no news while others of the same peer do: a damaged one, one of a former session.

use base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::session::Dropped;

/// A peer that could be read within that time is not named.
const READABLE_FOR: Duration = Duration::from_secs(2);
/// Packets that did not open, in a row, before the peer is named: hellos of two starts may cross.
const ENOUGH: u32 = 3;
/// Between two reports on the same peer.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A peer is called unreadable for so long after the last such packet.
pub const HELD_FOR: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Heard {
    read: Option<Time>,
    unread: u32,
    told: Option<Time>,
    /// The last packet that did not open, and why.
    last: Option<(Time, Why)>,
}

#[derive(Clone, Copy)]
enum Why {
    Dropped(Dropped),
    /// It does not let this node in.
    Refused,
}

impl Heard {
    fn tell(&mut self, now: Time, why: Why) -> Option<String> {
        self.last = Some((now, why));
        let due = self.unread >= ENOUGH && self.told.is_none_or(|t| now.since(t) >= TELL_EVERY);
        due.then(|| {
            self.told = Some(now);
            words(why)
        })
    }
}

#[derive(Default)]
pub(super) struct Unread {
    peers: BTreeMap<NodeId, Heard>,
}

impl Unread {
    pub fn read(&mut self, now: Time, peer: NodeId) {
        let heard = self.peers.entry(peer).or_default();
        (heard.read, heard.unread, heard.last) = (Some(now), 0, None);
    }

    /// A packet from this peer's address did not open. Gives what to tell, if it is time to.
    pub fn unread(&mut self, now: Time, peer: NodeId, why: Dropped) -> Option<String> {
        if matches!(why, Dropped::Replayed | Dropped::StaleSession(_) | Dropped::NotOurs) {
            return None;
        }
        let heard = self.peers.entry(peer).or_default();
        if heard.read.is_some_and(|t| now.since(t) < READABLE_FOR) {
            return None;
        }
        heard.unread = heard.unread.saturating_add(1);
        heard.tell(now, Why::Dropped(why))
    }

    /// The peer says, with the cluster's key, that this node's number is another host's.
    pub fn refused(&mut self, now: Time, peer: NodeId) -> Option<String> {
        let heard = self.peers.entry(peer).or_default();
        heard.unread = ENOUGH;
        heard.tell(now, Why::Refused)
    }

    /// Who is heard but not read at present, and why.
    pub fn present(&self, now: Time) -> Vec<(NodeId, String)> {
        let of = |(id, heard): (&NodeId, &Heard)| {
            let (at, why) = heard.last.filter(|(at, _)| now.since(*at) < HELD_FOR)?;
            (heard.unread >= ENOUGH && at <= now).then(|| (*id, words(why)))
        };
        self.peers.iter().filter_map(of).collect()
    }
}

/// What is wrong, and the cure.
fn words(why: Why) -> String {
    let why = match why {
        Why::Dropped(why) => why,
        Why::Refused => {
            return "it refuses this node, whose nodeid belongs to another host there: give this host a nodeid and an entry of \
                 its own in every corosync.conf"
                .to_owned();
        }
    };
    match why {
        Dropped::BadVersion { .. } => format!("{why}: run the same version on both nodes"),
        Dropped::Altered => "its authkey or its cluster_name differs: copy /etc/corosync/authkey from this node to it \
             (or the other way round), compare cluster_name in both corosync.conf, and restart the one that was changed"
            .to_owned(),
        Dropped::UnknownSender(id) => {
            format!(
                "it calls itself node {id}, which the nodelist here does not have: the corosync.conf of the nodes differ"
            )
        }
        Dropped::WrongReceiver(id) => {
            format!("it takes this node for node {id}: the nodelists of the two corosync.conf differ")
        }
        Dropped::NotOurs | Dropped::Replayed | Dropped::StaleSession(_) => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_never_readable_is_named_at_once_and_not_too_often() {
        let mut unread = Unread::default();
        let peer = NodeId(2);
        let told =
            (0..100).filter(|n| unread.unread(Time::from_millis(n * 50), peer, Dropped::Altered).is_some()).count();
        assert_eq!(told, 5, "once a second");
        assert!(unread.present(Time::from_millis(5000))[0].1.contains("authkey"));
        assert_eq!(unread.present(Time::from_millis(9000)), [], "it is silent now");
        unread.read(Time::from_millis(9000), peer);
        for n in 0..50 {
            let why = Dropped::Altered;
            assert_eq!(unread.unread(Time::from_millis(9000 + n * 30), peer, why), None, "noise beside what is read");
        }
        assert_eq!(unread.present(Time::from_millis(9001)), []);
    }

    #[test]
    fn what_a_restart_leaves_on_the_wire_names_nobody() {
        let mut unread = Unread::default();
        for n in 0..100 {
            let now = Time::from_millis(n * 50);
            assert_eq!(unread.unread(now, NodeId(2), Dropped::StaleSession(NodeId(2))), None);
            assert_eq!(unread.unread(now, NodeId(2), Dropped::Replayed), None);
        }
        assert_eq!(unread.present(Time::from_millis(5000)), []);
    }
}
