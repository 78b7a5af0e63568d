//! What the core's task tells beside the cluster's state: changes for monitoring, and the process groups of the ring.

use super::core::Core;
use super::orders::Order;
use crate::groups::Wish;
use base::NodeId;
use std::collections::BTreeSet;
use totem::{GroupMessage, Process};
use wire::api::{Change, Group, GroupMember, Groups};

/// This daemon's own services that send over the ring, as process groups.
const SERVICES: &[&str] = &["bascule:controller", "bascule:directors", "bascule:orders"];

/// Groups of this node's processes and the ring's, and what was told of members and quorum.
pub(in crate::node) struct Teller {
    groups: totem::Groups,
    members: BTreeSet<NodeId>,
    quorate: bool,
}

impl Teller {
    pub fn new(me: NodeId) -> Teller {
        let mut groups = totem::Groups::new(me);
        for service in SERVICES {
            // Few and well named; told to the ring with the first view.
            let _ = groups.join(service, std::process::id());
        }
        Teller { groups, members: BTreeSet::new(), quorate: false }
    }
}

impl Core {
    /// A view has begun.
    pub(super) async fn tell_view(&mut self, view: &totem::View) {
        let now: BTreeSet<NodeId> = view.members.iter().copied().collect();
        let before = std::mem::replace(&mut self.teller.members, now.clone());
        // One that came back as another process within one change of the ring has left meanwhile.
        let again = before.iter().filter(|n| now.contains(*n) && view.joined.contains(n));
        let left: Vec<NodeId> = before.difference(&now).chain(again.clone()).copied().collect();
        let joined: Vec<NodeId> = now.difference(&before).chain(again).copied().collect();
        for (nodes, joined) in [(left, false), (joined, true)] {
            for node in nodes {
                let (name, address) = (self.controller.config().name_of(node), self.address_of(node));
                self.changes.tell(Change::Node { node, name, address, joined });
            }
        }
        let changes = self.teller.groups.view(&view.transitional);
        self.tell_groups(&changes);
        // In its first view nobody has heard of this node's own.
        if before.is_empty() || !view.joined.is_empty() {
            let here = self.teller.groups.here();
            self.ring.broadcast(Order::Group(here).encode()).await;
        }
    }

    pub(super) fn tell_quorum(&mut self, quorate: bool) {
        if std::mem::replace(&mut self.teller.quorate, quorate) != quorate {
            self.changes.tell(Change::Quorum { quorate });
        }
    }

    pub(super) fn tell_event(&self, event: &totem::Event) {
        if let totem::Event::StartedOver { .. } | totem::Event::SteppedOut { .. } = event {
            self.clients_in_groups.forget_sent();
        }
        let (node, link, up) = match event {
            totem::Event::LinkUp { node, link } => (*node, *link, true),
            totem::Event::LinkDown { node, link, .. } => (*node, *link, false),
            _ => return,
        };
        self.changes.tell(Change::Link { node, name: self.controller.config().name_of(node), link, up });
    }

    pub(super) fn group_ordered(&mut self, sender: NodeId, message: GroupMessage) {
        let changes = self.teller.groups.deliver(sender, message);
        self.tell_groups(&changes);
        if !changes.is_empty() {
            self.show();
        }
    }

    fn tell_groups(&self, changes: &[totem::GroupChange]) {
        for change in changes {
            self.clients_in_groups.tell(&change.group, self.me(), crate::groups::members(change));
        }
    }

    /// A program joins a group, or has left.
    pub(super) async fn group_wish(&mut self, wish: Wish) {
        let message = match wish {
            Wish::Join { client, group, pid, to } => {
                let joined = self.teller.groups.join(&group, pid);
                if joined.is_ok() {
                    self.clients_in_groups.joins(client, &group);
                }
                // A client that has gone says so by itself.
                let _ = to.send(joined.as_ref().map(|_| ()).map_err(ToString::to_string));
                joined.ok()
            }
            Wish::Gone { client } => {
                let was_in = self.clients_in_groups.remove(client);
                was_in.and_then(|(group, pid)| self.teller.groups.leave(&group, pid))
            }
        };
        if let Some(message) = message {
            self.ring.broadcast(Order::Group(message).encode()).await;
        }
    }

    pub(super) fn groups(&self) -> Groups {
        let member = |p: &Process| GroupMember { node: p.node, pid: p.pid, address: self.address_of(p.node) };
        let group = |(name, members): (&String, &BTreeSet<Process>)| Group {
            name: name.clone(),
            members: members.iter().map(member).collect(),
        };
        Groups { groups: self.teller.groups.all().iter().map(group).collect() }
    }

    fn address_of(&self, node: NodeId) -> String {
        let nodes = &self.identity.settings.resolved.nodes;
        let address = nodes.iter().find(|n| n.id == node).and_then(|n| n.addresses.first());
        address.map(ToString::to_string).unwrap_or_default()
    }
}
