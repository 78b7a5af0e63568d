//! From actions and orderings to the transition graph.

use crate::digest::meta_name;
use crate::graph::{Action as GraphAction, ActionKind, Graph, PrimitiveRef, ResourceAction, Target};
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, Action, Before, Map, NodeIdx, RscIdx, Sched, Variant, op_key};
use base::Text;
use std::collections::{BTreeMap, BTreeSet};

/// Relations that only say what comes first, or what is shown, but change nothing.
const HARMLESS: u32 = rel::THEN_IMPLIES_FIRST_GRAPHED | rel::FIRST_IMPLIES_THEN_GRAPHED | rel::ORDERED;

impl Sched {
    /// The graph; also marks the actions that are in it.
    pub fn build_graph(&mut self, transition: u32) -> Graph {
        let mut graph = Graph { settings: self.graph_settings(transition), ..Default::default() };
        for rsc in self.top.clone() {
            self.graph_resource(rsc, &mut graph);
        }
        if self.maintenance_changes().next().is_some() {
            let a = self.pseudo_op("maintenance_nodes");
            self[a].flags |= act::ALWAYS_IN_GRAPH;
        }
        for a in (0..self.actions.len() as u32).rev() {
            self.graph_action(ActIdx(a), &mut graph);
        }
        self.add_phantoms(&mut graph);
        self.leave_out_loops(&mut graph);
        graph
    }

    fn graph_settings(&self, transition: u32) -> BTreeMap<String, String> {
        let o = &self.options;
        let mut s = BTreeMap::new();
        let mut set = |name: &str, value: String| s.insert(name.to_owned(), value);
        set("cluster-delay", o.text("cluster-delay"));
        set("fencing-timeout", o.text("fencing-timeout"));
        set("failed-stop-offset", "INFINITY".into());
        set("failed-start-offset", if o.start_failure_fatal { "INFINITY" } else { "1" }.into());
        set("batch-limit", o.text("batch-limit"));
        set("transition_id", transition.to_string());
        let limit = o.text("migration-limit");
        if base::text::parse_int(&limit).is_some_and(|l| l > 0) {
            set("migration-limit", limit);
        }
        if let Some(at) = self.recheck_by {
            set("recheck-by", at.to_string());
        }
        s
    }

    fn graph_resource(&mut self, rsc: RscIdx, graph: &mut Graph) {
        match self[rsc].variant {
            Variant::Bundle => {
                if let Some(child) = self[rsc].bundle.child {
                    self.graph_resource(child, graph);
                }
                for replica in self[rsc].bundle.replicas.clone() {
                    if let Some(remote) = replica.remote {
                        self.fill_in_remote_name(remote);
                    }
                    for part in [replica.ip, Some(replica.container), replica.remote].into_iter().flatten() {
                        self.graph_resource(part, graph);
                    }
                }
            }
            Variant::Clone => {
                for a in self[rsc].actions.clone().into_iter().rev() {
                    self.action_flags(a, None);
                }
                self.create_clone_notifications(rsc);
                for child in self[rsc].children.clone() {
                    self.graph_resource(child, graph);
                }
                self.graph_own_actions(rsc, graph);
            }
            Variant::Primitive | Variant::Group => {
                self.graph_own_actions(rsc, graph);
                for child in self[rsc].children.clone() {
                    self.graph_resource(child, graph);
                }
            }
        }
    }

    fn graph_own_actions(&mut self, rsc: RscIdx, graph: &mut Graph) {
        for a in self[rsc].actions.clone().into_iter().rev() {
            self.graph_action(a, graph);
        }
    }

    /// A connection whose address is `#uname` gets its host's name.
    fn fill_in_remote_name(&mut self, remote: RscIdx) {
        if let Some(name) = self.bundle_remote_name(remote) {
            let mut params = (*self.params(remote, None)).clone();
            params.insert("addr".into(), name);
            self[remote].params.insert(None, params.into());
        }
    }

    fn maintenance_changes(&self) -> impl Iterator<Item = NodeIdx> + '_ {
        self.node_order
            .iter()
            .copied()
            .filter(|n| self[*n].is_remote_kind && self[*n].maintenance != self[*n].remote_maint)
    }

    /// Merges relations with the same action.
    fn deduplicate_inputs(&mut self, a: ActIdx) {
        if self[a].is(act::INPUTS_DEDUPLICATED) {
            return;
        }
        self[a].flags |= act::INPUTS_DEDUPLICATED;
        let mut inputs = std::mem::take(&mut self[a].before);
        inputs.reverse();
        inputs.sort_by_key(|b| b.action);
        let mut merged: Vec<Before> = Vec::with_capacity(inputs.len());
        for input in inputs {
            match merged.last_mut().filter(|m| m.action == input.action) {
                Some(last) => last.flags |= input.flags,
                None => merged.push(Before { graphed: false, ..input }),
            }
        }
        self[a].before = merged;
    }

    fn should_add(&mut self, a: ActIdx) -> bool {
        let action = &self[a];
        if !action.is(act::RUNNABLE) || (action.is(act::OPTIONAL) && !action.is(act::ALWAYS_IN_GRAPH)) {
            return false;
        }
        // Of an unmanaged resource only recurring operations and probes go on.
        let unmanaged = action.rsc.is_some_and(|r| !self[r].is(rf::MANAGED));
        if unmanaged && &*action.task != "monitor" && action.meta("interval").is_none_or(|i| i == "0") {
            return false;
        }
        if action.is(act::PSEUDO) || matches!(&*action.task, "stonith" | "do_shutdown") {
            return true;
        }
        let Some(node) = action.node else {
            let text = format!("Skipping action {} because it was not assigned to a node", action.key);
            self.error(text);
            return false;
        };
        if action.is(act::ON_DC) || (self.is_guest(node) && !self[node].remote_reset) {
            return true;
        }
        if !self[node].online || self[node].unclean {
            let state = if self[node].online { "unclean" } else { "offline" };
            let text = format!("Skipping action {} because it was scheduled for {state} node", self[a].key);
            self.error(text);
            return false;
        }
        true
    }

    fn should_add_input(&mut self, a: ActIdx, i: usize) -> bool {
        let input = self[a].before[i];
        let first = &self[input.action];
        let changes = input.flags & !HARMLESS != 0;
        if input.graphed {
            return true;
        }
        if input.flags == rel::NONE {
            return false;
        }
        if !first.is(act::RUNNABLE)
            && (!changes || input.flags & (rel::MIN_RUNNABLE | rel::UNMIGRATABLE_THEN_BLOCKS) != 0)
        {
            return false;
        }
        if input.flags & rel::IF_FIRST_UNMIGRATABLE != 0 && first.is(act::MIGRATABLE) {
            return false;
        }
        if input.flags == rel::ORDERED && first.is(act::MIGRATABLE) && first.key.ends_with("_stop_0") {
            return false;
        }
        if input.flags == rel::IF_ON_SAME_NODE_OR_TARGET || input.flags == rel::IF_REQUIRED_ON_SAME_NODE {
            let applies = self.node_condition_holds(a, input);
            if !applies {
                self[a].before[i].flags = rel::NONE;
            }
            return applies;
        }
        let first_rsc = first.rsc.filter(|r| Some(*r) != self[a].rsc);
        let stuck = first_rsc.is_some_and(|r| self[r].is(rf::FAILED) && !self[r].is(rf::MANAGED))
            && first.key.ends_with("_stop_0");
        if stuck && self[a].rsc.is_some_and(|r| self[r].is_clone()) {
            let text = format!(
                "Ignoring requirement that {} complete before {}: unmanaged failed resources cannot prevent clone shutdown",
                first.key, self[a].key
            );
            self.warn(text);
            return false;
        }
        let unwanted = first.is(act::OPTIONAL) && !first.is(act::ALWAYS_IN_GRAPH | act::ADDED_TO_GRAPH);
        !unwanted || self.should_add(input.action)
    }

    /// Whether a relation that depends on nodes applies.
    fn node_condition_holds(&self, a: ActIdx, input: Before) -> bool {
        let (action, first) = (&self[a], &self[input.action]);
        let same = |x: Option<NodeIdx>, y: Option<NodeIdx>| x.is_some() && x == y;
        if input.flags == rel::IF_ON_SAME_NODE_OR_TARGET {
            if let Some(rsc) = action.rsc.filter(|_| &*action.task == "migrate_to") {
                return same(first.node, self[rsc].assigned.map(|x| x.node));
            }
            return same(first.node, action.node) && !first.is(act::OPTIONAL);
        }
        let apart = first.node.is_some() && action.node.is_some() && first.node != action.node;
        !apart && !first.is(act::OPTIONAL)
    }

    /// Whether waiting for this input would in the end mean waiting for `init` itself.
    pub fn graph_has_loop(&mut self, init: ActIdx, a: ActIdx, i: usize) -> bool {
        let mut visited = BTreeSet::new();
        let mut stack = vec![(a, i)];
        while let Some((a, i)) = stack.pop() {
            let first = self[a].before[i].action;
            if visited.contains(&first) || !self.should_add_input(a, i) {
                continue;
            }
            if first == init {
                return true;
            }
            visited.insert(first);
            stack.extend((0..self[first].before.len()).map(|i| (first, i)));
        }
        false
    }

    fn graph_action(&mut self, a: ActIdx, graph: &mut Graph) {
        self.deduplicate_inputs(a);
        if self[a].is(act::ADDED_TO_GRAPH) || !self.should_add(a) {
            return;
        }
        self[a].flags |= act::ADDED_TO_GRAPH;
        let mut made = self.graph_action_of(a, true);
        let own = self[a].rsc.map_or(0, |r| self[r].priority);
        made.priority = own.max(self[a].priority).max(0);
        for i in 0..self[a].before.len() {
            if self.should_add_input(a, i) {
                self[a].before[i].graphed = true;
                made.inputs.push(self[self[a].before[i].action].id);
            }
        }
        graph.actions.push(made);
    }

    fn add_phantoms(&mut self, graph: &mut Graph) {
        let present: BTreeSet<u32> = graph.actions.iter().map(|a| a.id).collect();
        let missing: BTreeSet<u32> =
            graph.actions.iter().flat_map(|a| &a.inputs).copied().filter(|id| !present.contains(id)).collect();
        for id in missing {
            let made = self.graph_action_of(ActIdx(id - 1), false);
            graph.phantoms.push(made);
        }
    }

    fn target(&self, node: NodeIdx) -> Target {
        Target { node: self[node].name.clone().into(), uuid: self[node].id.clone().into() }
    }

    fn primitive_ref(&self, rsc: RscIdx) -> PrimitiveRef {
        let r = &self[rsc];
        let (mut id, mut long_id) = (r.id.clone(), None);
        if let Some(history) = r.history_id.as_ref().filter(|_| r.is(rf::REMOVED)) {
            (id, long_id) = (history.clone(), Some(r.id.clone()));
        } else if !r.is(rf::UNIQUE) {
            id = r.xml_id().clone();
            long_id = Some(r.history_id.as_ref().filter(|h| **h != id).unwrap_or(&r.id).clone());
        }
        let meta = |name: &str| r.meta.get(name).cloned().map(Text::from);
        PrimitiveRef {
            id: id.into(),
            long_id: long_id.map(Text::from),
            class: meta("class").unwrap_or_else(|| "".into()),
            provider: meta("provider"),
            agent: meta("type").unwrap_or_else(|| "".into()),
        }
    }

    /// The key as the agent's history will have it.
    fn keys(&self, action: &Action) -> (Text, Option<Text>) {
        let Some(history) = action.rsc.and_then(|r| self[r].history_id.clone()) else {
            return (action.key.clone().into(), None);
        };
        let key = if &*action.task == "notify" {
            let meta = |name: &str| action.meta(name).unwrap_or_default();
            format!("{history}_{}_notify_{}_0", meta("notify_type"), meta("notify_operation")).into()
        } else {
            op_key(&history, action.cancel_task.as_ref().unwrap_or(&action.task), action.interval_ms()).into()
        };
        (key, Some(action.key.clone().into()))
    }

    fn graph_action_of(&mut self, a: ActIdx, details: bool) -> GraphAction {
        let action = &self[a];
        let (key, internal_key) = self.keys(action);
        let operation = Text::from(action.task.clone());
        let pseudo = action.is(act::PSEUDO);
        let cluster = matches!(&*action.task, "do_shutdown" | "clear_failcount" | "lrm_delete")
            || (&*action.task == "stonith" && !pseudo);
        let target = action.node.map(|n| self.target(n));
        let router_node = self.router_of(a).map(|n| Text::from(self[n].name.clone()));
        let primitive = action.rsc.filter(|_| !pseudo).map(|r| self.primitive_ref(r));
        let no_target = || Target { node: "".into(), uuid: "".into() };
        let lock = action.rsc.and_then(|r| self.lock_of(action, r));
        let kind = if cluster {
            ActionKind::Cluster { key, operation, target: target.unwrap_or_else(no_target), router_node, primitive }
        } else if pseudo {
            let target = target.filter(|_| &*action.task == "stonith");
            ActionKind::Pseudo { key, operation, target }
        } else {
            let interval_ms = action.interval_ms();
            let own = action.extra.iter().map(|(name, _)| Text::from(name.clone())).collect();
            let timeout_ms =
                action.meta("timeout").and_then(base::text::parse_int).and_then(|t| u64::try_from(t).ok()).unwrap_or(0);
            let nobody =
                || PrimitiveRef { id: "".into(), long_id: None, class: "".into(), provider: None, agent: "".into() };
            ActionKind::Resource(ResourceAction {
                key,
                operation,
                interval_ms,
                target: target.unwrap_or_else(no_target),
                router_node,
                primitive: primitive.unwrap_or_else(nobody),
                timeout_ms,
                own,
                shutdown_lock: lock,
            })
        };
        let id = action.id;
        let has_node_info = cluster || !pseudo || &*action.task == "stonith";
        let mut made = GraphAction {
            id,
            kind,
            priority: 0,
            inputs: Vec::new(),
            attributes: Vec::new(),
            internal_key,
            downed: Vec::new(),
            maintenance: Vec::new(),
        };
        if details {
            made.attributes = self.graph_attributes(a, has_node_info);
            if has_node_info {
                made.downed = self.downed_by(a);
            }
            if &*self[a].task == "maintenance_nodes" && pseudo {
                made.maintenance =
                    self.maintenance_changes().map(|n| (self[n].id.clone().into(), self[n].maintenance)).collect();
            }
        }
        made
    }

    /// Since when the resource is locked to the node of the action, if the action is to record that.
    fn lock_of(&self, action: &Action, rsc: RscIdx) -> Option<i64> {
        let node = action.node.filter(|n| self[rsc].lock_node == Some(*n))?;
        let stays = !self[node].shutdown || &*action.task == "stop";
        stays.then_some(self[rsc].lock_time)
    }

    fn downed_by(&self, a: ActIdx) -> Vec<Text> {
        let action = &self[a];
        let Some(node) = action.node else { return Vec::new() };
        match &*action.task {
            "do_shutdown" => vec![self[node].id.clone().into()],
            "stonith" if matches!(action.meta("stonith_action"), Some("off" | "reboot")) => {
                let guests = self[node]
                    .running
                    .iter()
                    .filter(|r| self[**r].is(rf::REMOTE_CONNECTION) && self[**r].launcher.is_some());
                let guests = guests.filter_map(|r| self.find_node(&self[*r].id)).map(|n| self[n].id.clone().into());
                std::iter::once(self[node].id.clone().into()).chain(guests).collect()
            }
            "stop" => {
                let Some(rsc) = action.rsc.filter(|r| self[*r].is(rf::REMOTE_CONNECTION)) else { return Vec::new() };
                let migrating = |b: &Before| self[b.action].rsc == Some(rsc) && &*self[b.action].task == "migrate_from";
                if action.before.iter().any(migrating) { Vec::new() } else { vec![self[rsc].id.clone().into()] }
            }
            _ => Vec::new(),
        }
    }

    fn graph_attributes(&mut self, a: ActIdx, has_node_info: bool) -> Vec<(Text, Text)> {
        let mut out = Map::new();
        let (rsc, node) = (self[a].rsc, self[a].node);
        if let Some(node) = node.filter(|_| has_node_info) {
            let (name, id) = (self[node].name.clone(), self[node].id.clone());
            for (key, value) in [("on_node", name), ("on_node_uuid", id)] {
                let key = self.word(key);
                self[a].meta.insert(key, value);
            }
        }
        out.insert(self.word("crm_feature_set"), self.word(crate::unpack::FEATURE_SET));
        for (name, value) in self[a].extra.iter() {
            out.insert_new(name, value);
        }
        if let Some(rsc) = rsc.filter(|r| node.is_some() || self[*r].is_primitive()) {
            let params = self.params(rsc, node);
            let address = params
                .get("addr")
                .filter(|a| &***a == "#uname")
                .and_then(|_| self.params(rsc, None).get("addr").cloned());
            for (name, value) in params.iter() {
                let value = if &**name == "addr" { address.as_ref().unwrap_or(value) } else { value };
                out.insert_new(name, value);
            }
        }
        let meta = std::mem::take(&mut self[a].meta);
        for (name, value) in meta.iter().filter(|(name, _)| !name.contains(['#', ':'])) {
            out.insert_new(&self.word(&meta_name(name)), value);
        }
        self[a].meta = meta;
        let mut at = rsc;
        while let Some(r) = at {
            for (name, value) in self.resource_graph_meta(r) {
                out.insert(self.word(&name), self.word(&value));
            }
            at = self[r].parent;
        }
        for (name, value) in rsc.map(|r| self.guest_graph_meta(a, r)).unwrap_or_default() {
            out.insert_new(&self.word(&name), &self.word(&value));
        }
        out.iter().map(|(name, value)| (name.clone().into(), value.clone().into())).collect()
    }

    fn resource_graph_meta(&self, rsc: RscIdx) -> Vec<(String, String)> {
        let r = &self[rsc];
        let mut out = Vec::new();
        let mut add = |name: &str, value: String| out.push((meta_name(name), value));
        match r.variant {
            Variant::Primitive => {
                for name in ["clone", "remote-node"] {
                    if let Some(value) = r.meta(name) {
                        add(name, value.to_owned());
                    }
                }
                let mut at = Some(rsc);
                while let Some(x) = at {
                    if let Some(launcher) = self[x].launcher {
                        add("container", self[launcher].id.to_string());
                    }
                    at = self[x].parent;
                }
                if let Some(ip) = r.meta("external-ip") {
                    out.push(("pcmk_external_ip".into(), ip.to_owned()));
                }
            }
            Variant::Clone => {
                let text = |on: bool| if on { "true" } else { "false" }.to_owned();
                add("globally-unique", text(r.is(rf::UNIQUE)));
                add("notify", text(r.is(rf::NOTIFY)));
                add("clone-max", r.clone.clone_max.to_string());
                add("clone-node-max", r.clone.clone_node_max.to_string());
                if r.is(rf::PROMOTABLE) {
                    for name in ["promoted-max", "master-max"] {
                        add(name, r.clone.promoted_max.to_string());
                    }
                    for name in ["promoted-node-max", "master-node-max"] {
                        add(name, r.clone.promoted_node_max.to_string());
                    }
                }
            }
            Variant::Group | Variant::Bundle => {}
        }
        out
    }

    /// Host of the guest on which an action runs.
    fn guest_graph_meta(&self, a: ActIdx, rsc: RscIdx) -> Vec<(String, String)> {
        let action = &self[a];
        let Some(launcher) = action.node.filter(|n| self.is_guest(*n)).and_then(|n| self.guest_launcher(n)) else {
            return Vec::new();
        };
        let task = match &*action.task {
            "notify" | "notified" => action.meta("notify_operation").unwrap_or_default(),
            task => task,
        };
        let host = match task {
            "stop" | "stopped" | "demote" | "demoted" => self.current_node(launcher),
            "start" | "running" | "monitor" | "promote" | "promoted" => self[launcher].assigned.map(|x| x.node),
            _ => None,
        };
        let Some(host) = host else { return Vec::new() };
        let mut out = Vec::new();
        if let Some(target) = self[rsc].meta("container-attribute-target") {
            out.push((meta_name("container-attribute-target"), target.to_owned()));
        }
        out.push((meta_name("physical-host"), self[host].name.to_string()));
        out
    }
}
