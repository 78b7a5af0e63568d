//! Names and words for the sources of scores.

use super::Teller;
use super::ledger::{Source, Step};
use crate::model::{ColocIdx, INFINITY, NodeIdx, RscIdx};
use crate::status::Role;

/// Name in the book, kind, and words.
const OWN: &[(&str, &str, &str)] = &[
    ("symmetric_default", "default", "default: every node is considered (symmetric-cluster)"),
    ("remote_connection_default", "default", "default: every node is considered (connection to a guest)"),
    ("target-role", "target-role", "it is to be stopped"),
    ("stickiness", "stickiness", "stickiness: it runs here now"),
    ("shutdown-lock", "shutdown-lock", "shutdown-lock: kept for the node that it ran on"),
    ("__fail_limit__", "failures", "failures"),
    ("collective_limit_reached", "instances", "all instances that there may be are placed"),
    ("__no_instance_here__", "instances", "no (further) instance may be here"),
    ("__tried_early__", "instances", "taken back: an instance could not stay where it is"),
    ("__limit_utilization__", "utilization", "not enough capacity left"),
    ("__no_ticket__", "ticket", "its ticket is not granted"),
    ("__ticket_standby__", "ticket", "its ticket is in standby"),
    ("__loss_of_ticket__", "ticket", "its ticket is lost"),
    ("__stateful_without_ticket__", "ticket", "no promotion without its ticket"),
    ("__removed_do_not_run__", "removed", "it is no longer configured"),
    ("__action_migration_auto__", "failures", "an operation failed here"),
    ("not_managed_default", "unmanaged", "not managed: it stays where it is"),
    ("hard-error", "failures", "an operation failed here with an error that a repetition cannot cure"),
    ("fatal-error", "failures", "an operation failed with an error that no node can cure"),
    ("__stop_fail__", "failures", "its stop failed here"),
    ("masked-probe-failure", "failures", "its probe failed here"),
    ("__stop_on_failure__", "failures", "an operation with on-fail=stop failed"),
    ("__multiple_active__", "failures", "it was active more than once (multiple-active=stop_only)"),
    ("__inside_container__", "container", "inside containers only what belongs there"),
    ("__no_remote_nodes__", "remote", "not on remote nodes: connections and fence devices run on cluster nodes"),
    ("__exclusive_discovery__", "discovery", "resource-discovery=exclusive names other nodes"),
    ("__promotion_score__", "promotion", "promotion score that its agent has set"),
    ("__no_promotion_score__", "promotion", "its agent has set no promotion score"),
    ("__promoted_already__", "promotion", "configured to be promoted"),
    ("__clones_score__", "promotion", "with what the whole clone prefers"),
    ("__colocation_dropped__", "colocation", "taken back: the colocation would have left no node"),
];

impl Teller<'_> {
    pub(super) fn kind(&self, source: &Source) -> &'static str {
        match source {
            Source::Own(name) => OWN.iter().find(|(n, _, _)| n == name).map_or("other", |(_, kind, _)| kind),
            Source::Location(id) if self.health_strategy(id) => "health",
            Source::Location(_) => "location",
            Source::Colocation { .. } => "colocation",
            Source::Node => "node",
            Source::Instance(_) => "promotion",
        }
    }

    pub(super) fn source_id(&self, source: &Source) -> Option<String> {
        match source {
            Source::Location(id) => Some(id.to_string()),
            Source::Colocation { constraint, .. } => {
                Some(self.s[*constraint].id.to_string()).filter(|id| !id.starts_with('#'))
            }
            _ => None,
        }
    }

    /// Health makes location constraints that are named after the strategy.
    fn health_strategy(&self, id: &str) -> bool {
        self.s.options.text("node-health-strategy") == id && self.constraint_of(id).is_none()
    }

    /// The location constraint with the id, or with the rule of that id.
    fn constraint_of(&self, id: &str) -> Option<(&str, bool)> {
        let constraints = self.cib.child("configuration")?.child("constraints")?;
        constraints.elements_named("rsc_location").find_map(|e| {
            let own = e.id()?;
            if own == id {
                return Some((own, false));
            }
            e.elements_named("rule").any(|r| r.id() == Some(id) || r.attr("id-ref") == Some(id)).then_some((own, true))
        })
    }

    pub(super) fn words(&self, step: &Step) -> String {
        match &step.source {
            Source::Own("__fail_limit__") => self.failure_words(step.resource, step.node),
            Source::Own("stickiness") => "stickiness: it runs here".to_owned(),
            Source::Own(name) => OWN.iter().find(|(n, _, _)| n == name).map_or(*name, |(_, _, words)| words).to_owned(),
            Source::Node => self.node_words(step.node),
            Source::Instance(instance) => format!("{} may be promoted here", self.s[*instance].id),
            Source::Location(id) => self.location_words(id),
            Source::Colocation { constraint, as_primary } => {
                self.colocation_words(step.resource, *constraint, *as_primary)
            }
        }
    }

    fn location_words(&self, id: &str) -> String {
        if self.health_strategy(id) {
            return format!("node health ({id})");
        }
        let made = match id {
            _ if id.starts_with("cli-ban-") => ", made by a move or ban",
            _ if id.starts_with("cli-prefer-") => ", made by a move",
            _ => "",
        };
        match self.constraint_of(id) {
            Some((constraint, true)) => format!("rule {id} of location {constraint}{made}"),
            _ => format!("location {id}{made}"),
        }
    }

    fn colocation_words(&self, rsc: RscIdx, c: ColocIdx, as_primary: bool) -> String {
        let coloc = &self.s[c];
        let role = |role: Role| match role {
            Role::Unknown => String::new(),
            role => format!(" ({})", role.text()),
        };
        let primary = format!("{}{}", self.s[coloc.primary].id, role(coloc.primary_role));
        let dependent = format!("{}{}", self.s[coloc.dependent].id, role(coloc.dependent_role));
        let apart = coloc.score < 0;
        let name = match &*coloc.id {
            id if id.starts_with("#group") => "group".to_owned(),
            id if id.starts_with('#') => id.trim_start_matches('#').replace('-', " "),
            id => format!("colocation {id}"),
        };
        if as_primary {
            let wish = if apart { "stays away from it" } else { "goes with it" };
            return format!("{name}: {dependent} {wish}");
        }
        let whom = if coloc.dependent == rsc { String::new() } else { format!("{dependent} ") };
        format!("{name}: {whom}{} {primary}", if apart { "not with" } else { "with" })
    }

    /// Why a node's own score is what it is.
    pub(super) fn node_words(&self, node: NodeIdx) -> String {
        let n = &self.s[node];
        let state = if !n.online {
            "the node is offline"
        } else if n.shutdown {
            "the node is shutting down"
        } else if self.s.is_bundle_node(node) {
            "the inside of a container"
        } else {
            "the node's own score"
        };
        state.to_owned()
    }

    fn failure_words(&self, rsc: RscIdx, node: NodeIdx) -> String {
        let r = &self.s[rsc];
        let limit = r.ban_after_failures;
        let name = r.history_id.as_ref().unwrap_or(&r.id);
        let stem = format!("fail-count-{}#", crate::model::base_name(name));
        let counts = self.s[node].attrs.iter().filter(|(n, _)| n.starts_with(&stem));
        let sum = counts.filter_map(|(_, v)| self.s.score_of(v)).fold(0, crate::model::add_scores);
        match sum {
            0 => format!("as many failures here as migration-threshold={limit} allows"),
            INFINITY => "a failure here that keeps it away (failed start)".to_owned(),
            count => format!("{count} failure{} here, migration-threshold={limit}", if count == 1 { "" } else { "s" }),
        }
    }
}
