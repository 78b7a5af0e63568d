//! Which keys of corosync.conf a running node takes over, and which wait for its next start.

use super::super::settings::Settings;
use std::collections::BTreeMap;

/// Keys that wait for a restart: the name itself, or all that begins so where it ends in a dot.
const AT_RESTART: &[&str] = &[
    "totem.version",
    "totem.transport",
    "totem.cluster_name",
    "totem.secauth",
    "totem.crypto_hash",
    "totem.ip_version",
    "totem.ip_dscp",
    "totem.netmtu",
    "totem.clear_node_high_bit",
    "totem.nodeid",
    "totem.threads",
    "totem.rrp_mode",
    "quorum.provider",
    "quorum.wait_for_all",
    "quorum.last_man_standing",
    "quorum.last_man_standing_window",
    "quorum.auto_tie_breaker",
    "quorum.auto_tie_breaker_node",
    "quorum.allow_downscale",
    "quorum.expected_votes_tracking",
    "quorum.ping_targets",
    "system.",
    "resources.",
    "service.",
    "aisexec.",
    "uidgid.",
    "nozzle.",
];

/// Of interface{}: what only the transports of corosync 2 had.
const INTERFACE_AT_RESTART: &[&str] = &["bindnetaddr", "mcastaddr", "broadcast", "ttl", "knet_transport"];

pub(in crate::node) fn waits_for_restart(key: &str) -> bool {
    if let Some(rest) = key.strip_prefix("totem.interface.") {
        return rest.split('.').next_back().is_some_and(|last| INTERFACE_AT_RESTART.contains(&last));
    }
    AT_RESTART.iter().any(|k| if k.ends_with('.') { key.starts_with(k) } else { key == *k })
}

/// Flat names of keys that are not the same in both.
pub(super) fn differing(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let mut all: Vec<&String> = old.keys().chain(new.keys()).collect();
    all.sort();
    all.dedup();
    all.iter().filter(|k| old.get(**k) != new.get(**k)).map(|k| (*k).clone()).collect()
}

/// The file as it applies to a node that runs with `runs`: what waits for a restart stays as it is.
pub(super) fn blend(runs: &Settings, file: Settings) -> Settings {
    let (old, mut new) = (&runs.config, file);
    let totem = &mut new.config.totem;
    totem.cluster_name.clone_from(&old.totem.cluster_name);
    totem.authenticated = old.totem.authenticated;
    totem.ip_version = old.totem.ip_version;
    let quorum = &mut new.config.quorum;
    quorum.enabled = old.quorum.enabled;
    quorum.wait_for_all = old.quorum.wait_for_all;
    quorum.last_man_standing = old.quorum.last_man_standing;
    quorum.last_man_standing_window_ms = old.quorum.last_man_standing_window_ms;
    quorum.auto_tie_breaker = old.quorum.auto_tie_breaker;
    quorum.auto_tie_breaker_node.clone_from(&old.quorum.auto_tie_breaker_node);
    quorum.allow_downscale = old.quorum.allow_downscale;
    quorum.expected_votes_tracking = old.quorum.expected_votes_tracking;
    quorum.ping_targets.clone_from(&old.quorum.ping_targets);
    new.config.system = old.system.clone();
    new.config.kept.retain(|key, _| !waits_for_restart(key));
    let stay = old.kept.iter().filter(|(key, _)| waits_for_restart(key));
    new.config.kept.extend(stay.map(|(k, v)| (k.clone(), v.clone())));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_from_what_does_not() {
        for key in ["totem.cluster_name", "totem.interface.0.bindnetaddr", "system.sched_rr", "quorum.wait_for_all"] {
            assert!(waits_for_restart(key), "{key}");
        }
        for key in
            ["totem.token", "totem.interface.0.knet_link_priority", "nodelist.node.1.ring1_addr", "quorum.two_node"]
        {
            assert!(!waits_for_restart(key), "{key}");
        }
        let of = |list: &[(&str, &str)]| list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let old = of(&[("totem.token", "1000"), ("logging.debug", "off"), ("quorum.two_node", "1")]);
        let new = of(&[("totem.token", "3000"), ("logging.debug", "off"), ("nodelist.node.1.name", "b")]);
        assert_eq!(differing(&old, &new), ["nodelist.node.1.name", "quorum.two_node", "totem.token"]);
        assert!(differing(&old, &old).is_empty());
    }
}
