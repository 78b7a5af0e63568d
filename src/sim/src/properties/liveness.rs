//! When the trouble is over the cluster comes to rest within a bound, and everything that should run runs once.

use crate::world::World;
use base::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// From the end of all trouble to a cluster at rest: what hangs has its time-out (8 s) three times over, a fenced machine its way
/// up (18 s), a start that is held back its 32 s, and the recheck its 20 s.
pub const CONVERGENCE: Duration = Duration::from_secs(150);
/// It has to stay at rest for that long.
pub const REST: Duration = Duration::from_secs(3);

impl World {
    /// Everybody is there, in one view and in step, and nothing is under way.
    pub(crate) fn at_rest(&self) -> Result<(), String> {
        if self.work.is_some() || !self.file_runs() {
            return Err(format!("not everybody runs with file {}", self.site.number));
        }
        let ids = self.ids();
        let mut views = BTreeSet::new();
        let mut coordinators = BTreeSet::new();
        for host in self.hosts() {
            let Some(p) = host.process.as_ref().filter(|_| host.runs()) else {
                return Err(format!("node {} does not run", host.id));
            };
            if p.arbitration.client.as_ref().is_some_and(|c| !c.is_ready()) {
                return Err(format!("node {} has not reached the arbitrator", host.id));
            }
            let status = p.controller.status();
            if status.members != ids || !status.synced || !status.quorate {
                return Err(format!("node {}: {} with {:?}", host.id, status.state, status.members));
            }
            views.insert(status.view);
            coordinators.insert(status.dc);
            let busy = p.running.values().find(|o| o.interval_ms == 0);
            if let Some(operation) = busy {
                return Err(format!("node {} is at {}", host.id, operation.key()));
            }
            if let Some(event) = status.fencing.iter().find(|e| e.ok.is_none()) {
                return Err(format!("under way: {event}"));
            }
            if status.dc == Some(host.id) && status.state != "idle" {
                return Err(format!("the coordinator, node {}: {}", host.id, status.state));
            }
        }
        match (views.len(), coordinators.len()) {
            (1, 1) => Ok(()),
            _ => Err(format!("views {views:?}, coordinators {coordinators:?}")),
        }
    }

    /// Runs until the cluster has been at rest for a while.
    pub(crate) fn settle(&mut self) -> Result<Duration, String> {
        let begin = self.now;
        let mut since: Option<Time> = None;
        while self.book.broken.is_none() {
            match self.at_rest() {
                Ok(()) if since.is_some_and(|at| self.now.since(at) >= REST) => return Ok(self.now.since(begin)),
                Ok(()) => since = since.or(Some(self.now)),
                Err(why) => {
                    since = None;
                    if self.now.since(begin) > CONVERGENCE {
                        return Err(format!("not at rest {CONVERGENCE:?} after all trouble: {why}"));
                    }
                }
            }
            self.run_ms(250);
            if !self.file_runs() {
                self.finish_reload();
            }
        }
        Err("another property does not hold".to_owned())
    }
}

/// What nothing keeps from running runs once; a clone on every node.
pub fn check(world: &World) -> Result<(), String> {
    let configuration = &world.plan.configuration;
    for primitive in &configuration.primitives {
        let nodes: Vec<u32> =
            world.hosts().filter(|h| h.active().contains(primitive.id.as_str())).map(|h| h.id.0).collect();
        let wanted = if configuration.is_clone(&primitive.id) { world.site.nodes.len() } else { 1 };
        if nodes.len() != wanted {
            return Err(format!("{} is active on {nodes:?}, wanted on {wanted}", primitive.id));
        }
    }
    Ok(())
}
