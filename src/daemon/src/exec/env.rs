//! The environment of children: what Pacemaker's executor gives its agents, and nothing else of this daemon's own.
//!
//! Sources: OCF Resource Agent API 1.1 (section 3.3); Pacemaker's `lib/services` and `pacemakerd`; `ocf-directories` and
//! `ocf-shellfuncs` of resource-agents, which read the `HA_*` variables.

use super::Places;
use base::Operation;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Prefix of the line on standard error that holds the reason for people.
pub(crate) const EXIT_REASON_PREFIX: &str = "ocf-exit-reason:";

pub(crate) type Environment = BTreeMap<String, OsString>;

/// Where agents find commands if nobody has told this daemon.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Passed on from this daemon's own environment, if there.
const PASSED: &[&str] = &["HOME", "SHELL", "TZ", "TMPDIR"];
/// What an operator sets for agents in the unit's environment file goes by these names.
const PASSED_PREFIXES: &[&str] = &["HA_", "PCMK_"];
/// Unless an operator has set it; Pacemaker sets its options under both prefixes.
const OPTIONS: &[(&str, &str)] = &[
    ("debug", "0"),
    ("logfacility", "daemon"),
    ("mcp", "true"),
    ("use_logd", "off"),
    ("cluster_type", "corosync"),
    ("quorum_type", "corosync"),
];

/// For one call of an OCF agent.
pub(crate) fn ocf(places: &Places, operation: &Operation) -> Environment {
    let instance = &operation.instance;
    let mut all = common(places, Some(&operation.node));
    let mut set = |name: &str, value: OsString| all.insert(name.to_owned(), value);
    set("OCF_RA_VERSION_MAJOR", "1".into());
    set("OCF_RA_VERSION_MINOR", "1".into());
    set("OCF_ROOT", places.ocf_root.clone().into());
    set("OCF_EXIT_REASON_PREFIX", EXIT_REASON_PREFIX.into());
    set("OCF_RESOURCE_INSTANCE", instance.id.clone().into());
    set("OCF_RESOURCE_TYPE", instance.agent.clone().into());
    set("OCF_RESOURCE_PROVIDER", instance.provider().into());
    // By it agents choose between `crm_master` and `crm_attribute --promotion`.
    set("OCF_RESKEY_crm_feature_set", scheduler::FEATURE_SET.into());
    let meta = operation.meta.iter().map(|(name, value)| (meta_name(name), value));
    for (name, value) in instance.params.iter().map(|(name, value)| (name.clone(), value)).chain(meta) {
        // Names come from the CIB; one with `=` or NUL cannot be a variable.
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        let name = if name == "OCF_CHECK_LEVEL" { name } else { format!("OCF_RESKEY_{name}") };
        set(&name, value.into());
    }
    all
}

/// What every child gets: the way to the helper commands and to this node.
pub(crate) fn common(places: &Places, node: Option<&str>) -> Environment {
    let mut all = Environment::new();
    for (option, value) in OPTIONS {
        all.insert(format!("PCMK_{option}"), value.into());
        all.insert(format!("HA_{option}"), value.into());
    }
    all.insert("HA_LOGD".into(), "no".into());
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        if PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|p| name.starts_with(p)) {
            all.insert(name.to_owned(), value);
        }
    }
    let mut path = OsString::new();
    if let Some(helpers) = &places.helpers {
        path.push(helpers);
        path.push(":");
        // Agents call `${HA_SBIN_DIR}/crm_attribute` and the like; another product's would speak to another cluster.
        all.insert("HA_SBIN_DIR".into(), helpers.clone().into());
    }
    path.push(std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into()));
    all.insert("PATH".into(), path);
    all.insert("LC_ALL".into(), "C".into());
    all.insert("PCMK_service".into(), "pacemaker-execd".into());
    all.insert("BASCULE_RUN_DIR".into(), places.run_dir.clone().into());
    if let Some(node) = node.filter(|n| !n.is_empty() && !n.contains('\0')) {
        all.insert("PCMK_node_name".into(), node.into());
    }
    all
}

/// As an agent reads it: a hyphen cannot be in a shell's variable.
fn meta_name(name: &str) -> String {
    format!("{}{}", Operation::META_PREFIX, name.replace('-', "_"))
}

/// The reason in an agent's standard error: the last line with the prefix.
pub(crate) fn exit_reason(stderr: &str) -> String {
    stderr
        .lines()
        .rev()
        .find_map(|l| l.trim().strip_prefix(EXIT_REASON_PREFIX))
        .map(|r| r.trim().to_owned())
        .unwrap_or_default()
}
