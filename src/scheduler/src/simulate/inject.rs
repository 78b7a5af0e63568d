//! What-if: changes made to the CIB before the run, as the operator asks for them.

use super::history::{Recorder, set_pair};
use super::outline::Outline;
use crate::graph::{PrimitiveRef, ResourceAction, Target};
use crate::model::{Sched, parse_op_key};
use base::Text;
use xml::Element;

/// Events to simulate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Events {
    pub quorum: Option<String>,
    pub watchdog: Option<String>,
    pub node_up: Vec<String>,
    pub node_down: Vec<String>,
    pub node_fail: Vec<String>,
    pub grant: Vec<String>,
    pub revoke: Vec<String>,
    pub standby: Vec<String>,
    pub activate: Vec<String>,
    /// `RSC_TASK_INTERVAL@NODE=RC`: happened before the run.
    pub operations: Vec<String>,
    /// The same, happening when the operation comes up in the transition.
    pub failures: Vec<String>,
}

impl Events {
    /// Nothing to do before the run.
    pub fn is_empty(&self) -> bool {
        Events { failures: Vec::new(), ..self.clone() } == Events::default()
    }

    /// The exit status that an operation is to have in the transition, if it is to fail.
    pub(super) fn failure(&self, rsc: &str, task: &str, interval_ms: u64, node: &str) -> Option<i32> {
        let wanted = format!("{rsc}_{task}_{interval_ms}@{node}=").to_ascii_lowercase();
        let found = self.failures.iter().find(|f| f.to_ascii_lowercase().starts_with(&wanted))?;
        found.rsplit_once('=')?.1.trim().parse().ok()
    }

    /// Makes the changes, telling each.
    pub(super) fn apply(&self, s: &Sched, cib: &mut Element, now: i64, out: &mut Outline) {
        out.begin("Performing Requested Modifications");
        if let Some(quorum) = &self.quorum {
            out.item(&format!("Setting quorum: {quorum}"));
            out.element(Element::new("modify").with("quorum", quorum));
            cib.set("have-quorum", quorum);
        }
        if let Some(watchdog) = &self.watchdog {
            out.item(&format!("Setting watchdog: {watchdog}"));
            out.element(Element::new("modify").with("watchdog", watchdog));
            set_property(cib, "have-watchdog", watchdog);
        }
        let unknown = |name: &&String| s.find_node(name.as_str()).is_none();
        self.node_up.iter().filter(unknown).for_each(|name| configure_node(cib, name));
        let mut status = Recorder::new(cib, now);
        let id_of = |name: &str| s.find_node(name).map_or(name.to_owned(), |n| s[n].id.to_string());
        let lists = [
            ("Bringing node", " online", &self.node_up),
            ("Taking node", " offline", &self.node_down),
            ("Failing node", "", &self.node_fail),
        ];
        for (before, after, nodes) in lists {
            for node in nodes {
                out.item(&format!("{before} {node}{after}"));
                let action = match before {
                    "Bringing node" => "Online",
                    "Taking node" => "Offline",
                    _ => "Failing",
                };
                out.element(Element::new("modify_node").with("action", action).with("node", node));
                match before {
                    "Taking node" => status.fence(node, &id_of(node)),
                    _ => status.set_online(node, &id_of(node), before == "Bringing node"),
                }
            }
        }
        let lists = [
            ("Granting", "granted", true, &self.grant),
            ("Revoking", "granted", false, &self.revoke),
            ("Making", "standby", true, &self.standby),
            ("Activating", "standby", false, &self.activate),
        ];
        for (word, attr, value, tickets) in lists {
            for ticket in tickets {
                let tail = if word == "Making" { " standby" } else { "" };
                out.item(&format!("{word} ticket {ticket}{tail}"));
                let action = if word == "Making" { "Standby" } else { word };
                out.element(Element::new("modify_ticket").with("action", action).with("ticket", ticket));
                status.set_ticket(ticket, attr, value);
            }
        }
        for spec in &self.operations {
            out.item(&format!("Injecting {spec} into the configuration"));
            out.element(Element::new("inject_spec").with("spec", spec));
            if let Err(problem) = inject_operation(s, spec, &mut status, out) {
                out.item(&problem);
            }
        }
        out.end();
    }
}

/// A node that nobody knew of is one of the cluster from now on.
fn configure_node(cib: &mut Element, name: &str) {
    let nodes = cib.child_or_insert("configuration").child_or_insert("nodes");
    if nodes.child_by_id("node", name).is_none() {
        nodes.push(Element::new("node").with("id", name).with("uname", name));
    }
}

fn set_property(cib: &mut Element, name: &str, value: &str) {
    let config = cib.child_or_insert("configuration").child_or_insert("crm_config");
    if config.child("cluster_property_set").is_none() {
        config.push(Element::new("cluster_property_set").with("id", "cib-bootstrap-options"));
    }
    set_pair(config.child_or_insert("cluster_property_set"), name, value);
}

fn inject_operation(s: &Sched, spec: &str, status: &mut Recorder<'_>, out: &mut Outline) -> Result<(), String> {
    let invalid = || format!("Invalid operation spec: {spec}");
    let (key, rest) = spec.split_once('@').ok_or_else(invalid)?;
    let (node, rc) = rest.split_once('=').ok_or_else(invalid)?;
    let rc: i32 = rc.trim().parse().map_err(|_| invalid())?;
    let (resource, task, interval_ms) = parse_op_key(key).ok_or_else(invalid)?;
    let rsc = s.find_resource(resource).ok_or_else(|| format!("Invalid resource name: {resource}"))?;
    let conf = &s[rsc].conf;
    let uuid = s.find_node(node).map_or(node.to_owned(), |n| s[n].id.to_string());
    let op = ResourceAction {
        key: key.into(),
        operation: task.into(),
        interval_ms,
        target: Target { node: node.into(), uuid: uuid.into() },
        router_node: None,
        primitive: PrimitiveRef {
            id: resource.into(),
            long_id: None,
            class: conf.class().into(),
            provider: conf.provider.clone().map(Text::from),
            agent: conf.agent.clone().unwrap_or_else(|| "".into()).into(),
        },
        timeout_ms: 0,
        own: Vec::new(),
        shutdown_lock: None,
    };
    let fatal = task == "stop" || (task == "start" && s.options.start_failure_fatal);
    status.add_failure(&op, resource, rc, fatal, out);
    status.record(resource, &op, &[], Some(rc));
    Ok(())
}
