//! Whether what is configured of watchdogs and of SBD is carried out.

use crate::doctor::cluster::Cluster;
use crate::doctor::corosync::Corosync;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Report, error, warning};
use crate::doctor::sbd::Sbd;

/// `watchdog_timeout` where corosync.conf says nothing.
const DEFAULT_TIMEOUT_S: u64 = 6;
/// The stock agent for a shared disk.
const AGENT: &str = "fence_sbd";

pub fn check(facts: &Facts, report: &mut Report) {
    let Some(cluster) = &facts.cluster else { return };
    if let (Some(timeout_ms), Some(conf)) = (cluster.watchdog_timeout_ms, &facts.corosync) {
        counted_on(timeout_ms, conf, report);
    }
    if let Some(sbd) = &facts.sbd {
        disk(cluster, facts.corosync.as_ref(), sbd, report);
    }
}

fn counted_on(timeout_ms: i64, conf: &Corosync, report: &mut Report) {
    let file = conf.file.display();
    let Some(device) = &conf.watchdog_device else {
        return report.add(
            error("watchdog-timeout"),
            format!("stonith-watchdog-timeout is set, and {file} names no watchdog_device"),
            "this node is not counted dead by it: after its loss its resources stay where they are until somebody fences it",
            [
                format!("in {file}: resources {{ watchdog_device: /dev/watchdog }}"),
                "sbd's own settings are not read; with a shared disk use fence_sbd instead of this property".to_owned(),
            ],
        );
    };
    let own_ms = conf.watchdog_timeout_s.unwrap_or(DEFAULT_TIMEOUT_S).saturating_mul(1000);
    let least_ms = own_ms.saturating_mul(2);
    if u64::try_from(timeout_ms).is_ok_and(|ms| ms < least_ms) {
        report.add(
            warning("watchdog-timeout"),
            format!("stonith-watchdog-timeout is {timeout_ms} ms, less than twice the {own_ms} ms of {device}"),
            "a node that was frozen may still live then: the cluster waits for twice the time all the same",
            [format!(
                "pcs property set stonith-watchdog-timeout={}s   (or -1: the cluster sets it)",
                least_ms.div_ceil(1000)
            )],
        );
    }
    if conf.two_node && !conf.device && !conf.ping_targets {
        report.add(
            warning("watchdog-timeout"),
            "stonith-watchdog-timeout in a cluster where each half of a cut has quorum (two_node)",
            "neither half may count on the other's watchdog, which is fed: nobody is counted dead by it",
            ["a third node, or quorum.ping_targets; or a fence device"],
        );
    }
}

fn disk(cluster: &Cluster, conf: Option<&Corosync>, sbd: &Sbd, report: &mut Report) {
    if !cluster.primitives.iter().any(|p| p.class == "stonith" && p.agent == AGENT) {
        return;
    }
    let file = sbd.file.display();
    if sbd.pacemaker {
        report.add(
            warning("sbd"),
            format!("{file}: sbd asks Pacemaker and corosync whether this node is well"),
            "neither answers here: it asks for ever, and quorum never keeps the node alive when the disk cannot be read",
            [format!("in {file}: SBD_PACEMAKER=no and SBD_SYNC_RESOURCE_STARTUP=no   (the disk alone decides)")],
        );
    } else if sbd.syncs_start {
        report.add(
            error("sbd"),
            format!("{file}: SBD_PACEMAKER=no without SBD_SYNC_RESOURCE_STARTUP=no"),
            "sbd does not start with these two, and nobody on this node reads the disk",
            [format!("in {file}: SBD_SYNC_RESOURCE_STARTUP=no")],
        );
    }
    if !sbd.disk {
        report.add(
            error("sbd"),
            format!("{file} names no SBD_DEVICE, and {AGENT} is to write on one"),
            "nobody on this node reads the disk: a message to it is taken for its death, and it lives on",
            [format!("in {file}: SBD_DEVICE=the devices of {AGENT}; then start it with the node: Requires=sbd.service in a drop-in of bascule.service")],
        );
    }
    let same = conf.and_then(|c| c.watchdog_device.as_deref()) == Some(sbd.watchdog_device.as_str());
    if sbd.disk && same {
        report.add(
            warning("sbd"),
            format!("sbd and the node daemon both want {}", sbd.watchdog_device),
            "a watchdog has one holder: whoever comes second goes on without it",
            ["take watchdog_device out of corosync.conf, or give sbd another device (SBD_WATCHDOG_DEV)"],
        );
    }
}
