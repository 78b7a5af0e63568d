//! `rsc_ticket`: what may only run while a ticket is granted.

use super::Named;
use crate::model::flags::rsc as rf;
use crate::model::{INFINITY, Index, LossPolicy, RscIdx, RscTicket, Sched, Str};
use crate::status::Role;
use xml::Element;

impl Sched {
    pub(super) fn unpack_rsc_ticket(&mut self, e: &Element, index: &Index<'_>) {
        let id = e.id().unwrap_or_default().to_owned();
        let Some(ticket) = e.attr("ticket").filter(|t| !t.is_empty()).map(Str::from) else {
            self.error(format!("Ignoring constraint '{id}' without ticket"));
            return;
        };
        self.tickets.entry(ticket.clone()).or_default();
        let policy = e.attr("loss-policy");
        let sets = self.constraint_sets(e, index);
        if !sets.is_empty() {
            for set in &sets {
                let set_id = set.id.clone().unwrap_or_else(|| "".into());
                for member in &set.members {
                    let Some(rsc) = self.constraint_resource(member) else {
                        self.error(format!("{set_id}: No resource found for {member}"));
                        return;
                    };
                    self.new_rsc_ticket(&set_id, rsc, &ticket, set.role.as_deref(), policy);
                }
            }
            return;
        }
        let Some(name) = e.attr("rsc") else {
            self.error(format!("Ignoring constraint '{id}' without resource"));
            return;
        };
        match self.named(name) {
            Some(Named::Resource(rsc)) => self.new_rsc_ticket(&id, rsc, &ticket, e.attr("rsc-role"), policy),
            Some(Named::Tag(refs)) => {
                for member in refs {
                    let Some(rsc) = self.constraint_resource(&member) else {
                        self.error(format!("{name}: No resource found for {member}"));
                        return;
                    };
                    self.new_rsc_ticket(name, rsc, &ticket, e.attr("rsc-role"), policy);
                }
            }
            None => self.not_valid(e, name),
        }
    }

    fn new_rsc_ticket(&mut self, id: &str, rsc: RscIdx, ticket: &Str, role: Option<&str>, policy: Option<&str>) {
        let Some(role) = self.constraint_role(id, role) else { return };
        let policy = match policy.map(str::to_ascii_lowercase).as_deref() {
            Some("fence") if self.options.fencing_enabled => LossPolicy::Fence,
            Some("fence") => {
                self.error(format!(
                    "Resetting 'loss-policy' for ticket '{ticket}' to 'stop' because fencing is not configured"
                ));
                LossPolicy::Stop
            }
            Some("freeze") => LossPolicy::Freeze,
            Some("demote") => LossPolicy::Demote,
            Some("stop") => LossPolicy::Stop,
            _ if role == Role::Promoted => LossPolicy::Demote,
            _ => LossPolicy::Stop,
        };
        let made = RscTicket { ticket: ticket.clone(), policy, role };
        self[rsc].tickets.push(made.clone());
        if !self.ticket_usable(ticket) {
            self.apply_ticket(rsc, &made);
        }
    }

    fn ticket_usable(&self, ticket: &str) -> bool {
        self.tickets.get(ticket).is_some_and(|t| t.granted && !t.standby)
    }

    fn apply_ticket(&mut self, rsc: RscIdx, t: &RscTicket) {
        if self.ticket_usable(&t.ticket) {
            return;
        }
        if !self[rsc].children.is_empty() {
            for child in self[rsc].children.clone() {
                self.apply_ticket(child, t);
            }
            return;
        }
        let granted = self.tickets.get(&t.ticket).is_some_and(|t| t.granted);
        let role_matches = t.role == Role::Unknown || t.role == self[rsc].orig_role;
        if granted || self[rsc].active_nodes.is_empty() {
            if t.role != Role::Promoted || t.policy == LossPolicy::Stop {
                self.add_location(rsc, None, -INFINITY, if granted { "__ticket_standby__" } else { "__no_ticket__" });
            }
            return;
        }
        match t.policy {
            LossPolicy::Stop => self.add_location(rsc, None, -INFINITY, "__loss_of_ticket__"),
            LossPolicy::Demote if t.role != Role::Promoted => {
                self.add_location(rsc, None, -INFINITY, "__loss_of_ticket__");
            }
            LossPolicy::Fence if role_matches => {
                self.add_location(rsc, None, -INFINITY, "__loss_of_ticket__");
                for node in self[rsc].active_nodes.clone() {
                    self.fence_node(node, "deadman ticket was lost", false);
                }
            }
            LossPolicy::Freeze if role_matches => {
                self.clear(rsc, rf::MANAGED);
                self.set(rsc, rf::BLOCKED);
            }
            _ => {}
        }
    }

    /// Without a ticket that promotion needs, no instance may be promoted.
    pub fn require_promotion_tickets(&mut self, rsc: RscIdx) {
        for t in self[rsc].tickets.clone() {
            if t.role == Role::Promoted && !self.ticket_usable(&t.ticket) {
                self.add_location(rsc, None, -INFINITY, "__stateful_without_ticket__");
            }
        }
    }
}
