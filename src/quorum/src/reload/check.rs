//! What speaks against another nodelist in a member of a running ring.

use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The members of the ring, and the links that work both ways to each of the others.
pub type Members = BTreeMap<NodeId, BTreeSet<u8>>;

/// A node of a nodelist, with its address on each link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<A> {
    pub id: NodeId,
    pub name: String,
    pub addresses: Vec<A>,
}

/// The nodelist that runs, and the one of the file that is to run.
pub struct Lists<'a, A> {
    pub me: NodeId,
    /// How the file is called in what is said of it.
    pub file_name: &'a str,
    /// Links that run.
    pub links: u8,
    pub runs: &'a [Listed<A>],
    pub file: &'a [Listed<A>],
}

impl<A: PartialEq> Lists<'_, A> {
    /// In words; nothing if it may be.
    pub fn against(&self, members: &Members) -> Vec<String> {
        let mut against = self.removed_members(members);
        against.extend(self.kept_link(members));
        against
    }

    fn name_of(&self, node: NodeId) -> String {
        self.runs.iter().find(|n| n.id == node).map_or_else(|| node.to_string(), |n| n.name.clone())
    }

    /// Who works is not left alone: it would go on by its own old file.
    fn removed_members(&self, members: &Members) -> Vec<String> {
        let stays: BTreeSet<NodeId> = self.file.iter().map(|n| n.id).collect();
        let gone = members.keys().filter(|m| !stays.contains(m));
        gone.map(|m| {
            let (name, node) = (self.file_name, self.name_of(*m));
            format!("{name}: node {node} is not in the nodelist any more, but in the ring: stop it first")
        })
        .collect()
    }

    /// While addresses change, one link has to go on working.
    fn kept_link(&self, members: &Members) -> Option<String> {
        let name = self.file_name;
        let old: BTreeMap<NodeId, &Listed<A>> = self.runs.iter().map(|n| (n.id, n)).collect();
        let stay: Vec<(&Listed<A>, &Listed<A>)> =
            self.file.iter().filter_map(|n| Some((*old.get(&n.id)?, n))).collect();
        let links: BTreeSet<u8> = (0..self.links).collect();
        let keeps = |link: &u8| {
            let link = usize::from(*link);
            stay.iter().all(|(old, new)| {
                old.addresses.get(link).is_some() && old.addresses.get(link) == new.addresses.get(link)
            })
        };
        let kept: BTreeSet<u8> = links.iter().copied().filter(keeps).collect();
        if stay.len() < 2 || kept == links {
            return None;
        }
        if kept.is_empty() {
            return Some(format!(
                "{name}: no link would keep the addresses of all nodes: leave one as it is, reload, and change that one in a \
                 second reload"
            ));
        }
        let (peer, _) = members.iter().find(|(id, works)| **id != self.me && works.is_disjoint(&kept))?;
        let peer = self.name_of(*peer);
        let kept: Vec<String> = kept.iter().map(u8::to_string).collect();
        Some(format!(
            "{name}: of the links that keep their addresses ({}) none works both ways to {peer}, so the ring would break: see \
             `corosync-cfgtool -n`, mend one, and reload then",
            kept.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node and addresses.
    type Line = (u32, &'static [&'static str]);

    fn listed(all: &[Line]) -> Vec<Listed<&'static str>> {
        let of =
            |(id, addresses): &Line| Listed { id: NodeId(*id), name: format!("n{id}"), addresses: addresses.to_vec() };
        all.iter().map(of).collect()
    }

    fn against(runs: &[Line], file: &[Line], members: &[(u32, &[u8])]) -> Vec<String> {
        let (runs, file) = (listed(runs), listed(file));
        let links = runs[0].addresses.len() as u8;
        let lists = Lists { me: NodeId(1), file_name: "f", links, runs: &runs, file: &file };
        lists.against(&members.iter().map(|(n, works)| (NodeId(*n), works.iter().copied().collect())).collect())
    }

    #[test]
    fn who_works_is_stopped_before_it_is_removed() {
        let three: &[Line] = &[(1, &["a"]), (2, &["b"]), (3, &["c"])];
        let two = &three[..2];
        assert!(against(three, two, &[(1, &[]), (2, &[0])]).is_empty());
        let said = against(three, two, &[(1, &[]), (2, &[0]), (3, &[0])]);
        assert!(said.len() == 1 && said[0].contains("node n3"), "{said:?}");
        assert!(against(two, three, &[(1, &[]), (2, &[0])]).is_empty(), "one more is no one's harm");
    }

    #[test]
    fn addresses_change_on_one_link_while_another_works() {
        let runs: &[Line] = &[(1, &["a", "A"]), (2, &["b", "B"])];
        let one: &[Line] = &[(1, &["a", "A"]), (2, &["b", "X"])];
        let both: &[Line] = &[(1, &["a", "A"]), (2, &["x", "X"])];
        assert!(against(runs, one, &[(1, &[]), (2, &[0])]).is_empty());
        assert!(against(runs, one, &[(1, &[]), (2, &[1])])[0].contains("none works both ways to n2"));
        assert!(against(runs, both, &[(1, &[]), (2, &[0, 1])])[0].contains("no link would keep"));
    }
}
