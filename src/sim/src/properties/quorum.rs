//! Never two quorate partitions at once, but where the configuration admits it (`two_node`, or `lms` with `wait_for_all`); and with `wait_for_all` nobody is
//! quorate who has neither seen all nodes since its start nor been told by somebody who has. Without an arbitrator whoever is with more
//! than half of the nodes of its file is quorate, and nobody else is.

use crate::world::World;
use base::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a process makes of its view.
#[derive(Clone, Debug)]
struct Verdict {
    members: Vec<NodeId>,
    /// Its file admits that others are quorate, too.
    admits_two: bool,
}

#[derive(Default)]
pub struct Quorum {
    quorate: BTreeMap<NodeId, Verdict>,
    /// Processes that need not wait any more.
    seen_all: BTreeSet<NodeId>,
    pub broken: Option<String>,
}

impl Quorum {
    pub fn begins(&mut self, id: NodeId) {
        self.seen_all.remove(&id);
    }

    pub fn ends(&mut self, id: NodeId) {
        self.quorate.remove(&id);
    }

    fn verdict(&mut self, id: NodeId, verdict: Verdict, waits: bool, asleep: &BTreeSet<NodeId>) {
        let members = &verdict.members;
        let apart = |(node, other): &(&NodeId, &Verdict)| {
            let admitted = verdict.admits_two || other.admits_two || asleep.contains(node);
            !admitted && !other.members.iter().any(|m| members.contains(m))
        };
        if let Some((other, theirs)) = self.quorate.iter().find(apart) {
            let theirs = &theirs.members;
            self.broken
                .get_or_insert(format!("node {id} with {members:?} and node {other} with {theirs:?} both are quorate"));
        }
        if waits && !members.iter().any(|m| self.seen_all.contains(m)) {
            self.broken.get_or_insert(format!(
                "node {id} is quorate with {members:?}, of which nobody has seen all nodes since its start"
            ));
        }
        self.seen_all.insert(id);
        self.quorate.insert(id, verdict);
    }
}

impl World {
    /// The process has a new view, another quorum or another file.
    pub(crate) fn judged(&mut self, id: NodeId) {
        let Some(p) = &self.host(id).process else { return };
        let (config, quorate) = (p.quorum.config(), p.quorum.is_quorate());
        let new = p.site.arbitrator.is_some() && self.arbiter.is_new(self.now);
        let verdict = Verdict { members: p.members.clone(), admits_two: p.site.admits_two() || new };
        let waits = config.wait_for_all();
        let complete = p.site.nodes.iter().all(|n| verdict.members.contains(n));
        // Who stands still, or is out of its ring, does nothing with a vote of the arbitrator's that it has lost meanwhile.
        let idle = |p: &crate::process::Process| p.hung_until.is_some() || !p.current;
        let stands = |h: &&crate::host::Host| !h.runs() || h.process.as_ref().is_some_and(idle);
        let arbitrated = p.site.arbitrator.is_some();
        let asleep = self.hosts().filter(|h| arbitrated && stands(h)).map(|h| h.id).collect();
        if complete {
            self.book.quorum.seen_all.insert(id);
        }
        if quorate {
            self.book.quorum.verdict(id, verdict, waits, &asleep);
        } else {
            self.book.quorum.quorate.remove(&id);
        }
        self.check_own_majority(id);
        self.check_majority(id);
    }

    fn check_majority(&mut self, id: NodeId) {
        let Some(p) = self.host(id).process.as_ref().filter(|p| p.site.arbitrator.is_none()) else { return };
        let here = p.members.iter().filter(|m| p.site.nodes.contains(m)).count();
        let majority = here > p.site.nodes.len() / 2;
        let free = p.quorum.config().two_node_effective() || p.quorum.is_waiting_for_all();
        if !free && majority != p.quorum.is_quorate() {
            let (members, nodes) = (&p.members, &p.site.nodes);
            let text = format!("node {id} with {members:?} of {nodes:?}: quorate {}", p.quorum.is_quorate());
            self.book.fail("quorum", self.now, text);
        }
    }
}
