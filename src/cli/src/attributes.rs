//! Where options and node attributes live in the CIB, and how they are read and written there.

use crate::nvpairs;
use crate::source::{Failure, Source, checked};
use base::exit::crm;
use cib::{Request, Target};
use wire::api::{AttributeAction, AttributeCall, AttributeReply, Lifetime};
use xml::Element;

/// Which store an attribute command works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// `crm_config`, `rsc_defaults` or `op_defaults`.
    Options(String),
    /// A node's permanent attribute or utilization.
    Node { name: String, utilization: bool },
    /// A node's attribute until its cluster stack stops.
    Transient { name: String },
}

impl Scope {
    /// The section's name as the original prints it.
    pub fn section(&self) -> &str {
        match self {
            Scope::Options(section) => section,
            Scope::Node { .. } => "nodes",
            Scope::Transient { .. } => "status",
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Scope::Options(section) if section == "crm_config" => "cluster_property_set",
            Scope::Options(_) => "meta_attributes",
            Scope::Node { utilization: true, .. } => "utilization",
            _ => "instance_attributes",
        }
    }
}

/// One attribute: its name and, where several stand for it, the ids that choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Which<'a> {
    pub name: &'a str,
    pub set_id: Option<&'a str>,
    pub id: Option<&'a str>,
}

/// A node as the CIB calls it, in whatever case it was asked for.
fn own_name<'a>(cib: &'a Element, asked: &'a str) -> &'a str {
    let sections = [cib.child("configuration").and_then(|c| c.child("nodes")), cib.child("status")];
    let names = sections.into_iter().flatten().flat_map(Element::elements).filter_map(|n| n.attr("uname"));
    names.into_iter().find(|n| base::ids::same_node(n, asked)).unwrap_or(asked)
}

/// A node's id in the CIB.
pub fn node_id(cib: &Element, name: &str) -> Result<String, Failure> {
    let configured = cib.child("configuration").and_then(|c| c.child("nodes"));
    let state = cib.child("status");
    let known = configured.into_iter().chain(state).flat_map(Element::elements);
    let found = known
        .into_iter()
        .find(|n| n.attr("uname").is_some_and(|own| base::ids::same_node(own, name)))
        .and_then(Element::id);
    found
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(crm::NOSUCH, format!("Could not map name={name} to a UUID: no such node")))
}

/// The element that holds the sets, or an empty one of the same frame.
fn holder(cib: &Element, scope: &Scope) -> Result<Element, Failure> {
    let configuration = cib.child("configuration");
    match scope {
        Scope::Options(section) => {
            let there = configuration.and_then(|c| c.child(section)).cloned();
            Ok(there.unwrap_or_else(|| Element::new(section.as_str())))
        }
        Scope::Node { name, .. } => {
            let id = node_id(cib, name)?;
            let nodes = configuration.and_then(|c| c.child("nodes"));
            let there = nodes.and_then(|n| n.elements().find(|e| e.id() == Some(&id))).cloned();
            Ok(there.unwrap_or_else(|| Element::new("node").with("id", &id).with("uname", name)))
        }
        Scope::Transient { name } => {
            let id = node_id(cib, name)?;
            let state = cib.child("status").and_then(|s| s.elements().find(|e| e.id() == Some(&id)));
            let there = state.and_then(|s| s.child("transient_attributes")).cloned();
            Ok(there.unwrap_or_else(|| Element::new("transient_attributes").with("id", &id)))
        }
    }
}

fn default_set(holder: &Element, scope: &Scope) -> String {
    let id = holder.id().unwrap_or_default();
    match scope {
        Scope::Options(section) if section == "crm_config" => "cib-bootstrap-options".to_owned(),
        Scope::Options(section) => format!("{section}-options"),
        Scope::Node { utilization: true, .. } => format!("nodes-{id}-utilization"),
        Scope::Node { .. } => format!("nodes-{id}"),
        Scope::Transient { .. } => format!("status-{id}"),
    }
}

/// One that is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    pub id: String,
    pub name: String,
    pub value: String,
}

/// The values in effect, first set first; empty if it is not set.
pub fn values(cib: &Element, scope: &Scope, which: Which<'_>) -> Result<Vec<Found>, Failure> {
    let holder = holder(cib, scope)?;
    let found = nvpairs::find(&holder, scope.kind(), which.name, which.set_id, which.id);
    let of = |p: &nvpairs::Pair<'_>, name: &str| p.pair.attr(name).unwrap_or_default().to_owned();
    Ok(found.iter().map(|p| Found { id: of(p, "id"), name: of(p, "name"), value: of(p, "value") }).collect())
}

/// Sets it; answers set id and pair id.
pub fn set(
    source: &Source,
    scope: &Scope,
    which: Which<'_>,
    value: &str,
    score: bool,
) -> Result<(String, String), Failure> {
    let cib = source.cib()?;
    if let (Scope::Transient { name }, Some(_)) = (scope, source.client()) {
        node_id(&cib, name)?;
        attribute_call(source, name, which.name, AttributeAction::Set { value: checked("value", value)? })?;
        return Ok((String::new(), String::new()));
    }
    let holder = holder(&cib, scope)?;
    let default = default_set(&holder, scope);
    let (frame, set, pair) =
        nvpairs::update(&holder, scope.kind(), (which.name, value), which.set_id, which.id, &default);
    let frame = match scope {
        Scope::Transient { name } => {
            let id = holder.id().unwrap_or_default();
            Element::new("node_state").with("id", id).with("uname", own_name(&cib, name)).with_child(frame)
        }
        Scope::Node { name, .. } => frame.with("uname", own_name(&cib, name)),
        Scope::Options(_) => frame,
    };
    let mut request = Request::upsert(scope.section(), frame);
    request.options.score_update = score;
    source.call(sign(request))?;
    Ok((set, pair))
}

/// Deletes it; answers the id of what was deleted, `None` if it was not set.
pub fn delete(source: &Source, scope: &Scope, which: Which<'_>) -> Result<Option<String>, Failure> {
    let cib = source.cib()?;
    let holder = holder(&cib, scope)?;
    let found = nvpairs::find(&holder, scope.kind(), which.name, which.set_id, which.id);
    let Some(id) = found.first().and_then(|p| p.pair.id()).map(str::to_owned) else { return Ok(None) };
    if let (Scope::Transient { name }, Some(_)) = (scope, source.client()) {
        attribute_call(source, name, which.name, AttributeAction::Delete)?;
        return Ok(Some(id));
    }
    let mut request = Request::new(cib::Op::Delete, Target::Section(scope.section().to_owned()), None);
    request.payload = Some(Element::new("nvpair").with("id", &id));
    source.call(sign(request))?;
    Ok(Some(id))
}

fn attribute_call(source: &Source, node: &str, name: &str, action: AttributeAction) -> Result<AttributeReply, Failure> {
    let client = source.client().ok_or_else(|| Failure::usage("needs the running cluster"))?;
    let lifetime = Lifetime::Reboot;
    let node = Some(checked("node", node)?);
    let call = AttributeCall {
        name: checked("attribute name", name)?,
        node,
        action,
        lifetime,
        dampen_ms: None,
        private: false,
    };
    let reply: AttributeReply = client.post("/v1/attribute", &call)?;
    match reply.code {
        0 => Ok(reply),
        code => Err(Failure::new(code, reply.message.unwrap_or_else(|| "the attribute was refused".to_owned()))),
    }
}

/// Who asks, for the CIB's `update-*` attributes.
/// Several changes at once that count as `changes` of the configuration: as many as the original makes one after the other, so
/// that whoever follows `epoch` sees the same numbers. Who is under ACLs may not write them.
pub fn counted(mut steps: Vec<Request>, changes: u64, now: cib::Version) -> Request {
    let acts_as_another =
        std::env::var("CIB_user").is_ok_and(|user| !["", "root", "hacluster"].contains(&user.as_str()));
    if changes > 1 && nix::unistd::geteuid().is_root() && !acts_as_another {
        let ahead = Element::new("cib").with("epoch", (now.epoch + changes - 1).to_string());
        steps.insert(0, Request::new(cib::Op::Modify, Target::Whole, Some(ahead)));
    }
    Request::transaction(steps)
}

pub fn sign(mut request: Request) -> Request {
    let mut words = std::env::args().map(|a| a.rsplit('/').next().unwrap_or_default().to_owned());
    // Called as `bascule crm_attribute`, it is crm_attribute all the same.
    request.client = words.find(|name| name != "bascule").unwrap_or_default();
    request.user = crate::cibadmin::user_name();
    request.origin = crate::source::host_name();
    request
}
