//! Forgetting failures and histories: by the controller, or in a file by hand.

use crate::attributes::sign;
use crate::cluster;
use crate::source::{Failure, Source, checked, now};
use base::exit::crm;
use cib::Request;
use wire::api::{CleanupCall, Done};
use xml::Element;

/// Performs it and says what was done.
pub fn run(source: &Source, call: &CleanupCall) -> Result<String, Failure> {
    let cib = source.cib()?;
    let view = cluster::read(&cib, now())?;
    if let Some(id) = call.resource.as_ref().filter(|id| cluster::find(&view.resources, id).is_none()) {
        return Err(Failure::new(crm::NOSUCH, format!("Resource '{id}' not found")));
    }
    let mut call = call.clone();
    if let Some(asked) = call.node.take() {
        let known = cluster::node_name(&view, &asked);
        let name = known.map_err(|node| Failure::new(crm::NOSUCH, format!("Node '{node}' not found")))?;
        call.node = Some(checked("node", name)?);
    }
    let call = &call;
    match source.client() {
        Some(client) => {
            let done: Done = client.post("/v1/cleanup", call)?;
            if done.code != 0 {
                return Err(Failure::new(
                    done.code,
                    done.message.unwrap_or_else(|| "the clean-up was refused".to_owned()),
                ));
            }
        }
        None => in_file(source, &cib, call)?,
    }
    let node = call.node.as_deref();
    Ok(match (&call.resource, node) {
        (Some(id), Some(node)) => format!("Cleaned up {id} on {node}\n"),
        (Some(id), None) => {
            let line = |n: &scheduler::status::Node| format!("Cleaned up {id} on {}\n", n.name);
            view.nodes.iter().map(line).collect()
        }
        (None, Some(node)) => format!("Cleaned up all resources on {node}\n"),
        (None, None) => "Cleaned up all resources on all nodes\n".to_owned(),
    })
}

fn in_file(source: &Source, cib: &Element, call: &CleanupCall) -> Result<(), Failure> {
    let meant = call.resource.as_ref().map(|r| cib::config::meant_by(cib, r));
    let concerns = |id: &str| meant.as_ref().is_none_or(|all| cib::config::is_among(all, id));
    let failed: Vec<(String, String)> = cluster::operations(cib)
        .into_iter()
        .filter(|o| concerns(&o.resource) && call.node.as_ref().is_none_or(|n| **n == *o.node))
        .filter(|o| call.operation.as_ref().is_none_or(|t| **t == *o.task))
        .filter(|o| call.interval_ms.is_none_or(|ms| ms == o.interval_ms))
        .filter(|o| call.refresh || o.failed())
        .map(|o| (o.node, o.resource))
        .collect();
    for (node, resource) in failed {
        let history =
            format!("/cib/status/node_state[@uname='{node}']/lrm/lrm_resources/lrm_resource[@id='{resource}']");
        source.call(sign(Request::delete_xpath(&history, true)))?;
        let plain = resource.split(':').next().unwrap_or(&resource);
        for prefix in ["fail-count", "last-failure"] {
            let counts = format!(
                "/cib/status/node_state[@uname='{node}']/transient_attributes/instance_attributes/nvpair[starts-with(@name,'{prefix}-{plain}#')]"
            );
            source.call(sign(Request::delete_xpath(&counts, true)))?;
        }
    }
    Ok(())
}
