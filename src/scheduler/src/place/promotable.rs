//! Which instances of a promotable clone are promoted.

use super::colocate::Gather;
use crate::explain::ledger::{Change, PROMOTION, Source};
use crate::model::flags::rsc as rf;
use crate::model::options::NoQuorum;
use crate::model::{ColocIdx, INFINITY, LocIdx, NodeIdx, RscIdx, Sched, ScoreLine, add_scores, base_name};
use crate::status::Role;

impl Sched {
    fn anonymous_known_on(&self, clone: RscIdx, id: &str, node: NodeIdx) -> bool {
        self[clone]
            .children
            .iter()
            .any(|c| self.find_clone_member(*c, id, None).is_some_and(|m| self[m].probed.contains(&node)))
    }

    fn promotion_score_applies(&self, rsc: RscIdx, node: NodeIdx) -> bool {
        let allowed = || self[rsc].allowed.score(node).is_some_and(|s| s >= 0);
        let parent = self.top_of(rsc, false);
        if !self[rsc].is(rf::UNIQUE) {
            let id = base_name(&self[rsc].id);
            let active = self[parent].children.iter().find_map(|c| self.find_clone_member(*c, id, Some(node)));
            if active == Some(rsc) || (active.is_none() && self.anonymous_known_on(parent, id, node)) {
                return allowed();
            }
        }
        let r = &self[rsc];
        let unknown = r.active_nodes.is_empty() && r.probed.is_empty();
        (unknown || r.probed.contains(&node) || r.active_nodes.contains(&node)) && allowed()
    }

    fn promotion_attr(&self, rsc: RscIdx, node: NodeIdx, name: &str) -> Option<&crate::model::Str> {
        let target = self[rsc].meta("container-attribute-target");
        self.node_attr(node, &format!("master-{name}"), target, !self[rsc].is(rf::UNASSIGNED))
    }

    /// The promotion score that the agent has set for the node; `None` if it has set none.
    fn promotion_score(&self, rsc: RscIdx, node: NodeIdx) -> Option<i32> {
        if !self[rsc].children.is_empty() {
            let scores: Vec<i32> = self[rsc].children.iter().filter_map(|c| self.promotion_score(*c, node)).collect();
            return (!scores.is_empty()).then(|| scores.iter().fold(0i32, |a, b| a.saturating_add(*b)));
        }
        if !self.promotion_score_applies(rsc, node) {
            return None;
        }
        let name = self[rsc].history_id.as_ref().unwrap_or(&self[rsc].id);
        let mut value = self.promotion_attr(rsc, node, name);
        if value.is_none() && !self[rsc].is(rf::UNIQUE) {
            let base = base_name(&self[rsc].id);
            if base != &*self[rsc].id {
                value = self.promotion_attr(rsc, node, base);
            }
        }
        value.map(|v| self.score_of(v).unwrap_or(0))
    }

    /// Lets promotion scores draw instances to nodes.
    pub(super) fn add_promotion_scores(&mut self, clone: RscIdx) {
        if std::mem::replace(&mut self[clone].clone.promotion_added, true) {
            return;
        }
        for child in self[clone].children.clone() {
            for node in self[child].allowed.nodes() {
                if !self.node_available(node) {
                    continue;
                }
                let score = self.promotion_score(child, node).unwrap_or(0);
                if score > 0 {
                    self.add_score(child, node, score, &Source::Own("__promotion_score__"));
                }
                if score > self[child].priority {
                    self[child].priority = score;
                }
            }
        }
    }

    fn current_role_unpromoted(&mut self, rsc: RscIdx) {
        if self[rsc].orig_role == Role::Started {
            self[rsc].orig_role = Role::Unpromoted;
        }
        for child in self[rsc].children.clone() {
            self.current_role_unpromoted(child);
        }
    }

    fn next_role_unpromoted(&mut self, rsc: RscIdx) {
        let mut assigned = Vec::new();
        self.locations_of(rsc, false, &mut assigned);
        self.set_next_role(rsc, if assigned.is_empty() { Role::Stopped } else { Role::Unpromoted });
        for child in self[rsc].children.clone() {
            self.next_role_unpromoted(child);
        }
    }

    fn next_role_promoted(&mut self, rsc: RscIdx) {
        if self[rsc].next_role == Role::Unknown {
            self.set_next_role(rsc, Role::Promoted);
        }
        for child in self[rsc].children.clone() {
            self.next_role_promoted(child);
        }
    }

    fn apply_promoted_locations(&mut self, child: RscIdx, list: &[LocIdx], chosen: NodeIdx) {
        for l in list.iter().rev() {
            if self[*l].role != Role::Promoted {
                continue;
            }
            if let Some((_, score, _)) = self[*l].nodes.iter().find(|(n, _, _)| *n == chosen).copied() {
                self[child].priority = add_scores(self[child].priority, score);
                let source = Source::Location(self[*l].id.clone());
                self.record_promotion(child, chosen, Change::Add(score), &source);
            }
        }
    }

    fn set_instance_priority(&mut self, instance: RscIdx, clone: RscIdx) {
        if self.role_of(instance, true) == Role::Started {
            self.current_role_unpromoted(instance);
        }
        let mut list = Vec::new();
        self.locations_of(instance, false, &mut list);
        if list.len() > 1 {
            let id = self[instance].id.clone();
            self.error(format!("Cannot promote non-colocated child {id}"));
        }
        let [chosen] = list[..] else { return };
        let next = self.role_of(instance, false);
        match next {
            Role::Started | Role::Unknown => {
                let own = self.promotion_score(instance, chosen);
                self[instance].priority = own.unwrap_or(-1);
                let tag = if own.is_some() { "__promotion_score__" } else { "__no_promotion_score__" };
                self.record_promotion(instance, chosen, Change::Set(own.unwrap_or(-1)), &Source::Own(tag));
            }
            Role::Unpromoted | Role::Stopped => {
                self[instance].priority = -INFINITY;
                self.record_promotion(instance, chosen, Change::Set(-INFINITY), &Source::Own("target-role"));
            }
            Role::Promoted => {}
        }
        for holder in [instance, clone] {
            let list = self[holder].locations.clone();
            self.apply_promoted_locations(instance, &list, chosen);
        }
        for c in self.this_with_list(instance) {
            let primary = self[c].primary;
            self.apply_colocation(instance, primary, c, true);
        }
        let decided = next == Role::Promoted;
        self[instance].promotion_priority = if decided { INFINITY } else { self[instance].priority };
        if decided {
            self.record_promotion(instance, chosen, Change::Set(INFINITY), &Source::Own("__promoted_already__"));
        }
    }

    fn sort_promotable(&mut self, clone: RscIdx) {
        if std::mem::replace(&mut self[clone].clone.promotion_constrained, true) {
            return;
        }
        self.set(clone, rf::UPDATING_NODES);
        for child in self[clone].children.clone() {
            let priority = self[child].promotion_priority;
            let chosen = self.location_of(child, false).filter(|_| priority >= 0);
            if let Some(node) = chosen {
                self.add_score(clone, node, priority, &Source::Instance(child));
            }
        }
        for c in self.with_this_list(clone) {
            if self[c].primary_role != Role::Promoted || !self.has_influence(c, None) {
                continue;
            }
            let factor = self[c].score as f32 / INFINITY as f32;
            let dependent = self[c].dependent;
            self.add_scores_to_allowed(
                dependent,
                clone,
                c,
                factor,
                Gather { active: true, nonnegative: true, this_with: false },
            );
        }
        self.require_promotion_tickets(clone);
        for child in self[clone].children.clone() {
            let chosen = self.location_of(child, false);
            if !self[child].is(rf::MANAGED) && self[child].next_role == Role::Promoted {
                self[child].promotion_priority = INFINITY;
                if let Some(node) = chosen {
                    self.record_promotion(child, node, Change::Set(INFINITY), &Source::Own("__promoted_already__"));
                }
            } else if chosen.is_none() {
                self[child].promotion_priority = -INFINITY;
            } else if self[child].promotion_priority >= 0
                && let Some((node, score)) = chosen.and_then(|n| Some((n, self[clone].allowed.score(n)?)))
            {
                self[child].promotion_priority = score;
                self.record_promotion(child, node, Change::Set(score), &Source::Own("__clones_score__"));
            }
        }
        let mut children = self[clone].children.clone();
        self.sort_instances(&mut children, &|s, a, b| {
            let by_priority = s[b].promotion_priority.cmp(&s[a].promotion_priority);
            by_priority.then_with(|| s.role_of(b, true).cmp(&s.role_of(a, true)))
        });
        self[clone].children = children;
        self.clear(clone, rf::UPDATING_NODES);
    }

    /// The node on which an instance may be promoted now.
    fn node_to_promote_on(&self, rsc: RscIdx) -> Option<NodeIdx> {
        if self[rsc].children.iter().any(|c| self.node_to_promote_on(*c).is_none()) {
            return None;
        }
        let node = self.location_of(rsc, false)?;
        let managed = self[rsc].is(rf::MANAGED);
        if !managed {
            if self.role_of(rsc, true) != Role::Promoted {
                return None;
            }
        } else if self[rsc].priority < 0 || !self.node_available(node) || !self.guest_host_assigned(node) {
            return None;
        }
        let parent = self.top_of(rsc, false);
        let assign = self[parent].allowed.get(node)?;
        (assign.count < self[parent].clone.promoted_node_max || !managed).then_some(node)
    }

    /// What launches a guest has a place, so that the guest will be there.
    fn guest_host_assigned(&self, node: NodeIdx) -> bool {
        !self.is_guest(node) || self.guest_launcher(node).is_none_or(|l| self.location_of(l, false).is_some())
    }

    fn set_instance_role(&mut self, instance: RscIdx, count: &mut i32) {
        let clone = self.top_of(instance, false);
        let node = self.location_of(instance, false);
        let score = self[instance].promotion_priority;
        self.scores.push(ScoreLine::Promotion { rsc: instance, node, score });
        self.record_settled(PROMOTION, instance, node, score);
        let mut chosen = None;
        if self[instance].promotion_priority >= 0
            && (*count < self[clone].clone.promoted_max || !self[clone].is(rf::MANAGED))
        {
            chosen = self.node_to_promote_on(instance);
        }
        let frozen =
            self[instance].orig_role < Role::Promoted && !self.quorate && self.options.no_quorum == NoQuorum::Freeze;
        let Some(node) = chosen.filter(|_| !frozen) else {
            self.next_role_unpromoted(instance);
            return;
        };
        if let Some(assign) = self[clone].allowed.get_mut(node) {
            assign.count += 1;
        }
        self.next_role_promoted(instance);
        *count += 1;
    }

    /// Chooses the instances to promote.
    pub(super) fn set_instance_roles(&mut self, clone: RscIdx) {
        for (_, assign) in self[clone].allowed.iter_mut() {
            assign.count = 0;
        }
        for child in self[clone].children.clone() {
            self.set_instance_priority(child, clone);
        }
        self.sort_promotable(clone);
        let mut count = 0;
        for child in self[clone].children.clone() {
            self.set_instance_role(child, &mut count);
        }
    }

    pub(super) fn update_dependent_with_promotable(&mut self, primary: RscIdx, dependent: RscIdx, c: ColocIdx) {
        let coloc = self[c].clone();
        let mut affected = Vec::new();
        for instance in self[primary].children.clone() {
            let Some(node) = self.location_of(instance, false) else { continue };
            if self.role_of(instance, false) != coloc.primary_role {
                continue;
            }
            if coloc.score < INFINITY {
                let value = self.colocation_attr(node, &coloc.node_attribute, primary).cloned();
                for n in self[dependent].allowed.nodes() {
                    let same = match (&value, self.colocation_attr(n, &coloc.node_attribute, dependent)) {
                        (None, None) => true,
                        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                        _ => false,
                    };
                    if same {
                        let source = Source::Colocation { constraint: c, as_primary: false };
                        self.add_score(dependent, n, coloc.score, &source);
                    }
                }
            }
            affected.push((node, self.assigned_score(instance)));
        }
        if coloc.score >= INFINITY && (coloc.dependent_role != Role::Promoted || coloc.primary_role != Role::Promoted) {
            affected.reverse();
            self.intersect_nodes(dependent, &affected, true, c);
        }
    }

    /// Score of the node that a resource (or the first part of it) was assigned to.
    fn assigned_score(&self, rsc: RscIdx) -> i32 {
        if self[rsc].children.is_empty() {
            return self[rsc].assigned.map_or(0, |a| a.score);
        }
        let first = self[rsc].children.iter().find(|c| self.location_of(**c, false).is_some());
        first.map_or(0, |c| self.assigned_score(*c))
    }

    pub(super) fn record_colocated_promotion(&mut self, dependent: RscIdx, c: ColocIdx, change: Change) {
        if let Some(node) = self.location_of(dependent, false) {
            self.record_promotion(dependent, node, change, &Source::Colocation { constraint: c, as_primary: false });
        }
    }

    pub(super) fn update_promotable_dependent(&mut self, primary: RscIdx, dependent: RscIdx, c: ColocIdx) -> i32 {
        let coloc = self[c].clone();
        if self
            .compatible_instance(dependent, primary, coloc.primary_role, false, Some(&coloc.node_attribute))
            .is_some()
        {
            self[dependent].priority = add_scores(self[dependent].priority, coloc.score);
            self.record_colocated_promotion(dependent, c, Change::Add(coloc.score));
            return coloc.score;
        }
        if coloc.score >= INFINITY {
            self[dependent].priority = -INFINITY;
            self.record_colocated_promotion(dependent, c, Change::Set(-INFINITY));
            return -INFINITY;
        }
        0
    }
}
