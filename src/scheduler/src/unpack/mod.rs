//! From the CIB to the model: configuration first, then what the nodes' histories say about the present.

mod bundle;
mod collective;
pub mod failures;
pub mod history;
mod migration;
mod nodes;
mod online;
mod operations;
mod resource;
mod state;

pub use state::ms_to_s as state_ms_to_s;

use crate::ScheduleError;
use crate::explain::ledger::Ledger;
use crate::model::config::Reader;
use crate::model::nvpair::Blocks;
use crate::model::options::{ClusterOptions, NoQuorum};
use crate::model::rules::{RuleInput, compare_versions};
use crate::model::{Index, Map, Sched, Str};
use base::WallTime;
use base::text::is_true;
use std::cmp::Ordering;
use std::rc::Rc;
use xml::Element;

/// The newest CIB feature set that is understood.
pub const FEATURE_SET: &str = "3.21.0";

impl Sched {
    /// Unpacks configuration and status: the cluster as it is.
    pub fn unpack(cib: &Element, now: WallTime) -> Result<Sched, ScheduleError> {
        Sched::unpack_with(cib, now, None)
    }

    /// The same, with a book of scores to be kept from the start.
    pub fn unpack_with(cib: &Element, now: WallTime, ledger: Option<Ledger>) -> Result<Sched, ScheduleError> {
        if cib.name() != "cib" {
            return Err(ScheduleError::NotACib(cib.name().to_owned()));
        }
        if let Some(set) = cib.attr("crm_feature_set")
            && compare_versions(set, FEATURE_SET) == Ordering::Greater
        {
            return Err(ScheduleError::FeatureSet(set.to_owned()));
        }
        let index = Index::new(cib);
        let configuration = cib.child("configuration");
        let section = |name: &str| configuration.and_then(|c| c.child(name));
        let mut s = Sched::empty(now);
        s.ledger = ledger;
        s.feature_set = cib.attr("crm_feature_set").map(Str::from);
        s.dc_id = cib.attr("dc-uuid").map(Str::from);
        s.quorate = cib.attr("have-quorum").is_some_and(is_true);
        s.op_defaults =
            section("op_defaults").map(|e| Blocks::read(e, "meta_attributes", None, &index, now)).unwrap_or_default();
        s.rsc_defaults =
            section("rsc_defaults").map(|e| Blocks::read(e, "meta_attributes", None, &index, now)).unwrap_or_default();
        s.unpack_options(cib, section("crm_config"), &index, now);
        s.unpack_nodes(section("nodes"), &index, now);
        s.unpack_resources(section("resources"), &index, now);
        s.unpack_tags(section("tags"));
        s.unpack_status(cib.child("status"), &index, now);
        s.count_instances();
        Ok(s)
    }

    fn empty(now: WallTime) -> Sched {
        Sched {
            now: now.secs(),
            options: ClusterOptions::default(),
            feature_set: None,
            dc_id: None,
            quorate: false,
            have_fencing: false,
            sanitized: false,
            have_remote_nodes: false,
            enable_unfencing: false,
            rsc_defaults: Blocks::default(),
            op_defaults: Blocks::default(),
            nodes: Vec::new(),
            node_order: Vec::new(),
            node_by_name: Default::default(),
            node_by_id: Default::default(),
            dc: None,
            resources: Vec::new(),
            top: Vec::new(),
            rsc_by_id: Default::default(),
            templates: Default::default(),
            tags: Default::default(),
            tickets: Default::default(),
            actions: Vec::new(),
            singletons: Default::default(),
            orderings: Vec::new(),
            colocations: Vec::new(),
            locations: Vec::new(),
            history: Default::default(),
            failed: Vec::new(),
            param_checks: Vec::new(),
            stop_needed: Vec::new(),
            recheck_by: None,
            scores: Vec::new(),
            ledger: None,
            messages: Vec::new(),
            info: Vec::new(),
            instances: 0,
            disabled: 0,
            blocked: 0,
            words: Default::default(),
            digest_cache: Default::default(),
            update_depth: 0,
            gathered: 0,
            left_out: 0,
        }
    }

    /// Evaluates blocks and remembers when the result may change.
    pub fn unpack_blocks(&mut self, blocks: &Blocks, input: &RuleInput<'_>, values: &mut Map) {
        let mut next = None;
        blocks.unpack(input, values, &mut next);
        if let Some(at) = next {
            self.update_recheck(at);
        }
    }

    fn unpack_options(&mut self, cib: &Element, crm_config: Option<&Element>, index: &Index<'_>, now: WallTime) {
        let mut raw = Map::new();
        if let Some(e) = crm_config {
            let blocks = Blocks::read(e, "cluster_property_set", Some("cib-bootstrap-options"), index, now);
            self.unpack_blocks(&blocks, &RuleInput { now: self.now, ..Default::default() }, &mut raw);
        }
        let panics = cib.attr("no-quorum-panic").and_then(base::text::parse_int).unwrap_or(0) != 0;
        let mut problems = Vec::new();
        self.options = ClusterOptions::read(raw, self.quorate, panics, &mut problems);
        for text in problems {
            self.error(text);
        }
        self.have_fencing = self.options.have_watchdog;
        self.enable_unfencing = asks_for_unfencing(cib);
        if !self.quorate && self.options.no_quorum != NoQuorum::Ignore {
            self.warn("Fencing and resource management disabled due to lack of quorum");
        }
    }

    fn unpack_resources(&mut self, section: Option<&Element>, index: &Index<'_>, now: WallTime) {
        let Some(section) = section else { return };
        let templates: Vec<&Element> = section.elements_named("template").collect();
        for template in &templates {
            if let Some(id) = template.id() {
                self.templates.entry(id.into()).or_default();
            }
        }
        let mut reader = Reader { index, templates, now, problems: Vec::new() };
        let mut extra = self.unpack_remote_nodes(section);
        for e in section.elements().filter(|e| e.name() != "template") {
            self.unpack_top_level(e, &mut reader);
        }
        for e in extra.drain(..) {
            self.unpack_top_level(&e, &mut reader);
        }
        for text in std::mem::take(&mut reader.problems) {
            self.error(text);
        }
        for rsc in self.top.clone() {
            self.unpack_launcher(rsc, 0);
            self.link_remote_node(rsc);
        }
        let mut top = std::mem::take(&mut self.top);
        top.sort_by_key(|r| std::cmp::Reverse(self[*r].priority));
        self.top = top;
        if self.options.fencing_enabled && !self.have_fencing {
            self.error(
                "Resource start-up disabled since no fencing resources have been defined. Either configure some or disable \
                 fencing with the fencing-enabled option. NOTE: Clusters with shared data need fencing to ensure data integrity.",
            );
        }
    }

    fn unpack_top_level(&mut self, e: &Element, reader: &mut Reader<'_>) {
        if !matches!(e.name(), "primitive" | "group" | "clone" | "bundle") {
            reader.problems.push(format!(
                "Ignoring resource '{}' of unknown type '{}'",
                e.id().unwrap_or_default(),
                e.name()
            ));
            return;
        }
        let Some(conf) = reader.read(e) else { return };
        match self.unpack_resource(Rc::clone(&conf), None, None) {
            Some(rsc) => self.top.push(rsc),
            None => {
                self.error(format!("Ignoring <{}> resource '{}' because configuration is invalid", conf.tag, conf.id))
            }
        }
    }

    fn unpack_tags(&mut self, section: Option<&Element>) {
        for tag in section.into_iter().flat_map(|s| s.elements_named("tag")) {
            let Some(id) = tag.id() else { continue };
            let refs = tag.elements_named("obj_ref").filter_map(|r| r.id()).map(Str::from);
            let list = self.tags.entry(id.into()).or_default();
            for r in refs {
                if !list.contains(&r) {
                    list.push(r);
                }
            }
        }
    }
}

/// Whether any resource requires unfencing, or any device provides it.
fn asks_for_unfencing(cib: &Element) -> bool {
    let Some(configuration) = cib.child("configuration") else { return false };
    let index = Index::new(cib);
    let says_so = |p: cib::config::Pair<'_>| matches!(p.name(), "provides" | "requires") && p.value() == "unfencing";
    let metas = |e: &Element| {
        let sets = cib::config::sets(e, "meta_attributes", None, &index);
        sets.into_iter().any(|m| cib::config::pairs(m, &index).any(says_so))
    };
    configuration.child("resources").is_some_and(|r| r.descendants().any(metas))
        || configuration.child("rsc_defaults").is_some_and(metas)
}
