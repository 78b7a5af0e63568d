//! Notifications of clone instances before and after starts, stops, promotions and demotions.

use crate::model::flags::{act, rel, rsc as rf};
use crate::model::{ActIdx, NodeIdx, NotifyData, RscIdx, Sched, Str};
use crate::status::Role;

/// A list of instances with their nodes.
type Entries = Vec<(RscIdx, Option<NodeIdx>)>;

/// Tasks that have a meaning of their own.
pub fn is_known_task(task: &str) -> bool {
    let known = [
        "stop",
        "stopped",
        "start",
        "running",
        "do_shutdown",
        "stonith",
        "monitor",
        "notify",
        "notified",
        "promote",
        "demote",
        "promoted",
        "demoted",
    ];
    known.contains(&task)
}

fn notify_key(rsc: &str, kind: &str, task: &str) -> Str {
    format!("{rsc}_{kind}_notify_{task}_0").into()
}

/// A word list; one blank if it is empty, since an empty value would be no value.
fn words(list: Vec<Str>) -> Str {
    if list.is_empty() { " ".into() } else { list.join(" ").into() }
}

impl Sched {
    fn notify_pseudo(&mut self, rsc: RscIdx, around: ActIdx, task: &str, kind: &str) -> ActIdx {
        let key = notify_key(&self[rsc].id, kind, &self[around].task);
        let optional = self[around].is(act::OPTIONAL);
        let a = self.custom_action(Some(rsc), key, task, None, optional);
        self[a].flags |= act::PSEUDO;
        let around_task = self[around].task.clone();
        self.set_action_meta(a, "notify_key_type", kind);
        self.set_action_meta(a, "notify_key_operation", &around_task);
        a
    }

    /// Points before and after an action of a resource that wants notifications.
    pub fn notify_points(
        &mut self,
        rsc: RscIdx,
        task: &'static str,
        before: Option<ActIdx>,
        after: Option<ActIdx>,
    ) -> Option<NotifyData> {
        if !self[rsc].is(rf::NOTIFY) {
            return None;
        }
        let mut n = NotifyData { action: task, ..Default::default() };
        if let Some(before) = before {
            let pre = self.notify_pseudo(rsc, before, "notify", "pre");
            let pre_done = self.notify_pseudo(rsc, before, "notified", "confirmed-pre");
            for a in [pre, pre_done] {
                self[a].flags |= act::RUNNABLE;
                self.set_action_meta(a, "notify_type", "pre");
                self.set_action_meta(a, "notify_operation", task);
            }
            self.order_actions(pre, pre_done, rel::ORDERED);
            self.order_actions(pre_done, before, rel::ORDERED);
            (n.pre, n.pre_done) = (Some(pre), Some(pre_done));
        }
        if let Some(after) = after {
            let runnable = self[after].is(act::RUNNABLE);
            let post = self.notify_pseudo(rsc, after, "notify", "post");
            let post_done = self.notify_pseudo(rsc, after, "notified", "confirmed-post");
            for a in [post, post_done] {
                self[a].priority = crate::model::INFINITY;
                self[a].flags = if runnable { self[a].flags | act::RUNNABLE } else { self[a].flags & !act::RUNNABLE };
                self.set_action_meta(a, "notify_type", "post");
                self.set_action_meta(a, "notify_operation", task);
            }
            self.order_actions(after, post, rel::FIRST_IMPLIES_THEN);
            self.order_actions(post, post_done, rel::FIRST_IMPLIES_THEN);
            (n.post, n.post_done) = (Some(post), Some(post_done));
        }
        if let (Some(pre_done), Some(post)) = (n.pre_done, n.post) {
            self.order_actions(pre_done, post, rel::ORDERED);
        }
        Some(n)
    }

    pub(super) fn create_notify_points(
        &mut self,
        clone: RscIdx,
        start: ActIdx,
        started: ActIdx,
        stop: ActIdx,
        stopped: ActIdx,
    ) {
        if self[clone].clone.start_notify.is_none() {
            self[clone].clone.start_notify =
                self.notify_points(clone, "start", Some(start), Some(started)).map(Box::new);
        }
        if self[clone].clone.stop_notify.is_none() {
            self[clone].clone.stop_notify = self.notify_points(clone, "stop", Some(stop), Some(stopped)).map(Box::new);
            let c = &self[clone].clone;
            let post = c.stop_notify.as_ref().and_then(|n| n.post_done);
            let pre = c.start_notify.as_ref().and_then(|n| n.pre);
            if let (Some(post), Some(pre)) = (post, pre) {
                self.order_actions(post, pre, rel::ORDERED);
            }
        }
    }

    /// Who is where, and what happens to whom.
    fn collect_notify(&mut self, rsc: RscIdx, activity: bool, n: &mut NotifyData) {
        n.available.get_or_insert(rsc);
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.collect_notify(child, activity, n);
            }
            return;
        }
        let entry = (rsc, self[rsc].active_nodes.first().copied());
        match self[rsc].orig_role {
            Role::Stopped => n.inactive.push(entry),
            Role::Started => n.active.push(entry),
            Role::Unpromoted => {
                n.unpromoted.push(entry);
                n.active.push(entry);
            }
            Role::Promoted => {
                n.promoted.push(entry);
                n.active.push(entry);
            }
            Role::Unknown => {
                let text = format!("Resource {} role is not supported for notifications", self[rsc].id);
                self.error(text);
            }
        }
        if !activity {
            return;
        }
        for a in self[rsc].actions.iter().rev() {
            let a = &self[*a];
            let Some(node) = a.node.filter(|_| !a.is(act::OPTIONAL)) else { continue };
            let stop_by_fencing = &*a.task == "stop" && self[node].unclean;
            if !stop_by_fencing && !a.is(act::RUNNABLE) {
                continue;
            }
            let entry = (rsc, Some(node));
            match &*a.task {
                "start" => n.start.push(entry),
                "stop" => n.stop.push(entry),
                "promote" => n.promote.push(entry),
                "demote" => n.demote.push(entry),
                _ => {}
            }
        }
    }

    /// Names of instances and of their nodes, sorted, each instance once.
    fn entry_names(&self, entries: &Entries, with_nodes: bool) -> (Str, Str) {
        let mut sorted: Vec<_> = entries.iter().rev().copied().collect();
        sorted.sort_by(|a, b| {
            let node_id = |n: Option<NodeIdx>| n.map(|n| self[n].id.clone());
            let nodes = match (node_id(a.1), node_id(b.1)) {
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(_), None) => std::cmp::Ordering::Less,
                (x, y) => x.cmp(&y),
            };
            self[a.0].id.cmp(&self[b.0].id).then(nodes)
        });
        let (mut names, mut nodes, mut last) = (Vec::new(), Vec::new(), None::<Str>);
        for (rsc, node) in sorted {
            if with_nodes && node.is_none() {
                continue;
            }
            let id = self[rsc].id.clone();
            if last.as_ref() == Some(&id) {
                continue;
            }
            last = Some(id.clone());
            names.push(id);
            nodes.extend(node.map(|n| self[n].name.clone()));
        }
        (words(names), words(nodes))
    }

    /// Names of nodes; with `hosts`, guests are named by what they run on.
    fn node_names(&self, nodes: &[NodeIdx], hosts: bool) -> Str {
        let host = |n: NodeIdx| {
            let launcher =
                self.guest_launcher(n).filter(|l| hosts && self.is_guest(n) && !self[*l].active_nodes.is_empty());
            launcher.and_then(|l| self.current_node(l)).unwrap_or(n)
        };
        words(nodes.iter().map(|n| self[host(*n)].name.clone()).collect())
    }

    fn add_notify_keys(&mut self, rsc: RscIdx, n: &mut NotifyData) {
        let mut keys: Vec<(&'static str, Str)> = Vec::new();
        let required = match n.action {
            "stop" => !n.stop.is_empty(),
            "start" => !n.start.is_empty(),
            "demote" => !n.demote.is_empty(),
            "promote" => !n.promote.is_empty(),
            _ => false,
        };
        let mut add = |names: &[(&'static str, &'static str)], (rscs, nodes): (Str, Str)| {
            for (rsc_key, node_key) in names {
                keys.push((rsc_key, rscs.clone()));
                if !node_key.is_empty() {
                    keys.push((node_key, nodes.clone()));
                }
            }
        };
        add(&[("notify_stop_resource", "notify_stop_uname")], self.entry_names(&n.stop, true));
        add(&[("notify_start_resource", "notify_start_uname")], self.entry_names(&n.start, true));
        add(&[("notify_demote_resource", "notify_demote_uname")], self.entry_names(&n.demote, true));
        add(&[("notify_promote_resource", "notify_promote_uname")], self.entry_names(&n.promote, true));
        add(&[("notify_active_resource", "notify_active_uname")], self.entry_names(&n.active, true));
        let unpromoted = [
            ("notify_unpromoted_resource", "notify_unpromoted_uname"),
            ("notify_slave_resource", "notify_slave_uname"),
        ];
        add(&unpromoted, self.entry_names(&n.unpromoted, true));
        let promoted =
            [("notify_promoted_resource", "notify_promoted_uname"), ("notify_master_resource", "notify_master_uname")];
        add(&promoted, self.entry_names(&n.promoted, true));
        add(&[("notify_inactive_resource", "")], self.entry_names(&n.inactive, false));
        if let Some(of) = n.available {
            let nodes: Vec<NodeIdx> =
                self.node_order.iter().copied().filter(|x| self[of].allowed.contains(*x)).collect();
            keys.push(("notify_available_uname", self.node_names(&nodes, false)));
        }
        let all = self.node_order.clone();
        if self[rsc].meta("container-attribute-target") == Some("host") {
            keys.push(("notify_all_hosts", self.node_names(&all, true)));
        }
        keys.push(("notify_all_uname", self.node_names(&all, false)));
        n.keys.extend(keys);
        if required {
            for a in [n.pre, n.pre_done, n.post, n.post_done].into_iter().flatten() {
                self[a].flags &= !act::OPTIONAL;
            }
        }
    }

    fn add_keys_to(&mut self, a: ActIdx, n: &NotifyData) {
        // Of a key that was added twice the first value stays.
        for (name, value) in n.keys.iter().rev() {
            let name = self.word(name);
            self[a].meta.insert(name, value.clone());
        }
    }

    fn notify_action(
        &mut self,
        rsc: RscIdx,
        node: NodeIdx,
        op: Option<ActIdx>,
        done: Option<ActIdx>,
        n: &NotifyData,
    ) -> Option<ActIdx> {
        let (op, done) = (op?, done?);
        if !self[node].online || !self[op].is(act::RUNNABLE) {
            return None;
        }
        let kind = self[op].meta("notify_type").unwrap_or_default().to_owned();
        let task = self[op].meta("notify_operation").unwrap_or_default().to_owned();
        let key = notify_key(&self[rsc].id, &kind, &task);
        let (op_task, optional) = (self[op].task.clone(), self[op].is(act::OPTIONAL));
        let a = self.custom_action(Some(rsc), key, &op_task, Some(node), optional);
        for (name, value) in self[op].meta.clone().iter() {
            self[a].meta.insert_new(name, value);
        }
        self.add_keys_to(a, n);
        self.order_actions(op, a, rel::ORDERED);
        self.order_actions(a, done, rel::ORDERED);
        Some(a)
    }

    fn post_notify_action(&mut self, rsc: RscIdx, node: NodeIdx, n: &NotifyData) {
        if let Some(a) = self.notify_action(rsc, node, n.post, n.post_done, n) {
            self[a].priority = crate::model::INFINITY;
        }
        let Some(done) = n.post_done else { return };
        for mon in self[rsc].actions.clone().into_iter().rev() {
            if self[mon].interval_ms() > 0 && &*self[mon].task != "cancel" {
                self.order_actions(done, mon, rel::ORDERED);
            }
        }
    }

    fn create_notify_actions(&mut self, rsc: RscIdx, n: &NotifyData) {
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.create_notify_actions(child, n);
            }
            return;
        }
        for a in self[rsc].actions.clone().into_iter().rev() {
            if !self[a].is(act::OPTIONAL)
                && self[a].node.is_some()
                && matches!(&*self[a].task, "start" | "stop" | "promote" | "demote")
            {
                self.add_keys_to(a, n);
            }
        }
        let nothing = match n.action {
            "start" => n.start.is_empty(),
            "promote" => n.promote.is_empty(),
            "demote" => n.demote.is_empty(),
            _ => false,
        };
        if nothing {
            return;
        }
        if self[rsc].orig_role != Role::Stopped && matches!(n.action, "stop" | "demote") {
            self.notify_going_down(rsc, n);
        }
        if self[rsc].next_role != Role::Stopped && matches!(n.action, "start" | "promote") {
            self.notify_coming_up(rsc, n);
        }
    }

    fn notify_going_down(&mut self, rsc: RscIdx, n: &NotifyData) {
        let stop = self.find_first(rsc, None, Some("stop"), None);
        for node in self[rsc].active_nodes.clone() {
            let by_fencing =
                stop.is_some_and(|s| self[s].is(act::PSEUDO)) && (self[node].unclean || self[node].remote_reset);
            if by_fencing {
                continue;
            }
            self.notify_action(rsc, node, n.pre, n.pre_done, n);
            if n.action == "demote" || stop.is_none_or(|s| self[s].is(act::OPTIONAL)) {
                self.post_notify_action(rsc, node, n);
            }
        }
    }

    fn notify_coming_up(&mut self, rsc: RscIdx, n: &NotifyData) {
        let start = self.find_first(rsc, None, Some("start"), None);
        let remote = start.and_then(|s| self[s].node).and_then(|node| self[node].remote);
        let remote_start = remote.and_then(|r| self.find_first(r, None, Some("start"), None));
        if remote_start.is_some_and(|s| !self[s].is(act::RUNNABLE)) {
            return;
        }
        let Some(node) = self[rsc].assigned.map(|a| a.node) else {
            let text = format!("Next role '{}' but {} is not allocated", self[rsc].next_role.text(), self[rsc].id);
            self.error(text);
            return;
        };
        if n.action != "start" || start.is_none_or(|s| self[s].is(act::OPTIONAL)) {
            self.notify_action(rsc, node, n.pre, n.pre_done, n);
        }
        self.post_notify_action(rsc, node, n);
    }

    fn create_notifications(&mut self, rsc: RscIdx, n: Option<Box<NotifyData>>) {
        let Some(mut n) = n else { return };
        self.collect_notify(rsc, true, &mut n);
        self.add_notify_keys(rsc, &mut n);
        self.create_notify_actions(rsc, &n);
    }

    /// All notification actions of a clone.
    pub fn create_clone_notifications(&mut self, clone: RscIdx) {
        let c = &mut self[clone].clone;
        let all = [c.start_notify.take(), c.stop_notify.take(), c.promote_notify.take(), c.demote_notify.take()];
        for n in all {
            self.create_notifications(clone, n);
        }
    }

    /// A stop that fencing implies is told to the others after the fencing.
    pub(super) fn order_notifications_after_fencing(&mut self, stop: ActIdx, rsc: RscIdx, fencing: ActIdx) {
        let Some(mut n) = self.notify_points(rsc, "stop", None, Some(fencing)) else { return };
        self.collect_notify(rsc, false, &mut n);
        let node = self[stop].node.map(|x| self[x].name.clone()).unwrap_or_else(|| "".into());
        n.keys.push(("notify_stop_resource", self[rsc].id.clone()));
        n.keys.push(("notify_stop_uname", node));
        let top = self.uber_parent(rsc);
        self.create_notify_actions(top, &n);
    }
}
