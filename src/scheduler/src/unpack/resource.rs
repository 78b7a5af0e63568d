//! One resource from its configuration: meta-attributes, flags, and what its kind adds.

use crate::explain::ledger::{Change, Source};
use crate::model::config::{RscConfig, caps};
use crate::model::flags::rsc as rf;
use crate::model::options::NoQuorum;
use crate::model::rules::RuleInput;
use crate::model::{
    Assign, GroupData, INFINITY, Map, MultiplyActive, NodeIdx, NodeTable, ProbeMode, Resource, RscIdx, Sched, Str,
    Variant,
};
use crate::status::Role;
use base::text::{is_true, parse_bool, parse_interval_ms};
use std::rc::Rc;

/// Longest chain of `container` references that is followed.
const MAX_CONTAINER_DEPTH: usize = 8;

impl Sched {
    /// Adds a resource and all below it; `instance` is its number within a clone. `None` if it is unusable.
    pub(super) fn unpack_resource(
        &mut self,
        conf: Rc<RscConfig>,
        instance: Option<Str>,
        parent: Option<RscIdx>,
    ) -> Option<RscIdx> {
        let variant = match &*conf.tag {
            "primitive" => Variant::Primitive,
            "group" => Variant::Group,
            "clone" => Variant::Clone,
            "bundle" => Variant::Bundle,
            _ => return None,
        };
        let id: Str = match &instance {
            Some(n) => format!("{}:{n}", conf.id).into(),
            None => conf.id.clone(),
        };
        let rsc = RscIdx(self.resources.len() as u32);
        self.resources.push(new_resource(id.clone(), Rc::clone(&conf), variant, parent));
        if let Some(n) = &instance {
            self[rsc].meta.insert("clone".into(), n.clone());
        }
        self[rsc].meta = self.meta_attributes(rsc);
        self.unpack_flags(rsc);
        self.unpack_numbers(rsc);
        let (guest, remote) = self.remote_kind(rsc);
        self.unpack_requires(rsc);
        if let Some(ms) = self[rsc].meta("failure-timeout").and_then(parse_interval_ms) {
            self[rsc].failure_expiration_ms = ms;
        }
        if remote {
            let params = self.params(rsc, None);
            if let Some(ms) = params.get("reconnect_interval").and_then(|v| parse_interval_ms(v)) {
                self[rsc].remote_reconnect_ms = ms;
                self[rsc].failure_expiration_ms = ms;
            }
        }
        if let Some(role) = self.target_role(rsc) {
            self[rsc].next_role = role;
        }
        let fine = match variant {
            Variant::Primitive => self.unpack_primitive(rsc),
            Variant::Group => self.unpack_group(rsc, instance),
            Variant::Clone => self.unpack_clone(rsc),
            Variant::Bundle => self.unpack_bundle(rsc),
        };
        if !fine {
            self.forget_resources_from(rsc);
            return None;
        }
        if self.options.symmetric {
            self.add_location(rsc, None, 0, "symmetric_default");
        } else if guest {
            self.add_location(rsc, None, 0, "remote_connection_default");
        }
        let input = RuleInput { now: self.now, ..Default::default() };
        let mut utilization = std::mem::take(&mut self[rsc].utilization);
        self.unpack_blocks(&conf.utilization, &input, &mut utilization);
        self[rsc].utilization = utilization;
        if let Some(template) = &conf.template {
            let users = self.templates.entry(template.clone()).or_default();
            if !users.contains(&conf.id) {
                users.push(conf.id.clone());
            }
        }
        self.rsc_by_id.entry(id).or_default().push(rsc);
        Some(rsc)
    }

    /// Takes resources that turned out unusable out of the look-up.
    fn forget_resources_from(&mut self, first: RscIdx) {
        for at in first.0..self.resources.len() as u32 {
            let id = self[RscIdx(at)].id.clone();
            if let Some(list) = self.rsc_by_id.get_mut(&id) {
                list.retain(|r| r.0 != at);
            }
        }
    }

    /// (guest connection, remote connection)
    fn remote_kind(&mut self, rsc: RscIdx) -> (bool, bool) {
        if !self[rsc].conf.is_remote() {
            return (false, false);
        }
        let guest = self[rsc].meta("container").is_some();
        (guest, !guest)
    }

    fn meta_attributes(&mut self, rsc: RscIdx) -> Map {
        let mut meta = std::mem::take(&mut self[rsc].meta);
        let conf = Rc::clone(&self[rsc].conf);
        for (name, value) in &conf.attrs {
            add_if_absent(&mut meta, name, value);
        }
        let input = RuleInput {
            now: self.now,
            standard: conf.class.as_deref(),
            provider: conf.provider.as_deref(),
            agent: conf.agent.as_deref(),
            ..Default::default()
        };
        self.unpack_blocks(&conf.meta, &input, &mut meta);
        let mut inherited = Map::new();
        let mut at = self[rsc].parent;
        while let Some(parent) = at {
            let parent_conf = Rc::clone(&self[parent].conf);
            self.unpack_blocks(&parent_conf.meta, &input, &mut inherited);
            at = self[parent].parent;
        }
        for (name, value) in inherited.iter() {
            add_if_absent(&mut meta, name, value);
        }
        let defaults = std::mem::take(&mut self.rsc_defaults);
        self.unpack_blocks(&defaults, &input, &mut meta);
        self.rsc_defaults = defaults;
        if let Some(parent) = self[rsc].parent {
            for (name, value) in self[parent].meta.iter() {
                add_if_absent(&mut meta, name, value);
            }
        }
        meta
    }

    /// Instance parameters as evaluated for a node.
    pub fn params(&mut self, rsc: RscIdx, node: Option<NodeIdx>) -> Rc<Map> {
        if let Some(known) = self[rsc].params.get(&node) {
            return Rc::clone(known);
        }
        let attrs = node.map(|n| std::mem::take(&mut self[n].attrs));
        let input = RuleInput { now: self.now, node_attrs: attrs.as_ref(), ..Default::default() };
        let mut values = Map::new();
        let mut at = Some(rsc);
        while let Some(r) = at {
            let conf = Rc::clone(&self[r].conf);
            if !conf.instance.is_empty() {
                self.unpack_blocks(&conf.instance, &input, &mut values);
            }
            at = self[r].parent;
        }
        if let (Some(node), Some(attrs)) = (node, attrs) {
            self[node].attrs = attrs;
        }
        // Mostly they are the same for all nodes.
        let same = self[rsc].params.values().next().filter(|known| ***known == values);
        let values = match same {
            Some(known) => Rc::clone(known),
            None => Rc::new(values),
        };
        self[rsc].params.insert(node, Rc::clone(&values));
        values
    }

    fn unpack_flags(&mut self, rsc: RscIdx) {
        let maintenance = self.options.maintenance;
        let top = self.top_of(rsc, false);
        let r = &self[rsc];
        let mut flags = rf::UNASSIGNED;
        let mut set = |flag: u32, on: bool| flags = if on { flags | flag } else { flags & !flag };
        set(rf::MANAGED, !maintenance);
        set(rf::CRITICAL, r.meta("critical").is_none_or(is_true));
        set(rf::NOTIFY, r.meta_true("notify"));
        set(rf::REMOTE_CONNECTION, r.conf.is_remote());
        let remote = r.conf.is_remote() && r.meta("container").is_none();
        set(rf::MIGRATABLE, r.meta("allow-migrate").map_or(remote, is_true));
        if let Some(managed) = r.meta("is-managed").filter(|v| !v.eq_ignore_ascii_case("default")) {
            set(rf::MANAGED, is_true(managed));
        }
        if r.meta_true("maintenance") || maintenance {
            set(rf::MANAGED, false);
            set(rf::MAINTENANCE, true);
        }
        if self[top].is_clone() {
            set(rf::UNIQUE, detect_unique(r));
            set(rf::PROMOTABLE, r.meta_true("promotable"));
        } else {
            set(rf::UNIQUE, true);
        }
        let fence = r.conf.class().eq_ignore_ascii_case("stonith");
        set(rf::FENCE_DEVICE, fence);
        self[rsc].flags = flags;
        self.have_fencing |= fence;
    }

    fn unpack_numbers(&mut self, rsc: RscIdx) {
        let r = &self[rsc];
        let score = |name: &str| match r.meta(name) {
            None => (None, false),
            Some(v) if v.eq_ignore_ascii_case("default") => (None, false),
            Some(v) => (self.score_of(v), self.score_of(v).is_none()),
        };
        let (priority, bad_priority) = score("priority");
        let (stickiness, bad_stickiness) = score("resource-stickiness");
        let (threshold, bad_threshold) = score("migration-threshold");
        let threshold = threshold.filter(|t| *t >= 0);
        let multiply = r.meta("multiple-active").unwrap_or("stop_start").to_ascii_lowercase();
        let policy = match multiply.as_str() {
            "stop_only" => MultiplyActive::Stop,
            "block" => MultiplyActive::Block,
            "stop_unexpected" => MultiplyActive::Unexpected,
            _ => MultiplyActive::Restart,
        };
        let id = r.id.clone();
        let r = &mut self[rsc];
        r.priority = priority.unwrap_or(0);
        r.stickiness = stickiness.unwrap_or(0);
        r.ban_after_failures = threshold.unwrap_or(INFINITY);
        r.multiply_active = policy;
        for (bad, name) in [
            (bad_priority, "priority"),
            (bad_stickiness, "resource-stickiness"),
            (bad_threshold, "migration-threshold"),
        ] {
            if bad {
                self.warn(format!("Using default for resource {id} {name} because its value is not valid"));
            }
        }
    }

    fn unpack_requires(&mut self, rsc: RscIdx) {
        let value = self[rsc].meta("requires").map(str::to_ascii_lowercase);
        let fence_device = self[rsc].is(rf::FENCE_DEVICE);
        let fencing = self.options.fencing_enabled;
        let id = self[rsc].id.clone();
        let default = if fence_device || (self[rsc].is_primitive() && self[rsc].conf.is_remote()) {
            "quorum"
        } else if self.enable_unfencing {
            "unfencing"
        } else if fencing {
            "fencing"
        } else if self.options.no_quorum == NoQuorum::Ignore {
            "nothing"
        } else {
            "quorum"
        };
        let mut value = match value.as_deref() {
            Some(v @ ("nothing" | "quorum" | "fencing" | "unfencing")) => v.to_owned(),
            Some(v) => {
                self.error(format!("Resetting 'requires' for {id} to '{default}' because '{v}' is not valid"));
                default.to_owned()
            }
            None => default.to_owned(),
        };
        if value == "unfencing" && (fence_device || !fencing) {
            let why = if fence_device { "fencing devices cannot require unfencing" } else { "fencing is disabled" };
            self.warn(format!("Resetting \"requires\" for {id} to \"quorum\" because {why}"));
            value = "quorum".into();
        }
        match value.as_str() {
            "quorum" => self.set(rsc, rf::NEEDS_QUORUM),
            "fencing" => {
                self.set(rsc, rf::NEEDS_FENCING);
                if !fencing {
                    self.warn(format!("{id} requires fencing but fencing is disabled"));
                }
            }
            "unfencing" => self.set(rsc, rf::NEEDS_FENCING | rf::NEEDS_UNFENCING),
            _ => {}
        }
    }

    /// The configured role, where it restricts anything.
    pub fn target_role(&mut self, rsc: RscIdx) -> Option<Role> {
        let value = self[rsc].meta("target-role")?.to_owned();
        if value.eq_ignore_ascii_case("started") || value.eq_ignore_ascii_case("default") {
            return None;
        }
        let role = Role::parse(&value);
        let id = self[rsc].id.clone();
        if role == Role::Unknown {
            self.error(format!("Ignoring 'target-role' for {id} because '{value}' is not valid"));
            return None;
        }
        if role > Role::Started {
            if !self[self.top_of(rsc, false)].is(rf::PROMOTABLE) {
                self.error(format!(
                    "Ignoring 'target-role' for {id} because '{value}' only makes sense for promotable clones"
                ));
                return None;
            }
            if role > Role::Unpromoted {
                return None;
            }
        }
        Some(role)
    }

    fn unpack_primitive(&mut self, rsc: RscIdx) -> bool {
        let parent = self.uber_parent(rsc);
        let class = self[rsc].conf.class().to_owned();
        if !caps::unique(&class) && self[rsc].is(rf::UNIQUE) && self[parent].is_clone() {
            self.force_anonymous(parent, &class, rsc);
        }
        if !caps::promotable(&class) && self[parent].is(rf::PROMOTABLE) {
            let id = self[rsc].id.clone();
            self.error(format!(
                "Resource {id} is of type {class} and therefore cannot be used as a promotable clone resource"
            ));
            return false;
        }
        true
    }

    fn unpack_group(&mut self, rsc: RscIdx, instance: Option<Str>) -> bool {
        let flag = |r: &Resource, name: &str| r.meta(name).and_then(parse_bool) != Some(false);
        self[rsc].group = GroupData { ordered: flag(&self[rsc], "ordered"), colocated: flag(&self[rsc], "collocated") };
        let conf = Rc::clone(&self[rsc].conf);
        for member in conf.children.iter().filter(|c| &*c.tag == "primitive") {
            if let Some(child) = self.unpack_resource(Rc::clone(member), instance.clone(), Some(rsc)) {
                self[rsc].children.push(child);
            }
        }
        if self[rsc].children.is_empty() {
            self.error(format!("Group {} has no members", conf.id));
            return false;
        }
        true
    }

    /// Follows `container` meta-attributes: which resource launches which.
    pub(super) fn unpack_launcher(&mut self, rsc: RscIdx, depth: usize) {
        if depth > MAX_CONTAINER_DEPTH {
            return;
        }
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.unpack_launcher(child, depth + 1);
            }
            return;
        }
        let Some(container) = self[rsc].meta("container").map(str::to_owned) else { return };
        if *container == *self[rsc].id {
            return;
        }
        match self.find_resource(&container) {
            Some(launcher) => {
                self[rsc].launcher = Some(launcher);
                self[launcher].launched.push(rsc);
            }
            None => {
                let id = self[rsc].id.clone();
                self.error(format!("Resource {id}: Unknown container {container}"));
            }
        }
    }

    /// Adds to the scores of a resource and all below it, on one node or all.
    pub fn add_location(&mut self, rsc: RscIdx, node: Option<NodeIdx>, score: i32, tag: &'static str) {
        match node {
            Some(node) => self.add_node_score(rsc, node, score, tag),
            None => {
                for i in 0..self.node_order.len() {
                    let node = self.node_order[i];
                    self.add_node_score(rsc, node, score, tag);
                }
                if score == -INFINITY {
                    self[rsc].assigned = None;
                }
            }
        }
    }

    fn add_node_score(&mut self, rsc: RscIdx, node: NodeIdx, score: i32, tag: &'static str) {
        let never = self[node].base.probe_mode == ProbeMode::Never;
        if tag == "symmetric_default" && (self[rsc].is(rf::EXCLUSIVE_PROBES) || never) {
            return;
        }
        for i in 0..self[rsc].children.len() {
            let child = self[rsc].children[i];
            self.add_node_score(child, node, score, tag);
        }
        let base = self[node].base;
        let table = &mut self[rsc].allowed;
        match table.get_mut(node) {
            Some(assign) => assign.score = crate::model::add_scores(assign.score, score),
            None => {
                table.insert(node, Assign { score: crate::model::add_scores(base.score, score), ..base });
                if base.score != 0 {
                    self.record(rsc, node, Change::Set(base.score), &Source::Node);
                }
            }
        }
        self.record(rsc, node, Change::Add(score), &Source::Own(tag));
    }

    /// A table of all nodes, each with the same score.
    pub fn table_of_all(&self, score: i32) -> NodeTable {
        let mut table = NodeTable::default();
        for (i, node) in self.nodes.iter().enumerate() {
            table.insert(NodeIdx(i as u32), Assign { score, ..node.base });
        }
        table
    }

    pub fn is_disabled(&self, rsc: RscIdx) -> bool {
        match self[rsc].meta("target-role").map(Role::parse) {
            Some(Role::Stopped) => true,
            Some(Role::Unpromoted) => self[self.top_of(rsc, false)].is(rf::PROMOTABLE),
            _ => false,
        }
    }

    pub(super) fn count_instances(&mut self) {
        for rsc in self.top.clone() {
            self.count_resource(rsc);
        }
    }

    fn count_resource(&mut self, rsc: RscIdx) {
        if self[rsc].variant == Variant::Bundle {
            for replica in self[rsc].bundle.replicas.clone() {
                for part in [replica.ip, replica.child, Some(replica.container), replica.remote].into_iter().flatten() {
                    self.count_resource(part);
                }
            }
        } else if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.count_resource(child);
            }
        } else if !self[rsc].is(rf::REMOVED) || self[rsc].orig_role > Role::Stopped {
            self.instances += 1;
            self.disabled += usize::from(self.is_disabled(rsc));
            self.blocked += usize::from(self[rsc].is(rf::BLOCKED));
        }
    }

    /// A resource by id, or by the id under which the history knows it, in processing order.
    pub fn find_resource(&self, id: &str) -> Option<RscIdx> {
        self.find_matching(id, &|r| *r.id == *id || r.history_id.as_deref() == Some(id))
    }

    /// First resource, depth first, for which `matches` holds; the id serves as a short cut.
    fn find_matching(&self, id: &str, matches: &dyn Fn(&Resource) -> bool) -> Option<RscIdx> {
        match self.rsc_by_id.get(id)?[..] {
            [one] => matches(&self[one]).then_some(one),
            _ => self.top.iter().find_map(|top| self.find_below(*top, matches)),
        }
    }

    fn find_below(&self, rsc: RscIdx, matches: &dyn Fn(&Resource) -> bool) -> Option<RscIdx> {
        if matches(&self[rsc]) {
            return Some(rsc);
        }
        self[rsc].children.iter().find_map(|c| self.find_below(*c, matches))
    }

    /// Within `rsc`: the instance (or instance's member) that is called `id` without its number.
    pub fn find_clone_member(&self, rsc: RscIdx, id: &str, active_on: Option<NodeIdx>) -> Option<RscIdx> {
        let r = &self[rsc];
        let in_clone = self[self.top_of(rsc, false)].is_clone();
        let named = in_clone && (*r.id == *id || **r.xml_id() == *id);
        if named && active_on.is_none_or(|n| r.active_nodes.contains(&n)) {
            return Some(rsc);
        }
        r.children.iter().find_map(|c| self.find_clone_member(*c, id, active_on))
    }

    /// Records the id under which the history knows a resource.
    pub(super) fn set_history_id(&mut self, rsc: RscIdx, id: Option<&str>) {
        if let Some(id) = id {
            let list = self.rsc_by_id.entry(id.into()).or_default();
            if !list.contains(&rsc) {
                list.push(rsc);
            }
        }
        self[rsc].history_id = id.map(Str::from);
    }
}

fn add_if_absent(meta: &mut Map, name: &Str, value: &Str) {
    if !value.eq_ignore_ascii_case("#default") {
        meta.insert_new(name, value);
    }
}

fn detect_unique(r: &Resource) -> bool {
    match r.meta("globally-unique") {
        Some(value) => is_true(value),
        None => r.meta("clone-node-max").and_then(base::text::parse_int).is_some_and(|n| n > 1),
    }
}

fn new_resource(id: Str, conf: Rc<RscConfig>, variant: Variant, parent: Option<RscIdx>) -> Resource {
    Resource {
        id,
        conf,
        variant,
        parent,
        children: Vec::new(),
        flags: 0,
        meta: Map::new(),
        utilization: Map::new(),
        priority: 0,
        promotion_priority: 0,
        stickiness: 0,
        ban_after_failures: INFINITY,
        multiply_active: MultiplyActive::Restart,
        failure_expiration_ms: 0,
        remote_reconnect_ms: 0,
        orig_role: Role::Stopped,
        next_role: Role::Unknown,
        history_id: None,
        pending_action: None,
        pending_node: None,
        active_nodes: Vec::new(),
        allowed: NodeTable::default(),
        probed: Default::default(),
        assigned: None,
        launcher: None,
        launched: Vec::new(),
        lock_node: None,
        lock_time: 0,
        partial_migration_source: None,
        partial_migration_target: None,
        dangling_migration_sources: Vec::new(),
        actions: Vec::new(),
        this_with: Vec::new(),
        with_this: Vec::new(),
        locations: Vec::new(),
        tickets: Vec::new(),
        params: Default::default(),
        group: GroupData::default(),
        clone: Default::default(),
        bundle: Default::default(),
    }
}
