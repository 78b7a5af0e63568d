//! The environment of OCF agents, as Pacemaker's executor gives it.

use super::Places;
use controller::ExecRequest;
use std::ffi::OsString;

/// Prefix of the line on standard error that holds the reason for people.
pub(crate) const EXIT_REASON_PREFIX: &str = "ocf-exit-reason:";

/// Variables for one call, in the order in which they are set.
pub(crate) fn ocf(places: &Places, request: &ExecRequest) -> Vec<(String, OsString)> {
    let mut all: Vec<(String, OsString)> = vec![
        ("OCF_RA_VERSION_MAJOR".into(), "1".into()),
        ("OCF_RA_VERSION_MINOR".into(), "1".into()),
        ("OCF_ROOT".into(), places.ocf_root.clone().into()),
        ("OCF_EXIT_REASON_PREFIX".into(), EXIT_REASON_PREFIX.into()),
        ("OCF_RESOURCE_INSTANCE".into(), request.resource.clone().into()),
        ("OCF_RESOURCE_TYPE".into(), request.agent.clone().into()),
    ];
    if let Some(provider) = &request.provider {
        all.push(("OCF_RESOURCE_PROVIDER".into(), provider.clone().into()));
    }
    for (name, value) in &request.params {
        // Names come from the CIB; one with `=` or NUL cannot be a variable.
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            continue;
        }
        let name = if name == "OCF_CHECK_LEVEL" { name.clone() } else { format!("OCF_RESKEY_{name}") };
        all.push((name, value.clone().into()));
    }
    all.extend(common(places));
    all
}

/// What every child gets: the way to the helper commands and to this node.
pub(crate) fn common(places: &Places) -> Vec<(String, OsString)> {
    let mut path = OsString::new();
    if let Some(helpers) = &places.helpers {
        path.push(helpers);
        path.push(":");
    }
    path.push(
        std::env::var_os("PATH")
            .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
    );
    vec![
        ("PATH".into(), path),
        ("BASCULE_RUN_DIR".into(), places.run_dir.clone().into()),
        // Read by resource-agents' shell functions to choose how to log.
        ("HA_logfacility".into(), "daemon".into()),
        ("HA_debug".into(), "0".into()),
    ]
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
