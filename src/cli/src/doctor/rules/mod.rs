//! The rules: each looks at the facts and adds what is wrong. None reads anything else.

mod announced;
mod cluster;
mod cuts;
mod firewall;
mod forwarding;
mod kernel;
mod network;
#[cfg(test)]
mod tests;
mod watchdog;

use super::facts::Facts;
use super::finding::{Finding, Report, note};

pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut report = Report::default();
    inputs(facts, &mut report);
    kernel::check(facts, &mut report);
    network::check(facts, &mut report);
    forwarding::check(facts, &mut report);
    cluster::check(facts, &mut report);
    cuts::check(facts, &mut report);
    announced::check(facts, &mut report);
    watchdog::check(facts, &mut report);
    firewall::check(facts, &mut report);
    report.finish()
}

/// What could not be looked at, so that silence is not taken for health.
fn inputs(facts: &Facts, report: &mut Report) {
    for (file, why) in &facts.unreadable {
        report.add(
            super::finding::error("unreadable"),
            format!("{}: {why}", file.display()),
            "what this file configures cannot run, and was not looked at here",
            ["correct the file; 'bascule node --check' and 'bascule ldirectord FILE check' explain theirs line by line"],
        );
    }
    for text in &facts.daemon_warnings {
        report.add(
            super::finding::warning("daemon"),
            format!("the node daemon says: {text}"),
            "the cluster does not work as it is configured, or not for long",
            ["crm_mon -1; the text names the cure where there is one"],
        );
    }
    if !facts.root {
        report.add(
            note("not-root"),
            "the doctor does not run as root",
            "the IPVS table, the packet filter and the key cannot be read",
            ["sudo bascule doctor"],
        );
    }
    if facts.directors.is_empty() && facts.unreadable.is_empty() {
        report.add(
            note("no-services"),
            "no ldirectord.cf was found",
            "forwarding, real servers and virtual addresses were not looked at",
            ["bascule doctor --config FILE"],
        );
    }
    if facts.corosync.is_none() {
        report.add(
            note("no-cluster"),
            "no corosync.conf was found",
            "ring, quorum and key were not looked at",
            ["bascule doctor --corosync-conf FILE"],
        );
    }
    if facts.corosync.is_some() && facts.cluster.is_none() {
        report.add(
            note("no-cib"),
            "no node daemon answers here",
            "resources and fencing were not looked at",
            ["start the node daemon, or: bascule doctor --cib FILE"],
        );
    }
}
