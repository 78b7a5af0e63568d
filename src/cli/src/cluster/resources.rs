//! The tree of resources with where they are active.

use super::history::{Operation, operations};
use super::{pairs, truthy};
use base::WallTime;
use scheduler::status::{Cluster, Resource, ResourceKind, Role};
use std::collections::BTreeMap;
use xml::Element;

/// What one node's history says of one resource.
#[derive(Clone, Debug)]
struct State {
    role: Role,
    failed: bool,
    /// A failed stop that only fencing could mend, where there is none.
    blocked: bool,
    pending: Option<String>,
}

impl State {
    fn of(role: Role) -> State {
        State { role, failed: false, blocked: false, pending: None }
    }
}

struct Reader<'a> {
    /// By resource id as in the history, then node.
    states: BTreeMap<String, BTreeMap<String, State>>,
    defaults: BTreeMap<String, String>,
    templates: BTreeMap<&'a str, &'a Element>,
    cluster: &'a Cluster,
}

pub fn fill(cib: &Element, now: WallTime, cluster: &mut Cluster) {
    let history = operations(cib);
    let configuration = cib.child("configuration");
    let section = configuration.and_then(|c| c.child("resources"));
    let defaults =
        configuration.and_then(|c| c.child("rsc_defaults")).map(|d| pairs(d, "meta_attributes")).unwrap_or_default();
    let templates =
        section.into_iter().flat_map(|s| s.elements_named("template")).filter_map(|t| Some((t.id()?, t))).collect();
    let mut reader = Reader { states: BTreeMap::new(), defaults, templates, cluster };
    reader.read_states(&history);
    let elements = section.into_iter().flat_map(Element::elements).filter(|e| e.name() != "template");
    let mut resources: Vec<Resource> = elements.map(|e| reader.resource(e, &BTreeMap::new())).collect();
    resources.extend(reader.removed(cib, &resources));
    cluster.failures = failures(&history, now);
    let mut counts = (0, 0, 0);
    resources.iter().filter(|r| !r.removed).for_each(|r| count(r, &mut counts));
    (cluster.instances, cluster.disabled, cluster.blocked) = counts;
    for node in &mut cluster.nodes {
        collect_running(&resources, &node.name, &mut node.running);
    }
    cluster.resources = resources;
}

/// Failed operations that a later success of the same operation has not made history.
fn failures(history: &[Operation], _now: WallTime) -> Vec<scheduler::status::FailedAction> {
    let mut newest: BTreeMap<(&str, &str, &str), &Operation> = BTreeMap::new();
    for op in history.iter().filter(|o| o.failed()) {
        newest.insert((&op.node, &op.resource, &op.key), op);
    }
    newest.into_values().map(Operation::as_failure).collect()
}

fn count(r: &Resource, (all, disabled, blocked): &mut (usize, usize, usize)) {
    if let ResourceKind::Primitive { .. } = r.kind {
        *all += 1;
        *disabled += usize::from(r.disabled);
        *blocked += usize::from(r.blocked);
    }
    for child in &r.children {
        let mut below = (0, 0, 0);
        count(child, &mut below);
        (*all, *disabled, *blocked) = (*all + below.0, *disabled + below.1, *blocked + below.2);
    }
}

fn collect_running(resources: &[Resource], node: &str, out: &mut Vec<String>) {
    for r in resources {
        if matches!(r.kind, ResourceKind::Primitive { .. }) && r.active_on.iter().any(|n| n == node) {
            out.push(r.id.clone());
        }
        collect_running(&r.children, node, out);
    }
}

impl Reader<'_> {
    fn read_states(&mut self, history: &[Operation]) {
        for op in history {
            if !self.cluster.nodes.iter().any(|n| n.name == op.node && (n.online || n.unclean || n.pending)) {
                continue;
            }
            let nodes = self.states.entry(op.resource.clone()).or_default();
            let state = nodes.entry(op.node.clone()).or_insert(State {
                role: Role::Stopped,
                failed: false,
                blocked: false,
                pending: None,
            });
            if op.pending() {
                if op.task == "start" {
                    state.role = state.role.max(Role::Started);
                }
                if op.task != "notify" {
                    state.pending = Some(op.task.clone());
                }
                continue;
            }
            // What is kept only to remember a failure says nothing about now.
            let remembered = op.id.ends_with("_last_failure_0");
            match (op.task.as_str(), op.rc) {
                ("stop", 0) => *state = State::of(Role::Stopped),
                ("start" | "migrate_from", 0) => *state = State::of(Role::Started),
                ("promote", 0) | ("monitor", 8) => *state = State::of(Role::Promoted),
                ("demote", 0) => *state = State::of(Role::Unpromoted),
                ("migrate_to", 0) => *state = State::of(Role::Stopped),
                ("monitor", 7) => *state = State::of(Role::Stopped),
                ("monitor", 0) if state.role < Role::Started => *state = State::of(Role::Started),
                ("monitor", 0) if !remembered => state.failed = false,
                ("start" | "stop" | "promote" | "demote" | "monitor" | "migrate_to" | "migrate_from", _)
                    if op.failed() =>
                {
                    state.failed = true;
                    state.blocked = op.task == "stop" && !self.cluster.fencing_enabled;
                    state.role = state.role.max(Role::Started);
                }
                _ => {}
            }
        }
    }

    fn meta(&self, e: &Element, inherited: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut meta = pairs(e, "meta_attributes");
        let template = e.attr("template").and_then(|t| self.templates.get(t));
        let fallbacks = template.map(|t| pairs(t, "meta_attributes")).unwrap_or_default();
        for (name, value) in fallbacks.into_iter().chain(inherited.clone()).chain(self.defaults.clone()) {
            meta.entry(name).or_insert(value);
        }
        meta
    }

    fn resource(&self, e: &Element, inherited: &BTreeMap<String, String>) -> Resource {
        let meta = self.meta(e, inherited);
        let id = e.id().unwrap_or_default();
        match e.name() {
            "group" => {
                let children = e.elements_named("primitive").map(|c| self.resource(c, &meta)).collect();
                self.collective(e, id, ResourceKind::Group, &meta, children)
            }
            "clone" | "master" => self.clone_resource(e, id, &meta),
            "bundle" => {
                let container = e.elements().find(|c| ["docker", "podman", "rkt"].contains(&c.name()));
                let image = container.and_then(|c| c.attr("image")).unwrap_or_default().to_owned();
                self.collective(e, id, ResourceKind::Bundle { image }, &meta, Vec::new())
            }
            _ => self.primitive(e, id, id, &meta, None),
        }
    }

    fn clone_resource(&self, e: &Element, id: &str, meta: &BTreeMap<String, String>) -> Resource {
        let is = |name: &str| meta.get(name).is_some_and(|v| truthy(v));
        let promotable = e.name() == "master" || is("promotable");
        let unique = is("globally-unique")
            || meta
                .get("clone-node-max")
                .is_some_and(|n| n.parse().unwrap_or(1) > 1 && !meta.contains_key("globally-unique"));
        let Some(child) = e.elements().find(|c| ["primitive", "group"].contains(&c.name())) else {
            return self.collective(
                e,
                id,
                ResourceKind::Clone { promotable, unique, child: String::new() },
                meta,
                Vec::new(),
            );
        };
        let child_id = child.id().unwrap_or_default();
        let max = meta
            .get("clone-max")
            .and_then(|m| m.parse().ok())
            .filter(|m| *m > 0)
            .unwrap_or(self.cluster.nodes.len())
            .min(10_000);
        let mut children = Vec::new();
        if unique {
            children.extend((0..max).map(|i| self.instance(child, i, meta, None)));
        } else {
            // One instance per node where it is active, then the idle ones.
            let active = self.cluster.nodes.iter().filter(|n| self.active_somewhere(child, &n.name));
            children.extend(active.enumerate().map(|(i, n)| self.instance(child, i, meta, Some(&n.name))));
            let idle = children.len()..max.max(children.len());
            children.extend(idle.map(|i| self.instance(child, i, meta, Some(""))));
        }
        let kind = ResourceKind::Clone { promotable, unique, child: child_id.to_owned() };
        let mut clone = self.collective(e, id, kind, meta, children);
        clone.disabled = meta.get("target-role").is_some_and(|r| Role::parse(r) == Role::Stopped);
        clone
    }

    fn active_somewhere(&self, e: &Element, node: &str) -> bool {
        let own = e.id().is_some_and(|id| self.state_on(id, node).is_some_and(|s| s.role > Role::Stopped));
        own || e.elements_named("primitive").any(|c| self.active_somewhere(c, node))
    }

    /// Anonymous instances are recorded with and without their number.
    fn state_on(&self, id: &str, node: &str) -> Option<State> {
        let exact = self.states.get(id).and_then(|nodes| nodes.get(node));
        let numbered = || {
            let range = self.states.range(format!("{id}:")..format!("{id};"));
            range.filter_map(|(_, nodes)| nodes.get(node)).max_by_key(|s| s.role)
        };
        exact.or_else(numbered).cloned()
    }

    fn instance(
        &self,
        child: &Element,
        number: usize,
        meta: &BTreeMap<String, String>,
        node: Option<&str>,
    ) -> Resource {
        let id = child.id().unwrap_or_default();
        let numbered = format!("{id}:{number}");
        let own = self.meta(child, meta);
        if child.name() == "group" {
            let members = child.elements_named("primitive").map(|m| {
                let id = m.id().unwrap_or_default();
                self.primitive(m, id, &format!("{id}:{number}"), &self.meta(m, &own), node)
            });
            let members = members.collect();
            let mut group = self.collective(child, id, ResourceKind::Group, &own, members);
            group.id = numbered;
            return group;
        }
        self.primitive(child, id, &numbered, &own, node)
    }

    /// `on`: only this node's state (an anonymous instance), else every node's.
    fn primitive(
        &self,
        e: &Element,
        name: &str,
        id: &str,
        meta: &BTreeMap<String, String>,
        on: Option<&str>,
    ) -> Resource {
        let typed = e.attr("template").and_then(|t| self.templates.get(t)).copied().unwrap_or(e);
        let kind = ResourceKind::Primitive {
            class: typed.attr("class").unwrap_or_default().to_owned(),
            provider: typed.attr("provider").map(str::to_owned),
            agent: typed.attr("type").unwrap_or_default().to_owned(),
        };
        let mut r = self.frame(e, name, id, kind, meta);
        for node in self.cluster.nodes.iter().filter(|n| on.is_none_or(|o| o == n.name)) {
            let state = match on {
                Some(_) => self.state_on(name, &node.name),
                None => self.states.get(id).and_then(|nodes| nodes.get(&node.name)).cloned(),
            };
            let Some(state) = state else { continue };
            if state.role > Role::Stopped {
                r.active_on.push(node.name.clone());
                r.role = r.role.max(state.role);
                r.failed |= state.failed;
                r.blocked |= state.blocked;
                r.maintenance |= node.maintenance;
                r.managed &= !node.maintenance;
            }
            r.pending = r.pending.or(state.pending);
        }
        let promotable = meta.get("promotable").is_some_and(|v| truthy(v));
        if promotable && r.role == Role::Started {
            r.role = Role::Unpromoted;
        }
        r
    }

    fn frame(
        &self,
        e: &Element,
        name: &str,
        id: &str,
        kind: ResourceKind,
        meta: &BTreeMap<String, String>,
    ) -> Resource {
        let flag = |name: &str, default: bool| meta.get(name).map_or(default, |v| truthy(v));
        let maintenance = flag("maintenance", false) || self.cluster.maintenance_mode;
        Resource {
            id: id.to_owned(),
            name: name.to_owned(),
            kind,
            role: Role::Stopped,
            target_role: meta.get("target-role").cloned(),
            managed: flag("is-managed", true) && !maintenance,
            maintenance,
            failed: false,
            failure_ignored: false,
            blocked: false,
            removed: false,
            disabled: meta.get("target-role").is_some_and(|r| Role::parse(r) == Role::Stopped)
                || self.cluster.stop_all_resources,
            pending: None,
            active_on: Vec::new(),
            locked_to: None,
            description: e.attr("description").map(str::to_owned),
            children: Vec::new(),
        }
    }

    fn collective(
        &self,
        e: &Element,
        id: &str,
        kind: ResourceKind,
        meta: &BTreeMap<String, String>,
        children: Vec<Resource>,
    ) -> Resource {
        let mut r = self.frame(e, id, id, kind, meta);
        for child in &children {
            for node in &child.active_on {
                if !r.active_on.contains(node) {
                    r.active_on.push(node.clone());
                }
            }
            r.role = r.role.max(child.role);
            r.failed |= child.failed;
        }
        r.children = children;
        r
    }

    /// Active, but no longer configured.
    fn removed(&self, cib: &Element, configured: &[Resource]) -> Vec<Resource> {
        let lrm = |id: &str| {
            let all = cib.child("status").into_iter().flat_map(Element::descendants);
            all.filter(|e| e.name() == "lrm_resource").find(|e| e.id() == Some(id))
        };
        let mut out = Vec::new();
        for (id, nodes) in &self.states {
            let plain = id.split(':').next().unwrap_or(id);
            let known = super::find(configured, id).or_else(|| super::find(configured, plain));
            if known.is_some() || !nodes.values().any(|s| s.role > Role::Stopped) {
                continue;
            }
            let Some(e) = lrm(id) else { continue };
            let mut r = self.primitive(e, id, id, &BTreeMap::new(), None);
            r.removed = true;
            out.push(r);
        }
        out
    }
}
