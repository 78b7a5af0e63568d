//! Resource configuration, typed, with templates expanded. One [`RscConfig`] is shared by all instances of a clone.

use super::basics::Str;
use super::nvpair::Blocks;
use base::WallTime;
use base::text::{parse_bool, parse_interval_ms};
use cib::config::Index;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::rc::Rc;
use xml::Element;

/// Deepest nesting of resources: bundle or clone, group, primitive.
const MAX_DEPTH: usize = 4;

#[derive(Clone, Debug)]
pub struct OpConfig {
    pub id: Option<Str>,
    pub name: Option<Str>,
    pub interval_ms: u64,
    pub role: Option<Str>,
    pub on_fail: Option<Str>,
    pub timeout: Option<Str>,
    pub enabled: bool,
    /// All attributes of the `<op>`, in order.
    pub attrs: Vec<(Str, Str)>,
    pub meta: Blocks,
    pub instance: Blocks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agent {
    Docker,
    Podman,
}

#[derive(Clone, Debug)]
pub struct Mount {
    pub source: String,
    pub target: String,
    pub options: Option<String>,
    /// `source` is a root below which each replica has its own directory.
    pub subdir: bool,
}

/// What a `<bundle>` says about its containers.
#[derive(Clone, Debug)]
pub struct BundleConfig {
    pub agent: Agent,
    pub image: Option<String>,
    pub replicas: Option<String>,
    pub per_host: Option<String>,
    pub promoted_max: Option<String>,
    pub run_command: Option<String>,
    pub options: Option<String>,
    pub network: Option<String>,
    pub ip_range_start: Option<String>,
    pub host_netmask: Option<String>,
    pub host_interface: Option<String>,
    pub control_port: Option<String>,
    pub add_host: bool,
    pub ports: Vec<(String, String)>,
    pub mounts: Vec<Mount>,
}

#[derive(Clone, Debug)]
pub struct RscConfig {
    pub tag: Str,
    pub id: Str,
    pub class: Option<Str>,
    pub provider: Option<Str>,
    pub agent: Option<Str>,
    pub description: Option<Str>,
    pub template: Option<Str>,
    /// All attributes of the element, in order.
    pub attrs: Vec<(Str, Str)>,
    pub meta: Blocks,
    pub instance: Blocks,
    pub utilization: Blocks,
    pub ops: Vec<Rc<OpConfig>>,
    pub children: Vec<Rc<RscConfig>>,
    pub bundle: Option<BundleConfig>,
}

impl RscConfig {
    /// An `ocf:pacemaker:remote` connection.
    pub fn is_remote(&self) -> bool {
        let is = |value: &Option<Str>, word: &str| value.as_ref().is_some_and(|v| v.eq_ignore_ascii_case(word));
        is(&self.agent, "remote") && is(&self.class, "ocf") && is(&self.provider, "pacemaker")
    }

    /// A primitive of which no more is known than the attributes that its history kept.
    pub fn bare(id: &str, attrs: &[(Str, Str)]) -> RscConfig {
        let text = |name: &str| attrs.iter().find(|(n, _)| **n == *name).map(|(_, v)| v.clone());
        let mut attrs_with_id: Vec<(Str, Str)> = attrs.iter().filter(|(n, _)| &**n != "id").cloned().collect();
        attrs_with_id.push(("id".into(), id.into()));
        RscConfig {
            tag: "primitive".into(),
            id: id.into(),
            class: text("class"),
            provider: text("provider"),
            agent: text("type"),
            description: None,
            template: None,
            attrs: attrs_with_id,
            meta: Blocks::default(),
            instance: Blocks::default(),
            utilization: Blocks::default(),
            ops: Vec::new(),
            children: Vec::new(),
            bundle: None,
        }
    }

    pub fn class(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }
}

/// What the agent standards can do.
pub mod caps {
    pub fn provider(class: &str) -> bool {
        class.eq_ignore_ascii_case("ocf")
    }

    pub fn unique(class: &str) -> bool {
        class.eq_ignore_ascii_case("ocf") || class.eq_ignore_ascii_case("stonith")
    }

    pub fn promotable(class: &str) -> bool {
        class.eq_ignore_ascii_case("ocf")
    }

    pub fn fence_params(class: &str) -> bool {
        class.eq_ignore_ascii_case("stonith")
    }
}

/// Reads resource elements.
pub struct Reader<'a> {
    pub index: &'a Index<'a>,
    pub templates: Vec<&'a Element>,
    pub now: WallTime,
    pub problems: Vec<String>,
}

impl Reader<'_> {
    pub fn read(&mut self, e: &Element) -> Option<Rc<RscConfig>> {
        self.read_at(e, 0)
    }

    fn read_at(&mut self, raw: &Element, depth: usize) -> Option<Rc<RscConfig>> {
        let Some(id) = raw.id().filter(|id| !id.is_empty()) else {
            self.problems.push(format!("Ignoring <{}> resource without ID", raw.name()));
            return None;
        };
        if depth >= MAX_DEPTH {
            self.problems.push(format!("Ignoring <{}> resource '{id}' because it is nested too deeply", raw.name()));
            return None;
        }
        let e = self.expand_template(raw, id)?;
        let text = |name: &str| e.shared_attr(name);
        let blocks = |kind: &str| Blocks::read(&e, kind, None, self.index, self.now);
        let (meta, instance, utilization) =
            (blocks("meta_attributes"), blocks("instance_attributes"), blocks("utilization"));
        let ops = e.child("operations").and_then(|o| self.index.resolve(o)).map(|o| self.ops(o)).unwrap_or_default();
        let bundle = if e.name() == "bundle" { self.bundle(&e) } else { None };
        let mut children = Vec::new();
        if !matches!(e.name(), "primitive") {
            for child in e.elements().filter(|c| matches!(c.name(), "primitive" | "group" | "clone" | "bundle")) {
                children.extend(self.read_at(child, depth + 1));
            }
        }
        Some(Rc::new(RscConfig {
            tag: e.name().into(),
            id: id.into(),
            class: text("class"),
            provider: text("provider"),
            agent: text("type"),
            description: text("description"),
            template: raw.shared_attr("template"),
            attrs: e.shared_attrs().collect(),
            meta,
            instance,
            utilization,
            ops,
            children,
            bundle,
        }))
    }

    /// The element with its template's content before its own.
    fn expand_template<'e>(&mut self, raw: &'e Element, id: &str) -> Option<Cow<'e, Element>> {
        let Some(reference) = raw.attr("template") else { return Some(Cow::Borrowed(raw)) };
        if reference == id {
            self.problems.push(format!("The resource object '{id}' should not reference itself"));
            return None;
        }
        let Some(template) = self.templates.iter().find(|t| t.id() == Some(reference)) else {
            self.problems.push(format!("No template named '{reference}'"));
            return None;
        };
        let mut e = (*template).clone();
        e.rename(raw.name());
        e.set("id", id);
        let template_ops = e.child("operations").cloned();
        let own_ops = raw.child("operations");
        if template_ops.is_some() && own_ops.is_some() {
            e.retain_elements(|c| c.name() != "operations");
        }
        for child in raw.elements() {
            e.push(child.clone());
        }
        if let (Some(template_ops), Some(own_ops)) = (template_ops, own_ops) {
            let have: BTreeSet<(String, String)> = own_ops.elements().map(template_op_key).collect();
            let merged = e.child_or_insert("operations");
            for op in template_ops.elements().filter(|op| !have.contains(&template_op_key(op))) {
                merged.push(op.clone());
            }
        }
        Some(Cow::Owned(e))
    }

    fn ops(&self, operations: &Element) -> Vec<Rc<OpConfig>> {
        operations.elements_named("op").map(|e| Rc::new(self.op(e))).collect()
    }

    fn op(&self, e: &Element) -> OpConfig {
        let text = |name: &str| e.shared_attr(name);
        OpConfig {
            id: text("id"),
            name: text("name"),
            interval_ms: e.attr("interval").and_then(parse_interval_ms).unwrap_or(0),
            role: text("role"),
            on_fail: text("on-fail"),
            timeout: text("timeout"),
            enabled: e.attr("enabled").and_then(parse_bool) != Some(false),
            attrs: e.shared_attrs().collect(),
            meta: Blocks::read(e, "meta_attributes", None, self.index, self.now),
            instance: Blocks::read(e, "instance_attributes", None, self.index, self.now),
        }
    }

    fn bundle(&mut self, e: &Element) -> Option<BundleConfig> {
        let (agent, container) = match (e.child("docker"), e.child("podman")) {
            (Some(docker), _) => (Agent::Docker, docker),
            (None, Some(podman)) => (Agent::Podman, podman),
            (None, None) => return None,
        };
        let of = |e: Option<&Element>, name: &str| e.and_then(|e| e.attr(name)).map(str::to_owned);
        let attr = |name: &str| of(Some(container), name);
        let network = e.child("network");
        let mut ports = Vec::new();
        for map in network.into_iter().flat_map(|n| n.elements_named("port-mapping")) {
            let source = map.attr("port").map(|p| (p, map.attr("internal-port").unwrap_or(p)));
            match source.or_else(|| map.attr("range").map(|r| (r, r))).filter(|(s, _)| !s.is_empty()) {
                Some((source, target)) => ports.push((source.to_owned(), target.to_owned())),
                None => self.problems.push(format!("Invalid port directive {}", map.id().unwrap_or_default())),
            }
        }
        let mut mounts = Vec::new();
        for map in e.child("storage").into_iter().flat_map(|s| s.elements_named("storage-mapping")) {
            let subdir = map.attr("source-dir").is_none();
            let source = map.attr("source-dir").or_else(|| map.attr("source-dir-root"));
            match (source, map.attr("target-dir")) {
                (Some(source), Some(target)) => mounts.push(Mount {
                    source: source.to_owned(),
                    target: target.to_owned(),
                    options: map.attr("options").map(str::to_owned),
                    subdir,
                }),
                _ => self.problems.push(format!("Invalid mount directive {}", map.id().unwrap_or_default())),
            }
        }
        Some(BundleConfig {
            agent,
            image: attr("image"),
            replicas: attr("replicas"),
            per_host: attr("replicas-per-host"),
            promoted_max: attr("promoted-max"),
            run_command: attr("run-command"),
            options: attr("options"),
            network: attr("network"),
            ip_range_start: of(network, "ip-range-start"),
            host_netmask: of(network, "host-netmask"),
            host_interface: of(network, "host-interface"),
            control_port: of(network, "control-port"),
            add_host: of(network, "add-host").is_none_or(|v| parse_bool(&v) != Some(false)),
            ports,
            mounts,
        })
    }
}

/// Operations of a template and of its user are the same if name and role agree.
fn template_op_key(op: &Element) -> (String, String) {
    let role =
        op.attr("role").filter(|r| !["started", "unpromoted", "slave"].contains(&r.to_ascii_lowercase().as_str()));
    (op.attr("name").unwrap_or_default().to_owned(), role.unwrap_or("Unknown").to_owned())
}
