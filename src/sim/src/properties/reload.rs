//! A file is taken over by all members of a view at the same place of the order, and only if it lists all of them.

use crate::site::Site;
use crate::world::World;
use base::NodeId;
use std::collections::BTreeMap;

/// The attempt: who asked, in which life, and the number of it.
type Attempt = (NodeId, u64, u64);

#[derive(Default)]
pub struct Reload {
    /// In which view, at which message, and with which file.
    at: BTreeMap<Attempt, (totem::ViewId, u64, u64)>,
}

impl World {
    /// The process is about to take `file` over.
    pub(crate) fn check_reload(
        &mut self,
        id: NodeId,
        file: &Site,
        (view, seq): (totem::ViewId, u64),
        (asker, number): (NodeId, u64),
    ) {
        let now = self.now;
        let Some(p) = &self.host(id).process else { return };
        let unlisted = p.members.iter().find(|m| !file.nodes.contains(m));
        if let Some(member) = unlisted {
            let text = format!("node {id} takes over a file that does not list node {member}, which is in its ring");
            return self.book.fail("reload", now, text);
        }
        let other = p.members.iter().find(|m| self.host(**m).file.number < file.number);
        if let Some(other) = other {
            let text = format!("node {id} takes over a file that node {other}, which is in its ring, does not have");
            return self.book.fail("reload", now, text);
        }
        let life = self.host(asker).lives;
        let here = (view, seq, file.number);
        let first = *self.book.reload.at.entry((asker, life, number)).or_insert(here);
        if first != here {
            let text = format!("node {id} takes a file over at {here:?}, another member at {first:?}");
            self.book.fail("reload", now, text);
        }
    }
}
