//! The status section as the scheduler understands it, as plain data for display.

use crate::model::config::Agent;
use crate::model::flags::rsc as rf;
use crate::model::{Map, NodeIdx, RscIdx, Sched, Variant};
use crate::status::{Cluster, FailedAction, Node, NodeKind, Replica, Resource, ResourceKind, Role, Ticket};
use crate::{ScheduleError, with_deep_stack};
use base::WallTime;
use std::collections::BTreeMap;
use xml::Element;

/// Reads what a display needs, exactly as the scheduler would read it.
pub fn read(cib: &Element, now: WallTime) -> Result<Cluster, ScheduleError> {
    with_deep_stack(|| Ok(Sched::unpack(&cib::upgrade::upgraded(cib).cib, now)?.cluster()))?
}

fn plain(map: &Map) -> BTreeMap<String, String> {
    map.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

impl Sched {
    /// The cluster's state, from a model that nothing has been scheduled in.
    pub(crate) fn cluster(&mut self) -> Cluster {
        let nodes = self.node_order.clone().into_iter().map(|n| self.node_status(n)).collect();
        let ticket = |(id, t): (&crate::model::Str, &crate::model::TicketState)| Ticket {
            id: id.to_string(),
            granted: t.granted,
            standby: t.standby,
            last_granted: t.last_granted,
            attributes: plain(&t.attrs),
        };
        Cluster {
            quorate: self.quorate,
            dc: self.dc.map(|n| self[n].name.to_string()),
            options: plain(&self.options.raw),
            maintenance_mode: self.options.maintenance,
            stop_all_resources: self.options.stop_all,
            fencing_enabled: self.options.fencing_enabled,
            symmetric: self.options.symmetric,
            nodes,
            resources: self.top.iter().map(|r| self.resource_status(*r)).collect(),
            tickets: self.tickets.iter().map(ticket).collect(),
            failures: self.failed_actions(),
            instances: self.instances,
            disabled: self.disabled,
            blocked: self.blocked,
            messages: self.messages.clone(),
        }
    }

    fn node_status(&mut self, node: NodeIdx) -> Node {
        let kind = match (self.is_guest(node), self.is_remote(node)) {
            (true, _) => NodeKind::Guest,
            (_, true) => NodeKind::Remote,
            _ => NodeKind::Cluster,
        };
        let launcher = self.guest_launcher(node).filter(|_| kind == NodeKind::Guest);
        let health = self.node_health(node);
        let fail_counts = self.fail_counts(node);
        let n = &self[node];
        Node {
            name: n.name.to_string(),
            id: n.id.to_string(),
            kind,
            online: n.online,
            unclean: n.unclean,
            pending: n.pending,
            standby: n.standby,
            standby_on_fail: n.fail_standby,
            maintenance: n.maintenance,
            shutdown: n.shutdown,
            expected_up: n.expected_up,
            is_dc: self.dc == Some(node),
            health,
            launcher: launcher.map(|l| self[l].id.to_string()),
            attributes: plain(&n.attrs),
            utilization: plain(&n.utilization),
            running: n.running.iter().map(|r| self[*r].id.to_string()).collect(),
            fail_counts,
        }
    }

    /// Failures on a node by resource, as far as the node's attributes name any.
    fn fail_counts(&mut self, node: NodeIdx) -> BTreeMap<String, i32> {
        let stem = "fail-count-";
        let names = self[node].attrs.keys().filter_map(|a| a.strip_prefix(stem));
        let names: Vec<String> = names.map(|n| n.split('#').next().unwrap_or(n).to_owned()).collect();
        let mut counts = BTreeMap::new();
        for name in names {
            if let Some(rsc) = self.find_resource(&name).filter(|_| !counts.contains_key(&name)) {
                let (count, _) = self.fail_count(node, rsc, false, false, None);
                counts.insert(name, count);
            }
        }
        counts
    }

    fn resource_kind(&self, rsc: RscIdx) -> ResourceKind {
        let r = &self[rsc];
        match r.variant {
            Variant::Primitive => ResourceKind::Primitive {
                class: r.conf.class().to_owned(),
                provider: r.conf.provider.as_ref().map(|p| p.to_string()),
                agent: r.conf.agent.as_ref().map(|a| a.to_string()).unwrap_or_default(),
            },
            Variant::Group => ResourceKind::Group,
            Variant::Clone => ResourceKind::Clone {
                promotable: r.is(rf::PROMOTABLE),
                unique: r.is(rf::UNIQUE),
                child: r.clone.child.as_ref().map(|c| c.id.to_string()).unwrap_or_default(),
            },
            Variant::Bundle => self.bundle_kind(rsc),
        }
    }

    fn bundle_kind(&self, rsc: RscIdx) -> ResourceKind {
        let r = &self[rsc];
        let replica = |p: &crate::model::Replica| {
            let name = self.printable_id(p.remote.unwrap_or(p.container));
            Replica {
                title: p.ip_addr.as_ref().map_or(name.to_string(), |ip| format!("{name} ({ip})")),
                parts: 1 + [p.ip, p.child, p.remote].iter().flatten().count(),
                shown: usize::from(p.ip.is_some()),
                node: self.current_node(p.container).map(|n| self[n].name.to_string()),
            }
        };
        ResourceKind::Bundle {
            image: r.bundle.image.clone(),
            container: match r.conf.bundle.as_ref().map(|b| b.agent) {
                Some(Agent::Docker) => "docker",
                _ => "podman",
            },
            unique: r.is(rf::UNIQUE),
            replicas: r.bundle.replicas.iter().map(replica).collect(),
        }
    }

    fn resource_status(&self, rsc: RscIdx) -> Resource {
        let r = &self[rsc];
        let mut role = self.role_of(rsc, true);
        if role == Role::Started && r.is_primitive() && self[self.top_of(rsc, false)].is(rf::PROMOTABLE) {
            role = Role::Unpromoted;
        }
        let mut children = r.children.clone();
        if r.variant == Variant::Bundle {
            let parts = r.bundle.replicas.iter().flat_map(|p| [p.ip, p.child, Some(p.container), p.remote]);
            children = parts.flatten().collect();
        }
        let mut active = r.active_nodes.clone();
        if !children.is_empty() {
            active.clear();
            self.locations_of(rsc, true, &mut active);
        }
        Resource {
            id: r.id.to_string(),
            name: r.xml_id().to_string(),
            kind: self.resource_kind(rsc),
            role,
            target_role: r.meta("target-role").map(str::to_owned),
            managed: r.is(rf::MANAGED),
            maintenance: r.is(rf::MAINTENANCE),
            failed: r.is(rf::FAILED),
            failure_ignored: r.is(rf::IGNORE_FAILURE),
            blocked: r.is(rf::BLOCKED),
            removed: r.is(rf::REMOVED),
            disabled: self.is_disabled(rsc),
            pending: r.pending_action.as_ref().map(|p| p.to_string()),
            pending_on: r.pending_node.map(|n| self[n].name.to_string()),
            active_on: active.iter().map(|n| self[*n].name.to_string()).collect(),
            locked_to: r.lock_node.map(|n| self[n].name.to_string()),
            description: r.conf.description.as_ref().map(|d| d.to_string()),
            children: children.iter().map(|c| self.resource_status(*c)).collect(),
        }
    }

    fn failed_actions(&self) -> Vec<FailedAction> {
        let made = self.failed.iter().map(|f| {
            let op = self.history.op(f.op);
            FailedAction {
                key: op.key.as_ref().map(|k| k.to_string()).unwrap_or_default(),
                resource: f.rsc_id.to_string(),
                operation: op.task().to_owned(),
                interval_ms: op.interval_ms,
                node: f.node.to_string(),
                rc: op.rc.unwrap_or(0),
                status: op.status.unwrap_or(0),
                call_id: op.call_id,
                exit_reason: op.exit_reason.as_ref().map(|r| r.to_string()),
                last_change: op.last_change,
                exec_ms: op.exec_ms,
                queue_ms: op.queue_ms,
            }
        });
        made.collect()
    }
}
