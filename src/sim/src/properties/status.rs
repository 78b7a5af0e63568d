//! What is shown is what is: the histories of the status say of each primitive what its machine says.

use crate::world::World;
use base::NodeId;
use std::collections::BTreeSet;
use xml::Element;

/// Whether a history entry says that the instance is active: the newest operation that tells counts.
fn says_active(resource: &Element) -> bool {
    let number = |op: &Element, name: &str| op.attr(name).and_then(|v| v.parse::<i64>().ok()).unwrap_or(-1);
    let mut operations: Vec<&Element> = resource.elements().filter(|o| number(o, "op-status") >= 0).collect();
    operations.sort_by_key(|o| number(o, "call-id"));
    let mut active = false;
    for op in operations {
        let code = number(op, "rc-code");
        match op.attr("operation") {
            Some("start" | "promote" | "demote") => active = true,
            Some("stop") => active = code != 0,
            Some("monitor") if code == 7 => active = false,
            Some("monitor") => active |= code == 0 || code == 8,
            _ => {}
        }
    }
    active
}

pub fn shown_active(status: &Element, node: NodeId) -> BTreeSet<String> {
    let id = node.to_string();
    let state = status.elements_named("node_state").find(|s| s.id() == Some(&id));
    let resources = state.and_then(|s| s.child("lrm")).and_then(|l| l.child("lrm_resources"));
    let entries = resources.into_iter().flat_map(|r| r.elements());
    let ours = entries.filter(|r| r.attr("class") != Some("stonith"));
    ours.filter(|r| says_active(r)).filter_map(|r| r.id().map(str::to_owned)).collect()
}

pub fn check(world: &World) -> Result<(), String> {
    let Some(p) = world.hosts().find_map(|h| h.process.as_ref()) else { return Err("nobody is there".to_owned()) };
    let Some(status) = p.controller.cib().root().child("status") else { return Err("no status".to_owned()) };
    for host in world.hosts() {
        let shown = shown_active(status, host.id);
        let real: BTreeSet<String> = host.active().into_iter().map(str::to_owned).collect();
        if shown != real {
            return Err(format!("node {} is shown with {shown:?} and has {real:?}", host.id));
        }
    }
    Ok(())
}
