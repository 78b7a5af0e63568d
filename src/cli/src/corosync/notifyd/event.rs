//! One event, in the words of each place.

use base::NodeId;
use serde_json::{Map, Value, json};
use wire::api::{Change, Changes, Told};

#[derive(Clone, Debug)]
pub(super) struct Event {
    pub wall_us: i64,
    /// The node that tells.
    pub me: NodeId,
    pub name: String,
    pub change: Change,
    /// Events before this one that were lost.
    pub missed: u64,
}

/// Of SNMP: object, type and value.
pub(super) type Variable = (&'static str, char, String);

impl Event {
    pub fn of(changes: &Changes, told: &Told, addresses: bool) -> Event {
        Event { wall_us: told.wall_us, ..Event::now(changes, told.change.clone(), addresses) }
    }

    pub fn now(changes: &Changes, mut change: Change, addresses: bool) -> Event {
        if let Change::Node { name, address, .. } = &mut change {
            *address =
                address.rsplit_once(':').map_or(address.as_str(), |(ip, _)| ip).trim_matches(['[', ']']).to_owned();
            if addresses {
                name.clone_from(address);
            }
        }
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall_us = since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        Event { wall_us, me: changes.me, name: changes.name.clone(), change, missed: 0 }
    }

    /// As the original prints it.
    pub fn line(&self) -> String {
        let (me, id) = (&self.name, self.me);
        match &self.change {
            Change::Node { node, name, address, .. } => format!("{name}[{node}] ip:{address} {}", self.state()),
            Change::Quorum { quorate: true } => format!("{me}[{id}] is now quorate"),
            Change::Quorum { quorate: false } => format!("{me}[{id}] has lost quorum"),
            Change::Link { node, link, .. } => {
                format!("{me}[{id}] link {link} to node {node} is now {}", self.state())
            }
        }
    }

    /// The one word for what is now.
    pub fn state(&self) -> &'static str {
        match self.change {
            Change::Node { joined, .. } => ["left", "joined"][usize::from(joined)],
            Change::Quorum { quorate } => ["not quorate", "quorate"][usize::from(quorate)],
            Change::Link { up, .. } => ["disconnected", "operational"][usize::from(up)],
        }
    }

    pub fn kind(&self) -> &'static str {
        match self.change {
            Change::Node { .. } => "node",
            Change::Quorum { .. } => "quorum",
            Change::Link { .. } => "link",
        }
    }

    pub fn json(&self) -> Value {
        let mut all = Map::new();
        if let Ok(Value::Object(change)) = serde_json::to_value(&self.change) {
            all.extend(change);
        }
        for (key, value) in [
            ("from", json!(self.name)),
            ("from_id", json!(self.me)),
            ("state", json!(self.state())),
            ("text", json!(self.line())),
            ("wall_us", json!(self.wall_us)),
        ] {
            all.insert(key.to_owned(), value);
        }
        if self.missed > 0 {
            all.insert("missed".to_owned(), json!(self.missed));
        }
        Value::Object(all)
    }

    /// Of a program, named as for alert agents.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let (node, id) = match &self.change {
            Change::Node { node, name, .. } | Change::Link { node, name, .. } => (name.clone(), *node),
            Change::Quorum { .. } => (self.name.clone(), self.me),
        };
        let mut all = vec![
            ("CRM_notify_kind", self.kind().to_owned()),
            ("CRM_notify_node", node),
            ("CRM_notify_nodeid", id.to_string()),
            ("CRM_notify_desc", self.state().to_owned()),
            ("CRM_notify_text", self.line()),
            ("CRM_notify_from", self.name.clone()),
            ("CRM_notify_missed", self.missed.to_string()),
        ];
        match &self.change {
            Change::Node { address, .. } => all.push(("CRM_notify_address", address.clone())),
            Change::Link { link, .. } => all.push(("CRM_notify_link", link.to_string())),
            Change::Quorum { .. } => {}
        }
        all
    }

    /// Trap and its variables as COROSYNC-MIB has them (enterprise 35488).
    pub fn trap(&self) -> (&'static str, Vec<Variable>) {
        let name = |name: &String| ("1.3.6.1.4.1.35488.1.1", 's', name.clone());
        let id = |id: NodeId| ("1.3.6.1.4.1.35488.1.2", 'u', id.to_string());
        match &self.change {
            Change::Node { node, name: of, address, .. } => (
                "1.3.6.1.4.1.35488.0.1",
                vec![
                    name(of),
                    id(*node),
                    ("1.3.6.1.4.1.35488.1.4", 's', address.clone()),
                    ("1.3.6.1.4.1.35488.1.3", 's', self.state().to_owned()),
                ],
            ),
            Change::Quorum { .. } => (
                "1.3.6.1.4.1.35488.0.2",
                vec![name(&self.name), id(self.me), ("1.3.6.1.4.1.35488.1.21", 's', self.state().to_owned())],
            ),
            Change::Link { node, link, .. } => (
                "1.3.6.1.4.1.35488.0.4",
                vec![
                    name(&self.name),
                    ("1.3.6.1.4.1.35488.1.5", 'u', self.me.to_string()),
                    id(*node),
                    ("1.3.6.1.4.1.35488.1.60", 'i', link.to_string()),
                    ("1.3.6.1.4.1.35488.1.61", 's', self.state().to_owned()),
                ],
            ),
        }
    }
}

#[cfg(test)]
pub(super) fn sample(change: Change) -> Event {
    let changes =
        Changes { me: NodeId(1), name: "n1".to_owned(), quorate: true, last: 0, lost: 0, changes: Vec::new() };
    Event::now(&changes, change, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the original on a pair of nodes.
    #[test]
    fn lines_are_the_originals() {
        let node = |joined| {
            sample(Change::Node {
                node: NodeId(2),
                name: "n2".to_owned(),
                address: "10.99.0.2:5405".to_owned(),
                joined,
            })
        };
        let link = |up| sample(Change::Link { node: NodeId(2), name: "n2".to_owned(), link: 0, up });
        let quorum = |quorate| sample(Change::Quorum { quorate });
        for (event, line) in [
            (node(true), "n2[2] ip:10.99.0.2 joined"),
            (node(false), "n2[2] ip:10.99.0.2 left"),
            (quorum(true), "n1[1] is now quorate"),
            (quorum(false), "n1[1] has lost quorum"),
            (link(true), "n1[1] link 0 to node 2 is now operational"),
            (link(false), "n1[1] link 0 to node 2 is now disconnected"),
        ] {
            assert_eq!(event.line(), line);
        }
        let six =
            Change::Node { node: NodeId(2), name: "n2".to_owned(), address: "[fd00::2]:5405".to_owned(), joined: true };
        let changes =
            Changes { me: NodeId(1), name: "n1".to_owned(), quorate: true, last: 0, lost: 0, changes: Vec::new() };
        assert_eq!(Event::now(&changes, six, true).line(), "fd00::2[2] ip:fd00::2 joined");
        assert_eq!(quorum(false).json()["text"], "n1[1] has lost quorum");
    }
}
