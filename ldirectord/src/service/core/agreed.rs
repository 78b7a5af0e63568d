//! Health as the active directors have agreed on it.

use super::Core;
use crate::service::notices;
use policy::RealId;
use std::collections::BTreeMap;
use std::time::Duration;

impl Core {
    pub(super) fn agree(&mut self, agreed: BTreeMap<RealId, bool>) {
        self.agreed = agreed;
        self.follow_agreed();
    }

    /// At each word, and at each tick: servers may be new here, and patience with the others ends.
    pub(super) fn follow_agreed(&mut self) {
        let now = self.now();
        let limits: BTreeMap<_, Duration> = match self.agreed.is_empty() {
            true => BTreeMap::new(),
            false => self.config.virtuals.iter().map(|v| (v.key, self.check_age_limit(&v.key))).collect(),
        };
        let grace = |id: &RealId| limits.get(&id.service).copied().unwrap_or(policy::MIN_TRUST);
        for id in self.health.agree(&self.agreed, grace, now) {
            self.dirty.insert(id.service);
            if let Some(record) = self.health.get(&id) {
                let word = if record.serves() { "up" } else { "down" };
                let own = now.since(record.since).as_millis();
                let how = match (record.agreed, record.dissents) {
                    (_, true) => "by checks here alone; the other directors reach it".to_owned(),
                    (Some(_), false) => format!("agreed (found so here {own} ms ago: {:?})", record.standing),
                    (None, _) => "by checks here, nobody else is active".to_owned(),
                };
                self.log(&format!("Real server {word}, {how}: {}", notices::pair(&id.service, &id.dest)));
            }
            self.tell_news(&id);
        }
    }
}
