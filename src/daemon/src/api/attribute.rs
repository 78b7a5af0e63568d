//! Node attributes: transient ones are the controller's, permanent ones are changes of the configuration.

use super::authority::Caller;
use super::within;
use base::exit::crm;
use base::ids::same_node;
use cib::config::{self, Index};
use controller::{Request, Response as Answer};
use std::time::Duration;
use wire::api::{AttributeAction, AttributeCall, AttributeReply, AttributeValue, Lifetime};
use xml::Element;

pub(super) async fn run(caller: &Caller, call: AttributeCall) -> AttributeReply {
    // Names and values become parts of XML ids and XPath expressions.
    if call.name.is_empty() || call.name.contains(['\'', '"', '<', '>']) {
        return failed(crm::USAGE, format!("expected an attribute's name, found `{}`", call.name));
    }
    let timeout = within(0);
    let call = AttributeCall { node: call.node.or_else(|| Some(base::Word::cleaned(caller.node()))), ..call };
    match (&call.action, call.lifetime) {
        (AttributeAction::Query | AttributeAction::QueryAll, _) => query(caller, &call).await,
        (AttributeAction::SetDelay, _) => AttributeReply::default(),
        (AttributeAction::Set { value }, Lifetime::Reboot) => {
            let request =
                Request::Attribute { node: call.node.clone(), name: call.name.clone(), value: Some(value.clone()) };
            outcome(caller.ask(request, timeout).await)
        }
        (AttributeAction::Delete, Lifetime::Reboot) => {
            let request = Request::Attribute { node: call.node.clone(), name: call.name.clone(), value: None };
            outcome(caller.ask(request, timeout).await)
        }
        (AttributeAction::Set { value }, Lifetime::Forever) => set_forever(caller, &call, value, timeout).await,
        (AttributeAction::Delete, Lifetime::Forever) => delete_forever(caller, &call, timeout).await,
    }
}

fn failed(code: i32, message: String) -> AttributeReply {
    AttributeReply { code, message: Some(message), ..AttributeReply::default() }
}

/// Of a change of the configuration; a transient attribute is as safe as its node, whose word counts at a merge.
fn lasting(answer: Answer) -> AttributeReply {
    let safety = match &answer {
        Answer::Done { safety, .. } => super::convert::safety(*safety),
        Answer::Failed { .. } | Answer::Fencing(_) => wire::api::Safety::Unchanged,
    };
    AttributeReply { safety, ..outcome(answer) }
}

fn outcome(answer: Answer) -> AttributeReply {
    match answer {
        Answer::Done { .. } | Answer::Fencing(_) => AttributeReply::default(),
        Answer::Failed { code, message } => failed(code, message),
    }
}

/// What is applied here as the caller may read it, or the reply to give instead.
async fn document(caller: &Caller) -> Result<cib::Cib, AttributeReply> {
    caller.cib().await.map(|(cib, _)| cib).map_err(|e| failed(e.code, e.message))
}

async fn query(caller: &Caller, call: &AttributeCall) -> AttributeReply {
    let document = match document(caller).await {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let node = match (&call.action, &call.node) {
        (AttributeAction::QueryAll, _) => None,
        (_, Some(node)) => Some(node.to_string()),
        (_, None) => Some(caller.node().to_owned()),
    };
    let values: Vec<AttributeValue> = find(document.root(), call, node.as_deref());
    if values.is_empty() {
        return failed(crm::NOSUCH, format!("attribute {} is not set", call.name));
    }
    AttributeReply { values, ..AttributeReply::default() }
}

/// Values of an attribute in the section that its lifetime says, of one node or all.
fn find(document: &Element, call: &AttributeCall, node: Option<&str>) -> Vec<AttributeValue> {
    let (holders, kind, set) = match call.lifetime {
        Lifetime::Reboot => (document.child("status"), "node_state", "transient_attributes"),
        Lifetime::Forever => {
            (document.child("configuration").and_then(|c| c.child("nodes")), "node", "instance_attributes")
        }
    };
    let Some(holders) = holders else { return Vec::new() };
    let index = Index::new(document);
    let mut values = Vec::new();
    for holder in holders.elements_named(kind) {
        let uname = holder.attr("uname").or(holder.id()).unwrap_or_default();
        if node.is_some_and(|n| !same_node(n, uname)) {
            continue;
        }
        let sets = if set == "transient_attributes" { holder.child(set) } else { Some(holder) };
        let pairs = sets.map(|s| config::values(s, "instance_attributes", &index)).unwrap_or_default();
        if let Some(value) = pairs.get(call.name.as_str()) {
            let value = Some((*value).to_owned());
            values.push(AttributeValue { node: uname.to_owned(), name: call.name.to_string(), value });
        }
    }
    values
}

/// The `<node>` element's id and the id of its attribute set.
fn place(document: &Element, node: &str) -> Option<(String, String)> {
    let nodes = document.child("configuration")?.child("nodes")?;
    let element = nodes.elements_named("node").find(|n| n.attr("uname").is_some_and(|own| same_node(own, node)))?;
    let id = element.id()?.to_owned();
    let set =
        element.child("instance_attributes").and_then(|s| s.id()).map_or_else(|| format!("nodes-{id}"), str::to_owned);
    Some((id, set))
}

async fn set_forever(caller: &Caller, call: &AttributeCall, value: &str, timeout: Duration) -> AttributeReply {
    let node = call.node.as_deref().unwrap_or(caller.node()).to_owned();
    let document = match document(caller).await {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let Some((id, set)) = place(document.root(), &node) else {
        return failed(crm::NOSUCH, format!("node {node} is not in the CIB"));
    };
    let pair =
        Element::new("nvpair").with("id", format!("{set}-{}", call.name)).with("name", &call.name).with("value", value);
    let change = Element::new("node")
        .with("id", id)
        .with_child(Element::new("instance_attributes").with("id", set).with_child(pair));
    let mut request = cib::Request::upsert("nodes", change);
    request.options.score_update = value.contains("++") || value.contains("+=");
    stamp(&mut request, caller.user());
    lasting(caller.ask(Request::Cib(request), timeout).await)
}

async fn delete_forever(caller: &Caller, call: &AttributeCall, timeout: Duration) -> AttributeReply {
    let node = call.node.as_deref().unwrap_or(caller.node()).to_owned();
    let document = match document(caller).await {
        Ok(document) => document,
        Err(reply) => return reply,
    };
    let Some((id, _)) = place(document.root(), &node).filter(|(id, _)| !id.contains(['\'', '"'])) else {
        return failed(crm::NOSUCH, format!("node {node} is not in the CIB"));
    };
    let expression = format!("//nodes/node[@id='{id}']/instance_attributes/nvpair[@name='{}']", call.name);
    let mut request = cib::Request::delete_xpath(&expression, true);
    stamp(&mut request, caller.user());
    lasting(caller.ask(Request::Cib(request), timeout).await)
}

fn stamp(request: &mut cib::Request, user: &str) {
    request.at = crate::clock::wall();
    request.user = user.to_owned();
    request.client = "api".to_owned();
}
