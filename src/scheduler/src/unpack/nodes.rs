//! Nodes: configured ones, and those that remote connections and guests bring.

use crate::model::nvpair::Blocks;
use crate::model::rules::RuleInput;
use crate::model::{Assign, Index, Map, Node, NodeIdx, RscIdx, Sched, Str, flags};
use base::WallTime;
use base::text::natural_cmp;
use xml::Element;

impl Sched {
    pub(super) fn unpack_nodes(&mut self, section: Option<&Element>, index: &Index<'_>, now: WallTime) {
        for e in section.into_iter().flat_map(|s| s.elements_named("node")) {
            let Some(id) = e.id() else {
                self.error("Ignoring <node> entry in configuration without id");
                continue;
            };
            let score = e.attr("score").and_then(|t| self.score_of(t)).unwrap_or(0);
            let remote = match e.attr("type") {
                None => false,
                Some(t) if t.eq_ignore_ascii_case("member") => false,
                Some(t) if t.eq_ignore_ascii_case("remote") => true,
                Some(t) => {
                    self.error(format!(
                        "Ignoring node {} with unrecognized type '{t}'",
                        e.attr("uname").unwrap_or("without name")
                    ));
                    return;
                }
            };
            let node = self.create_node(id, e.attr("uname").unwrap_or_default(), remote, score);
            self.handle_startup_fencing(node);
            self.add_node_attrs(e, node, false, index, now);
        }
    }

    pub(super) fn create_node(&mut self, id: &str, name: &str, remote: bool, score: i32) -> NodeIdx {
        if self.find_node(name).is_some() {
            self.warn(format!("More than one node entry has name '{name}'"));
        }
        let node = NodeIdx(self.nodes.len() as u32);
        let mut attrs = Map::new();
        attrs.insert("#kind".into(), if remote { "remote" } else { "cluster" }.into());
        self.have_remote_nodes |= remote;
        self.nodes.push(Node {
            id: id.into(),
            name: name.into(),
            is_remote_kind: remote,
            base: Assign { score, ..Default::default() },
            attrs,
            utilization: Map::new(),
            remote: None,
            online: false,
            unclean: false,
            pending: false,
            shutdown: false,
            maintenance: false,
            standby: false,
            fail_standby: false,
            expected_up: false,
            seen: false,
            unpacked: false,
            probes_allowed: true,
            remote_reset: false,
            remote_fenced: false,
            remote_maint: false,
            running: Vec::new(),
            num_resources: 0,
            priority: 0,
        });
        self.node_by_name.entry(name.to_ascii_lowercase()).or_insert(node);
        self.node_by_id.entry(id.to_ascii_lowercase()).or_insert(node);
        let at = self.node_order.partition_point(|n| natural_cmp(&self[*n].name, name).is_lt());
        self.node_order.insert(at, node);
        node
    }

    /// A node that has not been seen yet is unclean, unless the operator trusts in luck.
    pub(super) fn handle_startup_fencing(&mut self, node: NodeIdx) {
        if self[node].is_remote_kind && self[node].remote.is_none() {
            return;
        }
        self[node].unclean = self.options.startup_fencing;
    }

    /// Built-in and configured (or transient, which `overwrite`) attributes of a node.
    pub(super) fn add_node_attrs(
        &mut self,
        e: &Element,
        node: NodeIdx,
        overwrite: bool,
        index: &Index<'_>,
        now: WallTime,
    ) {
        let (name, id) = (self[node].name.clone(), self[node].id.clone());
        let is_dc_id = self.dc_id.as_ref().is_some_and(|dc| dc.eq_ignore_ascii_case(&id));
        if self.dc.is_none() && is_dc_id {
            self.dc = Some(node);
        }
        let is_dc = self.dc == Some(node);
        let cluster = self.options.raw.get("cluster-name").cloned();
        let attrs = &mut self[node].attrs;
        attrs.insert("#uname".into(), name);
        attrs.insert("#id".into(), id);
        attrs.insert("#is_dc".into(), if is_dc { "true" } else { "false" }.into());
        if let Some(cluster) = &cluster {
            attrs.insert("#cluster-name".into(), cluster.clone());
        }
        let input = RuleInput { now: self.now, ..Default::default() };
        let blocks = Blocks::read(e, "instance_attributes", None, index, now);
        let mut values = if overwrite { Map::new() } else { std::mem::take(&mut self[node].attrs) };
        self.unpack_blocks(&blocks, &input, &mut values);
        for (name, value) in values.iter() {
            self[node].attrs.insert(name.clone(), value.clone());
        }
        let blocks = Blocks::read(e, "utilization", None, index, now);
        let mut utilization = std::mem::take(&mut self[node].utilization);
        self.unpack_blocks(&blocks, &input, &mut utilization);
        self[node].utilization = utilization;
        if !self[node].attrs.contains_key("#site-name") {
            let site: Option<Str> = self[node].attrs.get("site-name").cloned().or(cluster);
            if let Some(site) = site {
                self[node].attrs.insert("#site-name".into(), site);
            }
        }
    }

    /// Creates the nodes that remote connections and guests bring, and returns the implied connections of guests.
    pub(super) fn unpack_remote_nodes(&mut self, section: &Element) -> Vec<Element> {
        let mut extra = Vec::new();
        for e in section.elements() {
            if is_remote_element(e) {
                if let Some(id) = e.id().filter(|id| self.find_node(id).is_none()) {
                    self.create_node(id, id, true, 0);
                }
            } else if e.name() == "primitive" {
                self.expand_guest(e, &mut extra);
            } else if e.name() == "group" {
                for member in e.elements() {
                    self.expand_guest(member, &mut extra);
                }
            }
        }
        extra
    }

    fn expand_guest(&mut self, e: &Element, extra: &mut Vec<Element>) {
        let meta = |wanted: &str| {
            let pairs = e.elements_named("meta_attributes").flat_map(Element::elements);
            pairs.filter(|p| p.attr("name") == Some(wanted)).filter_map(|p| p.attr("value")).next_back()
        };
        let Some(name) = meta("remote-node") else { return };
        extra.push(remote_element(
            name,
            e.id(),
            meta("remote-allow-migrate"),
            meta("is-managed"),
            Some(meta("remote-connect-timeout").unwrap_or("60s")),
            meta("remote-addr"),
            meta("remote-port"),
        ));
        if self.find_node(name).is_none() {
            self.create_node(name, name, true, 0);
        }
    }

    /// Ties a connection resource to the node that it connects to.
    pub(super) fn link_remote_node(&mut self, rsc: RscIdx) {
        if !self[rsc].is(flags::rsc::REMOTE_CONNECTION) {
            return;
        }
        let id = self[rsc].id.clone();
        let Some(node) = self.find_node(&id) else { return };
        self[node].remote = Some(rsc);
        if self[rsc].launcher.is_none() {
            self.handle_startup_fencing(node);
        } else {
            self[node].attrs.insert("#kind".into(), "container".into());
        }
    }

    /// Value of a node attribute; with the target `host`, a guest's host answers.
    pub fn node_attr(&self, node: NodeIdx, name: &str, target: Option<&str>, assigned: bool) -> Option<&Str> {
        if !self.is_guest(node) || !target.is_some_and(|t| t.eq_ignore_ascii_case("host")) {
            return self[node].attrs.get(name);
        }
        let container = self.guest_launcher(node)?;
        let host = if assigned { self[container].assigned?.node } else { *self[container].active_nodes.first()? };
        self[host].attrs.get(name)
    }

    pub fn shutdown_requested(&self, node: NodeIdx) -> bool {
        self[node].attrs.get("shutdown").is_some_and(|v| &**v != "0")
    }
}

fn is_remote_element(e: &Element) -> bool {
    let is = |name: &str, word: &str| e.attr(name).is_some_and(|v| v.eq_ignore_ascii_case(word));
    is("type", "remote") && is("class", "ocf") && is("provider", "pacemaker")
}

fn pair(name: &str, value: &str) -> Element {
    Element::new("nvpair").with("id", name).with("name", name).with("value", value)
}

/// The connection resource of a guest node.
pub(super) fn remote_element(
    name: &str,
    container: Option<&str>,
    allow_migrate: Option<&str>,
    managed: Option<&str>,
    start_timeout: Option<&str>,
    server: Option<&str>,
    port: Option<&str>,
) -> Element {
    let mut meta = Element::new("meta_attributes")
        .with("id", format!("{name}-meta_attributes"))
        .with_child(pair("internal_rsc", "true"));
    for (key, value) in [("container", container), ("allow-migrate", allow_migrate), ("is-managed", managed)] {
        if let Some(value) = value {
            meta.push(pair(key, value));
        }
    }
    let mut e = Element::new("primitive")
        .with("id", name)
        .with("class", "ocf")
        .with("provider", "pacemaker")
        .with("type", "remote");
    e.push(meta);
    if server.is_some() || port.is_some() {
        let mut attrs = Element::new("instance_attributes").with("id", format!("{name}-instance_attributes"));
        for (key, value) in [("addr", server), ("port", port)] {
            if let Some(value) = value {
                attrs.push(pair(key, value));
            }
        }
        e.push(attrs);
    }
    let op = |task: &str, interval: &str, timeout: &str| {
        Element::new("op")
            .with("id", format!("{name}-{task}-{interval}"))
            .with("interval", interval)
            .with("name", task)
            .with("timeout", timeout)
    };
    let mut ops = Element::new("operations").with_child(op("monitor", "30s", "30s"));
    if let Some(timeout) = start_timeout {
        ops.push(op("start", "0", timeout));
    }
    e.push(ops);
    e
}
