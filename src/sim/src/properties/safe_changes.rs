//! No change that was told as safe is lost; no attribute of a process that still lives.

use crate::clients::{Answer, Mark};
use crate::world::World;

pub fn check(world: &World) -> Result<(), String> {
    let Some(host) = world.hosts().find(|h| h.process.is_some()) else { return Err("nobody is there".to_owned()) };
    let Some(p) = &host.process else { return Err("nobody is there".to_owned()) };
    let text = p.controller.cib().root().to_pretty();
    for (client, asked) in &world.clients.asked {
        let told_safe = asked.answer == Some(Answer::Safe);
        let lives = world.host(asked.node).lives == asked.life;
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
