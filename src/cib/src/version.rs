//! The document's version: three counters, compared in the order of their weight.

use crate::CibError;
use std::fmt;
use xml::Element;

/// `admin_epoch` is the operator's, `epoch` counts configuration changes, `num_updates` status changes since.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Version {
    pub admin_epoch: u64,
    pub epoch: u64,
    pub num_updates: u64,
}

impl Version {
    /// Of a `cib` element (or a patchset's `source`/`target`); an absent counter is 0.
    pub fn of(e: &Element) -> Result<Version, CibError> {
        let read = |name: &'static str| match e.attr(name) {
            None => Ok(0),
            Some(text) => text.parse().map_err(|_| CibError::BadVersion { name, value: text.to_owned() }),
        };
        Ok(Version { admin_epoch: read("admin_epoch")?, epoch: read("epoch")?, num_updates: read("num_updates")? })
    }

    pub fn write_to(self, e: &mut Element) {
        e.set("admin_epoch", self.admin_epoch.to_string());
        e.set("epoch", self.epoch.to_string());
        e.set("num_updates", self.num_updates.to_string());
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.admin_epoch, self.epoch, self.num_updates)
    }
}
