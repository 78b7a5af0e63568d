//! The cluster's status as text: nodes, and all resources with where they are.

use super::extras::Extras;
use super::outline::Outline;
use crate::model::flags::rsc as rf;
use crate::model::{NodeIdx, RscIdx, Sched, Variant};
use crate::status::Role;
use base::exit::OcfCode;
use base::text::natural_cmp;
use std::collections::BTreeMap;

fn words_in_brackets<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = names.collect();
    format!("[ {} ]", words.join(" "))
}

fn exit_words(rc: i32) -> String {
    let words = OcfCode(rc).words();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

impl Sched {
    /// Writes nodes and resources as a list of its own.
    pub(super) fn write_status(&mut self, title: &str, extras: Extras, out: &mut Outline) {
        out.begin(title);
        let listed = self.write_nodes(out);
        StatusText { s: self, pending: extras.pending }.write_resources(listed, out);
        if extras.attributes {
            self.write_attributes(out);
        }
        if extras.fail_counts {
            self.write_fail_counts(out);
        }
        out.end();
    }

    fn node_state_words(&self, node: NodeIdx) -> &'static str {
        let n = &self[node];
        match (n.unclean, n.online) {
            (true, true) => "UNCLEAN (online)",
            (true, false) if n.pending => "UNCLEAN (pending)",
            (true, false) => "UNCLEAN (offline)",
            _ if n.pending => "pending",
            (_, true) if n.fail_standby => "standby (on-fail)",
            (_, false) if n.standby => "OFFLINE (standby)",
            (_, true) if n.standby && n.running.is_empty() => "standby",
            (_, true) if n.standby => "standby (with active resources)",
            (_, true) if n.maintenance => "maintenance",
            (_, false) if n.maintenance => "OFFLINE (maintenance)",
            (_, true) => "online",
            (_, false) => "OFFLINE",
        }
    }

    fn write_node(&self, node: NodeIdx, out: &mut Outline) {
        let kind = match (self.is_guest(node), self.is_remote(node)) {
            (true, _) => "GuestNode",
            (_, true) => "RemoteNode",
            _ => "Node",
        };
        let health = match self.node_health(node) {
            ..0 => " (health is RED)",
            0 => " (health is YELLOW)",
            _ => "",
        };
        out.item(&format!("{kind} {}: {}{health}", self[node].name, self.node_state_words(node)));
    }

    fn write_nodes(&self, out: &mut Outline) -> bool {
        if self.node_order.is_empty() {
            return false;
        }
        out.begin("Node List");
        let mut plain: BTreeMap<u8, Vec<&str>> = BTreeMap::new();
        for node in self.node_order.iter().copied() {
            let n = &self[node];
            let special = n.unclean || n.pending || (n.fail_standby && n.online) || n.standby || n.maintenance;
            if special || self.node_health(node) <= 0 {
                self.write_node(node, out);
                continue;
            }
            let list = match (n.online, self.is_guest(node), self.is_remote(node)) {
                (true, true, _) => 4,
                (true, _, true) => 2,
                (true, ..) => 0,
                (false, true, _) => continue,
                (false, _, true) => 3,
                (false, ..) => 1,
            };
            plain.entry(list).or_default().push(&n.name);
        }
        for (list, names) in plain {
            let title = ["Online", "OFFLINE", "RemoteOnline", "RemoteOFFLINE", "GuestOnline"][usize::from(list)];
            out.item(&format!("{title}: {}", words_in_brackets(names.into_iter())));
        }
        out.end();
        true
    }
}

/// What is shown of resources.
struct StatusText<'a> {
    s: &'a Sched,
    /// With operations that are under way.
    pending: bool,
}

impl StatusText<'_> {
    fn write_resources(&self, spacer: bool, out: &mut Outline) {
        if spacer {
            out.spacer();
        }
        out.begin("Full List of Resources");
        let mut any = false;
        for rsc in self.s.top.iter().copied() {
            if self.s[rsc].is(rf::REMOVED) && !self.s.is_active(rsc, true) {
                continue;
            }
            any |= self.write_resource(rsc, out);
        }
        if !any {
            out.item("No resources");
        }
        out.end();
    }

    /// True if anything was written.
    fn write_resource(&self, rsc: RscIdx, out: &mut Outline) -> bool {
        match self.s[rsc].variant {
            Variant::Primitive => self.write_primitive(rsc, self.s.printable_id(rsc), self.status_node(rsc), out),
            Variant::Group => self.write_group(rsc, out),
            Variant::Clone => self.write_clone(rsc, out),
            Variant::Bundle => self.write_bundle(rsc, out),
        }
    }

    fn status_node(&self, rsc: RscIdx) -> Option<NodeIdx> {
        self.s.current_node(rsc).or(self.s[rsc].pending_node)
    }

    fn write_primitive(&self, rsc: RscIdx, name: &str, node: Option<NodeIdx>, out: &mut Outline) -> bool {
        if self.s[rsc].meta_true("internal_rsc") {
            return false;
        }
        out.item(&self.primitive_line(rsc, name, node));
        true
    }

    /// The role as shown: what is started within a promotable clone is unpromoted.
    fn shown_role(&self, rsc: RscIdx) -> Role {
        let role = self.s[rsc].orig_role;
        if role == Role::Started && self.s[self.s.top_of(rsc, false)].is(rf::PROMOTABLE) {
            Role::Unpromoted
        } else {
            role
        }
    }

    /// Exit status of a probe of the resource on the node that failed because the resource cannot be there.
    fn masked_probe(&self, rsc: RscIdx, node: Option<NodeIdx>) -> Option<i32> {
        let top = self.s.top_of(rsc, false);
        let id = match &self.s[top].clone.child {
            Some(child) if self.s[top].is_clone() => &child.id,
            _ => &self.s[rsc].id,
        };
        let here = |name: &str| node.is_none_or(|n| self.s[n].name.eq_ignore_ascii_case(name));
        let found = self.s.failed.iter().find(|f| {
            let op = self.s.history.op(f.op);
            let key = op.key.as_deref().and_then(crate::model::parse_op_key);
            // Who ran it is told by the entry itself, or not at all.
            op.on_node.is_some() && op.masks_probe_failure() && here(&f.node) && key.is_some_and(|k| k.0 == &**id)
        })?;
        Some(self.s.history.op(found.op).rc.unwrap_or(0))
    }

    fn primitive_line(&self, rsc: RscIdx, name: &str, node: Option<NodeIdx>) -> String {
        let r = &self.s[rsc];
        let class = r.conf.class.as_deref().unwrap_or("unknown");
        let provider = r.conf.provider.as_deref().filter(|_| crate::model::config::caps::provider(class));
        let provider = provider.map(|p| format!(":{p}")).unwrap_or_default();
        let several = r.active_nodes.len() > 1;
        let node = node.or(r.lock_node).filter(|_| !several);
        let mut line = format!("{name}\t({class}{provider}:{}):\t", r.conf.agent.as_deref().unwrap_or("unknown"));
        if r.is(rf::REMOVED) {
            line.push_str(" ORPHANED");
        }
        let role = self.shown_role(rsc);
        if r.is(rf::FAILED) {
            line.push_str(" FAILED");
        }
        if !r.is(rf::FAILED) {
            line.push_str(&format!(" {}", self.pending_words(rsc).unwrap_or(role.text())));
        } else if role > Role::Unpromoted {
            line.push_str(&format!(" {}", role.text()));
        }
        if let Some(node) = node {
            line.push_str(&format!(" {}", self.s[node].name));
        }
        if let Some(rc) = self.masked_probe(rsc, node).filter(|_| role == Role::Stopped) {
            line.push_str(&format!(" ({}) ", exit_words(rc)));
        }
        let flags = self.primitive_flags(rsc, node);
        if !flags.is_empty() {
            line.push_str(&format!(" ({})", flags.join(", ")));
        }
        if several {
            if let Some(text) = &r.conf.description {
                line.push_str(&format!(" ({text})"));
            }
            let names = r.active_nodes.iter().map(|n| &*self.s[*n].name);
            line.push_str(&format!(" {}", words_in_brackets(names)));
        }
        line
    }

    fn pending_words(&self, rsc: RscIdx) -> Option<&'static str> {
        match self.s[rsc].pending_action.as_deref().filter(|_| self.pending)? {
            "start" => Some("Starting"),
            "stop" => Some("Stopping"),
            "migrate_to" | "migrate_from" => Some("Migrating"),
            "promote" => Some("Promoting"),
            "demote" => Some("Demoting"),
            _ => None,
        }
    }

    fn primitive_flags(&self, rsc: RscIdx, node: Option<NodeIdx>) -> Vec<String> {
        let r = &self.s[rsc];
        let mut flags = Vec::new();
        if node.is_some_and(|n| !self.s[n].online && self.s[n].unclean) {
            flags.push("UNCLEAN".to_owned());
        }
        if node.is_some() && node == r.lock_node {
            flags.push("LOCKED".to_owned());
        }
        if self.pending && r.pending_action.as_deref() == Some("monitor") {
            flags.push("Monitoring".to_owned());
        }
        let target = r.meta("target-role").unwrap_or_default();
        match Role::parse(target) {
            Role::Stopped => flags.push("disabled".to_owned()),
            Role::Unpromoted if self.s[self.s.top_of(rsc, false)].is(rf::PROMOTABLE) => {
                flags.push(format!("target-role:{target}"))
            }
            _ => {}
        }
        if r.is(rf::BLOCKED) {
            flags.push("blocked".to_owned());
        } else if r.is(rf::MAINTENANCE) {
            flags.push("maintenance".to_owned());
        } else if !r.is(rf::MANAGED) {
            flags.push("unmanaged".to_owned());
        }
        if r.is(rf::IGNORE_FAILURE) {
            flags.push("failure ignored".to_owned());
        }
        flags
    }

    /// Words in parentheses behind the title of a collective resource.
    fn collective_words(&self, rsc: RscIdx) -> String {
        let r = &self.s[rsc];
        let mut words = Vec::new();
        if r.is_clone() && r.is(rf::PROMOTABLE) {
            words.push("promotable");
        }
        if r.is_clone() && r.is(rf::UNIQUE) {
            words.push("unique");
        }
        if self.s.is_disabled(rsc) {
            words.push("disabled");
        }
        if r.is(rf::MAINTENANCE) {
            words.push("maintenance");
        } else if !r.is(rf::MANAGED) {
            words.push("unmanaged");
        }
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
    }

    fn write_group(&self, rsc: RscIdx, out: &mut Outline) -> bool {
        if self.s[rsc].children.is_empty() {
            return false;
        }
        out.begin(&format!("Resource Group: {}{}", self.s[rsc].id, self.collective_words(rsc)));
        for child in &self.s[rsc].children {
            self.write_resource(*child, out);
        }
        out.end();
        true
    }

    fn write_bundle(&self, rsc: RscIdx, out: &mut Outline) -> bool {
        let r = &self.s[rsc];
        let replicas = &r.bundle.replicas;
        if replicas.is_empty() {
            return false;
        }
        let set = if replicas.len() > 1 { " set" } else { "" };
        let unique = if r.is(rf::UNIQUE) { " (unique)" } else { "" };
        let managed = match (r.is(rf::MAINTENANCE), r.is(rf::MANAGED)) {
            (true, _) => " (maintenance)",
            (_, false) => " (unmanaged)",
            _ => "",
        };
        out.begin(&format!("Container bundle{set}: {} [{}]{unique}{managed}", r.id, r.bundle.image));
        for replica in replicas {
            let mut name = self.s.printable_id(replica.remote.unwrap_or(replica.container)).to_string();
            if let Some(ip) = &replica.ip_addr {
                name.push_str(&format!(" ({ip})"));
            }
            let node = self.s.current_node(replica.container);
            self.write_primitive(replica.child.unwrap_or(replica.container), &name, node, out);
        }
        out.end();
        true
    }

    fn write_clone(&self, rsc: RscIdx, out: &mut Outline) -> bool {
        let r = &self.s[rsc];
        let mut shown = ShownInstances::default();
        for child in &r.children {
            self.sort_instance(rsc, *child, &mut shown);
        }
        let child = r.clone.child.as_ref().map_or("", |c| &c.id);
        out.begin(&format!("Clone Set: {} [{child}]{}", r.id, self.collective_words(rsc)));
        for child in &shown.full {
            self.write_resource(*child, out);
        }
        let active = shown.promoted.len() + shown.started.len();
        for (title, list) in [("Promoted", &mut shown.promoted), (self.started_title(rsc), &mut shown.started)] {
            list.sort_by(|a, b| natural_cmp(&self.s[*a].name, &self.s[*b].name));
            if !list.is_empty() {
                out.item(&format!("{title}: {}", words_in_brackets(list.iter().map(|n| &*self.s[*n].name))));
            }
        }
        self.write_stopped(rsc, active, shown.stopped, out);
        out.end();
        true
    }

    fn started_title(&self, rsc: RscIdx) -> &'static str {
        match (self.s[rsc].is(rf::PROMOTABLE), self.configured_role(rsc)) {
            (false, _) => "Started",
            (true, Role::Unpromoted) => "Unpromoted (target-role)",
            (true, _) => "Unpromoted",
        }
    }

    fn configured_role(&self, rsc: RscIdx) -> Role {
        let first = self.s[rsc].children.first().and_then(|c| self.s[*c].meta("target-role"));
        self.s[rsc].meta("target-role").or(first).map_or(Role::Unknown, Role::parse)
    }

    /// Decides how an instance is shown: by itself, or as a node in one of the lists.
    fn sort_instance(&self, clone: RscIdx, child: RscIdx, shown: &mut ShownInstances) {
        let any_active = self.s.is_active(child, false);
        if self.s[clone].is(rf::UNIQUE) {
            if any_active || !self.s[clone].is(rf::REMOVED) {
                shown.full.push(child);
            }
            return;
        }
        let mut full = false;
        if self.pending && self.s[child].pending_action.as_deref().is_some_and(|p| p != "probe") {
            full = true;
        } else if !any_active {
            if !self.s[child].is(rf::REMOVED) {
                shown.stopped.push(self.s[child].id.to_string());
            }
        } else if self.s.is_set_recursive(child, rf::REMOVED, true)
            || !self.s.is_set_recursive(child, rf::MANAGED, false)
            || self.s.is_set_recursive(child, rf::FAILED, true)
            || !self.s.is_active(child, true)
        {
            full = true;
        } else {
            match self.s.location_of(child, true) {
                Some(node) if self.s[node].online || !self.s[node].unclean => {
                    let promoted = self.s.role_of(child, true) > Role::Unpromoted;
                    if promoted { shown.promoted.push(node) } else { shown.started.push(node) }
                }
                _ => full = true,
            }
        }
        if full {
            shown.full.push(child);
        }
    }

    fn write_stopped(&self, rsc: RscIdx, active: usize, instances: Vec<String>, out: &mut Outline) {
        let r = &self.s[rsc];
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if !r.is(rf::UNIQUE) && i64::from(r.clone.clone_max) > active as i64 {
            let mut nodes = r.allowed.nodes();
            if nodes.is_empty() {
                nodes = r.probed.iter().copied().collect();
            }
            let here = &r.active_nodes;
            for node in nodes.into_iter().filter(|n| !here.contains(n)) {
                let title = match self.masked_probe(rsc, Some(node)) {
                    Some(rc) => format!("Stopped ({})", exit_words(rc)),
                    None if self.configured_role(rsc) == Role::Stopped => "Stopped (disabled)".to_owned(),
                    None => "Stopped".to_owned(),
                };
                lists.entry(title).or_default().push(self.s[node].name.to_string());
            }
        } else if !instances.is_empty() {
            lists.insert("Stopped".to_owned(), instances);
        }
        for (title, mut names) in lists {
            names.sort_by(|a, b| natural_cmp(a, b));
            out.item(&format!("{title}: {}", words_in_brackets(names.iter().map(String::as_str))));
        }
    }
}

#[derive(Default)]
struct ShownInstances {
    full: Vec<RscIdx>,
    promoted: Vec<NodeIdx>,
    started: Vec<NodeIdx>,
    /// Ids of instances that are active nowhere.
    stopped: Vec<String>,
}
