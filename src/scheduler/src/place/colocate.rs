//! Colocations: how one resource's place and preferences change another's scores.

use crate::constraints::Roles;
use crate::explain::ledger::{Change, Source};
use crate::model::flags::rsc as rf;
use crate::model::{ColocIdx, INFINITY, NodeIdx, NodeTable, RscIdx, Sched, Str, Variant, add_scores};
use crate::status::Role;

/// Look-ups of others' preferences that are made for one resource at most.
const MAX_GATHERED: u32 = 100_000;

/// Marks a node that a negative preference has ruled out although its score was positive.
const RULED_OUT: i32 = INFINITY * -100;

/// Which preferences are gathered, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gather {
    /// Follow what a resource is colocated with, not what is colocated with it.
    pub this_with: bool,
    pub nonnegative: bool,
    /// Give up where no node is available.
    pub active: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Affects {
    Nothing,
    Location,
    Role,
}

impl Sched {
    fn same_attr(a: Option<&Str>, b: Option<&Str>) -> bool {
        match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }

    /// Value of the attribute that a colocation is about.
    pub(super) fn colocation_attr(&self, node: NodeIdx, attr: &str, rsc: RscIdx) -> Option<&Str> {
        let inside = self.is_bundle_node(node)
            && self.is_bundled(rsc)
            && Some(self.top_of(rsc, false)) == self.bundled_resource(rsc);
        let target = if inside { Some("host") } else { self[rsc].meta("container-attribute-target") };
        self.node_attr(node, attr, target, true)
    }

    /// Colocations of others with this resource, the most important first.
    pub fn with_this_list(&self, rsc: RscIdx) -> Vec<ColocIdx> {
        let mut list = Vec::new();
        self.collect(rsc, rsc, false, &mut list);
        list
    }

    /// Colocations of this resource with others, the most important first.
    pub fn this_with_list(&self, rsc: RscIdx) -> Vec<ColocIdx> {
        let mut list = Vec::new();
        self.collect(rsc, rsc, true, &mut list);
        list
    }

    fn add_one(&self, list: &mut Vec<ColocIdx>, c: ColocIdx, this_with: bool) {
        if this_with { self.add_this_with(list, c) } else { self.add_with_this(list, c) }
    }

    /// Adds a whole list. Pacemaker 3.0 adds its first entry once per entry unless the target is empty; results depend on it.
    fn add_all(&self, list: &mut Vec<ColocIdx>, rsc: RscIdx, this_with: bool) {
        let addition = if this_with { &self[rsc].this_with } else { &self[rsc].with_this };
        if list.is_empty() {
            list.extend_from_slice(addition);
            return;
        }
        for _ in addition {
            self.add_one(list, addition[0], this_with);
        }
    }

    fn collect(&self, rsc: RscIdx, orig: RscIdx, this_with: bool, list: &mut Vec<ColocIdx>) {
        match self[rsc].variant {
            Variant::Primitive => self.collect_primitive(rsc, orig, this_with, list),
            Variant::Group if this_with => self.collect_group_this_with(rsc, orig, list),
            Variant::Group => self.collect_group_with_this(rsc, orig, list),
            Variant::Clone => {
                self.add_all(list, rsc, this_with);
                if let Some(parent) = self[rsc].parent {
                    self.collect(parent, orig, this_with, list);
                }
            }
            Variant::Bundle => self.collect_bundle(rsc, orig, this_with, list),
        }
    }

    fn collect_primitive(&self, rsc: RscIdx, orig: RscIdx, this_with: bool, list: &mut Vec<ColocIdx>) {
        if rsc == orig {
            self.add_all(list, rsc, this_with);
            if let Some(parent) = self[rsc].parent {
                self.collect(parent, orig, this_with, list);
            }
            return;
        }
        let own = if this_with { &self[rsc].this_with } else { &self[rsc].with_this };
        for c in own {
            if self[*c].explicit {
                self.add_one(list, *c, this_with);
            }
        }
    }

    fn collect_group_with_this(&self, rsc: RscIdx, orig: RscIdx, list: &mut Vec<ColocIdx>) {
        let Some(last) = self[rsc].children.last() else { return };
        if orig != rsc && orig != *last {
            return;
        }
        self.collect_group(rsc, orig, false, list);
    }

    /// The group's own, its parent's, and its members' where they go together.
    fn collect_group(&self, rsc: RscIdx, orig: RscIdx, this_with: bool, list: &mut Vec<ColocIdx>) {
        self.add_all(list, rsc, this_with);
        if let Some(parent) = self[rsc].parent {
            self.collect(parent, orig, this_with, list);
        }
        if self[rsc].group.colocated {
            for member in self[rsc].children.iter().filter(|m| **m != orig) {
                self.collect(*member, orig, this_with, list);
            }
        }
    }

    fn collect_group_this_with(&self, rsc: RscIdx, orig: RscIdx, list: &mut Vec<ColocIdx>) {
        let Some(first) = self[rsc].children.first() else { return };
        if orig == rsc || orig == *first {
            self.collect_group(rsc, orig, true, list);
            return;
        }
        // A later member need not care, unless an unmanaged one before it might be elsewhere.
        for member in self[rsc].children.iter().take_while(|m| **m != orig) {
            if !self[*member].is(rf::MANAGED) {
                for c in &self[rsc].this_with {
                    if self[*c].score == INFINITY {
                        self.add_this_with(list, *c);
                    }
                }
                break;
            }
        }
    }

    fn collect_bundle(&self, rsc: RscIdx, orig: RscIdx, this_with: bool, list: &mut Vec<ColocIdx>) {
        if orig == rsc || self[orig].is(rf::REPLICA_CONTAINER) {
            self.add_all(list, rsc, this_with);
            return;
        }
        let Some(bundled) = self[rsc].bundle.child else { return };
        if !self[bundled].is(rf::PROMOTABLE) || self.top_of(orig, false) != bundled {
            return;
        }
        let counts =
            if orig == bundled { self[orig].clone.promotion_constrained } else { !self[orig].is(rf::UNASSIGNED) };
        if counts {
            self.add_all(list, rsc, this_with);
        }
    }

    fn role_resource(&self, rsc: RscIdx) -> RscIdx {
        if self[rsc].is(rf::REPLICA_CONTAINER) { self.in_container(rsc).unwrap_or(rsc) } else { rsc }
    }

    /// What a colocation changes at this point.
    pub(super) fn affects(&self, dependent: RscIdx, primary: RscIdx, c: ColocIdx, preview: bool) -> Affects {
        if !preview && self[primary].is(rf::UNASSIGNED) {
            return Affects::Nothing;
        }
        let coloc = &self[c];
        let (d, p) = (self.role_resource(dependent), self.role_resource(primary));
        let promotable_parent = self[d].parent.is_some_and(|parent| self[parent].is(rf::PROMOTABLE));
        if coloc.dependent_role >= Role::Unpromoted && promotable_parent && !self[d].is(rf::UNASSIGNED) {
            return Affects::Role;
        }
        if !preview && !self[dependent].is(rf::UNASSIGNED) {
            return Affects::Nothing;
        }
        let differs = |role: Role, rsc: RscIdx| role != Role::Unknown && role != self[rsc].next_role;
        if differs(coloc.dependent_role, d) || differs(coloc.primary_role, p) {
            return Affects::Nothing;
        }
        Affects::Location
    }

    /// Applies a colocation to the dependent; gives what it adds to its priority.
    pub fn apply_colocation(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx, for_dependent: bool) -> i32 {
        let variant = self[if for_dependent { dependent } else { primary }].variant;
        match (variant, for_dependent) {
            (Variant::Primitive, true) => self.apply_colocation(dependent, primary, c, false),
            (Variant::Primitive, false) => match self.affects(dependent, primary, c, false) {
                Affects::Role => self.colocation_to_priority(dependent, primary, c),
                Affects::Location => {
                    self.colocation_to_scores(dependent, primary, c);
                    0
                }
                Affects::Nothing => 0,
            },
            (Variant::Group, true) => self.colocate_group_with(dependent, primary, c),
            (Variant::Group, false) => self.colocate_with_group(dependent, primary, c),
            (Variant::Clone, false) => self.colocate_with_clone(dependent, primary, c),
            (Variant::Bundle, false) => self.colocate_with_bundle(dependent, primary, c),
            (_, true) => 0,
        }
    }

    fn colocation_to_scores(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) {
        let coloc = self[c].clone();
        let host = self[primary].assigned.map(|a| a.node);
        if host.is_none() && coloc.score < 0 {
            return;
        }
        let value = host.and_then(|h| self.colocation_attr(h, &coloc.node_attribute, primary)).cloned();
        let mut work = self[dependent].allowed.clone();
        for node in work.nodes() {
            let same = Sched::same_attr(self.colocation_attr(node, &coloc.node_attribute, dependent), value.as_ref());
            let Some(assign) = work.get_mut(node) else { continue };
            if host.is_none() {
                assign.score = add_scores(-coloc.score, assign.score);
            } else if same {
                if coloc.score < INFINITY {
                    assign.score = add_scores(coloc.score, assign.score);
                }
            } else if coloc.score >= INFINITY {
                assign.score = -INFINITY;
            }
        }
        if coloc.score.abs() >= INFINITY || self.any_available(&work) {
            self.record_table(dependent, &work, &Source::Colocation { constraint: c, as_primary: false });
            self[dependent].allowed = work;
        }
    }

    fn colocation_to_priority(&mut self, dependent: RscIdx, primary: RscIdx, c: ColocIdx) -> i32 {
        let coloc = self[c].clone();
        let Some(dependent_node) = self[dependent].assigned.map(|a| a.node) else { return 0 };
        let primary_node = self[primary].assigned.map(|a| a.node);
        if primary_node.is_some()
            && coloc.primary_role != Role::Unknown
            && coloc.primary_role != self[self.role_resource(primary)].next_role
        {
            return 0;
        }
        let a = self.colocation_attr(dependent_node, &coloc.node_attribute, dependent);
        let b = primary_node.and_then(|n| self.colocation_attr(n, &coloc.node_attribute, primary));
        let mut multiplier = 1;
        if !Sched::same_attr(a, b) {
            if coloc.score != INFINITY || coloc.dependent_role != Role::Promoted {
                return 0;
            }
            multiplier = -1;
        } else if coloc.dependent_role == Role::Unpromoted {
            multiplier = -1;
        }
        let delta = multiplier * coloc.score;
        self[dependent].priority = add_scores(delta, self[dependent].priority);
        let source = Source::Colocation { constraint: c, as_primary: false };
        self.record_promotion(dependent, dependent_node, Change::Add(delta), &source);
        delta
    }

    /// The best score of a resource on nodes whose attribute has the value.
    fn best_score_matching(&self, table: &NodeTable, rsc: RscIdx, attr: &str, value: Option<&Str>) -> i32 {
        let mut best = -INFINITY;
        for (node, assign) in table.iter() {
            if assign.score > best
                && self.node_available(node)
                && Sched::same_attr(value, self.colocation_attr(node, attr, rsc))
            {
                best = assign.score;
            }
        }
        best
    }

    fn allowed_on_one(&self, rsc: RscIdx) -> bool {
        self[rsc].allowed.iter().filter(|(_, a)| a.score >= 0).take(2).count() == 1
    }

    fn add_matching_scores(
        &self,
        nodes: &mut NodeTable,
        source: RscIdx,
        target: RscIdx,
        c: ColocIdx,
        factor: f32,
        only_positive: bool,
    ) {
        let coloc = &self[c];
        let attr = &*coloc.node_attribute;
        let later_member =
            self[source].parent.filter(|p| self.is_group(Some(*p)) && self[*p].children.first() != Some(&source));
        let with_parent = later_member
            .filter(|_| source == coloc.dependent && coloc.explicit)
            .map(|p| self.table_with_parent_locations(source, p));
        let table = with_parent.as_ref().unwrap_or(&self[source].allowed);
        // By name, each node matches only itself.
        let by_name =
            attr == "#uname" && !self.is_bundled(source) && self[source].meta("container-attribute-target").is_none();
        for node in nodes.nodes() {
            let value = self.colocation_attr(node, attr, target);
            let score = if by_name && value == Some(&self[node].name) {
                table.score(node).filter(|_| self.node_available(node)).unwrap_or(-INFINITY)
            } else {
                self.best_score_matching(table, source, attr, value)
            };
            if factor < 0.0 && score < 0 {
                let keeps = self[coloc.primary].stickiness >= -score
                    || !self.has_influence(c, None)
                    || !self.allowed_on_one(coloc.dependent);
                if keeps {
                    continue;
                }
            }
            let Some(assign) = nodes.get_mut(node).filter(|a| a.score != RULED_OUT) else { continue };
            let exact = f64::from(factor * score as f32);
            let mut delta = if exact < 0.0 { (exact - 0.5) as i32 } else { (exact + 0.5) as i32 };
            if delta == 0 && score != 0 && factor != 0.0 {
                delta = if factor > 0.0 { 1 } else { -1 };
            }
            let new = add_scores(delta, assign.score);
            if only_positive && new < 0 && assign.score > 0 {
                assign.score = RULED_OUT;
            } else if !(only_positive && new < 0 && assign.score == 0) {
                assign.score = new;
            }
        }
    }

    /// Adds to `nodes` what `source` and everything that goes with it prefer. Without a table, starts from the source's own.
    pub fn add_colocated_scores(
        &mut self,
        source: RscIdx,
        target: Option<RscIdx>,
        nodes: &mut Option<NodeTable>,
        c: Option<ColocIdx>,
        factor: f32,
        gather: Gather,
    ) {
        if self[source].is(rf::UPDATING_NODES) || self.too_entangled(source) {
            return;
        }
        self.set(source, rf::UPDATING_NODES);
        self.update_depth += 1;
        if self[source].variant == Variant::Group {
            let member = if nodes.is_none() { self[source].children.last() } else { self[source].children.first() };
            if let Some(member) = member.copied() {
                self.add_colocated_scores(member, target, nodes, c, factor, gather);
                self.clear(source, rf::UPDATING_NODES);
            }
            self.update_depth -= 1;
            return;
        }
        self.gather_scores(source, target, nodes, c, factor, gather);
        self.update_depth -= 1;
        self.clear(source, rf::UPDATING_NODES);
    }

    /// Where everything is colocated with everything, the number of ways through it grows beyond all measure; and a way may be
    /// longer than the stack is deep.
    fn too_entangled(&mut self, source: RscIdx) -> bool {
        self.gathered += 1;
        if self.update_depth >= super::MAX_DEPTH {
            self.gathered = self.gathered.max(MAX_GATHERED);
        }
        if self.gathered == MAX_GATHERED {
            let text = format!(
                "Colocations around {} are too entangled: not all preferences of others are taken into account",
                self[source].id
            );
            self.error(text);
        }
        self.gathered >= MAX_GATHERED
    }

    fn gather_scores(
        &mut self,
        source: RscIdx,
        target: Option<RscIdx>,
        nodes: &mut Option<NodeTable>,
        c: Option<ColocIdx>,
        factor: f32,
        gather: Gather,
    ) {
        let mut target = target;
        let mut work = match (&*nodes, c) {
            (Some(given), Some(c)) => {
                let mut work = given.clone();
                self.add_matching_scores(&mut work, source, target.unwrap_or(source), c, factor, gather.nonnegative);
                work
            }
            _ => {
                target = Some(source);
                self[source].allowed.clone()
            }
        };
        if self.any_available(&work) {
            let list = if gather.this_with { self.this_with_list(source) } else { self.with_this_list(source) };
            let deeper = Gather { active: true, ..gather };
            for constraint in list {
                let coloc = &self[constraint];
                let other_factor = factor * coloc.score as f32 / INFINITY as f32;
                let other = if gather.this_with {
                    coloc.primary
                } else if !self.has_influence(constraint, None) {
                    continue;
                } else {
                    coloc.dependent
                };
                let mut inner = Some(work);
                self.add_colocated_scores(other, target, &mut inner, Some(constraint), other_factor, deeper);
                work = inner.unwrap_or_default();
            }
        } else if gather.active {
            return;
        }
        if gather.nonnegative {
            for (_, assign) in work.iter_mut() {
                if assign.score == RULED_OUT {
                    assign.score = 1;
                }
            }
        }
        *nodes = Some(work);
    }

    /// Adds a dependent's preferences to the scores of what it goes with.
    pub fn add_dependent_scores(&mut self, c: ColocIdx, primary: RscIdx) {
        if !self.has_influence(c, None) {
            return;
        }
        let dependent = self[c].dependent;
        let factor = self[c].score as f32 / INFINITY as f32;
        let gather = Gather { active: true, nonnegative: self[primary].is_clone(), this_with: false };
        self.add_scores_to_allowed(dependent, primary, c, factor, gather);
    }

    /// Adds preferences straight to a resource's own table.
    pub fn add_scores_to_allowed(&mut self, source: RscIdx, target: RscIdx, c: ColocIdx, factor: f32, gather: Gather) {
        let before = self[target].allowed.clone();
        let mut nodes = Some(before);
        self.add_colocated_scores(source, Some(target), &mut nodes, Some(c), factor, gather);
        if let Some(after) = nodes {
            self.record_table(target, &after, &Source::Colocation { constraint: c, as_primary: true });
            self[target].allowed = after;
        }
    }

    /// Leaves the dependent only the nodes where the primary is.
    pub(super) fn intersect_nodes(
        &mut self,
        dependent: RscIdx,
        primary_nodes: &[(NodeIdx, i32)],
        merge: bool,
        c: ColocIdx,
    ) {
        let mut work = self[dependent].allowed.clone();
        for (node, assign) in work.iter_mut() {
            match primary_nodes.iter().find(|(n, _)| *n == node) {
                None => assign.score = -INFINITY,
                Some((_, score)) if merge => assign.score = add_scores(assign.score, *score),
                Some(_) => {}
            }
        }
        self.record_table(dependent, &work, &Source::Colocation { constraint: c, as_primary: false });
        self[dependent].allowed = work;
    }

    /// Adds an implied mandatory colocation.
    pub fn colocate_implied(&mut self, id: &str, score: i32, dependent: RscIdx, primary: RscIdx, influence: bool) {
        self.new_colocation(id, None, score, dependent, primary, Roles::default(), influence, false);
    }
}
