//! Constraints among what was generated. Scores that keep a resource from running altogether are not among them: at the end of a
//! run everything has to run.

use super::{Configuration, Maker, Still};
use crate::world::START_WALL_MS;
use std::fmt::Write;

#[derive(Clone, Debug)]
pub enum Constraint {
    Prefers {
        resource: String,
        node: u32,
        score: i64,
    },
    /// A preference while a rule holds.
    Rule {
        resource: String,
        score: i64,
        rule: Rule,
    },
    With {
        resource: String,
        with: String,
        score: &'static str,
    },
    After {
        first: String,
        then: String,
        kind: &'static str,
    },
    /// They start one after the other.
    OrderedSet {
        members: Vec<String>,
    },
    /// They would like to be together.
    ColocatedSet {
        members: Vec<String>,
    },
    /// It runs only while the ticket is granted.
    Ticket {
        resource: String,
        ticket: &'static str,
        loss_policy: &'static str,
    },
}

#[derive(Clone, Debug)]
pub enum Rule {
    Named {
        node: u32,
    },
    /// From the one second of the run to the other.
    Between {
        node: u32,
        from_s: u64,
        to_s: u64,
    },
    /// Nodes with, or without, a transient attribute.
    Attribute {
        name: String,
        operation: &'static str,
    },
}

impl Rule {
    fn expressions(&self, id: &str) -> String {
        let named = |node: u32| {
            format!("<expression id=\"{id}-n\" attribute=\"#uname\" operation=\"eq\" value=\"node{node}\"/>")
        };
        let date = |seconds: u64| base::dates::to_text(START_WALL_MS / 1_000 + 1 + seconds as i64);
        match self {
            Rule::Named { node } => named(*node),
            Rule::Between { node, from_s, to_s } => format!(
                "{}<date_expression id=\"{id}-d\" operation=\"in_range\" start=\"{}\" end=\"{}\"/>",
                named(*node),
                date(*from_s),
                date(*to_s)
            ),
            Rule::Attribute { name, operation } => {
                format!("<expression id=\"{id}-a\" attribute=\"{name}\" operation=\"{operation}\"/>")
            }
        }
    }
}

impl Constraint {
    pub fn is_about(&self, id: &str) -> bool {
        match self {
            Constraint::Prefers { resource, .. }
            | Constraint::Rule { resource, .. }
            | Constraint::Ticket { resource, .. } => resource == id,
            Constraint::With { resource, with, .. } => resource == id || with == id,
            Constraint::After { first, then, .. } => first == id || then == id,
            Constraint::OrderedSet { members } | Constraint::ColocatedSet { members } => {
                members.iter().any(|m| m == id)
            }
        }
    }

    pub(super) fn to_xml(&self, at: usize) -> String {
        let set = |members: &[String], sequential: bool| {
            let mut text = format!("<resource_set id=\"c{at}-s\" sequential=\"{sequential}\">");
            for member in members {
                let _ = write!(text, "<resource_ref id=\"{member}\"/>");
            }
            text + "</resource_set>"
        };
        match self {
            Constraint::Prefers { resource, node, score } => {
                format!("<rsc_location id=\"c{at}\" rsc=\"{resource}\" node=\"node{node}\" score=\"{score}\"/>")
            }
            Constraint::Rule { resource, score, rule } => format!(
                "<rsc_location id=\"c{at}\" rsc=\"{resource}\"><rule id=\"c{at}-r\" score=\"{score}\" boolean-op=\"and\">{}</rule></rsc_location>",
                rule.expressions(&format!("c{at}"))
            ),
            Constraint::With { resource, with, score } => {
                format!("<rsc_colocation id=\"c{at}\" rsc=\"{resource}\" with-rsc=\"{with}\" score=\"{score}\"/>")
            }
            Constraint::After { first, then, kind } => {
                format!("<rsc_order id=\"c{at}\" first=\"{first}\" then=\"{then}\" kind=\"{kind}\"/>")
            }
            Constraint::OrderedSet { members } => {
                format!("<rsc_order id=\"c{at}\" kind=\"Mandatory\">{}</rsc_order>", set(members, true))
            }
            Constraint::ColocatedSet { members } => {
                format!("<rsc_colocation id=\"c{at}\" score=\"200\">{}</rsc_colocation>", set(members, true))
            }
            Constraint::Ticket { resource, ticket, loss_policy } => format!(
                "<rsc_ticket id=\"c{at}\" rsc=\"{resource}\" ticket=\"{ticket}\" loss-policy=\"{loss_policy}\"/>"
            ),
        }
    }
}

impl Configuration {
    /// Tickets that some constraint asks for.
    pub fn tickets(&self) -> Vec<&'static str> {
        let ticket = |c: &Constraint| match c {
            Constraint::Ticket { ticket, .. } => Some(*ticket),
            _ => None,
        };
        self.constraints.iter().filter_map(ticket).collect()
    }

    /// Pairs of which the second starts after the first, for as long as both are there.
    pub fn mandatory_orders(&self) -> Vec<(&str, &str)> {
        let mut pairs = Vec::new();
        for constraint in &self.constraints {
            match constraint {
                Constraint::After { first, then, kind: "Mandatory" } => pairs.push((first.as_str(), then.as_str())),
                Constraint::OrderedSet { members } => {
                    pairs.extend(members.iter().zip(members.iter().skip(1)).map(|(a, b)| (a.as_str(), b.as_str())));
                }
                _ => {}
            }
        }
        pairs
    }
}

impl Maker<'_> {
    pub(super) fn constraints(&mut self, still: Still) {
        for resource in self.made.movable() {
            if self.rng.percent(30) {
                let node = self.node();
                let score = *self.rng.pick(&[50, 100, 500]);
                self.made.constraints.push(Constraint::Prefers { resource: resource.clone(), node, score });
            }
            if self.rng.percent(15) {
                self.rule(&resource, still);
            }
            if resource == "director" {
                continue;
            }
            if self.rng.percent(25) {
                let score = *self.rng.pick(&["INFINITY", "100", "-100"]);
                let with = "director".to_owned();
                self.made.constraints.push(Constraint::With { resource: resource.clone(), with, score });
            }
            if self.rng.percent(25) {
                let kind = *self.rng.pick(&["Mandatory", "Optional"]);
                let first = "director".to_owned();
                self.made.constraints.push(Constraint::After { first, then: resource.clone(), kind });
            }
            if still == Still::No && self.rng.percent(10) {
                let loss_policy = *self.rng.pick(&["stop", "freeze", "demote"]);
                self.made.constraints.push(Constraint::Ticket { resource, ticket: "site", loss_policy });
            }
        }
        self.sets();
        let clones: Vec<String> = self.made.clones.iter().filter(|c| !c.promotable).map(|c| c.id.clone()).collect();
        for first in clones {
            if self.rng.percent(60) {
                continue;
            }
            self.made.constraints.push(Constraint::After { first, then: "director".into(), kind: "Mandatory" });
        }
    }

    fn node(&mut self) -> u32 {
        self.rng.between(1, u64::from(self.made.nodes)) as u32
    }

    fn rule(&mut self, resource: &str, still: Still) {
        let node = self.node();
        let rule = match self.rng.below(3) {
            0 if still == Still::No => {
                let from_s = self.rng.between(5, 25);
                Rule::Between { node, from_s, to_s: from_s + self.rng.between(2, 15) }
            }
            1 if still == Still::No => {
                let operation = *self.rng.pick(&["defined", "not_defined"]);
                Rule::Attribute { name: format!("a{}", self.rng.below(4)), operation }
            }
            _ => Rule::Named { node },
        };
        let score = *self.rng.pick(&[50, 300]);
        self.made.constraints.push(Constraint::Rule { resource: resource.to_owned(), score, rule });
    }

    /// Sets of what has no group around it, in the order in which it was made, so that no circle comes about.
    fn sets(&mut self) {
        let members = self.made.movable();
        if members.len() < 3 {
            return;
        }
        if self.rng.percent(15) {
            self.made.constraints.push(Constraint::OrderedSet { members: members.clone() });
        }
        if self.rng.percent(15) {
            self.made.constraints.push(Constraint::ColocatedSet { members });
        }
    }
}
