//! What comes of a score on a node.

use super::Teller;
use super::ledger::{Change, Step};
use crate::model::flags::rsc as rf;
use crate::model::{INFINITY, NodeIdx, RscIdx, score_text};

impl Teller<'_> {
    /// Why nothing can run on the node, if so.
    pub(super) fn unavailable(&self, node: NodeIdx) -> Option<&'static str> {
        let n = &self.s[node];
        if n.unclean {
            Some("is unclean and waits for fencing")
        } else if n.pending && !n.online {
            Some("is still joining")
        } else if !n.online {
            Some("is offline")
        } else if n.shutdown {
            Some("is shutting down")
        } else if n.maintenance {
            Some("is in maintenance")
        } else if n.standby || n.fail_standby {
            Some(if n.fail_standby { "is in standby after a failure" } else { "is in standby" })
        } else {
            None
        }
    }

    /// The step after which the resource could not be there any more.
    pub(super) fn ban(&self, rsc: RscIdx, node: NodeIdx) -> Option<&Step> {
        let mut ban = None;
        for step in self.steps(rsc, node).filter(|s| !s.promotion && !s.late) {
            match step.sum {
                Some(sum) if sum < 0 => {
                    let decisive = matches!(step.change, Change::Add(score) | Change::Set(score) if score <= -INFINITY);
                    if ban.is_none() || (decisive && ban.is_some_and(|b: &Step| b.sum > Some(-INFINITY))) {
                        ban = Some(step);
                    }
                }
                _ => ban = None,
            }
        }
        ban
    }

    pub(super) fn verdict(&self, rsc: RscIdx, node: NodeIdx, score: Option<i32>) -> String {
        let r = &self.s[rsc];
        if !r.children.is_empty() {
            return self.collective_verdict(rsc, node, score);
        }
        let assigned = r.assigned;
        if let Some(chosen) = assigned.filter(|a| a.node == node) {
            return match () {
                () if !r.is(rf::MANAGED) => "stays here: not managed".to_owned(),
                () if self.ties(rsc).next().is_some() => {
                    let (_, why) = self.ties(rsc).next().unwrap_or((node, ""));
                    format!("chosen: no node has a better score, and this one {why}")
                }
                () => format!("chosen: the best score ({})", score_text(chosen.score)),
            };
        }
        if !r.is(rf::MANAGED) {
            return "not asked: the resource is not managed".to_owned();
        }
        self.ruled_out(rsc, node, score).unwrap_or_else(|| match assigned {
            None if self.s.options.stop_all => "possible, but stop-all-resources is set".to_owned(),
            None => "possible, but not needed".to_owned(),
            Some(chosen) => {
                let there = &self.s[chosen.node].name;
                match self.ledger.ties.get(&(rsc, node)) {
                    Some(why) => format!("possible: same score, but {there} {why}"),
                    None if score.is_some_and(|s| s < chosen.score) => format!("possible: lower score than {there}"),
                    None => format!("possible, but {there} was preferred for this instance"),
                }
            }
        })
    }

    fn ties(&self, rsc: RscIdx) -> impl Iterator<Item = (NodeIdx, &'static str)> {
        self.ledger.ties.range((rsc, NodeIdx(0))..).take_while(move |((r, _), _)| *r == rsc).map(|((_, n), w)| (*n, *w))
    }

    /// Why the resource cannot be on the node, if so.
    pub(super) fn ruled_out(&self, rsc: RscIdx, node: NodeIdx, score: Option<i32>) -> Option<String> {
        if let Some(state) = self.unavailable(node) {
            return Some(format!("not possible: the node {state}"));
        }
        let Some(score) = score else {
            return Some("not considered: no constraint names this node (symmetric-cluster=false)".to_owned());
        };
        if score >= 0 {
            return None;
        }
        let ban = self.ban(rsc, node).map(|step| self.words(step));
        Some(match ban {
            Some(words) if score <= -INFINITY => format!("ruled out: {words}"),
            Some(words) => format!("ruled out: negative score ({words})"),
            None => "ruled out: negative score".to_owned(),
        })
    }

    fn collective_verdict(&self, rsc: RscIdx, node: NodeIdx, score: Option<i32>) -> String {
        let mut there = Vec::new();
        for child in self.held(rsc) {
            let mut nodes = Vec::new();
            self.s.locations_of(child, false, &mut nodes);
            if nodes.contains(&node) {
                there.push(self.s[child].id.to_string());
            }
        }
        match there[..] {
            [] => self.ruled_out(rsc, node, score).unwrap_or_else(|| "possible".to_owned()),
            _ => format!("here: {}", there.join(", ")),
        }
    }
}
