//! As much of the CIB as the rules ask about.

use cib::config::{self, Index};
use std::net::IpAddr;
use xml::Element;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cluster {
    pub primitives: Vec<Primitive>,
    /// `fencing-enabled`, by that or its old name.
    pub fencing_enabled: bool,
    pub no_quorum_policy: Option<String>,
    /// `fencing-watchdog-timeout`, by that or its old name, if nodes are to be counted dead by their watchdogs. Negative: the
    /// cluster sets it.
    pub watchdog_timeout_ms: Option<i64>,
    /// What is wrong with fencing.
    pub fencing: Vec<crate::fence_check::Advice>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Primitive {
    pub id: String,
    pub class: String,
    pub provider: String,
    pub agent: String,
    pub params: Vec<(String, String)>,
    /// The outermost resource that it belongs to, or itself.
    pub group: String,
    /// It runs on several nodes at once.
    pub cloned: bool,
}

/// Native agents whose work ends with the lease of an address, so that a lost node does no harm with them.
const HARMLESS: [&str; 5] = ["IPaddr2", "IPaddr", "ldirectord", "Dummy", "ping"];

impl Primitive {
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// What it announces through a routing daemon.
    pub fn announced(&self) -> Vec<IpAddr> {
        self.param("ip").unwrap_or_default().split_whitespace().filter_map(|a| a.parse().ok()).collect()
    }

    pub fn is_address(&self) -> bool {
        self.class == "ocf" && matches!(self.agent.as_str(), "IPaddr2" | "IPaddr")
    }

    /// Whether two of it at once for the length of a lease are harmless.
    pub fn bounded(&self) -> bool {
        self.class == "ocf" && (self.provider == "bascule" || HARMLESS.contains(&self.agent.as_str()))
    }
}

impl Cluster {
    /// Whether there is anybody who fences.
    pub fn fence_devices(&self) -> usize {
        self.primitives.iter().filter(|p| p.class == "stonith").count()
    }

    pub fn announcements(&self) -> impl Iterator<Item = &Primitive> {
        self.primitives.iter().filter(|p| p.provider == "bascule" && p.agent == "announce")
    }

    /// The addresses that move.
    pub fn addresses(&self) -> impl Iterator<Item = (&Primitive, IpAddr)> {
        self.primitives.iter().filter(|p| p.is_address()).filter_map(|p| Some((p, p.param("ip")?.parse().ok()?)))
    }
}

/// Reads a whole CIB or its configuration section.
pub fn read(cib: &Element) -> Cluster {
    let mut cluster = Cluster { fencing_enabled: true, ..Cluster::default() };
    let inner = cib.child("configuration");
    let Some(configuration) = inner.or((cib.name() == "configuration").then_some(cib)) else { return cluster };
    let property = |name: &str| config::property_of(configuration, name);
    let fencing = property("fencing-enabled").or(property("stonith-enabled"));
    cluster.fencing_enabled = fencing.and_then(base::text::parse_bool).unwrap_or(true);
    cluster.watchdog_timeout_ms = crate::fence_check::watchdog_timeout_ms(configuration);
    cluster.no_quorum_policy = property("no-quorum-policy").map(str::to_owned);
    cluster.fencing = crate::fence_check::check(configuration);
    let index = Index::new(configuration);
    for top in configuration.child("resources").into_iter().flat_map(Element::elements) {
        let group = top.id().unwrap_or_default();
        let inner = top.descendants().filter(|e| e.name() == "primitive");
        let own = std::iter::once(top).filter(|e| e.name() == "primitive");
        for element in own.chain(inner) {
            if !cluster.primitives.iter().any(|p| Some(p.id.as_str()) == element.id()) {
                cluster.primitives.push(primitive(element, group, matches!(top.name(), "clone" | "master"), &index));
            }
        }
    }
    cluster
}

fn primitive(element: &Element, group: &str, cloned: bool, index: &Index<'_>) -> Primitive {
    let text = |name: &str| element.attr(name).unwrap_or_default().to_owned();
    let params = config::values(element, "instance_attributes", index);
    Primitive {
        id: text("id"),
        class: text("class"),
        provider: text("provider"),
        agent: text("type"),
        params: params.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        group: group.to_owned(),
        cloned,
    }
}
