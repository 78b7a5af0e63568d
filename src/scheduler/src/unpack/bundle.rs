//! Bundles: containers, addresses and connections that a `<bundle>` implies.

use super::nodes::remote_element;
use crate::explain::ledger::{Change, Source};
use crate::model::config::{Agent, BundleConfig, Mount, Reader};
use crate::model::flags::rsc as rf;
use crate::model::{Assign, INFINITY, Index, NodeIdx, NodeTable, ProbeMode, Replica, RscIdx, Sched};
use base::WallTime;
use base::text::parse_int;
use std::fmt::Write;
use std::rc::Rc;
use xml::Element;

const REMOTE_PORT: &str = "3121";
const REMOTE_KEY: &str = "/etc/pacemaker/authkey";
const REMOTE_DAEMON: &str = "/usr/sbin/pacemaker-remoted";
const LOG_DIR: &str = "/var/log/pacemaker/bundles";
/// Most replicas that one bundle may have.
const MAX_REPLICAS: i64 = 250;

fn at_least(text: Option<&str>, minimum: i64) -> i32 {
    text.and_then(parse_int).unwrap_or(minimum).clamp(minimum, MAX_REPLICAS) as i32
}

fn pair(name: &str, value: &str) -> Element {
    Element::new("nvpair").with("id", name).with("name", name).with("value", value)
}

/// An id in which everything that XML does not allow is a point.
fn sanitized(id: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut out: String = id.chars().map(|c| if fits(c) { c } else { '.' }).collect();
    if out.starts_with(|c: char| !(c.is_alphabetic() || c == '_')) {
        out.replace_range(..1, "_");
    }
    out
}

fn next_ip(last: &str) -> Option<String> {
    let octets: Vec<u32> = last.split('.').map(|o| o.parse().ok()).collect::<Option<_>>()?;
    let [a, b, mut c, mut d] = octets[..] else { return None };
    if c > 253 {
        return None;
    }
    if d > 253 {
        c += 1;
        d = 1;
    } else {
        d += 1;
    }
    Some(format!("{a}.{b}.{c}.{d}"))
}

/// What all replicas of one bundle share while they are made.
struct Plan {
    conf: BundleConfig,
    prefix: String,
    max: i32,
    per_host: i32,
    promoted_max: i32,
    mounts: Vec<Mount>,
    ports: Vec<(String, String)>,
    host_options: String,
}

impl Plan {
    /// Instances can be reached: they have addresses, or a port each on their host.
    fn has_network(&mut self) -> bool {
        if self.conf.ip_range_start.is_some() {
            return true;
        }
        if self.conf.control_port.is_some() {
            self.per_host = self.per_host.min(1);
            return true;
        }
        false
    }

    /// Addresses of all replicas, and the host entries that they need.
    fn addresses(&mut self) -> Vec<Option<String>> {
        let Some(first) = self.conf.ip_range_start.clone() else { return vec![None; self.max as usize] };
        let mut last = Some(first);
        let mut all = Vec::new();
        for offset in 0..self.max {
            let ip = last.clone();
            if let Some(ip) = &ip {
                let _ = if self.conf.add_host {
                    write!(self.host_options, " --add-host={}-{offset}:{ip}", self.prefix)
                } else {
                    write!(self.host_options, " --hosts-entry={ip}={}-{offset}", self.prefix)
                };
            }
            last = ip.as_deref().and_then(next_ip);
            all.push(ip);
        }
        all
    }

    fn agent(&self) -> &'static str {
        match self.conf.agent {
            Agent::Docker => "docker",
            Agent::Podman => "podman",
        }
    }

    /// `run_opts` and `mount_points` of one container.
    fn run_options(&self, offset: i32, ip: Option<&str>) -> (String, String) {
        let (mut run, mut points) = (String::new(), String::new());
        if self.conf.agent == Agent::Docker {
            run.push_str(" --restart=no");
        }
        if self.conf.ip_range_start.is_some() {
            let _ = write!(run, " -h {}-{offset}", self.prefix);
        }
        run.push_str(" -e PCMK_stderr=1");
        if let Some(network) = &self.conf.network {
            let _ = write!(run, " --net={network}");
        }
        let _ = write!(run, " -e PCMK_remote_port={}", self.conf.control_port.as_deref().unwrap_or(REMOTE_PORT));
        for mount in &self.mounts {
            let mut source = mount.source.clone();
            if mount.subdir {
                let _ = write!(source, "/{}-{offset}", self.prefix);
                if !points.is_empty() {
                    points.push(',');
                }
                points.push_str(&source);
            }
            let _ = write!(run, " -v {source}:{}", mount.target);
            if let Some(options) = &mount.options {
                let _ = write!(run, ":{options}");
            }
        }
        for (source, target) in &self.ports {
            if let Some(ip) = ip {
                let _ = write!(run, " -p {ip}:{source}:{target}");
            } else if self.conf.network.as_deref() != Some("host") {
                let _ = write!(run, " -p {source}:{target}");
            }
        }
        if let Some(options) = &self.conf.options {
            let _ = write!(run, " {options}");
        }
        if self.max > 0 {
            let _ = write!(run, " {}", self.host_options);
        }
        (run, points)
    }

    fn container(&self, offset: i32, ip: Option<&str>, has_child: bool) -> Element {
        let id = sanitized(&format!("{}-{}-{offset}", self.prefix, self.agent()));
        let (run, points) = self.run_options(offset, ip);
        let mut attrs = Element::new("instance_attributes").with("id", format!("{}-attributes-{offset}", self.prefix));
        if let Some(image) = &self.conf.image {
            attrs.push(pair("image", image));
        }
        attrs.push(pair("allow_pull", "true"));
        attrs.push(pair("force_kill", "false"));
        attrs.push(pair("reuse", "false"));
        attrs.push(pair("run_opts", &run));
        attrs.push(pair("mount_points", &points));
        match &self.conf.run_command {
            Some(command) => attrs.push(pair("run_cmd", command)),
            None if has_child => attrs.push(pair("run_cmd", REMOTE_DAEMON)),
            None => {}
        }
        attrs.push(pair("monitor_cmd", "/bin/true"));
        primitive(&id, self.agent(), attrs)
    }

    fn address(&self, offset: i32, ip: &str) -> Element {
        let id = sanitized(&format!("{}-ip-{ip}", self.prefix));
        let mut attrs = Element::new("instance_attributes").with("id", format!("{}-attributes-{offset}", self.prefix));
        attrs.push(pair("ip", ip));
        if let Some(nic) = &self.conf.host_interface {
            attrs.push(pair("nic", nic));
        }
        attrs.push(pair("cidr_netmask", self.conf.host_netmask.as_deref().unwrap_or("32")));
        primitive(&id, "IPaddr2", attrs)
    }

    /// The clone that stands for what runs inside the containers.
    fn clone_element(&self) -> Element {
        let suffix = if self.promoted_max > 0 { "master" } else { "clone" };
        let mut meta = Element::new("meta_attributes").with("id", format!("{}-clone-meta", self.prefix));
        meta.push(pair("ordered", "true"));
        meta.push(pair("clone-max", &self.max.to_string()));
        meta.push(pair("clone-node-max", &self.per_host.to_string()));
        meta.push(pair("globally-unique", if self.per_host > 1 { "true" } else { "false" }));
        if self.promoted_max > 0 {
            meta.push(pair("promotable", "true"));
            meta.push(pair("promoted-max", &self.promoted_max.to_string()));
        }
        Element::new("clone").with("id", format!("{}-{suffix}", self.prefix)).with_child(meta)
    }
}

fn primitive(id: &str, agent: &str, attrs: Element) -> Element {
    let op = Element::new("op").with("id", format!("{id}-monitor-60s")).with("interval", "60s").with("name", "monitor");
    let e =
        Element::new("primitive").with("id", id).with("class", "ocf").with("provider", "heartbeat").with("type", agent);
    e.with_child(attrs).with_child(Element::new("operations").with_child(op))
}

impl Sched {
    /// Unpacks an implied resource.
    fn implied(&mut self, e: &Element, parent: RscIdx) -> Option<RscIdx> {
        let nothing = Element::new("cib");
        let index = Index::new(&nothing);
        let mut reader =
            Reader { index: &index, templates: Vec::new(), now: WallTime::from_secs(self.now), problems: Vec::new() };
        let conf = reader.read(e)?;
        self.unpack_resource(conf, None, Some(parent))
    }

    pub(super) fn unpack_bundle(&mut self, rsc: RscIdx) -> bool {
        let Some(conf) = self[rsc].conf.bundle.clone() else { return false };
        let promoted_max = at_least(conf.promoted_max.as_deref(), 0);
        let max = match (&conf.replicas, promoted_max) {
            (None, n) if n > 0 => n,
            (replicas, _) => at_least(replicas.as_deref(), 1),
        };
        let mut plan = Plan {
            prefix: self[rsc].id.to_string(),
            max,
            per_host: at_least(conf.per_host.as_deref(), 1),
            promoted_max,
            mounts: conf.mounts.clone(),
            ports: conf.ports.clone(),
            host_options: String::new(),
            conf,
        };
        if plan.per_host == 1 {
            self.clear(rsc, rf::UNIQUE);
        }
        let child = self[rsc].conf.children.iter().find(|c| &*c.tag == "primitive").cloned();
        if let Some(child) = &child
            && !plan.has_network()
        {
            let id = self[rsc].id.clone();
            self.error(format!(
                "Cannot control {id} inside {} without either ip-range-start or control-port",
                child.id
            ));
            return false;
        }
        let inside = match child {
            None => None,
            Some(child) => match self.unpack_bundled(rsc, &mut plan, child) {
                Some(clone) => Some(clone),
                None => return false,
            },
        };
        let addresses = plan.addresses();
        let bundle = &mut self[rsc].bundle;
        (bundle.max, bundle.per_host, bundle.child) = (plan.max, plan.per_host, inside);
        bundle.image = plan.conf.image.clone().unwrap_or_default();
        let instances = inside.map(|c| self[c].children.clone()).unwrap_or_default();
        for (offset, ip) in addresses.into_iter().enumerate() {
            let child = instances.get(offset).copied();
            if inside.is_some() && child.is_none() {
                break;
            }
            if self.unpack_replica(rsc, &plan, offset as i32, ip, child).is_none() {
                let id = self[rsc].id.clone();
                self.error(format!("Failed unpacking resource {id}"));
                return false;
            }
        }
        if let Some(clone) = inside {
            self[rsc].children.push(clone);
        }
        true
    }

    fn unpack_bundled(
        &mut self,
        rsc: RscIdx,
        plan: &mut Plan,
        child: Rc<crate::model::config::RscConfig>,
    ) -> Option<RscIdx> {
        let e = plan.clone_element();
        let nothing = Element::new("cib");
        let index = Index::new(&nothing);
        let mut reader =
            Reader { index: &index, templates: Vec::new(), now: WallTime::from_secs(self.now), problems: Vec::new() };
        let mut conf = (*reader.read(&e)?).clone();
        conf.children.push(child);
        let clone = self.unpack_resource(Rc::new(conf), None, Some(rsc))?;
        let own_log = plan.mounts.iter().any(|m| m.target == "/var/log");
        let mount = |source: &str, target: &str, subdir| Mount {
            source: source.into(),
            target: target.into(),
            options: None,
            subdir,
        };
        plan.mounts.push(mount(REMOTE_KEY, REMOTE_KEY, false));
        if !own_log {
            plan.mounts.push(mount(LOG_DIR, "/var/log", true));
        }
        let port = plan.conf.control_port.clone().unwrap_or_else(|| REMOTE_PORT.into());
        plan.ports.push((port.clone(), port));
        let mut target = None;
        for instance in self[clone].children.clone() {
            self.set(instance, rf::EXCLUSIVE_PROBES);
            if self[instance].is(rf::NOTIFY) {
                self.set(clone, rf::NOTIFY);
            }
            target = self[instance].meta.get("container-attribute-target").cloned();
        }
        if let Some(target) = target {
            self[rsc].meta.insert("container-attribute-target".into(), target.clone());
            self[clone].meta.insert("container-attribute-target".into(), target);
        }
        Some(clone)
    }

    fn unpack_replica(
        &mut self,
        rsc: RscIdx,
        plan: &Plan,
        offset: i32,
        ip: Option<String>,
        child: Option<RscIdx>,
    ) -> Option<()> {
        let container = self.implied(&plan.container(offset, ip.as_deref(), child.is_some()), rsc)?;
        self.set(container, rf::REPLICA_CONTAINER);
        self[rsc].children.push(container);
        let mut address = None;
        if let Some(ip) = &ip {
            let made = self.implied(&plan.address(offset, ip), rsc)?;
            self[rsc].children.push(made);
            address = Some(made);
        }
        let mut replica = Replica {
            offset,
            ip_addr: ip.as_deref().map(Into::into),
            ip: address,
            child,
            container,
            remote: None,
            node: None,
        };
        if let Some(child) = child {
            self.unpack_replica_remote(rsc, plan, &mut replica, child)?;
            if let Some(ip) = &ip {
                self[child].insert_meta("external-ip", ip);
            }
            let inside = std::mem::take(&mut self[child].utilization);
            let outside = std::mem::replace(&mut self[container].utilization, inside);
            self[child].utilization = outside;
        }
        if let Some(remote) = replica.remote {
            self.set(remote, rf::REMOTE_NESTING);
        }
        self[rsc].bundle.replicas.push(replica);
        Some(())
    }

    /// The connection into a container, and the node that it makes.
    fn unpack_replica_remote(&mut self, rsc: RscIdx, plan: &Plan, replica: &mut Replica, child: RscIdx) -> Option<()> {
        let mut id = format!("{}-{}", plan.prefix, replica.offset);
        if self.find_resource(&id).is_some() {
            id = format!("pcmk-internal-{}-remote-{}", self[child].id, replica.offset);
        }
        let container_id = self[replica.container].id.clone();
        let server = replica.ip_addr.as_deref().unwrap_or("#uname");
        let port = plan.conf.control_port.as_deref().unwrap_or(REMOTE_PORT);
        let e = remote_element(&id, Some(&container_id), None, None, None, Some(server), Some(port));
        let node = match self.find_node(&id) {
            Some(node) => {
                self[node].base.score = -INFINITY;
                node
            }
            None => self.create_node(&id, &id, true, -INFINITY),
        };
        self[node].base.probe_mode = ProbeMode::Never;
        for top in self.top.clone() {
            self.disallow_node(top, node);
        }
        let exclusive = Assign { score: 500, count: 0, probe_mode: ProbeMode::Exclusive };
        let inside = Source::Own("__inside_container__");
        let mut only = NodeTable::default();
        only.insert(node, exclusive);
        self.record_table(child, &only, &inside);
        self[child].allowed = only;
        if let Some(clone) = self[child].parent {
            self[clone].allowed.insert(node, Assign { score: -INFINITY, ..exclusive });
            self.record(clone, node, Change::Set(-INFINITY), &inside);
        }
        let remote = self.implied(&e, rsc)?;
        for other in self[remote].allowed.nodes() {
            if self[other].is_remote_kind {
                self.set_score(remote, other, -INFINITY, &Source::Own("__no_remote_nodes__"));
            }
        }
        self[node].remote = Some(remote);
        self[remote].launcher = Some(replica.container);
        self[node].attrs.insert("#kind".into(), "container".into());
        self[rsc].children.push(remote);
        replica.remote = Some(remote);
        replica.node = Some(node);
        Some(())
    }

    fn disallow_node(&mut self, rsc: RscIdx, node: NodeIdx) {
        if let Some(assign) = self[rsc].allowed.get_mut(node) {
            assign.score = -INFINITY;
            assign.probe_mode = ProbeMode::Never;
            self.record(rsc, node, Change::Set(-INFINITY), &Source::Own("__inside_container__"));
        }
        for child in self[rsc].children.clone() {
            self.disallow_node(child, node);
        }
    }

    /// What runs inside the container.
    pub fn in_container(&self, instance: RscIdx) -> Option<RscIdx> {
        let top = self.top_of(instance, true);
        self[top].bundle.replicas.iter().find(|r| r.container == instance)?.child
    }

    /// The resource that a bundle (of which `rsc` is part) holds.
    pub fn bundled_resource(&self, rsc: RscIdx) -> Option<RscIdx> {
        self[self.top_of(rsc, true)].bundle.child
    }

    pub fn bundle_containers(&self, rsc: RscIdx) -> Vec<RscIdx> {
        self[rsc].bundle.replicas.iter().map(|r| r.container).collect()
    }

    /// A connection whose address is its host's name.
    pub fn needs_remote_name(&mut self, rsc: RscIdx) -> bool {
        self[rsc].conf.is_remote()
            && self.params(rsc, None).get("addr").is_some_and(|a| a.eq_ignore_ascii_case("#uname"))
    }

    /// The host name that stands for `#uname`.
    pub fn bundle_remote_name(&mut self, rsc: RscIdx) -> Option<crate::model::Str> {
        if !self.needs_remote_name(rsc) {
            return None;
        }
        let top = self.top_of(rsc, true);
        let container = self[top].bundle.replicas.iter().find(|r| r.remote == Some(rsc))?.container;
        let node = self[container].assigned.map(|a| a.node).or_else(|| self.current_node(container))?;
        Some(self[node].name.clone())
    }
}
