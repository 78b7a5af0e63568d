//! What several active directors have agreed on: each chooses the server of a connection from the same health, in whatever order
//! their own checks come.
//!
//! A director whose own checks say "down" for longer than the others can need to find the same is alone with that: its own way
//! to the server is cut, and for its own clients the server is down.

use crate::health::{Health, Source, Standing};
use crate::plan::RealId;
use base::Time;
use std::collections::BTreeMap;
use std::time::Duration;

impl Health {
    /// Takes in what is agreed at `now`; servers that are not named are this director's own to judge. `grace` is how long others may
    /// need to find a server down that is down here. Returns the servers whose service changes by it.
    pub fn agree(
        &mut self,
        agreed: &BTreeMap<RealId, bool>,
        grace: impl Fn(&RealId) -> Duration,
        now: Time,
    ) -> Vec<RealId> {
        let mut changed = Vec::new();
        for (id, record) in self.iter_mut().filter(|(_, r)| r.source != Source::Fixed) {
            let served = record.serves();
            record.agreed = agreed.get(id).copied();
            let down_here = record.standing == Standing::Down && record.source == Source::Check;
            record.dissents = record.agreed == Some(true) && down_here && now.since(record.since) > grace(id);
            if record.serves() != served {
                if !served {
                    record.risen = Some(now);
                }
                changed.push(*id);
            }
        }
        changed
    }
}
