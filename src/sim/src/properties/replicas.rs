//! All replicas are equal once the world has come to rest.

use crate::world::World;

pub fn check(world: &World) -> Result<(), String> {
    let mut texts = world.hosts().filter_map(|h| Some((h.id, h.process.as_ref()?.controller.cib().root().to_pretty())));
    let Some((first, text)) = texts.next() else { return Err("nobody is there".to_owned()) };
    for (id, other) in texts {
        if other != text {
            let line = text.lines().zip(other.lines()).find(|(a, b)| a != b);
            return Err(format!("nodes {first} and {id} hold different content: {line:?}"));
        }
    }
    Ok(())
}
