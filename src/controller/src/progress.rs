//! How far each action of a graph is, and which may run next; kept so that one report costs what waits for it, not what the
//! graph weighs.
//!
//! ```text
//! waiting --last input done--> ready --begun--> running --ended well--> done
//!                                                  '------ended badly-> failed (whoever waits for it never runs)
//! ```

use scheduler::graph::{Action, ActionId, ActionKind};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Waiting,
    Running,
    Done,
    Failed,
}

/// Actions are named by their position in the graph.
pub struct Progress {
    entries: Vec<Entry>,
    positions: BTreeMap<ActionId, usize>,
    /// Ordering points that may be passed.
    points: Vec<usize>,
    hosts: Vec<Host>,
    running: usize,
    done: usize,
    failed: usize,
}

struct Entry {
    stage: Stage,
    /// Inputs that are not done; one that is not in the graph never is.
    open: usize,
    /// Who has this one as an input.
    followers: Vec<usize>,
    host: usize,
    point: bool,
}

/// Where actions run: their load, and what may run there.
#[derive(Default)]
struct Host {
    running: usize,
    ready: BTreeSet<usize>,
}

/// Limits to how much runs at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// In the whole cluster; 0 is no limit.
    pub batch: usize,
    pub per_node: usize,
}

impl Progress {
    pub fn new(actions: &[Action]) -> Progress {
        let positions: BTreeMap<ActionId, usize> = actions.iter().enumerate().map(|(at, a)| (a.id, at)).collect();
        let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::with_capacity(actions.len());
        for action in actions {
            let next = hosts.len();
            entries.push(Entry {
                stage: Stage::Waiting,
                open: action.inputs.len(),
                followers: Vec::new(),
                host: *hosts.entry(host(action)).or_insert(next),
                point: matches!(action.kind, ActionKind::Pseudo { .. }),
            });
        }
        for (at, action) in actions.iter().enumerate() {
            for input in action.inputs.iter().filter_map(|id| positions.get(id)) {
                entries[*input].followers.push(at);
            }
        }
        let hosts = hosts.iter().map(|_| Host::default()).collect();
        let mut progress = Progress { entries, positions, points: Vec::new(), hosts, running: 0, done: 0, failed: 0 };
        for at in 0..progress.entries.len() {
            if progress.entries[at].open == 0 {
                progress.ready(at);
            }
        }
        progress
    }

    /// Passes every ordering point that waits for nothing.
    pub fn pass_points(&mut self) {
        while let Some(at) = self.points.pop() {
            if self.entries[at].stage == Stage::Waiting {
                self.finish(at, true);
            }
        }
    }

    /// The first action, in the graph's order, that may run within the limits; from now on it runs. `held` ones wait on.
    pub fn begin(&mut self, limits: Limits, held: impl Fn(usize) -> bool) -> Option<usize> {
        if limits.batch != 0 && self.running >= limits.batch {
            return None;
        }
        let has_room = |h: &&Host| limits.per_node == 0 || h.running < limits.per_node;
        let first = |h: &Host| h.ready.iter().copied().find(|at| !held(*at));
        let at = self.hosts.iter().filter(has_room).filter_map(first).min()?;
        self.run(at);
        Some(at)
    }

    /// Marks an action as running that something else has begun, whatever it waits for.
    pub fn take(&mut self, id: ActionId) {
        if let Some(at) = self.positions.get(&id).copied().filter(|at| self.entries[*at].stage == Stage::Waiting) {
            self.run(at);
        }
    }

    /// A running action has ended; false if it was not running.
    pub fn confirm(&mut self, id: ActionId, ok: bool) -> bool {
        let Some(at) = self.positions.get(&id).copied() else { return false };
        if self.entries[at].stage != Stage::Running {
            return false;
        }
        self.running -= 1;
        self.hosts[self.entries[at].host].running -= 1;
        self.finish(at, ok);
        true
    }

    pub fn is_waiting(&self, id: ActionId) -> bool {
        self.positions.get(&id).is_some_and(|at| self.entries[*at].stage == Stage::Waiting)
    }

    pub fn is_done_or_runs(&self, id: ActionId) -> bool {
        self.positions.get(&id).is_some_and(|at| matches!(self.entries[*at].stage, Stage::Done | Stage::Running))
    }

    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether an action may run, or is only held back.
    pub fn has_ready(&self) -> bool {
        !self.points.is_empty() || self.hosts.iter().any(|h| !h.ready.is_empty())
    }

    /// Done, failed and never started.
    pub fn tally(&self) -> (usize, usize, usize) {
        (self.done, self.failed, self.entries.len() - self.done - self.failed - self.running)
    }

    fn run(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        entry.stage = Stage::Running;
        let host = &mut self.hosts[entry.host];
        host.ready.remove(&at);
        host.running += 1;
        self.running += 1;
    }

    fn finish(&mut self, at: usize, ok: bool) {
        if !ok {
            self.entries[at].stage = Stage::Failed;
            self.failed += 1;
            return;
        }
        self.entries[at].stage = Stage::Done;
        self.done += 1;
        for follower in std::mem::take(&mut self.entries[at].followers) {
            self.entries[follower].open -= 1;
            if self.entries[follower].open == 0 && self.entries[follower].stage == Stage::Waiting {
                self.ready(follower);
            }
        }
    }

    fn ready(&mut self, at: usize) {
        let entry = &self.entries[at];
        if entry.point {
            self.points.push(at);
        } else {
            self.hosts[entry.host].ready.insert(at);
        }
    }
}

/// The node that carries an action's load.
fn host(action: &Action) -> &str {
    match &action.kind {
        ActionKind::Resource(_) => action.router_node().or(action.target().map(|t| t.node.as_str())).unwrap_or(""),
        _ => "",
    }
}
