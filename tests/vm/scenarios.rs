//! The list of scenarios, in the order in which they run.

use crate::{Scenario, ipvsadm, ldirectord};
use std::process::Command;

pub const ALL: &[Scenario] = &[
    ("ipvsadm: clear words where something is missing", ipvsadm::clear_words),
    ("the guest's kernel has IPVS", kernel_has_ipvs),
    ("failover: a director group on kernel IPVS", crate::failover::group_fails_over),
    ("takeover: the table is right before the address comes", crate::takeover::warm_takeover),
    ("reload: nothing fails under load", crate::reload::under_load),
    ("doctor: planted faults are found beside kernel IPVS", crate::doctor::finds_planted_faults),
    ("netlink: every request and refusal, long dumps", ipvsadm::netlink_by_itself),
    ("ipvsadm: random command lines as the original", ipvsadm::same_as_the_original),
    ("ipvsadm: connections and counters as the original", ipvsadm::connections_listed),
    ("ldirectord: the same table as the original", ldirectord::same_tables_as_the_original),
    ("ipvsadm: a killed replace leaves the old or the new table", ipvsadm::killed_replace),
    ("ipvsadm: bench against the original", ipvsadm::bench),
    ("tunnels: ipip, gue and gre carry traffic", crate::tunnels::carry_traffic),
    ("topology: every topology before, during and after a fail-over", crate::topology::fails_over),
    ("topology: long connections without sync", crate::topology::without_sync),
];

/// These ask too much of emulated processors, and run in a guest whose clock counts instructions.
pub const STEADY: &[Scenario] = &[
    ("ldirectord: a server that refuses is out of the table", crate::refused::out_of_the_table),
    ("ecmp: four active directors behind a router", crate::ecmp::four_directors),
];

fn kernel_has_ipvs() -> Result<(), String> {
    let out = Command::new("ipvsadm").arg("-Ln").output().map_err(|e| format!("ipvsadm: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if text.starts_with("IP Virtual Server version") { Ok(()) } else { Err(format!("ipvsadm -Ln printed {text}")) }
}
