//! `rsc_location`: where a resource likes to be, or must not be, or where it is looked for.

use super::Named;
use crate::model::flags::rsc as rf;
use crate::model::rules::{Rule, RuleInput, expand};
use crate::model::{Index, LocIdx, Location, NodeIdx, ProbeMode, RscIdx, Sched};
use crate::status::Role;
use base::WallTime;
use regex::Regex;
use xml::Element;

/// How a resource was found by a pattern: its id and the sub-matches.
type Matched<'a> = Option<(&'a str, &'a [Option<(usize, usize)>])>;

/// Where a constraint comes from and when it is read.
#[derive(Clone, Copy)]
struct Context<'a> {
    index: &'a Index<'a>,
    now: WallTime,
}

/// The role that a location is about; unpromoted and started mean any. `None` if it is no role.
fn location_role(text: Option<&str>) -> Option<Role> {
    let Some(text) = text else { return Some(Role::Unknown) };
    match Role::parse(text) {
        Role::Unknown => None,
        Role::Started | Role::Unpromoted => Some(Role::Unknown),
        role => Some(role),
    }
}

impl Sched {
    pub(super) fn unpack_location(&mut self, e: &Element, index: &Index<'_>, now: WallTime) {
        let context = Context { index, now };
        let sets = self.constraint_sets(e, index);
        if !sets.is_empty() {
            for set in &sets {
                for id in &set.members {
                    let Some(rsc) = self.constraint_resource(id) else {
                        let set_id = set.id.as_deref().unwrap_or_default();
                        self.error(format!("{set_id}: No resource found for {id}"));
                        return;
                    };
                    self.unpack_for_resource(e, rsc, set.role.as_deref(), set.score.as_deref(), None, context);
                }
            }
            return;
        }
        if let Some(name) = e.attr("rsc") {
            match self.named(name) {
                Some(Named::Resource(rsc)) => self.unpack_for_resource(e, rsc, None, None, None, context),
                Some(Named::Tag(refs)) => {
                    let role = e.attr("role");
                    for id in refs {
                        match self.constraint_resource(&id) {
                            Some(rsc) => self.unpack_for_resource(e, rsc, role, None, None, context),
                            None => {
                                self.error(format!("{name}: No resource found for {id}"));
                                return;
                            }
                        }
                    }
                }
                None => {
                    self.not_valid(e, name);
                    return;
                }
            }
        }
        if let Some(pattern) = e.attr("rsc-pattern") {
            self.unpack_pattern(e, pattern, context);
        }
    }

    fn unpack_pattern(&mut self, e: &Element, pattern: &str, context: Context<'_>) {
        let (pattern, inverted) = match pattern.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (pattern, false),
        };
        let Ok(regex) = Regex::new(pattern) else {
            let id = e.id().unwrap_or_default();
            self.error(format!("Ignoring constraint '{id}' because rsc-pattern has invalid value '{pattern}'"));
            return;
        };
        for rsc in self.top.clone() {
            let id = self[rsc].id.clone();
            match regex.captures(&id) {
                Some(found) if !inverted => {
                    let groups: Vec<_> = found.iter().map(|g| g.map(|m| (m.start(), m.end()))).collect();
                    self.unpack_for_resource(e, rsc, None, None, Some((&id, &groups)), context);
                }
                None if inverted => self.unpack_for_resource(e, rsc, None, None, None, context),
                _ => {}
            }
        }
    }

    fn unpack_for_resource(
        &mut self,
        e: &Element,
        rsc: RscIdx,
        role: Option<&str>,
        score: Option<&str>,
        matched: Matched<'_>,
        context: Context<'_>,
    ) {
        let id = e.id().unwrap_or_default().to_owned();
        let discovery = e.attr("resource-discovery");
        let (Some(node), Some(score)) = (e.attr("node"), score.or_else(|| e.attr("score"))) else {
            if let Some(rule) = e.child("rule") {
                self.unpack_location_rule(rule, rsc, discovery, matched, &id, context);
            }
            return;
        };
        let Some(node) = self.find_node(node) else { return };
        let Some(value) = self.score_of(score) else {
            self.error(format!("Ignoring location constraint {id} because '{score}' is not a valid score"));
            return;
        };
        let role = role.or_else(|| e.attr("role"));
        let Some(role) = location_role(role) else {
            self.error(format!(
                "Ignoring location constraint {id} because '{}' is not a valid role",
                role.unwrap_or_default()
            ));
            return;
        };
        if let Some(l) = self.new_location(&id, rsc, discovery, vec![(node, value)]) {
            self[l].role = role;
        }
    }

    fn unpack_location_rule(
        &mut self,
        raw: &Element,
        rsc: RscIdx,
        discovery: Option<&str>,
        matched: Matched<'_>,
        id: &str,
        context: Context<'_>,
    ) {
        let Some(e) = context.index.resolve(raw) else { return };
        let Some(rule_id) = e.id().map(str::to_owned) else {
            self.error(format!("Ignoring location constraint '{id}' because its rule has no id"));
            return;
        };
        let Some(role) = location_role(e.attr("role")) else {
            self.error(format!("Ignoring location constraint '{id}' because rule '{rule_id}' has invalid role"));
            return;
        };
        let attribute = e.attr("score-attribute").map(|name| match matched {
            Some((rsc_id, groups)) => expand(name, rsc_id, groups).unwrap_or_else(|| name.to_owned()),
            None => name.to_owned(),
        });
        let fixed = match (&attribute, e.attr("score").map(|t| self.score_of(t))) {
            (Some(_), _) => 0,
            (None, Some(Some(score))) => score,
            _ => {
                self.error(format!("Ignoring location constraint rule {rule_id} because it has no valid score"));
                return;
            }
        };
        let rule = Rule::read(e, context.index, context.now);
        let target = self[rsc].meta("container-attribute-target").map(str::to_owned);
        let meta = self[rsc].meta.clone();
        let (mut nodes, mut next) = (Vec::new(), None);
        for node in self.node_order.clone() {
            let params = self.params(rsc, Some(node));
            let input = RuleInput {
                now: self.now,
                node_attrs: Some(&self[node].attrs),
                params: Some(&params),
                meta: Some(&meta),
                matched,
                ..Default::default()
            };
            if !rule.passes(&input, &mut next) {
                continue;
            }
            let score = match &attribute {
                None => fixed,
                Some(name) => {
                    let text = self.node_attr(node, name, target.as_deref(), false).cloned().filter(|t| !t.is_empty());
                    let Some(score) = text.and_then(|t| self.score_of(&t)) else { continue };
                    score
                }
            };
            nodes.push((node, score));
        }
        if let Some(at) = next {
            self.update_recheck(at);
        }
        nodes.reverse();
        if let Some(l) = self.new_location(&rule_id, rsc, discovery, nodes) {
            self[l].role = role;
        }
    }

    /// Adds a location constraint.
    pub fn new_location(
        &mut self,
        id: &str,
        rsc: RscIdx,
        discovery: Option<&str>,
        nodes: Vec<(NodeIdx, i32)>,
    ) -> Option<LocIdx> {
        let probe_mode = match discovery.map(str::to_ascii_lowercase).as_deref() {
            None | Some("always") => ProbeMode::Always,
            Some("never") => ProbeMode::Never,
            Some("exclusive") => {
                self.set(rsc, rf::EXCLUSIVE_PROBES);
                ProbeMode::Exclusive
            }
            Some(other) => {
                self.error(format!("Invalid resource-discovery value {other} in location constraint"));
                ProbeMode::Always
            }
        };
        let nodes = nodes.into_iter().map(|(n, score)| (n, score, self[n].base.probe_mode)).collect();
        let l = LocIdx(self.locations.len() as u32);
        self.locations.push(Location { id: id.into(), rsc, role: Role::Unknown, probe_mode, nodes });
        self[rsc].locations.push(l);
        Some(l)
    }
}
