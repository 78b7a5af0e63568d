//! A nodelist with host names follows the name service: a node that has moved is found again without a reload.
//!
//! Each node decides for itself, since each has a resolver of its own. A name that does not resolve keeps its last address.

use super::super::core::Core;
use super::super::settings;
use super::Outcome;
use crate::config::{Config, Local, Resolved};
use crate::ring::Change;
use base::Time;
use std::net::IpAddr;
use std::time::Duration;

/// Between two looks at all names.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Names {
    looked: Time,
    /// A look-up takes as long as the name service does; one at a time.
    under_way: bool,
}

/// Whether anything in the nodelist can change its address by itself.
fn has_names(config: &Config) -> bool {
    config.nodes.iter().flat_map(|n| &n.addresses).any(|(text, _)| text.parse::<IpAddr>().is_err())
}

impl Core {
    /// To be called with every tick.
    pub(super) fn look_up_names(&mut self, now: Time) {
        let names = &mut self.reloads.names;
        if names.under_way || now.since(names.looked) < EVERY || self.ring_id.is_none() {
            return;
        }
        names.looked = now;
        if !has_names(&self.identity.settings.config) {
            return;
        }
        names.under_way = true;
        let (config, chosen) = (self.identity.settings.config.clone(), self.identity.settings.my_name());
        let (back, old) = (self.reloads.outcomes.0.clone(), self.identity.settings.resolved.clone());
        tokio::task::spawn_blocking(move || {
            // This node is who it is, whatever its name says now.
            let local = Local::of_this_host(Some(chosen));
            back.send(Outcome::Resolved(crate::config::resolve(&config, &local).unwrap_or(old)))
        });
    }

    pub(super) async fn resolved(&mut self, resolved: Resolved) {
        self.reloads.names.under_way = false;
        let settings = &mut self.identity.settings;
        // A reload under way will bring its own.
        if settings.resolved == resolved || settings.me() != resolved.me || self.reloads.agreement.under_way().is_some()
        {
            return;
        }
        let moved: Vec<String> = resolved
            .nodes
            .iter()
            .zip(&settings.resolved.nodes)
            .filter(|(new, old)| new.addresses != old.addresses)
            .map(|(new, _)| {
                let addresses: Vec<String> = new.addresses.iter().map(|a| a.ip().to_string()).collect();
                format!("{} is at {} now", new.name, addresses.join(" "))
            })
            .collect();
        settings.resolved = resolved;
        let change = Change {
            core: settings::totem(settings, 0, 0),
            nodes: settings.resolved.nodes.clone(),
            key: None,
            block_unlisted: settings.config.totem.block_unlisted_ips,
        };
        let text = format!("the name service says: {}", moved.join(", "));
        tracing::warn!("{text}");
        self.timeline.add("names", "", &text);
        self.ring.change(change).await;
        self.claims.restart(&self.identity.settings, &self.performer.agents, &self.timeline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Allow, read};

    #[test]
    fn only_names_are_looked_up_again() {
        let of = |address: &str| {
            let text = format!(
                "totem {{\nversion: 2\ncluster_name: t\n}}\nnodelist {{\nnode {{\nring0_addr: {address}\nnodeid: 1\nname: a\n}}\n}}\n"
            );
            has_names(&read("c", text.as_bytes(), Allow::default()).config.expect("a file"))
        };
        assert!(of("director1") && of("director1.example.org") && !of("192.0.2.1") && !of("2001:db8::1"));
    }
}
