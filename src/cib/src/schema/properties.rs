//! Cluster properties and resource meta-attributes: names, types, defaults and values.

use super::rules::{is_bool, is_interval};
use base::Score;

/// One option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property {
    pub name: &'static str,
    /// `boolean`, `duration`, `timeout`, `integer`, `nonnegative_integer`, `score`, `percentage`, `select`, `port`, `version`, `string`.
    pub kind: &'static str,
    pub default: &'static str,
    /// Comma-separated values of a `select`.
    pub values: &'static str,
    /// `generated`, `adv`, `deprecated`, separated by blanks.
    pub flags: &'static str,
}

const fn p(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    values: &'static str,
    flags: &'static str,
) -> Property {
    Property { name, kind, default, values, flags }
}

impl Property {
    /// Whether the value can be meant; else what was expected.
    pub fn accepts(&self, value: &str) -> Result<(), String> {
        let whole = |text: &str| text.trim().parse::<i64>().is_ok();
        let fits = match self.kind {
            "boolean" => is_bool(value),
            "duration" | "timeout" => is_interval(value) || whole(value),
            "integer" | "nonnegative_integer" | "port" => whole(value),
            "score" => Score::parse(value).is_some() || value.trim().parse::<f64>().is_ok(),
            "percentage" => value.trim_end_matches('%').trim().parse::<f64>().is_ok(),
            "select" => self.values.split(',').chain(self.old_values()).any(|v| v.eq_ignore_ascii_case(value)),
            _ => true,
        };
        match (fits, self.kind) {
            (true, _) => Ok(()),
            (false, "select") => Err(format!("one of {}", self.values.replace(',', ", "))),
            (false, kind) => Err(format!("a value of type {kind}")),
        }
    }

    fn old_values(&self) -> impl Iterator<Item = &'static str> {
        let old: &[&str] = match self.name {
            "target-role" => &["Master", "Slave", "#default", "default"],
            "fencing-action" | "stonith-action" => &["poweroff"],
            _ => &[],
        };
        old.iter().copied()
    }
}

/// `crm_config`.
pub static PROPERTIES: &[Property] = &[
    p("dc-version", "version", "", "", "generated"),
    p("cluster-infrastructure", "string", "", "", "generated"),
    p("cluster-name", "string", "", "", ""),
    p("dc-deadtime", "duration", "20s", "", ""),
    p("cluster-recheck-interval", "duration", "15min", "", ""),
    p("election-timeout", "duration", "2min", "", "adv"),
    p("shutdown-escalation", "duration", "20min", "", "adv"),
    p("join-integration-timeout", "duration", "3min", "", "adv"),
    p("join-finalization-timeout", "duration", "30min", "", "adv"),
    p("transition-delay", "duration", "0s", "", "adv"),
    p("no-quorum-policy", "select", "stop", "stop,freeze,ignore,demote,fence,suicide", ""),
    p("shutdown-lock", "boolean", "false", "", ""),
    p("shutdown-lock-limit", "duration", "0", "", ""),
    p("enable-acl", "boolean", "false", "", ""),
    p("symmetric-cluster", "boolean", "true", "", ""),
    p("maintenance-mode", "boolean", "false", "", ""),
    p("start-failure-is-fatal", "boolean", "true", "", ""),
    p("enable-startup-probes", "boolean", "true", "", "deprecated"),
    p("fence-remote-without-quorum", "boolean", "false", "", "adv"),
    p("fencing-enabled", "boolean", "true", "", "adv"),
    p("stonith-enabled", "boolean", "true", "", "adv deprecated"),
    p("fencing-action", "select", "reboot", "reboot,off", ""),
    p("stonith-action", "select", "reboot", "reboot,off", "deprecated"),
    p("fencing-reaction", "select", "stop", "stop,panic", ""),
    p("fence-reaction", "select", "stop", "stop,panic", "deprecated"),
    p("fencing-timeout", "duration", "60s", "", ""),
    p("stonith-timeout", "duration", "60s", "", "deprecated"),
    p("have-watchdog", "boolean", "false", "", "generated"),
    p("fencing-watchdog-timeout", "timeout", "0", "", ""),
    p("stonith-watchdog-timeout", "timeout", "0", "", "deprecated"),
    p("fencing-max-attempts", "score", "10", "", ""),
    p("stonith-max-attempts", "score", "10", "", "deprecated"),
    p("concurrent-fencing", "boolean", "true", "", "deprecated"),
    p("startup-fencing", "boolean", "true", "", "adv"),
    p("priority-fencing-delay", "duration", "0", "", ""),
    p("node-pending-timeout", "duration", "0", "", ""),
    p("cluster-delay", "duration", "60s", "", ""),
    // Our own: what a lost node's addresses and lease-only resources wait for.
    p("bascule-takeover", "select", "fast", "fast,safe", ""),
    p("load-threshold", "percentage", "80%", "", ""),
    p("node-action-limit", "integer", "0", "", ""),
    p("batch-limit", "integer", "0", "", ""),
    p("migration-limit", "integer", "-1", "", ""),
    p("cluster-ipc-limit", "nonnegative_integer", "", "", "deprecated"),
    p("stop-all-resources", "boolean", "false", "", ""),
    p("stop-removed-resources", "boolean", "true", "", "deprecated"),
    p("stop-orphan-resources", "boolean", "true", "", "deprecated"),
    p("cancel-removed-actions", "boolean", "true", "", "deprecated"),
    p("stop-orphan-actions", "boolean", "true", "", "deprecated"),
    p("pe-error-series-max", "integer", "-1", "", ""),
    p("pe-warn-series-max", "integer", "5000", "", ""),
    p("pe-input-series-max", "integer", "4000", "", ""),
    p("node-health-strategy", "select", "none", "none,migrate-on-red,only-green,progressive,custom", ""),
    p("node-health-base", "score", "0", "", ""),
    p("node-health-green", "score", "0", "", ""),
    p("node-health-yellow", "score", "0", "", ""),
    p("node-health-red", "score", "-INFINITY", "", ""),
    p("placement-strategy", "select", "default", "default,utilization,minimal,balanced", ""),
];

/// `meta_attributes` of primitives, groups, clones and bundles.
pub static META_ATTRIBUTES: &[Property] = &[
    p("priority", "score", "0", "", ""),
    p("critical", "boolean", "true", "", ""),
    p("target-role", "select", "Started", "Stopped,Started,Unpromoted,Promoted", ""),
    p("is-managed", "boolean", "true", "", ""),
    p("maintenance", "boolean", "false", "", ""),
    p("resource-stickiness", "score", "", "", ""),
    p("requires", "select", "", "nothing,quorum,fencing,unfencing", ""),
    p("migration-threshold", "score", "INFINITY", "", ""),
    p("failure-timeout", "duration", "0", "", ""),
    p("multiple-active", "select", "stop_start", "block,stop_only,stop_start,stop_unexpected", ""),
    p("allow-migrate", "boolean", "", "", ""),
    p("allow-unhealthy-nodes", "boolean", "false", "", ""),
    p("container-attribute-target", "string", "", "", ""),
    p("remote-node", "string", "", "", ""),
    p("remote-addr", "string", "", "", ""),
    p("remote-port", "port", "3121", "", ""),
    p("remote-connect-timeout", "timeout", "60s", "", ""),
    p("remote-allow-migrate", "boolean", "true", "", ""),
    p("globally-unique", "boolean", "", "", ""),
    p("clone-max", "integer", "", "", ""),
    p("clone-node-max", "integer", "1", "", ""),
    p("clone-min", "integer", "0", "", ""),
    p("notify", "boolean", "false", "", ""),
    p("ordered", "boolean", "false", "", ""),
    p("interleave", "boolean", "false", "", ""),
    p("promotable", "boolean", "false", "", ""),
    p("promoted-max", "integer", "1", "", ""),
    p("promoted-node-max", "integer", "1", "", ""),
    p("master-max", "integer", "1", "", "deprecated"),
    p("master-node-max", "integer", "1", "", "deprecated"),
];
