//! The CIB of directors: groups in the order that keeps connections (sync, table, addresses), what runs everywhere, fence devices.

use crate::edit::{NewPrimitive, set_pairs};
use crate::nvpairs::as_id;
use crate::source::Failure;
use xml::Element;

type Pairs = Vec<(String, String)>;

/// What moves together.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub id: String,
    pub members: Vec<Element>,
    pub meta: Pairs,
    /// Nodes with the score that each is preferred by.
    pub prefers: Vec<(String, u32)>,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    pub properties: Pairs,
    pub everywhere: Vec<Element>,
    pub groups: Vec<Group>,
    /// Devices, and the node that each fences: there it does not run.
    pub devices: Vec<(Element, String)>,
    pub stickiness: Option<u32>,
}

impl Configuration {
    pub fn element(&self) -> Element {
        let mut crm_config = Element::new("crm_config");
        set_pairs(&mut crm_config, "cluster_property_set", "cib-bootstrap-options", &self.properties);
        let mut resources = Element::new("resources");
        for primitive in &self.everywhere {
            let id = format!("{}-all", primitive.id().unwrap_or_default());
            resources.push(Element::new("clone").with("id", id).with_child(primitive.clone()));
        }
        let mut constraints = Element::new("constraints");
        for group in &self.groups {
            let mut e = Element::new("group").with("id", &group.id);
            group.members.iter().for_each(|m| e.push(m.clone()));
            set_pairs(&mut e, "meta_attributes", &format!("{}-meta_attributes", group.id), &group.meta);
            resources.push(e);
            for (node, score) in &group.prefers {
                constraints.push(location(&group.id, "prefers", node, &score.to_string()));
            }
        }
        for (device, target) in &self.devices {
            constraints.push(location(device.id().unwrap_or_default(), "avoids", target, "-INFINITY"));
            resources.push(device.clone());
        }
        let mut configuration = Element::new("configuration")
            .with_child(crm_config)
            .with_child(Element::new("nodes"))
            .with_child(resources)
            .with_child(constraints);
        let mut defaults = vec![("migration-threshold".to_owned(), "3".to_owned())];
        defaults.extend(self.stickiness.map(|s| ("resource-stickiness".to_owned(), s.to_string())));
        let mut rsc_defaults = Element::new("rsc_defaults");
        set_pairs(&mut rsc_defaults, "meta_attributes", "rsc-defaults", &defaults);
        configuration.push(rsc_defaults);
        configuration
    }

    /// A document that `cibadmin --replace` takes.
    pub fn document(&self) -> Element {
        Element::new("cib")
            .with("crm_feature_set", "3.20.0")
            .with("validate-with", "pacemaker-4.0")
            .with("admin_epoch", "0")
            .with("epoch", "1")
            .with("num_updates", "0")
            .with_child(self.element())
            .with_child(Element::new("status"))
    }
}

fn location(resource: &str, verb: &str, node: &str, score: &str) -> Element {
    let id = as_id(&format!("{resource}-{verb}-{node}"));
    Element::new("rsc_location").with("id", id).with("rsc", resource).with("node", node).with("score", score)
}

/// `params` without a value are left out.
pub fn primitive(id: &str, agent: &str, params: &[(&str, &str)], ops: &[&[(&str, &str)]]) -> Result<Element, Failure> {
    let owned = |pairs: &[(&str, &str)]| -> Pairs {
        let given = pairs.iter().filter(|(_, v)| !v.is_empty());
        given.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let operations = ops.iter().map(|op| ("monitor".to_owned(), owned(op))).collect();
    NewPrimitive { id, agent, params: owned(params), meta: Vec::new(), operations }.element()
}

/// Kernel settings of every director.
pub fn settings(topology: &str) -> Result<Element, Failure> {
    let params = [("topology", topology)];
    primitive(
        "director-settings",
        "ocf:bascule:director-settings",
        &params,
        &[&[("interval", "30s"), ("timeout", "20s")]],
    )
}

/// Connections of the other director.
pub fn sync(id: &str, interface: &str, sync_id: &str) -> Result<Element, Failure> {
    let params = [("interface", interface), ("syncid", sync_id)];
    let active = [("interval", "10s"), ("timeout", "10s")];
    let standby = [("interval", "11s"), ("timeout", "10s"), ("role", "Stopped")];
    primitive(id, "ocf:bascule:ipvs-sync", &params, &[&active, &standby])
}

/// The table and its checks.
pub fn director(id: &str, file: &str) -> Result<Element, Failure> {
    let params = [("configfile", file)];
    primitive(id, "ocf:heartbeat:ldirectord", &params, &[&[("interval", "10s"), ("timeout", "20s")]])
}

/// A virtual address; `prefix` and `interface` may be empty.
pub fn address(id: &str, ip: &str, prefix: &str, interface: &str) -> Result<Element, Failure> {
    let params = [("ip", ip), ("cidr_netmask", prefix), ("nic", interface)];
    primitive(id, "ocf:heartbeat:IPaddr2", &params, &[&[("interval", "5s"), ("timeout", "5s")]])
}
