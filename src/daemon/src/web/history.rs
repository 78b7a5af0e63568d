//! How each real server was over the last hour: a bounded list of changes, filled each time that the directors are looked at.

use ldirectord::service::{Standing, Status};
use std::collections::{BTreeMap, VecDeque};

/// How far back.
const KEPT_MS: i64 = 3_600_000;
/// Changes of one server; one that flaps faster loses its oldest.
const MAX_CHANGES: usize = 120;
/// Servers that are followed; more have no history.
const MAX_SERVERS: usize = 10_000;

type Name = (String, String, String);

#[derive(Default)]
pub struct History {
    servers: BTreeMap<Name, VecDeque<(i64, &'static str)>>,
}

pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Up => "up",
        Standing::Down => "down",
        Standing::Unknown => "unknown",
    }
}

impl History {
    /// What is so at `now_ms`; what is not configured any more is forgotten.
    pub fn note(&mut self, directors: &[Status], now_ms: i64) {
        let mut seen = BTreeMap::new();
        for director in directors {
            let config = director.config.clone().unwrap_or_default();
            for (service, real) in director.virtuals.iter().flat_map(|v| v.reals.iter().map(move |r| (&v.id, r))) {
                if seen.len() >= MAX_SERVERS {
                    break;
                }
                let name = (config.clone(), service.clone(), real.server.clone());
                let mut changes = self.servers.remove(&name).unwrap_or_default();
                let standing = word(real.standing);
                if changes.back().is_none_or(|(_, last)| *last != standing) {
                    changes.push_back((now_ms, standing));
                }
                // The one before the hour says how the hour began.
                while changes.len() > MAX_CHANGES || changes.get(1).is_some_and(|(at, _)| *at < now_ms - KEPT_MS) {
                    changes.pop_front();
                }
                seen.insert(name, changes);
            }
        }
        self.servers = seen;
    }

    pub fn of(&self, config: &str, service: &str, server: &str) -> Vec<(i64, &'static str)> {
        let name = (config.to_owned(), service.to_owned(), server.to_owned());
        self.servers.get(&name).map(|changes| changes.iter().copied().collect()).unwrap_or_default()
    }
}
