//! Digests of parameters: how a changed configuration is noticed.

use crate::model::config::caps;
use crate::model::rules::compare_versions;
use crate::model::{Map, NodeIdx, RscIdx, Sched, Str};
use crate::unpack::FEATURE_SET;
use crate::unpack::history::{OpEntry, OpRef};
use md5::{Digest, Md5};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

/// How recorded parameters compare with the configured ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Match {
    Unknown,
    Same,
    Mismatch,
    /// Parameters differ that need a restart.
    Restart,
}

/// Digests of one operation's parameters.
#[derive(Clone, Debug)]
pub struct Digests {
    pub all: String,
    pub secure: String,
    pub restart: Option<String>,
    /// The operation has parameters of its own, and does not recur.
    pub own_params: bool,
}

/// What digests are made of: an operation, and the entry of the history that they are to be compared with.
pub(crate) struct Subject<'a> {
    pub rsc: RscIdx,
    pub task: &'a str,
    pub interval_ms: u64,
    pub node: NodeIdx,
    pub entry: Option<&'a OpEntry>,
}

impl<'a> Subject<'a> {
    fn of(rsc: RscIdx, node: NodeIdx, entry: &'a OpEntry) -> Subject<'a> {
        Subject { rsc, task: entry.task(), interval_ms: entry.interval_ms, node, entry: Some(entry) }
    }
}

/// MD5 of the sorted attributes as an element of the name.
pub fn digest_params(params: &BTreeMap<String, String>) -> String {
    digest_text(&xml::digest_form("parameters", params.iter().map(|(n, v)| (n.as_str(), v.as_str()))))
}

fn digest_text(text: &str) -> String {
    let mut out = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// `CRM_meta_` name of a meta-attribute.
pub fn meta_name(name: &str) -> String {
    format!("CRM_meta_{}", name.replace('-', "_"))
}

/// Takes out what the cluster adds by itself; a recurring operation's timeout counts.
pub fn filter_params(params: &mut BTreeMap<String, String>) {
    let recurring = params.get("CRM_meta_interval").and_then(|v| base::text::parse_int(v)).unwrap_or(0) > 0;
    let timeout = params.get("CRM_meta_timeout").cloned().filter(|_| recurring);
    let dropped = ["id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"];
    params.retain(|name, _| !name.starts_with("CRM_meta_") && !dropped.contains(&name.as_str()));
    if let Some(timeout) = timeout {
        params.insert("CRM_meta_timeout".into(), timeout);
    }
}

/// Parameters that the cluster itself uses for fence devices.
fn is_fence_param(name: &str) -> bool {
    if name == "provides" || name == "stonith-timeout" {
        return true;
    }
    let Some(rest) = name.strip_prefix("pcmk_") else { return false };
    let known = ["action_limit", "delay_base", "delay_max", "host_argument", "host_check", "host_list", "host_map"];
    known.contains(&rest)
        || rest.split_once('_').is_some_and(|(_, what)| matches!(what, "action" | "timeout" | "retries"))
}

fn add(params: &mut BTreeMap<String, String>, map: &Map) {
    for (name, value) in map.iter() {
        params.entry(name.to_string()).or_insert_with(|| value.to_string());
    }
}

impl Sched {
    /// All parameters of the operation, those given taking the place of the configured ones; and whether it has ones of its own.
    pub(crate) fn all_params(
        &mut self,
        of: &Subject<'_>,
        given: &BTreeMap<String, String>,
    ) -> (BTreeMap<String, String>, bool) {
        let Subject { rsc, task, interval_ms, node, .. } = *of;
        let params = self.params(rsc, Some(node));
        let mut all = given.clone();
        if let Some(name) = self.bundle_remote_name(rsc) {
            all.insert("addr".to_owned(), name.to_string());
        }
        add(&mut all, &params);
        let config = self.find_op_config(rsc, task, interval_ms, true);
        let own = config.as_ref().map(|c| self.op_params(c, node)).unwrap_or_default();
        let own_params = interval_ms == 0 && !own.is_empty();
        add(&mut all, &own);
        let meta = self.action_meta(rsc, Some(node), task, interval_ms, config.as_deref());
        for (name, value) in meta.iter() {
            if !name.contains(['#', ':']) {
                all.entry(meta_name(name)).or_insert_with(|| value.to_string());
            }
        }
        filter_params(&mut all);
        (all, own_params)
    }

    /// Those of `all` that need a restart when they change, if the history tells which.
    pub(crate) fn restart_params(
        all: &BTreeMap<String, String>,
        entry: Option<&OpEntry>,
    ) -> Option<BTreeMap<String, String>> {
        entry.filter(|e| e.restart_digest.is_some()).map(|e| {
            let mut kept = all.clone();
            if let Some(list) = &e.force_restart {
                kept.retain(|name, _| list.split(' ').any(|n| n == name));
            }
            kept
        })
    }

    fn calculate(&mut self, of: &Subject<'_>, secure: bool) -> Digests {
        let (all, own_params) = self.all_params(of, &BTreeMap::new());
        let secure = if secure { digest_params(&self.secure_params(of, &all)) } else { String::new() };
        let restart = Self::restart_params(&all, of.entry).map(|kept| digest_params(&kept));
        Digests { all: digest_params(&all), secure, restart, own_params }
    }

    /// Those of `all` that are no secrets.
    pub(crate) fn secure_params(
        &mut self,
        of: &Subject<'_>,
        all: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let Subject { rsc, node, entry, .. } = *of;
        let params = self.params(rsc, Some(node));
        let version = entry.and_then(|e| e.feature_set.clone()).or_else(|| self.feature_set.clone());
        let version = version.as_deref();
        let old = compare_versions(version.unwrap_or(FEATURE_SET), "3.16.0") == Ordering::Less;
        let list = match entry {
            None => Some(Str::from(" passwd password user ")),
            Some(e) => e.secure_params.clone(),
        };
        let mut kept = if old {
            let mut kept = BTreeMap::new();
            add(&mut kept, &params);
            kept
        } else {
            all.clone()
        };
        if let Some(list) = list {
            kept.retain(|name, _| !list.split(' ').any(|n| n == name));
        }
        if old && caps::fence_params(self[rsc].conf.class()) {
            kept.retain(|name, _| !is_fence_param(name));
        }
        filter_params(&mut kept);
        if old {
            kept.remove("CRM_meta_timeout");
        }
        kept
    }

    fn cached_digests(&mut self, of: &Subject<'_>, secure: bool) -> Rc<Digests> {
        let cache_key = (of.node, self.key(of.rsc, of.task, of.interval_ms));
        if let Some(known) = self.digest_cache.get(&cache_key) {
            return Rc::clone(known);
        }
        let made = Rc::new(self.calculate(of, secure));
        self.digest_cache.insert(cache_key, Rc::clone(&made));
        made
    }

    /// Compares what a history entry recorded with the configuration as it is now.
    pub fn compare_digest(&mut self, rsc: RscIdx, node: NodeIdx, at: OpRef) -> Match {
        let entry = self.history.op(at).clone();
        let digests = self.cached_digests(&Subject::of(rsc, node, &entry), self.sanitized);
        if let (Some(now), Some(then)) = (&digests.restart, &entry.restart_digest)
            && **now != **then
        {
            return Match::Restart;
        }
        match &entry.digest {
            None => Match::Unknown,
            Some(d) if **d == *digests.all => Match::Same,
            Some(_) if entry.interval_ms == 0 && digests.own_params => Match::Restart,
            Some(_) => Match::Mismatch,
        }
    }

    /// True if the entry differs from the configuration only in parameters that are blanked out.
    pub fn only_secrets_changed(&mut self, rsc: RscIdx, node: NodeIdx, at: OpRef) -> bool {
        if !self.sanitized || self.compare_digest(rsc, node, at) == Match::Same {
            return false;
        }
        let entry = self.history.op(at).clone();
        let digests = self.cached_digests(&Subject::of(rsc, node, &entry), true);
        entry.secure_digest.is_some_and(|d| *d == *digests.secure)
    }

    /// Compares a fence device's parameters with those of the last unfencing of the node.
    pub fn compare_fencing_digest(&mut self, rsc: RscIdx, agent: &str, node: NodeIdx) -> (Match, Rc<Digests>) {
        let unfencing = Subject { rsc, task: "stonith-on", interval_ms: 0, node, entry: None };
        let digests = self.cached_digests(&unfencing, true);
        let Some(known) = self[node].attrs.get("#digests-all").cloned() else { return (Match::Unknown, digests) };
        let id = self[rsc].id.clone();
        let recorded = |summary: &str, digest: &str| summary.contains(&format!("{id}:{agent}:{digest}"));
        if recorded(&known, &digests.all) {
            return (Match::Same, digests);
        }
        let secure = self[node].attrs.get("#digests-secure").cloned();
        if secure.is_some_and(|s| recorded(&s, &digests.secure)) {
            let text = format!("Only 'private' parameters to {id} for unfencing {} changed", self[node].name);
            self.info.push(text);
            return (Match::Same, digests);
        }
        (Match::Mismatch, digests)
    }
}
