//! Where each placement comes from, for people: per node the way from rule to score to verdict, and in a sentence why a
//! resource is where it is or not running.
//!
//! [`ledger`] is written while placement goes on; everything else here only reads the finished model.

pub(crate) mod ledger;
mod verdict;
mod why;
mod words;

use crate::model::flags::{act, rsc as rf};
use crate::model::{NodeIdx, RscIdx, Sched, Variant};
use crate::pipeline::{self, Mode};
use crate::status::Role;
use crate::{ScheduleError, with_deep_stack};
use base::WallTime;
use ledger::{Change, Ledger};
use std::collections::BTreeMap;
use xml::Element;

/// A part of a score: a constraint, a rule, stickiness, failures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// What kind of rule: `location`, `colocation`, `stickiness` and so on.
    pub kind: &'static str,
    /// Id of the constraint or rule, where it has one.
    pub id: Option<String>,
    pub text: String,
    /// It came when the resource had its place already, and did not change that.
    pub late: bool,
    /// What it adds; `None` if it replaces the sum.
    pub adds: Option<i32>,
    /// The sum with it; `None` if the node is no longer considered.
    pub sum: Option<i32>,
}

/// What a resource thinks of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeScore {
    pub node: String,
    /// In the order applied.
    pub steps: Vec<Step>,
    /// Parts of the score for being promoted here, of an instance of a promotable clone.
    pub promotion: Vec<Step>,
    pub score: Option<i32>,
    pub promotion_score: Option<i32>,
    pub chosen: bool,
    pub verdict: String,
}

/// An action that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub operation: String,
    pub node: Option<String>,
    pub reason: Option<String>,
    /// Whether it can be done.
    pub possible: bool,
}

/// One resource, or one instance of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// With instance number where it has one.
    pub id: String,
    /// As configured.
    pub name: String,
    /// `primitive`, `group`, `clone` or `bundle`.
    pub kind: &'static str,
    /// Of a primitive, e.g. `ocf:heartbeat:IPaddr2`.
    pub agent: Option<String>,
    pub parent: Option<String>,
    /// Depth below the outermost resource.
    pub depth: usize,
    pub managed: bool,
    pub role: Role,
    pub next_role: Role,
    pub active_on: Vec<String>,
    /// Where it will be; `None` is nowhere.
    pub node: Option<String>,
    pub nodes: Vec<NodeScore>,
    pub wanted: Vec<Wanted>,
    /// One sentence.
    pub why: String,
}

/// A score as it was settled, and what its recorded parts add up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settled {
    pub resource: String,
    pub node: Option<String>,
    pub promotion: bool,
    pub score: i32,
    pub sum: Option<i32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Explanation {
    /// Outer resources before what they hold.
    pub parts: Vec<Part>,
    pub settled: Vec<Settled>,
    pub quorate: bool,
}

impl Explanation {
    /// What is called `id` (as configured, or an instance), with all that it holds.
    pub fn of(&self, id: &str) -> Vec<&Part> {
        let mut found: Vec<&Part> = Vec::new();
        for part in &self.parts {
            let inside = part.parent.as_ref().is_some_and(|p| found.iter().any(|f| f.id == *p));
            if part.id == id || part.name == id || inside {
                found.push(part);
            }
        }
        found
    }
}

/// Schedules, and tells how the result came about.
pub fn explain(cib: &Element, now: WallTime) -> Result<Explanation, ScheduleError> {
    with_deep_stack(|| {
        let cib = &cib::upgrade::upgraded(cib).cib;
        let mut s = Sched::unpack_with(cib, now, Some(Ledger::default()))?;
        pipeline::decide(&mut s, cib, now, &Mode { transition: 1, ..Default::default() });
        let ledger = s.ledger.take().unwrap_or_default();
        let mut places: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (i, step) in ledger.steps.iter().enumerate() {
            places.entry((step.resource, step.node)).or_default().push(i);
        }
        Ok(Teller { s, ledger, places, cib }.all())
    })?
}

/// The steps without those of attempts that were taken back.
fn without_attempts<'a>(steps: impl Iterator<Item = &'a ledger::Step>) -> Vec<&'a ledger::Step> {
    let mut kept: Vec<&ledger::Step> = Vec::new();
    for step in steps {
        let before = kept.iter().rposition(|s| s.sum == step.sum).filter(|_| step.source == ledger::TAKEN_BACK);
        match before {
            Some(at) => kept.truncate(at + 1),
            None => kept.push(step),
        }
    }
    kept
}

/// The finished model with its book.
struct Teller<'a> {
    s: Sched,
    ledger: Ledger,
    /// Numbers of the steps about a resource on a node.
    places: BTreeMap<(RscIdx, NodeIdx), Vec<usize>>,
    cib: &'a Element,
}

impl Teller<'_> {
    fn all(mut self) -> Explanation {
        let mut explanation = Explanation { quorate: self.s.quorate, ..Default::default() };
        for rsc in self.s.top.clone() {
            self.tree(rsc, 0, &mut explanation.parts);
        }
        let settled = self.ledger.settled.iter().map(|line| Settled {
            resource: self.s[line.resource].id.to_string(),
            node: line.node.map(|n| self.s[n].name.to_string()),
            promotion: line.stage == ledger::PROMOTION,
            score: line.score,
            sum: line.sum,
        });
        explanation.settled = settled.collect();
        explanation
    }

    fn tree(&mut self, rsc: RscIdx, depth: usize, parts: &mut Vec<Part>) {
        let part = self.part(rsc, depth);
        parts.push(part);
        for child in self.held(rsc) {
            self.tree(child, depth + 1, parts);
        }
    }

    /// What a resource is made of, in the order of display.
    fn held(&self, rsc: RscIdx) -> Vec<RscIdx> {
        if self.s[rsc].variant != Variant::Bundle {
            let mut children = self.s[rsc].children.clone();
            if self.s[rsc].is_clone() {
                self.s.sort_by_number(&mut children);
            }
            return children;
        }
        let replicas = self.s[rsc].bundle.replicas.iter();
        replicas.flat_map(|r| [r.ip, Some(r.container), r.remote, r.child]).flatten().collect()
    }

    fn part(&mut self, rsc: RscIdx, depth: usize) -> Part {
        let nodes = self.node_scores(rsc);
        let why = self.why(rsc, &nodes);
        let s = &self.s;
        let r = &s[rsc];
        let name = |n: &NodeIdx| s[*n].name.to_string();
        let mut active: Vec<NodeIdx> = Vec::new();
        s.locations_of(rsc, true, &mut active);
        let wanted = r.actions.iter().map(|a| &s[*a]).filter(|a| r.is_primitive() && !a.is(act::OPTIONAL));
        Part {
            id: r.id.to_string(),
            name: r.xml_id().to_string(),
            kind: match r.variant {
                Variant::Primitive => "primitive",
                Variant::Group => "group",
                Variant::Clone => "clone",
                Variant::Bundle => "bundle",
            },
            agent: r.is_primitive().then(|| self.agent(rsc)),
            // The bundled resource's instances are shown with their replicas.
            parent: r
                .parent
                .map(|p| if s.is_bundled(p) && depth > 0 { s.top_of(p, true) } else { p })
                .map(|p| s[p].id.to_string()),
            depth,
            managed: r.is(rf::MANAGED),
            role: s.role_of(rsc, true),
            next_role: s.role_of(rsc, false),
            active_on: active.iter().map(name).collect(),
            node: r.assigned.map(|a| name(&a.node)),
            nodes,
            wanted: wanted
                .map(|a| Wanted {
                    operation: a.task.to_string(),
                    node: a.node.as_ref().map(name),
                    reason: a.reason.as_ref().map(|t| t.to_string()),
                    possible: a.is(act::RUNNABLE),
                })
                .collect(),
            why,
        }
    }

    fn agent(&self, rsc: RscIdx) -> String {
        let conf = &self.s[rsc].conf;
        let parts = [&conf.class, &conf.provider, &conf.agent].map(|p| p.as_ref());
        parts.into_iter().flatten().map(|p| &**p).collect::<Vec<_>>().join(":")
    }

    fn steps(&self, rsc: RscIdx, node: NodeIdx) -> impl Iterator<Item = &ledger::Step> {
        self.places.get(&(rsc, node)).into_iter().flatten().map(|i| &self.ledger.steps[*i])
    }

    /// Every node that the resource has an opinion of, or could have.
    fn node_scores(&mut self, rsc: RscIdx) -> Vec<NodeScore> {
        let mut list = Vec::new();
        for node in self.s.node_order.clone() {
            let of = |promotion: bool| self.steps(rsc, node).filter(move |st| st.promotion == promotion);
            let inside = self.s.is_bundle_node(node) && self.s.node_order.len() > 1;
            if of(false).next().is_none() && (inside || self.s.options.symmetric) {
                continue;
            }
            let convert = |step: &ledger::Step| Step {
                kind: self.kind(&step.source),
                id: self.source_id(&step.source),
                text: self.words(step),
                late: step.late,
                adds: match step.change {
                    Change::Add(score) => Some(score),
                    Change::Set(_) | Change::Forget => None,
                },
                sum: step.sum,
            };
            let steps: Vec<Step> = without_attempts(of(false)).into_iter().map(convert).collect();
            let promotion: Vec<Step> = of(true).map(convert).collect();
            let score = steps.iter().rev().find(|s| !s.late).and_then(|s| s.sum);
            // Banned inside containers is no news where no constraint has said anything.
            let usual = |s: &Step| ["container", "default", "node", "instances", "remote"].contains(&s.kind);
            if inside && steps.iter().all(usual) && score.is_none_or(|s| s < 0) {
                continue;
            }
            list.push(NodeScore {
                node: self.s[node].name.to_string(),
                promotion_score: promotion.last().and_then(|s| s.sum),
                steps,
                promotion,
                score,
                chosen: self.s[rsc].assigned.is_some_and(|a| a.node == node),
                verdict: self.verdict(rsc, node, score),
            });
        }
        list
    }
}
