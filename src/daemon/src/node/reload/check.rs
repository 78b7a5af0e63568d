//! What must hold before a member agrees to a reload: everything that could fail when it is applied is looked at here.

use super::super::settings::{self, Settings};
use crate::config::ResolvedNode;
use crate::ring::Links;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// The members of the ring, and the links that work both ways to each of the others.
pub(super) type Members = BTreeMap<NodeId, BTreeSet<u8>>;

/// What speaks against running with `file` from now on. May bind sockets for a moment.
pub(super) fn check(runs: &Settings, file: &Settings, members: &Members) -> Vec<String> {
    let name = file.config.file.clone();
    if runs.me() != file.me() {
        let (old, new) = (runs.me(), file.me());
        return vec![format!("{name}: this host would become node {new}, it runs as node {old}: restart it for that")];
    }
    let mut against = removed_members(runs, file, members, &name);
    against.extend(kept_link(runs, file, members, &name));
    against.extend(new_addresses(runs, file));
    if let Err(error) = settings::totem(file, 0, 0).check() {
        against.push(format!("{name}: {error}"));
    }
    if let Err(error) = quorum::Quorum::new(settings::quorum(file)) {
        against.push(format!("{name}: {error}"));
    }
    against
}

fn removed_members(runs: &Settings, file: &Settings, members: &Members, name: &str) -> Vec<String> {
    let stays: BTreeSet<NodeId> = file.resolved.nodes.iter().map(|n| n.id).collect();
    let names = runs.names();
    let gone = members.keys().filter(|m| !stays.contains(m));
    gone.map(|m| {
        let node = names.get(m).cloned().unwrap_or_else(|| m.to_string());
        format!("{name}: node {node} is not in the nodelist any more, but in the ring: stop it first")
    })
    .collect()
}

/// While addresses change, one link has to go on working.
fn kept_link(runs: &Settings, file: &Settings, members: &Members, name: &str) -> Option<String> {
    let old: BTreeMap<NodeId, &ResolvedNode> = runs.resolved.nodes.iter().map(|n| (n.id, n)).collect();
    let stay: Vec<(&ResolvedNode, &ResolvedNode)> =
        file.resolved.nodes.iter().filter_map(|n| Some((*old.get(&n.id)?, n))).collect();
    let links: BTreeSet<u8> = (0..runs.config.links.len() as u8).collect();
    let keeps = |link: &u8| {
        let link = usize::from(*link);
        stay.iter()
            .all(|(old, new)| old.addresses.get(link).is_some() && old.addresses.get(link) == new.addresses.get(link))
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
    let (peer, _) = members.iter().find(|(id, works)| **id != runs.me() && works.is_disjoint(&kept))?;
    let peer = runs.names().get(peer).cloned().unwrap_or_else(|| peer.to_string());
    let kept: Vec<String> = kept.iter().map(u8::to_string).collect();
    Some(format!(
        "{name}: of the links that keep their addresses ({}) none works both ways to {peer}, so the ring would break: see \
         `corosync-cfgtool -n`, mend one, and reload then",
        kept.join(", ")
    ))
}

fn new_addresses(runs: &Settings, file: &Settings) -> Vec<String> {
    let of = |s: &Settings| {
        let mine = s.resolved.nodes.iter().find(|n| n.id == s.me());
        mine.map(|n| n.addresses.clone()).unwrap_or_default()
    };
    let old = of(runs);
    let new = of(file).into_iter().enumerate();
    new.filter(|(_, address)| !old.contains(address))
        .filter_map(|(number, address)| Links::try_bind(number as u8, address).err())
        .map(|error| error.to_string())
        .collect()
}
