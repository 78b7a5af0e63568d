//! What must hold before a member agrees to a reload: everything that could fail when it is applied is looked at here.

use super::super::settings::{self, Settings};
use crate::ring::Links;
use quorum::reload::{Listed, Lists, Members};
use std::net::SocketAddr;

/// What speaks against running with `file` from now on. May bind sockets for a moment.
pub(super) fn check(runs: &Settings, file: &Settings, members: &Members) -> Vec<String> {
    let name = file.config.file.clone();
    if runs.me() != file.me() {
        let (old, new) = (runs.me(), file.me());
        return vec![format!("{name}: this host would become node {new}, it runs as node {old}: restart it for that")];
    }
    let links = runs.config.links.len() as u8;
    let (old, new) = (listed(runs), listed(file));
    let lists = Lists { me: runs.me(), file_name: &name, links, runs: &old, file: &new };
    let mut against = lists.against(members);
    against.extend(new_addresses(runs, file));
    if let Err(error) = settings::totem(file, 0, 0).check() {
        against.push(format!("{name}: {error}"));
    }
    if let Err(error) = quorum::Quorum::new(settings::quorum(file)) {
        against.push(format!("{name}: {error}"));
    }
    against
}

fn listed(settings: &Settings) -> Vec<Listed<SocketAddr>> {
    let nodes = settings.resolved.nodes.iter();
    nodes.map(|n| Listed { id: n.id, name: n.name.clone(), addresses: n.addresses.clone() }).collect()
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
