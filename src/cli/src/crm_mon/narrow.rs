//! `--node` and `--resource`: only what concerns them, by name or by tag.

use super::{CrmMon, View};
use base::exit::OcfCode;
use base::ids::same_node;
use scheduler::status::{Cluster, FailedAction, Node, Resource, ResourceKind};
use xml::Element;

/// What is shown; `None` is everything.
#[derive(Clone, Default, Debug)]
pub struct Only {
    /// Names of nodes.
    nodes: Option<Vec<String>>,
    /// Ids of resources, and of all that belongs to them.
    resources: Option<Vec<String>>,
    /// Ids of resources that were asked for.
    asked: Option<Vec<String>>,
    /// All resources, where not all are shown.
    whole: Option<Vec<Resource>>,
}

impl Only {
    pub fn node(&self, name: &str) -> bool {
        self.nodes.as_ref().is_none_or(|all| all.iter().any(|n| same_node(n, name)))
    }

    /// A resource by what history and constraints call it.
    pub fn resource(&self, id: &str) -> bool {
        self.resources.as_ref().is_none_or(|all| all.iter().any(|n| n == id))
    }

    /// Whether a part of something is asked for that `r` holds, and not `r` itself.
    pub fn is_part_of(&self, r: &Resource) -> bool {
        self.asked.as_ref().is_some_and(|all| !all.iter().any(|n| *n == r.id || *n == r.name))
    }
}

impl View<'_> {
    /// All resources of the cluster, whichever are shown.
    pub fn all_resources(&self) -> &[Resource] {
        self.only.whole.as_deref().unwrap_or(&self.cluster.resources)
    }

    /// The failures of what is shown.
    pub fn failures(&self) -> impl Iterator<Item = &FailedAction> {
        let shown = |f: &&FailedAction| {
            !f.is_masked_probe()
                && self.only.node(&f.node)
                && self.only.resource(f.resource.split(':').next().unwrap_or_default())
        };
        self.cluster.failures.iter().filter(shown)
    }

    /// What keeps a stopped resource from running, in words, if a probe found that.
    pub fn failed_probe(&self, r: &Resource) -> Option<&'static str> {
        let of = |f: &&FailedAction| {
            let at = r.active_on.is_empty() || r.active_on.contains(&f.node);
            let of = f.key.strip_suffix("_monitor_0");
            f.is_masked_probe() && at && (of == Some(&r.id) || of == Some(&r.name))
        };
        self.cluster.failures.iter().find(of).map(|f| OcfCode(f.rc).title())
    }

    /// The same with only what the options ask for. Counts and the coordinator stay those of the whole cluster.
    pub fn narrow(&mut self, options: &CrmMon) {
        let nodes = options.node.as_ref().map(|asked| nodes_of(self.cib, &self.cluster, asked));
        let asked = options.resource.as_ref().map(|asked| tagged(self.cib, asked));
        let mut only = Only { nodes, resources: asked.clone(), asked, whole: None };
        if only.nodes.is_none() && only.resources.is_none() {
            return;
        }
        let whole = std::mem::take(&mut self.cluster.resources);
        self.cluster.resources = whole.iter().filter_map(|r| kept(r, &only, false)).collect();
        // History and constraints know the parts and the wholes by their ids; a bundle's parts have one history.
        if let Some(ids) = &mut only.resources {
            for shown in &self.cluster.resources {
                let all = whole.iter().find(|r| r.id == shown.id && matches!(r.kind, ResourceKind::Bundle { .. }));
                below(all.unwrap_or(shown), ids);
            }
        }
        only.whole = Some(whole);
        self.only = only;
    }
}

/// The nodes that a name or a tag stands for; none where it stands for none.
fn nodes_of(cib: &Element, cluster: &Cluster, asked: &str) -> Vec<String> {
    let refs = tagged(cib, asked);
    let meant = |n: &&Node| refs.iter().any(|r| same_node(r, &n.name) || *r == n.id);
    cluster.nodes.iter().filter(meant).map(|n| n.name.clone()).collect()
}

/// What a tag refers to; a name that is no tag is itself.
fn tagged(cib: &Element, asked: &str) -> Vec<String> {
    let tags = cib.child("configuration").and_then(|c| c.child("tags"));
    let tag = tags.and_then(|t| t.elements().find(|e| e.id() == Some(asked)));
    match tag {
        Some(tag) => tag.elements_named("obj_ref").filter_map(|r| r.id().map(str::to_owned)).collect(),
        None => vec![asked.to_owned()],
    }
}

fn below(r: &Resource, ids: &mut Vec<String>) {
    for id in [&r.id, &r.name] {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    r.children.iter().for_each(|c| below(c, ids));
}

/// Without what is not shown; `None` where nothing is left. What runs nowhere is on no other node either.
fn kept(r: &Resource, only: &Only, within: bool) -> Option<Resource> {
    let named = |ids: &Vec<String>| ids.iter().any(|id| *id == r.id || *id == r.name);
    let meant = within || only.resources.as_ref().is_none_or(named);
    let mut copy = r.clone();
    copy.active_on.retain(|n| only.node(n));
    copy.pending_on = copy.pending_on.filter(|n| only.node(n));
    let elsewhere = copy.active_on.is_empty() && !r.active_on.is_empty();
    if elsewhere && only.nodes.is_some() {
        return None;
    }
    if let ResourceKind::Primitive { .. } = r.kind {
        return meant.then_some(copy);
    }
    if let ResourceKind::Bundle { replicas, .. } = &mut copy.kind {
        let mut rest = &r.children[..];
        copy.children.clear();
        for replica in replicas {
            let (parts, others) = rest.split_at(replica.parts.min(rest.len()));
            rest = others;
            let here = replica.node.as_ref().is_none_or(|n| only.node(n));
            // Its service runs on the node that the container is.
            let by_name = Only { nodes: None, ..only.clone() };
            let shown: Vec<Resource> = parts.iter().filter(|_| here).filter_map(|p| kept(p, &by_name, meant)).collect();
            replica.parts = shown.len();
            copy.children.extend(shown);
        }
        return (!copy.children.is_empty()).then_some(copy);
    }
    copy.children = r.children.iter().filter_map(|c| kept(c, only, meant)).collect();
    (!copy.children.is_empty()).then_some(copy)
}
