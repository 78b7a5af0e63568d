//! What this node runs as far as it knows itself, and whether that has changed since somebody looked.

use base::Names;

/// A set that counts its changes, so that nobody has to compare it with a copy to notice one.
#[derive(Default)]
pub struct Held {
    resources: Names,
    changes: u64,
}

impl Held {
    pub fn insert(&mut self, resource: String) -> bool {
        let new = self.resources.insert(&resource);
        self.changes += u64::from(new);
        new
    }

    pub fn remove(&mut self, resource: &str) -> bool {
        let gone = self.resources.remove(resource);
        self.changes += u64::from(gone);
        gone
    }

    pub fn contains(&self, resource: &str) -> bool {
        self.resources.contains(resource)
    }

    pub fn resources(&self) -> &Names {
        &self.resources
    }

    /// Rises with each change.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}
