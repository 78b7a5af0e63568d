//! Placement of one primitive.

use super::colocate::Gather;
use crate::explain::ledger::Source;
use crate::model::flags::rsc as rf;
use crate::model::options::NoQuorum;
use crate::model::{ColocIdx, INFINITY, NodeIdx, RscIdx, Sched};
use crate::status::Role;

impl Sched {
    pub(super) fn assign_primitive(
        &mut self,
        rsc: RscIdx,
        prefer: Option<NodeIdx>,
        stop_if_fail: bool,
    ) -> Option<NodeIdx> {
        if let Some(parent) = self[rsc].parent.filter(|p| !self[*p].is(rf::ASSIGNING)) {
            self.assign(parent, prefer, stop_if_fail);
        }
        if !self[rsc].is(rf::UNASSIGNED) {
            return self[rsc].assigned.map(|a| a.node);
        }
        if self[rsc].is(rf::ASSIGNING) {
            return None;
        }
        self.set(rsc, rf::ASSIGNING);
        self.gathered = 0;
        self.apply_all_colocations(rsc);
        if self[rsc].next_role == Role::Stopped {
            self.add_location(rsc, None, -INFINITY, "target-role");
        } else if self[rsc].next_role > self[rsc].orig_role
            && !self.quorate
            && self.options.no_quorum == NoQuorum::Freeze
        {
            self.set_next_role(rsc, self[rsc].orig_role);
        }
        self.show_scores(rsc, "pcmk__primitive_assign");
        if self.options.fencing_enabled && !self.have_fencing {
            self.clear(rsc, rf::MANAGED);
        }
        if !self[rsc].is(rf::MANAGED) {
            self.set_next_role(rsc, self[rsc].orig_role);
            let node = self.current_node(rsc).map(|n| (n, self[n].base.score));
            self.assign_resource(rsc, node, true, stop_if_fail);
        } else if self.options.stop_all {
            self.assign_resource(rsc, None, true, stop_if_fail);
        } else {
            self.assign_best_node(rsc, prefer, stop_if_fail);
        }
        self.clear(rsc, rf::ASSIGNING);
        if self[rsc].is(rf::REMOTE_CONNECTION) {
            self.remote_connection_assigned(rsc);
        }
        self[rsc].assigned.map(|a| a.node)
    }

    /// Mandatory colocations first, then the others; each with what this resource goes with before what goes with it.
    fn apply_all_colocations(&mut self, rsc: RscIdx) {
        let this_with = self.this_with_list(rsc);
        let with_this = self.with_this_list(rsc);
        for mandatory in [true, false] {
            for c in &this_with {
                if (self[*c].score.abs() >= INFINITY) == mandatory {
                    self.apply_this_with(*c, rsc);
                }
            }
            for c in &with_this {
                if (self[*c].score.abs() >= INFINITY) == mandatory {
                    self.add_dependent_scores(*c, rsc);
                }
            }
        }
    }

    fn apply_this_with(&mut self, c: ColocIdx, rsc: RscIdx) {
        let coloc = &self[c];
        let (other, score) = (coloc.primary, coloc.score);
        let revertible = coloc.dependent_role >= Role::Promoted || (score < 0 && score > -INFINITY);
        let archive = revertible.then(|| self[rsc].allowed.clone());
        if self[other].is(rf::UNASSIGNED) {
            self.assign(other, None, true);
        }
        self.apply_colocation(rsc, other, c, true);
        if let Some(archive) = archive
            && !self.any_available(&self[rsc].allowed)
        {
            self.record_table(rsc, &archive, &Source::Own("__colocation_dropped__"));
            self[rsc].allowed = archive;
        }
    }

    fn assign_best_node(&mut self, rsc: RscIdx, prefer: Option<NodeIdx>, stop_if_fail: bool) {
        let most_free = self.ban_insufficient_capacity(rsc);
        let prefer = prefer.or(most_free);
        if !self[rsc].is(rf::UNASSIGNED) {
            return;
        }
        let nodes = self.sorted_nodes(&self[rsc].allowed, self.current_node(rsc));
        let best = nodes.first().copied();
        let mut chosen = None;
        if let (Some(prefer), Some(best)) = (prefer, best) {
            let score = self[rsc].allowed.score(prefer);
            chosen = score.filter(|s| *s >= best.1 && *s >= 0 && self.node_available(prefer)).map(|s| (prefer, s));
        }
        if let (None, Some(best)) = (chosen, best) {
            chosen = Some(best);
            if !self.is_unique_clone(self[rsc].parent) && best.1 > 0 && self.node_available(best.0) {
                let running = self.current_node(rsc).filter(|n| self.node_available(*n) && self[*n].base.score >= 0);
                if let Some(running) = running {
                    let equals = nodes[1..].iter().take_while(|n| n.1 == best.1);
                    if let Some(stay) = equals.filter(|n| n.0 == running).last() {
                        chosen = Some(*stay);
                    }
                }
            }
        }
        if let Some(chosen) = chosen {
            self.record_ties(rsc, chosen, &nodes);
        }
        self.assign_resource(rsc, chosen, false, stop_if_fail);
    }

    /// A connection that will be up makes its node usable for what is placed later.
    fn remote_connection_assigned(&mut self, rsc: RscIdx) {
        let id = self[rsc].id.clone();
        let Some(node) = self.find_node(&id) else { return };
        if self[rsc].assigned.is_some() && self[rsc].next_role != Role::Stopped {
            self[node].online = true;
            if !self[node].seen {
                self[node].unclean = false;
            }
        } else {
            self[node].shutdown = true;
        }
    }

    /// Scores of all nodes for a resource, with those of everything that it must go with.
    pub(super) fn scores_with_colocated(&mut self, rsc: RscIdx) -> crate::model::NodeTable {
        let mut nodes = None;
        self.add_colocated_scores(rsc, None, &mut nodes, None, 1.0, Gather { this_with: true, ..Default::default() });
        nodes.unwrap_or_default()
    }
}
