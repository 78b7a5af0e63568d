//! No change that was told as safe is lost, unless disks have forgotten it; no attribute of a process that still lives. When it is told, it is on more than half of
//! the disks.

use crate::clients::{Answer, Mark};
use crate::world::World;
use base::NodeId;

impl World {
    /// A client is told so at this moment.
    pub(crate) fn check_safe(&mut self, client: u64, what: &Mark) {
        let Mark::Property(name) = what else { return };
        let id = format!("opt-{name}");
        let holds = |h: &&crate::host::Host| h.disk.content.as_ref().is_some_and(|c| c.cib.find_id(&id).is_some());
        let holders: Vec<NodeId> = self.plan.hosts().map(|id| self.host(id)).filter(holds).map(|h| h.id).collect();
        let disks = holders.len();
        let needed = self.disks_needed(client);
        if let Some(asked) = self.clients.asked.get_mut(&client) {
            asked.holders = holders;
        }
        if disks < needed {
            let text = format!("{name} is told as safe, and {disks} disks hold it, {needed} are needed");
            self.book.fail("safe_changes", self.now, text);
        }
    }
}

impl World {
    /// More than half of the votes, as the node that was asked expects them; where an arbitrator makes up for nodes, the disks of
    /// all that are there.
    fn disks_needed(&self, client: u64) -> usize {
        let node = self.clients.asked.get(&client).map(|a| a.node);
        let Some(p) = node.and_then(|n| self.host(n).process.as_ref()) else { return 0 };
        let expected = p.site.nodes.len() + p.site.device_votes().unwrap_or(0) as usize;
        let here = if p.site.arbitrator.is_some() { p.members.len() } else { expected };
        (expected / 2 + 1).min(here)
    }
}

pub fn check(world: &World) -> Result<(), String> {
    let Some(host) = world.hosts().find(|h| h.process.is_some()) else { return Err("nobody is there".to_owned()) };
    let Some(p) = &host.process else { return Err("nobody is there".to_owned()) };
    let text = p.controller.cib().root().to_pretty();
    for (client, asked) in &world.clients.asked {
        let remember = asked.holders.iter().filter(|h| !world.book.forgetful.contains(h)).count();
        // Any later quorum has one of them, then; with `lms` the last man may have none.
        let votes = world.site.nodes.len() + world.site.device_votes().unwrap_or(0) as usize;
        let told_safe = asked.answer == Some(Answer::Safe) && remember * 2 > votes;
        let lives = world.host(asked.node).process.as_ref().is_some_and(|p| p.life == asked.life);
        let lost = match &asked.what {
            Mark::Property(name) if told_safe => !text.contains(&format!("name=\"{name}\"")),
            Mark::Attribute(name) if lives && asked.answer.is_some_and(|a| a != Answer::Refused) => {
                !text.contains(&format!("name=\"{name}\""))
            }
            _ => false,
        };
        if lost {
            return Err(format!(
                "request {client} of {:?} at node {} was told {:?} and is lost: {:?}",
                asked.at, asked.node, asked.answer, asked.what
            ));
        }
        if lives && asked.answer.is_none() {
            return Err(format!(
                "request {client} of {:?} at node {} was never answered: {:?}",
                asked.at, asked.node, asked.what
            ));
        }
    }
    Ok(())
}
