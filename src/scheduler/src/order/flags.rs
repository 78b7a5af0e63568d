//! What an action's flags are where a collective sums them up over its members.

use crate::model::flags::act;
use crate::model::{ActIdx, NodeIdx, RscIdx, Sched, Str, Variant, parse_op_key};

/// A collective's task as its members have it.
fn member_task(task: &str, primitive: bool) -> &'static str {
    match task {
        "stop" => "stop",
        "stopped" => {
            if primitive {
                "stop"
            } else {
                "stopped"
            }
        }
        "start" => "start",
        "running" => {
            if primitive {
                "start"
            } else {
                "running"
            }
        }
        "do_shutdown" => "do_shutdown",
        "stonith" => "stonith",
        "monitor" => "monitor",
        "notify" => "notify",
        "notified" => "notified",
        "promote" => "promote",
        "promoted" => {
            if primitive {
                "promote"
            } else {
                "promoted"
            }
        }
        "demote" => "demote",
        "demoted" => {
            if primitive {
                "demote"
            } else {
                "demoted"
            }
        }
        _ => "no_action",
    }
}

impl Sched {
    /// Flags of an action as its resource sums them up over its members; may change the action's own.
    pub fn action_flags(&mut self, a: ActIdx, node: Option<NodeIdx>) -> u32 {
        let Some(rsc) = self[a].rsc else { return self[a].flags };
        match self[rsc].variant {
            Variant::Primitive => self[a].flags,
            Variant::Group => self.group_action_flags(a, rsc, node),
            Variant::Clone => {
                let children = self[rsc].children.clone();
                self.collective_flags(a, &children, node)
            }
            Variant::Bundle => {
                if let Some(child) = self[rsc].bundle.child {
                    let task = self[a].task.clone();
                    let inside = matches!(
                        member_task(&task, false),
                        "no_action" | "notify" | "notified" | "promote" | "promoted" | "demote" | "demoted"
                    );
                    if inside {
                        let children = self[child].children.clone();
                        return self.collective_flags(a, &children, node);
                    }
                }
                let containers = self.bundle_containers(rsc);
                self.collective_flags(a, &containers, node)
            }
        }
    }

    fn group_action_flags(&mut self, a: ActIdx, group: RscIdx, node: Option<NodeIdx>) -> u32 {
        let mut flags = act::OPTIONAL | act::RUNNABLE | act::PSEUDO;
        let task = self[a].task.clone();
        for member in self[group].children.clone() {
            let member_task = member_task(&task, self[member].is_primitive());
            let Some(action) = self.find_first(member, None, Some(member_task), node) else {
                if member_task != "stop" && member_task != "demote" {
                    flags &= !act::RUNNABLE;
                }
                continue;
            };
            let member_flags = self.action_flags(action, node);
            if flags & act::OPTIONAL != 0 && member_flags & act::OPTIONAL == 0 {
                flags &= !act::OPTIONAL;
                self[a].flags &= !act::OPTIONAL;
            }
            if member_task != &*task && flags & act::RUNNABLE != 0 && member_flags & act::RUNNABLE == 0 {
                flags &= !act::RUNNABLE;
                self[a].flags &= !act::RUNNABLE;
            }
        }
        flags
    }

    fn collective_flags(&mut self, a: ActIdx, instances: &[RscIdx], node: Option<NodeIdx>) -> u32 {
        let mut flags = act::OPTIONAL | act::RUNNABLE | act::PSEUDO;
        let mut any_runnable = false;
        let task = self.original_task(a);
        for instance in instances {
            let at = if self[*instance].is_primitive() { node } else { None };
            let Some(action) = self.find_first(*instance, None, Some(&task), at) else { continue };
            let instance_flags = self.action_flags(action, node);
            if flags & act::OPTIONAL != 0 && instance_flags & act::OPTIONAL == 0 {
                flags &= !act::OPTIONAL;
                self[a].flags &= !act::OPTIONAL;
            }
            any_runnable |= instance_flags & act::RUNNABLE != 0;
        }
        if !any_runnable {
            flags &= !act::RUNNABLE;
            if node.is_none() {
                self[a].flags &= !act::RUNNABLE;
            }
        }
        flags
    }

    /// The task of instances that a collective's action stands for.
    pub(super) fn original_task(&self, a: ActIdx) -> Str {
        let Some(rsc) = self[a].rsc else { return self[a].task.clone() };
        let primitive = self[rsc].children.first().is_some_and(|c| self[*c].is_primitive());
        let task = &self[a].task;
        if task.eq_ignore_ascii_case("notify") || task.eq_ignore_ascii_case("notified") {
            let notified = parse_op_key(&self[a].key).and_then(|k| k.1.split_once("_notify_"));
            return member_task(notified.map_or("", |n| n.1), primitive).into();
        }
        member_task(task, primitive).into()
    }

    pub(super) fn flags_for_ordering(&mut self, a: ActIdx, node: Option<NodeIdx>) -> u32 {
        let flags = self.action_flags(a, None);
        if node.is_none() || !self[a].rsc.is_some_and(|r| self[r].is_clone()) {
            return flags;
        }
        let on_node = self.action_flags(a, node);
        on_node | (flags & act::RUNNABLE)
    }
}
