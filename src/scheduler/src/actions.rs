//! Actions: how they are made, found, and what their configuration says.

use crate::model::config::{OpConfig, caps};
use crate::model::flags::{act, rel, rsc as rf};
use crate::model::options::NoQuorum;
use crate::model::rules::RuleInput;
use crate::model::{ActIdx, Action, After, Before, Map, NodeIdx, OnFail, Requires, RscIdx, Sched, Str, parse_op_key};
use crate::status::Role;
use crate::unpack::state_ms_to_s;
use base::WallTime;
use base::text::parse_ms;
use std::rc::Rc;

/// Timeout of actions that have none configured, in ms.
const DEFAULT_TIMEOUT_MS: i64 = 20_000;

fn eq(a: Option<&Str>, b: &str) -> bool {
    a.is_some_and(|a| a.eq_ignore_ascii_case(b))
}

fn promoted_role(role: Option<&Str>) -> bool {
    eq(role, "promoted") || eq(role, "master")
}

impl Sched {
    fn exact_op_config(&self, rsc: RscIdx, task: &str, interval_ms: u64, disabled_too: bool) -> Option<Rc<OpConfig>> {
        let fits = |o: &&Rc<OpConfig>| {
            (disabled_too || o.enabled) && o.interval_ms == interval_ms && o.name.as_deref() == Some(task)
        };
        self[rsc].conf.ops.iter().find(fits).cloned()
    }

    /// Configuration of an operation, if there is any.
    pub fn find_op_config(
        &self,
        rsc: RscIdx,
        task: &str,
        interval_ms: u64,
        disabled_too: bool,
    ) -> Option<Rc<OpConfig>> {
        self.exact_op_config(rsc, task, interval_ms, disabled_too).or_else(|| match task {
            "migrate_to" | "migrate_from" => self.exact_op_config(rsc, "migrate", 0, disabled_too),
            _ => None,
        })
    }

    /// Meta-attributes of an operation, with defaults.
    pub fn action_meta(
        &mut self,
        rsc: RscIdx,
        node: Option<NodeIdx>,
        task: &str,
        interval_ms: u64,
        config: Option<&OpConfig>,
    ) -> Map {
        let conf = Rc::clone(&self[rsc].conf);
        let input = RuleInput {
            now: self.now,
            standard: conf.class.as_deref(),
            provider: conf.provider.as_deref(),
            agent: conf.agent.as_deref(),
            op_name: Some(task),
            op_interval_ms: interval_ms,
            ..Default::default()
        };
        let mut meta = Map::new();
        if let Some(config) = config {
            self.unpack_blocks(&config.meta, &input, &mut meta);
            for (name, value) in &config.attrs {
                meta.insert(name.clone(), value.clone());
            }
        }
        let probe = task == "monitor" && interval_ms == 0;
        if probe && !meta.contains_key("timeout") {
            let monitors =
                conf.ops.iter().filter(|o| o.name.as_deref() == Some("monitor") && o.interval_ms > 0 && o.enabled);
            if let Some(timeout) = monitors.min_by_key(|o| o.interval_ms).and_then(|o| o.timeout.clone()) {
                let name = self.word("timeout");
                meta.insert(name, timeout);
            }
        }
        let defaults = std::mem::take(&mut self.op_defaults);
        self.unpack_blocks(&defaults, &input, &mut meta);
        self.op_defaults = defaults;
        meta.remove("id");
        if interval_ms > 0 {
            let (name, value) = (self.word("interval"), self.word(&interval_ms.to_string()));
            meta.insert(name, value);
        } else {
            meta.remove("interval");
        }
        if caps::fence_params(conf.class())
            && (task == "start" || probe)
            && let Some(timeout) = self.params(rsc, node).get("pcmk_monitor_timeout").cloned()
        {
            meta.insert("timeout".into(), timeout);
        }
        let timeout = meta.get("timeout").and_then(|t| parse_ms(t)).filter(|t| *t > 0).unwrap_or(DEFAULT_TIMEOUT_MS);
        let (name, timeout) = (self.word("timeout"), self.word(&timeout.min(i64::from(i32::MAX)).to_string()));
        meta.insert(name, timeout);
        self.validate_on_fail(rsc, task, config, &mut meta);
        self.set_start_delay(&mut meta, interval_ms);
        meta
    }

    fn set_start_delay(&mut self, meta: &mut Map, interval_ms: u64) {
        if let Some(text) = meta.get("start-delay").cloned() {
            let delay = parse_ms(&text).unwrap_or(0).clamp(0, i64::from(i32::MAX));
            meta.insert("start-delay".into(), delay.to_string().into());
            return;
        }
        let Some(origin) = meta.get("interval-origin").cloned().filter(|_| interval_ms > 0) else { return };
        let interval_s = state_ms_to_s(interval_ms);
        match base::dates::parse(&origin, WallTime::from_secs(self.now)) {
            Ok(origin) if interval_s > 0 => {
                let since = (self.now - origin) % interval_s;
                let delay = if since <= 0 { -since } else { interval_s - since };
                meta.insert("start-delay".into(), (delay * 1000).to_string().into());
            }
            _ => self.error(format!("Ignoring 'interval-origin' because '{origin}' is not valid")),
        }
    }

    fn validate_on_fail(&mut self, rsc: RscIdx, task: &str, config: Option<&OpConfig>, meta: &mut Map) {
        let value = meta.get("on-fail").map(|v| v.to_ascii_lowercase());
        if task == "stop" && matches!(value.as_deref(), Some("standby" | "demote" | "stop")) {
            let text = format!(
                "Resetting 'on-fail' for {} stop action to default value because '{}' is not allowed for stop",
                self[rsc].id,
                value.unwrap_or_default()
            );
            self.error(text);
            meta.remove("on-fail");
            return;
        }
        if task == "demote" && value.is_none() {
            let conf = Rc::clone(&self[rsc].conf);
            for op in conf.ops.iter().filter(|o| o.enabled && o.interval_ms > 0 && o.name.as_deref() == Some("monitor"))
            {
                if let Some(on_fail) =
                    op.on_fail.as_ref().filter(|v| promoted_role(op.role.as_ref()) && !v.eq_ignore_ascii_case("demote"))
                {
                    meta.insert("on-fail".into(), on_fail.clone());
                }
            }
            return;
        }
        if task == "lrm_delete" && value.as_deref() != Some("ignore") {
            meta.insert("on-fail".into(), "ignore".into());
            return;
        }
        if value.as_deref() == Some("demote") {
            let allowed = config.is_some_and(|c| {
                let monitor =
                    c.interval_ms > 0 && c.name.as_deref() == Some("monitor") && promoted_role(c.role.as_ref());
                c.name.as_deref() == Some("promote") || monitor
            });
            if !allowed {
                let text = format!(
                    "Resetting 'on-fail' for {} {task} action to default value because 'demote' is not allowed for it",
                    self[rsc].id
                );
                self.error(text);
                meta.remove("on-fail");
            }
        }
    }

    fn action_requires(&self, rsc: RscIdx, task: &str) -> Requires {
        if !matches!(task, "start" | "promote") {
            Requires::Nothing
        } else if self[rsc].is(rf::NEEDS_FENCING) {
            Requires::Fencing
        } else if self[rsc].is(rf::NEEDS_QUORUM) {
            Requires::Quorum
        } else {
            Requires::Nothing
        }
    }

    /// What is to be done when an operation fails.
    pub fn parse_on_fail(&mut self, rsc: RscIdx, task: &str, interval_ms: u64, value: Option<&str>) -> OnFail {
        let fencing = self.options.fencing_enabled;
        let managed = self[rsc].is(rf::MANAGED);
        let mut chosen = match value.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("block") => Some(OnFail::Block),
            Some("fence") if fencing => Some(OnFail::Fence),
            Some("fence") => {
                let text = format!(
                    "Resetting 'on-fail' for {task} of {} to 'stop' because 'fence' is not valid when fencing is disabled",
                    self[rsc].id
                );
                self.error(text);
                Some(OnFail::Stop)
            }
            Some("standby") => Some(OnFail::Standby),
            Some("ignore" | "nothing") => Some(OnFail::Ignore),
            Some("migrate") => Some(OnFail::Ban),
            Some("stop") => Some(OnFail::Stop),
            Some("restart") => Some(OnFail::Restart),
            Some("restart-container") => self[rsc].launcher.map(|_| OnFail::RestartContainer),
            Some("demote") => Some(OnFail::Demote),
            Some(other) => {
                let text =
                    format!("Using default 'on-fail' for {task} of {} because '{other}' is not valid", self[rsc].id);
                self.error(text);
                None
            }
        };
        let probe = task == "monitor" && interval_ms == 0;
        let connects_remote =
            self[rsc].is(rf::REMOTE_CONNECTION) && self.find_node(&self[rsc].id).is_some_and(|n| self.is_remote(n));
        let needs_reset = connects_remote && !probe && task != "start";
        if needs_reset && !managed {
            chosen = None;
        }
        match chosen {
            Some(on_fail) => on_fail,
            None if self[rsc].launcher.is_some() => OnFail::RestartContainer,
            None if needs_reset => {
                if managed {
                    OnFail::ResetRemote
                } else {
                    OnFail::Stop
                }
            }
            None if task == "stop" => {
                if fencing {
                    OnFail::Fence
                } else {
                    OnFail::Block
                }
            }
            None => OnFail::Restart,
        }
    }

    pub fn role_after_failure(&self, rsc: RscIdx, task: &str, on_fail: OnFail) -> Role {
        match on_fail {
            OnFail::Stop => Role::Stopped,
            OnFail::ResetRemote if self[rsc].remote_reconnect_ms != 0 => Role::Stopped,
            _ if task == "promote" => Role::Unpromoted,
            _ => Role::Started,
        }
    }

    /// Actions of the resource with this key, oldest first. One that has no node yet takes the node asked for.
    pub fn find_actions(&mut self, rsc: RscIdx, key: &str, node: Option<NodeIdx>) -> Vec<ActIdx> {
        let mut found = Vec::new();
        for i in 0..self[rsc].actions.len() {
            let a = self[rsc].actions[i];
            if !self[a].key.eq_ignore_ascii_case(key) {
                continue;
            }
            match (node, self[a].node) {
                (None, _) => found.push(a),
                (Some(n), None) => {
                    self[a].node = Some(n);
                    found.push(a);
                }
                (Some(n), Some(m)) if n == m => found.push(a),
                _ => {}
            }
        }
        found
    }

    /// Actions with this key on exactly this node.
    pub fn find_actions_exact(&self, rsc: RscIdx, key: &str, node: Option<NodeIdx>) -> Vec<ActIdx> {
        let Some(node) = node else { return Vec::new() };
        let fits = |a: &&ActIdx| self[**a].node == Some(node) && self[**a].key.eq_ignore_ascii_case(key);
        self[rsc].actions.iter().filter(fits).copied().collect()
    }

    /// Non-recurring actions of a resource by task.
    pub fn actions_of(&mut self, rsc: RscIdx, node: Option<NodeIdx>, task: &str, require_node: bool) -> Vec<ActIdx> {
        let key = self.key(rsc, task, 0);
        if require_node { self.find_actions_exact(rsc, &key, node) } else { self.find_actions(rsc, &key, node) }
    }

    /// The newest action of a resource with this key or task.
    pub fn find_first(
        &self,
        rsc: RscIdx,
        key: Option<&str>,
        task: Option<&str>,
        node: Option<NodeIdx>,
    ) -> Option<ActIdx> {
        let fits = |a: &&ActIdx| {
            let a = &self[**a];
            key.is_none_or(|k| a.key.eq_ignore_ascii_case(k))
                && task.is_none_or(|t| a.task.eq_ignore_ascii_case(t))
                && node.is_none_or(|n| a.node == Some(n))
        };
        self[rsc].actions.iter().rev().find(fits).copied()
    }

    fn new_action(
        &mut self,
        key: Str,
        task: &str,
        rsc: Option<RscIdx>,
        node: Option<NodeIdx>,
        optional: bool,
    ) -> ActIdx {
        let mut flags = act::RUNNABLE;
        if task.eq_ignore_ascii_case("lrm_delete") {
            flags |= act::ON_DC;
        }
        if optional {
            flags |= act::OPTIONAL;
        }
        let (mut op, mut meta, mut needs) = (None, Map::new(), Requires::Nothing);
        if let Some(rsc) = rsc {
            let interval_ms = parse_op_key(&key).map_or(0, |k| k.2);
            op = self.find_op_config(rsc, task, interval_ms, true);
            if op.is_none() && key.contains("_notify_") {
                op = self.exact_op_config(rsc, "notify", 0, true);
            }
            meta = self.action_meta(rsc, node, task, interval_ms, op.as_deref());
            needs = self.action_requires(rsc, task);
            // Only for its messages about what is not valid.
            let on_fail = meta.get("on-fail").cloned();
            self.parse_on_fail(rsc, task, interval_ms, on_fail.as_deref());
        }
        meta.shrink();
        let task = self.word(task);
        let a = ActIdx(self.actions.len() as u32);
        self.actions.push(Action {
            id: a.0 + 1,
            rsc,
            node,
            task,
            key: key.clone(),
            cancel_task: None,
            reason: None,
            flags,
            needs,
            op,
            meta,
            extra: Map::new(),
            priority: 0,
            runnable_before: 0,
            required_runnable_before: 0,
            before: Vec::new(),
            after: Vec::new(),
        });
        match rsc {
            None => {
                self.singletons.entry(key).or_insert(a);
            }
            Some(rsc) => self[rsc].actions.push(a),
        }
        a
    }

    /// The action with this key on this node, made if there is none yet.
    pub fn custom_action(
        &mut self,
        rsc: Option<RscIdx>,
        key: Str,
        task: &str,
        node: Option<NodeIdx>,
        optional: bool,
    ) -> ActIdx {
        let existing = match rsc {
            None => self
                .singletons
                .get(&key)
                .copied()
                .filter(|a| node.is_none() || self[*a].node.is_none() || self[*a].node == node),
            Some(rsc) => self.find_actions(rsc, &key, node).first().copied(),
        };
        let a = match existing {
            Some(a) => {
                if self[a].node.is_none() {
                    self[a].node = node;
                }
                a
            }
            None => self.new_action(key, task, rsc, node, optional),
        };
        self.update_optional(a, optional);
        if let Some(rsc) = rsc {
            if let (Some(n), Some(op), false) = (self[a].node, self[a].op.clone(), self[a].is(act::ATTRS_EVALUATED)) {
                self[a].extra = self.op_params(&op, n);
                self[a].flags |= act::ATTRS_EVALUATED;
            }
            self.update_runnable(a, rsc);
        }
        a
    }

    /// Instance parameters that are configured for one operation.
    pub fn op_params(&mut self, op: &OpConfig, node: NodeIdx) -> Map {
        let mut values = Map::new();
        if !op.instance.is_empty() {
            let attrs = self[node].attrs.clone();
            let input = RuleInput { now: self.now, node_attrs: Some(&attrs), ..Default::default() };
            self.unpack_blocks(&op.instance, &input, &mut values);
        }
        values
    }

    fn update_optional(&mut self, a: ActIdx, optional: bool) {
        let action = &self[a];
        let unmanaged = action.rsc.is_some_and(|r| !self[r].is(rf::MANAGED));
        if unmanaged && action.node.is_some() && !action.is(act::PSEUDO) && action.meta("interval").is_none() {
            self[a].flags |= act::OPTIONAL;
        } else if !optional {
            self[a].flags &= !act::OPTIONAL;
        }
    }

    fn quorum_policy(&mut self, rsc: RscIdx) -> NoQuorum {
        if self.quorate {
            return NoQuorum::Ignore;
        }
        if self.options.no_quorum != NoQuorum::Demote {
            return self.options.no_quorum;
        }
        match self[rsc].orig_role {
            Role::Promoted | Role::Unpromoted => {
                if self[rsc].next_role > Role::Unpromoted {
                    self.set_next_role(rsc, Role::Unpromoted);
                }
                NoQuorum::Ignore
            }
            _ => NoQuorum::Stop,
        }
    }

    fn update_runnable(&mut self, a: ActIdx, rsc: RscIdx) {
        if self[a].is(act::PSEUDO) {
            return;
        }
        let on_dc = self[a].is(act::ON_DC);
        let Some(node) = self[a].node else {
            self[a].flags &= !act::RUNNABLE;
            return;
        };
        if !on_dc && !self[node].online && (!self.is_guest(node) || self[node].remote_reset) {
            self[a].flags &= !act::RUNNABLE;
            if self[rsc].is(rf::MANAGED) && self[a].task.eq_ignore_ascii_case("stop") && !self[node].unclean {
                self.fence_node(node, "stop is unrunnable", false);
            }
        } else if !on_dc && self[node].pending {
            self[a].flags &= !act::RUNNABLE;
        } else if self[a].needs == Requires::Nothing {
            self[a].reason = None;
            if self.is_guest(node) && !self.can_fence(node) {
                self[a].flags &= !act::RUNNABLE;
            } else {
                self[a].flags |= act::RUNNABLE;
            }
        } else {
            match self.quorum_policy(rsc) {
                NoQuorum::Stop => {
                    self[a].flags &= !act::RUNNABLE;
                    self.set_reason(a, "no quorum", true);
                }
                NoQuorum::Freeze => {
                    if !self.is_active(rsc, true) || self[rsc].next_role > self[rsc].orig_role {
                        self[a].flags &= !act::RUNNABLE;
                        self.set_reason(a, "quorum freeze", true);
                    }
                }
                _ => self[a].flags |= act::RUNNABLE,
            }
        }
    }

    pub fn set_reason(&mut self, a: ActIdx, reason: &str, overwrite: bool) {
        if overwrite || self[a].reason.is_none() {
            self[a].reason = Some(reason.into());
        }
    }

    /// Why another action changed: text for `reason`.
    pub fn reason_text(&self, a: ActIdx, flag: u32) -> String {
        let change = match flag {
            act::RUNNABLE => "unrunnable",
            act::MIGRATABLE => "unmigrateable",
            act::OPTIONAL => "required",
            _ => "",
        };
        match self[a].rsc {
            Some(rsc) => format!("{change} {} {}", self[rsc].id, self[a].task),
            None => format!("{change} {}", self[a].task),
        }
    }

    pub fn start_action(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) -> ActIdx {
        self.custom_action(Some(rsc), self.key(rsc, "start", 0), "start", node, optional)
    }

    pub fn stop_action(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) -> ActIdx {
        self.custom_action(Some(rsc), self.key(rsc, "stop", 0), "stop", node, optional)
    }

    pub fn promote_action(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) -> ActIdx {
        self.custom_action(Some(rsc), self.key(rsc, "promote", 0), "promote", node, optional)
    }

    pub fn demote_action(&mut self, rsc: RscIdx, node: Option<NodeIdx>, optional: bool) -> ActIdx {
        self.custom_action(Some(rsc), self.key(rsc, "demote", 0), "demote", node, optional)
    }

    /// Forgets a resource's history on a node.
    pub fn clear_history(&mut self, rsc: RscIdx, node: NodeIdx) {
        self.custom_action(Some(rsc), self.key(rsc, "lrm_delete", 0), "lrm_delete", Some(node), false);
    }

    /// An ordering point without a resource.
    pub fn pseudo_op(&mut self, name: &str) -> ActIdx {
        if let Some(known) = self.singletons.get(name) {
            return *known;
        }
        let a = self.custom_action(None, name.into(), name, None, true);
        self[a].flags |= act::PSEUDO | act::RUNNABLE;
        a
    }

    /// An ordering point of a collective resource.
    pub fn rsc_pseudo(&mut self, rsc: RscIdx, task: &str, optional: bool, runnable: bool) -> ActIdx {
        let a = self.custom_action(Some(rsc), self.key(rsc, task, 0), task, None, optional);
        self[a].flags |= act::PSEUDO;
        if runnable {
            self[a].flags |= act::RUNNABLE;
        }
        a
    }

    /// Orders two actions; false if that ordering was known already.
    pub fn order_actions(&mut self, first: ActIdx, then: ActIdx, flags: u32) -> bool {
        if flags == rel::NONE || self[first].after.iter().any(|x| x.action == then && x.flags & flags != 0) {
            return false;
        }
        self[first].after.push(After { action: then, flags });
        self[then].before.push(Before { action: first, flags, graphed: false });
        true
    }

    /// Active on a clean or unclean node; with `all`, every part of it.
    pub fn is_active(&self, rsc: RscIdx, all: bool) -> bool {
        use crate::model::Variant;
        let r = &self[rsc];
        let child = |c: &RscIdx| self.is_active(*c, all);
        match r.variant {
            Variant::Primitive => {
                r.active_nodes.iter().any(|n| self[*n].unclean || self[*n].online || !r.is(rf::MANAGED))
            }
            Variant::Group => r.children.iter().any(child) && (!all || r.children.iter().all(child)),
            Variant::Clone if all => r.children.iter().all(child),
            Variant::Clone => r.children.iter().any(child),
            Variant::Bundle => {
                for replica in &r.bundle.replicas {
                    for part in
                        [replica.ip, replica.child, Some(replica.container), replica.remote].into_iter().flatten()
                    {
                        if self.is_active(part, all) != all {
                            return !all;
                        }
                    }
                }
                all
            }
        }
    }
}
