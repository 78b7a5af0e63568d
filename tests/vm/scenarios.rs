//! The list of scenarios, in the order in which they run.

use crate::Scenario;
use std::process::Command;

pub const ALL: &[Scenario] = &[("the guest's kernel has IPVS", kernel_has_ipvs)];

fn kernel_has_ipvs() -> Result<(), String> {
    let out = Command::new("ipvsadm").arg("-Ln").output().map_err(|e| format!("ipvsadm: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    if text.starts_with("IP Virtual Server version") { Ok(()) } else { Err(format!("ipvsadm -Ln printed {text}")) }
}
