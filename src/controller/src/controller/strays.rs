//! What this node has in place and nobody knows of: a record without a history, e.g. since a clean-up forgot the history and the
//! resource was deleted before it was probed again. The node looks at it and tells, so that the cluster stops or adopts it.

use super::Controller;
use crate::status;
use base::Time;
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two looks at least. What both find is a stray: a result that is under way has arrived by then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Strays {
    looked: Time,
    /// Found by the last look.
    suspects: BTreeSet<String>,
}

impl Controller {
    pub(super) fn look_for_strays(&mut self) {
        if !self.synced {
            return self.strays.suspects.clear();
        }
        if self.now.since(self.strays.looked) < LOOK_EVERY {
            return;
        }
        self.strays.looked = self.now;
        let known = |id: &str| self.replica.status().is_some_and(|s| status::has_history(s, self.config.me, id));
        let found: BTreeSet<String> = self.local.idle_records().filter(|id| !known(id)).collect();
        let certain: Vec<String> = found.intersection(&self.strays.suspects).cloned().collect();
        self.strays.suspects = found;
        for id in certain {
            let text = "is in place here, and the cluster does not know of it: looking".to_owned();
            self.timeline("stray", &id, text);
            let doings = self.local.look_after(self.now, self.wall, &id);
            self.perform(doings);
        }
    }
}
