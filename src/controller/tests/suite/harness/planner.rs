//! A scheduler of a few lines for tests of the controller alone: all primitives, in document order, together on one node.
//!
//! It knows probes, order, standby, `cli-prefer`, fail counts against a threshold of 3, quorum, shutdown.

use base::Text;
use base::{Score, WallTime};
use scheduler::Schedule;
use scheduler::graph::{Action, ActionKind, Graph, PrimitiveRef, ResourceAction, Target};
use xml::Element;

struct Node<'a> {
    id: String,
    name: String,
    state: &'a Element,
}

struct Plan {
    graph: Graph,
}

impl Plan {
    fn add(&mut self, kind: ActionKind, inputs: Vec<u32>, attributes: Vec<(Text, Text)>) -> u32 {
        let id = self.graph.actions.len() as u32 + 1;
        let action = Action {
            id,
            kind,
            priority: 0,
            inputs,
            attributes,
            internal_key: None,
            downed: vec![],
            maintenance: vec![],
        };
        self.graph.actions.push(action);
        id
    }

    fn op(
        &mut self,
        p: &Element,
        node: &Node<'_>,
        operation: &str,
        interval_ms: u64,
        target_rc: i32,
        inputs: Vec<u32>,
    ) -> u32 {
        let id = p.id().unwrap().to_owned();
        let kind = ActionKind::Resource(ResourceAction {
            key: format!("{id}_{operation}_{interval_ms}").into(),
            operation: operation.into(),
            interval_ms,
            target: Target { node: node.name.clone().into(), uuid: node.id.clone().into() },
            router_node: None,
            primitive: PrimitiveRef {
                id: id.into(),
                long_id: None,
                class: p.attr("class").unwrap().into(),
                provider: p.attr("provider").map(Text::from),
                agent: p.attr("type").unwrap().into(),
            },
            timeout_ms: 20_000,
            own: vec![],
            shutdown_lock: None,
        });
        let mut attributes = vec![("CRM_meta_timeout".into(), "20000".into())];
        if target_rc != 0 {
            attributes.push(("CRM_meta_op_target_rc".into(), target_rc.to_string().into()));
        }
        self.add(kind, inputs, attributes)
    }
}

fn entry<'a>(node: &Node<'a>, resource: &str) -> Option<&'a Element> {
    node.state.child("lrm")?.child("lrm_resources")?.elements().find(|e| e.id() == Some(resource))
}

fn number(e: &Element, name: &str) -> i64 {
    e.attr(name).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// What is under way: planned again, and so found to be the same.
fn is_pending(op: &Element) -> bool {
    op.attr("rc-code") == Some("193")
}

fn is_probed(node: &Node<'_>, resource: &str) -> bool {
    let is_probe = |o: &Element| o.attr("operation") == Some("monitor") && o.attr("interval") == Some("0");
    entry(node, resource).is_some_and(|e| !e.elements().any(|o| is_probe(o) && is_pending(o)))
}

/// Active, and whether its newest result is a failure.
fn state_of(node: &Node<'_>, resource: &str) -> (bool, bool) {
    let Some(entry) = entry(node, resource) else { return (false, false) };
    let mut ops: Vec<&Element> = entry.elements().filter(|o| !is_pending(o)).collect();
    ops.sort_by_key(|o| (number(o, "call-id"), o.attr("id").is_some_and(|i| i.contains("last_failure"))));
    let (mut active, mut failed) = (false, false);
    for op in ops {
        let (code, status) = (number(op, "rc-code"), number(op, "op-status"));
        let ok = code == 0 && status == 0;
        (active, failed) = match op.attr("operation").unwrap() {
            "start" => (true, !ok),
            "stop" => (!ok, !ok),
            "monitor" if ok => (true, false),
            "monitor" if op.attr("interval") == Some("0") => (false, false),
            "monitor" => (active, true),
            _ => (active, failed),
        };
    }
    (active, failed)
}

fn attribute<'a>(node: &Node<'a>, name: &str) -> Option<&'a str> {
    let set = node.state.child("transient_attributes")?.child("instance_attributes")?;
    set.elements().find(|e| e.attr("name") == Some(name))?.attr("value")
}

fn fail_count(node: &Node<'_>, resource: &str) -> i32 {
    let Some(set) = node.state.child("transient_attributes").and_then(|t| t.child("instance_attributes")) else {
        return 0;
    };
    let prefix = format!("fail-count-{resource}#");
    let counts = set.elements().filter(|e| e.attr("name").is_some_and(|n| n.starts_with(&prefix)));
    counts.filter_map(|e| Score::parse(e.attr("value")?)).map(Score::value).sum()
}

fn standby(cib: &Element, node: &Node<'_>) -> bool {
    let nodes = cib.child("configuration").and_then(|c| c.child("nodes")).unwrap();
    let found = nodes.elements().find(|n| n.id() == Some(&node.id));
    found.is_some_and(|n| n.descendants().any(|e| e.attr("name") == Some("standby") && e.attr("value") == Some("on")))
}

pub fn plan(cib: &Element, _wall: WallTime) -> Result<Schedule, String> {
    let configuration = cib.child("configuration").unwrap();
    let status = cib.child("status").unwrap();
    let online: Vec<Node<'_>> = status
        .elements_named("node_state")
        .filter(|s| s.attr("join") == Some("member") && s.attr("crmd").is_some_and(|v| v != "0"))
        .map(|s| Node { id: s.id().unwrap().into(), name: s.attr("uname").unwrap().into(), state: s })
        .collect();
    let primitives: Vec<&Element> =
        configuration.child("resources").unwrap().descendants().filter(|e| e.name() == "primitive").collect();
    let mut plan = Plan { graph: Graph::default() };
    let mut before = Vec::new();
    for p in &primitives {
        for node in online.iter().filter(|n| !is_probed(n, p.id().unwrap())) {
            before.push(plan.op(p, node, "monitor", 0, 7, vec![]));
        }
    }
    let fit = |n: &&Node<'_>| {
        let broken = primitives.iter().any(|p| fail_count(n, p.id().unwrap()) >= 3);
        !broken && !standby(cib, n) && attribute(n, "shutdown").is_none()
    };
    let quorate = cib.attr("have-quorum") == Some("1");
    let prefer = configuration.child("constraints").and_then(|c| c.elements().next()).and_then(|e| e.attr("node"));
    let runs_here = |n: &Node<'_>| primitives.iter().any(|p| state_of(n, p.id().unwrap()).0);
    let choice =
        online.iter().filter(fit).min_by_key(|n| (Some(n.name.as_str()) != prefer, !runs_here(n), n.id.clone()));
    let choice = choice.filter(|_| quorate);
    // From the first failed member on, all have to be started anew.
    let broken_from = choice.and_then(|n| primitives.iter().position(|p| state_of(n, p.id().unwrap()).1));
    for node in &online {
        let mut previous: Option<u32> = None;
        for (at, p) in primitives.iter().enumerate().rev() {
            let here = choice.is_some_and(|c| c.id == node.id);
            let restart = here && broken_from.is_some_and(|from| at >= from);
            if state_of(node, p.id().unwrap()).0 && (!here || restart) {
                let stop = plan.op(p, node, "stop", 0, 0, previous.into_iter().collect());
                previous = Some(stop);
                before.push(stop);
            }
        }
    }
    if let Some(node) = choice {
        let mut inputs = before.clone();
        for (at, p) in primitives.iter().enumerate() {
            let id = p.id().unwrap();
            let restart = broken_from.is_some_and(|from| at >= from);
            if !state_of(node, id).0 || restart {
                let start = plan.op(p, node, "start", 0, 0, inputs.clone());
                plan.op(p, node, "monitor", 10_000, 0, vec![start]);
                inputs.push(start);
            } else if !entry(node, id).unwrap().elements().any(|o| o.attr("interval") == Some("10000")) {
                plan.op(p, node, "monitor", 10_000, 0, vec![]);
            }
        }
    }
    for node in online.iter().filter(|n| attribute(n, "shutdown").is_some()) {
        let target = Target { node: node.name.clone().into(), uuid: node.id.clone().into() };
        let kind = ActionKind::Cluster {
            key: format!("do_shutdown-{}", node.name).into(),
            operation: "do_shutdown".into(),
            target,
            router_node: None,
            primitive: None,
        };
        plan.add(kind, before.clone(), vec![]);
    }
    Ok(Schedule { graph: plan.graph, ..Schedule::default() })
}
