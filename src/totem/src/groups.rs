//! Process groups over the ring's order, with the meaning of corosync's CPG: who joins or leaves does so for everybody at the same
//! place of the order, and who did not come along into a view is out of all groups with it.
//!
//! ```text
//!   join, leave of a process here --ordered--> every member applies it
//!   a view in which somebody is new: every member says what it has (Here); until then who is new is in no group
//! ```
//!
//! Pure: the caller orders the messages and hands over what was delivered, its own among it.

use base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// CPG's bound of a name.
pub const MAX_GROUP_NAME_BYTES: usize = 128;
/// Memberships that one node may have.
pub const MAX_MEMBERSHIPS: usize = 256;

/// A process of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Process {
    pub node: NodeId,
    pub pid: u32,
}

/// What is ordered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMessage {
    Join {
        group: String,
        pid: u32,
    },
    Leave {
        group: String,
        pid: u32,
    },
    /// All of the sender's.
    Here(BTreeSet<(String, u32)>),
}

/// What the members of a group are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupChange {
    pub group: String,
    pub members: Vec<Process>,
    pub left: Vec<Process>,
    pub joined: Vec<Process>,
}

#[derive(Debug)]
pub struct Groups {
    me: NodeId,
    all: BTreeMap<String, BTreeSet<Process>>,
    /// What this node has; known here before it is ordered, so that a view in between loses nothing.
    here: BTreeSet<(String, u32)>,
}

/// Why a process cannot join.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GroupError {
    #[error("a group's name has 1 to {MAX_GROUP_NAME_BYTES} bytes, not {got}")]
    Name { got: usize },
    #[error("processes of this node are in {MAX_MEMBERSHIPS} groups already")]
    Full,
    #[error("the process is in the group already")]
    Twice,
}

impl Groups {
    pub fn new(me: NodeId) -> Groups {
        Groups { me, all: BTreeMap::new(), here: BTreeSet::new() }
    }

    /// A process of this node wants to join; what has to be ordered.
    pub fn join(&mut self, group: &str, pid: u32) -> Result<GroupMessage, GroupError> {
        if !(1..=MAX_GROUP_NAME_BYTES).contains(&group.len()) {
            return Err(GroupError::Name { got: group.len() });
        }
        if self.here.len() >= MAX_MEMBERSHIPS {
            return Err(GroupError::Full);
        }
        if !self.here.insert((group.to_owned(), pid)) {
            return Err(GroupError::Twice);
        }
        Ok(GroupMessage::Join { group: group.to_owned(), pid })
    }

    /// A process of this node leaves, or has ended.
    pub fn leave(&mut self, group: &str, pid: u32) -> Option<GroupMessage> {
        self.here.remove(&(group.to_owned(), pid)).then(|| GroupMessage::Leave { group: group.to_owned(), pid })
    }

    /// Said in every view in which somebody is new.
    pub fn here(&self) -> GroupMessage {
        GroupMessage::Here(self.here.clone())
    }

    pub fn deliver(&mut self, sender: NodeId, message: GroupMessage) -> Vec<GroupChange> {
        let before = self.all.clone();
        match message {
            GroupMessage::Join { group, pid } if self.may_have(sender, &group) => {
                self.all.entry(group).or_default().insert(Process { node: sender, pid });
            }
            GroupMessage::Join { .. } => {}
            GroupMessage::Leave { group, pid } => {
                if let Some(members) = self.all.get_mut(&group) {
                    members.remove(&Process { node: sender, pid });
                }
            }
            GroupMessage::Here(memberships) => {
                self.remove(|p| p.node == sender);
                for (group, pid) in memberships {
                    if self.may_have(sender, &group) {
                        self.all.entry(group).or_default().insert(Process { node: sender, pid });
                    }
                }
            }
        }
        self.changes(before)
    }

    /// A view begins with those who came along from this node's last one.
    pub fn view(&mut self, came_along: &[NodeId]) -> Vec<GroupChange> {
        let (before, me) = (self.all.clone(), self.me);
        self.remove(|p| p.node != me && !came_along.contains(&p.node));
        self.changes(before)
    }

    pub fn all(&self) -> &BTreeMap<String, BTreeSet<Process>> {
        &self.all
    }

    /// A peer that counts otherwise takes no memory here for it.
    fn may_have(&self, node: NodeId, group: &str) -> bool {
        let count = self.all.values().flatten().filter(|p| p.node == node).count();
        count < MAX_MEMBERSHIPS && (1..=MAX_GROUP_NAME_BYTES).contains(&group.len())
    }

    fn remove(&mut self, goes: impl Fn(&Process) -> bool) {
        self.all.values_mut().for_each(|members| members.retain(|p| !goes(p)));
    }

    fn changes(&mut self, before: BTreeMap<String, BTreeSet<Process>>) -> Vec<GroupChange> {
        let names: BTreeSet<&String> = before.keys().chain(self.all.keys()).collect();
        let none = BTreeSet::new();
        let change = |group: &String| {
            let (old, new) = (before.get(group).unwrap_or(&none), self.all.get(group).unwrap_or(&none));
            (old != new).then(|| GroupChange {
                group: group.clone(),
                members: new.iter().copied().collect(),
                left: old.difference(new).copied().collect(),
                joined: new.difference(old).copied().collect(),
            })
        };
        let changes = names.into_iter().filter_map(change).collect();
        self.all.retain(|_, members| !members.is_empty());
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn of(node: NodeId, pid: u32) -> Process {
        Process { node, pid }
    }

    #[test]
    fn every_member_sees_the_same_groups_at_the_same_place() {
        let mut both = [Groups::new(A), Groups::new(B)];
        let join = both[0].join("web", 10).expect("joins");
        assert!(both[0].all().is_empty(), "not before it is ordered");
        for g in &mut both {
            let changes = g.deliver(A, join.clone());
            let expected = GroupChange {
                group: "web".to_owned(),
                members: vec![of(A, 10)],
                left: vec![],
                joined: vec![of(A, 10)],
            };
            assert_eq!(changes, [expected]);
            assert!(g.deliver(A, join.clone()).is_empty(), "no change, so nobody is told");
        }
        assert_eq!(both[0].join("web", 10), Err(GroupError::Twice));
        assert_eq!(both[1].leave("web", 10), None);
        let leave = both[0].leave("web", 10).expect("was there");
        assert_eq!(both[1].deliver(A, leave)[0].left, [of(A, 10)]);
        assert!(both[1].all().is_empty());
    }

    #[test]
    fn who_did_not_come_along_is_gone_until_it_says_what_it_has() {
        let mut a = Groups::new(A);
        let own = a.join("web", 10).expect("joins");
        a.deliver(A, own);
        a.deliver(B, GroupMessage::Here(BTreeSet::from([("web".to_owned(), 20), ("db".to_owned(), 20)])));
        assert_eq!(a.all()["web"], BTreeSet::from([of(A, 10), of(B, 20)]));
        let changes = a.view(&[A]);
        assert_eq!(changes.iter().map(|c| c.group.as_str()).collect::<Vec<_>>(), ["db", "web"]);
        assert_eq!(a.all().len(), 1);
        // A view that ends a ring of one: its own stay.
        assert!(a.view(&[]).is_empty());
        let changes = a.deliver(B, GroupMessage::Here(BTreeSet::from([("web".to_owned(), 21)])));
        assert_eq!((changes[0].joined.as_slice(), a.all()["web"].len()), ([of(B, 21)].as_slice(), 2));
        // What was joined, and not ordered before a view, is said again.
        a.join("late", 11).expect("joins");
        assert!(matches!(a.here(), GroupMessage::Here(all) if all.contains(&("late".to_owned(), 11))));
    }

    #[test]
    fn no_node_takes_more_than_its_share() {
        let mut a = Groups::new(A);
        let many = (0..2 * MAX_MEMBERSHIPS as u32).map(|pid| ("g".to_owned(), pid)).collect();
        a.deliver(B, GroupMessage::Here(many));
        assert_eq!(a.all()["g"].len(), MAX_MEMBERSHIPS);
        for name in [String::new(), "x".repeat(MAX_GROUP_NAME_BYTES + 1)] {
            assert_eq!(a.join(&name, 1), Err(GroupError::Name { got: name.len() }));
            assert!(a.deliver(B, GroupMessage::Join { group: name, pid: 1 }).is_empty());
        }
        for pid in 0..MAX_MEMBERSHIPS as u32 {
            a.join("g", pid).expect("joins");
        }
        assert_eq!(a.join("h", 1), Err(GroupError::Full));
    }
}
