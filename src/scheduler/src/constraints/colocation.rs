//! `rsc_colocation`: what must, or must not, be where something else is.

use super::{Named, ResSet, single_set, tag_set};
use crate::model::flags::{rel, rsc as rf};
use crate::model::{ColocIdx, Colocation, INFINITY, Index, RscIdx, Sched, Str};
use crate::status::Role;
use base::text::parse_bool;
use std::cmp::Ordering;
use xml::Element;

/// Roles as configured.
#[derive(Clone, Copy, Default)]
pub struct Roles<'a> {
    pub dependent: Option<&'a str>,
    pub primary: Option<&'a str>,
}

impl Sched {
    fn compare_for_colocation(&self, a: RscIdx, b: RscIdx) -> Ordering {
        let (x, y) = (&self[a], &self[b]);
        let promotable = |r: &crate::model::Resource| r.is_clone() && r.is(rf::PROMOTABLE);
        y.priority
            .cmp(&x.priority)
            .then(y.variant.cmp(&x.variant))
            .then(promotable(y).cmp(&promotable(x)))
            .then(x.id.as_bytes().cmp(y.id.as_bytes()))
    }

    /// Inserts into a list that is sorted by the primaries, before equal ones.
    pub fn add_this_with(&self, list: &mut Vec<ColocIdx>, c: ColocIdx) {
        let at = list.partition_point(|o| self.compare_for_colocation(self[*o].primary, self[c].primary).is_lt());
        list.insert(at, c);
    }

    /// Inserts into a list that is sorted by the dependents, before equal ones.
    pub fn add_with_this(&self, list: &mut Vec<ColocIdx>, c: ColocIdx) {
        let at = list.partition_point(|o| self.compare_for_colocation(self[*o].dependent, self[c].dependent).is_lt());
        list.insert(at, c);
    }

    /// Adds a colocation; `influence` lets the dependent's preferences count.
    #[allow(clippy::too_many_arguments, reason = "one for each attribute of the constraint")]
    pub fn new_colocation(
        &mut self,
        id: &str,
        attribute: Option<&str>,
        score: i32,
        dependent: RscIdx,
        primary: RscIdx,
        roles: Roles<'_>,
        influence: bool,
        explicit: bool,
    ) {
        let Some(dependent_role) = self.constraint_role(id, roles.dependent) else { return };
        let Some(primary_role) = self.constraint_role(id, roles.primary) else { return };
        if score == 0 {
            return;
        }
        let c = ColocIdx(self.colocations.len() as u32);
        self.colocations.push(Colocation {
            id: id.into(),
            dependent,
            primary,
            score,
            dependent_role,
            primary_role,
            node_attribute: attribute.unwrap_or("#uname").into(),
            influence,
            explicit,
        });
        let mut list = std::mem::take(&mut self[dependent].this_with);
        self.add_this_with(&mut list, c);
        self[dependent].this_with = list;
        let mut list = std::mem::take(&mut self[primary].with_this);
        self.add_with_this(&mut list, c);
        self[primary].with_this = list;
        if score <= -INFINITY {
            self.order_apart(dependent, dependent_role, primary, primary_role);
            self.order_apart(primary, primary_role, dependent, dependent_role);
        }
    }

    /// What must not be together leaves a node before the other comes.
    fn order_apart(&mut self, first: RscIdx, first_role: Role, then: RscIdx, then_role: Role) {
        let leaving: &[&str] = match first_role {
            Role::Promoted => &["demote"],
            Role::Unpromoted => &["stop", "promote"],
            _ => &["stop"],
        };
        let coming: &[&str] = match then_role {
            Role::Promoted => &["promote"],
            Role::Unpromoted => &["start", "demote"],
            _ => &["start"],
        };
        for leave in leaving {
            for come in coming {
                self.order_tasks(first, leave, then, come, rel::IF_REQUIRED_ON_SAME_NODE);
            }
        }
    }

    fn influence(&mut self, id: &str, rsc: RscIdx, text: Option<&str>) -> bool {
        match text.map(parse_bool) {
            Some(Some(value)) => return value,
            Some(None) => self.error(format!("Constraint '{id}' has invalid value for influence (using default)")),
            None => {}
        }
        self[rsc].is(rf::CRITICAL)
    }

    pub(super) fn unpack_colocation(&mut self, e: &Element, index: &Index<'_>) {
        let id = e.id().unwrap_or_default().to_owned();
        let mut sets = self.constraint_sets(e, index);
        if sets.is_empty() {
            match self.colocation_tags(e) {
                Some(made) => sets = made,
                None => return,
            }
        }
        let mut score = 0;
        if let Some(text) = e.attr("score") {
            match self.score_of(text) {
                Some(s) => score = s,
                None => {
                    self.error(format!("Ignoring colocation {id} because '{text}' is not a valid score"));
                    return;
                }
            }
        }
        let influence = e.attr("influence");
        let mut last: Option<&ResSet> = None;
        for set in &sets {
            if set.id.as_deref().is_none_or(str::is_empty) {
                self.error("Ignoring resource_set without id");
                continue;
            }
            self.unpack_colocation_set(set, score, &id, influence);
            if let Some(last) = last {
                self.colocate_sets(&id, last, set, score, influence);
            }
            last = Some(set);
        }
        if last.is_none() {
            self.unpack_simple_colocation(e, &id, score, influence);
        }
    }

    fn colocation_tags(&mut self, e: &Element) -> Option<Vec<ResSet>> {
        let (Some(dependent), Some(primary)) = (e.attr("rsc"), e.attr("with-rsc")) else { return Some(Vec::new()) };
        let (mut sides, mut tags) = (Vec::new(), 0);
        for (id, role) in [(dependent, "rsc-role"), (primary, "with-rsc-role")] {
            let mut set = match self.named(id) {
                Some(Named::Resource(_)) => single_set(id),
                Some(Named::Tag(refs)) => {
                    tags += 1;
                    tag_set(id, refs)
                }
                None => {
                    self.not_valid(e, id);
                    return None;
                }
            };
            set.role = e.attr(role).map(Str::from);
            sides.push(set);
        }
        match tags {
            0 => Some(Vec::new()),
            1 => Some(sides),
            _ => {
                let id = e.id().unwrap_or_default();
                self.error(format!("Ignoring constraint '{id}' because two templates or tags cannot be colocated"));
                None
            }
        }
    }

    fn unpack_simple_colocation(&mut self, e: &Element, id: &str, score: i32, influence: Option<&str>) {
        let mut sides = Vec::new();
        for attr in ["rsc", "with-rsc"] {
            let name = e.attr(attr).unwrap_or_default();
            let Some(rsc) = self.constraint_resource(name) else {
                self.error(format!("Ignoring constraint '{id}' because resource '{name}' does not exist"));
                return;
            };
            sides.push(rsc);
        }
        let [dependent, primary] = sides[..] else { return };
        let influence = self.influence(id, dependent, influence);
        let roles = Roles { dependent: e.attr("rsc-role"), primary: e.attr("with-rsc-role") };
        self.new_colocation(id, e.attr("node-attribute"), score, dependent, primary, roles, influence, true);
    }

    fn unpack_colocation_set(&mut self, set: &ResSet, score: i32, coloc_id: &str, influence_text: Option<&str>) {
        let set_id = set.id.clone().unwrap_or_else(|| "".into());
        let score = match &set.score {
            None => score,
            Some(text) => match self.score_of(text) {
                Some(s) => s,
                None => {
                    self.error(format!(
                        "Ignoring colocation '{coloc_id}' for set '{set_id}' because '{text}' is not a valid score"
                    ));
                    return;
                }
            },
        };
        if score == 0 || set.sequential.as_deref().and_then(parse_bool) == Some(false) {
            return;
        }
        let with_previous = set.ordering.as_deref().is_none_or(|o| o.eq_ignore_ascii_case("group"));
        let roles = Roles { dependent: set.role.as_deref(), primary: set.role.as_deref() };
        let mut previous: Vec<RscIdx> = Vec::new();
        for id in &set.members {
            let Some(rsc) = self.constraint_resource(id) else {
                self.error(format!("Ignoring {id} and later resources in set {set_id}: No such resource"));
                return;
            };
            if score > 0 {
                if let Some(other) = previous.last().copied() {
                    let influence = self.influence(coloc_id, rsc, influence_text);
                    let (dependent, primary) = if with_previous { (rsc, other) } else { (other, rsc) };
                    self.new_colocation(&set_id, None, score, dependent, primary, roles, influence, true);
                }
            } else {
                // None of them may be with any earlier one; one that stands for what it is in, not with any at all.
                let influence = self.influence(coloc_id, rsc, influence_text);
                let own = self[rsc].id.clone();
                for other in set.members.iter().take_while(|other| **other != own) {
                    if let Some(other) = self.constraint_resource(other) {
                        self.new_colocation(&set_id, None, score, rsc, other, roles, influence, true);
                    }
                }
            }
            previous.push(rsc);
        }
    }

    fn colocate_sets(&mut self, id: &str, set1: &ResSet, set2: &ResSet, score: i32, influence_text: Option<&str>) {
        if score == 0 {
            return;
        }
        let sequential = |set: &ResSet| set.sequential.as_deref().and_then(parse_bool) != Some(false);
        let pick = |set: &ResSet, last: bool| -> Vec<Str> {
            if !sequential(set) {
                return set.members.clone();
            }
            let one = if last { set.members.last() } else { set.members.first() };
            one.map_or_else(|| set.members.clone(), |m| vec![m.clone()])
        };
        let roles = Roles { dependent: set1.role.as_deref(), primary: set2.role.as_deref() };
        for first in pick(set1, false) {
            let Some(dependent) = self.constraint_resource(&first) else {
                self.error(format!("Ignoring colocation of set resource {first}: No such resource"));
                if sequential(set1) { return } else { continue }
            };
            let influence = self.influence(id, dependent, influence_text);
            for second in pick(set2, true) {
                let Some(primary) = self.constraint_resource(&second) else {
                    self.error(format!("Ignoring colocation with set resource {second}: No such resource"));
                    if sequential(set2) { return } else { continue }
                };
                self.new_colocation(id, None, score, dependent, primary, roles, influence, true);
            }
        }
    }

    /// Whether the dependent's preferences count for the primary.
    pub fn has_influence(&self, c: ColocIdx, rsc: Option<RscIdx>) -> bool {
        let coloc = &self[c];
        let rsc = &self[rsc.unwrap_or(coloc.primary)];
        if self[coloc.dependent].is(rf::REMOTE_NESTING) && !rsc.is(rf::FAILED) && rsc.active_nodes.len() == 1 {
            return false;
        }
        coloc.influence || rsc.active_nodes.is_empty()
    }
}
